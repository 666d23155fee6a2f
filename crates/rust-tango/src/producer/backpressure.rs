//! [`Backpressure`]: what a producer does when it has no credit.
//!
//! ```text
//!   no credit ---> refresh ---> still none ---> reap dead consumers ---> evict a slow one ---> refused
//! ```

use super::claim::Claim;
use crate::cpu::clock::pause;
use crate::credits::floor::Credits;
use crate::credits::watched::Slots;
#[cfg(feature = "tracing")]
use crate::events::emitted::SlotSet;
use crate::memory::head::Head;
use crate::sync::{Cell, Own, Relaxed};
use crate::timing;
use crate::timing::idle::LIVENESS_INTERVAL;
use crate::waiting::kernel;
#[cfg(feature = "std")]
use core::time::Duration;
#[cfg(feature = "std")]
use std::time::Instant;

/// Default of `Producer::with_patience`.
#[cfg(feature = "std")]
const PATIENCE: Duration = Duration::from_secs(1);

/// The credits of a producer, and what it knows of the consumer that holds it back.
#[derive(Debug)]
pub(super) struct Backpressure<'a> {
    credits: Credits<'a>,
    head: &'a Head,
    /// The fragment that was last counted as stalled.
    stalled: Cell<Option<u64>>,
    /// When [`Self::check_is_due`] last was true, in milliseconds.
    checked_at: Cell<u64>,
    /// How long an evictable consumer may hold the producer back.
    #[cfg(feature = "std")]
    patience: Duration,
    #[cfg(feature = "std")]
    held: Cell<Option<Held>>,
    /// What has happened to consumers, and is to be emitted.
    #[cfg(feature = "tracing")]
    happened: Happened,
}

/// The evictable consumer that holds the producer back.
#[cfg(feature = "std")]
#[derive(Debug, Clone, Copy)]
struct Held {
    slot: usize,
    /// The `state` word of its slot.
    state: u64,
    /// The fragment that waits for a credit.
    fragment: u64,
    since: Instant,
}

/// The slots of consumers to which something has happened.
#[cfg(feature = "tracing")]
#[derive(Debug, Default)]
struct Happened {
    reaped: SlotSet,
    evicted: SlotSet,
}

/// There is no credit.
#[derive(Debug)]
pub(super) struct Refused {
    /// This fragment was not refused before.
    pub(super) is_new: bool,
}

impl<'a> Backpressure<'a> {
    /// For a producer that begins. Everything before `oldest` may be overwritten. The producer may be
    /// `credits` fragments ahead of the floor.
    pub(super) fn new(slots: Slots<'a>, head: &'a Head, oldest: u64, credits: u64) -> Self {
        head.credit.held_by.store(0, Relaxed);
        Self {
            credits: Credits::new(slots, oldest, &head.credit.floor, credits),
            head,
            stalled: Cell::new(None),
            checked_at: Cell::new(0),
            #[cfg(feature = "std")]
            patience: PATIENCE,
            #[cfg(feature = "std")]
            held: Cell::new(None),
            #[cfg(feature = "tracing")]
            happened: Happened::default(),
        }
    }

    /// Emits what has happened to consumers. Only where the producer is as between two calls, or checks afterwards whether
    /// a subscriber has published with it.
    #[cfg(feature = "tracing")]
    pub(super) fn emit_happened(&self, claim: &Claim<'_>) {
        use crate::events::emitted;
        self.happened.reaped.take_each(|slot| emitted::consumer_reaped(claim.link_name(), slot));
        self.happened.evicted.take_each(|slot| emitted::consumer_evicted(claim.link_name(), slot));
    }

