//! A consumer's slot as its owner has it.

use crate::credits::slot::{ConsumerSlot, ROUNDS_BY_COPY};
use crate::sync::{AtomicU64, Relaxed, StaticU64};
use crate::waiting::eventcount::{Barrier, Eventcount};

/// A slot as its owner sees it, with what it takes to tell a sleeping producer of credits.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    slot: &'a ConsumerSlot,
    producer: &'a Eventcount,
    /// What the producer's bell said when it was last looked at closely. Not shared: the consumer's own,
    /// wherever that is moved to.
    seen: StaticU64,
    order: Barrier,
}

impl<'a> Seat<'a> {
    pub(crate) fn new(slot: &'a ConsumerSlot, producer: &'a Eventcount) -> Self {
        let order = Barrier::of_this_process();
        Self { slot, producer, seen: StaticU64::new(0), order }
    }

    /// Takes the slot: see [`ConsumerSlot::claim`].
    pub(crate) fn claim(&self, start: u64, evictable: bool) {
        self.slot.claim(start, evictable, self.order);
    }

    /// See [`ConsumerSlot::begin_epoch`]; for who has been evicted.
    pub(crate) fn claim_again(&self, start: u64) {
        self.slot.begin_epoch(start, true);
    }

    /// See [`ConsumerSlot::settle`].
    pub(crate) fn settle(&self, start: u64, floor: &AtomicU64) -> u64 {
        let rounds = if self.slot.is_evictable() { ROUNDS_BY_COPY } else { usize::MAX };
        let at = self.slot.settle(start, floor, rounds);
        // Whoever sleeps on this bell did so for another owner, or for what has been given up just now.
        self.slot.eventcount().notify();
        at
    }

    /// Gives credits back: everything before `next` is finished with.
    #[inline]
    pub(crate) fn release(&self, next: u64) {
        self.slot.release(next);
        self.tell();
    }

    /// Leaves: the slot no longer holds the producer back. (That of an `Fctl` is never left.)
    #[cfg(feature = "alloc")]
    pub(crate) fn leave(&self) {
        self.slot.leave();
        self.tell();
    }

    /// Wakes the producer if it sleeps for want of credits.
    #[inline]
    fn tell(&self) {
        self.order.before_check();
        if self.producer.asleep() != self.seen.load(Relaxed) {
            let mut seen = 0;
            if self.producer.needs_notify(&mut seen) {
                self.slot.eventcount().notify();
            }
            self.seen.store(seen, Relaxed);
        }
    }

    /// Sleeps until the producer rings, or for `longest`, unless there is `news`. False: cannot sleep.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn sleep(&self, longest: core::time::Duration, news: impl FnOnce() -> bool) -> bool {
        self.slot.eventcount().sleep_on(self.producer, longest, news)
    }

    /// Its own bell, and the producer's: for a thread that sleeps in the place of the consumer's.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn eventcounts(&self) -> (&'a Eventcount, &'a Eventcount) {
        (self.slot.eventcount(), self.producer)
    }

    pub(crate) fn slot(&self) -> &'a ConsumerSlot {
        self.slot
    }
}
