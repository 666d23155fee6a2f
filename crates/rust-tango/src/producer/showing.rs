//! Where a producer shows the newest fragment once more, to who waits for it: see [`hot_slot`](crate::ring::hot_slot).

use super::Producer;
use crate::credits::floor::Told;
use crate::ring::hot_slot::HotSlot;
use crate::ring::line::Content;
use crate::ring::metadata::FragmentMetadata;

/// To whom the newest fragment is shown whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// Nobody follows, as in a stream: all are told that it has come, which costs fewer stores.
    Nobody,
    All,
    /// All, and before that the owner of this slot apart.
    Apart(usize),
}

impl<'a> Producer<'a> {
    /// Shows fragment `meta.seq` as the newest.
    #[inline(always)] // out of line, the content would go through memory
    pub(super) fn show_newest(&self, meta: &FragmentMetadata, content: Content<'_>) {
        let shared = &self.parts.head.hot_slot;
        if self.showing.get() == Showing::Nobody {
            shared.announce(meta.seq);
            return;
        }
        if let Some(apart) = self.apart() {
            apart.publish(meta, content);
        }
        shared.publish(meta, content);
    }

    /// Shows that fragment `n` is in the ring, and all before it.
    #[inline]
    pub(super) fn announce(&self, n: u64) {
        if let Some(apart) = self.apart() {
            apart.announce(n);
        }
        self.parts.head.hot_slot.announce(n);
    }

    /// Has the processor fetch where a payload of `len` bytes will be shown, if somebody follows: a reader looks there all
    /// the time, so this takes the way to it and back. The ring is filled meanwhile.
    #[inline(always)]
    pub(super) fn prefetch_newest(&self, len: usize) {
        if self.showing.get() != Showing::Nobody {
            self.apart().unwrap_or(&self.parts.head.hot_slot).prefetch_for_writing(len);
        }
    }

    /// Where fragments are shown apart.
    #[inline(always)]
    fn apart(&self) -> Option<&'a HotSlot> {
        match self.showing.get() {
            Showing::Apart(slot) => self.credits.hot_slot(slot),
            Showing::Nobody | Showing::All => None,
        }
    }

    /// As the consumers are, and what they tell.
    pub(super) fn choose_where_to_show(&self, told: Told) {
        let showing = match told.single_hot_reader {
            _ if !told.followed => Showing::Nobody,
            Some(slot) if self.credits.hot_slot(slot).is_some() => Showing::Apart(slot),
            _ => Showing::All,
        };
        // Models choose themselves.
        if !cfg!(loom) {
            self.show_to(showing);
        }
    }

    /// Shows fragments to these from now on, and to no others.
    fn show_to(&self, showing: Showing) {
        let before = self.apart();
        if self.showing.replace(showing) != showing {
            if let Some(before) = before {
                before.close(self.next.get());
            }
        }
    }

    /// Shows fragments to the consumer in slot 0 apart from now on, or to all alike.
    #[cfg(all(loom, test))]
    pub(crate) fn shows_apart(&self, apart: bool) {
        self.show_to(if apart { Showing::Apart(0) } else { Showing::All });
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;
    use crate::borrowed::mcache::MCache;
    use crate::credits::floor::Slots;
    use crate::credits::slot::{ConsumerSlot, Hints};
    use crate::memory::parts::Parts;
    use crate::producer::{Claim, ProducerClaim};
    use crate::ring::region::Granules;
    use crate::waiting::eventcount::Barrier;
    use alloc::boxed::Box;

    /// Says that the owner of slot 0 is dead.
    struct FirstIsDead;

    impl ProducerClaim for FirstIsDead {
        fn consumer_lives(&self, slot: usize) -> bool {
            slot != 0
        }
    }

    /// What the dead have told is forgotten as soon as they are known to be dead, and not when something else changes.
    #[test]
    fn nothing_is_shown_to_the_dead() {
        let (ring, slots) = (MCache::<64>::boxed(), [ConsumerSlot::new(), ConsumerSlot::new()]);
        let parts = Parts {
            ring: ring.ring(),
            granules: Granules::new(&[]),
            head: ring.head(),
            stop: ring.stop_word(),
            mtu: 64,
            observers: true,
        };
        let watched = Slots::watching(slots.iter().map(|slot| (slot, None)));
        let tx = Producer::attach(parts, watched, 64, true, 1, Claim::Owned(Box::new(FirstIsDead)));
        for slot in &slots {
            slot.claim(1, false, Barrier::Fence);
            slot.settle(1, &ring.head().credit.floor, usize::MAX);
        }
        slots[0].hint(Hints { follows: true, evicts: false });
        for n in 1..=100 {
            tx.publish(&[], 0, 0, 0).unwrap();
            slots.iter().for_each(|slot| slot.release(n + 1));
        }
        assert_eq!(tx.showing.get(), Showing::All);
        assert_eq!(tx.consumers(), 1);
        assert_eq!(tx.showing.get(), Showing::Nobody);
    }
}
