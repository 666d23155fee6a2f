//! Calls of the producer that wait: for credits, for consumers, until the link is drained.

use super::meta::Meta;
use super::publish::Producer;
use crate::error::TangoError;
use crate::ring::metadata::FragmentMetadata;
#[cfg(feature = "std")]
use crate::waiting::eventcount;
use crate::waiting::wait::{Due, Wait, Waiting};
#[cfg(feature = "std")]
use core::time::Duration;

impl Producer<'_> {
    /// Publishes a payload. Waits while there is no credit, as [`Producer::with_wait`] says.
    ///
    /// `sig`, `ctl` and `ts` travel with the payload unchanged: see the table on [`FragmentMetadata`].
    /// Returns the metadata of the fragment, with its sequence number.
    ///
    /// # Errors
    ///
    /// - [`TangoError::Closed`]: the link was stopped, before the call or while it waited for a credit.
    /// - [`TangoError::TooLarge`]: the payload is longer than [`Producer::mtu`].
    ///
    /// In both cases nothing was published.
    ///
    /// # Deadlocks
    ///
    /// It waits forever if this thread holds a [`Fragment`](crate::Fragment) or [`Batch`](crate::Batch) of
    /// the same link, or is the thread that should read it. Two links whose producers wait for each other's
    /// consumers also deadlock.
    ///
    /// # Examples
    ///
    /// See [`Producer::send`].
    #[inline]
    pub fn publish_blocking(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        match self.publish(payload, sig, ctl, ts) {
            Err(TangoError::NoCredits) => self.publish_waiting(payload, sig, ctl, ts),
            done => done,
        }
    }

    /// [`Producer::publish_blocking`] with the metadata by name.
    ///
    /// # Errors
    ///
    /// See [`Producer::publish_blocking`].
    ///
    /// # Deadlocks
    ///
    /// See [`Producer::publish_blocking`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Meta};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// let meta = tx.publish_blocking_with(b"bid 101.25", Meta::new().sig(7))?;
    /// assert_eq!(meta.sig, 7);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn publish_blocking_with(&self, payload: &[u8], meta: Meta) -> Result<FragmentMetadata, TangoError> {
        self.publish_blocking(payload, meta.sig, meta.ctl, meta.ts)
    }

    /// Publishes a payload with `sig`, `ctl` and `ts` 0. Waits for credits like
    /// [`Producer::publish_blocking`].
    ///
    /// # Errors
    ///
    /// See [`Producer::publish_blocking`].
    ///
    /// # Deadlocks
    ///
    /// See [`Producer::publish_blocking`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    ///
    /// let reader = std::thread::spawn(move || -> Result<usize, TangoError> {
    ///     let mut count = 0;
    ///     // A producer that dies is an error. `None`: the link is closed and drained.
    ///     while let Some(fragment) = rx.wait()? {
    ///         count += fragment.payload.len();
    ///     }
    ///     Ok(count)
    /// });
    /// for n in 0..100_u64 {
    ///     tx.send(&n.to_ne_bytes())?; // waits for the reader when the ring is full
    /// }
    /// drop(tx); // closes the link
    /// assert_eq!(reader.join().unwrap()?, 800);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn send(&self, payload: &[u8]) -> Result<(), TangoError> {
        self.publish_blocking(payload, 0, 0, 0).map(|_| ())
    }

    /// [`Producer::publish_blocking`] that waits for `timeout` at most, or a little longer.
    ///
    /// # Errors
    ///
    /// - [`TangoError::NoCredits`]: there was no credit until the time was up. [`Producer::held_by`] names
    ///   the slot of the consumer that holds the producer back.
    /// - For the others see [`Producer::publish_blocking`].
    ///
    /// In each case nothing was published.
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
    /// assert_eq!((late, tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
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
            Err(TangoError::NoCredits) => {
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

    /// Tries again until the payload is published, the link is stopped, or the wait is over. Returns
    /// `NoCredits` in the third case.
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
            match waiting.pause() {
                Due::Look | Due::Question => {}
                #[cfg(feature = "std")]
                Due::Sleep => self.sleep_for_credit(payload.len(), &waiting),
            }
            match self.publish(payload, sig, ctl, ts) {
                Err(TangoError::NoCredits) if !waiting.is_over() => {}
                done => return done,
            }
        }
    }

    /// Sleeps until the consumer that holds the producer back returns credits, and for a slice at most.
    #[cfg(feature = "std")]
    pub(super) fn sleep_for_credit(&self, size: usize, waiting: &Waiting) {
        let credits = self.backpressure.credits();
        let held_by = credits.held_by();
        let slept = held_by.and_then(|slot| credits.eventcount(slot)).is_some_and(|consumer| {
            let longest = self.backpressure.patience_left(self.next.get()).unwrap_or(eventcount::SLICE);
            self.parts.head.eventcount.sleep_on(consumer, longest.min(waiting.longest_sleep()), || {
                // Another consumer may be the slowest now.
                self.has_credit(size) || credits.held_by() != held_by || self.parts.is_stopped()
            })
        });
        let is_due = if slept { !self.has_credit(size) } else { self.nap(waiting) };
        if is_due {
            self.reap_dead();
        }
    }

    #[cfg(feature = "std")]
    fn nap(&self, waiting: &Waiting) -> bool {
        let mut naps = self.naps.get();
        let is_due = naps.nap(self.next.get(), waiting);
        self.naps.set(naps);
        is_due
    }

    /// Sets how blocking calls wait: see [`Wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Wait};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?.with_wait(Wait::Spin);
    /// tx.send(b"never sleeps")?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use]
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Sets how long an evictable consumer ([`Link::evictable_consumer`]) may hold the producer back before
    /// it is evicted. Default: one second.
    ///
    /// The time counts from the first call that had no credit because of this consumer. It starts again
    /// with each fragment that is published. A consumer is evicted only inside a call that publishes: the
    /// caller has to try again, or to block.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::{Link, Start, TangoError};
    ///
    /// let link = Link::builder().depth(2).mtu(64).build()?;
    /// let tx = link.producer()?.with_patience(Duration::from_millis(5));
    /// let mut slow = link.evictable_consumer(Start::Next)?;
    /// for n in 0..3_u64 {
    ///     tx.send(&n.to_ne_bytes())?; // the third waits for 5 ms, and then evicts the consumer
    /// }
    /// assert!(matches!(slow.poll(), Err(TangoError::Evicted { .. })));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    ///
    /// [`Link::evictable_consumer`]: crate::Link::evictable_consumer
    #[cfg(feature = "std")]
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.backpressure.set_patience(patience);
        self
    }

    /// Waits until at least `consumers` reliable consumers are attached and alive, so that they lose no
    /// early fragments. Evictable consumers count, observers do not. `None` waits without a limit.
    ///
    /// False: the link was stopped, or `timeout` has passed, before that. Also false, at once, if the link has
    /// fewer slots than `consumers` ([`Geometry::consumers`](crate::Geometry)): they can never come. (An
    /// [`Fctl`](crate::Fctl) is one slot; without flow control there is none.) A consumer may leave at any time, so
    /// the answer may be out of date when it arrives.
    ///
    /// # Deadlocks
    ///
    /// It waits forever, without a `timeout`, if this thread is the one that should attach the consumers.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// let reader = std::thread::spawn({
    ///     let link = link.clone();
    ///     move || link.consumer().map(drop)
    /// });
    /// if !tx.wait_for_consumers(1, Some(Duration::from_millis(100))) {
    ///     println!("no consumer has come"); // or it has left again
    /// }
    /// reader.join().unwrap()?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(feature = "std")]
    pub fn wait_for_consumers(&self, consumers: usize, timeout: Option<Duration>) -> bool {
        self.may_have_consumers(consumers) && self.wait_until(timeout, || self.has_consumers(consumers))
    }

    /// Whether the link has so many slots.
    #[cfg(feature = "std")]
    pub(crate) fn may_have_consumers(&self, consumers: usize) -> bool {
        consumers <= self.backpressure.credits().slots()
    }

    /// Whether so many reliable consumers are attached and alive.
    #[cfg(feature = "std")]
    pub(crate) fn has_consumers(&self, consumers: usize) -> bool {
        self.attached().count() >= consumers && self.consumers() >= consumers
    }

    /// Waits until [`Producer::is_drained`]. `None` waits without a limit.
    ///
    /// False: the link was stopped, or `timeout` has passed, before that.
    ///
    /// # Deadlocks
    ///
    /// See [`Producer::publish_blocking`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let reader = std::thread::spawn(move || rx.for_each(|_, payload| println!("{payload:?}")));
    /// tx.send(b"the last one")?;
    /// assert!(tx.wait_until_drained(None));
    /// drop(tx); // closes the link, so that the reader ends
    /// reader.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
                Due::Sleep if self.nap(&waiting) => self.reap_dead(),
                Due::Sleep => {}
            }
        }
    }
}
