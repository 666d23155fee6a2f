//! What comes out: tables computed from the rounds, and with them a [`Report`] that can be shown as text,
//! as Markdown, as a page with plots, or kept as JSON.

use serde::{Deserialize, Serialize, Serializer};

use crate::method::{Contestant, Effort, Rounds, Sample, Setting, Spread, rounded};
use crate::peers::Role;
use crate::workloads::{Contest, Unit};

mod html;
mod machine;
mod plots;
mod readme;
mod targets;
mod text;

pub(crate) use self::html::page;
pub(crate) use self::machine::Machine;
pub(crate) use self::readme::readme;
pub(crate) use self::targets::targets;
pub(crate) use self::text::{ending, markdown};

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
    #[serde(serialize_with = "short_all")]
    pub(crate) figures: Vec<f64>,
    /// Nanoseconds at the quantiles of the report, medians over the rounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "short_all")]
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
    /// Measurements during which the hypervisor took time away.
    #[serde(default)]
    pub(crate) stolen: u32,
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

/// With five digits: the rest is noise.
fn short_all<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|&value| rounded(value)))
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
            stolen: rounds.stolen,
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

    /// The row of that name.
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Whom ours is compared with in a line: the best peer between threads, in batches, between processes, in
    /// batches; and the published crate. With how many times as good ours was.
    fn comparison(&self) -> [Option<(&Row, Spread)>; 5] {
        let published = self.rows.iter().find(|row| row.role == Role::Published);
        [
            self.best(Setting::Threads, false),
            self.best(Setting::Threads, true),
            self.best(Setting::Processes, false),
            self.best(Setting::Processes, true),
            published.and_then(|row| Some((row, row.tango?))),
        ]
    }
}
