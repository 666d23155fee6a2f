//! The producer's policy: whether it mirrors fragments into the hot slot, and which cache lines it evicts or
//! prefetches before it uses them.

use super::hints::ConsumerHints;
use super::processor::{Nearness, Pays, is_large};
use crate::memory::hints::Hints;
use crate::ring::seq;
use crate::sync::Cell;

/// Whether the producer mirrors each fragment into the hot slot. If no reader polls it, as in a stream, the
/// producer only announces the fragment there, which takes one store.
pub(crate) fn mirrors(hints: &ConsumerHints) -> bool {
    hints.hot_slot_is_read
}

/// Which lines the producer evicts, and later prefetches for writing, before it uses them.
#[derive(Debug)]
pub(crate) struct LinesAhead {
    depth: u64,
    /// How many fragments before their use lines that were evicted are prefetched. 0: lines are not evicted, because
    /// of the hints or of the size of the ring.
    ahead: u64,
    plan: Cell<Plan>,
    /// How many fragments before their use all lines are prefetched, whatever the consumers do. 0: not at all.
    always_ahead: u64,
    /// The same in batches.
    batches_ahead: u64,
    /// Of several consumers: near if all are.
    nearness: Cell<Nearness>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Touch no lines. A single consumer has written them back, several consumers are near and fetch them quickly, or neither
    /// side can make them cheaper.
    Nothing,
    /// Prefetch the next line. The single consumer polls the hot slot and not the ring, so it does not take
    /// the line away again. The line was last used a lap ago, which may be long, and the hot slot has to
    /// wait for the stores into it.
    PrefetchNext,
    /// Prefetch lines that a single consumer has evicted.
    Prefetch,
    /// Evict lines, and prefetch them later: there are several consumers, not all of them near, or there may be observers,
    /// and nobody knows where they are.
    EvictAndPrefetch,
}

/// The lines to touch, by the numbers of the fragments that will use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) evict: Option<u64>,
    pub(crate) prefetch: Option<u64>,
}

impl LinesAhead {
    /// For a ring of `depth` slots that take `bytes` bytes in all.
    pub(crate) fn new(hints: Hints, depth: u64, bytes: usize) -> Self {
        let ahead = if Pays::here(hints, depth, bytes).evicting { depth / 32 } else { 0 };
        // Not so far that it is a line that was written lately.
        let ahead_of_all = |fragments: u8| u64::from(fragments).min(depth / 2);
        Self {
            depth,
            ahead,
            plan: Cell::new(Plan::Nothing),
            always_ahead: ahead_of_all(if is_large(bytes) {
                hints.prefetch.max(hints.prefetch_large)
            } else {
                hints.prefetch
            }),
            batches_ahead: ahead_of_all(hints.prefetch.max(hints.prefetch_batches)),
            nearness: Cell::new(Nearness::unknown(0)),
        }
    }

    /// Whether it should be measured before fragment `n` how near several consumers are.
    pub(crate) fn is_measurement_due(&self, n: u64) -> bool {
        self.ahead != 0 && self.nearness.get().is_due(n)
    }

    /// Before fragment `n`, there are not several consumers. If there are some later, nothing is known of them.
    pub(crate) fn forget_measurement(&self, n: u64) {
        self.nearness.set(Nearness::unknown(n));
    }

    /// Before fragment `n`, it was measured that all of several consumers are near, or are not.
    pub(crate) fn measured(&self, n: u64, are_near: bool) {
        self.nearness.set(Nearness::measured(n, are_near));
    }

    /// Chooses again, after consumers or their hints have changed.
    pub(crate) fn choose(&self, hints: &ConsumerHints) {
        let pays = self.ahead != 0;
        self.plan.set(if pays && !hints.single_consumer {
            if self.nearness.get().is_near { Plan::Nothing } else { Plan::EvictAndPrefetch }
        } else if pays && hints.lines_are_evicted {
            Plan::Prefetch
        } else if hints.single_consumer && hints.hot_slot_is_read && self.always_ahead == 0 {
            Plan::PrefetchNext
        } else {
            Plan::Nothing
        });
    }

    /// Whether [`Self::after`] returns any lines.
    pub(crate) fn touches(&self) -> bool {
        self.plan.get() != Plan::Nothing
    }

    /// Which line to prefetch for writing after fragment `n` was published, whatever the consumers do.
    #[inline(always)]
    pub(crate) fn prefetched_after(&self, n: u64) -> Option<u64> {
        (self.always_ahead != 0).then(|| n.wrapping_add(self.always_ahead))
    }

    /// The same for fragment `n` of a batch, before it is written.
    #[inline(always)]
    pub(crate) fn prefetched_in_batch(&self, n: u64) -> Option<u64> {
        (self.batches_ahead != 0).then(|| n.wrapping_add(self.batches_ahead))
    }

