//! [`PollPlace`]: whether a reader polls the ring or the hot slot for its next fragment.
//!
//! A reader that waits for each fragment gets it sooner from the hot slot, which is always in the same two
//! cache lines. In a stream, the reader is faster in the ring, where the producer can get ahead.
//!
//! | the reader polls | and then | when |
//! |---|---|---|
//! | the ring | the hot slot | it has waited for this fragment: more than `WAITED` empty polls |
//! | the ring | the hot slot | it has waited for each of the last `STEADY` fragments: at least `STEADY_WAITED` empty polls |
//! | the hot slot | the ring | the last `MAX_PROMPT` fragments came whole, each after at most `PROMPT` empty polls: a stream |
//! | the hot slot | the ring | the reader is behind: the hot slot has a later fragment than the next one. Or it will sleep |
//! | the hot slot | the ring, for `PAUSE` fragments | the last `MAX_ANNOUNCED` fragments were only announced |
//! | the hot slot | the ring, for `PAUSE` fragments | each of the last `SHORT_VISITS` visits ended after fewer than `SHORT_VISIT` fragments, and not by sleep: bursts |
//!
//! `HINT_KEPT_FOR` fragments after it has left the hot slot, the reader tells the producer so.

use crate::ring::seq;

/// A reader changes to the hot slot after more than this many empty polls for one fragment.
const WAITED: u32 = if cfg!(loom) { 0 } else { 4 };
/// A reader also changes to the hot slot after at least this many empty polls for each of `STEADY`
/// fragments in a row. When two cores that are near each other exchange requests and replies, no single
/// wait is long.
pub(crate) const STEADY_WAITED: u32 = 3;
pub(crate) const STEADY: u32 = 8;
/// A reader changes back to the ring when `MAX_PROMPT` fragments in a row have each come after at most
/// `PROMPT` empty polls. So fast a stream is faster through the ring.
pub(super) const PROMPT: u32 = 1;
pub(crate) const MAX_PROMPT: u32 = 16;
/// When this many fragments in a row were only announced, the reader leaves the hot slot, and does not poll
/// it for the next `PAUSE` fragments: changing to it costs more than it saves. (Either the reader
/// is an observer beside consumers that poll the ring, or fragments come in batches of one.) More than the producer
/// publishes before it reads a hint: it does so when it reaches its limit for the next time after 24 fragments, and the
/// limit is at most 33 fragments away.
pub(crate) const MAX_ANNOUNCED: u32 = 64;
/// After so many visits of the hot slot in a row, each for fewer than `SHORT_VISIT` fragments, a reader does not poll it
/// for the next `PAUSE` fragments: fragments come in bursts, and a burst is faster through the ring. A visit that ends
/// because the reader sleeps does not count, as it says nothing about bursts. Measured with
/// bursts of 16 on Intel Emerald Rapids: median 815 ns through the ring, 1085 ns if each burst begins in the hot slot.
pub(crate) const SHORT_VISITS: u32 = 4;
pub(crate) const SHORT_VISIT: u64 = 8;
/// See the two above.
pub(crate) const PAUSE: u64 = 1024;
/// A reader that has polled the ring for this many fragments takes its hint back that it polls the hot
/// slot. Not earlier, because the producer has to fetch the word each time it changes.
pub(crate) const HINT_KEPT_FOR: u64 = 64;

/// Decides where one reader polls.
#[derive(Debug)]
pub(super) struct PollPlace {
    place: Place,
    /// The fragment from which on the reader has polled there.
    since: u64,
    /// See [`Hints::hot_slot`](crate::Hints).
    is_allowed: bool,
    /// The reader does not change to the hot slot before this fragment.
    not_before: u64,
    /// Runs of one fragment in a row, each of which the reader waited for.
    steady: u32,
    /// Fragments in a row that the hot slot had after at most `PROMPT` empty polls.
    prompt: u32,
    /// Fragments in a row that were only announced.
    announced: u32,
    /// Short visits in a row.
    short_visits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ring,
    HotSlot,
}

impl PollPlace {
    pub(super) fn new(next: u64, is_allowed: bool) -> Self {
        Self {
            place: Place::Ring,
            since: next,
            is_allowed,
            not_before: next,
            steady: 0,
            prompt: 0,
            announced: 0,
            short_visits: 0,
        }
    }

    #[inline(always)]
    pub(super) fn is_hot_slot(&self) -> bool {
        self.place == Place::HotSlot
    }

    /// A run of `run` fragments has ended. Its first fragment took `waited` empty polls.
    pub(super) fn run_ended(&mut self, run: u64, waited: u32) {
        let is_steady = run == 1 && waited >= STEADY_WAITED;
        self.steady = if is_steady { STEADY.min(self.steady + 1) } else { 0 };
    }

    /// Whether fragments have come one at a time for long enough to change to the hot slot.
    pub(super) fn is_steady(&self) -> bool {
        self.steady == STEADY
    }

    /// Whether `waited` empty polls of the ring are enough to change to the hot slot.
    pub(super) fn has_waited(&self, waited: u32) -> bool {
        !self.is_hot_slot() && waited > WAITED
    }

    /// Whether the reader may change to the hot slot before fragment `next`.
    pub(super) fn may_enter(&self, next: u64) -> bool {
        self.is_allowed && !seq::is_before(next, self.not_before)
    }

    pub(super) fn enter(&mut self, next: u64) {
        if !self.is_hot_slot() {
            (self.place, self.since) = (Place::HotSlot, next);
        }
    }

