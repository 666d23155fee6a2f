//! How far a reader stays behind the producer.
//!
//! Both sides want the same lines. A reader on the producer's heels takes each line away while it is being written. So in
//! a long run, as long as fragments come fast, the reader now and then waits until the producer is some way ahead.
//!
//! It keeps half as many fragments behind as it has read in this run, up to `MOST`. It looks every `STEP` fragments, and
//! waits for no more than `PAUSE` spins, one or two microseconds (`bench/`: workloads `throughput` and `working`). In small
//! rings, it keeps up to a quarter of the ring, looks that often, and does so only if the producer is near.
//!
//! While a run goes on and the pause is too short, it is doubled, up to `PAUSE_MOST` (ten microseconds here). That is for
//! cores that are far from each other: there, fragments take so long where both sides are at the same one that no more
//! than ten of them come in a short pause, and the two never come apart. Where the producer is slow because it has other
//! things to do, a reader soon finds nothing, and there is no run.

use crate::sync::spin_loop;

const MOST: u64 = 256;
/// Where payloads may be larger than slots: they should not leave the caches in between.
const MOST_OF_LARGE: u64 = 64;
pub(super) const STEP: u64 = 64;
const PAUSE: u64 = 48;
const PAUSE_MOST: u64 = 384;
/// A reader that has waited so many spins asks whether there is a stream to wait for: by what comes in `PROBE` spins, then
/// in as many again, and so on.
const PATIENCE: u64 = 6;
const PROBE: u64 = 12;
/// Most spins after an empty poll that ends a run: half as many as the run had fragments. The producer gets ahead by more
/// than one fragment, and the line is not pulled away from it at once. None after a single fragment, so an exchange of
/// questions and answers does not wait (`bench/`: workloads `working`, `round-trip`).
const PAUSE_AFTER_RUN: u64 = 8;

/// The distance of one reader.
#[derive(Debug)]
pub(super) struct Distance {
    /// The ring is so small that a distance is kept only if the producer is near.
    is_small: bool,
    /// From one look at how far it is behind to the next: `STEP`, or less.
    step: u64,
    /// How far it stays behind, at most.
    most: u64,
    /// How many spins it waits for that.
    pause: u64,
    /// Where it last let the producer get ahead, or had to.
    kept_at: u64,
}

impl Distance {
    pub(super) fn new(next: u64, depth: u64, payloads_fit_slots: bool) -> Self {
        let most = if payloads_fit_slots { MOST } else { MOST_OF_LARGE };
        Self {
            is_small: depth < 4 * STEP,
            step: STEP.min(depth / 4),
            most: most.min(depth / 4),
            pause: PAUSE,
            kept_at: next,
        }
    }

    pub(super) fn is_small(&self) -> bool {
        self.is_small
    }

    /// A run has ended in front of `next`: the producer is not ahead.
    pub(super) fn run_ended(&mut self, next: u64) {
        self.kept_at = next;
        self.pause = (self.pause / 2).max(PAUSE);
    }

    /// How often to spin after a run of so many fragments.
    pub(super) fn spins_after(run: u64) -> u64 {
        (run / 2).min(PAUSE_AFTER_RUN)
    }

    /// The reader begins to count anew in front of `next`.
    pub(super) fn restart(&mut self, next: u64) {
        self.kept_at = next;
    }

    /// Whether it is time to look how far the producer is. Notes the look.
    pub(super) fn is_due(&mut self, next: u64) -> bool {
        let is_due = next.wrapping_sub(self.kept_at) >= self.step;
        if is_due {
            self.kept_at = next;
        }
        is_due
    }

    /// Whether it lets the producer get ahead. Not if that had no credits: then it is as far ahead as it may be.
    pub(super) fn is_kept(&self, producer_is_near: bool, producer_had_to_wait: bool) -> bool {
        (!self.is_small || producer_is_near) && !producer_had_to_wait
    }

    /// The fragment that should be there before the reader goes on with `next`, `run` fragments after it last found none.
    pub(super) fn last_of(&self, next: u64, run: u64) -> u64 {
        next.wrapping_add((run / 2).min(self.most)).wrapping_sub(1)
    }

    /// In front of fragment `next`, waits until `is_there`. Now and then, it asks for the newest fragment, and gives up if
    /// none come: each such question costs the producer the way to here and back.
    pub(super) fn wait(
        &mut self,
        next: u64,
        run: u64,
        is_there: impl Fn() -> bool,
        mut newest: impl FnMut(u64) -> u64,
    ) {
        let (mut before, mut ask_at) = (None, PATIENCE);
        for spins in 0..self.pause {
            if is_there() {
                return;
            }
            if spins == ask_at {
                let now = Some(newest(next));
                if now == before {
                    self.pause = PAUSE;
                    return;
                }
                ask_at = if before.is_none() { PATIENCE + PROBE } else { 2 * ask_at };
                before = now;
            }
            spin_loop();
        }
        if run >= 2 * self.step {
            self.pause = (2 * self.pause).min(PAUSE_MOST);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn small_rings_keep_a_distance_only_from_a_producer_that_is_near() {
        for (depth, is_near, had_to_wait, keeps) in [
            (64, false, false, false),
            (64, true, false, true),
            (64, true, true, false),
            (1024, false, false, true),
            (1024, false, true, false),
        ] {
            let distance = Distance::new(1, depth, true);
            assert_eq!(distance.is_kept(is_near, had_to_wait), keeps, "{depth} {is_near} {had_to_wait}");
            assert_eq!((distance.step, distance.most), (64.min(depth / 4), depth / 4));
        }
    }

    #[test]
    fn pauses_grow_while_a_run_goes_on_and_they_are_too_short() {
        let mut distance = Distance::new(0, 1024, true);
        let long = 2 * STEP;
        // Whether it is there after so many looks, and whether fragments come meanwhile. How often it has looked.
        let mut wait = |run, there_after: u32, come: bool| {
            let (looks, newest) = (Cell::new(0), Cell::new(0));
            let is_there = || {
                looks.set(looks.get() + 1);
                looks.get() > there_after
            };
            distance.wait(0, run, is_there, |_| {
                newest.set(newest.get() + u64::from(come));
                newest.get()
            });
            (looks.get(), distance.pause)
        };
        assert_eq!(wait(long - 1, u32::MAX, true), (48, 48), "no run yet");
        assert_eq!(wait(long, u32::MAX, true), (48, 96));
        assert_eq!(wait(long, 90, true), (91, 96), "long enough");
        assert_eq!(wait(long, u32::MAX, true), (96, 192));
        assert_eq!(wait(long, u32::MAX, true), (192, 384));
        assert_eq!(wait(long, u32::MAX, true), (384, 384));
        assert_eq!(wait(long, u32::MAX, false), (19, 48), "nothing comes");
        distance.pause = PAUSE_MOST;
        let mut left = 40_u64;
        let newest = |_| {
            left = left.saturating_sub(20);
            left
        };
        distance.wait(0, long, || false, newest);
        assert_eq!(distance.pause, PAUSE, "the stream ends during the pause");
    }

    #[test]
    fn a_pause_is_halved_when_a_run_ends() {
        let mut distance = Distance::new(0, 1024, true);
        distance.pause = PAUSE_MOST;
        let pauses = [(); 4].map(|()| {
            distance.run_ended(0);
            distance.pause
        });
        assert_eq!(pauses, [192, 96, 48, 48]);
    }
}
