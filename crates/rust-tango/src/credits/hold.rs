//! [`Hold`]: a consumer that holds the producer back, as another thread can watch it.

use crate::credits::slot::ConsumerSlot;
use crate::ring::seq;
use crate::waiting::eventcount::Eventcount;

/// A consumer that holds the producer back, and until when. The thread that has it only loads words of the slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold<'a> {
    index: usize,
    slot: &'a ConsumerSlot,
    /// The `state` word of the slot, read before the refresh that counts the consumer.
    state: u64,
    /// The consumer holds the producer back as long as it needs a fragment before this one.
    until: u64,
}

impl<'a> Hold<'a> {
    pub(super) fn new(index: usize, slot: &'a ConsumerSlot, until: u64) -> Self {
        Self { index, slot, state: slot.demand().0, until }
    }

    /// The index of the slot.
    pub(crate) fn slot(&self) -> usize {
        self.index
    }

    /// The consumer's eventcount.
    pub(crate) fn eventcount(&self) -> &'a Eventcount {
        self.slot.eventcount()
    }

    /// Whether this consumer may no longer hold the producer back: it has returned the credits, has left, or the slot
    /// has another owner. As long as it does hold the producer back, no other consumer can give the producer a credit.
    pub(crate) fn is_over(&self) -> bool {
        let (state, next) = self.slot.demand();
        state != self.state || next.is_some_and(|next| !seq::is_before(next, self.until))
    }

    /// The words of the slot of which one changes before the hold is over.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn signs(&self) -> [u64; 2] {
        let (state, next) = self.slot.demand();
        [state, next.unwrap_or_default()]
    }
}
