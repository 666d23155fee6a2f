//! The report as one page that needs nothing else: plots inside, tables below them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::plots::{Axes, COLOURS, GREYS, REDS, Series, Stroke, css, lines, si};
use super::text::{COMPARISON, comparison, figure};
use super::{Report, Row, Table, targets};
use crate::method::{Setting, Spread};
use crate::peers::{Peer, Role, TangoLoan};
use crate::workloads::Unit;
use crate::workloads::fan_out::{CROWDED, NONE_ATTACHED};
use crate::workloads::throughput::COPY;

/// So many peers have lines in a plot: more could not be told apart. All of them are in the tables.
const PEERS: usize = 6;

const STYLE: &str = include_str!("page.css");

/// Workloads in the order of the page, with a title and what to know before looking.
const SECTIONS: [(&str, &str, &str); 13] = [
    (
        "throughput",
        "Throughput by size",
        "As fast as the two sides can, every byte checked by the reader. The plots have bytes of payload a \
         second, so that large messages can be seen beside small ones; the tables have messages too.",
    ),
    (
        "working",
        "A producer with work to do",
        "The producer computes before each message, so the consumer keeps up and both sides meet at the \
         same cache lines: the normal case, and the hard one.",
    ),
    (
        "slow-consumer",
        "A slow consumer",
        "The consumer computes after each message, so the ring stays full and the producer waits.",
    ),
    ("round-trip", "Round trip, one after the other", "The mean of a window without a clock in between."),
    (
        "round-trip-load",
        "Round trip under load",
        "Each call is due at a time that does not wait for the one before, and its latency counts from then.",
    ),
    (
        "one-way",
        "One-way latency under load",
        "From when a message was due to when its reader had checked it. A peer that cannot keep up with the \
         rate falls behind further and further, and its curve says so.",
    ),
    ("bursts", "Bursts", "All messages of a burst are due when it begins."),
    (
        "parked",
        "Waking a reader",
        "Messages come seldom, and the reader waits in the way that is meant for that.",
    ),
    (
        "fan-out",
        "Fan-out, reliable",
        "Each reader gets every message; the figure is the producer's messages. With more threads than \
         cores, which is marked, readers yield between looks.",
    ),
    (
        "fan-out-observers",
        "Fan-out, observing",
        "The producer does not wait; readers lose what they are too slow for.",
    ),
    ("deep", "A ring that leaves the cache", ""),
    ("published", "The published crate's own workloads", "Set-up and threads are part of the time."),
    ("attach", "Making and joining", ""),
];

pub(crate) fn page(report: &Report) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>rust-tango, benchmarks</title>\n<style>\n{STYLE}</style>\n<h1>rust-tango, benchmarks</h1>\n"
    );
    introduction(&mut page, report);
    for (workload, title, text) in sections() {
        let tables: Vec<&Table> = report.tables.iter().filter(|table| table.workload == workload).collect();
        if tables.is_empty() {
            continue;
        }
        let _ = writeln!(page, "<h2 id=\"{workload}\">{title}</h2>\n<p>{text}</p>");
        match workload {
            "throughput" => by_size(&mut page, &tables),
            "fan-out" | "fan-out-observers" => by_readers(&mut page, &tables),
            _ => {
                for table in &tables {
                    percentiles(&mut page, table, &report.quantiles);
                }
            }
        }
        for table in tables {
            show(&mut page, table);
        }
    }
    page
}

fn sections() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let memory = ("memory", "Memory", "Pages that are in memory once messages have been all the way round.");
    SECTIONS.into_iter().chain([memory])
}

fn introduction(page: &mut String, report: &Report) {
    let _ = writeln!(page, "<table class=\"facts\">");
    for (name, fact) in report.machine.facts() {
        let _ = writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escaped(&fact));
    }
    let _ = writeln!(
        page,
        "<tr><th>run</th><td><code>{}</code>, {} rounds, windows of {} ms, {:.0} s in all</td></tr></table>",
        escaped(&report.command),
        report.effort.rounds,
        report.effort.window_ms,
        report.seconds
    );
    for warning in &report.warnings {
        let _ = writeln!(page, "<p class=\"warning\">Warning: {}.</p>", escaped(warning));
    }
    page.push_str(
        "<p>Figures are medians over rounds in which all rows of a table take turns; ratios are taken within \
         a round. They do not travel between machines, and hardly between hours of a virtual one. What each \
         row means, and what the figures cannot tell, is in <code>bench/README.md</code>.</p>\n<nav>",
    );
    for (workload, title, _) in sections() {
        if report.tables.iter().any(|table| table.workload == workload) {
            let _ = write!(page, "<a href=\"#{workload}\">{title}</a> ");
        }
    }
    page.push_str("</nav>\n");
    goals(page, report);
    summary(page, report);
}

