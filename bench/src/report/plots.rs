//! The plots of the page: which rows have lines, their colours, and where their points are. The template draws them.

use serde::Serialize;
use serde_json::{Value, json};

use super::tables::{Row, Table};
use crate::channel::{Peer, Role};
use crate::figures::Spread;
use crate::peers::TangoLoan;
use crate::plan::Setting;
use crate::workloads::Unit;
use crate::workloads::fan_out::{CROWDED, NONE_ATTACHED};
use crate::workloads::throughput::COPY;

/// More lines of peers could not be told apart. All rows are in the tables.
const MAX_PEERS: usize = 6;
/// Size of the area between the axes, in pixels.
const AREA: (f64, f64) = (660.0, 370.0);
/// The peers in the order of their colours, which are those of the style sheet. Peers that never share a plot share
/// a colour.
const COLOURS: [(&str, usize); 15] = [
    ("rtrb", 1),
    ("ringfire", 1),
    ("ringbuf", 2),
    ("shaq", 2),
    ("disruptor", 3),
    ("iceoryx2", 3),
    ("crossbeam-channel", 4),
    ("Unix", 4),
    ("kanal", 5),
    ("pipe", 5),
    ("flume", 6),
    ("std", 8),
    ("heapless", 9),
    ("bbqueue", 10),
    ("published", 11),
];
/// Colours for the limits.
const GREYS: [usize; 3] = [7, 12, 13];
/// Colours for our lines.
const REDS: [usize; 3] = [0, 14, 15];

/// One line of a plot.
struct Line {
    name: String,
    kind: Kind,
    points: Vec<(f64, f64)>,
}

/// What a line is of, which decides how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Ours,
    Peer,
    Limit,
}

impl Line {
    fn of(row: &Row, name: String, points: Vec<(f64, f64)>) -> Self {
        let is_limit = row.role == Role::Limit || row.name.starts_with("raw:") || row.name == NONE_ATTACHED;
        let kind = match row.role {
            _ if is_limit => Kind::Limit,
            Role::Tango | Role::Extra if row.name.starts_with("tango") => Kind::Ours,
            _ => Kind::Peer,
        };
        Self { name, kind, points }
    }
}

/// The plots above the tables of one workload.
pub(super) fn plots(workload: &str, tables: &[&Table], quantiles: &[f64]) -> Vec<Value> {
    match workload {
        "throughput" => by_size(tables),
        "fan-out" | "fan-out-observers" => by_readers(tables),
        _ => tables.iter().flat_map(|table| percentiles(table, quantiles)).collect(),
    }
}

/// Bytes a second over bytes a message, a plot for each kind of row.
fn by_size(tables: &[&Table]) -> Vec<Value> {
    let kinds = [
        ("between threads, one message a call", Setting::Threads, false),
        ("between threads, batches", Setting::Threads, true),
        ("between processes, one message a call", Setting::Processes, false),
        ("between processes, batches", Setting::Processes, true),
    ];
    let size = |bytes: f64| if bytes < 1024.0 { si(bytes) } else { format!("{} Ki", bytes / 1024.0) };
    let plot_of = |(title, setting, batch): (&str, Setting, bool)| {
        let wanted = |row: &Row| {
            let channel = matches!(row.role, Role::Tango | Role::Peer | Role::Published)
                && row.setting == setting
                && row.batch == batch;
            let loan = row.name == TangoLoan::ABOUT.title() && setting == Setting::Threads && !batch;
            channel || loan || row.role == Role::Limit || row.name == COPY
        };
        let lines = over_tables(tables, wanted, |table, nanos| table.at * 1e9 / nanos);
        let lines = best(lines, |points| points.iter().map(|point| point.1.ln()).sum());
        let x = Axis::with_ticks(tables.iter().map(|table| (table.at, size(table.at))).collect());
        plot(format!("Throughput {title}"), lines, x, "bytes a message", "bytes of payload a second")
    };
    kinds.into_iter().filter_map(plot_of).collect()
}

/// Messages a second over readers.
fn by_readers(tables: &[&Table]) -> Vec<Value> {
    let lines = over_tables(tables, |_| true, |_, nanos| 1e9 / nanos);
    let x = Axis::with_ticks(tables.iter().map(|table| (table.at, si(table.at))).collect());
    let crowded = |table: &&&Table| table.rows.iter().any(|row| row.note.as_deref() == Some(CROWDED));
    let title = match tables.iter().find(crowded) {
        Some(table) => format!("Messages a second by readers; from {} on, {CROWDED}", si(table.at)),
        None => "Messages a second by readers".to_owned(),
    };
    plot(title, (lines, 0), x, "readers", "messages a second").into_iter().collect()
}

