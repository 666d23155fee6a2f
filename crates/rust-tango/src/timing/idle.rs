//! [`EmptyPolls`]: how many empty polls there were for one fragment, and after which of them the reader
//! checks more than the next fragment.
//!
//! A *quick* poll checks the next fragment only. A reader that spins makes seven quick polls in a row, then one
//! that also makes the other checks and reads the clock. A reader that polls at a slow rate makes no quick
//! polls: with seven of them, it would learn late that its link has ended or that its producer is dead. So quick
//! polls are earned. After a pause there are none. Each time that the clock shows that the reader polls fast,
//! there are about twice as many in a row as before, up to seven.

/// One in this many empty polls of a reader that spins also checks other things, for example whether the link
/// has ended.
const QUICK_POLLS: u32 = if cfg!(loom) { 1 } else { 8 };
/// After a longer time than this between two readings of the clock, in milliseconds, no poll is quick. The clock
/// moves on in steps of up to ten.
const PAUSE: u64 = 20;
/// Empty polls from one check whether the producer lives to the next, unless [`LIVENESS_INTERVAL`] passes before.
/// Each check may be a system call.
const POLLS_PER_LIVENESS_CHECK: u32 = 1024;
/// The time from one check whether the producer lives to the next, in milliseconds.
pub(crate) const LIVENESS_INTERVAL: u64 = 50;
/// Empty polls of the hot slot from one check of the ring to the next: about a millisecond, for a reader
/// that does nothing else. Each check takes a cache line away from the producer, which stores into the ring
/// before it stores into the hot slot (`bench/`: `round-trip-load`).
pub(crate) const POLLS_PER_RING_CHECK: u32 = 256 * POLLS_PER_LIVENESS_CHECK;
const _: () = assert!(QUICK_POLLS.is_power_of_two() && POLLS_PER_LIVENESS_CHECK % QUICK_POLLS == 0);

/// Counts the empty polls of one reader.
#[derive(Debug)]
pub(super) struct EmptyPolls {
    /// The number for which the last poll was empty.
    at: u64,
    count: u32,
    /// The value of `count` when the wait for `at` began.
    before: u32,
    /// A poll is quick if `count` has a bit in common with this mask: 0 (none is quick), 1, 3 or 7.
    quick: u32,
    /// When the clock was last read, in milliseconds.
    read_at: u64,
    /// When checks were last due by the clock, in milliseconds.
    checked_at: u64,
}

/// The checks that are due after an empty poll that was not quick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChecksDue {
    /// Whether the producer lives.
    pub(crate) liveness: bool,
    /// For a reader that polls the hot slot: whether the fragment is in the ring. A suspended producer may have
    /// stored it there, and not yet into the hot slot.
    pub(crate) ring: bool,
}

impl EmptyPolls {
    pub(super) fn new(next: u64) -> Self {
        Self { at: next, count: 1, before: 0, quick: 0, read_at: 0, checked_at: 0 }
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
        let is_quick = self.at == next && self.count & self.quick != 0;
        self.count = self.count.wrapping_add(u32::from(is_quick));
        is_quick
    }

    /// Counts an empty poll that was not quick. Returns which checks are due. `clock` returns milliseconds; it is
    /// not called after each poll of a reader that spins. It may stand still: then polls alone decide.
    pub(super) fn count_slow(&mut self, clock: impl FnOnce() -> u64) -> ChecksDue {
        // Check before counting: the quick polls before this one end where `count` has no bit of `quick`.
        let by_time = self.count & self.quick == 0 && self.read(clock());
        let by_count = |polls| self.count % polls == 0;
        let due = ChecksDue {
            liveness: by_time || by_count(POLLS_PER_LIVENESS_CHECK),
            ring: by_time || by_count(POLLS_PER_RING_CHECK),
        };
        self.count = self.count.wrapping_add(1);
        due
    }

    /// The clock was read. True: it is time for checks.
    fn read(&mut self, now: u64) -> bool {
        let was_fast = now.wrapping_sub(self.read_at) <= PAUSE;
        self.read_at = now;
        self.quick = if was_fast { (2 * self.quick + 1) & (QUICK_POLLS - 1) } else { 0 };
        let is_due = now.wrapping_sub(self.checked_at) >= LIVENESS_INTERVAL;
        if is_due {
            self.checked_at = now;
        }
        is_due
    }

    /// As if this many more polls had been empty.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(super) fn skip(&mut self, polls: u32) {
        self.count = self.count.wrapping_add(polls);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NONE: ChecksDue = ChecksDue { liveness: false, ring: false };

    /// One empty poll at this time, in milliseconds. Returns what is due, and whether the clock was read.
    fn poll(polls: &mut EmptyPolls, now: u64) -> (ChecksDue, bool) {
        let mut is_read = false;
        let due = if polls.count_quick(7) {
            NONE
        } else {
            polls.count_slow(|| {
                is_read = true;
                now
            })
        };
        (due, is_read)
    }

    /// A reader that polls every `period` milliseconds.
    fn checks(polls: &mut EmptyPolls, times: impl Iterator<Item = u64>) -> std::vec::Vec<u64> {
        times.filter(|now| poll(polls, *now).0.liveness).collect()
    }

    #[test]
    fn a_slow_reader_checks_by_time() {
        for period in [16, 50, 100, 1_000, 10_000] {
            let mut polls = EmptyPolls::new(7);
            let found = checks(&mut polls, (0..2000).map(|at| 5_000 + at * period));
            assert_eq!(found[0], 5_000, "the first poll checks");
            let longest = found.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(longest <= period.max(64), "{longest} ms at {period} ms a poll");
        }
        // Also at a rate at which some polls are quick.
        for period in 1..16 {
            let found = checks(&mut EmptyPolls::new(7), (0..20_000).map(|at| 5_000 + at * period));
            let longest = found.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(longest <= 200, "{longest} ms at {period} ms a poll");
        }
    }

    #[test]
    fn a_reader_that_spins_reads_the_clock_after_every_eighth_poll() {
        let mut polls = EmptyPolls::new(7);
        let (mut read, mut due) = (0, 0);
        let count = 1 << 20;
        for at in 0..count {
            // Ten nanoseconds a poll.
            let (checks, is_read) = poll(&mut polls, 5_000 + at / 100_000);
            read += u64::from(is_read);
            due += u64::from(checks.liveness);
        }
        assert!((count / 8..count / 8 + 8).contains(&read), "{read}");
        assert!((1024..1026).contains(&due), "{due}");
    }

    /// After spinning, at most seven polls are quick. A few polls now and then earn no more than a few.
    #[test]
    fn quick_polls_are_earned() {
        let mut polls = EmptyPolls::new(7);
        (0..100_000).for_each(|_| assert!(polls.count_quick(7) || poll(&mut polls, 5_000).1));
        let found = checks(&mut polls, (0..20).map(|at| 10_000 * (1 + at)));
        assert!(found.len() >= 13, "{found:?}");
        assert!(found.windows(2).all(|pair| pair[1] - pair[0] == 10_000), "{found:?}");
        for together in 2..20 {
            let mut polls = EmptyPolls::new(7);
            let rounds = |at: u64| std::iter::repeat_n(10_000 * (1 + at), together);
            let found = checks(&mut polls, (0..100).flat_map(rounds));
            let longest = found.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(longest <= 20_000, "{longest} ms with {together} polls every 10 s");
        }
    }

    #[test]
    fn without_a_clock_polls_alone_decide() {
        let mut polls = EmptyPolls::new(7);
        let found = (1..=4096_u64).filter(|_| poll(&mut polls, 0).0.liveness).count();
        assert_eq!(found, 4);
    }
}
