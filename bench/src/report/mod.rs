//! What comes out: tables computed from the rounds, and with them a [`Report`] that can be shown as text,
//! as Markdown, as a page with plots, or kept as JSON.

use serde::{Deserialize, Serialize};

use crate::method::{Contestant, Effort, Rounds, Sample, Setting, Spread};
use crate::peers::Role;
use crate::workloads::{Contest, Unit};

mod html;
mod machine;
mod plots;
mod text;

pub(crate) use self::html::page;
pub(crate) use self::machine::Machine;
pub(crate) use self::text::markdown;

/// One row, computed.
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
    /// How many times the time of the limit of the hardware this row takes, within the rounds.
    pub(crate) times_limit: Option<Spread>,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    pub(crate) messages: u64,
    /// Part of a core that the reader took.
    pub(crate) reader: f64,
    /// The figure of each round: nanoseconds or bytes, whatever the unit.
    pub(crate) figures: Vec<f64>,
    /// Nanoseconds at the quantiles of the report, medians over the rounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies: Vec<f64>,
}

/// One contest, computed.
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
    pub(crate) thrown: usize,
    pub(crate) retaken: u32,
    pub(crate) doubtful: usize,
    /// Round trip of an atomic word between the cores, in ns, while this was measured.
    pub(crate) distance: Spread,
}

/// Everything of a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) command: String,
    pub(crate) effort: Effort,
    pub(crate) seconds: f64,
    pub(crate) warnings: Vec<String>,
    /// Those at which latencies are given.
    pub(crate) quantiles: Vec<f64>,
    pub(crate) tables: Vec<Table>,
}

impl Unit {
    /// From nanoseconds or bytes.
    pub(crate) fn of(self, figure: f64) -> f64 {
        match self {
            Self::MillionPerSecond => 1e3 / figure,
            Self::GibibytesPerSecond(bytes) => bytes as f64 / figure * 1e9 / f64::from(1 << 30),
            Self::RoundTrip | Self::Latency => figure,
            Self::Microseconds => figure / 1e3,
            Self::Kibibytes => figure / 1024.0,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MillionPerSecond => "million messages a second",
            Self::GibibytesPerSecond(_) => "GiB of payload a second",
            Self::RoundTrip => "ns a round trip",
            Self::Latency => "ns, percentiles",
            Self::Microseconds => "µs a call",
            Self::Kibibytes => "KiB",
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::MillionPerSecond | Self::GibibytesPerSecond(_))
    }
}

impl Table {
    pub(crate) fn new(contest: &Contest, rounds: &Rounds) -> Self {
        let contestants = &contest.rows;
        let ours = |other: &Contestant| {
            contestants.iter().position(|row| {
                row.role == Role::Tango && row.setting == other.setting && row.load.batch == other.load.batch
            })
        };
        let limit = contestants.iter().position(|row| row.role == Role::Limit);
        let row = |(i, contestant): (usize, &Contestant)| {
            let samples: Vec<&Sample> = rounds.kept.iter().map(|round| &round[i]).collect();
            let compared = matches!(contestant.role, Role::Peer | Role::Published);
            let at_quantile = |quantile: usize| {
                Spread::of(
                    &samples.iter().map(|sample| sample.latencies[quantile] as f64).collect::<Vec<_>>(),
                )
                .median
            };
            let quantiles = samples.first().map_or(0, |sample| sample.latencies.len());
            Row {
                name: contestant.name.clone(),
                setting: contestant.setting,
                role: contestant.role,
                batch: contestant.load.batch,
                note: contestant.note.clone(),
                value: rounds.figure(i).map(|figure| contest.unit.of(figure)),
                tango: ours(contestant).filter(|_| compared).map(|other| rounds.ratio(i, other)),
                times_limit: limit.filter(|&limit| limit != i).map(|limit| rounds.ratio(i, limit)),
                wrong: samples.iter().map(|sample| sample.wrong).sum(),
                lost: samples.iter().map(|sample| sample.lost).sum(),
                messages: samples.iter().map(|sample| sample.messages).sum(),
                reader: rounds.over(|round| round[i].reader).median,
                figures: samples.iter().map(|sample| sample.figure).collect(),
                latencies: (0..quantiles).map(at_quantile).collect(),
            }
        };
        Self {
            key: contest.key.clone(),
            workload: contest.workload.to_owned(),
            title: contest.title.clone(),
            unit: contest.unit,
            at: contest.at,
            rows: contestants.iter().enumerate().map(row).collect(),
            rounds: rounds.kept.len(),
            thrown: rounds.thrown,
            retaken: rounds.retaken,
            doubtful: rounds.doubtful,
            distance: Spread::of(&rounds.distance),
        }
    }

    /// Names of the rows of ours or of peers that delivered wrong payloads, which must not be.
    pub(crate) fn wrong(&self) -> impl Iterator<Item = String> {
        let fatal = |row: &&Row| row.wrong > 0 && row.role != Role::Published;
        self.rows.iter().filter(fatal).map(|row| format!("{} ({})", row.name, self.key))
    }

    /// The rows of peers of one kind, the best first.
    fn best(&self, setting: Setting, batch: bool) -> Option<(&Row, Spread)> {
        self.rows
            .iter()
            .filter(|row| row.role == Role::Peer && row.setting == setting && row.batch == batch)
            .filter_map(|row| Some((row, row.tango?)))
            .min_by(|a, b| a.1.median.total_cmp(&b.1.median))
    }

    /// The lines that count: ours against the best peer of each kind, and against the published crate.
    pub(crate) fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (setting, name) in [(Setting::Threads, "threads"), (Setting::Processes, "processes")] {
            for batch in [false, true] {
                let Some((row, ratio)) = self.best(setting, batch) else { continue };
                let mut line = format!("{name}{}: ", if batch { ", batches" } else { "" });
                line += &format!("{:.2} x {}", ratio.median, row.name);
                let published = |row: &&Row| row.role == Role::Published && row.setting == setting && !batch;
                if let Some(ratio) = self.rows.iter().find(published).and_then(|row| row.tango) {
                    line += &format!(", {:.1} x published", ratio.median);
                }
                let ours =
                    |row: &&Row| row.role == Role::Tango && row.setting == setting && row.batch == batch;
                if let Some(times) = self.rows.iter().find(ours).and_then(|row| row.times_limit) {
                    line += &if self.unit.more_is_better() {
                        format!(", {:.2} of the limit", 1.0 / times.median)
                    } else {
                        format!(", {:.2} x raw", times.median)
                    };
                }
                lines.push(line);
            }
        }
        lines
    }
}
