//! What a producer says of itself, how it is set, and what happens when it is dropped.

use super::publish::{Producer, Reports};
use crate::events::emit;
use crate::memory::cnc::CncState;
use crate::metrics::MetricsRef;
use crate::ring::seq;
use crate::sync::AtomicU64;

impl<'a> Producer<'a> {
    /// The sequence number of the next fragment.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// let next = tx.next_seq();
    /// assert_eq!(tx.publish(b"one", 0, 0, 0)?.seq, next);
    /// assert_eq!(tx.next_seq(), next.wrapping_add(1)); // numbers wrap around
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn next_seq(&self) -> u64 {
        self.next.get()
    }

    /// The largest payload of one fragment, in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// assert_eq!(tx.mtu(), 64);
    /// assert_eq!(tx.send(&[0; 65]), Err(TangoError::TooLarge { size: 65, max: 64 }));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn mtu(&self) -> usize {
        self.parts.mtu
    }

    /// Whether the link was stopped: by `Link::stop` or `tango rm --force` in any thread or process, or by
    /// [`MCache::stop`](crate::MCache::stop). True in a forked child if the link is in shared memory.
    ///
    /// Once this is true, it stays true, and each call that publishes returns
    /// [`TangoError::Closed`](crate::TangoError::Closed). If it is false, another thread or process may stop the
    /// link before the caller uses the answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// assert!(!tx.is_stopped());
    /// link.stop()?;
    /// assert!(tx.is_stopped());
    /// assert_eq!(tx.publish(b"too late", 0, 0, 0), Err(TangoError::Closed));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn is_stopped(&self) -> bool {
        self.parts.is_stopped()
    }

    /// How many reliable and evictable consumers are attached and alive now.
    ///
    /// Consumers can attach and leave at any time, so the answer may be out of date when it arrives. The
    /// call checks each consumer, which takes a system call for each in shared memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).consumers(2).build()?;
    /// let (tx, rx) = (link.producer()?, link.consumer()?);
    /// let _observer = link.observer()?; // does not count
    /// assert_eq!(tx.consumers(), 1);
    /// drop(rx);
    /// assert_eq!(tx.consumers(), 0);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn consumers(&self) -> usize {
        self.reap_dead();
        self.attached().count()
    }

    /// The slot of the consumer that held the producer back when it last read the consumers' progress.
    /// `None` if no consumer did, and while an [`Fctl`](crate::Fctl) has no consumer: then the producer waits
    /// for one to attach.
    ///
    /// The consumer may have moved on since then, so the answer may be out of date.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(2).mtu(64).build()?;
    /// let (tx, _slow) = (link.producer()?, link.consumer()?);
    /// while tx.publish(b"tick", 0, 0, 0).is_ok() {}
    /// assert_eq!(tx.held_by(), Some(0));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn held_by(&self) -> Option<usize> {
        self.backpressure.credits().held_by().filter(|_| self.claim.may_have_consumers())
    }

    /// Whether every attached reliable or evictable consumer has finished with everything that was
    /// published. True if there is none. Observers do not count.
    ///
    /// If a consumer has not finished, the call checks whether the consumers live, as
    /// [`Producer::consumers`] does. A consumer may attach at any time, so the answer may be out of date
    /// when it arrives.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"tick")?;
    /// assert!(!tx.is_drained());
    /// drop(rx.poll()?);
    /// assert!(tx.is_drained());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn is_drained(&self) -> bool {
        self.seems_drained() || {
            self.reap_dead();
            self.seems_drained()
        }
    }

    /// [`Self::is_drained`], except that dead consumers may still count.
    pub(crate) fn seems_drained(&self) -> bool {
        self.attached().all(|(_, next)| !seq::is_before(next, self.next.get()))
    }

    /// The consumers that are attached now, and may be dead: the index of the slot, and the consumer's `next`.
    pub(super) fn attached(&self) -> impl Iterator<Item = (usize, u64)> {
        self.backpressure.credits().attached().filter(|_| self.claim.may_have_consumers())
    }

    /// Counts into `metrics` from now on: fragments published, and fragments that had to wait for credits. Takes a
    /// `&Metrics` or an `Arc<Metrics>`: see [`MetricsRef`].
    ///
    /// # Panics
    ///
    /// If another producer counts into these metrics.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Metrics};
    ///
    /// let metrics = Metrics::new();
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?.with_metrics(&metrics);
    /// tx.send(b"counted")?;
    /// assert_eq!(metrics.snapshot().published, 1);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl Into<MetricsRef<'a>>) -> Self {
        let counter = metrics.into().producer().expect("another producer counts into these Metrics");
        self.reports.get_or_insert_default().metrics = Some(counter);
        self.update_plain();
        self
    }

    /// Stores `now` as the producer's heartbeat, for people and monitoring ([`LinkStatus::heartbeat`]).
    /// Choose a clock and a unit that they know. The library decides nothing by it.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// tx.beat(1_700_000_000); // seconds since 1970, for example
    /// assert_eq!(link.status().heartbeat, 1_700_000_000);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    ///
    /// [`LinkStatus::heartbeat`]: crate::LinkStatus::heartbeat
    pub fn beat(&self, now: u64) {
        self.parts.head.lifecycle.cnc.beat(now);
    }

    /// From now on, keeps these words of the borrowed API up to date with each publish.
    pub(crate) fn reporting_to(mut self, fseq: &'a AtomicU64, fctl: Option<&'a AtomicU64>) -> Self {
        self.reports = Some(Reports { fseq: Some(fseq), fctl, metrics: None });
        self.update_plain();
        let next = self.next.get();
        self.advance(next.wrapping_sub(1), 0);
        self
    }

    /// Every fragment before this one may be overwritten.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest.get()
    }
}

