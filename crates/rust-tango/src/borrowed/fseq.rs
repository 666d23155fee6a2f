//! [`Fseq`]: the published-sequence counter of the borrowed API.

use crate::borrowed::identity::PartIdentity;
use crate::sync::{Acquire, AtomicU64, Padded, ordering};

/// Where a fresh link starts, and where its producer is. The producer writes it, anyone may read it.
///
/// A later producer on storage that has been used goes on behind what was published there, whatever
/// the counter it brings says, and moves the counter to that place.
#[derive(Debug)]
pub struct Fseq {
    next: Padded<AtomicU64>,
    identity: PartIdentity,
}

impl Default for Fseq {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Fseq {
    /// A counter whose link starts with sequence number `initial` (any number; sequences wrap).
    pub const fn new(initial: u64) -> Self {
        Self { next: Padded::new(AtomicU64::new(initial)), identity: PartIdentity::new() }
    }

    /// The sequence number that is published next. Can be behind by the time it is looked at.
    pub fn current(&self) -> u64 {
        // Pairs with the Release store in `store_published`: a reader of this number sees what was published before it.
        self.next.load(ordering("fseq.current", Acquire))
    }

    /// Where the producer keeps its place.
    pub(crate) fn word(&self) -> &AtomicU64 {
        &self.next
    }

    /// Makes the word exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        self.next.touch();
    }

    pub(crate) fn identity(&self) -> &PartIdentity {
        &self.identity
    }
}