/// Latency over the part of the messages that took at most that long, threads and processes apart.
fn percentiles(table: &Table, quantiles: &[f64]) -> Vec<Value> {
    if table.unit != Unit::Latency {
        return Vec::new();
    }
    let plot_of = |(setting, kind)| {
        let curve = |row: &Row| {
            // A quantile beyond which there is less than one message of a round says nothing.
            let messages = row.messages as f64 / table.rounds.max(1) as f64;
            let points = quantiles.iter().zip(&row.latencies);
            let points = points.take_while(|&(quantile, _)| (1.0 - quantile) * messages >= 1.0);
            let points = points.map(|(quantile, latency)| (1.0 / (1.0 - quantile), latency.max(1.0)));
            Line::of(row, row.name.clone(), points.collect())
        };
        let drawn = |row: &&Row| row.setting == setting || row.role == Role::Limit;
        let curves = table.rows.iter().filter(drawn).map(curve).filter(|line| !line.points.is_empty());
        // By the latencies of up to 99 % of the messages.
        let score = |points: &[(f64, f64)]| {
            points.iter().take_while(|point| point.0 < 110.0).map(|point| -point.1.ln()).sum()
        };
        let lines = best(curves.collect(), score);
        let farthest =
            lines.0.iter().flat_map(|line| &line.points).fold(10.0_f64, |far, point| far.max(point.0));
        let mut ticks: Vec<(f64, String)> = vec![(1.0, "0 %".into()), (2.0, "50 %".into())];
        let decades = ["90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
        for (power, name) in (1..).zip(decades) {
            if ticks.last().is_some_and(|last| last.0 < farthest * 0.999) {
                ticks.push((10_f64.powi(power), name.to_owned()));
            }
        }
        let title = format!("{}, {kind}", table.title);
        plot(title, lines, Axis::with_ticks(ticks), "part of the messages", "latency in ns")
    };
    [(Setting::Threads, "threads"), (Setting::Processes, "processes")]
        .into_iter()
        .filter_map(plot_of)
        .collect()
}

/// A line for each row, with a point from each table.
fn over_tables(
    tables: &[&Table],
    wanted: impl Fn(&Row) -> bool,
    value: impl Fn(&Table, f64) -> f64,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for table in tables {
        for row in table.rows.iter().filter(|row| wanted(row)) {
            let point = (table.at, value(table, Spread::of(&row.figures).median));
            let name = row.name_in_all_tables();
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line::of(row, name, vec![point])),
            }
        }
    }
    lines
}

/// Keeps our lines, the limits, and the peers with the highest scores. Also returns how many were left out.
fn best(mut lines: Vec<Line>, score: impl Fn(&[(f64, f64)]) -> f64) -> (Vec<Line>, usize) {
    let peers = lines.iter().filter(|line| line.kind == Kind::Peer);
    let mut scores: Vec<f64> = peers.map(|line| score(&line.points)).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    let before = lines.len();
    if let Some(&least) = scores.get(MAX_PEERS - 1) {
        lines.retain(|line| line.kind != Kind::Peer || score(&line.points) >= least);
    }
    let left_out = before - lines.len();
    (lines, left_out)
}

/// A colour for each line: the same for the same peer everywhere, unless it is taken.
fn colours(lines: &[Line]) -> Vec<usize> {
    let mut greys = GREYS.into_iter().cycle();
    let mut taken = Vec::new();
    let mut choose = |line: &Line| {
        let preferred = COLOURS.iter().find(|(peer, _)| line.name.starts_with(peer)).map(|colour| colour.1);
        let reds = REDS.into_iter().filter(|_| line.kind == Kind::Ours);
        let others = COLOURS.iter().map(|colour| colour.1);
        let colour = reds.chain(preferred).chain(others).find(|colour| !taken.contains(colour)).unwrap_or(1);
        taken.push(colour);
        colour
    };
    let colour =
        |line: &Line| if line.kind == Kind::Limit { greys.next().unwrap_or(0) } else { choose(line) };
    lines.iter().map(colour).collect()
}

