//! [`Fseq`]: the published sequence number, on storage of the caller.

use super::identity::PartIdentity;
use crate::sync::{Acquire, AtomicU64, Padded, ordering};

/// The published sequence of the borrowed API: where new storage starts, and then where its producer is.
///
/// The producer writes it, and any thread may read it. A later producer on used storage continues behind
/// what was published there, whatever its `Fseq` says, and moves the `Fseq` to that number.
///
/// # Examples
///
/// ```
/// use rust_tango::{DCache, Fseq, MCache, Producer};
///
/// let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(100));
/// let producer = Producer::new(&mcache, &dcache, &fseq);
/// producer.publish(b"one", 0, 0, 0)?;
/// assert_eq!(fseq.current(), 101);
/// # Ok::<(), rust_tango::TangoError>(())
/// ```
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
    /// Starts new storage with sequence number `initial`: any number, because sequence numbers wrap. See
    /// [`Fseq`] for an example.
    pub const fn new(initial: u64) -> Self {
        Self { next: Padded::new(AtomicU64::new(initial)), identity: PartIdentity::new() }
    }

    /// The sequence number that is published next. See [`Fseq`] for an example.
    ///
    /// Everything before it is visible to the caller. The producer may have published more when the caller
    /// reads the answer.
    pub fn current(&self) -> u64 {
        // Pairs with the Release store of the producer: a reader of this number sees what was published
        // before it.
        self.next.load(ordering("fseq.current", Acquire))
    }

    /// The word in which the producer keeps the number that is published next.
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
