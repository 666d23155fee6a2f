//! What a run has measured: tables, computed from the rounds.

use serde::{Deserialize, Serialize};

use crate::channel::Role;
use crate::figures::{Spread, quantile_index};
use crate::plan::{Sample, Setting};
use crate::rounds::{Disturbances, Effort, Rounds, RowSpec};
use crate::workloads::{TableSpec, Unit};

/// Everything that a run has measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The family of the processor, as in the name of a folder.
    pub(crate) family: String,
    /// The machine, the commit, and the compiler.
    pub(crate) facts: Vec<(String, String)>,
    /// Hardware threads of the machine that this process may use.
    pub(crate) hardware_threads: usize,
    pub(crate) command: String,
    pub(crate) effort: Effort,
    pub(crate) seconds: f64,
    pub(crate) warnings: Vec<String>,
    /// The quantiles at which latencies are given.
    pub(crate) quantiles: Vec<f64>,
    pub(crate) tables: Vec<Table>,
}

impl Report {
    /// Why this is no report: more than a third of the rounds were disturbed.
    pub(crate) fn disturbed(&self) -> Option<String> {
        let tables = self.tables.iter();
        let (mut disturbed, mut all) = (0, 0);
        for Table { rounds, disturbances, .. } in tables {
            disturbed += disturbances.discarded + disturbances.disturbed;
            all += rounds + disturbances.discarded;
        }
        (disturbed * 3 > all).then(|| {
            format!(
                "{disturbed} of {all} rounds were disturbed, and more than a third is too many for a report, so nothing was \
                 written: the threads lost their cores to other programs, the hypervisor took time, or it moved the \
                 cores. Stop what else runs on these cores, or choose others with --cores, and measure again"
            )
        })
    }

    pub(crate) fn table(&self, key: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.key == key)
    }
}

/// How many of the rows that exceed a bare one are named.
const NAMED: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) key: String,
    pub(crate) workload: String,
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) at: f64,
    pub(crate) rows: Vec<Row>,
    /// Rounds behind the figures.
    pub(crate) rounds: usize,
    #[serde(flatten)]
    pub(crate) disturbances: Disturbances,
    /// Nanoseconds for the round trip of an atomic word between the cores during these measurements.
    pub(crate) distance: Spread,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) setting: Setting,
    pub(crate) role: Role,
    pub(crate) batch: bool,
    pub(crate) note: Option<String>,
    /// In the unit of the table.
    pub(crate) value: Spread,
    /// How many times as good as this row our row of the same kind is, within the rounds.
    pub(crate) tango: Option<Spread>,
    /// How many times the time of the bare row of the table this row takes, within the rounds.
    pub(crate) times_bare: Option<Spread>,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    pub(crate) messages: u64,
    /// The part of a core that the reader used.
    pub(crate) reader: f64,
    /// The figure of each round, in nanoseconds or bytes, whatever the unit.
    pub(crate) figures: Vec<f64>,
    /// The latency of each round in nanoseconds that 99.9 % of the messages stay below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tails: Vec<f64>,
    /// Nanoseconds at the quantiles of the report, medians over the rounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies: Vec<f64>,
}

impl Table {
    pub(crate) fn new(spec: &TableSpec, rounds: &Rounds) -> Self {
        let (specs, tail) = (&spec.rows, quantile_index(0.999));
        let bare = specs.iter().position(|row| row.role == Role::Bare);
        let row = |(i, row): (usize, &RowSpec)| {
            let ours = specs.iter().position(|ours| {
                ours.role == Role::Tango && ours.setting == row.setting && ours.load.batch == row.load.batch
            });
            let compared = matches!(row.role, Role::Peer | Role::Published);
            let samples: Vec<&Sample> = rounds.kept.iter().map(|round| &round.samples[i]).collect();
            let quantiles = samples.first().map_or(0, |sample| sample.latencies.len());
            let latency = |quantile: usize| rounds.over(|round| round[i].latencies[quantile] as f64).median;
            Row {
                name: row.name.clone(),
                setting: row.setting,
                role: row.role,
                batch: row.load.batch,
                note: row.note.clone(),
                value: rounds.over(|round| round[i].figure).map(|figure| spec.in_unit(figure)),
                tango: ours.filter(|_| compared).map(|ours| rounds.ratio(i, ours)),
                times_bare: bare.filter(|&bare| bare != i).map(|bare| rounds.ratio(i, bare)),
                wrong: samples.iter().map(|sample| sample.wrong).sum(),
                lost: samples.iter().map(|sample| sample.lost).sum(),
                messages: samples.iter().map(|sample| sample.messages).sum(),
                reader: rounds.over(|round| round[i].reader).median,
                figures: samples.iter().map(|sample| sample.figure).collect(),
                tails: samples
                    .iter()
                    .filter_map(|sample| sample.latencies.get(tail))
                    .map(|&at| at as f64)
                    .collect(),
                latencies: (0..quantiles).map(latency).collect(),
            }
        };
        Self {
            key: spec.key.clone(),
            workload: spec.workload.to_owned(),
            title: spec.title.clone(),
            unit: spec.unit,
            at: spec.at,
            rows: specs.iter().enumerate().map(row).collect(),
            rounds: rounds.kept.len(),
            disturbances: rounds.disturbances,
            distance: Spread::of(&rounds.kept.iter().map(|round| round.distance).collect::<Vec<_>>()),
        }
    }

