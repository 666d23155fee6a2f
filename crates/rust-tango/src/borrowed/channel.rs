//! [`ChannelBuilder`]: a whole channel of the borrowed API.

use crate::borrowed::dcache::DCache;
use crate::borrowed::fctl::Fctl;
use crate::borrowed::fseq::Fseq;
use crate::borrowed::mcache::MCache;
use crate::metrics::Metrics;

/// Makes the parts of a link of the borrowed API.
///
/// ```
/// use rust_tango::{ChannelBuilder, Consumer, Producer};
///
/// let (mcache, dcache, fseq, fctl, metrics) =
///     ChannelBuilder::<64, 64, 256>::new().with_flow_control().with_metrics().build();
/// let (fctl, metrics) = (fctl.unwrap(), metrics.unwrap());
/// let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).with_metrics(&metrics);
/// let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1).with_metrics(&metrics);
/// producer.publish(b"hello", 0, 0, 0)?;
/// assert_eq!(consumer.poll()?.unwrap().payload.as_slice(), b"hello");
/// # Ok::<(), rust_tango::TangoError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChannelBuilder<const DEPTH: usize, const COUNT: usize, const SIZE: usize> {
    initial_seq: u64,
    flow_control: bool,
    metrics: bool,
}

/// What [`ChannelBuilder::build`] makes.
pub type Channel<const DEPTH: usize, const COUNT: usize, const SIZE: usize> =
    (MCache<DEPTH>, DCache<COUNT, SIZE>, Fseq, Option<Fctl>, Option<Metrics>);

impl<const DEPTH: usize, const COUNT: usize, const SIZE: usize> Default
    for ChannelBuilder<DEPTH, COUNT, SIZE>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<const DEPTH: usize, const COUNT: usize, const SIZE: usize> ChannelBuilder<DEPTH, COUNT, SIZE> {
    /// No flow control, no metrics, sequence numbers from 1.
    pub const fn new() -> Self {
        Self { initial_seq: 1, flow_control: false, metrics: false }
    }

    /// The first sequence number.
    #[must_use]
    pub const fn initial_seq(mut self, seq: u64) -> Self {
        self.initial_seq = seq;
        self
    }

    /// With an [`Fctl`] of `DEPTH` credits.
    #[must_use]
    pub const fn with_flow_control(mut self) -> Self {
        self.flow_control = true;
        self
    }

    /// With [`Metrics`].
    #[must_use]
    pub const fn with_metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// The parts. By value, so through the stack: for a large ring use [`MCache::boxed`] and
    /// [`DCache::boxed`], or a [`Link`](crate::Link).
    pub const fn build(self) -> Channel<DEPTH, COUNT, SIZE> {
        let fctl = if self.flow_control { Some(Fctl::new(DEPTH as u64)) } else { None };
        let metrics = if self.metrics { Some(Metrics::new()) } else { None };
        (MCache::new(), DCache::new(), Fseq::new(self.initial_seq), fctl, metrics)
    }
}
