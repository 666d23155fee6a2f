//! Producers act on the hints of their consumers.

use alloc::boxed::Box;
use std::vec;

use super::{Begin, Claim, Producer, ProducerClaim};
use crate::borrowed::mcache::MCache;
use crate::credits::slot::ConsumerSlot;
use crate::credits::watched::Slots;
use crate::memory::hints::Hints;
use crate::memory::parts::Parts;
use crate::ring::region::Granules;
use crate::sync::Relaxed;
use crate::timing::hints::ReaderHints;
use crate::timing::writing::Lines;
use crate::waiting::eventcount::Barrier;
use crate::{Consumer, Link};

/// Says that the owner of slot 0 is dead.
struct FirstIsDead;

impl ProducerClaim for FirstIsDead {
    fn consumer_lives(&self, slot: usize) -> bool {
        slot != 0
    }

    #[cfg(all(feature = "async", target_os = "linux"))]
    fn memory(&self) -> Option<crate::sync::Arc<dyn crate::memory::share::LinkMemory>> {
        None
    }
}

/// The producer drops the hints of a dead consumer as soon as it knows of the death, and not only when
/// other hints change.
#[test]
fn nothing_is_mirrored_for_a_dead_consumer() {
    let (ring, slots) = (MCache::<64>::boxed(), [ConsumerSlot::new(), ConsumerSlot::new()]);
    let parts = Parts {
        ring: ring.ring(),
        granules: Granules::new(&[]),
        head: ring.head(),
        hot_slot: ring.hot_slot(),
        stop: ring.stop_word(),
        mtu: 64,
        observers: true,
        hints: Hints::of_this_processor(),
    };
    let claim = Claim::Owned(Box::new(FirstIsDead));
    let begin = Begin { credits: 64, ample: true, first: 1, claim };
    let tx = Producer::attach(parts, Slots::watching(slots.iter()), begin);
    for slot in &slots {
        slot.claim(1, false, Barrier::Fence);
        slot.settle(1, &ring.head().credit.floor, usize::MAX);
    }
    slots[0].hint(ReaderHints { reads_hot_slot: true, evicts: false }.pack());
    for n in 1..=100 {
        tx.publish(&[], 0, 0, 0).unwrap();
        slots.iter().for_each(|slot| slot.release(n + 1));
    }
    assert!(tx.hot_slot.mirrors());
    assert_eq!(tx.consumers(), 1);
    assert!(!tx.hot_slot.mirrors());
}

#[test]
fn the_producer_touches_lines_unless_a_single_consumer_cleans_them() {
    let link = Link::builder().depth(64).mtu(64).consumers(2).build().unwrap();
    let mut tx = link.producer().unwrap();
    tx.lines_ahead.evicting_pays(true); // on any processor
    tx.apply_hints();
    let state = |tx: &Producer<'_>| {
        let lines = tx.lines_ahead.after(0, || 1 << 20);
        (lines, tx.parts.head.credit.single_consumer.load(Relaxed) != 0)
    };
    let publish_and_read = |tx: &Producer<'_>, readers: &mut [Consumer<'_>], fragments: usize| {
        for _ in 0..fragments {
            tx.send(b"clean").unwrap();
            readers.iter_mut().for_each(|rx| assert!(rx.poll().unwrap().is_some()));
        }
    };
    let (evict, prefetch) = (Some(6), Some(2));
    assert_eq!(state(&tx), (Some(Lines { evict, prefetch }), false));
    let mut readers = vec![link.consumer().unwrap()];
    publish_and_read(&tx, &mut readers, 200);
    assert_eq!(state(&tx), (None, true));
    let slot = readers[0].reader().mode.seat().unwrap().slot();
    slot.hint(ReaderHints { reads_hot_slot: false, evicts: true }.pack());
    publish_and_read(&tx, &mut readers, 64);
    assert_eq!(state(&tx), (Some(Lines { evict: None, prefetch }), true));
    readers.push(link.consumer().unwrap());
    publish_and_read(&tx, &mut readers, 200);
    for (are_near, expected) in [(true, None), (false, Some(Lines { evict, prefetch }))] {
        tx.lines_ahead.measured(tx.next_seq(), are_near);
        tx.apply_hints();
        assert_eq!(state(&tx), (expected, false));
    }
    // If both leave, nothing is known of observers.
    tx.lines_ahead.measured(tx.next_seq(), true);
    let (one, other) = (readers.pop(), readers.pop());
    drop((one, other));
    publish_and_read(&tx, &mut readers, 200);
    assert_eq!(state(&tx), (Some(Lines { evict, prefetch }), false));
    readers = vec![link.consumer().unwrap(), link.consumer().unwrap()];
    tx.lines_ahead.evicting_pays(false);
    drop(readers.pop());
    publish_and_read(&tx, &mut readers, 200);
    assert_eq!(state(&tx), (None, true));
}
