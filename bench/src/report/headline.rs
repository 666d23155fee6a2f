//! The few figures that say most: a section of each report, and, with all reports side by side, the table in the README
//! of the repository.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::tables::{Report, Row, Table};
use crate::channel::Role;
use crate::failure::Failure;
use crate::figures::figure;
use crate::plan::Setting;

/// What is said, in which table, and by which row of ours.
const HEADLINE: [(&str, &str, &str); 8] = [
    ("64 bytes, one call a message, threads", "throughput-64", "tango"),
    ("64 bytes, one call a message, two processes", "throughput-64", "tango, 2 processes"),
    ("64 bytes, in batches, threads", "throughput-64", "tango, batches"),
    ("1 KiB, one call a message, two processes", "throughput-1024", "tango, 2 processes"),
    ("round trip of 64 bytes, threads", "round-trip-64", "tango"),
    ("round trip of 64 bytes, two processes", "round-trip-64", "tango, 2 processes"),
    ("bursts of 256, median latency, two processes", "bursts-256", "tango, 2 processes"),
    ("waking a sleeping reader, two processes", "parked", "tango, parked, 2 processes"),
];

/// The section of a report that [`of_the_readme`] reads.
const SECTION: &str = "## Headline";

/// A line of the headline.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    what: &'static str,
    ours: String,
    /// How many times as good as the best other channel of the same kind ours is, and which that is.
    best: String,
    iceoryx2: String,
    disturbed: bool,
}

/// The headline, as far as it was measured.
pub(super) fn headline(report: &Report) -> Vec<Line> {
    let line = |(what, key, ours): (&'static str, &str, &str)| {
        let table = report.table(key)?;
        let ours = table.row(ours)?;
        let best = peers(table, ours.setting, ours.batch)
            .min_by(|a, b| ratio(a).total_cmp(&ratio(b)))
            .map_or_else(String::new, |peer| format!("{} x {}", figure(ratio(peer)), short(&peer.name)));
        let iceoryx2 = peers(table, ours.setting, ours.batch)
            .find(|peer| peer.name.starts_with("iceoryx2"))
            .map_or_else(String::new, |peer| format!("{} x", figure(ratio(peer))));
        let ours = format!("{} {}", figure(ours.value.median), table.unit.symbol());
        Some(Line { what, ours, best, iceoryx2, disturbed: table.disturbances.disturbed > 0 })
    };
    HEADLINE.into_iter().filter_map(line).collect()
}

fn peers(table: &Table, setting: Setting, batch: bool) -> impl Iterator<Item = &Row> {
    let peers = table.rows.iter().filter(|row| row.role == Role::Peer && row.tango.is_some());
    peers.filter(move |row| row.setting == setting && row.batch == batch)
}

fn ratio(peer: &Row) -> f64 {
    peer.tango.map_or(f64::INFINITY, |ratio| ratio.median)
}

/// The name of a peer without its version and the way in which it is used.
fn short(name: &str) -> &str {
    name.split([' ', ',']).next().unwrap_or(name)
}

/// The table of the README: a column for each report in this folder.
pub(crate) fn of_the_readme(reports: &Path) -> Result<String, Failure> {
    let mut columns = Vec::new();
    for entry in std::fs::read_dir(reports)? {
        let file = entry?.path().join("README.md");
        if file.is_file() {
            let text = std::fs::read_to_string(&file)?;
            columns.push((family(&file), fact(&text, "commit"), lines(&text)));
        }
    }
    columns.sort();
    let mut text = "| |".to_owned();
    for (family, commit, _) in &columns {
        let _ = write!(text, " {family}, commit {commit} |");
    }
    text += &format!("\n|---|{}", "---|".repeat(columns.len()));
    for (what, ..) in HEADLINE {
        let _ = write!(text, "\n| {what} |");
        for (.., lines) in &columns {
            let found = lines.iter().find(|(name, _)| name == what);
            let _ = write!(text, " {} |", found.map_or("not measured", |(_, cell)| cell));
        }
    }
    Ok(text)
}

/// The family of the processor: the name of the folder of its report.
fn family(report: &Path) -> String {
    let folder = report.parent().and_then(Path::file_name).unwrap_or_default();
    folder.to_string_lossy().into_owned()
}

/// A fact in the first table of a report.
fn fact(report: &str, name: &str) -> String {
    let cells = report.lines().map(cells).find(|cells| cells.first() == Some(&name));
    cells.and_then(|cells| cells.get(1).map(|fact| (*fact).to_owned())).unwrap_or_default()
}

/// The lines of the headline of a report, with their figures as one cell.
fn lines(report: &str) -> Vec<(String, String)> {
    let section = report.split_once(SECTION).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let line = |cells: Vec<&str>| match cells[..] {
        [what, ours, best, iceoryx2] => {
            let iceoryx2 = if iceoryx2.is_empty() { String::new() } else { format!("{iceoryx2} iceoryx2") };
            let all = [ours, best, &iceoryx2].into_iter().filter(|cell| !cell.is_empty());
            Some((what.to_owned(), all.collect::<Vec<_>>().join("; ")))
        }
        _ => None,
    };
    section.lines().map(cells).filter_map(line).collect()
}

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<&str> {
    let line = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    line.map_or_else(Vec::new, |line| line.split('|').map(str::trim).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where this runs without the rest of the repository, as for another commit, there is nothing to compare.
    #[test]
    fn the_readme_has_the_figures_of_the_reports() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let readme = std::fs::read_to_string(root.join("README.md")).expect("the repository has one");
        let table = of_the_readme(&root.join("docs/benchmark")).expect("there are reports");
        assert!(
            readme.contains(&table),
            "cargo run --manifest-path bench/Cargo.toml -- --readme prints\n{table}"
        );
    }

    #[test]
    fn a_headline_is_read_from_a_report() {
        let report = "| commit | abc |\n\n## Headline\n\n| | rust-tango | best | iceoryx2 |\n|---|---|---|---|\n\
                      | one | 1 M/s | 2 x rtrb | 3 x |\n| two | 4 ns | | |\n\n## Other\n\n| three | 5 | 6 | 7 |\n";
        assert_eq!(fact(report, "commit"), "abc");
        let lines = lines(report);
        assert!(lines.contains(&("one".into(), "1 M/s; 2 x rtrb; 3 x iceoryx2".into())));
        assert!(lines.contains(&("two".into(), "4 ns".into())));
        assert!(!lines.iter().any(|(what, _)| what == "three"));
    }
}
