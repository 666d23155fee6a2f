//! [`HotWriter`]: how a producer writes the hot slot. See [`hot_slot`](crate::ring::hot_slot).

use crate::ring::hot_slot::HotSlot;
use crate::ring::line::Content;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::Cell;
use crate::timing::hints::ConsumerHints;
use crate::timing::writing;

/// The hot slot of a link, and whether the producer mirrors fragments there or announces them.
#[derive(Debug)]
pub(super) struct HotWriter<'a> {
    hot_slot: &'a HotSlot,
    /// Whether it mirrors fragments. If not, the hot slot is ready for announcements.
    mirrors: Cell<bool>,
    /// It may mirror fragments: see [`Hints::hot_slot`](crate::Hints).
    may_mirror: bool,
}

impl<'a> HotWriter<'a> {
    /// For a hot slot that is ready for announcements: see [`HotSlot::begin`].
    /// Until the producer knows anything about the readers, it mirrors fragments if it may.
    pub(super) fn new(hot_slot: &'a HotSlot, may_mirror: bool) -> Self {
        Self { hot_slot, mirrors: Cell::new(may_mirror), may_mirror }
    }

    /// Prefetches the cache lines to which a payload of `len` bytes will be mirrored, if it will be. A
    /// reader polls these lines continuously, so fetching them takes a round trip to its core. Meanwhile
    /// the producer writes the ring.
    #[inline(always)]
    pub(super) fn prefetch(&self, len: usize) {
        if self.mirrors.get() {
            self.hot_slot.prefetch_for_writing(len);
        }
    }

    /// Mirrors fragment `meta.seq`, which is in the ring, or announces it.
    #[inline(always)] // otherwise the content would be passed through memory
    pub(super) fn mirror(&self, meta: &FragmentMetadata, content: Content<'_>) {
        if self.mirrors.get() {
            self.hot_slot.publish(meta, content);
        } else {
            self.hot_slot.announce(meta.seq);
        }
    }

    /// Announces that fragment `n` and every fragment before it are in the ring.
    #[inline]
    pub(super) fn announce(&self, n: u64) {
        if self.mirrors.get() {
            self.hot_slot.stop_mirroring();
        }
        self.hot_slot.announce(n);
    }

    /// Chooses again, after consumers or their hints have changed.
    pub(super) fn choose(&self, hints: &ConsumerHints) {
        // Models choose by `Producer::mirrors`.
        if !cfg!(loom) {
            self.mirrors_from_now_on(self.may_mirror && writing::mirrors(hints));
        }
    }

    /// Sets whether fragments are mirrored.
    pub(super) fn mirrors_from_now_on(&self, mirrors: bool) {
        if self.mirrors.replace(mirrors) && !mirrors {
            self.hot_slot.stop_mirroring();
        }
    }

    /// Announces fragment `n`. Only while fragments are not mirrored.
    #[inline(always)]
    pub(super) fn announce_only(&self, n: u64) {
        debug_assert!(!self.mirrors.get());
        self.hot_slot.announce(n);
    }

    /// Whether it mirrors fragments.
    pub(super) fn mirrors(&self) -> bool {
        self.mirrors.get()
    }
}
