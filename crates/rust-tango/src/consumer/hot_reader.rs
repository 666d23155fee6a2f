//! [`HotReader`]: how a reader polls the hot slot. See [`hot_slot`](crate::ring::hot_slot).

use crate::ring::hot_slot::{Found, HotCopy, HotSlot};
use crate::ring::line::LineState;

/// The hot slot of a link, and the payload that a reader copied from it last.
#[derive(Debug)]
pub(super) struct HotReader<'a> {
    hot_slot: &'a HotSlot,
    copy: HotCopy,
}

impl<'a> HotReader<'a> {
    pub(super) fn new(hot_slot: &'a HotSlot) -> Self {
        Self { hot_slot, copy: HotCopy::new() }
    }

    /// Whether there is a hot slot to poll. Always true, except in models about other things.
    pub(super) fn is_used(&self) -> bool {
        self.hot_slot.is_used()
    }

    #[inline]
    pub(super) fn state(&self, n: u64) -> LineState {
        self.hot_slot.state(n)
    }

    /// See [`HotSlot::copy`].
    #[inline(always)]
    pub(super) fn copy(&mut self, n: u64, mtu: usize) -> Option<Found> {
        self.hot_slot.copy(n, mtu, &mut self.copy)
    }

    /// The words of the payload that was copied last.
    #[inline]
    pub(super) fn words(&self) -> &[u64] {
        self.copy.words()
    }

    /// The address of the hot slot that the reader polls.
    #[cfg(all(test, not(loom), not(miri), not(no_hints), feature = "shm", target_os = "linux"))]
    pub(super) fn address(&self) -> usize {
        core::ptr::from_ref(self.hot_slot).addr()
    }
}
