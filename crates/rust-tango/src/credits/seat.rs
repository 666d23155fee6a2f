//! [`Seat`]: a consumer's slot as its owner uses it.

use crate::credits::slot::{ConsumerSlot, ROUNDS_BY_COPY};
use crate::sync::{AtomicU64, Relaxed, StaticU64};
use crate::waiting::eventcount::{Barrier, Eventcount};

/// A consumer slot as its owner sees it, with what the owner needs to notify a producer that sleeps.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    slot: &'a ConsumerSlot,
    producer: &'a Eventcount,
    /// The producer's sleep word when the consumer last read it closely: see [`Eventcount::asleep`]. It is
    /// the consumer's own, and moves with it.
    seen: StaticU64,
    barrier: Barrier,
}

impl<'a> Seat<'a> {
    pub(crate) fn new(slot: &'a ConsumerSlot, producer: &'a Eventcount) -> Self {
        let barrier = Barrier::of_this_process();
        Self { slot, producer, seen: StaticU64::new(0), barrier }
    }

    /// Claims the slot: see [`ConsumerSlot::claim`].
    pub(crate) fn claim(&self, start: u64, evictable: bool) {
        self.slot.claim(start, evictable, self.barrier);
    }

    /// Claims the slot again, for a consumer that was evicted: see [`ConsumerSlot::begin_epoch`].
    pub(crate) fn claim_again(&self, start: u64) {
        self.slot.begin_epoch(start, true);
    }

    /// See [`ConsumerSlot::settle`].
    pub(crate) fn settle(&self, start: u64, floor: &AtomicU64, reads_in_place: bool) -> u64 {
        let rounds = if reads_in_place { usize::MAX } else { ROUNDS_BY_COPY };
        let at = self.slot.settle(start, floor, rounds);
        // A producer that sleeps on this eventcount waits for a previous owner, or for fragments that were
        // just given up.
        self.slot.eventcount().notify();
        at
    }

    /// Returns the credits of all fragments before `next`.
    #[inline]
    pub(crate) fn release(&self, next: u64) {
        self.slot.release(next);
        self.notify_producer();
    }

    /// Leaves: the slot no longer holds the producer back. (The consumer of an `Fctl` never leaves its
    /// slot.)
    #[cfg(feature = "alloc")]
    pub(crate) fn leave(&self) {
        self.slot.leave();
        self.notify_producer();
    }

    /// Wakes the producer if it sleeps because it has no credit.
    #[inline]
    fn notify_producer(&self) {
        self.barrier.before_check();
        if self.producer.asleep() != self.seen.load(Relaxed) {
            self.notify_producer_if_asleep();
        }
    }

    #[cold]
    fn notify_producer_if_asleep(&self) {
        let mut seen = 0;
        if self.producer.needs_notify(&mut seen) {
            self.slot.eventcount().notify();
        }
        self.seen.store(seen, Relaxed);
    }

    /// Sleeps until the producer notifies, or for `longest`, unless `has_news` returns true. False: it
    /// could not sleep. See [`Eventcount::sleep_on`].
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn sleep(&self, longest: core::time::Duration, has_news: impl FnOnce() -> bool) -> bool {
        self.slot.eventcount().sleep_on(self.producer, longest, has_news)
    }

    /// The consumer's eventcount, for a thread that sleeps in the consumer's place.
    #[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
    pub(crate) fn eventcount(&self) -> &'a Eventcount {
        self.slot.eventcount()
    }

    pub(crate) fn slot(&self) -> &'a ConsumerSlot {
        self.slot
    }
}
