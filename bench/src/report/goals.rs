//! What rust-tango is meant to reach (DESIGN, section 7), and what it reached. A goal is a ratio: how many times as good
//! as another row of the same table ours is. It is the median of the ratios within the rounds.
//!
//! Two goals need other tools and are not here: instructions for each call (`.ci/codegen`), and Firedancer's own C test.

use serde::Serialize;

use super::tables::{Report, Row, Table};
use crate::channel::Role;
use crate::figures::Spread;
use crate::plan::Setting;
use crate::workloads::{COPY, FUTEX, ITSELF, TOKIO, TOUCH, TOUCH_SHARED, WORD, WORD_EACH_WAY, WORK};

/// Which figure of a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The figure of the table.
    Figure,
    /// The latency that 99.9 % of the messages stay below.
    Tail,
}

/// What ours is compared with.
#[derive(Clone, Debug, PartialEq)]
enum Against {
    /// The best peer of the same setting, with or without batches.
    BestPeer,
    Row(&'static str),
    /// So many nanoseconds a message.
    Nanos(f64),
}

/// A goal, before it is known what was reached.
struct Wanted {
    what: String,
    table: String,
    ours: String,
    at: At,
    /// The goal is reached if one of these ratios is.
    either: Vec<(Against, f64)>,
    /// The bare row that says what was possible.
    bound: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    what: String,
    /// The key of its table.
    key: String,
    /// The row that ours is compared with.
    against: String,
    wanted: f64,
    found: Spread,
    state: State,
    verdict: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Reached,
    Missed,
    /// A bare row of the same run shows that no channel could have reached it.
    Excluded,
}

/// All goals whose rows were measured.
pub(crate) fn goals(report: &Report) -> Vec<Goal> {
    wanted(report.hardware_threads).into_iter().filter_map(|wanted| found(report, wanted)).collect()
}

/// The table of DESIGN, section 7, for a machine with this many hardware threads.
fn wanted(hardware_threads: usize) -> Vec<Wanted> {
    let mut all = Vec::new();
    let mut add = |what: String, table: &str, ours: String, at, either: &[(Against, f64)], bound| {
        all.push(Wanted { what, table: table.to_owned(), ours, at, either: either.to_vec(), bound });
    };
    let best = |factor| [(Against::BestPeer, factor)];
    let of = |row, factor| [(Against::Row(row), factor)];
    use At::{Figure, Tail};
    for (setting, end, factor) in [("threads", "", 1.3), ("processes", ", 2 processes", 2.0)] {
        let (tango, batches) = (format!("tango{end}"), format!("tango, batches{end}"));
        for (table, producer) in [("throughput-64", "idle producer"), ("working-little", "little work")] {
            let either = [(Against::BestPeer, factor), (Against::Row(COPY), 0.9)];
            add(
                format!("64 bytes, {producer}, {setting}"),
                table,
                tango.clone(),
                Figure,
                &either,
                Some(COPY),
            );
        }
        let what = format!("64 bytes, more work, {setting}");
        add(what, "working-more", tango.clone(), Figure, &of(WORK, 0.95), Some(WORK));
        add(format!("8 bytes, {setting}"), "throughput-8", tango.clone(), Figure, &best(1.0), Some(COPY));
        for (table, size) in [("64", "64 bytes"), ("256", "256 bytes"), ("1024", "1 KiB"), ("4096", "4 KiB")]
        {
            let (what, table) = (format!("{size}, batches, {setting}"), format!("throughput-{table}"));
            add(what.clone(), &table, batches.clone(), Figure, &of(COPY, 0.9), Some(COPY));
            if size != "64 bytes" {
                add(what, &table, batches.clone(), Figure, &best(1.0), Some(COPY));
            }
        }
        for size in [8, 64] {
            let (what, table) =
                (format!("round trip, {size} bytes, {setting}"), format!("round-trip-{size}"));
            add(what.clone(), &table, tango.clone(), Figure, &best(1.0), Some(WORD_EACH_WAY));
            if size == 64 {
                let either = of(WORD_EACH_WAY, 1.0 / 1.25);
                add(what, &table, tango.clone(), Figure, &either, Some(WORD_EACH_WAY));
            }
        }
        for (table, load) in [
            ("one-way-every-100000", "10 thousand a second"),
            ("one-way-every-10000", "100 thousand a second"),
            ("one-way-every-1000", "1 million a second"),
            ("one-way-every-200", "5 million a second"),
            ("bursts-16", "bursts of 16"),
            ("bursts-256", "bursts of 256"),
        ] {
            for (at, quantile) in [(Figure, "median"), (Tail, "99.9 %")] {
                let what = format!("one way, {load}, {setting}, {quantile}");
                add(what, table, tango.clone(), at, &best(1.0), Some(WORD));
            }
        }
        let (what, parked) = (format!("waking, {setting}"), format!("tango, parked{end}"));
        add(what.clone(), "parked", parked.clone(), Figure, &best(1.0), Some(FUTEX));
        add(what, "parked", parked, Figure, &of(FUTEX, 1.0 / 1.15), Some(FUTEX));
        // The other process is compared with tokio within one.
        let (what, factor) =
            (format!("waking a task, {setting}"), if end.is_empty() { 1.0 } else { 1.0 / 1.5 });
        add(what, "task-wake", format!("tango, awaited{end}"), Figure, &of(TOKIO, factor), Some(FUTEX));
        for readers in [1, 2, 4, 8] {
            let factor = if readers <= hardware_threads { 1.3 } else { 0.95 };
            let ours = tango.replace("2 processes", "processes");
            let what = format!("fan-out to {readers}, {setting}");
            add(what, &format!("fan-out-{readers}"), ours, Figure, &best(factor), None);
        }
        for (ours, calls) in [(tango.clone(), ""), (batches, ", batches")] {
            add(format!("deep ring{calls}, {setting}"), "deep", ours, Figure, &best(1.0), Some(COPY));
        }
        let touch = if end.is_empty() { TOUCH } else { TOUCH_SHARED };
        add(format!("making a link, {setting}"), "attach-make", tango, Figure, &of(touch, 0.5), Some(touch));
    }
    for (table, what) in [("tasks-1", "a task"), ("tasks-1000", "a thousand tasks")] {
        let what = format!("64 bytes to {what}");
        add(what, table, "tango, awaited".into(), Figure, &of(TOKIO, 1.0), None);
    }
    let itself = [(Against::Nanos(3.0), 1.0)];
    add("the benchmark itself, 64 bytes".into(), "throughput-64", ITSELF.into(), Figure, &itself, None);
    all
}

fn found(report: &Report, wanted: Wanted) -> Option<Goal> {
    let table = report.table(&wanted.table)?;
    let ours = table.row(&wanted.ours)?;
    let Wanted { what, at, either, bound, .. } = wanted;
    // What is nearest to being reached counts.
    let (other, wanted, found) = either
        .into_iter()
        .filter_map(|(against, wanted)| {
            let (name, found) = compare(table, ours, at, &against)?;
            Some((name, wanted, found))
        })
        .max_by(|a, b| (a.2.median / a.1).total_cmp(&(b.2.median / b.1)))?;
    let bound = bound.and_then(|name| table.row(name)).filter(|bound| bound.name != other);
    let possible = bound.zip(table.row(&other)).map(|(bound, other)| Possible {
        ratio: ratio(bound, other, at).median,
        bound: &bound.name,
        exceeded: channels(table).any(|row| ratio(row, bound, at).median > 1.0),
    });
    let (state, verdict) = verdict(found.median, wanted, possible, table.disturbances.disturbed > 0);
    Some(Goal { what, key: table.key.clone(), against: other, wanted, found, state, verdict })
}

/// The name of the other row, and how many times as good ours is.
fn compare(table: &Table, ours: &Row, at: At, against: &Against) -> Option<(String, Spread)> {
    match *against {
        Against::Row(name) => {
            let other = table.row(name)?;
            Some((other.name.clone(), ratio(ours, other, at)))
        }
        Against::BestPeer => best_peer(table, ours.setting, ours.batch, |peer| ratio(ours, peer, at)),
        Against::Nanos(nanos) => {
            let ratios: Vec<f64> = ours.figures.iter().map(|figure| nanos / figure).collect();
            Some((format!("{nanos} ns"), Spread::of(&ratios)))
        }
    }
}

fn best_peer(
    table: &Table,
    setting: Setting,
    batch: bool,
    ratio: impl Fn(&Row) -> Spread,
) -> Option<(String, Spread)> {
    let peers = table.rows.iter().filter(|row| row.role == Role::Peer);
    peers
        .filter(|row| row.setting == setting && row.batch == batch)
        .map(|row| (row.name.clone(), ratio(row)))
        .min_by(|a, b| a.1.median.total_cmp(&b.1.median))
}

/// The rows that are channels, ours or not, and delivered what was sent.
fn channels(table: &Table) -> impl Iterator<Item = &Row> {
    table.rows.iter().filter(|row| matches!(row.role, Role::Tango | Role::Peer) && row.wrong == 0)
}

/// What a bare row of the same table says about a goal.
struct Possible<'a> {
    /// How many times as good as what ours is compared with it is.
    ratio: f64,
    bound: &'a str,
    /// Whether some channel of the table exceeds it. Then it is no bound.
    exceeded: bool,
}

