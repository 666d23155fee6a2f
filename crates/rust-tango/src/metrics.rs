//! [`Metrics`]: counters for producers and consumers, with a pair of cache lines for each writer.

#[cfg(feature = "alloc")]
use crate::sync::Arc;
use crate::sync::{AcqRel, AtomicU64, Own, Padded, Relaxed, ordering};

/// How many consumers can count into one [`Metrics`] at the same time. One less than a power of two.
const CONSUMERS: usize = 7;

/// Counters that one producer and up to seven consumers write, and that any thread may read.
///
/// Each writer has counters of its own, so counting costs it an ordinary store. [`Metrics::snapshot`] adds up
/// the counts of all consumers. A consumer that attaches after another has left continues from that one's
/// counts.
///
/// Attach it with [`Producer::with_metrics`](crate::Producer::with_metrics) and
/// [`Consumer::with_metrics`](crate::Consumer::with_metrics). Both take a reference, which may be to a `static`, or an
/// `Arc`. What a link counts by itself is in [`Link::metrics`](crate::Link::metrics).
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, Metrics};
///
/// static METRICS: Metrics = Metrics::new();
///
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let tx = link.producer()?.with_metrics(&METRICS);
/// let mut rx = link.consumer()?.with_metrics(&METRICS);
/// tx.send(b"one")?;
/// tx.send(b"two")?;
/// drop(rx.poll()?);
///
/// let snapshot = METRICS.snapshot();
/// assert_eq!((snapshot.published, snapshot.consumed, snapshot.lag()), (2, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Metrics {
    /// Bit `n`: the counters at index `n` have a writer. Index 0 is the producer's.
    taken: AtomicU64,
    counters: [Padded<Counters>; 1 + CONSUMERS],
}

/// The counters of one writer.
#[derive(Debug)]
struct Counters {
    /// Fragments that it published or consumed.
    fragments: AtomicU64,
    /// A producer's stalls, or a consumer's overruns.
    events: AtomicU64,
}

/// The counts of a [`Metrics`], from [`Metrics::snapshot`].
///
/// They are read one after the other, while the writers change them, so two counts may not fit together.
/// [`Metrics`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct MetricsSnapshot {
    /// Fragments published.
    pub published: u64,
    /// Fragments consumed, summed over all consumers.
    pub consumed: u64,
    /// How many times a consumer lost fragments: it was lapped or evicted, or the producer left numbers out.
    pub overruns: u64,
    /// Fragments that had to wait for credits.
    pub backpressure_events: u64,
}

impl MetricsSnapshot {
    /// Fragments published and not yet consumed: `published - consumed`, at least 0. Only meaningful with one
    /// consumer.
    pub fn lag(&self) -> u64 {
        self.published.saturating_sub(self.consumed)
    }
}

impl core::fmt::Display for MetricsSnapshot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { published, consumed, overruns, backpressure_events } = self;
        let lag = self.lag();
        write!(
            f,
            "published={published} consumed={consumed} lag={lag} overruns={overruns} backpressure={backpressure_events}"
        )
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters that are all 0.
    pub const fn new() -> Self {
        Self {
            taken: AtomicU64::new(0),
            counters: [const { Padded::new(Counters { fragments: AtomicU64::new(0), events: AtomicU64::new(0) }) };
                1 + CONSUMERS],
        }
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        self.taken.touch();
        self.counters
            .iter()
            .for_each(|of| [&of.fragments, &of.events].into_iter().for_each(AtomicU64::touch));
    }

    /// Reads all counters. The writers may change them meanwhile.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let [producer, consumers @ ..] = &self.counters;
        let sum = |word: fn(&Counters) -> &AtomicU64| {
            consumers.iter().fold(0_u64, |sum, of| sum.wrapping_add(word(of).load(Relaxed)))
        };
        // Consumers first: the lag may then be too high, but not below zero.
        let consumed = sum(|of| &of.fragments);
        MetricsSnapshot {
            published: producer.fragments.load(Relaxed),
            consumed,
            overruns: sum(|of| &of.events),
            backpressure_events: producer.events.load(Relaxed),
        }
    }

    /// Takes the counters at `index`, if they have no writer.
    fn claim(&self, index: usize) -> bool {
        // AcqRel: a new writer sees the counts of the previous one, and continues from them.
        let before = self.taken.fetch_or(1 << index, ordering("metrics.claim", AcqRel));
        before & 1 << index == 0
    }
}