    #[inline]
    pub(super) fn credits(&self) -> &Credits<'a> {
        &self.credits
    }

    #[cfg(feature = "std")]
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Obtains a credit for fragment `n`. It overwrites the previous fragment of its line, and every
    /// fragment up to `victim`.
    #[cold]
    pub(super) fn obtain(&self, n: u64, victim: Option<u64>, claim: &Claim<'_>) -> Result<(), Refused> {
        self.refresh(n, victim);
        // A consumer that has not moved for a while may be dead. Check, but less often as time goes by. A
        // producer that tries seldom checks by time.
        let failures = self.credits.failures();
        let by_count = failures >= 4 && (failures.is_power_of_two() || failures % 1024 == 0);
        if by_count || !self.credits.allow(n, victim) && self.check_is_due() {
            self.reap_dead(claim);
            self.refresh(n, victim);
        }
        if self.credits.allow(n, victim) || self.evict_until_allowed(n, victim) {
            self.clear_stall();
            return Ok(());
        }
        let is_new = self.stalled.replace(Some(n)) != Some(n);
        if is_new {
            let stalls = &self.head.credit.stalls;
            stalls.store(stalls.own().wrapping_add(1), Relaxed);
        }
        let value = self.credits.held_by().map_or(0, |slot| slot as u64 + 1);
        let word = &self.head.credit.held_by;
        if word.load(Relaxed) != value {
            word.store(value, Relaxed);
        }
        Err(Refused { is_new })
    }

    /// Whether the clock says that it is time to check whether the consumers live.
    fn check_is_due(&self) -> bool {
        let now = kernel::milliseconds();
        let is_due = now.wrapping_sub(self.checked_at.get()) >= LIVENESS_INTERVAL;
        if is_due {
            self.checked_at.set(now);
        }
        is_due
    }

    /// Reads the consumers' progress. Returns whether fragment `n` has a credit now.
    #[cfg(feature = "std")]
    pub(super) fn has_credit(&self, n: u64, victim: Option<u64>) -> bool {
        self.refresh(n, victim);
        let allowed = self.credits.allow(n, victim);
        if allowed {
            self.clear_stall();
        }
        allowed
    }

    /// Reads the consumers' progress. If the floor has risen, but not far enough, reads it again: the
    /// slowest consumer at the first read of a refresh may have moved on by the second, and then the
    /// refresh would name no consumer that holds the producer back.
    fn refresh(&self, n: u64, victim: Option<u64>) {
        loop {
            pause(timing::turns_before_refresh(self.credits.failures()));
            if !self.credits.refresh(n) || self.credits.allow(n, victim) {
                return;
            }
        }
    }

    /// There is a credit again.
    fn clear_stall(&self) {
        if self.stalled.take().is_some() {
            self.head.credit.held_by.store(0, Relaxed);
        }
        #[cfg(feature = "std")]
        self.held.set(None);
    }

    /// Stops counting consumers that are proven dead. True if there were any.
    pub(super) fn reap_dead(&self, claim: &Claim<'_>) -> bool {
        // A consumer on borrowed storage is always alive.
        #[cfg(feature = "alloc")]
        if let Claim::Owned(claim) = claim {
            let count = self.credits.reap_dead(|slot| {
                let lives = claim.consumer_lives(slot);
                #[cfg(feature = "tracing")]
                if !lives {
                    self.happened.reaped.add(slot);
                }
                lives
            });
            if count > 0 {
                let reaped = &self.head.lifecycle.reaped;
                reaped.store(reaped.own().wrapping_add(count), Relaxed);
                return true;
            }
        }
        let _ = claim;
        false
    }

    /// Evicts the consumers that hold fragment `n` back, if they are evictable and the producer's patience
    /// with them is over. True: `n` has a credit now.
    #[cfg(feature = "std")]
    fn evict_until_allowed(&self, n: u64, victim: Option<u64>) -> bool {
        // At most once for each slot, even if the words of a slot change all the time.
        for _ in 0..self.credits.slots() {
            let Some(waited) = self.waited_for_evictable(n) else { return false };
            if waited < self.patience {
                return false;
            }
            if let Some(held) = self.held.take() {
                self.credits.evict(held.state);
                #[cfg(feature = "tracing")]
                self.happened.evicted.add(held.slot);
            }
            let evicted = &self.head.lifecycle.evicted;
            evicted.store(evicted.own().wrapping_add(1), Relaxed);
            self.refresh(n, victim);
            if self.credits.allow(n, victim) {
                return true;
            }
        }
        false
    }

    #[cfg(not(feature = "std"))]
    fn evict_until_allowed(&self, _n: u64, _victim: Option<u64>) -> bool {
        false
    }

    /// How long an evictable consumer has held fragment `n` back. `None`: no evictable consumer does.
    #[cfg(feature = "std")]
    fn waited_for_evictable(&self, n: u64) -> Option<Duration> {
        let holder = self.credits.held_by_evictable().zip(self.credits.held_by());
        let Some((state, slot)) = holder else {
            self.held.set(None);
            return None;
        };
        match self.held.get() {
            Some(held) if (held.slot, held.state, held.fragment) == (slot, state, n) => {
                Some(held.since.elapsed())
            }
            _ => {
                self.held.set(Some(Held { slot, state, fragment: n, since: Instant::now() }));
                Some(Duration::ZERO)
            }
        }
    }

    /// How much longer fragment `n` waits before the consumer that holds it back is evicted. `None`: that
    /// consumer is not evictable.
    #[cfg(feature = "std")]
    pub(super) fn patience_left(&self, n: u64) -> Option<Duration> {
        self.waited_for_evictable(n).map(|waited| self.patience.saturating_sub(waited))
    }
}

