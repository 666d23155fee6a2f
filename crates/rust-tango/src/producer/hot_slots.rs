//! [`HotSlots`]: the hot slots that a producer writes. All readers can poll the shared one. In shared
//! memory, each consumer slot has a private one, too. See [`hot_slot`](crate::ring::hot_slot).

use crate::memory::hints::Hints;
use crate::ring::hot_slot::HotSlot;
use crate::ring::line::Content;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::Cell;
use crate::timing::hints::ConsumerHints;
use crate::timing::writing::Mirror;

/// All hot slots of a link, and into which of them the producer mirrors fragments.
#[derive(Debug)]
pub(super) struct HotSlots<'a> {
    shared: &'a HotSlot,
    /// The private hot slots, by the index of their consumer slot.
    #[cfg(feature = "alloc")]
    private: alloc::boxed::Box<[Option<&'a HotSlot>]>,
    mirror: Cell<Mirror>,
    /// Fragments are mirrored for readers that poll the hot slot.
    is_allowed: bool,
}

impl<'a> HotSlots<'a> {
    pub(super) fn new(
        shared: &'a HotSlot,
        private: impl Iterator<Item = Option<&'a HotSlot>>,
        hints: Hints,
    ) -> Self {
        #[cfg(not(feature = "alloc"))]
        let _ = private;
        Self {
            shared,
            #[cfg(feature = "alloc")]
            private: private.collect(),
            mirror: Cell::new(Mirror::first(hints)),
            is_allowed: hints.hot_slot,
        }
    }

    /// The private hot slot of a consumer slot.
    #[inline(always)]
    fn private(&self, slot: usize) -> Option<&'a HotSlot> {
        #[cfg(feature = "alloc")]
        return self.private.get(slot).copied().flatten();
        #[cfg(not(feature = "alloc"))]
        {
            let _ = slot;
            None
        }
    }

    /// The private hot slot into which fragments are mirrored.
    #[inline(always)]
    fn chosen(&self) -> Option<&'a HotSlot> {
        match self.mirror.get() {
            Mirror::PrivateFirst(slot) => self.private(slot),
            Mirror::Announce | Mirror::Shared => None,
        }
    }

    /// Closes every private hot slot. A predecessor may have mirrored fragments into them.
    pub(super) fn close_private(&self, next: u64) {
        #[cfg(feature = "alloc")]
        self.private.iter().flatten().for_each(|hot_slot| hot_slot.close(next));
        #[cfg(not(feature = "alloc"))]
        let _ = next;
    }

    /// Prefetches the cache lines to which a payload of `len` bytes will be mirrored, if it will be. A
    /// reader polls these lines continuously, so fetching them takes a round trip to its core. Meanwhile
    /// the producer writes the ring.
    #[inline(always)]
    pub(super) fn prefetch(&self, len: usize) {
        if self.mirror.get() != Mirror::Announce {
            self.chosen().unwrap_or(self.shared).prefetch_for_writing(len);
        }
    }

    /// Mirrors fragment `meta.seq`, which is in the ring, or announces it.
    #[inline(always)] // otherwise the content would be passed through memory
    pub(super) fn mirror(&self, meta: &FragmentMetadata, content: Content<'_>) {
        if self.mirror.get() == Mirror::Announce {
            self.shared.announce(meta.seq);
            return;
        }
        if let Some(chosen) = self.chosen() {
            chosen.publish(meta, content);
        }
        self.shared.publish(meta, content);
    }

    /// Whether fragments are only announced.
    pub(super) fn only_announces(&self) -> bool {
        self.mirror.get() == Mirror::Announce
    }

    /// Announces fragment `n`, while fragments are only announced.
    #[inline(always)]
    pub(super) fn announce_in_shared(&self, n: u64) {
        self.shared.announce(n);
    }

    /// Announces that fragment `n` and every fragment before it are in the ring.
    #[inline]
    pub(super) fn announce(&self, n: u64) {
        if let Some(chosen) = self.chosen() {
            chosen.announce(n);
        }
        self.shared.announce(n);
    }

    /// Chooses again, after consumers or their hints have changed. `next` is published next.
    pub(super) fn choose(&self, hints: &ConsumerHints, next: u64) {
        // Models choose by `Producer::mirrors_privately`.
        if !cfg!(loom) && self.is_allowed {
            self.set(Mirror::choose(hints, |slot| self.private(slot).is_some()), next);
        }
    }

    /// Mirrors fragments as `mirror` says, from fragment `next` on.
    pub(super) fn set(&self, mirror: Mirror, next: u64) {
        let before = self.chosen();
        if self.mirror.replace(mirror) != mirror {
            if let Some(before) = before {
                before.close(next);
            }
        }
    }

    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(super) fn mirror_mode(&self) -> Mirror {
        self.mirror.get()
    }
}
