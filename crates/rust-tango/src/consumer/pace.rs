//! When a reader lets the producer get ahead, where it looks for what it waits for, and in what state it leaves the lines
//! that it has read. All of this is about time only: what is read does not depend on it.
//!
//! Both sides want the same lines, and what takes the time is the way of a line from one to the other. So a reader
//!
//! - in a stream of fragments that are there when it looks, stays some way behind ([`Consumer::at_gate`]), and if it is
//!   the only one, *cleans* what it has read: writes it back, or has it leave the caches (see [`cache`]);
//! - behind a run of fragments, pauses before it looks again ([`Consumer::end_of_run`]);
//! - that waits for one fragment after the other, *follows*: see [`hot_slot`](crate::ring::hot_slot).

mod following;

use super::Consumer;
use crate::cpu::cache;
use crate::credits::slot::Hints;
use crate::memory::parts::Parts;
use crate::ring::line::LineState;
use crate::ring::seq;
use crate::sync::{Relaxed, pause, spin_loop};

/// Most spins after an empty look that ends a run: half as many as the run had fragments. The producer gets ahead by
/// more than one fragment, and the line is not pulled away from it at once. None after a single fragment, so an exchange
/// of questions and answers does not wait (`bench/`: workloads `working`, `round-trip`).
const PAUSE_AFTER_RUN: u64 = 8;
/// In a long run, a reader keeps half as many fragments behind the producer as it has read, up to this many, as long as
/// those come fast: it looks every `PACE_STEP` fragments, and waits for no more than `DISTANCE_PAUSE` spins, one or two
/// microseconds (`bench/`: workloads `throughput` and `working`). Fewer where payloads may be larger than slots: they
/// should not leave the caches in between. Up to a quarter of the ring, and it looks that often, too, where that is less;
/// then only if the producer is near, and not in rings below `PACED_FROM_DEPTH`.
///
/// While a run goes on and that pause is too short, it is doubled, up to `DISTANCE_PAUSE_MOST` (ten microseconds here).
/// That is for cores that are far from each other: there, fragments take so long where both sides are at the same one
/// that there are no more than ten of them in a short pause, and the two never come apart. Where the producer is slow
/// because it has other things to do, a reader soon finds nothing, and there is no run.
const DISTANCE: u64 = 256;
const DISTANCE_OF_LARGE: u64 = 64;
const PACE_STEP: u64 = 64;
const PACED_FROM_DEPTH: u64 = 32;
const DISTANCE_PAUSE: u64 = 48;
const DISTANCE_PAUSE_MOST: u64 = 384;
/// Who has waited `PATIENCE` spins for that asks whether there is a stream to wait for: by what comes in `PROBE` spins,
/// then in as many again, and so on.
const PATIENCE: u64 = 6;
const PROBE: u64 = 12;
/// A stream is cleaned so many fragments at a time, or an eighth of the ring; and what is left of it when its reader has
/// waited for some time, if it is more than `CLEAN_AFTER`: who takes one at a time would only wait longer for the next.
const CLEAN_STEP: u64 = 16;
const CLEAN_AFTER: u64 = 4;
/// Larger than most batches.
const CLEAN_MOST: u64 = 256;
/// From one look at how far the producer is to the next: threads move, and virtual machines are moved.
const MEASURE_EVERY: u64 = 1024;
/// Who has looked in vain more often than `FOLLOW_WAITED` times for one fragment follows, until `FOLLOW_MOST` in a row
/// have come after `FOLLOW_PROMPT` looks at most: a stream as fast as that is faster through the ring, where the producer
/// gets ahead, than handed over one by one.
///
/// So does who has waited `FOLLOW_STEADY_WAITED` looks for each of `FOLLOW_STEADY` fragments in a row: in an exchange of
/// questions and answers between cores that are near, no wait is long.
const FOLLOW_WAITED: u32 = if cfg!(loom) { 0 } else { 4 };
const FOLLOW_STEADY_WAITED: u32 = 3;
const FOLLOW_STEADY: u32 = 8;
const FOLLOW_PROMPT: u32 = 1;
const FOLLOW_MOST: u32 = 16;
/// Of so many empty looks, one asks for anything but the next fragment: has the link ended?
const QUICK_LOOKS: u32 = if cfg!(loom) { 1 } else { 8 };
/// Empty looks between two questions whether the producer lives; and between two looks of a follower in the ring, about
/// a millisecond for who does nothing else: each takes the line away from the producer, which stores there before it
/// shows anything (`bench/`: `round-trip-load`).
const LOOKS_PER_QUESTION: u32 = 1024;
const LOOKS_BEHIND_NEWEST: u32 = 256 * LOOKS_PER_QUESTION;
const _: () = assert!(LOOKS_PER_QUESTION % QUICK_LOOKS == 0);
/// Stands for "never".
const OFF: u64 = 1 << 62;

