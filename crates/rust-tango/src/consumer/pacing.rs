//! [`Pacing`]: where a consumer polls, and what it does on the advice of [`timing`](crate::timing).

use super::hot_reader::HotReader;
use super::mode::Mode;
use crate::cpu::cache;
use crate::cpu::clock::Turns;
use crate::memory::parts::Parts;
use crate::ring::line::LineState;
use crate::sync::Relaxed;
use crate::timing::cleaning::{Clean, ProducerSignals};
use crate::timing::hints::ReaderHints;
use crate::timing::processor;
use crate::timing::reading::{Advice, ReaderTiming};

/// The policy of one consumer, and the hot slot that it polls.
#[derive(Debug)]
pub(super) struct Pacing<'a> {
    pub(super) timing: ReaderTiming,
    pub(super) hot: HotReader<'a>,
}

impl Pacing<'_> {
    /// Whether the consumer polls the hot slot, and not the ring.
    #[inline(always)]
    pub(super) fn is_in_hot_slot(&self) -> bool {
        self.timing.is_in_hot_slot()
    }

    /// After an empty poll for `next` that was not quick.
    pub(super) fn after_empty_poll(&mut self, next: u64, parts: &Parts<'_>, mode: &Mode<'_>) {
        let (signals, is_near) = (|| producer_signals(parts), || processor::is_near(&parts.head.next));
        let advice = self.timing.after_empty_poll(next, signals, is_near);
        self.apply(advice, next, parts, mode);
    }

    /// Before fragment `next` in a long run, when a checkpoint is due.
    pub(super) fn at_checkpoint(&mut self, next: u64, parts: &Parts<'_>, mode: &Mode<'_>) {
        let (signals, is_near) = (|| producer_signals(parts), || processor::is_near(&parts.head.next));
        let advice = self.timing.at_checkpoint(next, signals, is_near);
        self.apply(advice, next, parts, mode);
    }

    fn apply(&mut self, advice: Advice, next: u64, parts: &Parts<'_>, mode: &Mode<'_>) {
        let Advice { hints, clean, enter_hot_slot, wait_for } = advice;
        let ring = parts.ring;
        hint(hints, mode);
        if let Some(Clean { first, count, write_back }) = clean {
            // Most fragments have the size of the last one. (This is a hint, whatever the lines hold by
            // now.)
            let len = ring.line(next.wrapping_sub(1)).place().size_in_slot();
            let lines = (0..count).map(|offset| ring.line(first.wrapping_add(offset)));
            if write_back {
                lines.for_each(|line| line.for_cache_lines(len, cache::write_back));
            } else {
                lines.for_each(|line| line.for_cache_lines(len, cache::evict));
            }
        }
        if enter_hot_slot && self.hot.is_used() {
            self.enter_hot_slot(next, mode);
        }
        if let Some(last) = wait_for {
            let is_there = || ring.line(last).state(last) != LineState::NotYet;
            let mut turns = Turns::begin();
            let newest = |next| parts.hot_slot.newest(next);
            self.timing.wait_for_distance(next, is_there, newest, || turns.pause());
        }
    }

    /// Polls the hot slot from fragment `next` on.
    pub(super) fn enter_hot_slot(&mut self, next: u64, mode: &Mode<'_>) {
        let hints = self.timing.enter_hot_slot(next);
        hint(hints, mode);
    }
}

fn hint(hints: Option<ReaderHints>, mode: &Mode<'_>) {
    if let (Some(hints), Some(seat)) = (hints, mode.seat()) {
        seat.slot().hint(hints.pack());
    }
}

fn producer_signals(parts: &Parts<'_>) -> ProducerSignals {
    let credit = &parts.head.credit;
    ProducerSignals {
        stalls: credit.stalls.load(Relaxed),
        single_consumer: credit.single_consumer.load(Relaxed) != 0,
    }
}
