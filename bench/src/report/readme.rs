//! The tables of the README of the repository, ready to be pasted: few rows, few columns, and where they
//! come from.

use std::fmt::Write;

use super::text::{figure, markdown_table};
use super::{Report, Row, Table};
use crate::method::Spread;
use crate::peers::Role;
use crate::workloads::latency::SLOTS;
use crate::workloads::throughput::COPY;

/// Rows, each with what the README calls it and what its name in the tables begins with.
const ROWS: [(&str, &str); 11] = [
    ("**rust-tango, threads**", "tango"),
    ("rtrb", "rtrb "),
    ("ringbuf", "ringbuf "),
    ("disruptor", "disruptor "),
    ("crossbeam-channel", "crossbeam-channel "),
    ("std `sync_channel`", "std sync_channel"),
    ("**rust-tango, two processes**", "tango, 2 processes"),
    ("**rust-tango, two processes, mapped writable**", "tango, mapped writable, 2 processes"),
    ("ringfire, two processes", "ringfire "),
    ("shaq, two processes", "shaq "),
    ("the published rust-tango 0.1.2", "published rust-tango 0.1.2"),
];

/// A table of the README: its key in the report, and the title of its column.
type Column = (&'static str, &'static str);
/// A limit: what the README calls it, and which row it is.
type Limit = (&'static str, fn(&Row) -> bool);

pub(crate) fn readme(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    let distances: Vec<f64> = report.tables.iter().map(|table| table.distance.median).collect();
    if distances.is_empty() {
        return text;
    }
    let _ = writeln!(
        text,
        "Medians of one run (`{}`, {:.0} minutes) at commit {} on {} ({}), whose cores were about {:.0} ns apart \
         (the round trip of an atomic word between them). The range of rounds is in brackets.\n",
        report.command,
        report.seconds / 60.0,
        machine.commit,
        machine.model,
        if machine.virtual_machine { "a virtual machine" } else { "a real machine" },
        Spread::of(&distances).median
    );
    let throughput = [
        ("throughput-64", "idle producer"),
        ("working-little", "7 ns of work"),
        ("working-more", "45 ns of work"),
    ];
    let with_range = |row: &Row| {
        let Spread { median, min, max } = row.value;
        format!("{} ({} to {})", figure(median), figure(min), figure(max))
    };
    let limits: [Limit; 2] = [
        ("limit: the producer with nobody reading, or the work alone", |row| row.role == Role::Limit),
        ("limit: copied once, the other core reads", |row| row.name == COPY),
    ];
    table(&mut text, report, "million messages of 64 bytes a second", &throughput, with_range, &[], &limits);
    let large = [("throughput-1024", "1 KiB"), ("throughput-4096", "4 KiB")];
    let loan = [("**rust-tango, `loan`, made in place**", "tango, loan")];
    table(&mut text, report, "GiB of payload a second", &large, with_range, &loan, &limits);
    let round_trips = [("round-trip-8", "8 bytes"), ("round-trip-64", "64 bytes")];
    let times = |row: &Row| {
        let nanos = figure(row.value.median);
        row.times_limit.map_or_else(|| nanos.clone(), |times| format!("{nanos} ({:.2} x)", times.median))
    };
    let limits: [Limit; 2] = [
        ("limit: an atomic word each way", |row| row.role == Role::Limit),
        ("limit: the same, in a new slot each time", |row| row.name == SLOTS),
    ];
    table(&mut text, report, "round trip in ns (times the raw one)", &round_trips, times, &[], &limits);
    text
}

/// One table: our rows, those of some peers, and the limits.
fn table(
    text: &mut String,
    report: &Report,
    title: &str,
    columns: &[Column],
    cell: impl Fn(&Row) -> String,
    more: &[(&str, &str)],
    limits: &[Limit],
) {
    let tables: Vec<&Table> =
        columns.iter().filter_map(|(key, _)| report.tables.iter().find(|table| table.key == *key)).collect();
    if tables.len() != columns.len() {
        return;
    }
    let header = std::iter::once(title).chain(columns.iter().map(|column| column.1));
    let mut lines: Vec<Vec<String>> = vec![header.map(str::to_owned).collect()];
    let mut add = |title: &str, found: &dyn Fn(&Row) -> bool| {
        let cells: Vec<String> = tables
            .iter()
            .map(|table| table.rows.iter().find(|row| found(row)).map_or_else(String::new, &cell))
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            lines.push(std::iter::once(title.to_owned()).chain(cells).collect());
        }
    };
    for &(title, name) in ROWS.iter().chain(more) {
        let processes = title.contains("processes");
        add(title, &|row: &Row| {
            let ours = name.starts_with("tango") && !name.contains("loan");
            let named = if ours { row.name == name } else { row.name.starts_with(name) };
            named && !row.batch && row.name.contains("processes") == processes
        });
    }
    for (title, is_it) in limits {
        add(title, &|row: &Row| is_it(row));
    }
    markdown_table(text, &lines);
    text.push('\n');
}
