//! Calls of the producer that wait: for credits, for consumers, for the end of all reading.

use super::publish::Producer;
use crate::error::TangoError;
use crate::ring::metadata::FragmentMetadata;
#[cfg(feature = "std")]
use crate::waiting::eventcount;
use crate::waiting::wait::{Due, Wait, Waiting};
#[cfg(feature = "std")]
use core::time::Duration;

impl Producer<'_> {
    /// Publishes a payload; where credits are missing, waits until they are back.
    ///
    /// **Deadlock:** it waits for ever if this thread itself holds a fragment of the same link, or
    /// otherwise keeps a consumer from going on.
    ///
    /// # Errors
    /// [`TangoError::TooLarge`] over the MTU; [`TangoError::Closed`] if credits are missing and the link
    /// is stopped. In both cases nothing was published.
    #[inline]
    pub fn publish_blocking(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        match self.publish(payload, sig, ctl, ts) {
            Err(TangoError::NoCredits { .. }) => self.publish_waiting(payload, sig, ctl, ts),
            done => done,
        }
    }

    /// Publishes a payload for readers that need no metadata: `sig`, `ctl` and `ts` are 0. Waits for
    /// credits like [`Producer::publish_blocking`].
    ///
    /// # Errors
    /// As [`Producer::publish_blocking`].
    #[inline]
    pub fn send(&self, payload: &[u8]) -> Result<(), TangoError> {
        self.publish_blocking(payload, 0, 0, 0).map(|_| ())
    }

    /// [`Producer::publish_blocking`] that waits for no longer than `timeout`, or a little more.
    ///
    /// # Errors
    /// [`TangoError::NoCredits`] if there are none when the time is up, with the slot of the consumer that holds the
    /// producer back; otherwise as [`Producer::publish_blocking`]. In each case nothing was published.
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

    #[cold]
    fn publish_waiting(
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
        let credits = self.backpressure.credits();
        let held_by = credits.held_by();
        let slept = held_by.and_then(|slot| credits.eventcount(slot)).is_some_and(|consumer| {
            let longest = self.backpressure.patience_left(self.next.get()).unwrap_or(eventcount::SLICE);
            self.parts.head.eventcount.sleep_on(consumer, longest.min(waiting.longest_sleep()), || {
                // Another consumer may be the last now.
                self.has_credit(size) || credits.held_by() != held_by || self.parts.is_stopped()
            })
        });
        let is_due = if slept { !self.has_credit(size) } else { waiting.nap() };
        if is_due {
            self.reap_dead();
        }
    }

    /// How blocking calls wait from now on.
    #[must_use]
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// How long an evictable consumer ([`Link::evictable_consumer`]) may hold publishing up before it is evicted.
    /// Default: one second. The time counts from the first call that had no credit because of it, and begins anew
    /// with each fragment that is published. It ends only inside a call: the caller has to try again, or to block.
    ///
    /// [`Link::evictable_consumer`]: crate::Link::evictable_consumer
    #[cfg(feature = "std")]
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.backpressure.set_patience(patience);
        self
    }

    /// Waits until at least `consumers` reliable consumers are attached and live, so that early fragments are not
    /// lost to them. False if the link was stopped, or `timeout` has passed, before that.
    #[cfg(feature = "std")]
    pub fn wait_for_consumers(&self, consumers: usize, timeout: Option<Duration>) -> bool {
        self.wait_until(timeout, || {
            self.backpressure.credits().attached().count() >= consumers && self.consumers() >= consumers
        })
    }

    /// Waits until [`Producer::is_drained`]. False if the link was stopped, or `timeout` has passed,
    /// before that.
    ///
    /// **Deadlock:** as [`Producer::publish_blocking`].
    #[cfg(feature = "std")]
    pub fn wait_until_drained(&self, timeout: Option<Duration>) -> bool {
        self.wait_until(timeout, || self.seems_drained()) || self.is_drained()
    }

    #[cfg(feature = "std")]
    fn wait_until(&self, timeout: Option<Duration>, done: impl Fn() -> bool) -> bool {
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
