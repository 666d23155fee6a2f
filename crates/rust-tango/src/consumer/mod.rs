//! [`Consumer`]: reads every fragment in place, or whatever it can by copy.
//!
//! One type reads in three modes, chosen when it is made:
//!
//! - *reliable*: it holds credits, so the producer waits for it, and what it hands out is a slice of
//!   the ring itself (of a small fragment that it has waited for, a copy: see [`hot_slot`](crate::ring::hot_slot)). It
//!   finishes with a fragment when the [`Payload`](crate::Payload) is dropped.
//! - *observing*: the producer does not know of it and laps it. It copies, validates the copy, and
//!   hands that out.
//! - *evictable*: the producer waits for it, but not for ever. So it reads like an observer, and gives
//!   its credit back with the copy.

pub(crate) mod batch;
mod life;
mod mode;
mod pace;
pub(crate) mod payload;
mod steps;

#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use life::Watch;
#[cfg(feature = "alloc")]
pub(crate) use mode::ConsumerClaim;
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use mode::Question;
pub(crate) use mode::{Attachment, Mode};
pub(crate) use steps::Next;

use self::pace::Pace;
use crate::consumer::payload::Fragment;
use crate::error::TangoError;
use crate::memory::parts::{Ending, Parts};
use crate::metrics::{Counter, Metrics};
use crate::ring::hot_slot::{HotCopy, HotSlot};
use crate::ring::line::LineState;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::intact;
use crate::waiting::wait::{Wait, Waiting};

/// Where a consumer that joins begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the next fragment that is published.
    #[default]
    Next,
    /// With the oldest fragment that is still there.
    Oldest,
    /// With this sequence number: if it is gone already, the first read says how many were lost; if it
    /// is yet to come, what is published before it is not read.
    At(u64),
}

/// Reads the fragments of a link, in order.
///
/// A fragment is borrowed from its consumer, so it has to go before the next one comes:
///
/// ```compile_fail,E0499
/// # use rust_tango::*;
/// # let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
/// let mut consumer = Consumer::new(&mcache, &dcache, 1);
/// let first = consumer.poll().unwrap();
/// let second = consumer.poll().unwrap(); // `first` still borrows `consumer`
/// drop(first);
/// ```
///
/// and its bytes do not outlive it, because with it goes the credit:
///
/// ```compile_fail,E0597
/// # use rust_tango::*;
/// # let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
/// let mut consumer = Consumer::new(&mcache, &dcache, 1);
/// let bytes = {
///     let fragment = consumer.poll().unwrap().unwrap();
///     fragment.payload.as_slice() // borrowed from `fragment`, which ends here
/// };
/// println!("{bytes:?}");
/// ```
pub struct Consumer<'a> {
    /// The fragment that is read next.
    pub(crate) next: u64,
    pub(crate) pace: Pace,
    /// Where it looks for the next fragment if it follows: [`Consumer::where_shown`].
    shown: &'a HotSlot,
    copied: HotCopy,
    /// The lines were prepared, and the place in them has been settled.
    joined: bool,
    /// A fragment that is there may be taken without further questions.
    ready: bool,
    /// A fragment before this may even be taken with nothing but a look at its line: see [`Consumer::plain`].
    plain_until: u64,
    /// What was gone before this consumer had joined, or joined again: reported by the next look.
    missed: u64,
    /// It was gone because this consumer had been evicted.
    missed_evicted: bool,
    pub(crate) parts: Parts<'a>,
    pub(crate) mode: Mode<'a>,
    /// Overruns in a row, each soon after the one before: 2 if more, or [`life::ASTRAY`]. And where the last one made
    /// reading go on.
    streak: u32,
    resumed_at: u64,
    /// The fragments that overruns have sent it past.
    skipped: u64,
    /// The incarnation of the producer that is proven dead. A later one has another.
    dead_producer: Option<u64>,
    /// The takeovers that this reader has been told of, or that were before its time.
    takeovers: u64,
    /// The evictions that this reader has taken notice of.
    evictions: u64,
    wait: Wait,
    metrics: Option<Counter<'a>>,
    /// Last, so that it is dropped last: it may own the memory that everything above is a view of.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))] // held for its drop
    attachment: Attachment<'a>,
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        // The consumer of an `Fctl` stays on record, so that the producer goes on to wait for the next.
        #[cfg(feature = "alloc")]
        if let (Some(seat), Attachment::Owned(claim)) = (self.mode.seat(), &self.attachment) {
            if claim.is_of_this_process() {
                seat.leave();
            }
        }
    }
}

impl core::fmt::Debug for Consumer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Consumer")
            .field("next_seq", &self.next)
            .field("reliable", &self.is_reliable())
            .finish_non_exhaustive()
    }
}

