//! Tables for a terminal, and a report in Markdown.

use std::fmt::Write;

use super::{Report, Row, Table};
use crate::method::{Spread, quantile_index};
use crate::peers::Role;
use crate::workloads::Unit;

/// The percentiles that have columns.
const PERCENTILES: [(&str, f64); 5] =
    [("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("100 %", 1.0)];

impl Table {
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} ({})\n", self.title, self.unit.name());
        let _ = writeln!(text, "  {}; --only {}", self.conditions(), self.key);
        if let Some(warning) = self.warning() {
            let _ = writeln!(text, "  warning: {warning}");
        }
        let mut lines = vec![self.header()];
        lines.extend(self.rows.iter().map(|row| self.line(row)));
        lay_out(&mut text, &lines);
        text
    }

    pub(crate) fn conditions(&self) -> String {
        format!(
            "{} rounds, {} thrown out, {} measurements taken again; cores {:.0} ns apart ({:.0} to {:.0})",
            self.rounds,
            self.thrown,
            self.retaken,
            self.distance.median,
            self.distance.min,
            self.distance.max,
        )
    }

    pub(crate) fn warning(&self) -> Option<String> {
        (self.doubtful > 0).then(|| {
            format!("{} of the rounds were disturbed and are used for want of better ones", self.doubtful)
        })
    }

    fn has(&self, value: impl Fn(&Row) -> bool) -> bool {
        self.rows.iter().any(value)
    }

    pub(crate) fn header(&self) -> Vec<String> {
        let mut cells = vec![String::new()];
        if self.unit == Unit::Latency {
            cells.extend(PERCENTILES.map(|(name, _)| name.to_owned()));
        } else {
            cells.extend(["median".into(), "min to max".into()]);
        }
        if self.has(|row| row.times_limit.is_some()) {
            cells.push(if self.unit.more_is_better() { "of the limit" } else { "times raw" }.into());
        }
        if self.has(|row| row.tango.is_some()) {
            cells.push("tango is better by".into());
        }
        cells.push(String::new());
        cells
    }

    pub(crate) fn line(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![row.name.clone()];
        if self.unit == Unit::Latency {
            let at = |(_, quantile)| {
                let latency = row.latencies.get(quantile_index(quantile));
                latency.map_or_else(String::new, |latency| format!("{latency:.0}"))
            };
            cells.extend(PERCENTILES.map(at));
        } else {
            let Spread { median, min, max } = row.value;
            cells.extend([figure(median), format!("{} to {}", figure(min), figure(max))]);
        }
        if self.has(|row| row.times_limit.is_some()) {
            cells.push(match row.times_limit {
                // Of what goes through a second, the limit is the larger.
                Some(times) if self.unit.more_is_better() => format!("{:.2}", 1.0 / times.median),
                Some(times) => format!("{:.2}", times.median),
                None => String::new(),
            });
        }
        if self.has(|row| row.tango.is_some()) {
            cells.push(row.tango.map_or_else(String::new, |ratio| {
                format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max)
            }));
        }
        cells.push(self.notes(row).join(", "));
        cells
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

/// With about three digits.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Writes cells in columns: the first and the last to the left, the others to the right.
fn lay_out(text: &mut String, lines: &[Vec<String>]) {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let mut out = String::from(" ");
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let _ = if column == 0 || column + 1 == columns {
                write!(out, " {cell:<width$} ")
            } else {
                write!(out, " {cell:>width$} ")
            };
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
}

/// The report as a page for the repository: machine, method in a line, and all tables. Rows of ours are
/// set in bold.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = String::from("# Benchmark report\n\n");
    let _ = writeln!(
        text,
        "Written by the benchmarks in `bench/`, whose README says what each row means and what the figures\n\
         can and cannot tell. `index.html` beside this file has the same with plots, `report.json` all samples.\n"
    );
    let _ = writeln!(text, "| | |\n|---|---|");
    for (name, fact) in report.machine.facts() {
        let _ = writeln!(text, "| {name} | {fact} |");
    }
    let _ = writeln!(text, "| run | `{}`, {:.0} minutes |", report.command, report.seconds / 60.0);
    for warning in &report.warnings {
        let _ = writeln!(text, "\nWarning: {warning}.");
    }
    let _ = writeln!(
        text,
        "\n## Summary\n\nOurs against the best peer of each kind, medians of ratios within rounds.\n"
    );
    for table in &report.tables {
        let lines = table.summary();
        if !lines.is_empty() {
            let _ = writeln!(text, "- {}: {}", table.title, lines.join("; "));
        }
    }
    for table in &report.tables {
        let _ = writeln!(text, "\n## {}\n", table.title);
        let _ = writeln!(text, "In {}. {}.", table.unit.name(), table.conditions());
        if let Some(warning) = table.warning() {
            let _ = writeln!(text, "Warning: {warning}.");
        }
        text.push('\n');
        let header = table.header();
        let _ = writeln!(text, "| {} |", header.join(" | "));
        let mut rule = vec!["---:"; header.len()];
        rule[0] = "---";
        rule[header.len() - 1] = "---";
        let _ = writeln!(text, "|{}|", rule.join("|"));
        for row in &table.rows {
            let mut cells = table.line(row);
            if row.role == Role::Tango {
                cells[0] = format!("**{}**", cells[0]);
            }
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
    }
    text
}