/// Whether the goal was reached, and in words: by how much it was missed, and what was possible.
fn verdict(found: f64, wanted: f64, possible: Option<Possible<'_>>, disturbed: bool) -> (State, String) {
    let missed = format!("missed ({:.2} of it)", found / wanted);
    let (state, mut verdict) = match possible {
        _ if found >= wanted => (State::Reached, "reached".to_owned()),
        None => (State::Missed, missed),
        Some(Possible { ratio, bound, exceeded: true }) => {
            (State::Missed, format!("{missed}; {ratio:.2} for \"{bound}\", which some channel exceeds"))
        }
        Some(Possible { ratio, bound, .. }) if ratio < wanted => {
            (State::Excluded, format!("excluded: {ratio:.2} for \"{bound}\", {:.2} of that", found / ratio))
        }
        Some(Possible { ratio, bound, .. }) => {
            (State::Missed, format!("{missed}; {ratio:.2} for \"{bound}\""))
        }
    };
    if disturbed {
        verdict += "; in disturbed rounds";
    }
    (state, verdict)
}

/// How many times as good as the other row ours is, within the rounds.
fn ratio(ours: &Row, other: &Row, at: At) -> Spread {
    let of = |row: &Row| if at == At::Tail { row.tails.clone() } else { row.figures.clone() };
    // Figures are times, whatever the unit: the larger one is worse.
    let ratios: Vec<f64> = of(ours).iter().zip(of(other)).map(|(ours, other)| other / ours).collect();
    if ratios.is_empty() { Spread::of(&[f64::NAN]) } else { Spread::of(&ratios) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_by_the_median_of_the_rounds() {
        let verdict_of = |ratios: &[f64]| verdict(Spread::of(ratios).median, 1.6, None, false);
        assert_eq!(verdict_of(&[1.0, 1.7, 2.0]), (State::Reached, "reached".into()));
        assert_eq!(verdict_of(&[0.5, 0.8, 2.0]), (State::Missed, "missed (0.50 of it)".into()));
        assert!(verdict(2.0, 1.6, None, true).1.ends_with("; in disturbed rounds"));
    }

    #[test]
    fn a_missed_goal_has_the_bound_beside_it() {
        let verdict_of =
            |ratio, exceeded| verdict(0.8, 1.6, Some(Possible { ratio, bound: "bare", exceeded }), false);
        assert_eq!(verdict_of(2.0, false), (State::Missed, "missed (0.50 of it); 2.00 for \"bare\"".into()));
        assert_eq!(
            verdict_of(1.0, false),
            (State::Excluded, "excluded: 1.00 for \"bare\", 0.80 of that".into())
        );
        // A row that a channel exceeds excludes nothing.
        let (state, text) = verdict_of(1.0, true);
        assert_eq!(state, State::Missed);
        assert!(text.ends_with("1.00 for \"bare\", which some channel exceeds"));
    }

    #[test]
    #[cfg(feature = "peers")]
    fn goals_name_rows_that_are_measured() {
        let tables = crate::workloads::all();
        for Wanted { what, table, ours, either, bound, .. } in wanted(2) {
            let rows = &tables.iter().find(|spec| spec.key == table).expect("a table").rows;
            let has = |name: &str| rows.iter().any(|row| row.name == name);
            assert!(has(&ours), "{ours} in {table}");
            assert!(bound.is_none_or(has), "{bound:?} in {table}");
            for (against, _) in either {
                let Against::Row(name) = against else { continue };
                assert!(has(name), "{what}: {name} in {table}");
            }
        }
    }
}