    /// The names of rows with wrong payloads that make the run fail. Those of the published crate do not.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = String> {
        let fatal = |row: &&Row| row.wrong > 0 && row.role != Role::Published;
        self.rows.iter().filter(fatal).map(|row| format!("{} ({})", row.name, self.key))
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The bare row that the others are measured by, if there is one.
    fn bare(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == Role::Bare)
    }

    /// What to know about the bare row: which rows exceed it, the best first. Then it is no bound.
    pub(crate) fn exceeded(&self) -> Option<String> {
        let bare = self.bare()?;
        let better = |row: &&Row| row.wrong == 0 && row.times_bare.is_some_and(|times| times.median < 1.0);
        let is_channel = |row: &&Row| matches!(row.role, Role::Tango | Role::Peer);
        let mut rows: Vec<&Row> = self.rows.iter().filter(is_channel).filter(better).collect();
        rows.sort_by(|a, b| a.times().total_cmp(&b.times()));
        let named: Vec<String> =
            rows.iter().take(NAMED).map(|row| format!("{} ({:.2} x)", row.name, 1.0 / row.times())).collect();
        let more = rows.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!rows.is_empty()).then(|| {
            format!("\"{}\" is no bound here: it is exceeded by {}{more}", bare.name, named.join(", "))
        })
    }
}

impl Row {
    /// How many times the time of the bare row it takes.
    fn times(&self) -> f64 {
        self.times_bare.map_or(f64::INFINITY, |times| times.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::Span;
    use crate::workloads;

    /// The first table with one round, in which each row takes so many nanoseconds.
    fn table(nanos: impl Fn(&RowSpec) -> f64, disturbances: Disturbances) -> Table {
        let spec = &workloads::all()[0];
        let sample = |row: &RowSpec| Sample::window(1, Span { nanos: nanos(row), on_core: 1.0 }, 0);
        let rounds = Rounds::one(spec.rows.iter().map(sample).collect(), 100.0);
        Table::new(spec, &Rounds { disturbances, ..rounds })
    }

    fn report(tables: Vec<Table>) -> Report {
        Report {
            family: String::new(),
            facts: Vec::new(),
            hardware_threads: 2,
            command: String::new(),
            effort: Effort { rounds: 1, window_ms: 1.0, patience: 1.0, smoke: false },
            seconds: 1.0,
            warnings: Vec::new(),
            quantiles: Vec::new(),
            tables,
        }
    }

    #[test]
    fn a_run_with_too_many_disturbed_rounds_is_no_report() {
        let rounds = |discarded, disturbed| {
            table(|_| 1.0, Disturbances { discarded, disturbed, ..Disturbances::default() })
        };
        // Each table has one round that was kept.
        assert!(report(vec![rounds(0, 0)]).disturbed().is_none());
        assert!(report(vec![rounds(1, 0), rounds(0, 0)]).disturbed().is_none());
        let complaint = report(vec![rounds(1, 0)]).disturbed().expect("half of the rounds");
        assert!(complaint.contains("1 of 2 rounds") && complaint.contains("nothing was written"));
        assert!(report(vec![rounds(0, 1)]).disturbed().is_some());
    }

    #[test]
    fn rows_that_exceed_the_bare_one_are_named() {
        let is = |row: &RowSpec, name: &str| row.name == name;
        let quiet = Disturbances::default();
        let exceeded = table(|row| if is(row, "tango") { 5.0 } else { 10.0 }, quiet).exceeded();
        assert_eq!(
            exceeded.as_deref(),
            Some(
                "\"bare: one copy, the other core reads\" is no bound here: it is exceeded by tango (2.00 x)"
            )
        );
        assert!(table(|row| if row.role == Role::Bare { 1.0 } else { 2.0 }, quiet).exceeded().is_none());
    }
}