/// Reading.
impl<'a> Consumer<'a> {
    /// The next fragment, if it is there. Never blocks. (In a stream of fragments that come fast, it may spin for some
    /// microseconds now and then, so that the producer gets ahead: both are faster so.)
    ///
    /// `Ok(None)` says that there is nothing yet, or nothing any more: [`Consumer::is_closed`] tells.
    ///
    /// # Errors
    /// [`TangoError::Overrun`] when the producer has lapped this reader, [`TangoError::Evicted`] when it did
    /// so after having waited; [`TangoError::Corrupt`] when a fragment's metadata points outside of the link:
    /// these have been stepped over, call again. [`TangoError::ProducerGone`] when the producer has died and
    /// all that it published has been read; [`TangoError::ProducerReplaced`], once, when another one has come
    /// after that.
    #[inline(always)] // from memory, the result would take as long as the rest
    pub fn poll(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        if let Some((line, meta)) = self.plain() {
            return Ok(Some(self.take_plain(line, meta)));
        }
        match self.look()? {
            Next::Fragment(line) => self.take(line),
            Next::Nothing | Next::Closed => Ok(None),
        }
    }

    /// [`Consumer::poll`], but only fragments whose `sig` is accepted: the others are finished with
    /// before anything else of them is read. At most as many as the link is deep are skipped in one
    /// call; then, or when there are no more, the result is `Ok(None)`.
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub fn poll_if(
        &mut self,
        mut accept: impl FnMut(u64) -> bool,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        for _ in 0..self.parts.ring.depth() {
            let Next::Fragment(line) = self.look()? else { return Ok(None) };
            let sig = line.sig();
            if self.mode.scratch().is_some() && intact("filter.is_valid") && !self.parts.is_valid(self.next) {
                return Err(self.overrun());
            }
            if accept(sig) {
                return self.take(line);
            }
            self.consumed(self.next.wrapping_add(1));
            if let Some(seat) = self.mode.seat() {
                seat.release(self.next);
            }
        }
        Ok(None)
    }

    /// The next fragment; waits until there is one. `Ok(None)`: the link is closed and drained.
    ///
    /// # Errors
    /// As [`Consumer::poll`]. While the producer is gone, it does not wait: call
    /// `wait_for_producer` instead of this again.
    pub fn wait(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        self.wait_until_over(Waiting::new(self.wait))
    }

    /// [`Consumer::wait`] for at most `timeout`. `Ok(None)`: nothing came, or the link is closed
    /// ([`Consumer::is_closed`] tells).
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    #[cfg(feature = "std")]
    pub fn wait_timeout(
        &mut self,
        timeout: core::time::Duration,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        self.wait_until_over(Waiting::until(self.wait, Some(timeout)))
    }

    /// Calls `each` with every fragment, in place, until the link is closed and drained.
    ///
    /// # Errors
    /// As [`Consumer::poll`]; call again to go on (behind [`TangoError::ProducerGone`], when there is another
    /// producer).
    pub fn for_each(&mut self, mut each: impl FnMut(&FragmentMetadata, &[u8])) -> Result<(), TangoError> {
        while let Some(fragment) = self.wait()? {
            each(&fragment.meta, fragment.payload.as_slice());
        }
        Ok(())
    }

    /// The sequence number that is read next.
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// Whether the producer waits for this consumer (if it is evictable: not for ever).
    pub fn is_reliable(&self) -> bool {
        self.mode.seat().is_some()
    }

    /// Whether nothing more will come: the link was stopped, or its producer has closed it, and everything
    /// that was published has been read. A new producer can open the link again. That the producer has died
    /// is not this: it is an error of the calls that read ([`TangoError::ProducerGone`]).
    pub fn is_closed(&self) -> bool {
        if !self.joined && !self.parts.head.is_bound() {
            return self.parts.is_stopped();
        }
        self.missed == 0
            && self.ending() == Some(Ending::Closed)
            && (self.believable(self.parts.ring.line(self.next).state(self.next)) == LineState::NotYet
                || !intact("consumer.closed"))
    }

    /// Waits until the link has a producer again, behind [`TangoError::ProducerGone`]. False if the link was
    /// closed or stopped, or `timeout` has passed, before that. Looks every ten milliseconds at the latest.
    #[cfg(feature = "std")]
    pub fn wait_for_producer(&mut self, timeout: Option<core::time::Duration>) -> bool {
        let mut waiting = Waiting::until(Wait::Park, timeout);
        loop {
            self.ask_whether_producer_lives();
            match self.ending() {
                None => return true,
                Some(Ending::Closed) => return false,
                Some(Ending::Died) if waiting.longest_sleep().is_zero() => return false,
                Some(Ending::Died) => {
                    waiting.nap();
                }
            }
        }
    }

    /// How blocking calls wait from now on.
    #[must_use]
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Counts into `metrics` from now on: fragments consumed, and overruns.
    ///
    /// # Panics
    /// If seven other consumers count into these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: &'a Metrics) -> Self {
        self.metrics = Some(metrics.consumer().expect("seven consumers count into these Metrics already"));
        self.note_plain();
        self
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;
    use crate::Link;

    #[test]
    fn metrics_count_from_when_they_are_added() {
        let metrics = Metrics::new();
        let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let one = |rx: &mut Consumer<'_>| {
            tx.send(b"counted").unwrap();
            assert!(rx.poll().unwrap().is_some());
        };
        (0..3).for_each(|_| one(&mut rx));
        let mut rx = rx.with_metrics(&metrics);
        (0..4).for_each(|_| one(&mut rx));
        assert_eq!(metrics.snapshot().consumed, 4);
    }
}
