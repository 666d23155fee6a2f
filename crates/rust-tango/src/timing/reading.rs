//! The reader's policy: what a consumer does besides reading, in front of certain fragments and after empty polls.

use super::cleaning::{self, Clean, Cleaning, ProducerSignals};
use super::distance::Distance;
use super::hints::ReaderHints;
use super::idle::EmptyPolls;
use super::place::{PROMPT, PollPlace};
use super::processor::{ON, Pays};
use crate::ring::seq;

/// Stands for "never".
const NEVER: u64 = 1 << 62;

/// What is asked for by a reader that begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) depth: u64,
    /// Of all slots.
    pub(crate) bytes: usize,
    pub(crate) payloads_fit_slots: bool,
    /// The producer waits for it.
    pub(crate) holds_credits: bool,
}

/// What the consumer is to do, in the order of the fields.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    /// Hints for the producer that are new.
    pub(crate) hints: Option<ReaderHints>,
    /// Lines to be cleaned.
    pub(crate) clean: Option<Clean>,
    /// A run of fragments has ended.
    pub(crate) run_ended: bool,
    /// Poll the hot slot from now on: [`ReaderTiming::enter_hot_slot`].
    pub(crate) enter_hot_slot: bool,
    /// Spin so often.
    pub(crate) spins: u64,
    /// Wait for this fragment: [`ReaderTiming::wait_for_distance`].
    pub(crate) wait_for: Option<u64>,
}

/// The policy of one reader, and what it remembers of its polls.
#[derive(Debug)]
pub(crate) struct ReaderTiming {
    place: PollPlace,
    idle: EmptyPolls,
    /// The number from which on [`Self::at_gate`] is due, when the reader polls the ring.
    gate: u64,
    /// From one gate to the next, or `NEVER`.
    gate_step: u64,
    distance: Distance,
    cleaning: Cleaning,
    /// As the producer knows them.
    hints: ReaderHints,
}

impl ReaderTiming {
    /// Of a reader that begins with `next`.
    pub(crate) fn new(next: u64, shape: Shape) -> Self {
        let Shape { depth, bytes, payloads_fit_slots, holds_credits } = shape;
        let distance = Distance::new(next, depth, payloads_fit_slots);
        let pays = Pays::here(depth, bytes);
        let may_write_back = holds_credits && pays.writing_back;
        // Other small rings have no room for a distance, and are not cleaned.
        let has_gates = ON && (!distance.is_small() || may_write_back);
        let may_evict = holds_credits && has_gates && pays.evicting;
        let gate_step = if has_gates { cleaning::STEP.min(depth / 8) } else { NEVER };
        Self {
            place: PollPlace::new(next),
            idle: EmptyPolls::new(next),
            gate: next.wrapping_add(gate_step),
            gate_step,
            distance,
            cleaning: Cleaning::new(next, may_evict, may_write_back && has_gates),
            hints: ReaderHints::default(),
        }
    }

    /// Whether the reader polls the hot slot, and not the ring.
    #[inline(always)]
    pub(crate) fn is_in_hot_slot(&self) -> bool {
        self.place.is_hot_slot()
    }

    /// The number from which on [`Self::at_gate`] is due, when the reader polls the ring.
    pub(crate) fn gate(&self) -> u64 {
        self.gate
    }

    /// Whether [`Self::at_gate`] is due in front of fragment `next`.
    #[inline(always)]
    pub(crate) fn is_at_gate(&self, next: u64) -> bool {
        !seq::is_before(next, self.gate)
    }

    /// Whether a poll for `next` that has found nothing need not ask for anything else. Counts it if so.
    #[inline(always)]
    pub(crate) fn count_quick_poll(&mut self, next: u64) -> bool {
        self.idle.count_quick(next)
    }

    /// Counts any other empty poll. True: it is time to ask whether the producer lives.
    pub(crate) fn count_slow_poll(&mut self) -> bool {
        self.idle.count_slow()
    }

    /// Whether a reader of the hot slot should look in the ring now: a producer that is stopped may have put a fragment
    /// there and not in the hot slot yet.
    pub(crate) fn ring_check_is_due(&self) -> bool {
        self.is_in_hot_slot() && self.idle.ring_check_is_due()
    }

