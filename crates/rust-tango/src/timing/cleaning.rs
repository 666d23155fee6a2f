//! [`Cleaning`]: in what state a single consumer leaves the cache lines that it has read.
//!
//! To *clean* a line is to write it back to memory, or to evict it from the caches. The producer then gets
//! the line sooner when it comes to it again. The consumer does this because it would cost the producer
//! more. [`processor`](super::processor) says where it pays.

use super::processor::Nearness;

/// In a stream, this many fragments are cleaned at a time, or an eighth of the ring if that is less.
pub(super) const STEP: u64 = 16;
/// When the reader has waited for some time, it also cleans what is left, if that is more than this many
/// fragments. A reader of one fragment at a time would only be late for the next one.
const AFTER_WAIT: u64 = 4;
/// At most this many fragments are cleaned at once. Larger than most batches.
const MAX_AT_ONCE: u64 = 256;
/// Lines of batches are written back only if slots are larger than this. On AMD Zen 3 with near cores, ring of 1024, read in
/// batches of 32, in million fragments a second without and with writing back: 8 bytes 111 and 55, 64 bytes 95 and 48. 256
/// bytes, published one by one: 25 and 33. Not at all if the producer prefetches lines of batches: Zen 5, in batches of 32, 64
/// bytes 160 and 135, 256 bytes 87 and 52; 256 bytes, published one by one, 38 and 30.
const SMALL_SLOT: usize = 128;

/// What the consumer reads of the producer's words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProducerSignals {
    /// How many fragments had to wait for credits.
    pub(crate) stalls: u64,
    /// The producer has exactly one consumer, and leaves the cleaning to it.
    pub(crate) single_consumer: bool,
}

/// Lines that were read and are to be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clean {
    /// The first fragment.
    pub(crate) first: u64,
    /// How many fragments.
    pub(crate) count: u64,
    /// True: write the lines back. False: evict them.
    pub(crate) write_back: bool,
}

/// Decides what one reader cleans.
#[derive(Debug)]
pub(super) struct Cleaning {
    may_evict: bool,
    may_write_back: bool,
    is_on: bool,
    /// Of the producer: lines are written back if it is near.
    nearness: Nearness,
    /// The producer's count of stalls when it was last read.
    stalls: u64,
    /// The count had risen then.
    had_to_wait: bool,
    /// Every line before this one was cleaned, or will not be.
    done: u64,
    /// Lines of batches are written back, too, because slots are large.
    also_batches: bool,
}

impl Cleaning {
    pub(super) fn new(next: u64, may_evict: bool, may_write_back: bool) -> Self {
        Self {
            may_evict,
            may_write_back,
            is_on: false,
            nearness: Nearness::unknown(next),
            stalls: 0,
            had_to_wait: false,
            done: next,
            also_batches: false,
        }
    }

    /// For slots of so many bytes. The producer prefetches lines of batches, or does not.
    pub(super) fn of_slots(self, bytes: usize, prefetches_batches: bool) -> Self {
        Self { also_batches: bytes > SMALL_SLOT && !prefetches_batches, ..self }
    }

    pub(super) fn producer_is_near(&self) -> bool {
        self.nearness.is_near
    }

    /// Whether the producer had to wait for credits lately.
    pub(super) fn producer_had_to_wait(&self) -> bool {
        self.had_to_wait
    }

