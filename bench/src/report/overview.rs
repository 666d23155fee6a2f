//! Tables with one line a row for all sizes, rates or readers of a workload.

use serde_json::{Value, json};

use super::tables::{Report, Row, Table};
use super::text::{Lines, figure};
use crate::channel::Role;
use crate::figures::Spread;
use crate::workloads::Unit;

/// Measured tables as columns: the key of each, and its heading.
type Columns = &'static [(&'static str, &'static str)];

/// The tables of the committed report: title, what the figures are, columns.
const OVERVIEW: [(&str, &str, Columns); 9] = [
    (
        "Throughput by size",
        "Million messages a second up to 256 bytes, GiB of payload a second from 1 KiB on.",
        &[
            ("throughput-8", "8 B"),
            ("throughput-64", "64 B"),
            ("throughput-256", "256 B"),
            ("throughput-1024", "1 KiB"),
            ("throughput-4096", "4 KiB"),
            ("throughput-65536", "64 KiB"),
        ],
    ),
    (
        "Throughput with work on one side, and with a ring that leaves the caches",
        "Million messages of 64 bytes a second.",
        &[
            ("working-little", "7 ns before each"),
            ("working-more", "45 ns before each"),
            ("slow-consumer", "150 ns after each"),
            ("deep", "ring of 1 048 576"),
        ],
    ),
    (
        "Round trip",
        "Nanoseconds. One after the other: the mean of a window. At a given rate: 50 % / 99 %.",
        &[
            ("round-trip-8", "8 B"),
            ("round-trip-64", "64 B"),
            ("round-trip-every-100000", "10 k/s"),
            ("round-trip-every-10000", "100 k/s"),
            ("round-trip-every-2000", "500 k/s"),
        ],
    ),
    (
        "One way, at a given rate and in bursts",
        "Nanoseconds, 64 bytes: 50 % / 99 %.",
        &[
            ("one-way-every-100000", "10 k/s"),
            ("one-way-every-10000", "100 k/s"),
            ("one-way-every-1000", "1 M/s"),
            ("one-way-every-200", "5 M/s"),
            ("bursts-16", "bursts of 16"),
            ("bursts-256", "bursts of 256"),
        ],
    ),
    ("Waking a reader that waits", "Nanoseconds, 64 bytes: 50 % / 99 %.", &[("parked", "every 500 µs")]),
    (
        "Fan-out to reliable readers",
        "Million messages of 64 bytes a second.",
        &[("fan-out-1", "1"), ("fan-out-2", "2"), ("fan-out-4", "4"), ("fan-out-8", "8")],
    ),
    (
        "Fan-out to observers",
        "Million messages of 64 bytes a second, at the producer.",
        &[
            ("fan-out-observers-1", "1"),
            ("fan-out-observers-2", "2"),
            ("fan-out-observers-4", "4"),
            ("fan-out-observers-8", "8"),
        ],
    ),
    (
        "The published crate's own workloads",
        "Million messages a second, and nanoseconds a round trip. Set-up is included.",
        &[("published-64", "64 B"), ("published-1024", "1 KiB"), ("published-round-trip", "round trip, 8 B")],
    ),
    (
        "Making a channel, joining it, and its memory",
        "Microseconds a call, and KiB.",
        &[
            ("attach-make", "make, µs"),
            ("attach-join", "join, µs"),
            ("memory-64", "KiB for 64 B"),
            ("memory-1024", "KiB for 1 KiB"),
        ],
    ),
];

/// The table for the README of the repository: its columns, and its rows with the beginnings of their names.
const HEADLINE: Columns = &[
    ("throughput-64", "64 B, M/s"),
    ("working-little", "64 B, 7 ns of work, M/s"),
    ("throughput-1024", "1 KiB, GiB/s"),
    ("round-trip-64", "round trip 64 B, ns"),
];
const HEADLINE_ROWS: [(&str, &str); 8] = [
    ("**rust-tango, threads**", "tango"),
    ("rtrb", "rtrb "),
    ("disruptor", "disruptor "),
    ("crossbeam-channel", "crossbeam-channel "),
    ("**rust-tango, two processes**", "tango, 2 processes"),
    ("ringfire, two processes", "ringfire "),
    ("shaq, two processes", "shaq "),
    ("no channel: what the hardware does", "raw: "),
];

/// The tables of the committed report, for the template.
pub(super) fn overview(report: &Report) -> Vec<Value> {
    let group = |(title, figures, columns): (&str, &str, Columns)| {
        let tables = Vec::from_iter(columns.iter().filter_map(|(key, _)| report.table(key)));
        let mut rows: Vec<&Row> = Vec::new();
        for row in tables.iter().flat_map(|table| &table.rows) {
            if !rows.iter().any(|known| known.name_in_all_tables() == row.name_in_all_tables()) {
                rows.push(row);
            }
        }
        let rows = rows.into_iter().map(|row| {
            let name = row.name_in_all_tables();
            let title = if row.role == Role::Tango { format!("**{name}**") } else { name.clone() };
            (title, move |row: &Row| row.name_in_all_tables() == name)
        });
        let lines = pivot(report, columns, rows, |table, row| match table.unit {
            Unit::Latency => format!("{} / {}", row.latency(0.5), row.latency(0.99)),
            _ => figure(row.value.median),
        });
        (!tables.is_empty()).then(|| json!({ "title": title, "figures": figures, "lines": lines }))
    };
    OVERVIEW.into_iter().filter_map(group).collect()
}

/// The table for the README of the repository, for the template.
pub(super) fn headline(report: &Report) -> Lines {
    let rows = HEADLINE_ROWS.into_iter().map(|(title, name)| {
        let processes = title.contains("processes");
        (title.to_owned(), move |row: &Row| {
            let named = if name.starts_with("tango") { row.name == name } else { row.name.starts_with(name) };
            named && !row.batch && row.name.contains("processes") == processes
        })
    });
    pivot(report, HEADLINE, rows, |_, row| {
        let Spread { median, min, max } = row.value;
        format!("{} ({} to {})", figure(median), figure(min), figure(max))
    })
}

/// Columns from several tables. A star marks those with disturbed rounds.
fn pivot<F: Fn(&Row) -> bool>(
    report: &Report,
    columns: Columns,
    rows: impl Iterator<Item = (String, F)>,
    cell: impl Fn(&Table, &Row) -> String,
) -> Lines {
    let columns = columns.iter().filter_map(|&(key, heading)| Some((report.table(key)?, heading)));
    let columns: Vec<(&Table, &str)> = columns.collect();
    let heading = |&(table, heading): &(&Table, &str)| match table.doubtful {
        0 => heading.to_owned(),
        _ => format!("{heading} *"),
    };
    let mut lines = vec![std::iter::once(String::new()).chain(columns.iter().map(heading)).collect()];
    lines.extend(rows.map(|(title, is_it)| {
        let cells = columns.iter().map(|(table, _)| {
            table.rows.iter().find(|row| is_it(row)).map_or_else(String::new, |row| cell(table, row))
        });
        std::iter::once(title).chain(cells).collect::<Vec<_>>()
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads;

    #[test]
    fn every_table_has_a_column() {
        let columns: Vec<&str> = OVERVIEW.iter().flat_map(|group| group.2).map(|column| column.0).collect();
        for table in workloads::all().expect("a private folder") {
            assert!(columns.contains(&table.key.as_str()), "{} has no column", table.key);
        }
    }
}
