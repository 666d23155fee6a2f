//! The floor, with slots that the tests write as consumers do.

use super::floor::Credits;
use super::slot::ConsumerSlot;
use super::watched::Slots;
use crate::sync::AtomicU64;
use crate::waiting::eventcount::Barrier;

#[test]
fn the_slowest_consumer_determines_the_floor() {
    let (a, word) = (ConsumerSlot::new(), AtomicU64::new(0));
    let slots = Slots::awaiting(Some(&a));
    let credits = Credits::new(slots, 10, &word, 8);
    assert!(!credits.refresh(14), "an Fctl holds the producer back until its first consumer comes");
    a.claim(10, false, Barrier::Fence);
    assert_eq!(a.settle(3, &word, usize::MAX), 10, "a start before the floor moves up to it");
    a.release(12);
    assert!(credits.refresh(14));
    assert_eq!((credits.limit(), credits.held_by()), (20, Some(0)));
    a.release(99);
    assert!(credits.refresh(14));
    assert_eq!(credits.limit(), 22, "a demand after the producer's number counts as that number");
    a.release(3);
    assert!(!credits.refresh(15), "the consumer of an Fctl counts, even if its demand is before the floor");
}

/// However many slots there are, each sleep is seen once.
#[cfg(feature = "alloc")]
#[test]
fn the_sleep_of_each_consumer_is_seen() {
    let word = AtomicU64::new(0);
    for count in [0, 1, 2, 8, 9, 15, 16] {
        let slots: Vec<_> = (0..count).map(|_| ConsumerSlot::new()).collect();
        let credits = Credits::new(Slots::watching(slots.iter()), 0, &word, 8);
        let read = || {
            let asleep = credits.asleep();
            credits.sleep_changed(asleep).then(|| credits.read_sleep(asleep))
        };
        assert_eq!(read(), None);
        for slot in &slots {
            slot.fall_asleep();
            assert_eq!((read(), read()), (Some(true), None), "{count} slots");
        }
        for slot in &slots {
            slot.claim(0, false, Barrier::Fence); // wakes up
            assert_eq!((read(), read()), (Some(false), None), "{count} slots");
        }
    }
}

#[cfg(feature = "alloc")]
#[test]
fn consumers_are_near_if_all_are_that_count() {
    let (a, b, word) = (ConsumerSlot::new(), ConsumerSlot::new(), AtomicU64::new(0));
    let credits = Credits::new(Slots::watching([&a, &b].into_iter()), 0, &word, 8);
    let are_near = |near: &[&ConsumerSlot]| {
        credits.are_near(|word| near.iter().any(|slot| core::ptr::eq(slot.progress(), word)))
    };
    [&a, &b].into_iter().for_each(|slot| slot.claim(1, false, Barrier::Fence));
    assert!(credits.refresh(8));
    assert_eq!(are_near(&[&a, &b]), None, "they have not moved");
    a.release(2);
    assert_eq!(are_near(&[&a, &b]), None, "one has not moved");
    assert_eq!(are_near(&[]), None, "nor has the other since");
    b.release(2);
    assert_eq!(are_near(&[&a]), Some(false), "one is far");
    a.release(3);
    assert_eq!(are_near(&[&a, &b]), Some(false), "and has not moved");
    b.release(3);
    assert!(credits.refresh(8)); // reads how far it is
    assert_eq!(are_near(&[&a, &b]), Some(false));
    b.release(4);
    assert_eq!(are_near(&[&a, &b]), Some(true));
    b.leave();
    a.release(4);
    assert!(credits.refresh(8));
    a.release(5);
    assert_eq!(are_near(&[&a]), Some(true), "the other does not count any more");
    b.claim(5, false, Barrier::Fence);
    assert!(credits.refresh(8));
    assert_eq!(are_near(&[&a, &b]), None, "the next owner may be elsewhere");
}

#[cfg(feature = "alloc")]
#[test]
fn the_hints_of_a_dead_consumer_do_not_count() {
    let (a, b, word) = (ConsumerSlot::new(), ConsumerSlot::new(), AtomicU64::new(0));
    let credits = Credits::new(Slots::watching([&a, &b].into_iter()), 0, &word, 8);
    let read = || {
        let changed = credits.read_hints();
        (changed, credits.hints().collect::<Vec<_>>())
    };
    for slot in [&a, &b] {
        slot.claim(0, false, Barrier::Fence);
        slot.hint(7);
    }
    assert_eq!(read(), (true, vec![7, 7]));
    assert_eq!(read(), (false, vec![7, 7]));
    assert_eq!(credits.reap_dead(|slot| slot != 0), 1);
    assert_eq!(credits.hints().collect::<Vec<_>>(), [0, 7]);
    b.release(1);
    assert!(credits.refresh(8));
    assert_eq!(credits.counted(), 1);
    b.hint(0);
    assert_eq!(read(), (true, vec![0, 0]));
    // The slot of the dead consumer has a new owner. The producer reads its hints before it needs
    // credits.
    a.claim(1, false, Barrier::Fence);
    assert_eq!(read(), (true, vec![0, 0]));
    a.hint(3);
    assert_eq!(read(), (true, vec![3, 0]));
    a.leave();
    assert_eq!(read(), (true, vec![0, 0]));
}

#[cfg(feature = "alloc")]
#[test]
fn a_dead_owner_is_ignored_until_the_next_claim() {
    let (a, b, word) = (ConsumerSlot::new(), ConsumerSlot::new(), AtomicU64::new(0));
    let slots = Slots::watching([&a, &b].into_iter());
    let credits = Credits::new(slots, 0, &word, 8);
    a.claim(2, false, Barrier::Fence);
    b.claim(5, false, Barrier::Fence);
    assert!(credits.refresh(8));
    assert_eq!(credits.limit(), 10);
    assert!(!credits.refresh(8));
    assert_eq!(credits.held_by(), Some(0));
    credits.reap_dead(|slot| slot != 0);
    assert!(credits.refresh(8));
    assert_eq!(credits.limit(), 13);
    a.claim(6, false, Barrier::Fence);
    a.settle(6, &word, usize::MAX);
    b.leave();
    assert!(credits.refresh(8));
    assert_eq!((credits.limit(), credits.held_by()), (14, Some(0)));
    assert_eq!(credits.attached().collect::<Vec<_>>(), [(0, 6)]);
    a.release(1);
    assert!(credits.refresh(9));
    assert_eq!(credits.limit(), 17, "a demand before the floor is ignored");
}
