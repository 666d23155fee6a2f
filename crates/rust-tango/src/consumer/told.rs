//! [`Told`]: what a reader has told a subscriber, and what it has yet to tell. Feature `tracing` only.
//!
//! Events are noted where an error is made, with exclusive access to the reader. In a call that has the consumer
//! exclusively, no subscriber can get at the same consumer, so the event is emitted at once. Not so in a call through a
//! shared reference: there, the reader keeps the event, and [`ReaderCell::lend`](super::cell::ReaderCell::lend) emits it when
//! the exclusive reference is gone.
//!
//! Losses may come thousands of times a second. Of one reader, an event tells of them once a second at most, with their
//! sum. The event of its end has the sum of all.

use crate::error::TangoError;
use crate::events::emitted::{self, Who};
use crate::sync::{Relaxed, StaticBool};
use crate::waiting::kernel;

/// Milliseconds from one event of losses to the next. Without a clock, there is one event only.
const LOSSES_EVERY: u64 = 1000;

#[derive(Debug, Default)]
pub(super) struct Told {
    /// The reader is used through a shared reference. An atomic, so that readers are `Sync` as without it.
    is_lent: StaticBool,
    /// What is to be emitted after that. A call returns one error at most.
    pending: Option<Event>,
    /// The incarnation of the producer whose end was told.
    gone: Option<u64>,
    /// When losses were last told, in milliseconds.
    losses_at: Option<u64>,
    /// Fragments lost since then, and how often; and in all.
    since: Losses,
    all: Losses,
}

#[derive(Debug, Clone, Copy, Default)]
struct Losses {
    fragments: u64,
    times: u64,
}

impl Losses {
    fn add(&mut self, fragments: u64) {
        // The counts of a corrupt link can overflow the sum.
        self.fragments = self.fragments.saturating_add(fragments);
        self.times += 1;
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Lost { cause: &'static str, fragments: u64, times: u64, next: u64 },
    Gone { next: u64 },
    Replaced { first: u64 },
}

impl Event {
    pub(super) fn emit(self, who: Who<'_>) {
        match self {
            Self::Lost { cause, fragments, times, next } => {
                emitted::fragments_lost(who, cause, fragments, times, next);
            }
            Self::Gone { next } => emitted::producer_gone(who, next),
            Self::Replaced { first } => emitted::producer_replaced(who, first),
        }
    }
}

impl Told {
    /// Notes an error of a read at `next`, of the producer with this incarnation. Returns what is to be emitted now.
    pub(super) fn note(&mut self, error: TangoError, next: u64, incarnation: u64) -> Option<Event> {
        let event = match error {
            TangoError::Overrun { lost, next } => self.lost("overrun", lost, next),
            TangoError::Evicted { lost, next } => self.lost("evicted", lost, next),
            TangoError::Corrupt { seq } => self.lost("corrupt", 1, seq.wrapping_add(1)),
            TangoError::ProducerReplaced { first } => {
                // What was noted may be this producer, if it came just before the death of the other was told.
                self.gone = None;
                Some(Event::Replaced { first })
            }
            // Each call returns this error until there is another producer.
            TangoError::ProducerGone if self.gone.replace(incarnation) != Some(incarnation) => {
                Some(Event::Gone { next })
            }
            _ => None,
        };
        if self.is_lent.load(Relaxed) {
            self.pending = event;
            return None;
        }
        event
    }

    fn lost(&mut self, cause: &'static str, fragments: u64, next: u64) -> Option<Event> {
        self.since.add(fragments);
        self.all.add(fragments);
        let now = kernel::milliseconds();
        if self.losses_at.is_some_and(|at| now.wrapping_sub(at) < LOSSES_EVERY) {
            return None;
        }
        self.losses_at = Some(now);
        let Losses { fragments, times } = core::mem::take(&mut self.since);
        Some(Event::Lost { cause, fragments, times, next })
    }

    /// From now on, or no more, the reader is used through a shared reference.
    #[inline(always)]
    pub(super) fn set_lent(&self, is_lent: bool) {
        self.is_lent.store(is_lent, Relaxed);
    }

    /// What is to be emitted now.
    pub(super) fn take_pending(&mut self) -> Option<Event> {
        self.pending.take()
    }

    /// Fragments that were lost, and how often.
    pub(super) fn losses(&self) -> (u64, u64) {
        (self.all.fragments, self.all.times)
    }
}