    /// A visit of the hot slot ends before fragment `next`, because the ring is faster.
    pub(super) fn end_visit(&mut self, next: u64) {
        let is_short = next.wrapping_sub(self.since) < SHORT_VISIT;
        self.short_visits = if is_short { self.short_visits + 1 } else { 0 };
        if self.short_visits == SHORT_VISITS {
            self.short_visits = 0;
            self.not_before = next.wrapping_add(PAUSE);
        }
    }

    /// The reader polls the ring from fragment `next` on.
    pub(super) fn leave(&mut self, next: u64) {
        (self.place, self.since) = (Place::Ring, next);
        self.prompt = 0;
    }

    /// Whether the hint that the reader polls the hot slot is out of date before fragment `next`.
    pub(super) fn hint_is_stale(&self, next: u64) -> bool {
        !self.is_hot_slot() && next.wrapping_sub(self.since) >= HINT_KEPT_FOR
    }

    /// The hot slot had the metadata of a fragment.
    #[inline(always)]
    pub(super) fn found_metadata(&mut self) {
        self.announced = 0;
    }

    /// The hot slot had all of a fragment, after at most `PROMPT` empty polls if `is_prompt`. False: leave
    /// the hot slot.
    #[inline(always)]
    pub(super) fn found_whole(&mut self, is_prompt: bool) -> bool {
        self.announced = 0;
        self.prompt = if is_prompt { self.prompt + 1 } else { 0 };
        self.prompt < MAX_PROMPT
    }

    /// Whether [`Self::found_whole`] returns false for the next fragment if that is prompt.
    #[inline(always)]
    pub(super) fn may_leave(&self) -> bool {
        self.prompt + 1 >= MAX_PROMPT
    }

    /// Fragment `next` was only announced. True: leave the hot slot, for `PAUSE` fragments.
    pub(super) fn found_announced(&mut self, next: u64) -> bool {
        self.announced += 1;
        let leaves = self.announced == MAX_ANNOUNCED;
        if leaves {
            self.announced = 0;
            self.not_before = next.wrapping_add(PAUSE);
        }
        leaves
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A reader in the hot slot from fragment `n` on.
    fn visiting(n: u64) -> PollPlace {
        let mut place = PollPlace::new(n, true);
        place.enter(n);
        place
    }

    #[test]
    fn a_reader_that_waits_changes_to_the_hot_slot() {
        let place = PollPlace::new(7, true);
        assert!(!place.has_waited(WAITED) && place.has_waited(WAITED + 1) && place.may_enter(7));
        assert!(!PollPlace::new(7, false).may_enter(7), "without the hint");
        assert!(!visiting(7).has_waited(WAITED + 1), "it is there");
    }

    #[test]
    fn a_reader_that_waits_a_little_for_each_fragment_changes_to_the_hot_slot() {
        let mut place = PollPlace::new(0, true);
        for interruption in [(2, STEADY_WAITED), (1, STEADY_WAITED - 1)] {
            (1..STEADY).for_each(|_| place.run_ended(1, STEADY_WAITED));
            assert!(!place.is_steady());
            place.run_ended(interruption.0, interruption.1);
        }
        (0..STEADY).for_each(|_| place.run_ended(1, STEADY_WAITED));
        assert!(place.is_steady());
        place.run_ended(1, STEADY_WAITED);
        assert!(place.is_steady(), "and stays so");
    }

    #[test]
    fn a_stream_changes_to_the_ring() {
        let mut place = visiting(0);
        (1..MAX_PROMPT).for_each(|_| assert!(place.found_whole(true)));
        assert!(place.may_leave() && place.found_whole(false), "one was late");
        (1..MAX_PROMPT).for_each(|_| assert!(place.found_whole(true)));
        assert!(place.may_leave() && !place.found_whole(true));
    }

    #[test]
    fn fragments_that_are_only_announced_change_to_the_ring_for_a_while() {
        let mut place = visiting(0);
        (1..MAX_ANNOUNCED).for_each(|_| assert!(!place.found_announced(9)));
        place.found_metadata();
        (1..MAX_ANNOUNCED).for_each(|_| assert!(!place.found_announced(9)));
        assert!(place.found_announced(9));
        place.end_visit(9);
        place.leave(9);
        assert!(!place.may_enter(8 + PAUSE) && place.may_enter(9 + PAUSE));
    }

    #[test]
    fn bursts_change_to_the_ring_for_a_while() {
        let mut place = PollPlace::new(0, true);
        let visit = |place: &mut PollPlace, begin: u64, fragments: u64| {
            place.enter(begin);
            place.enter(begin + 1); // changes nothing
            place.end_visit(begin + fragments);
            place.leave(begin + fragments);
        };
        (1..SHORT_VISITS).for_each(|_| visit(&mut place, u64::MAX - 9, SHORT_VISIT - 1));
        visit(&mut place, 0, SHORT_VISIT);
        assert!(place.may_enter(0), "one was long");
        (1..SHORT_VISITS).for_each(|_| visit(&mut place, 0, 0));
        place.enter(0);
        place.leave(5); // to sleep
        assert!(place.may_enter(5));
        visit(&mut place, 5, 1);
        assert!(!place.may_enter(5 + PAUSE) && place.may_enter(6 + PAUSE));
    }

    #[test]
    fn the_hint_is_out_of_date_some_time_after_the_visit() {
        let mut place = visiting(0);
        assert!(!place.hint_is_stale(HINT_KEPT_FOR));
        place.leave(u64::MAX);
        let stale = u64::MAX.wrapping_add(HINT_KEPT_FOR);
        assert!(!place.hint_is_stale(stale - 1) && place.hint_is_stale(stale));
    }
}
