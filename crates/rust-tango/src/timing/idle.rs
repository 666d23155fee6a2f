//! Empty polls: how many there were for one fragment, and which of them ask for more than the fragment.

/// Of so many empty polls, one asks for anything but the next fragment: has the link ended?
const QUICK_POLLS: u32 = if cfg!(loom) { 1 } else { 8 };
/// Empty polls between two questions whether the producer lives, each of which may be a system call.
pub(crate) const POLLS_PER_QUESTION: u32 = 1024;
/// Empty polls of the hot slot between two looks in the ring, about a millisecond for a reader that does nothing else:
/// each takes a line away from the producer, which stores there before it stores in the hot slot (`bench/`:
/// `round-trip-load`).
pub(crate) const POLLS_PER_RING_CHECK: u32 = 256 * POLLS_PER_QUESTION;
#[allow(clippy::modulo_one)]
const _: () = assert!(POLLS_PER_QUESTION % QUICK_POLLS == 0);

/// Counts the empty polls of one reader.
#[derive(Debug)]
pub(super) struct EmptyPolls {
    /// The number at which the last poll found nothing.
    at: u64,
    count: u32,
    /// What `count` was when the wait for `at` began.
    before: u32,
}

impl EmptyPolls {
    pub(super) fn new(next: u64) -> Self {
        Self { at: next, count: 1, before: 0 }
    }

    /// The number at which the last poll found nothing.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Empty polls for the fragment at which the last poll found nothing.
    #[inline]
    pub(super) fn waited(&self) -> u32 {
        self.count.wrapping_sub(self.before)
    }

    /// Begins a wait for `next`, the first behind a run of fragments. Returns how long the run was, and how many empty
    /// polls there were for its first fragment.
    pub(super) fn begin(&mut self, next: u64) -> (u64, u32) {
        let ended = (next.wrapping_sub(self.at), self.waited());
        self.at = next;
        self.before = self.count;
        ended
    }

    /// Whether a poll for `next` that has found nothing need not ask for anything else. Counts it if so.
    #[inline(always)]
    pub(super) fn count_quick(&mut self, next: u64) -> bool {
        // Loom has one: each asks for everything.
        #[allow(clippy::modulo_one)]
        let is_quick = self.at == next && self.count % QUICK_POLLS != 0;
        self.count = self.count.wrapping_add(u32::from(is_quick));
        is_quick
    }

    /// Counts any other empty poll. True: it is time to ask whether the producer lives.
    pub(super) fn count_slow(&mut self) -> bool {
        // Before the count goes on: quick polls leave it at a multiple of theirs.
        let is_due = self.count % POLLS_PER_QUESTION == 0;
        self.count = self.count.wrapping_add(1);
        is_due
    }

    /// Whether a reader that polls the hot slot should look in the ring now. (The poll before this is counted already.)
    pub(super) fn ring_check_is_due(&self) -> bool {
        self.count % POLLS_PER_RING_CHECK == 1
    }

    /// As if so many polls more had found nothing.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(super) fn skip(&mut self, polls: u32) {
        self.count = self.count.wrapping_add(polls);
    }
}