/// What a reader remembers of its looks.
pub(crate) struct Pace {
    /// It looks for the next fragment where the newest is shown, and not in the ring: see [`hot_slot`](crate::ring::hot_slot).
    pub(super) follows: bool,
    /// What the producer has been told: `follows` also if it did not long ago.
    told: Hints,
    /// Since when it has looked in the ring.
    in_ring_from: u64,
    /// The number from which on `at_gate` is due, when it looks in the ring.
    gate: u64,
    /// From one gate to the next: `CLEAN_STEP`, or less, or `OFF`.
    step: u64,
    /// From one look at how far it is behind to the next: `PACE_STEP`, or less.
    pace_step: u64,
    /// How far behind the producer it stays, at most.
    distance: u64,
    /// How many spins it waits for that.
    distance_pause: u64,
    /// The number at which the last look found nothing.
    idle_at: u64,
    /// Where it last let the producer get ahead, or had to.
    paced_at: u64,
    /// The ring is so small that it keeps a distance, and looks that often, only if the producer is near.
    is_small: bool,
    /// How lines that have been read may be cleaned: see [`cache::evicting_helps`]. And whether they are.
    may_evict: bool,
    may_write_back: bool,
    cleans: bool,
    /// By writing back, because the producer is near, as it was found at fragment `measured_at`.
    is_near: bool,
    measured_at: u64,
    /// How often the producer had had no credit, when that was last looked at; and whether it had had none meanwhile.
    stalls: u64,
    is_late: bool,
    /// What is before this has been cleaned, or will not be.
    uncleaned: u64,
    /// Looks that found nothing, and how many it had been at `idle_at`.
    idle_looks: u32,
    looks_before: u32,
    /// Fragments in a row that came one by one, each waited for.
    steady: u32,
    /// Fragments in a row that a follower found with next to no wait; and that were announced only.
    prompt: u32,
    away: u32,
    /// It does not follow before this.
    follow_from: u64,
}

impl Pace {
    /// Of a reader that begins with `next`. Who `holds_credits` is awaited, and may clean.
    pub(super) fn new(next: u64, parts: &Parts<'_>, holds_credits: bool) -> Self {
        let (depth, bytes) = (parts.ring.depth(), parts.ring.bytes());
        let distance = if parts.mtu <= parts.in_slot() { DISTANCE } else { DISTANCE_OF_LARGE };
        let may_write_back = holds_credits && depth >= PACED_FROM_DEPTH && cache::writing_back_helps(bytes);
        let is_small = depth < 4 * PACE_STEP;
        // Other small rings have no room for a distance, and are not cleaned.
        let is_paced = (!is_small || may_write_back) && !cfg!(unpaced);
        let step = if is_paced { CLEAN_STEP.min(depth / 8) } else { OFF };
        Self {
            follows: false,
            told: Hints::default(),
            in_ring_from: next,
            gate: next.wrapping_add(step),
            step,
            pace_step: PACE_STEP.min(depth / 4),
            distance: distance.min(depth / 4),
            distance_pause: DISTANCE_PAUSE,
            idle_at: next,
            paced_at: next,
            is_small,
            may_evict: holds_credits && is_paced && cache::evicting_helps(depth, bytes),
            may_write_back: may_write_back && is_paced,
            cleans: false,
            is_near: false,
            measured_at: next.wrapping_sub(MEASURE_EVERY),
            stalls: 0,
            is_late: false,
            uncleaned: next,
            idle_looks: 1,
            looks_before: 0,
            steady: 0,
            prompt: 0,
            away: 0,
            follow_from: next,
        }
    }