    /// Decides again, before fragment `next`. Returns whether the producer should know that lines are
    /// evicted, if that was measured just now.
    ///
    /// The reader evicts nothing while the producer has to wait for credits: the wait would be longer, and
    /// the lines might be in use again.
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
            self.nearness = Nearness::unknown(next);
        } else if self.nearness.is_due(next) {
            self.nearness = Nearness::measured(next, self.may_write_back && is_near());
            evicts = Some(self.may_evict && !self.nearness.is_near);
        }
        self.is_on = single_consumer && (self.nearness.is_near || self.may_evict && !self.had_to_wait);
        evicts
    }

    /// The lines to clean before fragment `next`. They count as done.
    pub(super) fn take(&mut self, next: u64) -> Option<Clean> {
        let count = next.wrapping_sub(self.done);
        let first = core::mem::replace(&mut self.done, next);
        // Not lines that were skipped, or read while there were other consumers.
        let is_due = self.is_on && count != 0 && count <= MAX_AT_ONCE;
        is_due.then_some(Clean { first, count, write_back: self.nearness.is_near })
    }

    /// The same for a reader that has waited for some time.
    pub(super) fn take_after_wait(&mut self, next: u64) -> Option<Clean> {
        if next.wrapping_sub(self.done) > AFTER_WAIT { self.take(next) } else { None }
    }

    /// Lines before `next` are not cleaned.
    pub(super) fn skip(&mut self, next: u64) {
        self.done = next;
    }

    /// The consumer has taken a batch that ends before `next`. Lines of small slots are not written back then: while the
    /// consumer does that, it reads nothing.
    pub(super) fn took_batch(&mut self, next: u64) {
        if self.nearness.is_near && !self.also_batches {
            self.skip(next);
        }
    }

    /// As on a processor where evicting pays and writing back does not.
    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(super) fn only_evicting_pays(&mut self) {
        (self.may_evict, self.may_write_back) = (true, false);
    }

    #[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
    pub(super) fn is_on(&self) -> bool {
        self.is_on
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
        assert_eq!(cleaning.take(8), None, "the producer does not have a single consumer yet");
        assert_eq!(
            review(&mut cleaning, 8, 0, true, false),
            Some(true),
            "the producer should prefetch the lines"
        );
        assert_eq!(cleaning.take(16), Some(Clean { first: 8, count: 8, write_back: false }));
        assert_eq!(review(&mut cleaning, 16, 1, true, false), None);
        assert_eq!(cleaning.take(24), None, "the producer had to wait");
        review(&mut cleaning, 24, 1, true, false);
        assert_eq!(cleaning.take(32), Some(Clean { first: 24, count: 8, write_back: false }));
        assert_eq!(cleaning.take(32 + MAX_AT_ONCE + 1), None, "most of it was skipped");
        assert_eq!(cleaning.take_after_wait(32 + MAX_AT_ONCE + 1 + AFTER_WAIT), None);
    }

    #[test]
    fn a_consumer_near_its_producer_writes_back_also_while_the_producer_waits() {
        let mut cleaning = Cleaning::new(0, true, true);
        assert_eq!(review(&mut cleaning, 0, 5, true, true), Some(false), "it does not evict");
        assert!(cleaning.producer_had_to_wait());
        assert_eq!(cleaning.take(8), Some(Clean { first: 0, count: 8, write_back: true }));
        cleaning.took_batch(12);
        assert_eq!(cleaning.take(12), None, "lines of batches are not written back");
        assert_eq!(cleaning.take(16), Some(Clean { first: 12, count: 4, write_back: true }));
        review(&mut cleaning, 16, 5, false, true);
        assert_eq!(cleaning.take(24), None, "there are other consumers");
        assert!(!cleaning.producer_is_near(), "it has to be measured again");
        assert_eq!(review(&mut cleaning, 24, 5, true, false), Some(true));
        cleaning.took_batch(32);
        let evicted = Clean { first: 24, count: 16, write_back: false };
        assert_eq!(cleaning.take(40), Some(evicted), "lines of batches are evicted");
        let of_large = |prefetches_batches| {
            let mut large = Cleaning::new(0, true, true).of_slots(SMALL_SLOT + 64, prefetches_batches);
            review(&mut large, 0, 0, true, true);
            large.took_batch(8);
            large.take(16)
        };
        assert_eq!(of_large(false), Some(Clean { first: 0, count: 16, write_back: true }));
        assert_eq!(of_large(true), Some(Clean { first: 8, count: 8, write_back: true }));
    }
}
