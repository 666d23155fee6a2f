//! What rust-tango is meant to reach, and what it did: one line for each goal, computed from the tables.
//! Every ratio says how many times as good as the other row ours is, so more is better throughout, and is
//! the median of the ratios within the rounds of one table.

use super::{Report, Row, Table};
use crate::method::{Setting, Spread};
use crate::peers::{Peer, Role, TangoLoan, TangoMade};
use crate::workloads::{fan_out::NONE_ATTACHED, latency::SLOTS, throughput::COPY};

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

/// All goals whose tables were measured.
pub(crate) fn targets(report: &Report) -> Vec<Target> {
    let mut goals = Goals { report, found: Vec::new() };
    let regimes = [
        ("throughput-64", "idle producer"),
        ("working-little", "little work"),
        ("working-more", "more work"),
    ];
    for (key, regime) in regimes {
        goals.best_peer(key, &format!("64 bytes, {regime}, threads"), Setting::Threads, false, 1.6);
        goals.best_peer(key, &format!("64 bytes, {regime}, processes"), Setting::Processes, false, 5.0);
        goals.best_peer(key, &format!("64 bytes, {regime}, batches, threads"), Setting::Threads, true, 1.0);
        goals.best_peer(
            key,
            &format!("64 bytes, {regime}, batches, processes"),
            Setting::Processes,
            true,
            1.0,
        );
    }
    goals.limit("throughput-64", "64 bytes, idle producer, threads", Setting::Threads, 0.7);
    goals.limit("throughput-64", "64 bytes, idle producer, processes", Setting::Processes, 0.7);
    goals.limit("working-more", "64 bytes, more work, threads", Setting::Threads, SAME);
    goals.limit("working-more", "64 bytes, more work, processes", Setting::Processes, SAME);
    let (loan, made) = (TangoLoan::ABOUT.title(), TangoMade::ABOUT.title());
    for (key, size) in [("throughput-1024", "1 KiB"), ("throughput-4096", "4 KiB")] {
        goals.rows(key, &format!("{size}, publish, threads"), "tango", COPY, 0.8);
        goals.rows(key, &format!("{size}, publish, processes"), "tango, 2 processes", COPY, 0.8);
        goals.rows(key, &format!("{size}, loan, threads"), &loan, &made, 1.0);
    }
    for (key, size, times) in [("round-trip-8", "8 bytes", 1.05), ("round-trip-64", "64 bytes", 1.12)] {
        for (setting, kind) in [(Setting::Threads, "threads"), (Setting::Processes, "processes")] {
            goals.limit(key, &format!("round trip, {size}, {kind}"), setting, 1.0 / times);
            let ours = if setting == Setting::Threads { "tango" } else { "tango, 2 processes" };
            goals.rows(key, &format!("round trip, {size}, {kind}"), ours, SLOTS, 1.0 / times);
            goals.best_peer(key, &format!("round trip, {size}, {kind}"), setting, false, 1.0);
        }
    }
    for (key, what) in [
        ("throughput-64", "64 bytes, idle producer"),
        ("working-little", "64 bytes, little work"),
        ("round-trip-8", "round trip, 8 bytes"),
        ("round-trip-64", "round trip, 64 bytes"),
    ] {
        goals.rows(key, &format!("{what}, processes"), "tango, 2 processes", "tango", SAME);
    }
    goals.limit("slow-consumer", "slow consumer, threads", Setting::Threads, SAME);
    goals.limit("slow-consumer", "slow consumer, processes", Setting::Processes, SAME);
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
    fn best_peer(&mut self, key: &str, what: &str, setting: Setting, batch: bool, wanted: f64) {
        let Some(table) = self.table(key) else { return };
        let Some(ours) = table.ours(setting, batch) else { return };
        let Some((peer, _)) = table.best(setting, batch) else { return };
        self.add(table, what, ours, peer, wanted);
        // The most that anybody can get through. (Batches are held against batches at 1.0: that is no question.)
        let first = || table.rows.iter().find(|row| row.role == Role::Limit);
        let (limit, bound) = match table.workload.as_str() {
            "working" => (first(), "a channel that takes no time"),
            "throughput" => {
                (table.rows.iter().find(|row| row.name == COPY), "one copy that the other core reads")
            }
            _ => (None, ""),
        };
        if let (Some(limit), Some(goal)) = (limit, self.found.last_mut()) {
            goal.most = Some((ratio(limit, peer).median, bound));
        }
    }

    /// Ours against the limit of the table.
    fn limit(&mut self, key: &str, what: &str, setting: Setting, wanted: f64) {
        let Some(table) = self.table(key) else { return };
        let Some(ours) = table.ours(setting, false) else { return };
        let Some(limit) = table.rows.iter().find(|row| row.role == Role::Limit) else { return };
        self.add(table, what, ours, limit, wanted);
    }

    /// Two rows by their names.
    fn rows(&mut self, key: &str, what: &str, ours: &str, other: &str, wanted: f64) {
        let Some(table) = self.table(key) else { return };
        let row = |name: &str| table.rows.iter().find(|row| row.name == name);
        if let (Some(ours), Some(other)) = (row(ours), row(other)) {
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
