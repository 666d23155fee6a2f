//! What rust-tango is meant to reach, and what it did: one line for each goal, computed from the tables.
//! Every ratio says how many times as good as the other row ours is, so more is better throughout, and is
//! the median of the ratios within the rounds of one table.

use super::{Report, Row, Table};
use crate::method::{Setting, Spread};
use crate::peers::{Peer, Role, Tango, TangoLoan, TangoMade, TangoWritable};
use crate::workloads::{fan_out::NONE_ATTACHED, latency::SLOTS, row_name, throughput::COPY};

/// What counts as the same, where two figures are meant to be: noise stays within it.
const SAME: f64 = 0.95;

/// One goal and what was found.
#[derive(Debug)]
pub(crate) struct Target {
    /// What is compared.
    pub(crate) what: String,
    /// The key of its table.
    pub(crate) key: String,
    /// The row that ours is held against.
    pub(crate) against: String,
    /// The ratio that is wanted at least.
    pub(crate) wanted: f64,
    pub(crate) found: Spread,
    pub(crate) reached: bool,
    /// The ratio that nothing but the hardware's part would have, where that is known, and what that is.
    pub(crate) most: Option<(f64, &'static str)>,
    /// Whether the rounds were disturbed, so that it means little.
    pub(crate) doubtful: bool,
}

impl Target {
    /// `reached`, or by how much it was missed, and whether anybody could have done it.
    pub(crate) fn verdict(&self) -> String {
        let mut verdict = match self.reached {
            true => "reached".to_owned(),
            false => format!("missed ({:.2} of it)", self.found.median / self.wanted),
        };
        if let Some((most, what)) = self.most.filter(|&(most, _)| most < self.wanted) {
            verdict += &format!("; {most:.2} for {what}");
        }
        if self.doubtful {
            verdict += "; in disturbed rounds";
        }
        verdict
    }

    /// The ratio with its range.
    pub(crate) fn ratio(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.found.median, self.found.min, self.found.max)
    }
}

/// Our rows: what goals call them, between what their reader is, and their name.
struct Ours {
    kind: &'static str,
    setting: Setting,
    row: String,
}

/// The three ways in which a link is used at full speed.
fn ours() -> [Ours; 3] {
    let (plain, writable) = (Tango::ABOUT.title(), TangoWritable::ABOUT.title());
    [
        Ours { kind: "threads", setting: Setting::Threads, row: plain.clone() },
        Ours { kind: "processes", setting: Setting::Processes, row: plain },
        Ours { kind: "processes, mapped writable", setting: Setting::Processes, row: writable },
    ]
}

impl Ours {
    /// What its row is called in the tables.
    fn name(&self, batch: bool) -> String {
        row_name(&self.row, self.setting, batch)
    }
}

/// All goals whose tables were measured.
pub(crate) fn targets(report: &Report) -> Vec<Target> {
    let mut goals = Goals { report, found: Vec::new() };
    let all = ours();
    let [threads, processes @ ..] = &all;
    let regimes = [
        ("throughput-64", "idle producer"),
        ("working-little", "little work"),
        ("working-more", "more work"),
    ];
    for (key, regime) in regimes {
        for batch in [false, true] {
            for ours in &all {
                let wanted = match (batch, ours.setting) {
                    (true, _) => 1.0,
                    (false, Setting::Threads) => 1.6,
                    (false, Setting::Processes) => 5.0,
                };
                let calls = if batch { ", batches" } else { "" };
                goals.best_peer(key, &format!("64 bytes, {regime}{calls}"), ours, batch, wanted);
            }
        }
    }
    for ours in &all {
        goals.limit("throughput-64", "64 bytes, idle producer", ours, 0.7);
        goals.limit("working-more", "64 bytes, more work", ours, SAME);
    }
    let (loan, made) = (TangoLoan::ABOUT.title(), TangoMade::ABOUT.title());
    for (key, size) in [("throughput-1024", "1 KiB"), ("throughput-4096", "4 KiB")] {
        for ours in &all {
            goals.rows(key, &format!("{size}, publish, {}", ours.kind), &ours.name(false), COPY, 0.8);
        }
        goals.rows(key, &format!("{size}, loan, threads"), &loan, &made, 1.0);
    }
    for (key, size, times) in [("round-trip-8", "8 bytes", 1.05), ("round-trip-64", "64 bytes", 1.12)] {
        for ours in &all {
            let what = format!("round trip, {size}");
            goals.limit(key, &what, ours, 1.0 / times);
            goals.rows(key, &format!("{what}, {}", ours.kind), &ours.name(false), SLOTS, 1.0 / times);
            goals.best_peer(key, &what, ours, false, 1.0);
        }
    }
    for (key, what) in [
        ("throughput-64", "64 bytes, idle producer"),
        ("working-little", "64 bytes, little work"),
        ("round-trip-8", "round trip, 8 bytes"),
        ("round-trip-64", "round trip, 64 bytes"),
    ] {
        for ours in processes {
            let what = format!("{what}, {}", ours.kind);
            goals.rows(key, &what, &ours.name(false), &threads.name(false), SAME);
        }
    }
    for ours in &all {
        goals.limit("slow-consumer", "slow consumer", ours, SAME);
    }
    for observers in [1, 8] {
        let key = format!("fan-out-observers-{observers}");
        let attached = format!("tango, {observers} attached, none reads");
        let what = format!("publish, {observers} attached observer{}", if observers == 1 { "" } else { "s" });
        goals.rows(&key, &what, &attached, NONE_ATTACHED, SAME);
    }
    goals.found
}

