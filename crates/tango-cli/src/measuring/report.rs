//! What is printed of a measurement: a text for people, and JSON for programs, which `docs/operating.md` documents.

use serde::Serialize;

use crate::format;
use crate::measuring::ask::{Measured, Plan, Row, Window};
use crate::measuring::cores::Relation;
use crate::measuring::exchange::Length;
use crate::measuring::figures::{PERCENTILES, Spread};
use crate::measuring::machine::Warning;
use crate::measuring::options::wait_name;
use crate::measuring::wire::Stage;
use crate::report::VERSION;

/// The longest line.
const WIDTH: usize = 80;
/// The names of the percentiles in JSON.
const KEYS: [&str; PERCENTILES.len()] = ["p50", "p90", "p99", "p999", "max"];

impl Row {
    /// A value of each window.
    fn over(&self, value: impl Fn(&Window) -> f64) -> Spread {
        Spread::of(self.windows.iter().map(value))
    }

    fn percentile(&self, index: usize) -> Spread {
        self.over(|window| window.percentiles[index] as f64)
    }

    fn samples(&self) -> u64 {
        self.windows.iter().map(|window| window.samples).sum()
    }

    /// Messages per second.
    fn rate(&self) -> Spread {
        self.over(|window| 1e9 / window.each.max(1e-3))
    }
}

impl Measured {
    fn row(&self, stage: Stage) -> Option<&Row> {
        self.rows.iter().find(|row| row.stage == stage)
    }

    /// How many times as long as the raw cache line a round trip over links takes, without the clock, in each window.
    fn ratio(&self) -> Option<Spread> {
        let (raw, trips) = (self.row(Stage::Raw)?, self.row(Stage::Trips)?);
        let ratios = raw.windows.iter().zip(&trips.windows).map(|(raw, trip)| trip.each / raw.each.max(1e-3));
        Some(Spread::of(ratios))
    }
}

/// A time with three digits: `581 ns`, `1.10 us`, `44.9 ms`.
fn nanos(nanos: f64) -> String {
    let (number, unit) = match nanos {
        999.5e6.. => (nanos / 1e9, "s"),
        999.5e3.. => (nanos / 1e6, "ms"),
        999.5.. => (nanos / 1e3, "us"),
        _ => return format!("{nanos:.0} ns"),
    };
    let digits = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
    format!("{number:.digits$} {unit}")
}

/// A median and its range, as durations.
fn with_range(spread: Spread) -> String {
    format!("{} ({} to {})", nanos(spread.median), nanos(spread.min), nanos(spread.max))
}

/// Where it was measured: lines of up to 80 characters.
pub(crate) fn place(measured: &Measured) -> String {
    let [asking, answering] = measured.cores;
    let cores = if asking == answering { format!("{asking}") } else { format!("{asking} and {answering}") };
    format!(
        "cores         {cores}: {}\n\
         clock         {:.0} ns for each reading; each time in the table has one\n",
        measured.relation.words(),
        measured.clock,
    )
}

/// How it was measured.
fn conditions(measured: &Measured, plan: &Plan) -> String {
    let plural = if plan.windows == 1 { "" } else { "s" };
    let length = match plan.length {
        Length::Time(time) => format::duration(time),
        Length::Count(count) => format!("{} messages", format::count(count)),
    };
    let windows = format!("{} window{plural} of {length}", plan.windows);
    format!(
        "messages      {} bytes each, through rings of {} slots; waiting: {}\n\
         windows       {windows} for each row, after a warm-up\n",
        format::count(plan.size as u64),
        format::count(plan.depth as u64),
        wait_name(measured.wait),
    )
}

/// The latencies as a table, the throughput, the ratio to the raw cache line: lines of up to 80 characters.
pub(crate) fn figures(measured: &Measured, plan: &Plan) -> String {
    let header = ["", "p50", "p90", "p99", "p99.9", "max", "p50 of windows"];
    let mut table = vec![header.map(String::from).to_vec()];
    for row in &measured.rows {
        let name = match row.stage {
            Stage::Raw => "raw line",
            Stage::Trips => "round trip",
            Stage::OneWay => "one way",
            Stage::Stream => continue,
        };
        let mut cells = vec![name.to_owned()];
        let last = PERCENTILES.len() - 1;
        cells.extend((0..last).map(|index| nanos(row.percentile(index).median)));
        cells.push(nanos(row.percentile(last).max));
        let p50 = row.percentile(0);
        cells.push(format!("{}-{}", nanos(p50.min), nanos(p50.max)));
        table.push(cells);
    }
    let mut text = String::new();
    if table.len() > 1 {
        text += &format::table(&table, &[1, 2, 3, 4, 5, 6]);
        text += "Medians of the windows; max is the longest of all. The raw line is a cache line\n\
                 there and back without a link: what the cores allow.\n\n";
    }
    if measured.raw_is_missing {
        text += "raw line      not measured: the other side cannot open its file\n";
    }
    if let Some(raw) = measured.row(Stage::Raw) {
        text += &format!("raw line      {} without the clock\n", with_range(raw.over(|window| window.each)));
    }
    if let Some(trips) = measured.row(Stage::Trips) {
        text += &format!("round trip    {} without the clock", with_range(trips.over(|window| window.each)));
        match measured.ratio() {
            Some(ratio) => {
                text += &format!(
                    ",\n              {:.2} times the raw line ({:.2} to {:.2})\n",
                    ratio.median, ratio.min, ratio.max
                );
            }
            None => text += "\n",
        }
    }
    if measured.row(Stage::OneWay).is_some() {
        text +=
            &format!("one way       {} messages/s, timed from when each was due\n", format::count(plan.rate));
    }
    if let Some(stream) = measured.row(Stage::Stream) {
        let rate = stream.rate();
        let [median, min, max] = [rate.median, rate.min, rate.max].map(format::short_count);
        text += &format!(
            "throughput    {median} messages/s ({min} to {max}), {}/s\n",
            format::bytes(rate.median * plan.size as f64)
        );
    }
    text
}

