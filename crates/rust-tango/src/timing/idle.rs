//! [`EmptyPolls`]: how many empty polls there were for one fragment, and after which of them the reader
//! checks more than the next fragment.

/// One in this many empty polls also checks other things, for example whether the link has ended.
const QUICK_POLLS: u32 = if cfg!(loom) { 1 } else { 8 };
/// Empty polls from one check whether the producer lives to the next. Each check may be a system call.
pub(crate) const POLLS_PER_LIVENESS_CHECK: u32 = 1024;
/// Empty polls of the hot slot from one check of the ring to the next: about a millisecond, for a reader
/// that does nothing else. Each check takes a cache line away from the producer, which stores into the ring
/// before it stores into the hot slot (`bench/`: `round-trip-load`).
pub(crate) const POLLS_PER_RING_CHECK: u32 = 256 * POLLS_PER_LIVENESS_CHECK;
#[allow(clippy::modulo_one)]
const _: () = assert!(POLLS_PER_LIVENESS_CHECK % QUICK_POLLS == 0);

/// Counts the empty polls of one reader.
#[derive(Debug)]
pub(super) struct EmptyPolls {
    /// The number for which the last poll was empty.
    at: u64,
    count: u32,
    /// The value of `count` when the wait for `at` began.
    before: u32,
}

impl EmptyPolls {
    pub(super) fn new(next: u64) -> Self {
        Self { at: next, count: 1, before: 0 }
    }

    /// The number for which the last poll was empty.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// How many polls for that number were empty.
    #[inline]
    pub(super) fn waited(&self) -> u32 {
        self.count.wrapping_sub(self.before)
    }

    /// Begins a wait for `next`, after a run of fragments. Returns how many fragments the run had, and how
    /// many polls for its first fragment were empty.
    pub(super) fn begin(&mut self, next: u64) -> (u64, u32) {
        let ended = (next.wrapping_sub(self.at), self.waited());
        self.at = next;
        self.before = self.count;
        ended
    }

    /// Whether an empty poll for `next` is a quick one. Counts it if so.
    #[inline(always)]
    pub(super) fn count_quick(&mut self, next: u64) -> bool {
        // In models, `QUICK_POLLS` is 1: no poll is quick.
        #[allow(clippy::modulo_one)]
        let is_quick = self.at == next && self.count % QUICK_POLLS != 0;
        self.count = self.count.wrapping_add(u32::from(is_quick));
        is_quick
    }

    /// Counts an empty poll that was not quick. True: it is time to check whether the producer lives.
    pub(super) fn count_slow(&mut self) -> bool {
        // Check before counting: the quick polls before this one end at a multiple of `QUICK_POLLS`.
        let is_due = self.count % POLLS_PER_LIVENESS_CHECK == 0;
        self.count = self.count.wrapping_add(1);
        is_due
    }

    /// Whether a reader that polls the hot slot should check the ring now. The current poll is already
    /// counted.
    pub(super) fn ring_check_is_due(&self) -> bool {
        self.count % POLLS_PER_RING_CHECK == 1
    }

    /// As if this many more polls had been empty.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(super) fn skip(&mut self, polls: u32) {
        self.count = self.count.wrapping_add(polls);
    }
}
