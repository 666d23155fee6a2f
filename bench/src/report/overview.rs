//! Tables with one line a row for all sizes, rates or readers of a workload.

use serde_json::{Value, json};

use super::tables::{Report, Row, Table};
use super::text::{Lines, figure};
use crate::channel::Role;
use crate::figures::Spread;
use crate::workloads::Unit;

/// The workloads that share a table in the short report, with its title.
const GROUPS: [(&str, &[&str]); 9] = [
    ("Throughput by bytes a message", &["throughput"]),
    ("Throughput with work on one side, and with a deep ring", &["working", "slow-consumer", "deep"]),
    ("Round trips by bytes a message, and one call every so many ns", &["round-trip", "round-trip-load"]),
    ("One way, one message every so many ns, and in bursts of so many", &["one-way", "bursts"]),
    ("Waking a reader", &["parked"]),
    ("Fan-out by reliable readers", &["fan-out"]),
    ("Fan-out by observers, at the producer", &["fan-out-observers"]),
    ("The published crate's own workloads, set-up included", &["published"]),
    ("Making a channel, joining it, and its memory by bytes a message", &["attach", "memory"]),
];

/// The table for the README of the repository: its columns, and its rows with the beginnings of their names.
const HEADLINE: [(&str, &str); 4] = [
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

/// The tables of the short report, for the template.
pub(super) fn overview(report: &Report) -> Vec<Value> {
    let group = |(title, workloads): (&str, &[&str])| {
        let tables = report.tables.iter().filter(|table| workloads.contains(&table.workload.as_str()));
        let columns: Vec<(&Table, String)> = tables.map(|table| (table, heading(table))).collect();
        let mut names: Vec<String> = Vec::new();
        for row in columns.iter().flat_map(|(table, _)| &table.rows) {
            let name = row.name_in_all_tables();
            let name = if row.role == Role::Tango { format!("**{name}**") } else { name };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let rows = names.into_iter().map(|title| {
            let name = title.replace('*', "");
            (title, move |row: &Row| row.name_in_all_tables() == name)
        });
        let lines = pivot(&columns, rows, |table, row| {
            let wrong = if row.wrong > 0 { " !" } else { "" };
            match table.unit {
                Unit::Latency => format!("{} / {}{wrong}", row.latency(0.5), row.latency(0.99)),
                _ => figure(row.value.median) + wrong,
            }
        });
        (!columns.is_empty()).then(|| json!({ "title": title, "lines": lines }))
    };
    GROUPS.into_iter().filter_map(group).collect()
}

/// What distinguishes the table from others of its workload, and its unit: `every 2000, ns`.
fn heading(table: &Table) -> String {
    let own = table.key.strip_prefix(&table.workload).unwrap_or_default().trim_start_matches('-');
    let own = if own.is_empty() { &table.key } else { own };
    format!("{}, {}", own.replace('-', " "), table.unit.short())
}

/// The table for the README of the repository.
pub(super) fn headline(report: &Report) -> Lines {
    let columns =
        HEADLINE.iter().filter_map(|(key, heading)| Some((report.table(key)?, heading.to_string())));
    let rows = HEADLINE_ROWS.into_iter().map(|(title, name)| {
        let processes = title.contains("processes");
        (title.to_owned(), move |row: &Row| {
            let named = if name.starts_with("tango") { row.name == name } else { row.name.starts_with(name) };
            named && !row.batch && row.name.contains("processes") == processes
        })
    });
    pivot(&columns.collect::<Vec<_>>(), rows, |_, row| {
        let Spread { median, min, max } = row.value;
        format!("{} ({} to {})", figure(median), figure(min), figure(max))
    })
}

/// Columns from several tables. A star marks those with disturbed rounds.
fn pivot<F: Fn(&Row) -> bool>(
    columns: &[(&Table, String)],
    rows: impl Iterator<Item = (String, F)>,
    cell: impl Fn(&Table, &Row) -> String,
) -> Lines {
    let star = |(table, heading): &(&Table, String)| {
        if table.doubtful > 0 { format!("{heading} *") } else { heading.clone() }
    };
    let mut lines = vec![std::iter::once(String::new()).chain(columns.iter().map(star)).collect()];
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
    use super::GROUPS;
    use crate::workloads;

    #[test]
    fn every_workload_is_in_the_short_report() {
        let tables = workloads::all().expect("a private folder");
        for name in workloads::names(&tables) {
            assert!(GROUPS.iter().any(|(_, workloads)| workloads.contains(&name)), "{name} is missing");
        }
    }
}