/// What is meant to be reached, and whether it was.
fn goals(page: &mut String, report: &Report) {
    let targets = targets(report);
    if targets.is_empty() {
        return;
    }
    let reached = targets.iter().filter(|target| target.reached).count();
    let _ = writeln!(
        page,
        "<h2 id=\"goals\">Goals</h2>\n<p>{reached} of {} reached. Each figure says how many times as good as the \
         other row ours was: the median of the ratios within the rounds, and their range.</p>\n\
         <div class=\"wide\"><table class=\"goals\"><tr><th>ours</th><th>held against</th><th>wanted</th><th>found</th>\
         <th>range</th><th></th></tr>",
        targets.len()
    );
    for target in targets {
        let class = if target.reached { "good" } else { "bad" };
        let _ = writeln!(
            page,
            "<tr><td><a href=\"#{}\">{}</a></td><td class=\"text\">{}</td><td>{:.2}</td>\
             <td class=\"{class}\">{:.2}</td><td>{:.2} to {:.2}</td><td class=\"{class}\">{}</td></tr>",
            target.key,
            escaped(&target.what),
            escaped(&target.against),
            target.wanted,
            target.found.median,
            target.found.min,
            target.found.max,
            target.verdict()
        );
    }
    page.push_str("</table></div>\n");
}

/// Ours against the best peer of each kind, a line for each table.
fn summary(page: &mut String, report: &Report) {
    page.push_str(
        "<h2 id=\"summary\">Summary</h2>\n<p>How many times as good as the best peer of each kind, and as the \
         published crate, ours was: more than 1 is in our favour.</p>\n<div class=\"wide\"><table class=\"summary\"><tr><th></th>",
    );
    for kind in COMPARISON {
        let _ = write!(page, "<th>{kind}</th>");
    }
    page.push_str("</tr>\n");
    for table in &report.tables {
        let cells = comparison(table);
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(page, "<tr><td><a href=\"#{}\">{}</a></td>", table.key, escaped(&table.title));
        for cell in cells {
            let _ = match cell {
                Some((ratio, peer)) => {
                    let class = if ratio.median >= 1.0 { "good" } else { "bad" };
                    let range = format!("{:.2} to {:.2}", ratio.min, ratio.max);
                    write!(
                        page,
                        "<td class=\"text\" title=\"{range}\"><b class=\"{class}\">{:.2}</b> {}</td>",
                        ratio.median,
                        escaped(&peer)
                    )
                }
                None => write!(page, "<td></td>"),
            };
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

/// Bytes a second over bytes a message, a plot for each kind of row.
fn by_size(page: &mut String, tables: &[&Table]) {
    let kinds = [
        ("between threads, one message a call", Setting::Threads, false),
        ("between threads, batches", Setting::Threads, true),
        ("between processes, one message a call", Setting::Processes, false),
        ("between processes, batches", Setting::Processes, true),
    ];
    let ticks: Vec<(f64, String)> = tables.iter().map(|table| (table.at, size(table.at))).collect();
    let apart = |table: &&Table| format!("{:.0} ns at {}", table.distance.median, size(table.at));
    let apart: Vec<String> = tables.iter().map(apart).collect();
    let _ = writeln!(page, "<p class=\"conditions\">The cores were apart: {}.</p>", apart.join(", "));
    for (title, setting, batch) in kinds {
        let wanted = |row: &Row| {
            let peer = matches!(row.role, Role::Tango | Role::Peer | Role::Published)
                && row.setting == setting
                && row.batch == batch;
            let loan = row.name == TangoLoan::ABOUT.title() && setting == Setting::Threads && !batch;
            peer || loan || row.role == Role::Limit || row.name == COPY
        };
        let all = over_tables(tables, wanted, |table, nanos| table.at * 1e9 / nanos);
        let (lines, left_out) = the_best(all, |points| points.map(|point| point.1.ln()).sum());
        let axes = Axes { x: "bytes a message", y: "bytes of payload a second", ticks: ticks.clone() };
        plot(page, &format!("Throughput {title}"), left_out, &coloured(lines), axes);
    }
}

/// Bytes as an axis has them.
fn size(bytes: f64) -> String {
    if bytes < 1024.0 { si(bytes) } else { format!("{} Ki", bytes / 1024.0) }
}

/// Messages a second over readers.
fn by_readers(page: &mut String, tables: &[&Table]) {
    let lines = over_tables(tables, |_| true, |_, nanos| 1e9 / nanos);
    let ticks = tables.iter().map(|table| (table.at, si(table.at))).collect();
    let axes = Axes { x: "readers", y: "messages a second", ticks };
    let crowded = |table: &&&Table| table.rows.iter().any(|row| row.note.as_deref() == Some(CROWDED));
    let title = match tables.iter().find(crowded) {
        Some(table) => format!("Messages a second by readers; from {} on, {CROWDED}", si(table.at)),
        None => "Messages a second by readers".to_owned(),
    };
    plot(page, &title, 0, &coloured(lines), axes);
}

/// A line of a plot that has no colour yet.
struct Line {
    name: String,
    stroke: Stroke,
    points: Vec<(f64, f64)>,
}

impl Line {
    fn of(row: &Row, name: String, points: Vec<(f64, f64)>) -> Self {
        let is_limit = row.role == Role::Limit || row.name.starts_with("raw:") || row.name == NONE_ATTACHED;
        let stroke = match row.role {
            _ if is_limit => Stroke::Limit,
            Role::Tango | Role::Extra if row.name.starts_with("tango") => Stroke::Ours,
            _ => Stroke::Theirs,
        };
        Self { name, stroke, points }
    }
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
            // The name of the limit of fan-out has the count of readers in it.
            let name = if row.role == Role::Limit { limit_name(&row.name) } else { row.name.clone() };
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line::of(row, name, vec![point])),
            }
        }
    }
    lines
}

