//! The cells of all tables, and their layout on a terminal.

use std::fmt::Write;

use super::goals::{Goal, goals};
use super::tables::{Report, Row, Table};
use crate::channel::Role;
use crate::figures::{Spread, quantile_index};
use crate::plan::Setting;
use crate::workloads::Unit;

/// A table as text: lines of cells, of which the first is the header.
pub(crate) type Lines = Vec<Vec<String>>;

/// The percentiles that have columns.
const PERCENTILES: [(&str, f64); 5] =
    [("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("100 %", 1.0)];

impl Table {
    /// The table for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} ({})\n", self.title, self.unit.name());
        let _ = writeln!(text, "  {}; --only {}", self.conditions(), self.key);
        if let Some(warning) = self.warning() {
            let _ = writeln!(text, "  warning: {warning}");
        }
        let mut lines = vec![self.header()];
        lines.extend(self.rows.iter().map(|row| self.line(row)));
        text + &lay_out(&lines)
    }

    pub(crate) fn header(&self) -> Vec<String> {
        let mut cells = vec![""];
        if self.unit == Unit::Latency {
            cells.extend([PERCENTILES[0].0, "min to max"]);
            cells.extend(PERCENTILES[1..].iter().map(|percentile| percentile.0));
        } else {
            cells.extend(["median", "min to max"]);
        }
        if self.compares_with_limit() {
            cells.push(if self.unit.more_is_better() { "of raw" } else { "times raw" });
        }
        if self.compares_with_tango() {
            cells.push("tango is better by");
        }
        cells.push("");
        cells.into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn line(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![row.name.clone()];
        let Spread { median, min, max } = row.value;
        if self.unit == Unit::Latency {
            let mut at = PERCENTILES.map(|(_, quantile)| row.latency(quantile)).into_iter();
            cells.extend(at.next());
            cells.push(format!("{min:.0} to {max:.0}"));
            cells.extend(at);
        } else {
            cells.extend([figure(median), format!("{} to {}", figure(min), figure(max))]);
        }
        if self.compares_with_limit() {
            cells.push(match row.times_limit {
                // With messages a second, the limit is the larger one.
                Some(times) if self.unit.more_is_better() => format!("{:.2}", 1.0 / times.median),
                Some(times) => format!("{:.2}", times.median),
                None => String::new(),
            });
        }
        if self.compares_with_tango() {
            cells.push(row.tango.as_ref().map_or_else(String::new, ratio));
        }
        cells.push(self.notes(row).join(", "));
        cells
    }

    fn compares_with_limit(&self) -> bool {
        self.rows.iter().any(|row| row.times_limit.is_some())
    }

    fn compares_with_tango(&self) -> bool {
        self.rows.iter().any(|row| row.tango.is_some())
    }

    fn notes(&self, row: &Row) -> Vec<String> {
        let mut notes: Vec<String> = row.note.iter().cloned().collect();
        if row.wrong > 0 {
            notes.push(format!("{} wrong payloads", row.wrong));
        }
        if row.lost > 0 {
            let share = row.lost as f64 / (row.lost + row.messages) as f64;
            notes.push(format!("readers lost {:.1} %", share * 100.0));
        }
        if self.workload == "parked" {
            notes.push(format!("reader on its core {:.0} %", row.reader * 100.0));
        }
        notes
    }
}

impl Row {
    /// The latency at one of the [`quantiles`](crate::figures::quantiles) in nanoseconds, if it was measured.
    pub(crate) fn latency(&self, quantile: f64) -> String {
        let latency = self.latencies.get(quantile_index(quantile));
        latency.map_or_else(String::new, |latency| format!("{latency:.0}"))
    }
}

/// The best peer of each kind and the published crate, for each table: how many times as good ours was.
pub(crate) fn summary(report: &Report) -> Lines {
    let header = ["", "threads", "threads, batches", "processes", "processes, batches", "published"];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    for table in &report.tables {
        let published = table.rows.iter().find(|row| row.role == Role::Published);
        let compared = [
            table.best(Setting::Threads, false),
            table.best(Setting::Threads, true),
            table.best(Setting::Processes, false),
            table.best(Setting::Processes, true),
            published.and_then(|row| Some((row, row.tango?))),
        ];
        if compared.iter().all(Option::is_none) {
            continue;
        }
        let mut line = vec![table.title.clone()];
        line.extend(compared.map(|compared| {
            compared.map_or_else(String::new, |(row, ratio)| format!("{:.2} x {}", ratio.median, short(row)))
        }));
        lines.push(line);
    }
    lines
}

/// The name of a row without what the column of the summary says.
fn short(row: &Row) -> String {
    let said = [", batches", ", 2 processes", ", processes", "published rust-tango "];
    said.iter().fold(row.name.clone(), |name, said| name.replace(said, ""))
}

/// The goals, a line each.
pub(crate) fn goal_lines(goals: &[Goal]) -> Lines {
    let header = ["ours", "compared with", "wanted", "found", ""].map(str::to_owned).to_vec();
    let line = |goal: &Goal| {
        let wanted = format!("{:.2}", goal.wanted);
        vec![goal.what.clone(), goal.against.clone(), wanted, ratio(&goal.found), goal.verdict.clone()]
    };
    std::iter::once(header).chain(goals.iter().map(line)).collect()
}

/// The end of a run on a terminal.
pub(crate) fn ending(report: &Report) -> String {
    let mut text = String::from("How many times as good as the best peer of each kind tango was\n");
    text += &lay_out(&summary(report));
    let goals = goals(report);
    if !goals.is_empty() {
        text += "\nGoals: how many times as good as the other row tango was\n";
        text += &lay_out(&goal_lines(&goals));
    }
    text
}

/// A ratio with its range.
fn ratio(ratio: &Spread) -> String {
    format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max)
}

/// A figure with about three digits.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Aligns cells in columns: the first and the last to the left, the others to the right.
fn lay_out(lines: &Lines) -> String {
    let columns = lines[0].len();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 || column + 1 == columns {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}
