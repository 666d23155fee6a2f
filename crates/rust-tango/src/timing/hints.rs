//! Hints of consumers to the producer, about the way they read. To [`credits`](crate::credits), they are an
//! opaque word.

/// The hints of one consumer. They may be out of date, and only speed depends on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ReaderHints {
    /// The consumer polls the hot slot for its next fragment, or did so not long ago.
    pub(crate) reads_hot_slot: bool,
    /// The consumer evicts the cache lines that it has read.
    pub(crate) evicts: bool,
}

impl ReaderHints {
    /// One bit for each hint.
    pub(crate) const fn pack(self) -> u64 {
        self.reads_hot_slot as u64 | (self.evicts as u64) << 1
    }

    const fn unpack(word: u64) -> Self {
        Self { reads_hot_slot: word & 1 != 0, evicts: word & 2 != 0 }
    }
}

/// The hints of all consumers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConsumerHints {
    /// A reader may poll the hot slot. (Observers cannot store hints. If there is no consumer, the producer
    /// assumes that observers poll it.)
    pub(crate) hot_slot_is_read: bool,
    /// A consumer evicts the lines that it has read.
    pub(crate) lines_are_evicted: bool,
    /// There is exactly one consumer.
    pub(crate) single_consumer: bool,
}

impl ConsumerHints {
    /// From the word of each slot, in the order of the slots, and the number of consumers.
    pub(crate) fn of(words: impl Iterator<Item = u64>, consumers: usize) -> Self {
        let (mut hot_slot_is_read, mut lines_are_evicted) = (consumers == 0, false);
        for word in words {
            let ReaderHints { reads_hot_slot, evicts } = ReaderHints::unpack(word);
            hot_slot_is_read |= reads_hot_slot;
            lines_are_evicted |= evicts;
        }
        Self { hot_slot_is_read, lines_are_evicted, single_consumer: consumers == 1 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn hints_pass_through_a_word() {
        for (reads_hot_slot, evicts) in [(false, false), (true, false), (false, true), (true, true)] {
            let hints = ReaderHints { reads_hot_slot, evicts };
            assert_eq!(ReaderHints::unpack(hints.pack()), hints);
        }
    }

    #[test]
    fn the_hints_of_all_consumers_are_taken_together() {
        let hot = ReaderHints { reads_hot_slot: true, evicts: false }.pack();
        let evicts = ReaderHints { reads_hot_slot: false, evicts: true }.pack();
        let none = ConsumerHints::of([0, 0].into_iter(), 2);
        assert!(!none.hot_slot_is_read && !none.lines_are_evicted && !none.single_consumer);
        let one = ConsumerHints::of([0, hot].into_iter(), 2);
        assert!(one.hot_slot_is_read && !one.lines_are_evicted);
        let both = ConsumerHints::of([hot, evicts].into_iter(), 2);
        assert!(both.hot_slot_is_read && both.lines_are_evicted);
        let observers = ConsumerHints::of([0].into_iter(), 0);
        assert!(observers.hot_slot_is_read && !observers.single_consumer, "there may be observers");
        assert!(ConsumerHints::of([0].into_iter(), 1).single_consumer);
    }
}
