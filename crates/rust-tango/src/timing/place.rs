//! Where a reader polls for its next fragment: in the ring, or in the hot slot.
//!
//! A reader that waits for one fragment after the other gets it sooner from the hot slot, which is always in the same two
//! cache lines. In a stream, it is better off in the ring, where the producer gets ahead.

use super::processor::ON;
use crate::ring::seq;

/// A reader changes to the hot slot after more empty polls than this for one fragment,
const WAITED: u32 = if cfg!(loom) { 0 } else { 4 };
/// or after this many for each of `STEADY` fragments in a row: in an exchange of questions and answers between cores that
/// are near, no wait is long.
pub(crate) const STEADY_WAITED: u32 = 3;
pub(crate) const STEADY: u32 = 8;
/// It changes back when `PROMPT_MOST` fragments in a row have come after `PROMPT` empty polls at most: a stream as fast as
/// that is faster through the ring.
pub(super) const PROMPT: u32 = 1;
pub(crate) const PROMPT_MOST: u32 = 16;
/// A reader that has found so many fragments in a row only announced leaves the hot slot alone for so many fragments:
/// the way there costs more than it saves. (It is an observer beside consumers that poll the ring, or fragments come in
/// batches of one.)
pub(crate) const ANNOUNCED_MOST: u32 = 4;
pub(crate) const ANNOUNCED_PAUSE: u64 = 1024;
/// A reader that has been in the ring for so many fragments takes back its hint that it reads the hot slot. Not earlier,
/// because the producer has to fetch the word each time it changes.
pub(crate) const HINT_KEPT_FOR: u64 = 64;

/// Decides where one reader polls.
#[derive(Debug)]
pub(super) struct PollPlace {
    in_hot_slot: bool,
    /// Since which fragment it has polled the ring.
    in_ring_since: u64,
    /// It does not change to the hot slot before this.
    not_before: u64,
    /// Fragments in a row that came one by one, each waited for.
    steady: u32,
    /// Fragments in a row that were in the hot slot with next to no wait.
    prompt: u32,
    /// Fragments in a row that were announced only.
    announced: u32,
}

impl PollPlace {
    pub(super) fn new(next: u64) -> Self {
        Self { in_hot_slot: false, in_ring_since: next, not_before: next, steady: 0, prompt: 0, announced: 0 }
    }

    #[inline(always)]
    pub(super) fn is_hot_slot(&self) -> bool {
        self.in_hot_slot
    }

    /// A run of fragments has ended, whose first one took `waited` empty polls.
    pub(super) fn run_ended(&mut self, run: u64, waited: u32) {
        let is_steady = run == 1 && waited >= STEADY_WAITED;
        self.steady = if is_steady { STEADY.min(self.steady + 1) } else { 0 };
    }

    /// Whether fragments have come one by one for long enough to change to the hot slot.
    pub(super) fn is_steady(&self) -> bool {
        self.steady == STEADY
    }

    /// Whether `waited` empty polls in the ring are enough to change to the hot slot.
    pub(super) fn has_waited(&self, waited: u32) -> bool {
        !self.in_hot_slot && waited > WAITED
    }

    /// Whether it may change to the hot slot in front of fragment `next`.
    pub(super) fn may_enter(&self, next: u64) -> bool {
        ON && !seq::is_before(next, self.not_before)
    }

    pub(super) fn enter(&mut self) {
        self.in_hot_slot = true;
    }

    /// It polls the ring from fragment `next` on.
    pub(super) fn leave(&mut self, next: u64) {
        self.in_hot_slot = false;
        self.in_ring_since = next;
        self.prompt = 0;
    }

    /// Whether the hint that it reads the hot slot is out of date in front of fragment `next`.
    pub(super) fn hint_is_stale(&self, next: u64) -> bool {
        !self.in_hot_slot && next.wrapping_sub(self.in_ring_since) >= HINT_KEPT_FOR
    }

    /// The hot slot had the metadata.
    #[inline(always)]
    pub(super) fn found_there(&mut self) {
        self.announced = 0;
    }

    /// A fragment was in the hot slot whole. `is_prompt`: after next to no wait. False: leave.
    #[inline(always)]
    pub(super) fn found_whole(&mut self, is_prompt: bool) -> bool {
        self.announced = 0;
        self.prompt = if is_prompt { self.prompt + 1 } else { 0 };
        self.prompt < PROMPT_MOST
    }

    /// Fragment `next` was announced only. True: leave, for some time.
    pub(super) fn found_announced(&mut self, next: u64) -> bool {
        self.announced += 1;
        let leaves = self.announced == ANNOUNCED_MOST;
        if leaves {
            self.announced = 0;
            self.not_before = next.wrapping_add(ANNOUNCED_PAUSE);
        }
        leaves
    }
}