    /// What to do after a poll for `next` that has found nothing and was not a quick one.
    pub(crate) fn after_empty_poll(
        &mut self,
        next: u64,
        signals: impl FnOnce() -> ProducerSignals,
        is_near: impl FnOnce() -> bool,
    ) -> Advice {
        if self.idle.at() == next {
            if !self.place.has_waited(self.idle.waited()) {
                return Advice::default();
            }
            let clean = self.cleaning.take_after_wait(next);
            return Advice { clean, enter_hot_slot: self.place.may_enter(next), ..Advice::default() };
        }
        let (run, waited) = self.idle.begin(next);
        self.place.run_ended(run, waited);
        self.distance.run_ended(next);
        Advice {
            hints: self.review(next, signals, is_near),
            run_ended: true,
            enter_hot_slot: self.place.is_steady() && self.place.may_enter(next),
            spins: if ON { Distance::spins_after(run) } else { 0 },
            ..Advice::default()
        }
    }

    /// What to do in front of fragment `next` in the midst of a long run, where [`Self::is_at_gate`].
    pub(crate) fn at_gate(
        &mut self,
        next: u64,
        signals: impl FnOnce() -> ProducerSignals,
        is_near: impl FnOnce() -> bool,
    ) -> Advice {
        self.gate = next.wrapping_add(self.gate_step);
        let mut advice = Advice { clean: self.cleaning.take(next), ..Advice::default() };
        if self.distance.is_due(next) {
            advice.hints = self.review(next, signals, is_near);
            let cleaning = &self.cleaning;
            if self.distance.is_kept(cleaning.producer_is_near(), cleaning.producer_had_to_wait()) {
                advice.wait_for = Some(self.distance.last_of(next, self.run(next)));
            }
        }
        advice
    }

    /// Fragments since the last empty poll.
    fn run(&self, next: u64) -> u64 {
        next.wrapping_sub(self.idle.at())
    }

    /// The hints that the producer should have in front of fragment `next`, if they are new.
    fn review(
        &mut self,
        next: u64,
        signals: impl FnOnce() -> ProducerSignals,
        is_near: impl FnOnce() -> bool,
    ) -> Option<ReaderHints> {
        let mut hints = self.hints;
        if self.place.hint_is_stale(next) {
            hints.reads_hot_slot = false;
        }
        if let Some(evicts) = self.cleaning.review(next, signals, is_near) {
            hints.evicts = evicts;
        }
        self.change(hints)
    }

    fn change(&mut self, hints: ReaderHints) -> Option<ReaderHints> {
        (core::mem::replace(&mut self.hints, hints) != hints).then_some(hints)
    }

    /// In front of fragment `next`, waits until another one `is_there`, or until it is not worth it. `newest` finds the
    /// number of the newest fragment near the one that it is given.
    pub(crate) fn wait_for_distance(
        &mut self,
        next: u64,
        is_there: impl Fn() -> bool,
        newest: impl FnMut(u64) -> u64,
    ) {
        let run = self.run(next);
        self.distance.wait(next, run, is_there, newest);
    }

    /// The reader polls the hot slot from now on. Returns the hints for the producer if they are new.
    pub(crate) fn enter_hot_slot(&mut self) -> Option<ReaderHints> {
        self.place.enter();
        self.change(ReaderHints { reads_hot_slot: true, ..self.hints })
    }

    /// The reader polls the ring from fragment `next` on.
    pub(crate) fn leave_hot_slot(&mut self, next: u64) {
        self.place.leave(next);
        self.gate = next.wrapping_add(self.gate_step);
        self.distance.restart(next);
        // The lines of what it has found in the hot slot have not been touched in the ring.
        self.cleaning.skip(next);
    }

    /// Only the metadata of the next fragment were in the hot slot.
    #[inline(always)]
    pub(crate) fn found_in_hot_slot(&mut self) {
        self.place.found_there();
    }

    /// Fragment `n` was in the hot slot whole. False: poll the ring from the next one on.
    #[inline(always)]
    pub(crate) fn found_whole(&mut self, n: u64) -> bool {
        let is_prompt = n != self.idle.at() || self.idle.waited() <= PROMPT;
        self.place.found_whole(is_prompt)
    }

    /// Fragment `next` was announced in the hot slot only. True: poll the ring from now on.
    pub(crate) fn found_announced(&mut self, next: u64) -> bool {
        self.place.found_announced(next)
    }

    /// The hints as the producer knows them.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(crate) fn hints(&self) -> ReaderHints {
        self.hints
    }

    /// As if so many polls more had found nothing.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(crate) fn skip_polls(&mut self, polls: u32) {
        self.idle.skip(polls);
    }
}
