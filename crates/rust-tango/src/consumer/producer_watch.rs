//! What a reader knows of its producer's life: has it ended, died, or been replaced?

use super::mode::Attachment;
use crate::error::TangoError;
use crate::memory::parts::{Ending, Parts};
use crate::ring::seq;
use crate::sync::{Acquire, Relaxed, fence, ordering};

/// What one reader knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProducerWatch {
    /// The incarnation of the producer that is proven dead. A later one has another.
    dead: Option<u64>,
    /// The takeovers that this reader has reported, or that were before its time.
    takeovers: u64,
}

impl ProducerWatch {
    pub(super) fn new(parts: &Parts<'_>) -> Self {
        Self { dead: None, takeovers: parts.head.lifecycle.takeovers.load(Relaxed) }
    }

    /// Whether a producer is proven dead: the last one that was asked about.
    pub(super) fn knows_of_death(&self) -> bool {
        self.dead.is_some()
    }

    /// Asks whether the producer lives: a system call in shared memory.
    pub(super) fn check_producer_lives(&mut self, parts: &Parts<'_>, attachment: &Attachment<'_>) {
        #[cfg(feature = "alloc")]
        if let Attachment::Owned(claim) = attachment {
            // Read before asking: if none lives afterwards, that one has died, or one before it.
            let incarnation = parts.head.lifecycle.incarnation.load(Relaxed);
            // So that the word is not read behind the question, which no access to memory orders.
            fence(ordering("producer_watch.asked", Acquire));
            if !claim.producer_lives() {
                self.dead = Some(incarnation);
            }
        }
        let _ = (parts, attachment);
    }

    /// An error, once, if a producer has come after one that had died.
    pub(super) fn check_replaced(&mut self, parts: &Parts<'_>) -> Result<(), TangoError> {
        let lifecycle = &parts.head.lifecycle;
        let takeovers = lifecycle.takeovers.load(Relaxed);
        // The count falls only in the memory of a forked child.
        if !seq::is_before(self.takeovers, takeovers) {
            return Ok(());
        }
        self.takeovers = takeovers;
        // Pairs with the Release store in `producer::attach`.
        fence(ordering("producer_watch.replaced", Acquire));
        Err(TangoError::ProducerReplaced { first: lifecycle.taken_over_at.load(Relaxed) })
    }

    /// Whether [`Self::check_replaced`] would say so.
    pub(super) fn is_replaced(&self, parts: &Parts<'_>) -> bool {
        seq::is_before(self.takeovers, parts.head.lifecycle.takeovers.load(Relaxed))
    }

    /// Whether nothing more will come, unless a new producer opens the link again. What was published before is visible
    /// to a reader that asks this and then looks at the lines.
    pub(super) fn ending(&self, parts: &Parts<'_>) -> Option<Ending> {
        // What a producer published last was stored before it died, and the kernel said so after that;
        // `Parts::ending` has the fence.
        let ending = parts.ending();
        // Behind the state, with that fence between: a reader that sees that a producer runs counts it, and so does not
        // take it for the one before.
        let incarnation = parts.head.lifecycle.incarnation.load(Relaxed);
        let is_dead = self.dead == Some(incarnation);
        ending.or_else(|| is_dead.then_some(Ending::Died))
    }
}
