//! What a producer does without credits: refuse, look who is in the way, wait.
//!
//! ```text
//!   no credit ---> refresh ---> still none ---> is somebody dead? ---> is somebody to be evicted? ---> NoCredits
//!                                                     in between, for who waits: spin, yield, sleep
//! ```

#[cfg(feature = "alloc")]
use super::Claim;
use super::Producer;
use crate::error::TangoError;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::{Own, Relaxed};
use crate::waiting::wait::{Due, Waiting};
#[cfg(feature = "std")]
use crate::{ring::region::granules, waiting::eventcount};
#[cfg(feature = "std")]
use core::time::Duration;
#[cfg(feature = "std")]
use std::time::Instant;

/// Default of [`Producer::with_patience`].
#[cfg(feature = "std")]
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

impl Producer<'_> {
    /// [`Producer::publish_blocking`] with an end to the waiting: it takes no longer than `timeout`, or a little.
    ///
    /// # Errors
    /// [`TangoError::NoCredits`] if there are none when the time is up, with the slot of who holds the producer
    /// back; otherwise as [`Producer::publish_blocking`]. In each case nothing was published.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(2).mtu(64).build()?;
    /// let (tx, _slow) = (link.producer()?, link.consumer()?);
    /// tx.send(b"one")?;
    /// tx.send(b"two")?;
    /// let late = tx.publish_timeout(b"three", 0, 0, 0, Duration::from_millis(5));
    /// assert_eq!(late, Err(TangoError::NoCredits { held_by: Some(0) }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "std")]
    pub fn publish_timeout(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
        timeout: Duration,
    ) -> Result<FragmentMetadata, TangoError> {
        match self.publish(payload, sig, ctl, ts) {
            Err(TangoError::NoCredits { .. }) => {
                self.publish_until_over(payload, sig, ctl, ts, Waiting::until(self.wait, Some(timeout)))
            }
            done => done,
        }
    }

    /// Refreshes the credits; an error if fragment `n`, which kills `victim`, still has none.
    #[cold]
    pub(super) fn await_credit(&self, n: u64, victim: Option<u64>) -> Result<(), TangoError> {
        self.refresh(n, victim);
        // A consumer that has not moved for a while may be dead: ask, more seldom as time goes by.
        let failures = self.credits.failures();
        if failures >= 4 && (failures.is_power_of_two() || failures % 1024 == 0) {
            self.reap_dead();
            self.refresh(n, victim);
        }
        if self.credits.allow(n, victim) || self.evict_until_allowed(n, victim) {
            self.resume();
            return Ok(());
        }
        let held_by = self.credits.held_by();
        if self.stalled.get() != Some(n) {
            self.stalled.set(Some(n));
            let stalls = &self.parts.head.credit.stalls;
            stalls.store(stalls.own().wrapping_add(1), Relaxed);
            if let Some(metrics) = self.followers.as_ref().and_then(|followers| followers.metrics.as_ref()) {
                metrics.event();
            }
        }
        let shown = held_by.map_or(0, |slot| slot as u64 + 1);
        let held_by_word = &self.parts.head.credit.held_by;
        if held_by_word.load(Relaxed) != shown {
            held_by_word.store(shown, Relaxed);
        }
        Err(TangoError::NoCredits { held_by })
    }

    /// Refreshes the credits, again after each rise that is not enough: whoever was in the way at the first of
    /// the two looks of a refresh may have gone on at the second, and then nobody would be named.
    fn refresh(&self, n: u64, victim: Option<u64>) {
        while self.credits.refresh(n) && !self.credits.allow(n, victim) {}
        self.set_limit();
        self.heed_consumers();
    }

    /// There is credit again.
    fn resume(&self) {
        if self.stalled.take().is_some() {
            self.parts.head.credit.held_by.store(0, Relaxed);
        }
        #[cfg(feature = "std")]
        self.held_since.set(None);
    }

    /// Evicts the consumers that stand in the way of fragment `n`, if they are evictable and patience with
    /// them is at its end. True if `n` has credit then.
    #[cfg(feature = "std")]
    fn evict_until_allowed(&self, n: u64, victim: Option<u64>) -> bool {
        // At most once for each slot: also if the words of one change all the time.
        for _ in 0..self.credits.slots() {
            let Some(waited) = self.waited_for_evictable() else { return false };
            if waited < self.patience {
                return false;
            }
            if let Some((_, state, ..)) = self.held_since.take() {
                self.credits.evict(state);
            }
            let evicted = &self.parts.head.lifecycle.evicted;
            evicted.store(evicted.own().wrapping_add(1), Relaxed);
            self.refresh(n, victim);
            if self.credits.allow(n, victim) {
                return true;
            }
        }
        false
    }

    /// For how long the evictable consumer that holds the producer back has done so; `None` if it is none.
    #[cfg(feature = "std")]
    fn waited_for_evictable(&self) -> Option<Duration> {
        let holder = self.credits.held_by_evictable().zip(self.credits.held_by());
        let Some((state, slot)) = holder else {
            self.held_since.set(None);
            return None;
        };
        match self.held_since.get() {
            Some((held_by, known, next, since))
                if (held_by, known, next) == (slot, state, self.next.get()) =>
            {
                Some(since.elapsed())
            }
            _ => {
                self.held_since.set(Some((slot, state, self.next.get(), Instant::now())));
                Some(Duration::ZERO)
            }
        }
    }

    #[cfg(not(feature = "std"))]
    fn evict_until_allowed(&self, _n: u64, _victim: Option<u64>) -> bool {
        false
    }

    /// Stops waiting for consumers whose death is proven.
    pub(super) fn reap_dead(&self) {
        #[cfg(feature = "alloc")]
        if let Claim::Owned(claim) = &self.claim {
            let dead = self.credits.reap_dead(|slot| claim.consumer_lives(slot));
            if dead > 0 {
                let reaped = &self.parts.head.lifecycle.reaped;
                reaped.store(reaped.own().wrapping_add(dead), Relaxed);
                self.heed_consumers();
            }
        }
    }

    #[cold]
    pub(super) fn publish_waiting(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        self.publish_until_over(payload, sig, ctl, ts, Waiting::new(self.wait))
    }

    /// Tries again and again; `NoCredits` when the wait is over.
    #[cold]
    fn publish_until_over(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
        mut waiting: Waiting,
    ) -> Result<FragmentMetadata, TangoError> {
        loop {
            if self.parts.is_stopped() {
                return Err(TangoError::Closed);
            }
            match waiting.pause() {
                Due::Look | Due::Question => {}
                #[cfg(feature = "std")]
                Due::Sleep => self.sleep_for_credit(payload.len(), &mut waiting),
            }
            match self.publish(payload, sig, ctl, ts) {
                Err(TangoError::NoCredits { .. }) if !waiting.is_over() => {}
                done => return done,
            }
        }
    }

    /// Sleeps until the consumer that holds the producer back gives something up; at most for a slice.
    #[cfg(feature = "std")]
    fn sleep_for_credit(&self, size: usize, waiting: &mut Waiting) {
        let held_by = self.credits.held_by();
        let slept = held_by.and_then(|slot| self.credits.eventcount(slot)).is_some_and(|eventcount| {
            let longest = match self.waited_for_evictable() {
                Some(waited) => self.patience.saturating_sub(waited),
                None => eventcount::SLICE,
            };
            self.parts.head.eventcount.sleep_on(eventcount, longest.min(waiting.longest_sleep()), || {
                // Somebody else may be the last now.
                self.has_credit(size) || self.credits.held_by() != held_by || self.parts.is_stopped()
            })
        });
        let is_due = if slept { !self.has_credit(size) } else { waiting.nap() };
        if is_due {
            self.reap_dead();
        }
    }

    /// Whether a payload of `size` bytes could be published now.
    #[cfg(feature = "std")]
    fn has_credit(&self, size: usize) -> bool {
        let n = self.next.get();
        let victim = (size > self.in_slot)
            .then(|| self.placement.spot(granules(size)))
            .and_then(|spot| self.placement.victim(&spot, n, self.parts.ring.depth()));
        self.refresh(n, victim);
        let allowed = self.credits.allow(n, victim);
        if allowed {
            self.resume();
        }
        allowed
    }

    #[cfg(feature = "std")]
    pub(super) fn wait_until(&self, timeout: Option<Duration>, done: impl Fn() -> bool) -> bool {
        let mut waiting = Waiting::until(self.wait, timeout);
        loop {
            if done() {
                return true;
            }
            if self.parts.is_stopped() || waiting.is_over() {
                return done();
            }
            match waiting.pause() {
                Due::Look => {}
                Due::Question => self.reap_dead(),
                Due::Sleep if waiting.nap() => self.reap_dead(),
                Due::Sleep => {}
            }
        }
    }
}
