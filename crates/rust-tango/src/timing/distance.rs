//! [`Distance`]: how far a reader stays behind the producer.
//!
//! Both sides want the same cache lines. A reader that is close behind the producer takes each line away
//! while the producer writes it. So in a long run, while fragments come fast, the reader sometimes waits
//! until the producer is some way ahead. It does so only with [`Pace::Throughput`], because a fragment that is there
//! waits, too.
//!
//! - The reader stays half as many fragments behind as the run has so far, and at most `MAX_DISTANCE`.
//! - It checks its distance every `STEP` fragments.
//! - It waits for at most `PAUSE` turns, one or two microseconds (`bench/`: workloads `throughput` and
//!   `working`).
//! - In a small ring, the largest distance and the step are a quarter of the ring, and the reader keeps a
//!   distance only if the producer is near.
//!
//! If the pause is too short while a run continues, it is doubled, up to `MAX_PAUSE` (ten microseconds on
//! the machine where it was measured). This is for cores that are far from each other. There, a fragment takes
//! so long while both sides use the same line that at most ten fragments come in a short pause, and the two
//! sides never separate. If the producer is slow because it does other work, the reader soon finds nothing,
//! and the run ends.

/// How a consumer trades latency for throughput: see [`Consumer::with_pace`](crate::Consumer::with_pace).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// A fragment that is there is handed out at once. This is the default.
    #[default]
    Latency,
    /// In a stream of fast fragments, the consumer now and then waits in a call until the producer is some way ahead:
    /// for 10 microseconds at most. The two sides then do not take cache lines away from each other.
    Throughput,
}

/// In [turns](crate::cpu::clock), as all times here.
const MAX_DISTANCE: u64 = 256;
/// The largest distance if payloads may be larger than slots: they should not leave the caches before they
/// are read.
const MAX_DISTANCE_OF_LARGE: u64 = 64;
pub(super) const STEP: u64 = 64;
const PAUSE: u64 = 48;
const MAX_PAUSE: u64 = 384;
/// After this many turns, the reader asks for the newest fragment. It asks again after `PROBE` more turns,
/// then each time when the number of turns has doubled. It stops waiting if no fragment came between two
/// questions.
const TURNS_BEFORE_PROBE: u64 = 6;
const PROBE: u64 = 12;

/// The distance of one reader.
#[derive(Debug)]
pub(super) struct Distance {
    /// The ring is so small that the reader keeps a distance only if the producer is near.
    is_small: bool,
    /// How many fragments after one check of the distance comes the next: `STEP`, or fewer.
    step: u64,
    /// The largest distance, in fragments.
    most: u64,
    /// The most turns of one wait.
    pause: u64,
    /// The fragment before which the distance was last checked, or from which on it counts.
    checked_at: u64,
}

impl Distance {
    pub(super) fn new(next: u64, depth: u64, payloads_fit_slots: bool) -> Self {
        let most = if payloads_fit_slots { MAX_DISTANCE } else { MAX_DISTANCE_OF_LARGE };
        Self {
            is_small: depth < 4 * STEP,
            step: STEP.min(depth / 4),
            most: most.min(depth / 4),
            pause: PAUSE,
            checked_at: next,
        }
    }

    pub(super) fn is_small(&self) -> bool {
        self.is_small
    }

    /// A run has ended before `next`: the producer is not ahead.
    pub(super) fn run_ended(&mut self, next: u64) {
        self.checked_at = next;
        self.pause = (self.pause / 2).max(PAUSE);
    }

    /// The reader polls the ring again, from `next` on.
    pub(super) fn restart(&mut self, next: u64) {
        self.checked_at = next;
    }

    /// Whether it is time to check the distance. Notes that it was checked.
    pub(super) fn is_due(&mut self, next: u64) -> bool {
        let is_due = next.wrapping_sub(self.checked_at) >= self.step;
        if is_due {
            self.checked_at = next;
        }
        is_due
    }

    /// Whether the reader lets the producer get ahead. Not if the producer had to wait for credits: then it
    /// is as far ahead as it can be.
    pub(super) fn keeps_distance(&self, producer_is_near: bool, producer_had_to_wait: bool) -> bool {
        (!self.is_small || producer_is_near) && !producer_had_to_wait
    }

