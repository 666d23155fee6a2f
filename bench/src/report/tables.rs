//! What a run has measured: tables, computed from the rounds.

use serde::{Deserialize, Serialize};

use crate::channel::Role;
use crate::figures::Spread;
use crate::plan::{Sample, Setting};
use crate::rounds::{Disturbances, Effort, Rounds, RowSpec};
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
            disturbances: rounds.disturbances,
            distance: Spread::of(&rounds.kept.iter().map(|round| round.distance).collect::<Vec<_>>()),
        }
    }

    /// The names of rows with wrong payloads that make the run fail. Those of the published crate do not.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = String> {
        let fatal = |row: &&Row| row.wrong > 0 && row.role != Role::Published;
        self.rows.iter().filter(fatal).map(|row| format!("{} ({})", row.name, self.key))
    }

    /// The peer of this kind to which our ratio is the lowest.
    pub(crate) fn best_peer(&self, setting: Setting, batch: bool) -> Option<&Row> {
        let peers = self.rows.iter().filter(|row| row.role == Role::Peer && row.tango.is_some());
        let ratio = |row: &&Row| row.tango.map_or(f64::INFINITY, |ratio| ratio.median);
        peers
            .filter(|row| row.setting == setting && row.batch == batch)
            .min_by(|a, b| ratio(a).total_cmp(&ratio(b)))
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    pub(crate) fn limit(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == Role::Limit)
    }
}
