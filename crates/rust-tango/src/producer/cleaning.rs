//! What a producer does so that lines that are used soon are at hand: some time before, they leave all caches, and later
//! they come into this processor's. What of it helps depends on who reads: see [`cache`].

use super::Producer;
use crate::cpu::cache;
use crate::credits::floor::Told;
use crate::ring::seq;
use crate::sync::Relaxed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleaning {
    /// Nothing: they are at hand as a sole consumer leaves them, or cannot be.
    None,
    /// The only consumer follows, so it does not look at the ring: the next line can be fetched now, and stays. It has not
    /// been used for a lap, which may be long ago, and what is shown as the newest waits for what is stored there.
    FetchNext,
    /// A sole consumer has them leave.
    Fetch,
    EvictAndFetch,
}

impl Producer<'_> {
    /// Cleans lines that are used soon after fragment `n`, of `len` bytes, if that helps.
    #[inline]
    pub(super) fn clean(&self, n: u64, len: usize) {
        let cleaning = self.cleaning.get();
        if cleaning == Cleaning::None {
            return;
        }
        let ring = self.parts.ring;
        if cleaning == Cleaning::FetchNext {
            ring.line(n.wrapping_add(1)).for_cache_lines(len, cache::prefetch_for_writing);
            return;
        }
        if cleaning == Cleaning::EvictAndFetch {
            let far = n.wrapping_add(3 * self.clean_ahead);
            ring.line(far).for_cache_lines(len, cache::evict);
        }
        let near = n.wrapping_add(self.clean_ahead);
        // Not what a consumer may still want: the two would take the lines from each other.
        if seq::is_before(near.wrapping_sub(ring.depth()), self.credits.floor()) {
            ring.line(near).for_cache_lines(len, cache::prefetch_for_writing);
        }
    }

    /// The same after a batch of the first `count` payloads, as fragments from `first` on.
    #[inline]
    pub(super) fn clean_batch(&self, first: u64, payloads: &[&[u8]], count: u64) {
        match self.cleaning.get() {
            // Who follows is only told of a batch, and is in the ring now.
            Cleaning::None | Cleaning::FetchNext => {}
            Cleaning::Fetch | Cleaning::EvictAndFetch => {
                for (payload, offset) in payloads.iter().zip(0..count) {
                    self.clean(first.wrapping_add(offset), payload.len());
                }
            }
        }
    }

    /// As the consumers are, and what they tell. Leaves it to a sole one to clean the lines that it has read.
    pub(super) fn choose_cleaning(&self, told: Told) {
        let is_single = self.credits.counted() == 1;
        let helps = self.clean_ahead != 0;
        let cleaning = if helps && !is_single {
            Cleaning::EvictAndFetch
        } else if helps && told.evicted {
            Cleaning::Fetch
        } else if is_single && told.single_hot_reader.is_some() {
            Cleaning::FetchNext
        } else {
            Cleaning::None
        };
        self.cleaning.set(cleaning);
        let (single_consumer, is_single) = (&self.parts.head.credit.single_consumer, u64::from(is_single));
        if single_consumer.load(Relaxed) != is_single {
            single_consumer.store(is_single, Relaxed);
        }
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;
    use crate::credits::slot::Hints;
    use crate::{Consumer, Link};

    fn publish_and_read(tx: &Producer<'_>, readers: &mut [Consumer<'_>], fragments: usize) {
        for _ in 0..fragments {
            tx.send(b"clean").unwrap();
            readers.iter_mut().for_each(|rx| assert!(rx.poll().unwrap().is_some()));
        }
    }

    #[test]
    fn it_cleans_what_no_sole_consumer_does() {
        let link = Link::builder().depth(64).mtu(64).consumers(2).build().unwrap();
        let mut tx = link.producer().unwrap();
        // Whatever the processor.
        tx.clean_ahead = 2;
        let single_consumer = |tx: &Producer<'_>| tx.parts.head.credit.single_consumer.load(Relaxed);
        tx.heed_consumers();
        assert_eq!((tx.cleaning.get(), single_consumer(&tx)), (Cleaning::EvictAndFetch, 0));

        let mut readers = vec![link.consumer().unwrap()];
        publish_and_read(&tx, &mut readers, 200);
        assert_eq!((tx.cleaning.get(), single_consumer(&tx)), (Cleaning::None, 1));
        let slot = readers[0].mode.seat().unwrap().slot();
        slot.hint(Hints { evicts: true, follows: false });
        publish_and_read(&tx, &mut readers, 1);
        assert_eq!((tx.cleaning.get(), single_consumer(&tx)), (Cleaning::Fetch, 1));

        readers.push(link.consumer().unwrap());
        publish_and_read(&tx, &mut readers, 200);
        assert_eq!((tx.cleaning.get(), single_consumer(&tx)), (Cleaning::EvictAndFetch, 0));
        tx.clean_ahead = 0;
        readers.pop();
        publish_and_read(&tx, &mut readers, 200);
        assert_eq!((tx.cleaning.get(), single_consumer(&tx)), (Cleaning::None, 1));
    }

    #[test]
    fn it_fetches_the_next_line_for_who_follows_alone() {
        let link = Link::builder().depth(64).mtu(64).consumers(2).build().unwrap();
        let mut tx = link.producer().unwrap();
        tx.clean_ahead = 0;
        let mut readers = vec![link.consumer().unwrap()];
        publish_and_read(&tx, &mut readers, 200);
        let slot = readers[0].mode.seat().unwrap().slot();
        for (follows, expected) in [(true, Cleaning::FetchNext), (false, Cleaning::None)] {
            slot.hint(Hints { follows, evicts: false });
            publish_and_read(&tx, &mut readers, 1);
            assert_eq!(tx.cleaning.get(), expected);
        }
        slot.hint(Hints { follows: true, evicts: false });
        readers.push(link.consumer().unwrap());
        publish_and_read(&tx, &mut readers, 200);
        assert_eq!(tx.cleaning.get(), Cleaning::None, "the other one looks at the ring");
        // What is evicted is fetched some time before.
        tx.clean_ahead = 2;
        drop(readers.pop());
        slot.hint(Hints { follows: true, evicts: true });
        publish_and_read(&tx, &mut readers, 200);
        assert_eq!(tx.cleaning.get(), Cleaning::Fetch);
    }
}
