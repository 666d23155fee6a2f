//! [`ChannelBuilder`]: all parts of a channel at once.

use super::dcache::DCache;
use super::fctl::Fctl;
use super::fseq::Fseq;
use super::mcache::MCache;
use crate::metrics::Metrics;

/// Makes all parts of a channel of the borrowed API: an [`MCache`], a [`DCache`], an [`Fseq`], and on
/// request an [`Fctl`] and [`Metrics`].
///
/// `DEPTH` is the number of fragments of the ring, a power of two from 2. `COUNT` is the number of payloads
/// that the [`DCache`] has room for, at least `DEPTH`. `SIZE` is the largest payload, in bytes.
///
/// # Examples
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

/// The parts that [`ChannelBuilder::build`] makes. See [`ChannelBuilder`] for an example.
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
    /// No flow control, no metrics, sequence numbers from 1. See [`ChannelBuilder`] for an example.
    pub const fn new() -> Self {
        Self { initial_seq: 1, flow_control: false, metrics: false }
    }

    /// The first sequence number: any number, because sequence numbers wrap. Default: 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::ChannelBuilder;
    ///
    /// let (_, _, fseq, _, _) = ChannelBuilder::<8, 8, 64>::new().initial_seq(1000).build();
    /// assert_eq!(fseq.current(), 1000);
    /// ```
    #[must_use]
    pub const fn initial_seq(mut self, seq: u64) -> Self {
        self.initial_seq = seq;
        self
    }

    /// Adds an [`Fctl`] of `DEPTH` credits. See [`ChannelBuilder`] for an example.
    #[must_use]
    pub const fn with_flow_control(mut self) -> Self {
        self.flow_control = true;
        self
    }

    /// Adds [`Metrics`]. See [`ChannelBuilder`] for an example.
    #[must_use]
    pub const fn with_metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Makes the parts. See [`ChannelBuilder`] for an example.
    ///
    /// They are returned by value, and so pass through the stack. For a large ring, use [`MCache::boxed`] and
    /// [`DCache::boxed`], or a [`Link`](crate::Link).
    pub const fn build(self) -> Channel<DEPTH, COUNT, SIZE> {
        let fctl = if self.flow_control { Some(Fctl::new(DEPTH as u64)) } else { None };
        let metrics = if self.metrics { Some(Metrics::new()) } else { None };
        (MCache::new(), DCache::new(), Fseq::new(self.initial_seq), fctl, metrics)
    }
}
