//! [`Metrics`]: counters of the borrowed API, one padded line for each writer.

use crate::sync::{AcqRel, AtomicU64, Own, Padded, Relaxed, ordering};

/// How many consumers can count into one [`Metrics`] at a time.
const CONSUMERS: usize = 7;

/// Counters that a producer and its consumers keep, and that anyone may look at.
///
/// Each party writes a line of its own, so counting costs it a plain store. Up to seven consumers can
/// share one `Metrics` at a time; their counts are added up.
#[derive(Debug)]
pub struct Metrics {
    /// Bit `n`: somebody writes line `n`. Line 0 is the producer's.
    taken: AtomicU64,
    lines: [Padded<Line>; 1 + CONSUMERS],
}

/// Counters of one writer. The first word counts fragments, published or consumed; the second events,
/// stalls or overruns.
#[derive(Debug)]
struct Line {
    fragments: AtomicU64,
    events: AtomicU64,
}

/// What [`Metrics`] said at one moment. The counters are read one after the other, while they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricsSnapshot {
    /// Fragments published.
    pub published: u64,
    /// Fragments consumed, by all consumers together.
    pub consumed: u64,
    /// Times that a consumer was lapped.
    pub overruns: u64,
    /// Fragments that had to wait for credits.
    pub backpressure_events: u64,
}

impl MetricsSnapshot {
    /// Fragments published and not yet consumed (with one consumer).
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
    /// All zero.
    pub const fn new() -> Self {
        Self {
            taken: AtomicU64::new(0),
            lines: [const { Padded::new(Line { fragments: AtomicU64::new(0), events: AtomicU64::new(0) }) };
                1 + CONSUMERS],
        }
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        self.taken.touch();
        self.lines
            .iter()
            .for_each(|line| [&line.fragments, &line.events].into_iter().for_each(AtomicU64::touch));
    }

    /// The counters at this moment.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let [producer, consumers @ ..] = &self.lines;
        let sum = |word: fn(&Line) -> &AtomicU64| {
            consumers.iter().fold(0_u64, |sum, line| sum.wrapping_add(word(line).load(Relaxed)))
        };
        // Consumers first: a lag is then rather too high than negative.
        let consumed = sum(|line| &line.fragments);
        MetricsSnapshot {
            published: producer.fragments.load(Relaxed),
            consumed,
            overruns: sum(|line| &line.events),
            backpressure_events: producer.events.load(Relaxed),
        }
    }

    pub(crate) fn producer(&self) -> Option<Counter<'_>> {
        self.claim(0)
    }

    pub(crate) fn consumer(&self) -> Option<Counter<'_>> {
        (1..=CONSUMERS).find_map(|line| self.claim(line))
    }

    fn claim(&self, line: usize) -> Option<Counter<'_>> {
        // AcqRel: who takes the line over goes on from the counts of the one before.
        let before = self.taken.fetch_or(1 << line, ordering("metrics.claim", AcqRel));
        (before & 1 << line == 0).then(|| Counter { metrics: self, index: line, line: &self.lines[line] })
    }
}

/// The right to write one line, given back when dropped.
#[derive(Debug)]
pub(crate) struct Counter<'a> {
    metrics: &'a Metrics,
    index: usize,
    /// That of `index`.
    line: &'a Line,
}

impl Counter<'_> {
    #[inline]
    fn add(word: &AtomicU64, count: u64) {
        word.store(word.own().wrapping_add(count), Relaxed);
    }

    #[inline]
    pub(crate) fn fragments(&self, count: u64) {
        Self::add(&self.line.fragments, count);
    }

    pub(crate) fn event(&self) {
        Self::add(&self.line.events, 1);
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.metrics.taken.fetch_and(!(1 << self.index), ordering("metrics.give_back", AcqRel));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_writer_has_its_own_line_and_hands_it_on() {
        let metrics = Metrics::new();
        let producer = metrics.producer().unwrap();
        assert!(metrics.producer().is_none());
        producer.fragments(5);
        producer.event();
        let first = metrics.consumer().unwrap();
        let second = metrics.consumer().unwrap();
        first.fragments(1);
        second.fragments(2);
        second.event();
        drop(first);
        metrics.consumer().unwrap().fragments(1);
        let expected = MetricsSnapshot { published: 5, consumed: 4, overruns: 1, backpressure_events: 1 };
        assert_eq!(metrics.snapshot(), expected);
        assert_eq!(metrics.snapshot().lag(), 1);
    }
}
