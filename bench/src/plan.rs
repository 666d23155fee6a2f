//! What one measurement is asked to do ([`Plan`]), and what it returns ([`Sample`]).

use serde::{Deserialize, Serialize};

use crate::cores::{Cores, Span};
use crate::figures::{quantile_index, quantiles_of};

/// What the two sides do besides sending and receiving.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Steps of the producer's work before each message.
    pub(crate) producer_work: u32,
    /// Steps of the consumer's work after each message.
    pub(crate) consumer_work: u32,
    /// The most steps of random work that either side of a round trip does before it sends.
    pub(crate) jitter: u32,
    /// Whether the batch calls are used.
    pub(crate) batch: bool,
    /// If not 0, messages are sent on a schedule: in bursts, which start this many nanoseconds apart.
    pub(crate) every: u64,
    /// Messages in a burst.
    pub(crate) burst: u64,
    /// Readers of a fan-out, or observers that are attached and do not read. 0 elsewhere.
    pub(crate) readers: usize,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) cores: Cores,
    /// Messages before the clock starts.
    pub(crate) warm: u64,
    /// Messages while it runs.
    pub(crate) count: u64,
    pub(crate) load: Load,
    /// The row that this is for, so that a child finds it.
    pub(crate) row: RowId,
}

/// Where a row is among all: the number of its group of tables, of the table in the group, and of the row in the table.
pub(crate) type RowId = (usize, usize, usize);

impl Plan {
    pub(crate) fn readers(&self) -> usize {
        self.load.readers.max(1)
    }

    pub(crate) fn total(&self) -> u64 {
        self.warm + self.count
    }

    /// The same plan for a reader on another core.
    pub(crate) fn with_consumer(&self, core: usize) -> Self {
        Self { cores: Cores { consumer: core, ..self.cores }, ..*self }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Messages (or round trips, or calls) in the window.
    pub(crate) messages: u64,
    /// Length of the window.
    pub(crate) nanos: f64,
    /// The figure of the table: nanoseconds for each message, the median latency, or bytes.
    pub(crate) figure: f64,
    /// Messages with wrong content.
    pub(crate) wrong: u64,
    /// Messages that lossy readers missed in the window.
    pub(crate) lost: u64,
    /// The part of the time in which each spinning thread had its core, 0 to 1.
    pub(crate) on_core: f64,
    /// The part of the time in which the reader had its core, 0 to 1.
    pub(crate) reader: f64,
    /// Latencies in nanoseconds at the [`quantiles`](crate::figures::quantiles), if each message was timed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies: Vec<u64>,
}

impl Sample {
    /// A window of `messages`, none of which were lost.
    pub(crate) fn window(messages: u64, span: Span, wrong: u64) -> Self {
        Self {
            messages,
            nanos: span.nanos,
            figure: span.nanos / messages.max(1) as f64,
            wrong,
            lost: 0,
            on_core: span.on_core,
            reader: span.on_core,
            latencies: Vec::new(),
        }
    }

    /// A window in which the latency of each message was measured.
    pub(crate) fn timed(latencies: &[u32], span: Span, wrong: u64) -> Self {
        let latencies_at = quantiles_of(latencies);
        let figure = latencies_at[quantile_index(0.5)] as f64;
        Self { figure, latencies: latencies_at, ..Self::window(latencies.len() as u64, span, wrong) }
    }

    /// The sample of lossy readers with the producer's time as the figure. The producer does not wait for them,
    /// so they may have started to read only when it had finished.
    pub(crate) fn by_the_producer(self, span: Span, plan: &Plan) -> Self {
        let figure = span.nanos / plan.total() as f64;
        Self { figure, nanos: figure * plan.count as f64, ..self }
    }

    /// Takes into account how long the other side had its core. A side that sleeps gives up its core
    /// voluntarily, so that is not counted.
    pub(crate) fn with_other_side(self, other: Span, spins: bool) -> Self {
        let on_core = if spins { self.on_core.min(other.on_core) } else { 1.0 };
        Self { on_core, ..self }
    }

    /// Combines the samples of several readers: the figure of the slowest, and the sum of the counts.
    pub(crate) fn slowest(samples: impl Iterator<Item = Self>) -> Self {
        let combine = |a: Self, b: Self| {
            let (wrong, lost) = (a.wrong + b.wrong, a.lost + b.lost);
            let messages = a.messages + b.messages;
            let on_core = a.on_core.min(b.on_core);
            let slowest = if a.figure >= b.figure { a } else { b };
            Self { wrong, lost, messages, on_core, ..slowest }
        };
        samples.reduce(combine).expect("there is a reader")
    }
}

/// Where the two sides of a channel run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Setting {
    Threads,
    Processes,
}
