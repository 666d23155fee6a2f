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
    /// The slot of the consumer that polls the hot slot, if exactly one does.
    pub(crate) single_hot_reader: Option<usize>,
    /// A consumer evicts the lines that it has read.
    pub(crate) lines_are_evicted: bool,
    /// There is exactly one consumer.
    pub(crate) single_consumer: bool,
}

impl ConsumerHints {
    /// From the word of each slot, in the order of the slots, and the number of consumers.
    pub(crate) fn of(words: impl Iterator<Item = u64>, consumers: usize) -> Self {
        let (mut hot_readers, mut last, mut lines_are_evicted) = (0, 0, false);
        for (slot, word) in words.enumerate() {
            let ReaderHints { reads_hot_slot, evicts } = ReaderHints::unpack(word);
            if reads_hot_slot {
                (hot_readers, last) = (hot_readers + 1, slot);
            }
            lines_are_evicted |= evicts;
        }
        Self {
            hot_slot_is_read: hot_readers != 0 || consumers == 0,
            single_hot_reader: (hot_readers == 1).then_some(last),
            lines_are_evicted,
            single_consumer: consumers == 1,
        }
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
    fn a_hot_reader_is_named_only_if_it_is_the_only_one() {
        let hot = ReaderHints { reads_hot_slot: true, evicts: false }.pack();
        let evicts = ReaderHints { reads_hot_slot: false, evicts: true }.pack();
        let none = ConsumerHints::of([0, 0].into_iter(), 2);
        assert_eq!((none.hot_slot_is_read, none.single_hot_reader), (false, None));
        let one = ConsumerHints::of([0, hot | evicts].into_iter(), 2);
        assert_eq!((one.hot_slot_is_read, one.single_hot_reader), (true, Some(1)));
        assert!(one.lines_are_evicted && !one.single_consumer);
        let two = ConsumerHints::of([hot, hot].into_iter(), 2);
        assert_eq!((two.hot_slot_is_read, two.single_hot_reader), (true, None));
        let observers = ConsumerHints::of([0].into_iter(), 0);
        assert!(observers.hot_slot_is_read && !observers.single_consumer, "there may be observers");
        assert!(ConsumerHints::of([0].into_iter(), 1).single_consumer);
    }
}
