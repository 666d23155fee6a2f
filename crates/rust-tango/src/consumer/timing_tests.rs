//! Consumers act on the policy of [`timing`](crate::timing).

use std::vec::Vec;

use crate::ring::metadata::FragmentMetadata;
use crate::timing::idle::POLLS_PER_RING_CHECK;
use crate::timing::place::{
    HINT_KEPT_FOR, MAX_ANNOUNCED, MAX_PROMPT, PAUSE, SHORT_VISIT, SHORT_VISITS, STEADY, STEADY_WAITED,
};
use crate::{Consumer, Link, Producer};

/// More empty polls than it takes to change to the hot slot.
const POLLS: u32 = 32;

fn link() -> (Producer<'static>, Consumer<'static>) {
    let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    (link.producer().unwrap(), link.consumer().unwrap())
}

/// Whether it polls the hot slot after many empty polls.
fn waits_in_hot_slot(rx: &mut Consumer<'_>) -> bool {
    (0..POLLS).for_each(|_| assert!(rx.poll().unwrap().is_none()));
    rx.reader().pacing.timing.is_in_hot_slot()
}

#[test]
fn an_observer_leaves_the_hot_slot_if_consumers_poll_the_ring() {
    let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let (tx, mut rx, mut observer) =
        (link.producer().unwrap(), link.consumer().unwrap(), link.observer().unwrap());
    let mut publish = |observer: &mut Consumer<'_>| {
        tx.send(b"to both").unwrap();
        assert!(rx.poll().unwrap().is_some());
        assert_eq!(observer.poll().unwrap().unwrap().payload.as_slice(), b"to both");
    };
    // After some laps, the producer knows that it has a consumer.
    (0..32).for_each(|_| publish(&mut observer));
    for _ in 0..MAX_ANNOUNCED {
        assert!(waits_in_hot_slot(&mut observer));
        publish(&mut observer);
    }
    assert!(!waits_in_hot_slot(&mut observer));
    (0..PAUSE).for_each(|_| publish(&mut observer));
    assert!(waits_in_hot_slot(&mut observer));
}

/// As a producer leaves it that is suspended between two stores: the fragment is in the ring, and not in
/// the hot slot.
#[test]
fn a_fragment_that_is_only_in_the_ring_is_found() {
    let (tx, mut rx) = link();
    tx.send(b"whole").unwrap();
    assert!(rx.poll().unwrap().is_some());
    assert!(waits_in_hot_slot(&mut rx));
    let meta = FragmentMetadata::in_slot(rx.reader().next, 0, 7, 0, 0);
    rx.reader().parts.ring.line(rx.reader().next).publish(&meta);
    // Only the last polls under Miri, which is slow.
    let skipped = if cfg!(miri) { POLLS_PER_RING_CHECK - 1024 } else { 0 };
    rx.reader_mut().pacing.timing.skip_polls(skipped);
    let polls = POLLS_PER_RING_CHECK + 1 - skipped;
    let found = (0..polls).find_map(|_| rx.poll().unwrap().map(|found| found.meta.sig));
    assert_eq!(found, Some(7));
}

#[test]
fn a_reader_that_waits_a_little_for_each_polls_the_hot_slot_soon() {
    let (tx, mut rx) = link();
    let mut one = |polls: u32| {
        (0..polls).for_each(|_| assert!(rx.poll().unwrap().is_none()));
        tx.send(b"one by one").unwrap();
        assert!(rx.poll().unwrap().is_some());
        rx.reader().pacing.timing.is_in_hot_slot()
    };
    assert!((0..100).all(|_| !one(STEADY_WAITED - 1)));
    let unsteady = |at: u32| if at % STEADY == 0 { 0 } else { STEADY_WAITED };
    assert!((0..100).all(|at| !one(unsteady(at))));
    let steady = (0..100).position(|_| one(STEADY_WAITED)).unwrap();
    assert!((1..=STEADY as usize + 1).contains(&steady), "{steady}");
    assert!((0..100).all(|_| one(STEADY_WAITED)), "the reader stays in the hot slot");
}

/// In bursts, each visit of the hot slot is short: the producer is ahead before the reader has copied from there.
#[test]
fn a_reader_of_bursts_stays_in_the_ring() {
    let (tx, mut rx) = link();
    let mut burst = |fragments: u64| {
        (0..fragments).for_each(|_| tx.send(b"burst").unwrap());
        (0..fragments).for_each(|_| assert!(rx.poll().unwrap().is_some()));
        waits_in_hot_slot(&mut rx)
    };
    assert!(burst(1));
    for _ in 1..SHORT_VISITS {
        assert!(burst(4), "one short visit after the other");
    }
    assert!((1..PAUSE / 4).all(|_| !burst(4)), "it polls the ring");
    assert!(burst(4), "it tries again");
    // Between short visits, one that is long enough.
    for _ in 0..4 {
        assert!((1..SHORT_VISITS).all(|_| burst(4)));
        assert!((0..SHORT_VISIT).all(|_| burst(1)));
    }
}

