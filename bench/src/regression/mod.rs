//! A regression run: two commits on one machine, in alternation. `--against COMMIT` builds the library of that commit
//! with these benchmarks, and that of this one ([`programs`]), starts both programs ([`side`]), and measures each row with one and then with
//! the other, so that both find the same machine. What it finds is a ratio for each row, with the interval in which
//! its true median lies ([`verdict`]).

mod programs;

mod side;

mod verdict;

use std::time::{Duration, Instant};

use self::programs::Version;
use self::side::Side;
use self::verdict::{Line, Pair};
use crate::cores::Cores;
use crate::failure::Failure;
use crate::figures::{figure, quantile_index};
use crate::plan::Sample;
use crate::rounds::{Disturbances, Effort, MAX_DISTANCE_RATIO, Measured, RowSpec};
use crate::workloads::{TableSpec, Unit};

pub(crate) use self::side::{SERVE, serve};

/// What a regression run measures unless tables are named: tables and their rows.
const KEY_ROWS: [(&str, &str); 16] = [
    ("throughput-8", "tango"),
    ("throughput-64", "tango"),
    ("throughput-64", "tango, batches"),
    ("throughput-64", "tango, 2 processes"),
    ("throughput-1024", "tango"),
    ("working-little", "tango"),
    ("working-little", "tango, 2 processes"),
    ("working-more", "tango"),
    ("round-trip-8", "tango"),
    ("round-trip-64", "tango"),
    ("round-trip-64", "tango, 2 processes"),
    ("one-way-every-1000", "tango"),
    ("bursts-16", "tango"),
    ("bursts-256", "tango"),
    ("parked", "tango, parked"),
    ("fan-out-2", "tango"),
];
/// Measuring ends after this time, unless the number of rounds was given.
const TIME: Duration = Duration::from_secs(110);
/// Fewer rounds than this say nothing.
const MIN_ROUNDS: usize = 6;
/// Most rounds, however short they are.
const MAX_ROUNDS: usize = 200;
/// Of the messages of a window, at least this many lie beyond a quantile that is compared.
const MIN_BEYOND: f64 = 10.0;

/// What came out: whether the run is valid is an error, whether something is slower is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    NothingSlower,
    Slower,
}

/// What is compared, and how.
pub(crate) struct Request<'a> {
    pub(crate) commit: &'a str,
    /// Whether the library may have changes that are not committed.
    pub(crate) with_changes: bool,
    pub(crate) cores: Cores,
    pub(crate) window_ms: f64,
    /// Unless it is given, rounds follow each other until the time is over.
    pub(crate) rounds: Option<usize>,
}

/// The rows of ours in these tables, or the usual ones.
pub(crate) fn key_rows(mut tables: Vec<TableSpec>, all: bool) -> Vec<TableSpec> {
    for table in &mut tables {
        let TableSpec { key, rows, .. } = table;
        let is_key = |row: &RowSpec| KEY_ROWS.iter().any(|&(table, name)| table == key && name == row.name);
        rows.retain(|row| if all { row.name.starts_with("tango") } else { is_key(row) });
    }
    tables.retain(|table| !table.rows.is_empty());
    tables
}

/// A row that is measured on both sides, and how often.
struct Compared<'a> {
    table: &'a TableSpec,
    row: &'a RowSpec,
    /// Messages in a window, of each side.
    counts: [u64; 2],
    pairs: Vec<Pair>,
}