    /// Whether this is one of the many looks that ask for nothing but fragment `next`, which was not there the last
    /// time either. Counts it.
    #[inline(always)]
    pub(super) fn is_quick_look(&mut self, next: u64) -> bool {
        let is_quick = self.idle_at == next && self.idle_looks % QUICK_LOOKS != 0;
        self.idle_looks = self.idle_looks.wrapping_add(u32::from(is_quick));
        is_quick
    }

    /// Counts any other look that found nothing. True: it is time to ask whether the producer lives.
    pub(super) fn count_idle_look(&mut self) -> bool {
        // Before the count goes on: quick looks leave it at a multiple of theirs.
        let is_due = self.idle_looks % LOOKS_PER_QUESTION == 0;
        self.idle_looks = self.idle_looks.wrapping_add(1);
        is_due
    }

    /// The number from which on something is due, when it looks in the ring.
    pub(super) fn gate(&self) -> u64 {
        self.gate
    }

    /// Whether something is due in front of fragment `next`.
    #[inline(always)]
    pub(super) fn is_at_gate(&self, next: u64) -> bool {
        !seq::is_before(next, self.gate)
    }

    /// Whether it lets the producer get ahead: not if that had no credits, and so is as far ahead as it may be.
    fn keeps_distance(&self) -> bool {
        (!self.is_small || self.is_near) && !self.is_late
    }

    /// Looks that have not found the fragment at which the last look found nothing.
    #[inline]
    fn waited(&self) -> u32 {
        self.idle_looks.wrapping_sub(self.looks_before)
    }

    /// In front of fragment `next`, waits until the producer is as far ahead as it should. Now and then, it asks whether
    /// fragments come at all: each look at the newest costs the producer the way to here and back.
    fn wait_for_distance(
        &mut self,
        next: u64,
        is_there: impl Fn() -> bool,
        mut newest: impl FnMut(u64) -> u64,
    ) {
        let (mut before, mut ask_at) = (None, PATIENCE);
        for spins in 0..self.distance_pause {
            if is_there() {
                return;
            }
            if spins == ask_at {
                let now = Some(newest(next));
                if now == before {
                    self.distance_pause = DISTANCE_PAUSE;
                    return;
                }
                ask_at = if before.is_none() { PATIENCE + PROBE } else { 2 * ask_at };
                before = now;
            }
            spin_loop();
        }
        if next.wrapping_sub(self.idle_at) >= 2 * self.pace_step {
            self.distance_pause = (2 * self.distance_pause).min(DISTANCE_PAUSE_MOST);
        }
    }
}

impl<'a> Consumer<'a> {
    /// Not one of the quick looks has found nothing: it may end a run of fragments, or it may be time to follow.
    pub(super) fn pace_idle_look(&mut self) {
        if self.pace.follows {
            // The producer has perhaps taken notice that it does.
            self.shown = self.where_shown();
        }
        if self.pace.idle_at != self.next {
            self.end_of_run();
        } else if !self.pace.follows && self.pace.waited() > FOLLOW_WAITED {
            if self.next.wrapping_sub(self.pace.uncleaned) > CLEAN_AFTER {
                self.clean();
            }
            self.follow();
        }
    }

    /// The first look that finds nothing behind a run of fragments.
    fn end_of_run(&mut self) {
        let pace = &mut self.pace;
        let run = self.next.wrapping_sub(pace.idle_at);
        let is_steady = run == 1 && pace.waited() >= FOLLOW_STEADY_WAITED;
        pace.steady = if is_steady { FOLLOW_STEADY.min(pace.steady + 1) } else { 0 };
        pace.idle_at = self.next;
        pace.looks_before = pace.idle_looks;
        pace.paced_at = self.next;
        pace.distance_pause = (pace.distance_pause / 2).max(DISTANCE_PAUSE);
        self.ask_whether_to_stop_telling();
        self.ask_whether_to_clean();
        // Credits of payloads that were forgotten: nobody has a slice while `self` is borrowed.
        if let Some(seat) = self.mode.seat() {
            seat.release(self.next);
        }
        if self.pace.steady == FOLLOW_STEADY {
            self.follow();
        }
        pause((run / 2).min(PAUSE_AFTER_RUN));
    }

