//! The reader's policy: what a consumer does besides reading, before certain fragments and after empty
//! polls.
//!
//! Two words recur here. A *run* is a sequence of fragments with no empty poll between them. A *checkpoint*
//! is a fragment number from which on the reader asks [`ReaderTiming::at_checkpoint`] what to do before it
//! continues a run.

use super::cleaning::{self, Clean, Cleaning, ProducerSignals};
use super::distance::{self, Distance, Pace};
use super::hints::ReaderHints;
use super::idle::{ChecksDue, EmptyPolls};
use super::place::{PROMPT, PollPlace};
use super::processor::Pays;
use crate::memory::hints::Hints;
use crate::ring::seq;

/// So far apart are checkpoints at which nothing is to be done. It fits [`ReaderTiming::until_checkpoint`].
const NEVER: u64 = 1 << 31;

/// What the policy has to know of a link and its reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) depth: u64,
    /// Size of all slots, in bytes.
    pub(crate) bytes: usize,
    pub(crate) payloads_fit_slots: bool,
    /// The producer waits for this reader.
    pub(crate) holds_credits: bool,
    pub(crate) hints: Hints,
}

/// What the consumer should do, in the order of the fields.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    /// Store these hints for the producer.
    pub(crate) hints: Option<ReaderHints>,
    /// Write back or evict these lines.
    pub(crate) clean: Option<Clean>,
    /// Poll the hot slot from now on: see [`ReaderTiming::enter_hot_slot`].
    pub(crate) enter_hot_slot: bool,
    /// Wait for this fragment: see [`ReaderTiming::wait_for_distance`].
    pub(crate) wait_for: Option<u64>,
}

/// The policy of one reader, and what it remembers of the reader's polls.
#[derive(Debug)]
pub(crate) struct ReaderTiming {
    place: PollPlace,
    idle: EmptyPolls,
    /// From this number on, [`Self::at_checkpoint`] is due, if the reader polls the ring.
    checkpoint: u64,
    /// From one checkpoint to the next, or `NEVER`.
    checkpoint_step: u64,
    pace: Pace,
    distance: Distance,
    cleaning: Cleaning,
    /// The hints that the producer has.
    hints: ReaderHints,
}

impl ReaderTiming {
    /// For a reader that begins with `next`.
    pub(crate) fn new(next: u64, shape: Shape) -> Self {
        let Shape { depth, bytes, payloads_fit_slots, holds_credits, hints } = shape;
        let distance = Distance::new(next, depth, payloads_fit_slots);
        let pays = Pays::here(hints, depth, bytes);
        let (may_evict, may_write_back) =
            (holds_credits && pays.evicting, holds_credits && pays.writing_back);
        // In other small rings there is no room for a distance, and lines are neither written back nor
        // evicted.
        let checkpoint_step = if may_evict || may_write_back {
            cleaning::STEP.min(depth / 8)
        } else if hints != Hints::NONE && !distance.is_small() {
            distance::STEP
        } else {
            NEVER
        };
        Self {
            place: PollPlace::new(next, hints.hot_slot),
            idle: EmptyPolls::new(next),
            checkpoint: next.wrapping_add(checkpoint_step),
            checkpoint_step,
            distance,
            pace: Pace::Latency,
            cleaning: Cleaning::new(next, may_evict, may_write_back)
                .of_slots(bytes / depth as usize, hints.prefetch_batches != 0),
            hints: ReaderHints::default(),
        }
    }

    pub(crate) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Whether the reader polls the hot slot, and not the ring.
    #[inline(always)]
    pub(crate) fn is_in_hot_slot(&self) -> bool {
        self.place.is_hot_slot()
    }

    /// How many fragments from `next` on come before the one at which [`Self::at_checkpoint`] is due, if the reader
    /// polls the ring.
    pub(crate) fn until_checkpoint(&self, next: u64) -> u32 {
        let until = if self.is_checkpoint_due(next) { 0 } else { self.checkpoint.wrapping_sub(next) };
        until.try_into().unwrap_or(u32::MAX)
    }

    /// Whether [`Self::at_checkpoint`] is due before fragment `next`.
    #[inline(always)]
    pub(crate) fn is_checkpoint_due(&self, next: u64) -> bool {
        !seq::is_before(next, self.checkpoint)
    }

    /// Whether an empty poll for `next` is a *quick* one, after which the reader checks nothing else.
    /// Counts it if so.
    #[inline(always)]
    pub(crate) fn count_quick_poll(&mut self, next: u64) -> bool {
        self.idle.count_quick(next)
    }