/// A sleep ends a visit of the hot slot, but is no sign of bursts.
#[cfg(feature = "std")]
#[test]
fn a_reader_that_slept_polls_the_hot_slot_again() {
    let (tx, mut rx) = link();
    for _ in 0..4 * SHORT_VISITS {
        assert!(waits_in_hot_slot(&mut rx));
        // It sleeps, because the default is `Wait::Park`.
        assert!(rx.wait_timeout(core::time::Duration::from_millis(1)).unwrap().is_none());
    }
    tx.send(b"late").unwrap();
    assert!(rx.poll().unwrap().is_some());
    assert!(waits_in_hot_slot(&mut rx));
}

#[test]
fn a_reader_takes_its_hint_back_some_time_after_it_left_the_hot_slot() {
    let (tx, mut rx) = link();
    assert!(waits_in_hot_slot(&mut rx));
    assert!(rx.reader().pacing.timing.hints().reads_hot_slot);
    let mut read = |fragments: u64| {
        for _ in 0..fragments {
            tx.send(b"one by one").unwrap();
            assert!(rx.poll().unwrap().is_some());
        }
        assert!(rx.poll().unwrap().is_none());
        (rx.reader().pacing.timing.is_in_hot_slot(), rx.reader().pacing.timing.hints().reads_hot_slot)
    };
    assert_eq!(read(1), (true, true));
    assert_eq!(read(u64::from(MAX_PROMPT)), (false, true));
    assert_eq!(read(HINT_KEPT_FOR), (false, false));
}

/// The hints of a consumer reach the producer before the consumer gives the hot slot up, whatever the depth.
#[test]
fn the_producer_mirrors_for_a_consumer_that_polls_the_hot_slot() {
    // Under Miri, a large ring takes minutes.
    let depths: &[usize] = if cfg!(miri) { &[8, 64] } else { &[8, 64, 1024, 1 << 16] };
    for depth in depths.iter().copied() {
        let link = Link::builder().depth(depth).mtu(64).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        for _ in 0..200 {
            tx.send(b"stream").unwrap();
            assert!(rx.poll().unwrap().is_some());
        }
        let mut is_in_ring = Vec::new();
        for at in 0..100 {
            assert!(waits_in_hot_slot(&mut rx), "depth {depth}, fragment {at}");
            tx.send(b"awaited").unwrap();
            let in_the_ring = rx.reader().parts.ring.line(rx.reader().next).room.as_ptr().addr();
            let fragment = rx.poll().unwrap().unwrap();
            is_in_ring.push(fragment.payload.as_slice().as_ptr().addr() == in_the_ring);
        }
        let announced = is_in_ring.iter().position(|in_ring| !in_ring).expect("nothing was mirrored");
        assert!(announced < MAX_ANNOUNCED as usize, "depth {depth}: {announced}");
        assert!(is_in_ring[announced..].iter().all(|in_ring| !in_ring), "depth {depth}");
    }
}

/// A single consumer evicts what it has read, and hints so, unless the producer had to wait for it.
#[test]
fn a_single_consumer_evicts_as_long_as_the_producer_does_not_wait() {
    let link = Link::builder().depth(1024).mtu(64).consumers(2).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    rx.reader_mut().pacing.timing.only_evicting_pays(); // whatever the processor
    let state =
        |rx: &Consumer<'_>| (rx.reader().pacing.timing.cleans(), rx.reader().pacing.timing.hints().evicts);
    let read = |rx: &mut Consumer<'_>, fragments: usize| {
        (0..fragments).for_each(|_| assert!(rx.poll().unwrap().is_some()));
    };
    let stream = |rx: &mut Consumer<'_>, fragments: usize| {
        for _ in 0..fragments {
            tx.send(b"stream").unwrap();
            read(rx, 1);
        }
    };
    stream(&mut rx, 512);
    assert_eq!(state(&rx), (false, false), "the producer has not said that there is one consumer");
    // After a lap, it has counted.
    stream(&mut rx, 2048);
    assert_eq!(state(&rx), (true, true));
    while tx.publish(b"more than there is room for", 0, 0, 0).is_ok() {}
    let mut read_until = |expected| {
        (0..128).any(|_| {
            read(&mut rx, 1);
            state(&rx) == expected
        })
    };
    assert!(read_until((false, true)), "the producer had to wait");
    assert!(read_until((true, true)), "it has not waited since");
    read(&mut rx, 512);
    let mut other = link.consumer().unwrap();
    for _ in 0..2048 {
        stream(&mut rx, 1);
        while other.poll().unwrap().is_some() {}
    }
    assert!(!state(&rx).0, "there are two");
}