    /// In a long run of fragments, cleans those behind, and now and then lets the producer get ahead.
    #[cold]
    pub(super) fn at_gate(&mut self) {
        self.clean();
        self.pace.gate = self.next.wrapping_add(self.pace.step);
        self.note_plain();
        if self.next.wrapping_sub(self.pace.paced_at) >= self.pace.pace_step {
            self.pace.paced_at = self.next;
            self.ask_whether_to_stop_telling();
            self.ask_whether_to_clean();
            if self.pace.keeps_distance() {
                let run = self.next.wrapping_sub(self.pace.idle_at);
                self.get_behind(run / 2);
            }
        }
    }

    /// Waits a little, so that the producer gets `distance` ahead, or as far as this may be: a reader that is on the
    /// producer's heels takes each line away from it while it is being written.
    fn get_behind(&mut self, distance: u64) {
        let distance = distance.min(self.pace.distance);
        let last = self.next.wrapping_add(distance).wrapping_sub(1);
        let Parts { ring, head, .. } = self.parts;
        let is_there = || ring.line(last).state(last) != LineState::NotYet;
        self.pace.wait_for_distance(self.next, is_there, |next| head.hot_slot.newest(next));
    }

    /// A sole consumer cleans for the producer, whom it would cost more; but it evicts nothing if the producer has to wait
    /// for it. (It would make that wait longer, and what leaves the caches might be in use again.)
    fn ask_whether_to_clean(&mut self) {
        if !self.pace.may_evict && !self.pace.may_write_back {
            return;
        }
        let credit = &self.parts.head.credit;
        let stalls = credit.stalls.load(Relaxed);
        self.pace.is_late = core::mem::replace(&mut self.pace.stalls, stalls) != stalls;
        let is_single = credit.single_consumer.load(Relaxed) != 0;
        if !is_single {
            self.pace.is_near = false;
            self.pace.measured_at = self.next.wrapping_sub(MEASURE_EVERY);
        } else if self.next.wrapping_sub(self.pace.measured_at) >= MEASURE_EVERY {
            self.pace.measured_at = self.next;
            // By a word that the producer has written since, and that nobody else has read.
            self.pace.is_near = self.pace.may_write_back && cache::is_near(&self.parts.head.next);
            self.tell(Hints { evicts: self.pace.may_evict && !self.pace.is_near, ..self.pace.told });
        }
        self.pace.cleans = is_single && (self.pace.is_near || self.pace.may_evict && !self.pace.is_late);
    }

    /// Has the slots that have been read leave the caches, or at least be the same in memory: the producer, which writes
    /// there next, then has them sooner. (A hint, whatever the lines say by now.)
    fn clean(&mut self) {
        // Not what was skipped, or read while somebody else had to be thought of.
        let behind = self.next.wrapping_sub(self.pace.uncleaned);
        if self.pace.cleans && behind <= CLEAN_MOST {
            let ring = self.parts.ring;
            // Of what size the last one is, the others mostly are, too.
            let len = ring.line(self.next.wrapping_sub(1)).place().size_in_slot();
            let lines = (0..behind).map(|offset| ring.line(self.pace.uncleaned.wrapping_add(offset)));
            if self.pace.is_near {
                lines.for_each(|line| line.for_cache_lines(len, cache::write_back));
            } else {
                lines.for_each(|line| line.for_cache_lines(len, cache::evict));
            }
        }
        self.pace.uncleaned = self.next;
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;
    use crate::{Link, Producer};

    pub(super) fn link() -> (Producer<'static>, Consumer<'static>) {
        let link = Link::builder().depth(1024).mtu(64).consumers(1).build().unwrap();
        (link.producer().unwrap(), link.consumer().unwrap())
    }

    #[test]
    fn who_is_waited_for_cleans_nothing() {
        let (tx, mut rx) = link();
        let asks = |rx: &mut Consumer<'_>| {
            rx.pace.may_evict = true;
            rx.pace.may_write_back = false;
            rx.ask_whether_to_clean();
            rx.pace.cleans
        };
        assert!(!asks(&mut rx), "the producer has not said that this is the only one");
        rx.parts.head.credit.single_consumer.store(1, Relaxed);
        assert!(asks(&mut rx));
        assert!(rx.pace.told.evicts, "so that the producer fetches them");
        while tx.publish(b"more than there is room for", 0, 0, 0).is_ok() {}
        assert!(!asks(&mut rx));
        assert!(asks(&mut rx), "the producer has not waited since");
    }

