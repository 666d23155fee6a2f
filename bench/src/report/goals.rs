//! What rust-tango is meant to reach, and what it reached. Each goal is a ratio: how many times as good as another
//! row of the same table ours is. It is the median of the ratios within the rounds.

use serde::Serialize;

use super::tables::{Report, Row, Table};
use crate::channel::Peer;
use crate::figures::Spread;
use crate::peers::{Tango, TangoLoan, TangoMade, TangoWritable};
use crate::plan::Setting;
use crate::workloads::fan_out::NONE_ATTACHED;
use crate::workloads::latency::SLOTS;
use crate::workloads::row_name;
use crate::workloads::throughput::COPY;

/// The ratio for two figures that are meant to be the same, with room for noise.
const SAME: f64 = 0.95;

/// One goal, and what was found.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    /// What is compared.
    pub(crate) what: String,
    /// The key of its table.
    pub(crate) key: String,
    /// The row that ours is compared with.
    pub(crate) against: String,
    /// The smallest ratio that reaches the goal.
    pub(crate) wanted: f64,
    pub(crate) found: Spread,
    pub(crate) reached: bool,
    pub(crate) verdict: String,
}

/// The row that ours is compared with.
#[derive(Clone, Copy)]
enum Other<'a> {
    /// The best peer of the same setting, with or without batches.
    BestPeer(Setting, bool),
    /// The limit of the table.
    Limit,
    Named(&'a str),
}

impl<'a> Other<'a> {
    fn find(self, table: &'a Table) -> Option<&'a Row> {
        match self {
            Self::BestPeer(setting, batch) => table.best(setting, batch).map(|(peer, _)| peer),
            Self::Limit => table.limit(),
            Self::Named(name) => table.row(name),
        }
    }
}

/// A way to use a link at full speed.
struct Ours {
    kind: &'static str,
    setting: Setting,
    title: String,
}

impl Ours {
    fn row(&self, batch: bool) -> String {
        row_name(&self.title, self.setting, batch)
    }
}

/// All goals whose tables were measured.
pub(crate) fn goals(report: &Report) -> Vec<Goal> {
    let (mapped_read_only, writable) = (Tango::ABOUT.title(), TangoWritable::ABOUT.title());
    let all = [
        Ours { kind: "threads", setting: Setting::Threads, title: mapped_read_only.clone() },
        Ours { kind: "processes", setting: Setting::Processes, title: mapped_read_only },
        Ours { kind: "processes, mapped writable", setting: Setting::Processes, title: writable },
    ];
    let mut goals = Goals { report, found: Vec::new() };
    for (key, regime) in
        [("throughput-64", "idle producer"), ("working-little", "little work"), ("working-more", "more work")]
    {
        for batch in [false, true] {
            for ours in &all {
                let wanted = match (batch, ours.setting) {
                    (true, _) => 1.0,
                    (false, Setting::Threads) => 1.6,
                    (false, Setting::Processes) => 5.0,
                };
                let calls = if batch { ", batches" } else { "" };
                let what = format!("64 bytes, {regime}{calls}, {}", ours.kind);
                goals.add(key, what, &ours.row(batch), Other::BestPeer(ours.setting, batch), wanted);
            }
        }
    }
    let limits =
        [("throughput-64", "64 bytes, idle producer", 0.7), ("working-more", "64 bytes, more work", SAME)];
    for ours in &all {
        for (key, what, wanted) in limits {
            goals.add(key, format!("{what}, {}", ours.kind), &ours.row(false), Other::Limit, wanted);
        }
    }
    let (loan, made) = (TangoLoan::ABOUT.title(), TangoMade::ABOUT.title());
    for (key, size) in [("throughput-1024", "1 KiB"), ("throughput-4096", "4 KiB")] {
        for ours in &all {
            let what = format!("{size}, publish, {}", ours.kind);
            goals.add(key, what, &ours.row(false), Other::Named(COPY), 0.8);
        }
        goals.add(key, format!("{size}, loan, threads"), &loan, Other::Named(&made), 1.0);
    }
    for (key, size, times) in [("round-trip-8", "8 bytes", 1.05), ("round-trip-64", "64 bytes", 1.12)] {
        for ours in &all {
            let best = Other::BestPeer(ours.setting, false);
            for (other, wanted) in
                [(Other::Limit, 1.0 / times), (Other::Named(SLOTS), 1.0 / times), (best, 1.0)]
            {
                goals.add(key, format!("round trip, {size}, {}", ours.kind), &ours.row(false), other, wanted);
            }
        }
    }
    for (key, what) in [
        ("throughput-64", "64 bytes, idle producer"),
        ("working-little", "64 bytes, little work"),
        ("round-trip-8", "round trip, 8 bytes"),
        ("round-trip-64", "round trip, 64 bytes"),
    ] {
        let threads = all[0].row(false);
        for ours in &all[1..] {
            let what = format!("{what}, {}", ours.kind);
            goals.add(key, what, &ours.row(false), Other::Named(&threads), SAME);
        }
    }
    for ours in &all {
        let what = format!("slow consumer, {}", ours.kind);
        goals.add("slow-consumer", what, &ours.row(false), Other::Limit, SAME);
    }
    for (observers, plural) in [(1, ""), (8, "s")] {
        let (key, attached) = (format!("fan-out-observers-{observers}"), format!("{observers} attached"));
        let what = format!("publish, {attached} observer{plural}");
        goals.add(&key, what, &format!("tango, {attached}, none reads"), Other::Named(NONE_ATTACHED), SAME);
    }
    goals.found
}

struct Goals<'a> {
    report: &'a Report,
    found: Vec<Goal>,
}

