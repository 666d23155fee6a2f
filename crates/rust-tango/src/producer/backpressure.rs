//! What a producer does without credits: read the consumers' progress, see who holds it back, reap, evict, refuse.
//!
//! ```text
//!   no credit ---> refresh ---> still none ---> has a consumer died? ---> is one to be evicted? ---> refused
//! ```

use super::claim::Claim;
use crate::credits::floor::{Credits, Slots};
use crate::memory::head::Head;
use crate::sync::{Cell, Own, Relaxed, pause};
use crate::timing;
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
    /// How long an evictable consumer may hold the producer back.
    #[cfg(feature = "std")]
    patience: Duration,
    #[cfg(feature = "std")]
    held: Cell<Option<Held>>,
}

/// The evictable consumer that holds the producer back.
#[cfg(feature = "std")]
#[derive(Debug, Clone, Copy)]
struct Held {
    slot: usize,
    /// The slot's state word.
    state: u64,
    /// The fragment that waits.
    fragment: u64,
    since: Instant,
}

/// Refused: the consumer in this slot holds the producer back.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) held_by: Option<usize>,
    /// This fragment was not refused before.
    pub(super) is_new: bool,
}

impl<'a> Backpressure<'a> {
    /// Of a producer that begins. Everything before `oldest` may be overwritten; up to `credits` fragments may be under
    /// way.
    pub(super) fn new(slots: Slots<'a>, head: &'a Head, oldest: u64, credits: u64) -> Self {
        head.credit.held_by.store(0, Relaxed);
        Self {
            credits: Credits::new(slots, oldest, &head.credit.floor, credits),
            head,
            stalled: Cell::new(None),
            #[cfg(feature = "std")]
            patience: PATIENCE,
            #[cfg(feature = "std")]
            held: Cell::new(None),
        }
    }

    #[inline]
    pub(super) fn credits(&self) -> &Credits<'a> {
        &self.credits
    }

    #[cfg(feature = "std")]
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Obtains a credit for fragment `n`, which overwrites fragment `victim` and its line's old content.
    #[cold]
    pub(super) fn obtain(&self, n: u64, victim: Option<u64>, claim: &Claim<'_>) -> Result<(), Refused> {
        self.refresh(n, victim);
        // A consumer that has not moved for a while may be dead: ask, more seldom as time goes by.
        let failures = self.credits.failures();
        if failures >= 4 && (failures.is_power_of_two() || failures % 1024 == 0) {
            self.reap_dead(claim);
            self.refresh(n, victim);
        }
        if self.credits.allow(n, victim) || self.evict_until_allowed(n, victim) {
            self.resume();
            return Ok(());
        }
        let held_by = self.credits.held_by();
        let is_new = self.stalled.replace(Some(n)) != Some(n);
        if is_new {
            let stalls = &self.head.credit.stalls;
            stalls.store(stalls.own().wrapping_add(1), Relaxed);
        }
        let shown = held_by.map_or(0, |slot| slot as u64 + 1);
        let word = &self.head.credit.held_by;
        if word.load(Relaxed) != shown {
            word.store(shown, Relaxed);
        }
        Err(Refused { held_by, is_new })
    }

    /// Whether fragment `n` has a credit now. Reads the consumers' progress.
    #[cfg(feature = "std")]
    pub(super) fn has_credit(&self, n: u64, victim: Option<u64>) -> bool {
        self.refresh(n, victim);
        let allowed = self.credits.allow(n, victim);
        if allowed {
            self.resume();
        }
        allowed
    }

    /// Reads the consumers' progress, again after each rise that is not enough: the consumer that was last at the first of
    /// the two reads of a refresh may have gone on at the second, and then no consumer would be named.
    fn refresh(&self, n: u64, victim: Option<u64>) {
        loop {
            pause(timing::spins_before_refresh(self.credits.failures()));
            if !self.credits.refresh(n) || self.credits.allow(n, victim) {
                return;
            }
        }
    }

    /// There is credit again.
    fn resume(&self) {
        if self.stalled.take().is_some() {
            self.head.credit.held_by.store(0, Relaxed);
        }
        #[cfg(feature = "std")]
        self.held.set(None);
    }

    /// No longer counts consumers whose death is proven. True if there were any.
    pub(super) fn reap_dead(&self, claim: &Claim<'_>) -> bool {
        // A consumer on borrowed storage lives.
        #[cfg(feature = "alloc")]
        if let Claim::Owned(claim) = claim {
            let dead = self.credits.reap_dead(|slot| claim.consumer_lives(slot));
            if dead > 0 {
                let reaped = &self.head.lifecycle.reaped;
                reaped.store(reaped.own().wrapping_add(dead), Relaxed);
                return true;
            }
        }
        let _ = claim;
        false
    }

    /// Evicts the consumers that hold fragment `n` back, if they are evictable and have had their time. True if `n` has
    /// credit then.
    #[cfg(feature = "std")]
    fn evict_until_allowed(&self, n: u64, victim: Option<u64>) -> bool {
        // At most once for each slot: also if the words of one change all the time.
        for _ in 0..self.credits.slots() {
            let Some(waited) = self.waited_for_evictable(n) else { return false };
            if waited < self.patience {
                return false;
            }
            if let Some(held) = self.held.take() {
                self.credits.evict(held.state);
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

    /// For how long an evictable consumer has held fragment `n` back; `None` if it is no evictable one that does.
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

    /// How much longer fragment `n` waits for the consumer that holds it back before that is evicted. `None`: it is not
    /// evictable.
    #[cfg(feature = "std")]
    pub(super) fn patience_left(&self, n: u64) -> Option<Duration> {
        self.waited_for_evictable(n).map(|waited| self.patience.saturating_sub(waited))
    }
}