    #[test]
    fn who_is_near_cleans_also_if_it_is_waited_for() {
        let (tx, mut rx) = link();
        rx.parts.head.credit.single_consumer.store(1, Relaxed);
        while tx.publish(b"more than there is room for", 0, 0, 0).is_ok() {}
        rx.pace.may_write_back = true;
        // As it was found just now.
        (rx.pace.is_near, rx.pace.measured_at) = (true, rx.next);
        rx.ask_whether_to_clean();
        assert!(rx.pace.cleans);
        rx.parts.head.credit.single_consumer.store(0, Relaxed);
        rx.ask_whether_to_clean();
        assert!(!rx.pace.cleans && !rx.pace.is_near, "beside others, and it is measured anew");
    }

    #[test]
    fn in_small_rings_it_keeps_a_distance_from_who_is_near() {
        for (depth, is_near, is_late, keeps) in [
            (64, false, false, false),
            (64, true, false, true),
            (64, true, true, false),
            (1024, false, false, true),
            (1024, false, true, false),
        ] {
            let link = Link::builder().depth(depth).mtu(64).build().unwrap();
            let pace = &mut link.consumer().unwrap().pace;
            (pace.is_near, pace.is_late) = (is_near, is_late);
            assert_eq!(pace.keeps_distance(), keeps, "{depth} {is_near} {is_late}");
            assert_eq!((pace.pace_step, pace.distance), (64.min(depth as u64 / 4), depth as u64 / 4));
        }
    }

    #[test]
    fn pauses_grow_while_a_run_goes_on_and_they_are_too_short() {
        let (_tx, mut rx) = link();
        let pace = &mut rx.pace;
        let far = pace.idle_at.wrapping_add(2 * PACE_STEP);
        // Whether it is there after so many looks, and whether fragments come meanwhile. How often it has looked.
        let mut wait = |next, there_after: u32, come: bool| {
            let (looks, newest) = (core::cell::Cell::new(0), core::cell::Cell::new(next));
            let is_there = || {
                looks.set(looks.get() + 1);
                looks.get() > there_after
            };
            pace.wait_for_distance(next, is_there, |_| {
                newest.set(newest.get() + u64::from(come));
                newest.get()
            });
            (looks.get(), pace.distance_pause)
        };
        assert_eq!(wait(far - 1, u32::MAX, true), (48, 48), "no run yet");
        assert_eq!(wait(far, u32::MAX, true), (48, 96));
        assert_eq!(wait(far, 90, true), (91, 96), "long enough");
        assert_eq!(wait(far, u32::MAX, true), (96, 192));
        assert_eq!(wait(far, u32::MAX, true), (192, 384));
        assert_eq!(wait(far, u32::MAX, true), (384, 384));
        assert_eq!(wait(far, u32::MAX, false), (19, 48), "nothing comes");
        pace.distance_pause = DISTANCE_PAUSE_MOST;
        let mut left = 40_u64;
        pace.wait_for_distance(
            far,
            || false,
            |_| {
                left = left.saturating_sub(20);
                left
            },
        );
        assert_eq!(pace.distance_pause, DISTANCE_PAUSE, "the stream ends during the pause");
    }

    #[test]
    fn a_pause_is_halved_when_a_run_ends() {
        let (_tx, mut rx) = link();
        rx.pace.distance_pause = DISTANCE_PAUSE_MOST;
        assert_eq!(
            [(); 4].map(|()| {
                rx.end_of_run();
                rx.pace.distance_pause
            }),
            [192, 96, 48, 48]
        );
    }
}
