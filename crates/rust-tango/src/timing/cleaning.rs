//! In what state a single consumer leaves the cache lines that it has read: it writes them back to memory, or evicts
//! them from the caches, so that the producer gets them sooner. That would cost the producer more. See
//! [`processor`](super::processor) for where it pays.

/// A stream is cleaned so many fragments at a time, or an eighth of the ring; and what is left of it when its reader has
/// waited for some time, if it is more than `AFTER_WAIT`: a reader of one at a time would only wait longer for the next.
pub(super) const STEP: u64 = 16;
const AFTER_WAIT: u64 = 4;
/// No more than this at once. Larger than most batches.
const MOST: u64 = 256;
/// From one look at how far the producer is to the next: threads move, and virtual machines are moved.
const MEASURE_EVERY: u64 = 1024;

/// What the consumer knows of its producer, from the words that this writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProducerSignals {
    /// How often it had no credit.
    pub(crate) stalls: u64,
    /// It has one consumer, and leaves the cleaning to that one.
    pub(crate) single_consumer: bool,
}

/// Lines that have been read, to be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clean {
    /// The first fragment.
    pub(crate) first: u64,
    /// How many fragments.
    pub(crate) count: u64,
    /// By writing back; otherwise by evicting.
    pub(crate) write_back: bool,
}

/// The cleaning of one reader.
#[derive(Debug)]
pub(super) struct Cleaning {
    may_evict: bool,
    may_write_back: bool,
    is_on: bool,
    /// The producer is near, so lines are written back, as was found at fragment `measured_at`.
    is_near: bool,
    measured_at: u64,
    /// How often the producer had had no credit when that was last looked at; and whether it had had none meanwhile.
    stalls: u64,
    had_to_wait: bool,
    /// What is before this has been cleaned, or will not be.
    done: u64,
}

impl Cleaning {
    pub(super) fn new(next: u64, may_evict: bool, may_write_back: bool) -> Self {
        Self {
            may_evict,
            may_write_back,
            is_on: false,
            is_near: false,
            measured_at: next.wrapping_sub(MEASURE_EVERY),
            stalls: 0,
            had_to_wait: false,
            done: next,
        }
    }

    pub(super) fn producer_is_near(&self) -> bool {
        self.is_near
    }

    /// Whether the producer had no credit lately.
    pub(super) fn producer_had_to_wait(&self) -> bool {
        self.had_to_wait
    }

    /// Decides anew in front of fragment `next`. Returns whether the producer should know that lines are evicted, if that
    /// was measured just now. It evicts nothing if the producer has to wait: that wait would be longer, and what leaves
    /// the caches might be in use again.
    pub(super) fn review(
        &mut self,
        next: u64,
        signals: impl FnOnce() -> ProducerSignals,
        is_near: impl FnOnce() -> bool,
    ) -> Option<bool> {
        if !self.may_evict && !self.may_write_back {
            return None;
        }
        let ProducerSignals { stalls, single_consumer } = signals();
        self.had_to_wait = core::mem::replace(&mut self.stalls, stalls) != stalls;
        let mut evicts = None;
        if !single_consumer {
            self.is_near = false;
            self.measured_at = next.wrapping_sub(MEASURE_EVERY);
        } else if next.wrapping_sub(self.measured_at) >= MEASURE_EVERY {
            self.measured_at = next;
            self.is_near = self.may_write_back && is_near();
            evicts = Some(self.may_evict && !self.is_near);
        }
        self.is_on = single_consumer && (self.is_near || self.may_evict && !self.had_to_wait);
        evicts
    }

    /// What is to be cleaned in front of fragment `next`. It counts as done.
    pub(super) fn take(&mut self, next: u64) -> Option<Clean> {
        let count = next.wrapping_sub(self.done);
        let first = core::mem::replace(&mut self.done, next);
        // Not what was skipped, or read while others had to be considered.
        let is_due = self.is_on && count != 0 && count <= MOST;
        is_due.then_some(Clean { first, count, write_back: self.is_near })
    }

    /// The same for a reader that has waited for some time.
    pub(super) fn take_after_wait(&mut self, next: u64) -> Option<Clean> {
        if next.wrapping_sub(self.done) > AFTER_WAIT { self.take(next) } else { None }
    }

    /// What is before `next` is not cleaned.
    pub(super) fn skip(&mut self, next: u64) {
        self.done = next;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn review(
        cleaning: &mut Cleaning,
        next: u64,
        stalls: u64,
        single_consumer: bool,
        near: bool,
    ) -> Option<bool> {
        cleaning.review(next, || ProducerSignals { stalls, single_consumer }, || near)
    }

    #[test]
    fn a_consumer_that_the_producer_waits_for_evicts_nothing() {
        let mut cleaning = Cleaning::new(0, true, false);
        assert_eq!(review(&mut cleaning, 8, 0, false, false), None);
        assert_eq!(cleaning.take(8), None, "the producer has not said that this is the only one");
        assert_eq!(
            review(&mut cleaning, 8, 0, true, false),
            Some(true),
            "so that the producer prefetches them"
        );
        assert_eq!(cleaning.take(16), Some(Clean { first: 8, count: 8, write_back: false }));
        assert_eq!(review(&mut cleaning, 16, 1, true, false), None);
        assert_eq!(cleaning.take(24), None, "the producer had to wait");
        review(&mut cleaning, 24, 1, true, false);
        assert_eq!(cleaning.take(32), Some(Clean { first: 24, count: 8, write_back: false }));
        assert_eq!(cleaning.take(32 + MOST + 1), None, "most of it was skipped");
        assert_eq!(cleaning.take_after_wait(32 + MOST + 1 + AFTER_WAIT), None);
    }

    #[test]
    fn a_consumer_near_its_producer_writes_back_also_if_that_waits() {
        let mut cleaning = Cleaning::new(0, true, true);
        assert_eq!(review(&mut cleaning, 0, 5, true, true), Some(false), "it does not evict");
        assert!(cleaning.producer_had_to_wait());
        assert_eq!(cleaning.take(8), Some(Clean { first: 0, count: 8, write_back: true }));
        review(&mut cleaning, 8, 5, false, true);
        assert_eq!(cleaning.take(16), None, "beside others");
        assert!(!cleaning.producer_is_near(), "and it is measured anew");
        assert_eq!(review(&mut cleaning, 16, 5, true, false), Some(true));
    }
}
