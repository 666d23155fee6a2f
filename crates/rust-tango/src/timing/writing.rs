//! The producer's policy: where it mirrors the newest fragment, and which cache lines it touches ahead of their use.

use super::hints::ConsumerHints;
use super::processor::{ON, Pays};
use crate::ring::seq;
use crate::sync::Cell;

/// Which hot slots get the newest fragment whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mirror {
    /// None: nobody polls one, as in a stream. The shared hot slot says that the fragment is in the ring, which takes
    /// fewer stores.
    Announce,
    /// The shared one.
    Shared,
    /// The private one of the consumer in this slot, then the shared one.
    PrivateFirst(usize),
}

impl Mirror {
    /// Before anything is known of the readers.
    pub(crate) const FIRST: Self = if ON { Self::Shared } else { Self::Announce };

    /// `has_private` says whether the consumer of a slot has a hot slot of its own.
    pub(crate) fn choose(hints: &ConsumerHints, has_private: impl Fn(usize) -> bool) -> Self {
        match hints.single_hot_reader {
            _ if !ON || !hints.hot_slot_is_read => Self::Announce,
            Some(slot) if has_private(slot) => Self::PrivateFirst(slot),
            _ => Self::Shared,
        }
    }
}

/// Which lines the producer evicts, and later prefetches for writing, before it comes to them.
#[derive(Debug)]
pub(crate) struct LinesAhead {
    depth: u64,
    /// How many lines before their use lines are prefetched; 0 where evicting does not pay.
    ahead: u64,
    what: Cell<What>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Nothing: the lines are at hand as a single consumer leaves them, or cannot be.
    Nothing,
    /// The only consumer polls its hot slot and not the ring, so the next line can be prefetched now, and stays. It has
    /// not been used for a lap, which may be long ago, and the hot slot waits for what is stored there.
    PrefetchNext,
    /// A single consumer has evicted them.
    Prefetch,
    EvictAndPrefetch,
}

/// The numbers of the fragments whose lines are to be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) evict: Option<u64>,
    pub(crate) prefetch: Option<u64>,
}

impl LinesAhead {
    /// For a ring of `depth` slots, `bytes` in all.
    pub(crate) fn new(depth: u64, bytes: usize) -> Self {
        let pays = Pays::here(depth, bytes).evicting;
        Self { depth, ahead: if pays { depth / 32 } else { 0 }, what: Cell::new(What::Nothing) }
    }

    /// Decides anew, now that consumers or their hints have changed.
    pub(crate) fn choose(&self, hints: &ConsumerHints) {
        let pays = self.ahead != 0;
        self.what.set(if pays && !hints.single_consumer {
            What::EvictAndPrefetch
        } else if pays && hints.lines_are_evicted {
            What::Prefetch
        } else if ON && hints.single_consumer && hints.single_hot_reader.is_some() {
            What::PrefetchNext
        } else {
            What::Nothing
        });
    }

    /// Which lines to touch after fragment `n` was published. No consumer needs anything before `floor`.
    #[inline]
    pub(crate) fn after(&self, n: u64, floor: impl FnOnce() -> u64) -> Option<Lines> {
        match self.what.get() {
            What::Nothing => None,
            What::PrefetchNext => Some(Lines { evict: None, prefetch: Some(n.wrapping_add(1)) }),
            what => {
                let evicts = what == What::EvictAndPrefetch;
                let near = n.wrapping_add(self.ahead);
                // Not what a consumer may still want: the two would take the lines from each other.
                let is_free = seq::is_before(near.wrapping_sub(self.depth), floor());
                Some(Lines {
                    evict: evicts.then(|| n.wrapping_add(3 * self.ahead)),
                    prefetch: is_free.then_some(near),
                })
            }
        }
    }

    /// Whether a batch is followed by [`Self::after`] each of its fragments. (A batch is announced only, so a consumer
    /// that polls the hot slot is in the ring now.)
    #[inline]
    pub(crate) fn touches_after_batch(&self) -> bool {
        matches!(self.what.get(), What::Prefetch | What::EvictAndPrefetch)
    }

    /// As on a processor where evicting pays, or where it does not.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(crate) fn evicting_pays(&mut self, pays: bool) {
        self.ahead = if pays { 2 } else { 0 };
    }
}

#[cfg(all(test, not(loom), not(no_hints)))]
mod tests {
    use super::*;

    const ALONE: ConsumerHints = ConsumerHints {
        hot_slot_is_read: false,
        single_hot_reader: None,
        lines_are_evicted: false,
        single_consumer: true,
    };

    #[test]
    fn a_single_consumer_cleans_and_several_leave_it_to_the_producer() {
        let lines = LinesAhead { depth: 64, ahead: 2, what: Cell::new(What::Nothing) };
        let after = |hints: ConsumerHints, floor: u64| {
            lines.choose(&hints);
            lines.after(100, || floor)
        };
        let several = ConsumerHints { single_consumer: false, ..ALONE };
        assert_eq!(after(several, 39), Some(Lines { evict: Some(106), prefetch: Some(102) }));
        assert_eq!(after(several, 38), Some(Lines { evict: Some(106), prefetch: None }), "still wanted");
        assert!(lines.touches_after_batch());
        assert_eq!(after(ALONE, 39), None);
        let evicts = ConsumerHints { lines_are_evicted: true, ..ALONE };
        assert_eq!(after(evicts, 39), Some(Lines { evict: None, prefetch: Some(102) }));
        let hot = ConsumerHints { hot_slot_is_read: true, single_hot_reader: Some(0), ..ALONE };
        assert_eq!(after(hot, 0), Some(Lines { evict: None, prefetch: Some(101) }));
        assert!(!lines.touches_after_batch());
        let hot_and_evicts = ConsumerHints { lines_are_evicted: true, ..hot };
        assert_eq!(after(hot_and_evicts, 39), Some(Lines { evict: None, prefetch: Some(102) }));
        let hot_beside_others = ConsumerHints { single_consumer: false, ..hot };
        let elsewhere = LinesAhead { depth: 64, ahead: 0, what: Cell::new(What::Nothing) };
        elsewhere.choose(&hot_beside_others);
        assert_eq!(elsewhere.after(100, || 0), None, "the other one polls the ring");
    }

    #[test]
    fn fragments_are_mirrored_for_those_that_poll_the_hot_slot() {
        let hot = ConsumerHints { hot_slot_is_read: true, single_hot_reader: Some(1), ..ALONE };
        assert_eq!(Mirror::choose(&ALONE, |_| true), Mirror::Announce);
        assert_eq!(Mirror::choose(&hot, |slot| slot == 1), Mirror::PrivateFirst(1));
        assert_eq!(Mirror::choose(&hot, |_| false), Mirror::Shared);
        let two = ConsumerHints { single_hot_reader: None, ..hot };
        assert_eq!(Mirror::choose(&two, |_| true), Mirror::Shared);
    }
}