struct Goals<'a> {
    report: &'a Report,
    found: Vec<Target>,
}

impl<'a> Goals<'a> {
    fn table(&self, key: &str) -> Option<&'a Table> {
        self.report.tables.iter().find(|table| table.key == key)
    }

    /// Ours against the best peer of that kind.
    fn best_peer(&mut self, key: &str, what: &str, ours: &Ours, batch: bool, wanted: f64) {
        let Some(table) = self.table(key) else { return };
        let Some(row) = table.row(&ours.name(batch)) else { return };
        let Some((peer, _)) = table.best(ours.setting, batch) else { return };
        self.add(table, &format!("{what}, {}", ours.kind), row, peer, wanted);
        // The most that anybody can get through. (Batches are held against batches at 1.0: that is no question.)
        let first = || table.rows.iter().find(|row| row.role == Role::Limit);
        let (limit, bound) = match table.workload.as_str() {
            "working" => (first(), "a channel that takes no time"),
            "throughput" => (table.row(COPY), "one copy that the other core reads"),
            _ => (None, ""),
        };
        if let (Some(limit), Some(goal)) = (limit, self.found.last_mut()) {
            goal.most = Some((ratio(limit, peer).median, bound));
        }
    }

    /// Ours against the limit of the table.
    fn limit(&mut self, key: &str, what: &str, ours: &Ours, wanted: f64) {
        let Some(table) = self.table(key) else { return };
        let Some(row) = table.row(&ours.name(false)) else { return };
        let Some(limit) = table.rows.iter().find(|row| row.role == Role::Limit) else { return };
        self.add(table, &format!("{what}, {}", ours.kind), row, limit, wanted);
    }

    /// Two rows by their names.
    fn rows(&mut self, key: &str, what: &str, ours: &str, other: &str, wanted: f64) {
        let Some(table) = self.table(key) else { return };
        if let (Some(ours), Some(other)) = (table.row(ours), table.row(other)) {
            self.add(table, what, ours, other, wanted);
        }
    }

    fn add(&mut self, table: &Table, what: &str, ours: &Row, other: &Row, wanted: f64) {
        let found = ratio(ours, other);
        self.found.push(Target {
            what: what.to_owned(),
            key: table.key.clone(),
            against: other.name.clone(),
            wanted,
            found,
            reached: found.median >= wanted,
            most: None,
            doubtful: table.doubtful > 0,
        });
    }
}

/// How many times as good as the other row ours is, within the rounds.
fn ratio(ours: &Row, other: &Row) -> Spread {
    // Figures are times, whatever the unit: the larger one is the worse.
    let ratios: Vec<f64> =
        ours.figures.iter().zip(&other.figures).map(|(ours, other)| other / ours).collect();
    Spread::of(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_by_the_median_of_the_rounds() {
        let target = |ratios: &[f64]| {
            let found = Spread::of(ratios);
            Target {
                what: String::new(),
                key: String::new(),
                against: String::new(),
                wanted: 1.6,
                found,
                reached: found.median >= 1.6,
                most: None,
                doubtful: false,
            }
        };
        assert_eq!(target(&[1.0, 1.7, 2.0]).verdict(), "reached");
        assert_eq!(target(&[0.5, 0.8, 2.0]).verdict(), "missed (0.50 of it)");
        assert_eq!(target(&[0.5, 0.8, 2.0]).ratio(), "0.80 (0.50 to 2.00)");
        let bounded = Target { most: Some((1.1, "a channel that takes no time")), ..target(&[0.8]) };
        assert_eq!(bounded.verdict(), "missed (0.50 of it); 1.10 for a channel that takes no time");
        let doubtful = Target { doubtful: true, ..target(&[2.0]) };
        assert_eq!(doubtful.verdict(), "reached; in disturbed rounds");
    }
}
