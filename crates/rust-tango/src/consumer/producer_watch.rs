//! [`ProducerWatch`]: what a reader knows of its producer: whether it has ended, died, or been replaced.

use super::mode::Attachment;
use crate::error::TangoError;
use crate::memory::parts::{Ending, Parts};
use crate::ring::seq;
use crate::sync::{Acquire, Relaxed, fence, ordering};

/// What one reader knows of the producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProducerWatch {
    /// The incarnation of the producer that is proven dead. Each producer has another incarnation.
    dead: Option<u64>,
    /// The takeovers that this reader has reported, or that came before it attached.
    takeovers: u64,
}

impl ProducerWatch {
    pub(super) fn new(parts: &Parts<'_>) -> Self {
        Self { dead: None, takeovers: parts.head.lifecycle.takeovers.load(Relaxed) }
    }

    /// Whether a producer is proven dead: the last one that was checked.
    pub(super) fn knows_of_death(&self) -> bool {
        self.dead.is_some()
    }

    /// Checks whether the producer lives. In shared memory, this is a system call.
    pub(super) fn check_producer_lives(&mut self, parts: &Parts<'_>, attachment: &Attachment<'_>) {
        #[cfg(feature = "alloc")]
        if let Attachment::Owned(claim) = attachment {
            // Read before the check. If no producer lives after that, the one with this incarnation has
            // died, or an earlier one.
            let incarnation = parts.head.lifecycle.incarnation.load(Relaxed);
            // Keeps the load before the check, which is a system call that orders no memory accesses. It
            // has no partner.
            fence(ordering("producer_watch.asked", Acquire));
            if !claim.producer_lives() {
                self.dead = Some(incarnation);
            }
        }
        let _ = (parts, attachment);
    }

    /// Returns an error, once, if a producer has taken over from one that died.
    pub(super) fn check_replaced(&mut self, parts: &Parts<'_>) -> Result<(), TangoError> {
        let lifecycle = &parts.head.lifecycle;
        let takeovers = lifecycle.takeovers.load(Relaxed);
        // The count falls only in a forked child.
        if !seq::is_before(self.takeovers, takeovers) {
            return Ok(());
        }
        self.takeovers = takeovers;
        // Pairs with the Release store in `take_over` in `producer/attach.rs`.
        fence(ordering("producer_watch.replaced", Acquire));
        Err(TangoError::ProducerReplaced { first: lifecycle.taken_over_at.load(Relaxed) })
    }

    /// Whether a reader that finds the producer with this incarnation, after so many takeovers, has something to
    /// report: that the producer is dead, or replaced.
    #[cfg(any(feature = "std", loom))]
    pub(super) fn is_news(&self, incarnation: u64, takeovers: u64) -> bool {
        self.dead == Some(incarnation) || seq::is_before(self.takeovers, takeovers)
    }

    /// Whether no more fragments will come, unless a new producer opens the link again. A reader that calls
    /// this, and then reads the lines, sees everything that was published before the end.
    pub(super) fn ending(&self, parts: &Parts<'_>) -> Option<Ending> {
        // A producer stores its last fragment before it dies, and the kernel reports the death after that.
        // `Parts::ending` has the fence.
        let ending = parts.ending();
        // Load the incarnation after the state, with that fence between. So a reader that sees that a
        // producer runs loads the incarnation of that producer, or a later one, and does not mistake it for
        // its predecessor.
        let incarnation = parts.head.lifecycle.incarnation.load(Relaxed);
        let is_dead = self.dead == Some(incarnation);
        ending.or_else(|| is_dead.then_some(Ending::Died))
    }
}