/// How many messages arrived, and that they were correct.
fn content(measured: &Measured) -> String {
    format!(
        "content       {} messages over links, every byte checked:\n\
         \x20             {} lost, {} wrong\n",
        format::count(measured.sent),
        format::count(measured.lost()),
        format::count(measured.wrong),
    )
}

/// Warnings, with what they mean: lines of up to 80 characters.
pub(crate) fn warnings(measured: &Measured) -> String {
    let mut text = String::new();
    for Warning { found, means } in &measured.warnings {
        let mut line = format!("{:14}", "warning");
        for word in format!("{found}: {means}").split(' ') {
            if line.chars().count() + word.chars().count() > WIDTH {
                text += line.trim_end();
                line = format!("\n{:14}", "");
            }
            line += word;
            line += " ";
        }
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// All of the text.
pub(crate) fn text(measured: &Measured, plan: &Plan) -> String {
    let (before, after) =
        (conditions(measured, plan) + &place(measured), content(measured) + &warnings(measured));
    format!("{before}\n{}{after}", figures(measured, plan))
}

/// A measurement, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Json<'a> {
    version: u32,
    command: &'a str,
    /// The link of `ping`.
    link: Option<&'a str>,
    size: usize,
    depth: usize,
    windows: u32,
    wait: &'static str,
    cores: [usize; 2],
    cores_share: Relation,
    clock_ns: f64,
    load_average: Option<f64>,
    raw_round_trip: Option<Latency>,
    round_trip: Option<Latency>,
    round_trip_to_raw: Option<Spread>,
    one_way: Option<Latency>,
    throughput: Option<Throughput>,
    sent: u64,
    received: u64,
    lost: u64,
    wrong: u64,
    warnings: &'a [Warning],
}

#[derive(Debug, Serialize)]
struct Latency {
    samples: u64,
    /// Nanoseconds, with a reading of the clock.
    ns: serde_json::Map<String, serde_json::Value>,
    /// Nanoseconds without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_clock_ns: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_per_second: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Throughput {
    messages: u64,
    messages_per_second: Spread,
    bytes_per_second: Spread,
}

impl<'a> Json<'a> {
    pub(crate) fn new(command: &'a str, link: Option<&'a str>, measured: &'a Measured, plan: &Plan) -> Self {
        let latency = |stage| {
            let row = measured.row(stage)?;
            let percentiles = KEYS.into_iter().enumerate();
            let ns = percentiles.map(|(index, key)| (key.to_owned(), spread_json(row.percentile(index))));
            Some(Latency {
                samples: row.samples(),
                ns: ns.collect(),
                without_clock_ns: (stage != Stage::OneWay).then(|| row.over(|window| window.each)),
                messages_per_second: (stage == Stage::OneWay).then_some(plan.rate),
            })
        };
        let throughput = measured.row(Stage::Stream).map(|row| {
            let (rate, size) = (row.rate(), plan.size as f64);
            let bytes = Spread { median: rate.median * size, min: rate.min * size, max: rate.max * size };
            Throughput { messages: row.samples(), messages_per_second: rate, bytes_per_second: bytes }
        });
        Self {
            version: VERSION,
            command,
            link,
            size: plan.size,
            depth: plan.depth,
            windows: plan.windows,
            wait: wait_name(measured.wait),
            cores: measured.cores,
            cores_share: measured.relation,
            clock_ns: measured.clock,
            load_average: measured.load,
            raw_round_trip: latency(Stage::Raw),
            round_trip: latency(Stage::Trips),
            round_trip_to_raw: measured.ratio(),
            one_way: latency(Stage::OneWay),
            throughput,
            sent: measured.sent,
            received: measured.received,
            lost: measured.lost(),
            wrong: measured.wrong,
            warnings: &measured.warnings,
        }
    }
}

fn spread_json(spread: Spread) -> serde_json::Value {
    serde_json::json!({ "median": spread.median, "min": spread.min, "max": spread.max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let times =
            [0.4, 581.4, 999.4, 999.6, 9994.0, 9996.0, 17_520.0, 588_800.0, 999_600.0, 44.96e6, 2.5e9];
        let texts =
            ["0 ns", "581 ns", "999 ns", "1.00 us", "9.99 us", "10.0 us", "17.5 us", "589 us", "1.00 ms"];
        assert_eq!(times.map(nanos)[..9], texts);
        assert_eq!(times.map(nanos)[9..], ["45.0 ms", "2.50 s"]);
    }
}