#[cfg(all(test, not(loom), feature = "std"))]
mod tests {
    use super::*;
    use crate::{Link, Producer, Start, TangoError};

    const LONG: Duration = Duration::from_secs(20);

    fn publish(tx: &Producer<'_>) -> Result<(), TangoError> {
        tx.publish(b"held", 0, 0, 0).map(drop)
    }

    /// As if the consumer that holds the producer back had done so for twice the patience.
    fn let_time_pass(tx: &Producer<'_>) -> usize {
        let held = tx.backpressure.held.get().unwrap();
        let since = held.since.checked_sub(2 * LONG).unwrap();
        tx.backpressure.held.set(Some(Held { since, ..held }));
        held.slot
    }

    /// The time counts for each consumer alone.
    #[test]
    fn a_consumer_does_not_pay_for_the_time_of_another() {
        let link = Link::builder().depth(2).mtu(64).consumers(2).build().unwrap();
        let tx = link.producer().unwrap().with_patience(LONG);
        let [mut one, mut other] = [(), ()].map(|()| link.evictable_consumer(Start::Next).unwrap());
        let n = tx.next_seq().wrapping_add(2);
        (0..2).for_each(|_| publish(&tx).unwrap());
        assert!(publish(&tx).is_err());
        assert!(tx.backpressure.patience_left(n).is_some_and(|left| LONG / 2 < left && left <= LONG));
        assert_eq!(let_time_pass(&tx), 0);
        assert_eq!(tx.backpressure.patience_left(n), Some(Duration::ZERO));
        drop(one.poll().unwrap().unwrap());
        assert!(publish(&tx).is_err(), "the other holds it back, and has just begun");
        assert_eq!(let_time_pass(&tx), 1);
        publish(&tx).unwrap();
        assert!(matches!(other.poll(), Err(TangoError::Evicted { .. })));
        assert!(one.poll().unwrap().is_some());
    }

    /// Its successor in the same slot has all the time again.
    #[test]
    fn a_consumer_does_not_pay_for_the_time_of_its_predecessor() {
        let link = Link::builder().depth(2).mtu(64).consumers(1).build().unwrap();
        let tx = link.producer().unwrap().with_patience(LONG);
        let first = link.evictable_consumer(Start::Next).unwrap();
        (0..2).for_each(|_| publish(&tx).unwrap());
        assert!(publish(&tx).is_err());
        let_time_pass(&tx);
        drop(first);
        let mut second = link.evictable_consumer(Start::Oldest).unwrap();
        assert!(publish(&tx).is_err());
        drop(second.poll().unwrap().unwrap());
        publish(&tx).unwrap();
        assert_eq!(tx.backpressure.held.get().map(|held| held.slot), None, "nothing is held back");
    }

    #[test]
    fn a_reliable_consumer_is_waited_for() {
        let link = Link::builder().depth(2).mtu(64).consumers(1).build().unwrap();
        let tx = link.producer().unwrap().with_patience(Duration::ZERO);
        let rx = link.consumer().unwrap();
        let n = tx.next_seq().wrapping_add(2);
        (0..2).for_each(|_| publish(&tx).unwrap());
        assert!(publish(&tx).is_err() && !tx.backpressure.has_credit(n, None));
        assert_eq!((tx.backpressure.patience_left(n), tx.held_by()), (None, Some(0)));
        drop(rx);
        assert!(tx.backpressure.has_credit(n, None));
        assert_eq!(tx.held_by(), None);
        publish(&tx).unwrap();
    }
}
