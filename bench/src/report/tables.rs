//! What a run has measured: tables, computed from the rounds.

use serde::{Deserialize, Serialize};

use crate::channel::Role;
use crate::figures::Spread;
use crate::plan::{Sample, Setting};
use crate::rounds::{Effort, Rounds, RowSpec};
use crate::workloads::{TableSpec, Unit};

/// Everything that a run has measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The machine, the commit, and the compiler.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) command: String,
    pub(crate) effort: Effort,
    pub(crate) seconds: f64,
    pub(crate) warnings: Vec<String>,
    /// The quantiles at which latencies are given.
    pub(crate) quantiles: Vec<f64>,
    pub(crate) tables: Vec<Table>,
}

impl Report {
    pub(crate) fn table(&self, key: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.key == key)
    }
}

/// One table.
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
    /// Rounds that were discarded.
    pub(crate) thrown: usize,
    /// Measurements that were repeated.
    pub(crate) retaken: u32,
    /// Measurements during which the hypervisor took time away.
    pub(crate) stolen: u32,
    /// Rounds behind the figures that were disturbed.
    pub(crate) doubtful: usize,
    /// Nanoseconds for the round trip of an atomic word between the cores during these measurements.
    pub(crate) distance: Spread,
}

/// One row.
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
    /// How many times the time of the limit this row takes, within the rounds.
    pub(crate) times_limit: Option<Spread>,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    pub(crate) messages: u64,
    /// The part of a core that the reader used.
    pub(crate) reader: f64,
    /// The figure of each round, in nanoseconds or bytes, whatever the unit.
    pub(crate) figures: Vec<f64>,
    /// Nanoseconds at the quantiles of the report, medians over the rounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies: Vec<f64>,
}

impl Table {
    pub(crate) fn new(spec: &TableSpec, rounds: &Rounds) -> Self {
        let specs = &spec.rows;
        let limit = specs.iter().position(|row| row.role == Role::Limit);
        let row = |(i, row): (usize, &RowSpec)| {
            let ours = specs.iter().position(|ours| {
                ours.role == Role::Tango && ours.setting == row.setting && ours.load.batch == row.load.batch
            });
            let compared = matches!(row.role, Role::Peer | Role::Published);
            let samples: Vec<&Sample> = rounds.kept.iter().map(|round| &round[i]).collect();
            let quantiles = samples.first().map_or(0, |sample| sample.latencies.len());
            let latency = |quantile: usize| rounds.over(|round| round[i].latencies[quantile] as f64).median;
            Row {
                name: row.name.clone(),
                setting: row.setting,
                role: row.role,
                batch: row.load.batch,
                note: row.note.clone(),
                value: rounds.figure(i).map(|figure| spec.in_unit(figure)),
                tango: ours.filter(|_| compared).map(|ours| rounds.ratio(i, ours)),
                times_limit: limit.filter(|&limit| limit != i).map(|limit| rounds.ratio(i, limit)),
                wrong: samples.iter().map(|sample| sample.wrong).sum(),
                lost: samples.iter().map(|sample| sample.lost).sum(),
                messages: samples.iter().map(|sample| sample.messages).sum(),
                reader: rounds.over(|round| round[i].reader).median,
                figures: samples.iter().map(|sample| sample.figure).collect(),
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
            thrown: rounds.thrown,
            retaken: rounds.retaken,
            stolen: rounds.stolen,
            doubtful: rounds.doubtful,
            distance: Spread::of(&rounds.distance),
        }
    }

    /// The names of rows with wrong payloads that make the run fail. Those of the published crate do not.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = String> {
        let fatal = |row: &&Row| row.wrong > 0 && row.role != Role::Published;
        self.rows.iter().filter(fatal).map(|row| format!("{} ({})", row.name, self.key))
    }

    /// The best peer of one kind, and how many times as good ours was.
    pub(crate) fn best(&self, setting: Setting, batch: bool) -> Option<(&Row, Spread)> {
        self.rows
            .iter()
            .filter(|row| row.role == Role::Peer && row.setting == setting && row.batch == batch)
            .filter_map(|row| Some((row, row.tango?)))
            .min_by(|a, b| a.1.median.total_cmp(&b.1.median))
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    pub(crate) fn limit(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == Role::Limit)
    }
}
