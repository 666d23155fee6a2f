//! [`Losses`]: what a reader has lost, and where reading continues.

use crate::memory::parts::Parts;
use crate::ring::line::LineState;
use crate::ring::seq;

/// The overruns of one reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct Losses {
    /// Overruns in a row, each soon after the previous one: 0, 1, or 2 for two and more. Or
    /// [`WENT_AROUND`].
    streak: u32,
    /// Where reading continued after the last overrun.
    resumed_at: u64,
    /// How many fragments overruns have skipped in all.
    skipped: u64,
}

/// The `streak` of a reader that overruns have sent past every number there is. No link has carried so many
/// fragments. Invented words in the memory would send the reader around forever.
const WENT_AROUND: u32 = u32::MAX;

impl Losses {
    /// For a reader that begins with `next`.
    pub(super) fn new(next: u64) -> Self {
        // Far from any number that the reader reads soon.
        Self { streak: 0, resumed_at: next.wrapping_sub(1 << 62), skipped: 0 }
    }

    /// Where reading continues after fragment `n`, which is overwritten.
    ///
    /// - The first time: at the oldest fragment that is there.
    /// - If the next overrun comes soon: in the middle between the oldest and the newest.
    /// - After that: at the next fragment to come.
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
        // The producer's words are hints and may lag. It is certain that `n` is gone.
        seq::later(target, n.wrapping_add(1))
    }

    /// Reading continues at `target`. `lost` fragments were skipped.
    pub(super) fn resumed(&mut self, target: u64, lost: u64) {
        self.resumed_at = target;
        match self.skipped.checked_add(lost) {
            Some(skipped) => self.skipped = skipped,
            None => self.streak = WENT_AROUND,
        }
    }

    /// The state of the line of fragment `n`, as far as it is plausible. `Overwritten` becomes `NotYet` in
    /// these cases:
    ///
    /// - The reader has had two overruns in a row, and the producer has not come to this line yet, by its
    ///   own words. Then the line holds something that was never published. It will be overwritten soon, or
    ///   the link has ended before it. Otherwise a ring of such lines would send the reader on and on.
    /// - Overruns have sent the reader past every number there is.
    /// - The ring is not bound. A reader that has joined finds that only in a forked child, where nothing
    ///   is published.
    pub(super) fn plausible_state(&self, state: LineState, n: u64, parts: &Parts<'_>) -> LineState {
        if state != LineState::Overwritten {
            return state;
        }
        let is_invented = self.streak == WENT_AROUND
            || self.streak >= 2 && !seq::is_before(n, parts.extent().1)
            || parts.head.lifecycle.cnc.is_fresh();
        if is_invented { LineState::NotYet } else { LineState::Overwritten }
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;
    use crate::{Consumer, Link};

    fn lapped(test: impl FnOnce(&Consumer<'_>, u64, u64)) {
        let link = Link::builder().depth(64).mtu(64).start(1).build().unwrap();
        let tx = link.producer().unwrap();
        (0..200).for_each(|_| tx.send(b"over it").unwrap());
        let rx = link.observer().unwrap();
        let (oldest, next) = rx.reader().parts.extent();
        assert!(next == 201 && next - oldest > 32);
        test(&rx, oldest, next);
    }

    #[test]
    fn overruns_in_a_row_skip_more_and_more() {
        lapped(|rx, oldest, next| {
            let middle = oldest + (next - oldest) / 2;
            let mut losses = Losses::new(1);
            let mut overrun = |n: u64| {
                let target = losses.resume_after(n, &rx.reader().parts);
                losses.resumed(target, target - n);
                target
            };
            assert_eq!(overrun(1), oldest);
            assert_eq!(overrun(oldest - 32), oldest, "half a ring later is not soon");
            assert_eq!(overrun(oldest - 31), middle);
            assert_eq!(overrun(middle - 1), next);
            assert_eq!(overrun(next - 3), next);
            assert_eq!(overrun(1), oldest);
            assert_eq!(overrun(oldest + 1), middle);
            assert_eq!(overrun(1), oldest);
        });
    }

    #[test]
    fn what_is_invented_is_not_there_yet() {
        lapped(|rx, _, next| {
            let streak = |streak| Losses { streak, ..Losses::new(1) };
            let state =
                |losses: &Losses, n| losses.plausible_state(LineState::Overwritten, n, &rx.reader().parts);
            for few in [0, 1] {
                assert_eq!(state(&streak(few), next + 3), LineState::Overwritten);
            }
            assert_eq!(state(&streak(2), next - 1), LineState::Overwritten);
            assert_eq!(state(&streak(2), next), LineState::NotYet);
            let mut losses = Losses::new(1);
            losses.resumed(5, u64::MAX);
            assert_eq!(state(&losses, 3), LineState::Overwritten, "every number, but not past it");
            losses.resumed(5, 1);
            assert_eq!(state(&losses, 3), LineState::NotYet);
            assert_eq!(losses.resume_after(1, &rx.reader().parts), next);
            assert_eq!(losses.streak, WENT_AROUND);
            for state in [LineState::Ready, LineState::NotYet] {
                assert_eq!(losses.plausible_state(state, 3, &rx.reader().parts), state);
            }
        });
    }
}