/// A [`Metrics`] for an end of a link to count into: borrowed, or shared.
///
/// [`Producer::with_metrics`](crate::Producer::with_metrics) and
/// [`Consumer::with_metrics`](crate::Consumer::with_metrics) make one of a `&Metrics`, which must outlive the end, or of
/// an `Arc<Metrics>`, of which the end keeps a share.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use rust_tango::{Link, Metrics};
///
/// let metrics = Arc::new(Metrics::new());
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let tx = link.producer()?.with_metrics(&metrics);
/// let mut rx = link.consumer()?.with_metrics(&metrics);
/// let reader = std::thread::spawn(move || rx.wait().map(drop)); // nothing is borrowed
/// tx.send(b"counted")?;
/// reader.join().unwrap()?;
/// assert_eq!(metrics.snapshot().consumed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MetricsRef<'a>(Kept<'a>);

#[derive(Debug)]
enum Kept<'a> {
    Borrowed(&'a Metrics),
    #[cfg(feature = "alloc")]
    Shared(Arc<Metrics>),
}

impl<'a> From<&'a Metrics> for MetricsRef<'a> {
    fn from(metrics: &'a Metrics) -> Self {
        Self(Kept::Borrowed(metrics))
    }
}

#[cfg(feature = "alloc")]
impl From<Arc<Metrics>> for MetricsRef<'_> {
    fn from(metrics: Arc<Metrics>) -> Self {
        Self(Kept::Shared(metrics))
    }
}

/// Takes a share of its own.
#[cfg(feature = "alloc")]
impl From<&Arc<Metrics>> for MetricsRef<'_> {
    fn from(metrics: &Arc<Metrics>) -> Self {
        metrics.clone().into()
    }
}

impl<'a> MetricsRef<'a> {
    fn get(&self) -> &Metrics {
        match &self.0 {
            Kept::Borrowed(metrics) => metrics,
            #[cfg(feature = "alloc")]
            Kept::Shared(metrics) => metrics,
        }
    }

    /// The producer's counters. `None`: another producer writes them.
    pub(crate) fn producer(self) -> Option<Counter<'a>> {
        self.claim(0..=0)
    }

    /// Counters for a consumer. `None`: all are taken.
    pub(crate) fn consumer(self) -> Option<Counter<'a>> {
        self.claim(1..=CONSUMERS)
    }

    fn claim(self, mut of: core::ops::RangeInclusive<usize>) -> Option<Counter<'a>> {
        let index = of.find(|index| self.get().claim(*index))?;
        Some(Counter { metrics: self, index })
    }
}

/// The exclusive right to write some counters. Dropping it gives the right back.
#[derive(Debug)]
pub(crate) struct Counter<'a> {
    metrics: MetricsRef<'a>,
    /// 0 to [`CONSUMERS`].
    index: usize,
}

impl Counter<'_> {
    #[inline]
    fn add(word: &AtomicU64, count: u64) {
        word.store(word.own().wrapping_add(count), Relaxed);
    }

    #[inline]
    fn counters(&self) -> &Counters {
        // The mask changes nothing. It saves a check of the bound.
        &self.metrics.get().counters[self.index & CONSUMERS]
    }

    #[inline]
    pub(crate) fn fragments(&self, count: u64) {
        Self::add(&self.counters().fragments, count);
    }

    pub(crate) fn event(&self) {
        Self::add(&self.counters().events, 1);
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.metrics.get().taken.fetch_and(!(1 << self.index), ordering("metrics.give_back", AcqRel));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_writer_has_its_own_line_and_hands_it_on() {
        let metrics = Metrics::new();
        let of = || MetricsRef::from(&metrics);
        let producer = of().producer().unwrap();
        assert!(of().producer().is_none());
        producer.fragments(5);
        producer.event();
        let first = of().consumer().unwrap();
        let second = of().consumer().unwrap();
        first.fragments(1);
        second.fragments(2);
        second.event();
        drop(first);
        of().consumer().unwrap().fragments(1);
        let expected = MetricsSnapshot { published: 5, consumed: 4, overruns: 1, backpressure_events: 1 };
        assert_eq!(metrics.snapshot(), expected);
        assert_eq!(metrics.snapshot().lag(), 1);
    }
}
