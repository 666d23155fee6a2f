//! [`Fctl`]: credits for one reliable consumer, on storage of the caller.

use super::identity::PartIdentity;
use crate::credits::slot::ConsumerSlot;
use crate::ring::seq;
use crate::sync::{AtomicU64, Padded, Relaxed};

/// Flow control of the borrowed API: how many fragments may be published before one reliable consumer has
/// finished with them.
///
/// Before the consumer attaches, and after it is dropped, the producer uses up its credits and then waits
/// for the next consumer. Until that comes, [`Producer::consumers`](crate::Producer::consumers) is 0,
/// [`Producer::held_by`](crate::Producer::held_by) is `None`, and
/// [`Producer::is_drained`](crate::Producer::is_drained) is true. The producer writes where it is, and the consumer writes its progress.
///
/// # Examples
///
/// ```
/// use rust_tango::{Consumer, DCache, Fctl, Fseq, MCache, Producer};
///
/// let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
/// let (fseq, fctl) = (Fseq::new(1), Fctl::new(8));
/// let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
/// let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
/// producer.publish(b"one", 0, 0, 0)?;
/// assert_eq!(fctl.available(), 7);
/// drop(consumer.poll()?);
/// assert_eq!(fctl.available(), 8);
/// # Ok::<(), rust_tango::TangoError>(())
/// ```
#[derive(Debug)]
pub struct Fctl {
    slot: ConsumerSlot,
    producer: Padded<ProducerPosition>,
    credits: u64,
    identity: PartIdentity,
}

/// Where the producer is, for [`Fctl::available`]. Written by the producer.
#[derive(Debug)]
struct ProducerPosition {
    /// Credits are counted from this sequence number until the first consumer attaches.
    first: AtomicU64,
    /// The sequence number that is published next.
    next: AtomicU64,
}

impl Fctl {
    /// Flow control with `initial` credits: how many fragments may be published and not yet consumed. See
    /// [`Fctl`] for an example.
    ///
    /// At most the `DEPTH` of the ring is used. With 0, nothing can be published.
    pub const fn new(initial: u64) -> Self {
        Self {
            slot: ConsumerSlot::new(),
            producer: Padded::new(ProducerPosition { first: AtomicU64::new(0), next: AtomicU64::new(0) }),
            credits: initial,
            identity: PartIdentity::new(),
        }
    }

    /// How many credits are left. See [`Fctl`] for an example.
    ///
    /// Any thread may ask. The answer may be out of date when the caller reads it.
    pub fn available(&self) -> u64 {
        let report = self.slot.report();
        let consumed = if report.active { report.next } else { self.producer.first.load(Relaxed) };
        let under_way = seq::distance(consumed, self.producer.next.load(Relaxed)).max(0);
        self.credits.saturating_sub(under_way as u64)
    }

    pub(crate) fn credits(&self) -> u64 {
        self.credits
    }

    pub(crate) fn slot(&self) -> &ConsumerSlot {
        &self.slot
    }

    /// Stores `first`, and returns the word in which the producer keeps the number that is published next.
    pub(super) fn producer_word(&self, first: u64) -> &AtomicU64 {
        self.producer.first.store(first, Relaxed);
        &self.producer.next
    }

    pub(crate) fn identity(&self) -> &PartIdentity {
        &self.identity
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Consumer, DCache, Fctl, Fseq, MCache, Producer};

    #[test]
    fn credits_count_from_where_the_producer_begins_until_a_consumer_comes() {
        let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
        let (fseq, fctl) = (Fseq::new(100), Fctl::new(5));
        let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        assert_eq!(fctl.available(), 5);
        for left in (0..5).rev() {
            tx.publish(b"kept", 0, 0, 0).unwrap();
            assert_eq!(fctl.available(), left);
        }
        assert!(tx.publish(b"no credit", 0, 0, 0).is_err());
        let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 100);
        for read in 1..=5 {
            drop(rx.poll().unwrap().unwrap());
            assert_eq!(fctl.available(), read);
        }
    }
}
