//! What a reader has lost, and where it goes on.

use crate::memory::parts::Parts;
use crate::ring::line::LineState;
use crate::ring::seq;

/// Overruns of one reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct Losses {
    /// Overruns in a row, each soon after the one before: 2 if more, or [`WENT_AROUND`].
    streak: u32,
    /// Where the last overrun made reading go on.
    resumed_at: u64,
    /// The fragments that overruns have sent it past.
    skipped: u64,
}

/// The `streak` of a reader that has been sent past every number there is. No link has carried so many: words that
/// were made up would send it round for ever.
const WENT_AROUND: u32 = u32::MAX;

impl Losses {
    /// Of a reader that begins with `next`.
    pub(super) fn new(next: u64) -> Self {
        // Far from any number that is read soon.
        Self { streak: 0, resumed_at: next.wrapping_sub(1 << 62), skipped: 0 }
    }

    /// Fragment `n` is overwritten: where to go on. At the oldest fragment that is there, the first time; if that does
    /// not last, in the middle between it and the newest; then at the next to come.
    pub(super) fn resume_after(&mut self, n: u64, parts: &Parts<'_>) -> u64 {
        let (oldest, next) = parts.extent();
        let soon = seq::distance(self.resumed_at, n).unsigned_abs() < parts.ring.depth() / 2;
        self.streak = match self.streak {
            WENT_AROUND => WENT_AROUND,
            streak if soon => 2.min(streak + 1),
            _ => 0,
        };
        let ahead = seq::distance(oldest, next).max(0) as u64;
        let target = match self.streak {
            0 => oldest,
            1 => oldest.wrapping_add(ahead / 2),
            2.. => next,
        };
        // The producer's words are hints that may lag, but this much is sure: `n` is gone.
        seq::later(target, n.wrapping_add(1))
    }

    /// The reader goes on at `target`, `lost` fragments further.
    pub(super) fn resumed(&mut self, target: u64, lost: u64) {
        self.resumed_at = target;
        match self.skipped.checked_add(lost) {
            Some(skipped) => self.skipped = skipped,
            None => self.streak = WENT_AROUND,
        }
    }

    /// What to make of what the line of fragment `n` says. "Overwritten" is not believed
    ///
    /// - of a line that a producer that follows the protocol has not come to yet, if this reader has been sent on twice
    ///   in a row already: such a line holds something that was never published. It is about to be overwritten, or the
    ///   link has ended in front of it. Otherwise a ring of such lines would send the reader on and on;
    /// - after the reader has been sent all the way round, whatever the producer says;
    /// - where the ring is not bound. A reader that has joined finds that only in the memory of a forked child, where
    ///   nothing is published.
    pub(super) fn plausible_state(&self, state: LineState, n: u64, parts: &Parts<'_>) -> LineState {
        if state != LineState::Overwritten {
            return state;
        }
        let is_made_up = self.streak == WENT_AROUND
            || self.streak >= 2 && !seq::is_before(n, parts.extent().1)
            || parts.head.lifecycle.cnc.is_fresh();
        if is_made_up { LineState::NotYet } else { LineState::Overwritten }
    }
}