impl Goals<'_> {
    /// Adds a goal, if the table and both rows were measured.
    fn add(&mut self, key: &str, what: String, ours: &str, other: Other<'_>, wanted: f64) {
        let Some(table) = self.report.table(key) else { return };
        let (Some(ours), Some(other_row)) = (table.row(ours), other.find(table)) else { return };
        let found = ratio(ours, other_row);
        let bound = if matches!(other, Other::BestPeer(..)) { bound(table, other_row) } else { None };
        self.found.push(Goal {
            what,
            key: key.to_owned(),
            against: other_row.name.clone(),
            wanted,
            found,
            reached: found.median >= wanted,
            verdict: verdict(found.median, wanted, bound, table.doubtful > 0),
        });
    }
}

/// The ratio that the best possible channel would have to this peer, where it is known, and what that channel is.
fn bound(table: &Table, peer: &Row) -> Option<(f64, &'static str)> {
    let (limit, what) = match table.workload.as_str() {
        "working" => (table.limit()?, "a channel that takes no time"),
        "throughput" => (table.row(COPY)?, "one copy that the other core reads"),
        _ => return None,
    };
    Some((ratio(limit, peer).median, what))
}

/// `reached`, or by how much the goal was missed, and whether any channel could have reached it.
fn verdict(found: f64, wanted: f64, bound: Option<(f64, &str)>, disturbed: bool) -> String {
    let mut verdict = match found >= wanted {
        true => "reached".to_owned(),
        false => format!("missed ({:.2} of it)", found / wanted),
    };
    if let Some((most, what)) = bound.filter(|&(most, _)| most < wanted) {
        verdict += &format!("; {most:.2} for {what}");
    }
    if disturbed {
        verdict += "; in disturbed rounds";
    }
    verdict
}

/// How many times as good as the other row ours is, within the rounds.
fn ratio(ours: &Row, other: &Row) -> Spread {
    // Figures are times, whatever the unit: the larger one is worse.
    let ratios: Vec<f64> =
        ours.figures.iter().zip(&other.figures).map(|(ours, other)| other / ours).collect();
    Spread::of(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_by_the_median_of_the_rounds() {
        let verdict_of =
            |ratios: &[f64], bound, disturbed| verdict(Spread::of(ratios).median, 1.6, bound, disturbed);
        assert_eq!(verdict_of(&[1.0, 1.7, 2.0], None, false), "reached");
        assert_eq!(verdict_of(&[0.5, 0.8, 2.0], None, false), "missed (0.50 of it)");
        let bounded = verdict_of(&[0.8], Some((1.1, "a channel that takes no time")), false);
        assert_eq!(bounded, "missed (0.50 of it); 1.10 for a channel that takes no time");
        assert_eq!(verdict_of(&[2.0], None, true), "reached; in disturbed rounds");
    }
}