/// Whether this thread unwinds because of a panic.
pub(super) fn is_panicking() -> bool {
    #[cfg(feature = "std")]
    return std::thread::panicking();
    #[cfg(not(feature = "std"))]
    false
}

/// Only for models.
#[cfg(all(loom, test))]
impl Producer<'_> {
    /// Retires this many fragments more than needed. The rings of models are too small for any.
    pub(crate) fn retiring_ahead(mut self, fragments: u64) -> Self {
        self.retire_ahead = fragments;
        self
    }

    /// From now on, mirrors fragments into the hot slot, or announces them.
    pub(crate) fn mirrors(&self, mirrors: bool) {
        self.hot_slot.mirrors_from_now_on(mirrors);
        self.update_plain();
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        if !self.claim.is_of_this_process() {
            return;
        }
        // A panic may have come between two fragments that belong together. Readers should know. A producer that
        // was made while its thread unwound is dropped in good order by the same code that has made it.
        let panics = is_panicking() && !self.made_in_panic;
        // A reader that finds the end also finds what was published before: `Cnc` orders it, and
        // `Parts::ending` checks it.
        self.parts.head.lifecycle.cnc.set_state(if panics { CncState::Fail } else { CncState::Halt });
        self.parts.head.eventcount.notify();
        emit!(producer_detached(self.claim.link_name(), self.next.get(), panics));
    }
}

impl core::fmt::Debug for Producer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer")
            .field("next_seq", &self.next.get())
            .field("limit", &self.limit.get())
            .field("mtu", &self.parts.mtu)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use crate::Link;

    #[test]
    fn consumers_are_counted_and_each_has_to_drain_the_link() {
        let link = Link::builder().depth(8).mtu(64).consumers(3).build().unwrap();
        let tx = link.producer().unwrap();
        assert!(tx.consumers() == 0 && tx.is_drained());
        let (_observer, mut one) = (link.observer().unwrap(), link.consumer().unwrap());
        let mut other = link.consumer().unwrap();
        assert_eq!((tx.consumers(), tx.attached().count()), (2, 2));
        assert!(tx.attached().eq([0, 1].map(|slot| (slot, tx.next_seq()))));
        for _ in 0..3 {
            tx.publish(b"for both", 0, 0, 0).unwrap();
            assert!(!tx.is_drained());
            drop(one.poll().unwrap().unwrap());
            assert!(!tx.is_drained());
            drop(other.poll().unwrap().unwrap());
            assert!(tx.is_drained());
        }
        drop(one);
        assert!(tx.attached().eq([(1, tx.next_seq())]));
        tx.publish(b"for one", 0, 0, 0).unwrap();
        assert!(!tx.is_drained());
        drop(other);
        assert!(tx.consumers() == 0 && tx.is_drained());
    }
}
