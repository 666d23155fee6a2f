//! What rust-tango is meant to reach (`goals.json`), and what it reached. Each goal is a ratio: how many times as good
//! as another row of the same table ours is. It is the median of the ratios within the rounds.

use serde::{Deserialize, Serialize};

use super::tables::{Report, Row, Table};
use crate::figures::Spread;
use crate::workloads::COPY;

/// An entry of `goals.json`.
#[derive(Deserialize)]
struct Entry {
    table: String,
    what: String,
    ours: String,
    /// The other row: `best peer` (of the same setting, with or without batches), `limit`, or a name.
    against: String,
    /// The smallest ratio that reaches the goal.
    wanted: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    what: String,
    /// The key of its table.
    key: String,
    /// The row that ours is compared with.
    against: String,
    wanted: f64,
    found: Spread,
    reached: bool,
    verdict: String,
}

/// All goals whose rows were measured.
pub(crate) fn goals(report: &Report) -> Vec<Goal> {
    let entries: Vec<Entry> = serde_json::from_str(include_str!("goals.json")).expect("it is valid");
    entries.into_iter().filter_map(|entry| found(report, entry)).collect()
}

fn found(report: &Report, Entry { table, what, ours, against, wanted }: Entry) -> Option<Goal> {
    let table = report.table(&table)?;
    let ours = table.row(&ours)?;
    let (other, bound) = match against.as_str() {
        "best peer" => {
            let peer = table.best_peer(ours.setting, ours.batch)?;
            (peer, bound(table, peer))
        }
        "limit" => (table.limit()?, None),
        name => (table.row(name)?, None),
    };
    let found = ratio(ours, other);
    Some(Goal {
        what,
        key: table.key.clone(),
        against: other.name.clone(),
        wanted,
        found,
        reached: found.median >= wanted,
        verdict: verdict(found.median, wanted, bound, table.disturbances.disturbed > 0),
    })
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
    use crate::workloads;

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

    #[test]
    fn goals_name_rows_that_are_measured() {
        let tables = workloads::all();
        let entries: Vec<Entry> = serde_json::from_str(include_str!("goals.json")).expect("it is valid");
        for Entry { table, ours, against, .. } in entries {
            let rows = &tables.iter().find(|spec| spec.key == table).expect("a table").rows;
            let has = |name: &str| rows.iter().any(|row| row.name == name);
            assert!(has(&ours), "{ours} in {table}");
            assert!(
                ["best peer", "limit"].contains(&against.as_str()) || has(&against),
                "{against} in {table}"
            );
        }
    }
}