    /// Counts an empty poll that was not quick. Returns which checks are due. `clock` returns milliseconds.
    pub(crate) fn count_slow_poll(&mut self, clock: impl FnOnce() -> u64) -> ChecksDue {
        let due = self.idle.count_slow(clock);
        ChecksDue { ring: due.ring && self.is_in_hot_slot(), ..due }
    }

    /// What to do after an empty poll for `next` that was not quick.
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
            enter_hot_slot: self.place.is_steady() && self.place.may_enter(next),
            ..Advice::default()
        }
    }

    /// What to do before fragment `next`, in a long run, when [`Self::is_checkpoint_due`].
    pub(crate) fn at_checkpoint(
        &mut self,
        next: u64,
        signals: impl FnOnce() -> ProducerSignals,
        is_near: impl FnOnce() -> bool,
    ) -> Advice {
        self.checkpoint = next.wrapping_add(self.checkpoint_step);
        let mut advice = Advice { clean: self.cleaning.take(next), ..Advice::default() };
        if self.distance.is_due(next) {
            advice.hints = self.review(next, signals, is_near);
            let cleaning = &self.cleaning;
            if self.pace == Pace::Throughput
                && self.distance.keeps_distance(cleaning.producer_is_near(), cleaning.producer_had_to_wait())
            {
                advice.wait_for = Some(self.distance.target(next, self.run(next)));
            }
        }
        advice
    }

    /// How many fragments the run has so far.
    fn run(&self, next: u64) -> u64 {
        next.wrapping_sub(self.idle.at())
    }

    /// The hints that the producer should have before fragment `next`. `None`: it has them.
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

    /// Before fragment `next`, waits until `is_there` says that another fragment is there, or until waiting
    /// does not pay any more. `newest` returns the number of the newest fragment near the given one. `pause` pauses, and
    /// returns how many turns have passed.
    pub(crate) fn wait_for_distance(
        &mut self,
        next: u64,
        is_there: impl Fn() -> bool,
        newest: impl FnMut(u64) -> u64,
        pause: impl FnMut() -> u64,
    ) {
        let run = self.run(next);
        self.distance.wait(next, run, is_there, newest, pause);
    }

    /// The reader polls the hot slot from fragment `next` on. Returns hints for the producer if they have changed.
    pub(crate) fn enter_hot_slot(&mut self, next: u64) -> Option<ReaderHints> {
        self.place.enter(next);
        self.change(ReaderHints { reads_hot_slot: true, ..self.hints })
    }

    /// The reader polls the ring from fragment `next` on, because it is faster.
    pub(crate) fn leave_hot_slot(&mut self, next: u64) {
        self.place.end_visit(next);
        self.leave_hot_slot_to_sleep(next);
    }

    /// The reader polls the ring from fragment `next` on, because it will sleep.
    pub(crate) fn leave_hot_slot_to_sleep(&mut self, next: u64) {
        self.place.leave(next);
        self.checkpoint = next.wrapping_add(self.checkpoint_step);
        self.distance.restart(next);
        // The reader has not touched the lines in the ring of the fragments that it found in the hot slot.
        self.cleaning.skip(next);
    }

    /// The hot slot had only the metadata of the next fragment.
    #[inline(always)]
    pub(crate) fn found_in_hot_slot(&mut self) {
        self.place.found_metadata();
    }

    /// The reader has taken a batch that ends before `next`.
    pub(crate) fn took_batch(&mut self, next: u64) {
        self.cleaning.took_batch(next);
    }

    /// Whether [`Self::found_whole`] might return false for the next fragment.
    #[inline(always)]
    pub(crate) fn may_leave_hot_slot(&self) -> bool {
        self.place.may_leave()
    }

    /// The hot slot had all of fragment `n`. False: poll the ring from the next one on.
    #[inline(always)]
    pub(crate) fn found_whole(&mut self, n: u64) -> bool {
        let is_prompt = n != self.idle.at() || self.idle.waited() <= PROMPT;
        self.place.found_whole(is_prompt)
    }

    /// Fragment `next` was only announced in the hot slot. True: poll the ring from now on.
    pub(crate) fn found_announced(&mut self, next: u64) -> bool {
        self.place.found_announced(next)
    }

    /// The hints that the producer has.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(crate) fn hints(&self) -> ReaderHints {
        self.hints
    }

    /// As on a processor where evicting pays and writing back does not.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(crate) fn only_evicting_pays(&mut self) {
        self.cleaning.only_evicting_pays();
    }

    /// Whether lines that were read are cleaned.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(crate) fn cleans(&self) -> bool {
        self.cleaning.is_on()
    }

    /// As if this many more polls had been empty.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(crate) fn skip_polls(&mut self, polls: u32) {
        self.idle.skip(polls);
    }
}
