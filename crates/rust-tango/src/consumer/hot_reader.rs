//! [`HotReader`]: the hot slots that a reader polls, the shared one or its private one. See
//! [`hot_slot`](crate::ring::hot_slot).

use crate::ring::hot_slot::{Found, HotCopy, HotSlot};
use crate::ring::line::LineState;

/// Polls hot slots for one reader.
#[derive(Debug)]
pub(super) struct HotReader<'a> {
    shared: &'a HotSlot,
    /// The private hot slot of the reader's consumer slot, in shared memory.
    private: Option<&'a HotSlot>,
    /// The one that the reader polls.
    polled: &'a HotSlot,
    copy: HotCopy,
}

impl<'a> HotReader<'a> {
    pub(super) fn new(shared: &'a HotSlot, private: Option<&'a HotSlot>) -> Self {
        Self { shared, private, polled: shared, copy: HotCopy::new() }
    }

    /// Closes the private hot slot, for a reader that begins with fragment `next`: it should not read what
    /// was mirrored for the slot's previous owner.
    pub(super) fn close_private(&self, next: u64) {
        if let Some(private) = self.private {
            private.close(next);
        }
    }

    /// Polls the private hot slot from now on if fragments like `next` are mirrored there. Otherwise polls
    /// the shared one.
    pub(super) fn choose(&mut self, next: u64) {
        self.polled = self.private.filter(|private| private.is_open(next)).unwrap_or(self.shared);
    }

    /// Whether there is a hot slot to poll. Always true, except in models about other things.
    pub(super) fn is_used(&self) -> bool {
        self.shared.is_used()
    }

    #[inline]
    pub(super) fn state(&self, n: u64) -> LineState {
        self.polled.state(n)
    }

    /// See [`HotSlot::copy`].
    #[inline(always)]
    pub(super) fn copy(&mut self, n: u64, mtu: usize) -> Option<Found> {
        self.polled.copy(n, mtu, &mut self.copy)
    }

    /// The words of the payload that was copied last.
    #[inline]
    pub(super) fn words(&self) -> &[u64] {
        self.copy.words()
    }

    /// Whether the reader polls the private one.
    #[cfg(all(loom, test))]
    pub(super) fn is_private(&self) -> bool {
        !core::ptr::eq(self.polled, self.shared)
    }

    /// The address of the hot slot that the reader polls.
    #[cfg(all(test, not(loom), not(miri), not(no_hints), feature = "shm", target_os = "linux"))]
    pub(super) fn address(&self) -> usize {
        core::ptr::from_ref(self.polled).addr()
    }
}