    /// Which lines to touch after fragment `n` was published. No consumer needs anything before `floor`.
    #[inline]
    pub(crate) fn after(&self, n: u64, floor: impl FnOnce() -> u64) -> Option<Lines> {
        match self.plan.get() {
            Plan::Nothing => None,
            Plan::PrefetchNext => Some(Lines { evict: None, prefetch: Some(n.wrapping_add(1)) }),
            plan => {
                let evicts = plan == Plan::EvictAndPrefetch;
                let near = n.wrapping_add(self.ahead);
                // Not a line that a consumer may still read: the two sides would take it from each other.
                let is_free = seq::is_before(near.wrapping_sub(self.depth), floor());
                Some(Lines {
                    evict: evicts.then(|| n.wrapping_add(3 * self.ahead)),
                    prefetch: is_free.then_some(near),
                })
            }
        }
    }

    /// Whether the producer calls [`Self::after`] for each fragment of a batch. (A batch is only announced,
    /// so a consumer that polls the hot slot changes to the ring.)
    #[inline]
    pub(crate) fn touches_after_batch(&self) -> bool {
        matches!(self.plan.get(), Plan::Prefetch | Plan::EvictAndPrefetch)
    }

    /// As on a processor where evicting pays, or does not.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(crate) fn evicting_pays(&mut self, pays: bool) {
        self.ahead = if pays { 2 } else { 0 };
    }
}

#[cfg(all(test, not(loom), not(no_hints)))]
mod tests {
    use super::*;
    use crate::timing::processor::MEASURE_EVERY;

    const SINGLE: ConsumerHints =
        ConsumerHints { hot_slot_is_read: false, lines_are_evicted: false, single_consumer: true };

    fn ring_of_64(ahead: u64) -> LinesAhead {
        let mut lines = LinesAhead::new(Hints::NONE, 64, 64 * 128);
        lines.ahead = ahead;
        lines
    }

    #[test]
    fn the_producer_evicts_lines_unless_a_single_consumer_does() {
        let lines = ring_of_64(2);
        let after = |hints: ConsumerHints, floor: u64| {
            lines.choose(&hints);
            lines.after(100, || floor)
        };
        let several = ConsumerHints { single_consumer: false, ..SINGLE };
        assert_eq!(after(several, 39), Some(Lines { evict: Some(106), prefetch: Some(102) }));
        assert_eq!(
            after(several, 38),
            Some(Lines { evict: Some(106), prefetch: None }),
            "a consumer may still read it"
        );
        assert!(lines.touches_after_batch());
        lines.measured(100, true);
        assert_eq!(after(several, 39), None, "all consumers are near");
        assert!(
            !lines.is_measurement_due(99 + MEASURE_EVERY) && lines.is_measurement_due(100 + MEASURE_EVERY)
        );
        lines.forget_measurement(100);
        assert!(lines.is_measurement_due(100));
        assert_eq!(after(several, 39), Some(Lines { evict: Some(106), prefetch: Some(102) }));
        assert_eq!(after(SINGLE, 39), None);
        let evicts = ConsumerHints { lines_are_evicted: true, ..SINGLE };
        assert_eq!(after(evicts, 39), Some(Lines { evict: None, prefetch: Some(102) }));
        let hot = ConsumerHints { hot_slot_is_read: true, ..SINGLE };
        assert_eq!(after(hot, 0), Some(Lines { evict: None, prefetch: Some(101) }));
        assert!(!lines.touches_after_batch());
        let hot_and_evicts = ConsumerHints { lines_are_evicted: true, ..hot };
        assert_eq!(after(hot_and_evicts, 39), Some(Lines { evict: None, prefetch: Some(102) }));
        let hot_beside_others = ConsumerHints { single_consumer: false, ..hot };
        let elsewhere = ring_of_64(0);
        elsewhere.choose(&hot_beside_others);
        assert_eq!(elsewhere.after(100, || 0), None, "the other consumer polls the ring");
        assert!(!elsewhere.is_measurement_due(MEASURE_EVERY), "it would change nothing");
    }

    #[test]
    fn how_far_ahead_lines_are_prefetched_depends_on_the_ring_and_on_batches() {
        let ahead = |text: &str, depth: u64, bytes: usize| {
            let lines = LinesAhead::new(text.parse().unwrap(), depth, bytes);
            (lines.prefetched_after(u64::MAX), lines.prefetched_in_batch(u64::MAX))
        };
        let large = 1 << 22;
        assert_eq!(ahead("none", 1024, large), (None, None));
        assert_eq!(ahead("prefetch=4", 1024, large), (Some(3), Some(3)));
        assert_eq!(ahead("prefetch=4", 4, 512), (Some(1), Some(1)), "at most half of the ring");
        assert_eq!(ahead("prefetch-batches=8", 1024, large), (None, Some(7)));
        assert_eq!(ahead("prefetch-large=16", 1024, large), (Some(15), None));
        assert_eq!(ahead("prefetch-large=16", 1024, large / 2), (None, None));
        assert_eq!(ahead("prefetch=4,prefetch-large=16", 1024, large), (Some(15), Some(3)));
    }

    #[test]
    fn fragments_are_mirrored_for_readers_that_poll_the_hot_slot() {
        assert!(!mirrors(&SINGLE));
        assert!(mirrors(&ConsumerHints { hot_slot_is_read: true, ..SINGLE }));
    }
}
