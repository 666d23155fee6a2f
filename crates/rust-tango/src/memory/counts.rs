//! [`LinkMetrics`]: counts of both ends of a link, read from the words of the link itself.

use alloc::vec::Vec;
use core::fmt;

use crate::credits::slot::ConsumerSlot;
use crate::memory::parts::Parts;
use crate::ring::seq;
use crate::sync::Relaxed;

/// Counts of both ends of a link, from [`Link::metrics`](crate::Link::metrics).
///
/// A link counts these in words that its ends write anyway, so they cost the ends nothing, and any process that has the
/// link open can read them. Observers write nothing, so a link knows nothing of them: an observer counts for itself
/// ([`Consumer::with_metrics`](crate::Consumer::with_metrics)).
///
/// The words are read one after the other, while the ends change them. Those of the consumers are read first, so
/// `consumed` is never too large for `published`, except by the batch that `published` may lag behind. On a link whose
/// files were written by something other than this library, any number is possible.
///
/// | count | since | is exact, except that |
/// |---|---|---|
/// | `published` | the link was made | it includes the numbers that were left out, and lags behind the ring by up to a batch while one is published |
/// | `backpressure_events`, `evicted`, `reaped`, `producers`, `takeovers` | the link was made | |
/// | [`ConsumerMetrics`] | the consumer took its slot | it lags behind the consumer by what that has not finished with; a batch counts when it is dropped |
///
/// A consumer that leaves takes its counts with it. With a consumer that joins another one's slot at the same moment,
/// counts of both may be mixed.
///
/// # Examples
///
/// ```
/// use rust_tango::Link;
///
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// tx.send(b"one")?;
/// tx.send(b"two")?;
/// drop(rx.poll()?);
///
/// let metrics = link.metrics();
/// assert_eq!((metrics.published, metrics.consumed(), metrics.lag()), (2, 1, 1));
/// assert_eq!(metrics.consumers[0].lost, 0);
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LinkMetrics {
    /// How many fragments were published, by all producers of the link, with the numbers that they left out
    /// ([`Producer::skip`](crate::Producer::skip)). A producer counts the fragments alone
    /// ([`Producer::with_metrics`](crate::Producer::with_metrics)).
    pub published: u64,
    /// How many fragments had to wait for credits. One that waits counts once, however often it is tried.
    pub backpressure_events: u64,
    /// How many times a consumer was evicted.
    pub evicted: u64,
    /// How many consumers died without detaching and have been reaped.
    pub reaped: u64,
    /// How many producers have attached so far.
    pub producers: u64,
    /// How many of them took over from one that died.
    pub takeovers: u64,
    /// The consumers that have a slot, in the order of their slots. Whether they live was not asked:
    /// [`Link::status`](crate::Link::status) does.
    pub consumers: Vec<ConsumerMetrics>,
}

/// Counts of one consumer, in [`LinkMetrics::consumers`]. [`LinkMetrics`] says since when, and has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConsumerMetrics {
    /// Its slot, from 0.
    pub slot: usize,
    /// How many fragments it has finished with.
    pub consumed: u64,
    /// How many fragments that were published, and numbers that were left out, it has not finished with.
    pub lag: u64,
    /// How many times it lost fragments, or came to numbers that were left out.
    pub overruns: u64,
    /// How many fragments it lost, with the numbers that the producer left out.
    pub lost: u64,
}

impl LinkMetrics {
    /// Reads the counts from the words of a link. `slots` yields all slots.
    pub(crate) fn of<'s>(parts: &Parts<'_>, slots: impl Iterator<Item = &'s ConsumerSlot>) -> Self {
        let reports: Vec<_> =
            slots.map(ConsumerSlot::report).enumerate().filter(|(_, report)| report.active).collect();
        let (lifecycle, next) = (&parts.head.lifecycle, parts.head.next.load(Relaxed));
        let consumers = reports.into_iter().map(|(slot, report)| ConsumerMetrics {
            slot,
            consumed: report.consumed,
            lag: seq::distance(report.next, next).max(0) as u64,
            overruns: report.overruns,
            lost: report.lost,
        });
        Self {
            published: next.wrapping_sub(lifecycle.start.load(Relaxed)),
            backpressure_events: parts.head.credit.stalls.load(Relaxed),
            evicted: lifecycle.evicted.load(Relaxed),
            reaped: lifecycle.reaped.load(Relaxed),
            producers: lifecycle.incarnation.load(Relaxed),
            takeovers: lifecycle.takeovers.load(Relaxed),
            consumers: consumers.collect(),
        }
    }

    /// Fragments consumed, summed over the consumers that have a slot.
    pub fn consumed(&self) -> u64 {
        self.consumers.iter().fold(0, |sum, consumer| sum.wrapping_add(consumer.consumed))
    }

    /// Fragments lost, summed over the consumers that have a slot.
    pub fn lost(&self) -> u64 {
        self.consumers.iter().fold(0, |sum, consumer| sum.wrapping_add(consumer.lost))
    }

    /// How far the slowest consumer is behind, in fragments. 0 without consumers.
    pub fn lag(&self) -> u64 {
        self.consumers.iter().map(|consumer| consumer.lag).max().unwrap_or(0)
    }
}

/// One line, as for [`MetricsSnapshot`](crate::MetricsSnapshot).
impl fmt::Display for LinkMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { published, backpressure_events, evicted, reaped, producers, takeovers, .. } = self;
        let (consumed, lag, lost) = (self.consumed(), self.lag(), self.lost());
        write!(
            f,
            "published={published} consumed={consumed} lag={lag} lost={lost} backpressure={backpressure_events} evicted={evicted} reaped={reaped} producers={producers} takeovers={takeovers}"
        )
    }
}
