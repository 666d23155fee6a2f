//! Tables for a terminal, and a report in Markdown.

use std::fmt::Write;

use super::targets::Target;
use super::{Report, Row, Table, targets};
use crate::method::{Spread, quantile_index};
use crate::peers::Role;
use crate::workloads::Unit;

/// The percentiles that have columns.
const PERCENTILES: [(&str, f64); 5] =
    [("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("100 %", 1.0)];

/// No two cores are nearer to each other than that, in ns for the round trip of an atomic word: those that
/// are share their caches. A virtual machine does not say so.
const SIBLINGS: f64 = 28.0;

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
            "{} rounds, {} thrown out, {} measurements taken again, {} with stolen time; \
             cores {:.0} ns apart ({:.0} to {:.0})",
            self.rounds,
            self.thrown,
            self.retaken,
            self.stolen,
            self.distance.median,
            self.distance.min,
            self.distance.max,
        )
    }

    pub(crate) fn warning(&self) -> Option<String> {
        if self.doubtful > 0 {
            let doubtful = self.doubtful;
            Some(format!("{doubtful} of the rounds were disturbed and are used for want of better ones"))
        } else if self.distance.median < SIBLINGS {
            Some("the cores were so close that they must have been two threads of one".to_owned())
        } else {
            None
        }
    }

    fn has(&self, value: impl Fn(&Row) -> bool) -> bool {
        self.rows.iter().any(value)
    }

    pub(crate) fn header(&self) -> Vec<String> {
        let mut cells = vec![String::new()];
        if self.unit == Unit::Latency {
            let mut percentiles = PERCENTILES.map(|(name, _)| name.to_owned()).to_vec();
            percentiles.insert(1, "min to max".into());
            cells.extend(percentiles);
        } else {
            cells.extend(["median".into(), "min to max".into()]);
        }
        if self.has(|row| row.times_limit.is_some()) {
            cells.push(if self.unit.more_is_better() { "of raw" } else { "times raw" }.into());
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
            let mut percentiles = PERCENTILES.map(at).to_vec();
            percentiles.insert(1, format!("{:.0} to {:.0}", row.value.min, row.value.max));
            cells.extend(percentiles);
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

/// The columns of [`comparison`].
pub(crate) const COMPARISON: [&str; 5] =
    ["threads", "threads, batches", "processes", "processes, batches", "published"];

/// A table in a line: how many times as good as others ours was, and who they are.
pub(crate) fn comparison(table: &Table) -> [Option<(Spread, String)>; 5] {
    table.comparison().map(|versus| {
        let (row, ratio) = versus?;
        // The column says the rest of the name.
        let mut name = row.name.clone();
        for known in [", batches", ", 2 processes", ", processes", "published rust-tango "] {
            name = name.replace(known, "");
        }
        Some((ratio, name))
    })
}

/// The comparison of all tables, as lines of cells with a header.
pub(crate) fn comparison_lines(report: &Report) -> Vec<Vec<String>> {
    let mut lines = vec![std::iter::once("").chain(COMPARISON).map(str::to_owned).collect::<Vec<_>>()];
    for table in &report.tables {
        let cells = comparison(table);
        if cells.iter().any(Option::is_some) {
            let cells = cells.map(|cell| {
                cell.map_or_else(String::new, |(ratio, peer)| format!("{:.2} x {peer}", ratio.median))
            });
            lines.push(std::iter::once(table.title.clone()).chain(cells).collect());
        }
    }
    lines
}

/// The goals and what was found, as lines of cells with a header.
pub(crate) fn target_lines(targets: &[Target]) -> Vec<Vec<String>> {
    let header = ["ours", "held against", "wanted", "found", ""].map(str::to_owned).to_vec();
    let line = |target: &Target| {
        vec![
            target.what.clone(),
            target.against.clone(),
            format!("{:.2}", target.wanted),
            target.ratio(),
            target.verdict(),
        ]
    };
    std::iter::once(header).chain(targets.iter().map(line)).collect()
}

/// What a run ends with on a terminal.
pub(crate) fn ending(report: &Report) -> String {
    let mut text = String::from(
        "How many times as good as the best peer of each kind ours was, medians of ratios within rounds\n",
    );
    lay_out(&mut text, &comparison_lines(report));
    let targets = targets(report);
    if !targets.is_empty() {
        text.push_str("\nGoals: how many times as good as the other row ours was\n");
        lay_out(&mut text, &target_lines(&targets));
    }
    text
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
    let _ = writeln!(
        text,
        "| run | `{}`, {} rounds, windows of {} ms, {:.0} minutes |",
        report.command,
        report.effort.rounds,
        report.effort.window_ms,
        report.seconds / 60.0
    );
    for warning in &report.warnings {
        let _ = writeln!(text, "\nWarning: {warning}.");
    }
    let targets = targets(report);
    if !targets.is_empty() {
        let reached = targets.iter().filter(|target| target.reached).count();
        let _ = writeln!(
            text,
            "\n## Goals\n\n{reached} of {} reached. Each figure says how many times as good as the other row ours \
             was: the median\nof the ratios within the rounds, and their range.\n",
            targets.len()
        );
        markdown_table(&mut text, &target_lines(&targets));
    }
    let _ = writeln!(
        text,
        "\n## Summary\n\nHow many times as good as the best peer of each kind ours was: medians of ratios within \
         rounds.\n"
    );
    markdown_table(&mut text, &comparison_lines(report));
    for table in &report.tables {
        let _ = writeln!(text, "\n## {}\n", table.title);
        let _ = writeln!(text, "In {}. {}.", table.unit.name(), table.conditions());
        if let Some(warning) = table.warning() {
            let _ = writeln!(text, "Warning: {warning}.");
        }
        text.push('\n');
        let rows = table.rows.iter().map(|row| {
            let mut cells = table.line(row);
            if row.role == Role::Tango {
                cells[0] = format!("**{}**", cells[0]);
            }
            cells
        });
        markdown_table(&mut text, &std::iter::once(table.header()).chain(rows).collect::<Vec<_>>());
    }
    text
}

/// Writes cells as a table, the first line as its header: the first and the last column to the left, the
/// others to the right.
pub(crate) fn markdown_table(text: &mut String, lines: &[Vec<String>]) {
    for (number, cells) in lines.iter().enumerate() {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if number == 0 {
            let mut rule = vec!["---:"; cells.len()];
            rule[0] = "---";
            rule[cells.len() - 1] = "---";
            let _ = writeln!(text, "|{}|", rule.join("|"));
        }
    }
}