/// An axis with a logarithmic scale.
struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    fn with_ticks(ticks: Vec<(f64, String)>) -> Self {
        let from = ticks.first().map_or(1.0, |tick| tick.0);
        let to = ticks.last().map_or(10.0, |tick| tick.0);
        Self { from, to: if to > from { to } else { from * 2.0 }, ticks }
    }

    /// An axis with ticks at 1, 2 and 5 times the powers of ten around these values. Long axes have only the powers.
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) =
            values.fold((f64::INFINITY, 0.0_f64), |(a, b), value| (a.min(value), b.max(value)));
        let steps: Vec<(f64, f64)> = (least.log10().floor() as i32..=most.log10().ceil() as i32)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|leading| (leading, leading * 10_f64.powi(power))))
            .collect();
        let from = steps.iter().map(|step| step.1).rfind(|&step| step <= least).unwrap_or(least);
        let to = steps.iter().map(|step| step.1).find(|&step| step >= most).unwrap_or(most);
        let to = if to > from { to } else { from * 2.0 };
        let is_long = to / from >= 1000.0;
        let kept = |step: &&(f64, f64)| (from..=to * 1.0001).contains(&step.1) && (!is_long || step.0 == 1.0);
        let ticks = steps.iter().filter(kept).map(|step| (step.1, si(step.1))).collect();
        Self { from, to, ticks }
    }

    /// The position of a value on an axis of this length, in tenths of a pixel.
    fn position(&self, value: f64, length: f64) -> f64 {
        let part = (value / self.from).ln() / (self.to / self.from).ln();
        (part * length * 10.0).round() / 10.0
    }
}

/// A number as on an axis: `500`, `20k`, `5M`.
fn si(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    format!("{}{unit}", (scaled * 1000.0).round() / 1000.0)
}

/// A plot for the template. Nothing if there is nothing to draw.
fn plot(
    title: String,
    (lines, left_out): (Vec<Line>, usize),
    x: Axis,
    x_label: &str,
    y_label: &str,
) -> Option<Value> {
    let points = || lines.iter().flat_map(|line| &line.points);
    points().next()?;
    let y = Axis::around(points().map(|point| point.1));
    let (width, height) = AREA;
    let place = |&(at, value): &(f64, f64)| (x.position(at, width), height - y.position(value, height));
    let mut drawn: Vec<(&Line, usize)> = lines.iter().zip(colours(&lines)).collect();
    // The legend has the order in which the lines end.
    let end = |line: &Line| line.points.last().map_or(0.0, |point| point.1);
    drawn.sort_by(|a, b| end(b.0).total_cmp(&end(a.0)));
    let line = |&(line, colour): &(&Line, usize)| {
        let points: Vec<(f64, f64)> = line.points.iter().map(place).collect();
        // The dots of a long curve would hide each other.
        let dots = if line.points.len() <= 12 { points.clone() } else { Vec::new() };
        json!({ "name": line.name, "kind": line.kind, "colour": colour, "points": points, "dots": dots })
    };
    let ticks = |axis: &Axis, length| -> Vec<Value> {
        let tick = |(at, name): &(f64, String)| json!({ "at": axis.position(*at, length), "name": name });
        axis.ticks.iter().map(tick).collect()
    };
    Some(json!({
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "width": width,
        "height": height,
        "left_out": left_out,
        "x_ticks": ticks(&x, width),
        "y_ticks": ticks(&y, height),
        "lines": drawn.iter().map(line).collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_keep_their_colour_unless_it_is_taken() {
        let line = |&name: &&str| {
            let kind = if name.starts_with("tango") { Kind::Ours } else { Kind::Peer };
            Line { name: name.to_owned(), kind, points: vec![(1.0, 1.0)] }
        };
        let colours = |names: &[&str]| colours(&names.iter().map(line).collect::<Vec<_>>());
        assert_eq!(colours(&["tango", "rtrb 0.4.1", "kanal 0.1.1"]), [0, 1, 5]);
        assert_eq!(colours(&["tango, observers", "tango, observers, processes"]), [0, 14]);
        assert_eq!(colours(&["ringfire, lossy", "ringfire, lossy, processes"]), [1, 2]);
    }

    #[test]
    fn numbers_as_on_an_axis() {
        assert_eq!(si(0.5), "0.5");
        assert_eq!(si(500.0), "500");
        assert_eq!(si(20_000.0), "20k");
        assert_eq!(si(5e6), "5M");
    }

    #[test]
    fn an_axis_reaches_around_its_values() {
        let axis = Axis::around([3.0, 70.0].into_iter());
        assert_eq!((axis.from, axis.to), (2.0, 100.0));
        let ticks: Vec<f64> = axis.ticks.iter().map(|tick| tick.0).collect();
        assert_eq!(ticks, [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(axis.position(2.0, 600.0), 0.0);
        assert_eq!(axis.position(100.0, 600.0), 600.0);
    }

    #[test]
    fn a_plot_without_points_is_left_out() {
        let x = || Axis::with_ticks(vec![(1.0, "1".into()), (10.0, "10".into())]);
        let line = Line { name: "a".into(), kind: Kind::Limit, points: vec![(1.0, 2.0), (10.0, 30.0)] };
        assert!(plot("a".into(), (vec![line], 0), x(), "x", "y").is_some());
        assert!(plot("b".into(), (vec![], 0), x(), "x", "y").is_none());
    }
}