/// Keeps ours, the limits, and the peers with the highest scores; and how many were left out.
fn the_best(
    mut lines: Vec<Line>,
    score: impl Fn(&mut dyn Iterator<Item = (f64, f64)>) -> f64,
) -> (Vec<Line>, usize) {
    let score = |line: &Line| score(&mut line.points.iter().copied());
    let mut scores: Vec<f64> = lines.iter().filter(|line| line.stroke == Stroke::Theirs).map(score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    let before = lines.len();
    if let Some(&least) = scores.get(PEERS - 1) {
        lines.retain(|line| line.stroke != Stroke::Theirs || score(line) >= least);
    }
    let left_out = before - lines.len();
    (lines, left_out)
}

fn limit_name(name: &str) -> String {
    let counted = name.split(' ').map(|word| if word.parse::<u32>().is_ok() { "all" } else { word });
    counted.collect::<Vec<_>>().join(" ")
}

/// Latency over the part of messages that had at most that, threads and processes apart.
fn percentiles(page: &mut String, table: &Table, quantiles: &[f64]) {
    if table.unit != Unit::Latency {
        return;
    }
    for (setting, kind) in [(Setting::Threads, "threads"), (Setting::Processes, "processes")] {
        let mut curves = Vec::new();
        let drawn =
            |row: &&Row| (row.setting == setting || row.role == Role::Limit) && !row.latencies.is_empty();
        for row in table.rows.iter().filter(drawn) {
            // A quantile that less than one message of a round is beyond says nothing.
            let a_round = row.messages as f64 / table.rounds.max(1) as f64;
            let seen = |&(&quantile, _): &(&f64, &f64)| (1.0 - quantile) * a_round >= 1.0;
            let points = quantiles.iter().zip(&row.latencies).take_while(seen);
            let points = points.map(|(quantile, &latency)| (1.0 / (1.0 - quantile), latency.max(1.0)));
            curves.push(Line::of(row, row.name.clone(), points.collect()));
        }
        // By the latency of half of the messages and that of 99 %.
        let score = |points: &mut dyn Iterator<Item = (f64, f64)>| {
            points.take_while(|point| point.0 < 110.0).map(|point| -point.1.ln()).sum::<f64>()
        };
        let (curves, left_out) = the_best(curves, score);
        let farthest = curves.iter().flat_map(|line| &line.points).map(|point| point.0).fold(10.0, f64::max);
        let named = [(1.0, "0 %"), (2.0, "50 %"), (10.0, "90 %"), (1e2, "99 %"), (1e3, "99.9 %")];
        let named = named.into_iter().chain([(1e4, "99.99 %"), (1e5, "99.999 %")]);
        let mut ticks: Vec<(f64, String)> = Vec::new();
        for (at, name) in named {
            if ticks.last().is_none_or(|last| last.0 < farthest * 0.999) {
                ticks.push((at, name.to_owned()));
            }
        }
        let axes = Axes { x: "part of the messages that took at most that long", y: "latency in ns", ticks };
        plot(page, &format!("{}, {kind}", table.title), left_out, &coloured(curves), axes);
    }
}

/// The same colour for the same peer everywhere, if that is free.
fn coloured(lines: Vec<Line>) -> Vec<Series> {
    let usual: BTreeMap<&str, usize> = [
        ("tango", 0),
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
    ]
    .into();
    let (mut taken, mut coloured) = (Vec::new(), Vec::new());
    let (limits, others): (Vec<Line>, Vec<Line>) =
        lines.into_iter().partition(|line| line.stroke == Stroke::Limit);
    for Line { name, stroke, points } in others {
        let first = name.split([' ', ',']).next().unwrap_or(&name);
        let reds = REDS.into_iter().filter(|_| stroke == Stroke::Ours);
        let rest = (0..COLOURS).filter(|colour| !GREYS.contains(colour) && !REDS.contains(colour));
        let mut wishes = usual.get(first).copied().into_iter().chain(reds).chain(rest);
        let colour = wishes.find(|colour| !taken.contains(colour)).unwrap_or(1);
        taken.push(colour);
        coloured.push(Series { name, stroke, colour, points });
    }
    for (Line { name, stroke, points }, colour) in limits.into_iter().zip(GREYS.into_iter().cycle()) {
        coloured.push(Series { name, stroke, colour, points });
    }
    coloured
}

/// A plot with its legend, in the order in which the lines end.
fn plot(page: &mut String, title: &str, left_out: usize, series: &[Series], axes: Axes) {
    let Some(svg) = lines(series, axes) else { return };
    let _ = write!(page, "<figure><figcaption>{}</figcaption><div class=\"plot\">{svg}<ul>", escaped(title));
    let mut ordered: Vec<&Series> = series.iter().filter(|series| !series.points.is_empty()).collect();
    let end = |series: &Series| series.points.last().map_or(0.0, |point| point.1);
    ordered.sort_by(|a, b| end(b).total_cmp(&end(a)));
    for series in ordered {
        let class = match series.stroke {
            Stroke::Ours => " class=\"ours\"",
            Stroke::Limit => " class=\"limit\"",
            Stroke::Theirs => "",
        };
        let _ = write!(
            page,
            "<li{class}><span style=\"border-color:{}\"></span>{}</li>",
            css(series.colour),
            escaped(&series.name)
        );
    }
    page.push_str("</ul></div>");
    if left_out > 0 {
        let rows = if left_out == 1 { "row is" } else { "rows are" };
        let _ = write!(page, "<p class=\"conditions\">{left_out} slower {rows} only in the tables.</p>");
    }
    page.push_str("</figure>\n");
}

/// A table with a bar behind each figure.
fn show(page: &mut String, table: &Table) {
    let _ = writeln!(
        page,
        "<details open id=\"{}\"><summary>{} <small>({})</small></summary>\n<p class=\"conditions\">{}</p>",
        table.key,
        escaped(&table.title),
        table.unit.name(),
        table.conditions()
    );
    if let Some(warning) = table.warning() {
        let _ = writeln!(page, "<p class=\"warning\">Warning: {warning}.</p>");
    }
    let _ = write!(page, "<div class=\"wide\"><table><tr>");
    let bars = table.unit != Unit::Latency;
    for (column, cell) in table.header().iter().enumerate() {
        let _ = write!(page, "<th>{cell}</th>");
        if bars && column == 0 {
            page.push_str("<th></th>");
        }
    }
    page.push_str("</tr>\n");
    let most = table.rows.iter().map(|row| row.value.median).fold(0.0, f64::max);
    for row in &table.rows {
        let class = match row.role {
            Role::Tango => " class=\"ours\"",
            Role::Limit => " class=\"limit\"",
            _ => "",
        };
        let _ = write!(page, "<tr{class}>");
        for (column, cell) in table.line(row).iter().enumerate() {
            let _ = write!(page, "<td>{}</td>", escaped(cell));
            if bars && column == 0 {
                let part = row.value.median / most * 100.0;
                let title = figure(row.value.median);
                let _ = write!(
                    page,
                    "<td class=\"bar\" title=\"{title}\"><i style=\"width:{part:.1}%\"></i></td>"
                );
            }
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div></details>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_keep_their_colour_unless_it_is_taken() {
        let line = |name: &str| {
            let stroke = if name.starts_with("tango") { Stroke::Ours } else { Stroke::Theirs };
            Line { name: name.to_owned(), stroke, points: vec![(1.0, 1.0)] }
        };
        let colours = |names: &[&str]| -> Vec<usize> {
            coloured(names.iter().map(|name| line(name)).collect())
                .iter()
                .map(|series| series.colour)
                .collect()
        };
        assert_eq!(colours(&["tango", "rtrb 0.4.1", "kanal 0.1.1"]), [0, 1, 5]);
        assert_eq!(colours(&["tango, observers", "tango, observers, processes"]), [0, 14]);
        assert_eq!(colours(&["ringfire, lossy", "ringfire, lossy, processes"]), [1, 2]);
    }

    #[test]
    fn the_limit_of_fan_out_has_one_name() {
        assert_eq!(limit_name("tango, 4 attached, none reads"), "tango, all attached, none reads");
    }
}