    /// The fragment that should be there before the reader continues with `next`. The run has `run`
    /// fragments so far.
    pub(super) fn target(&self, next: u64, run: u64) -> u64 {
        next.wrapping_add((run / 2).min(self.most)).wrapping_sub(1)
    }

    /// Before fragment `next`, waits until `is_there` returns true. Sometimes asks for the newest fragment,
    /// and stops waiting if no fragments come. It does not ask often, because each question costs the
    /// producer a round trip to the reader's core. `pause` pauses, and returns how many turns have passed.
    pub(super) fn wait(
        &mut self,
        next: u64,
        run: u64,
        is_there: impl Fn() -> bool,
        mut newest: impl FnMut(u64) -> u64,
        mut pause: impl FnMut() -> u64,
    ) {
        let (mut before, mut ask_at, mut passed) = (None, TURNS_BEFORE_PROBE, 0);
        while passed < self.pause {
            if is_there() {
                return;
            }
            if passed >= ask_at {
                let now = Some(newest(next));
                if now == before {
                    self.pause = PAUSE;
                    return;
                }
                ask_at = if before.is_none() { TURNS_BEFORE_PROBE + PROBE } else { 2 * ask_at };
                before = now;
            }
            passed = pause();
        }
        if run >= 2 * self.step {
            self.pause = (2 * self.pause).min(MAX_PAUSE);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn in_small_rings_a_reader_keeps_a_distance_only_from_a_near_producer() {
        for (depth, is_near, had_to_wait, keeps) in [
            (64, false, false, false),
            (64, true, false, true),
            (64, true, true, false),
            (1024, false, false, true),
            (1024, false, true, false),
        ] {
            let distance = Distance::new(1, depth, true);
            assert_eq!(
                distance.keeps_distance(is_near, had_to_wait),
                keeps,
                "{depth} {is_near} {had_to_wait}"
            );
            assert_eq!((distance.step, distance.most), (64.min(depth / 4), depth / 4));
        }
    }

    /// Each pause takes one turn.
    fn turns() -> impl FnMut() -> u64 {
        let mut passed = 0;
        move || {
            passed += 1;
            passed
        }
    }

    #[test]
    fn pauses_grow_while_they_are_too_short_in_a_long_run() {
        let mut distance = Distance::new(0, 1024, true);
        let long = 2 * STEP;
        // The fragment is there after `there_after` checks. `come`: other fragments come meanwhile. Returns
        // the number of checks, and the pause.
        let mut wait = |run, there_after: u32, come: bool| {
            let (checks, newest) = (Cell::new(0), Cell::new(0));
            let is_there = || {
                checks.set(checks.get() + 1);
                checks.get() > there_after
            };
            let newest = |_| {
                newest.set(newest.get() + u64::from(come));
                newest.get()
            };
            distance.wait(0, run, is_there, newest, turns());
            (checks.get(), distance.pause)
        };
        assert_eq!(wait(long - 1, u32::MAX, true), (48, 48), "no run yet");
        assert_eq!(wait(long, u32::MAX, true), (48, 96));
        assert_eq!(wait(long, 90, true), (91, 96), "long enough");
        assert_eq!(wait(long, u32::MAX, true), (96, 192));
        assert_eq!(wait(long, u32::MAX, true), (192, 384));
        assert_eq!(wait(long, u32::MAX, true), (384, 384));
        assert_eq!(wait(long, u32::MAX, false), (19, 48), "nothing comes");
        distance.pause = MAX_PAUSE;
        let mut left = 40_u64;
        let newest = |_| {
            left = left.saturating_sub(20);
            left
        };
        distance.wait(0, long, || false, newest, turns());
        assert_eq!(distance.pause, PAUSE, "the stream ends during the pause");
    }

    #[test]
    fn a_pause_is_halved_when_a_run_ends() {
        let mut distance = Distance::new(0, 1024, true);
        distance.pause = MAX_PAUSE;
        let pauses = [(); 4].map(|()| {
            distance.run_ended(0);
            distance.pause
        });
        assert_eq!(pauses, [192, 96, 48, 48]);
    }
}
