//! [`Standing`]: whether a reader has joined, and what it has missed.

use super::losses::Losses;
use super::mode::Mode;
use crate::error::TangoError;
use crate::memory::parts::Parts;
use crate::sync::Relaxed;

/// Where one reader stands among the fragments of its link.
#[derive(Debug)]
pub(super) struct Standing {
    /// The lines were prepared, and the reader has settled in its place.
    joined: bool,
    /// How many fragments were gone before the reader had joined, or joined again. The next slow read reports
    /// them.
    missed: u64,
    /// They were gone because the reader was evicted.
    missed_evicted: bool,
    /// The count of evictions when the reader last read it.
    evictions: u64,
    losses: Losses,
    /// The number at which the reader last found nothing.
    caught_up_at: u64,
}

impl Standing {
    /// For a reader that begins with `next`, and has read the count of evictions before it claimed its slot.
    pub(super) fn new(next: u64, evictions: u64) -> Self {
        Self {
            joined: false,
            missed: 0,
            missed_evicted: false,
            evictions,
            losses: Losses::new(next),
            caught_up_at: next,
        }
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joined
    }

    /// Whether [`Self::report_missed`] is due.
    pub(super) fn has_missed(&self) -> bool {
        self.missed != 0
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Settles a reliable or evictable consumer that begins with `start`, now that the lines are prepared. Returns
    /// where it stands. If `exact`, the fragments between the two are reported as lost. Otherwise the consumer did not
    /// ask for an exact place.
    pub(super) fn settle(&mut self, start: u64, exact: bool, parts: &Parts<'_>, mode: &Mode<'_>) -> u64 {
        self.joined = true;
        let Some(seat) = mode.seat() else { return start };
        let next = seat.settle(start, &parts.head.credit.floor, mode.is_in_place());
        if exact {
            self.missed = next.wrapping_sub(start);
        } else {
            seat.slot().count_from(next);
        }
        next
    }

    /// Joins again at `next` if the producer may have stopped waiting for this reader. Returns where it stands. The
    /// lost fragments are then missed.
    pub(super) fn check_evicted(&mut self, next: u64, parts: &Parts<'_>, mode: &Mode<'_>) -> u64 {
        let lifecycle = &parts.head.lifecycle;
        // In a forked child, the memory is not bound, and no producer evicts.
        if !mode.is_evictable() || lifecycle.cnc.is_fresh() {
            return next;
        }
        let evictions = lifecycle.evicted.load(Relaxed);
        if self.evictions == evictions {
            return next;
        }
        // Perhaps another consumer was evicted. Joining again is harmless then.
        self.evictions = evictions;
        let target = join_again(next, parts, mode);
        self.missed = target.wrapping_sub(next);
        self.missed_evicted = true;
        target
    }

    /// There is no fragment `next` yet. The first time after some were read, returns the credits of payloads that the
    /// caller has forgotten. No slice of them is left while the consumer is borrowed.
    pub(super) fn caught_up(&mut self, next: u64, mode: &Mode<'_>) {
        if core::mem::replace(&mut self.caught_up_at, next) != next {
            if let Some(seat) = mode.seat() {
                seat.release(next);
            }
        }
    }

    /// The error for what was missed before `next`.
    #[cold]
    pub(super) fn report_missed(&mut self, next: u64, mode: &Mode<'_>) -> TangoError {
        let lost = core::mem::take(&mut self.missed);
        let evicted = core::mem::take(&mut self.missed_evicted);
        count_lost(lost, mode);
        loss(lost, next, evicted)
    }

    /// The error for `count` numbers before `next` that the producer has left out. They are no sign that the reader is too
    /// slow, so they change nothing about where it continues after an overrun. An evictable consumer was not evicted.
    pub(super) fn left_out(&self, count: u64, next: u64, mode: &Mode<'_>) -> TangoError {
        count_lost(count, mode);
        loss(count, next, false)
    }

    /// Fragment `n` is gone. Returns where reading continues, and the error for the gap.
    #[cold]
    pub(super) fn overrun(&mut self, n: u64, parts: &Parts<'_>, mode: &Mode<'_>) -> (u64, TangoError) {
        let mut target = self.losses.resume_after(n, parts);
        let evictable = mode.is_evictable();
        if evictable {
            self.evictions = parts.head.lifecycle.evicted.load(Relaxed);
            target = join_again(target, parts, mode);
        } else if let Some(seat) = mode.seat() {
            target = seat.settle(target, &parts.head.credit.floor, mode.is_in_place());
        }
        let lost = target.wrapping_sub(n);
        count_lost(lost, mode);
        self.losses.resumed(target, lost);
        (target, loss(lost, target, evictable))
    }
}

/// Claims the slot again, at `start`, or after what is gone. Returns where the consumer has settled.
fn join_again(start: u64, parts: &Parts<'_>, mode: &Mode<'_>) -> u64 {
    mode.seat().map_or(start, |seat| {
        seat.claim_again(start);
        seat.settle(start, &parts.head.credit.floor, mode.is_in_place())
    })
}

fn count_lost(lost: u64, mode: &Mode<'_>) {
    if let Some(seat) = mode.seat() {
        seat.slot().count_lost(lost);
    }
}

fn loss(lost: u64, next: u64, evicted: bool) -> TangoError {
    if evicted { TangoError::Evicted { lost, next } } else { TangoError::Overrun { lost, next } }
}
