//! What a consumer says of itself, how it is set, and what happens when it is dropped.

use super::handle::Consumer;
#[cfg(feature = "alloc")]
use super::mode::Attachment;
use super::poll::Reader;
use crate::memory::parts::Ending;
use crate::metrics::MetricsRef;
use crate::ring::line::LineState;
use crate::timing::distance::Pace;

impl<'a> Consumer<'a> {
    /// The sequence number of the next fragment to read.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"one")?;
    /// let expected = rx.next_seq();
    /// assert_eq!(rx.poll()?.unwrap().meta.seq, expected);
    /// assert_eq!(rx.next_seq(), expected.wrapping_add(1)); // numbers wrap around
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn next_seq(&self) -> u64 {
        self.reader().next
    }

    /// Whether the producer waits for this consumer. True for reliable consumers, and for evictable ones,
    /// for which it does not wait forever. False for observers.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// assert!(link.consumer()?.is_reliable());
    /// assert!(!link.observer()?.is_reliable());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn is_reliable(&self) -> bool {
        self.reader().mode.seat().is_some()
    }

    /// Whether nothing more will come: the link was stopped, or its producer was dropped, and this consumer
    /// has read everything that was published.
    ///
    /// A new producer can open the link again, so the answer may be out of date when it arrives. If the
    /// producer has died, this is false: the calls that read return [`TangoError::ProducerGone`](crate::TangoError) instead.
    ///
    /// # Examples
    ///
    /// See [`Consumer::poll`].
    pub fn is_closed(&self) -> bool {
        self.reader().is_closed()
    }

    /// How this consumer trades latency for throughput in a stream of fast fragments. Default: [`Pace::Latency`].
    ///
    /// Both sides want the same cache lines, so the producer is slower while a consumer reads each fragment as soon as
    /// it is there. With [`Pace::Throughput`], each call that reads, [`Consumer::poll`] and [`Consumer::try_recv`] included,
    /// sometimes waits until the producer is some way ahead, for 10 microseconds at most. Fragments that are there wait, too.
    ///
    /// Measured with 64 bytes, one call for each fragment, two threads that do nothing else, in million a second:
    ///
    /// | | latency | throughput |
    /// |---|---|---|
    /// | AMD Zen 4, near cores | 23 | 68 |
    /// | AMD Zen 4, far cores, fragments of 256 bytes | 7 | 28 |
    /// | Intel Sapphire Rapids | 46 to 49 | 47 to 51 |
    /// | Intel Emerald Rapids | 65 | 59 |
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Pace};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?.with_pace(Pace::Throughput));
    /// tx.send(b"soon")?;
    /// assert!(rx.poll()?.is_some());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.reader_mut().pacing.timing.set_pace(pace);
        self
    }

    /// Counts into `metrics` from now on: fragments consumed, and overruns. Takes a `&Metrics` or an `Arc<Metrics>`: see
    /// [`MetricsRef`].
    ///
    /// # Panics
    ///
    /// If seven other consumers count into these metrics.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Metrics};
    ///
    /// let metrics = Metrics::new();
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?.with_metrics(&metrics));
    /// tx.send(b"counted")?;
    /// drop(rx.poll()?);
    /// assert_eq!(metrics.snapshot().consumed, 1);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl Into<MetricsRef<'a>>) -> Self {
        let reader = self.reader_mut();
        reader.metrics =
            Some(metrics.into().consumer().expect("seven consumers count into these Metrics already"));
        reader.update_fast_path();
        self
    }
}

impl Reader<'_> {
    /// See [`Consumer::is_closed`].
    pub(crate) fn is_closed(&self) -> bool {
        if !self.standing.has_joined() && !self.parts.head.is_bound() {
            return self.parts.is_stopped();
        }
        !self.standing.has_missed()
            && self.producer.ending(&self.parts) == Some(Ending::Closed)
            && self.plausible_state(self.parts.ring.line(self.next).state(self.next)) == LineState::NotYet
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        // The consumer of an `Fctl` does not leave its slot, so the producer waits for the next consumer.
        #[cfg(feature = "alloc")]
        if let Attachment::Owned(claim) = &self.attachment {
            // A forked child leaves nothing. It tells nothing either: another thread of the parent may have held a lock of the
            // subscriber during the fork.
            if !claim.is_of_this_process() {
                return;
            }
            if let Some(seat) = self.mode.seat() {
                seat.leave();
            }
        }
        #[cfg(feature = "tracing")]
        self.tell_end();
    }
}

impl core::fmt::Debug for Consumer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.reader().fmt(f)
    }
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Consumer")
            .field("next_seq", &self.next)
            .field("reliable", &self.mode.seat().is_some())
            .finish_non_exhaustive()
    }
}

/// Only for models and tests of other files.
#[cfg(test)]
impl Consumer<'_> {
    /// Whether this reader knows that a producer is dead.
    #[cfg(loom)]
    pub(crate) fn knows_of_death(&self) -> bool {
        self.reader().producer.knows_of_death()
    }

    /// Polls the hot slot from now on, as if this reader had waited.
    #[cfg(loom)]
    pub(crate) fn in_hot_slot(mut self) -> Self {
        let reader = self.reader_mut();
        reader.pacing.enter_hot_slot(reader.next, &reader.mode);
        reader.update_fast_path();
        self
    }

    /// Where this reader polls.
    #[cfg(loom)]
    pub(crate) fn polls(&self) -> &'static str {
        if self.reader().pacing.is_in_hot_slot() { "hot slot" } else { "ring" }
    }

    /// The address of the hot slot that this reader polls.
    #[cfg(all(not(loom), not(miri), not(no_hints), feature = "shm", target_os = "linux"))]
    pub(crate) fn hot_slot_address(&self) -> usize {
        self.reader().pacing.hot.address()
    }
}
