//! [`Occupants`]: which ends are attached to storage of the borrowed API.

use crate::error::TangoError;
use crate::sync::{AcqRel, AtomicU64, Relaxed, ordering};

/// The ends that are attached to storage of the borrowed API: three bits in one word, changed by
/// compare-exchange.
///
/// | bit | meaning |
/// |---|---|
/// | `PRODUCER` | a producer is attached |
/// | `WITH_CREDITS` | it has flow control: it waits for the consumer of an `Fctl` |
/// | `CONSUMER` | a consumer with flow control is attached, which hands out slices of the ring |
///
/// A consumer and a producer without flow control exclude each other: that producer would overwrite the
/// slices.
#[derive(Debug)]
pub(crate) struct Occupants(AtomicU64);

const PRODUCER: u64 = 1;
const WITH_CREDITS: u64 = 2;
const CONSUMER: u64 = 4;

impl Occupants {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Makes the word exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        self.0.touch();
    }

    pub(crate) fn enter_producer(&self, with_credits: bool) -> Result<(), TangoError> {
        self.change(|state| {
            if state & PRODUCER != 0 {
                Err(TangoError::ProducerTaken)
            } else if state & CONSUMER != 0 && !with_credits {
                Err(TangoError::FlowControlMismatch)
            } else {
                Ok(state | PRODUCER | if with_credits { WITH_CREDITS } else { 0 })
            }
        })
    }

    pub(crate) fn leave_producer(&self) {
        let _ = self.change(|state| Ok(state & !(PRODUCER | WITH_CREDITS)));
    }

    pub(crate) fn enter_consumer(&self) -> Result<(), TangoError> {
        self.change(|state| {
            if state & CONSUMER != 0 {
                Err(TangoError::ConsumerTaken)
            } else if state & (PRODUCER | WITH_CREDITS) == PRODUCER {
                Err(TangoError::FlowControlMismatch)
            } else {
                Ok(state | CONSUMER)
            }
        })
    }

    /// Whether a consumer with flow control is attached. It may come or leave before the caller uses the answer.
    pub(crate) fn has_consumer(&self) -> bool {
        self.0.load(Relaxed) & CONSUMER != 0
    }

    pub(crate) fn leave_consumer(&self) {
        let _ = self.change(|state| Ok(state & !CONSUMER));
    }

    fn change(&self, next: impl Fn(u64) -> Result<u64, TangoError>) -> Result<(), TangoError> {
        let mut state = self.0.load(Relaxed);
        loop {
            // AcqRel: an end that attaches sees everything that was done by the ends that left before it.
            match self.0.compare_exchange_weak(
                state,
                next(state)?,
                ordering("mcache.occupants", AcqRel),
                Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occupants_that_would_overwrite_a_slice_are_refused() {
        let seats = Occupants::new();
        assert!(!seats.has_consumer());
        seats.enter_consumer().unwrap();
        assert!(seats.has_consumer());
        assert_eq!(seats.enter_consumer(), Err(TangoError::ConsumerTaken));
        assert_eq!(seats.enter_producer(false), Err(TangoError::FlowControlMismatch));
        seats.enter_producer(true).unwrap();
        assert_eq!(seats.enter_producer(true), Err(TangoError::ProducerTaken));
        seats.leave_consumer();
        assert!(!seats.has_consumer());
        seats.leave_producer();
        seats.enter_producer(false).unwrap();
        assert_eq!(seats.enter_consumer(), Err(TangoError::FlowControlMismatch));
    }
}
