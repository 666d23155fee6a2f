//! [`Fctl`]: credits for one reliable consumer on storage of the caller.

use crate::borrowed::identity::PartIdentity;
use crate::credits::slot::ConsumerSlot;
use crate::ring::seq;
use crate::sync::{AtomicU64, Padded, Relaxed};

/// Flow control of the borrowed API, for one reliable consumer: how many fragments may be under way.
///
/// Credits are `min(initial, DEPTH)`. Before the consumer is there, and after it is dropped, the
/// producer has what credits are left and then waits for the next consumer.
#[derive(Debug)]
pub struct Fctl {
    slot: ConsumerSlot,
    producer: Padded<ProducerPlace>,
    credits: u64,
    identity: PartIdentity,
}

/// Where the producer is, for [`Fctl::available`]. Written by the producer.
#[derive(Debug)]
struct ProducerPlace {
    /// From where the first consumer will be counted.
    first: AtomicU64,
    /// What is published next.
    next: AtomicU64,
}

impl Fctl {
    /// Flow control with `initial` credits: how many fragments may be published and not yet consumed.
    /// More than the ring is deep are not used; with 0, nothing can be published.
    pub const fn new(initial: u64) -> Self {
        Self {
            slot: ConsumerSlot::new(),
            producer: Padded::new(ProducerPlace { first: AtomicU64::new(0), next: AtomicU64::new(0) }),
            credits: initial,
            identity: PartIdentity::new(),
        }
    }

    /// How many credits are left: a look from any thread, which may be out of date at once.
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

    /// Where the producer keeps its place, and, from now on, `first` as that from where the first consumer is counted.
    pub(super) fn producer_word(&self, first: u64) -> &AtomicU64 {
        self.producer.first.store(first, Relaxed);
        &self.producer.next
    }

    pub(crate) fn identity(&self) -> &PartIdentity {
        &self.identity
    }
}