/// Builds the other commit, measures both in turns, and prints what was found.
pub(crate) fn compare(request: &Request<'_>, tables: &[TableSpec]) -> Result<Outcome, Failure> {
    if cfg!(debug_assertions) {
        return Err(Failure::usage("--against compares optimised programs: cargo run --release"));
    }
    let other = Version::other(request.commit)?;
    let this = Version::this(request.with_changes)?;
    let programs = [other.build()?, this.build()?];
    let mut sides = [Side::start(&programs[1], &this.name)?, Side::start(&programs[0], &other.name)?];

    println!("this    {}\nother   {}\n", this.name, other.name);
    let (start, cores) = (Instant::now(), request.cores);
    let effort = Effort { rounds: MAX_ROUNDS, window_ms: request.window_ms, patience: 1.0, smoke: false };
    let mut rows = Vec::new();
    for (table, row) in tables.iter().flat_map(|table| table.rows.iter().map(move |row| (table, row))) {
        let count = |side: &mut Side| {
            row.first_count(cores, effort, &mut |plan| side.measure(&table.key, &row.name, plan))
        };
        let [this, other] = &mut sides;
        rows.push(Compared { table, row, counts: [count(this), count(other)], pairs: Vec::new() });
    }

    let mut disturbances = Disturbances::default();
    let mut discarded = 0;
    let mut rounds = 0;
    while goes_on(request, rounds, start.elapsed()) {
        for (i, compared) in rows.iter_mut().enumerate() {
            // The side that begins changes from round to round and from row to row.
            let order = if (rounds + i).is_multiple_of(2) { [0, 1] } else { [1, 0] };
            match pair(compared, &mut sides, order, &mut disturbances, cores, effort) {
                Some(pair) => compared.pairs.push(pair),
                None => discarded += 1,
            }
        }
        rounds += 1;
        eprint!("\r{:.0} s: {rounds} rounds, {discarded} pairs disturbed ", start.elapsed().as_secs_f64());
    }
    eprintln!();
    if discarded * 3 > rounds * rows.len() {
        return Err(Failure::other(format!(
            "no verdict: {discarded} of {} pairs were disturbed, and more than a third is too many: stop what else \
             runs on these cores, and measure again",
            rounds * rows.len()
        )));
    }

    let lines: Vec<Line> = rows.iter().flat_map(lines_of).collect();
    println!("{}", verdict::table(&lines));
    println!(
        "{rounds} rounds in {:.0} s; {discarded} pairs discarded, {} measurements repeated",
        start.elapsed().as_secs_f64(),
        disturbances.repeated
    );
    println!("{}", verdict::in_words(&lines));
    let slower = lines.iter().any(Line::is_slower);
    Ok(if slower { Outcome::Slower } else { Outcome::NothingSlower })
}

fn goes_on(request: &Request<'_>, rounds: usize, elapsed: Duration) -> bool {
    match request.rounds {
        Some(asked) => rounds < asked,
        None => rounds < MIN_ROUNDS || (rounds < MAX_ROUNDS && elapsed < TIME),
    }
}

/// Measures a row on both sides in this order. `None`: it was disturbed.
fn pair(
    compared: &mut Compared<'_>,
    sides: &mut [Side; 2],
    order: [usize; 2],
    disturbances: &mut Disturbances,
    cores: Cores,
    effort: Effort,
) -> Option<Pair> {
    // A disturbed measurement is repeated, whenever it is.
    let deadline = Instant::now() + TIME;
    let mut measure = |side: usize| -> Measured {
        let run = &mut |plan: &_| sides[side].measure(&compared.table.key, &compared.row.name, plan);
        disturbances.measure(compared.row, cores, effort, &mut compared.counts[side], deadline, run)
    };
    let mut found = order.map(&mut measure);
    if order[0] == 1 {
        found.reverse();
    }
    let [this, other] = found;
    let change = this.distance.max(other.distance) / this.distance.min(other.distance);
    let disturbed = this.trouble + other.trouble > 0.0 || change > MAX_DISTANCE_RATIO;
    (!disturbed).then_some(Pair { this: this.sample, other: other.sample })
}

/// The figures of a row: one, or the median and the last quantile that enough messages lie beyond.
fn lines_of(compared: &Compared<'_>) -> Vec<Line> {
    let Compared { table, row, pairs, .. } = compared;
    let name = format!("{}: {}", table.key, row.name);
    let in_unit = |nanos: f64| format!("{} {}", figure(table.in_unit(nanos)), table.unit.symbol());
    let mut lines = vec![Line::new(name.clone(), pairs, |sample| sample.figure, in_unit)];
    for (quantile, title) in [(0.999, "99.9 %"), (0.99, "99 %")] {
        let enough = |pair: &Pair| pair.this.messages as f64 * (1.0 - quantile) >= MIN_BEYOND;
        if table.unit == Unit::Latency && !pairs.is_empty() && pairs.iter().all(enough) {
            let at = quantile_index(quantile);
            let latency = |sample: &Sample| sample.latencies[at] as f64;
            lines.push(Line::new(format!("{name}, {title}"), pairs, latency, in_unit));
            break;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads;

    #[test]
    fn the_key_rows_are_measured() {
        let rows: usize = key_rows(workloads::all(), false).iter().map(|table| table.rows.len()).sum();
        assert_eq!(rows, KEY_ROWS.len());
    }

    #[test]
    fn in_named_tables_all_rows_of_ours_are_compared() {
        let tables = key_rows(workloads::all(), true);
        assert!(tables.iter().flat_map(|table| &table.rows).all(|row| row.name.starts_with("tango")));
    }
}
