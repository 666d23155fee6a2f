//! A producer that attaches to used storage continues from the state of the ring: with the next number, with
//! the fragments that are intact, and without overwriting payloads that readers still hold.
#![cfg(feature = "std")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Random, assert_is, assert_whole, bytes, few, in_time, publish};
use rust_tango::{Consumer, DCache, Fctl, Fseq, Link, LinkErrorKind, MCache, Producer, Start, TangoError};

const MTU: usize = 200;

#[test]
fn on_borrowed_storage_the_ring_decides_and_not_the_counter() {
    let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, MTU>::new());
    let (first, fresh, fctl) = (Fseq::new(50), Fseq::new(1), Fctl::new(8));
    let tx = Producer::with_flow_control(&mcache, &dcache, &first, &fctl);
    let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 50);
    for _ in 0..5 {
        publish(&tx, MTU).unwrap();
    }
    assert_is(&rx.poll().unwrap().unwrap(), 50, MTU);
    drop(tx);

    let tx = Producer::with_flow_control(&mcache, &dcache, &fresh, &fctl);
    assert_eq!((tx.next_seq(), fresh.current()), (55, 55), "a fresh counter is set to the end of the ring");
    for _ in 0..4 {
        publish(&tx, MTU).unwrap();
    }
    assert_eq!(
        (publish(&tx, MTU), tx.held_by()),
        (Err(TangoError::NoCredits), Some(0)),
        "unread fragments still hold credits"
    );
    for seq in 51..59 {
        assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
    }
    drop(tx);
    let tx = Producer::with_flow_control(&mcache, &dcache, &first, &fctl);
    assert_eq!((tx.next_seq(), first.current()), (59, 59), "and so is a counter that is behind");
    publish(&tx, MTU).unwrap();
    assert_is(&rx.poll().unwrap().unwrap(), 59, MTU);
}

#[test]
fn a_later_producer_continues_without_flow_control() {
    let (mcache, dcache, fseq) = (MCache::<4>::new(), DCache::<4, MTU>::new(), Fseq::new(1));
    let mut ob = Consumer::new(&mcache, &dcache, 1);
    for round in 0..30 {
        let tx = Producer::new(&mcache, &dcache, &fseq);
        assert_eq!(tx.next_seq(), 1 + 3 * round);
        for _ in 0..3 {
            publish(&tx, MTU).unwrap();
        }
        if round < 10 {
            for seq in 1 + 3 * round..4 + 3 * round {
                assert_is(&ob.poll().unwrap().unwrap(), seq, MTU);
            }
        }
    }
    assert_eq!(ob.poll().unwrap_err(), TangoError::Overrun { lost: 56, next: 87 });
    for seq in 87..=90 {
        assert_is(&ob.poll().unwrap().unwrap(), seq, MTU);
    }
}

#[test]
fn intact_fragments_can_still_be_read() {
    let link = Link::builder().depth(8).mtu(MTU).consumers(2).build().unwrap();
    let tx = link.producer().unwrap();
    assert_eq!(link.producer().unwrap_err().kind(), LinkErrorKind::Taken);
    for _ in 0..6 {
        publish(&tx, MTU).unwrap();
    }
    drop(tx);
    // Readers may also join between two producers.
    let mut between = link.consumer_from(Start::Oldest).unwrap();
    let tx = link.producer().unwrap();
    let mut after = link.observer_from(Start::Oldest).unwrap();
    assert_eq!(tx.next_seq(), 7);
    publish(&tx, MTU).unwrap();
    for rx in [&mut between, &mut after] {
        for seq in 1..=7 {
            assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
        }
    }
}

#[test]
fn a_fragment_that_is_held_survives_a_change_of_the_producer() {
    // Room for three payloads of 256 bytes.
    let link = Link::builder().depth(32).mtu(256).region(768).build().unwrap();
    let tx = link.producer().unwrap();
    let mut rx = link.consumer().unwrap();
    let send = |tx: &Producer<'_>, seed: u64| tx.publish(&bytes(seed, 256), seed, 0, 0).map(|meta| meta.seq);
    for seed in 1..=3 {
        send(&tx, seed).unwrap();
    }
    rx.poll().unwrap().unwrap();
    send(&tx, 4).unwrap(); // takes the granules of 1
    let held = rx.poll().unwrap().unwrap();
    drop(tx);
    for _ in 0..5 {
        drop(link.producer().unwrap());
    }
    let tx = link.producer().unwrap();
    assert_eq!(
        (send(&tx, 5), tx.held_by()),
        (Err(TangoError::NoCredits), Some(0)),
        "its granules hold fragment 2, which is held"
    );
    tx.publish(&[], 0, 0, 0).unwrap();
    assert_eq!(held.payload.as_slice(), bytes(2, 256));
    drop(held);
    assert_eq!(send(&tx, 5), Ok(6));
    assert_eq!((send(&tx, 6), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    for (seed, len) in [(3, 256), (4, 256), (0, 0), (5, 256)] {
        assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), bytes(seed, len));
    }
}

/// Memory that an uncommitted loan has overwritten is not taken for a fragment.
#[test]
fn an_uncommitted_loan_is_not_taken_for_a_fragment() {
    let link = Link::builder().depth(8).mtu(1000).region(1024).build().unwrap();
    let mut tx = link.producer().unwrap();
    for _ in 0..3 {
        tx.publish(&bytes(7, 300), 0, 0, 0).unwrap();
    }
    let mut loan = tx.loan(1000).unwrap(); // overwrites all three
    loan.write_at(0, &[0xff; 1000]);
    drop(loan);
    drop(tx);
    let tx = link.producer().unwrap();
    assert_eq!(tx.next_seq(), 4);
    tx.publish(&bytes(8, 500), 0, 0, 0).unwrap();
    let mut ob = link.observer_from(Start::At(1)).unwrap();
    assert_eq!(ob.poll().unwrap_err(), TangoError::Overrun { lost: 3, next: 4 });
    assert_eq!(ob.poll().unwrap().unwrap().payload.as_slice(), bytes(8, 500));
}

/// Producers replace each other at random points while two consumers read, one of them far behind.
fn relay(depth: usize, max: usize, region: usize, count: u64, start: u64) {
    let count = common::few(count);
    let link = Link::builder().depth(depth).mtu(max).region(region).consumers(2).start(start);
    let link = link.build().unwrap();
    let mut readers = [link.consumer().unwrap(), link.consumer().unwrap()];
    let mut ob = link.observer().unwrap();
    let mut random = Random::new(depth as u64 ^ region as u64);
    let mut next = start;
    let (mut ends, mut accepted) = (0, 0);
    while next.wrapping_sub(start) < count {
        let tx = link.producer().unwrap();
        assert_eq!(tx.next_seq(), next);
        for _ in 0..random.below(12) {
            match publish(&tx, max) {
                Ok(_) => next = next.wrapping_add(1),
                Err(error) => assert!(matches!(error, TangoError::NoCredits)),
            }
            for rx in &mut readers {
                for _ in 0..random.below(4) {
                    let expected = rx.next_seq();
                    match rx.poll().unwrap() {
                        Some(fragment) => assert_is(&fragment, expected, max),
                        None => assert_eq!(expected, next),
                    }
                }
            }
            let read = ob.poll().map(|fragment| {
                fragment.inspect(|fragment| assert_whole(&fragment.meta, fragment.payload.as_slice(), max))
            });
            accepted += u64::from(matches!(read, Ok(Some(_))));
        }
        drop(tx);
        ends += 1;
    }
    for rx in &mut readers {
        while rx.next_seq() != next {
            let expected = rx.next_seq();
            assert_is(&rx.poll().unwrap().unwrap(), expected, max);
        }
        assert!(rx.is_closed());
    }
    assert!(ends > count / 12 && accepted > 0);
}

#[test]
fn producers_relay_with_random_payloads() {
    in_time(|| {
        relay(16, 96, 0, 3_000, 1);
        relay(16, 1000, 2048, 5_000, 1);
        relay(64, 1000, 1024, 5_000, u64::MAX - 2_000);
        relay(8, 500, 64 * 100, 5_000, 1);
        relay(2, 300, 64 * 7, 2_000, 0);
    });
}

/// While there is no consumer, a producer with flow control publishes what the remaining credits allow and
/// then waits, even if a producer without flow control was there in between.
#[test]
fn flow_control_holds_again_after_a_producer_without_it() {
    for consumer_was_there in [false, true] {
        let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, MTU>::new());
        let (fseq, fctl) = (Fseq::new(1), Fctl::new(8));
        if consumer_was_there {
            let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
            let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
            publish(&tx, MTU).unwrap();
            rx.poll().unwrap().unwrap();
        }
        let free = Producer::new(&mcache, &dcache, &fseq);
        for _ in 0..50 {
            publish(&free, MTU).unwrap();
        }
        drop(free);
        let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        let sent = (0..100).take_while(|_| publish(&tx, MTU).is_ok()).count();
        assert!(
            sent <= 8,
            "{sent} were published although nobody reads (consumer_was_there: {consumer_was_there})"
        );
    }
}

/// A loss that was not reported yet, and a takeover: the reader learns of both before it continues.
#[test]
fn a_takeover_hides_no_loss() {
    let link = Link::builder().depth(4).mtu(8).consumers(1).build().unwrap();
    let tx = link.producer().unwrap();
    for _ in 0..10 {
        tx.send(b"x").unwrap();
    }
    let mut rx = link.consumer_from(Start::At(1)).unwrap();
    let panics = std::thread::spawn(move || {
        let _tx = tx;
        panic!("as it should in this test");
    });
    assert!(panics.join().is_err());
    assert!(!rx.is_closed(), "a panic is not an orderly end");
    let tx = link.producer().unwrap();
    tx.send(b"y").unwrap();
    let mut reported = Vec::new();
    let first = loop {
        match rx.poll() {
            Ok(fragment) => break fragment.unwrap().meta.seq,
            Err(error) => reported.push(error),
        }
    };
    let lost = TangoError::Overrun { lost: first - 1, next: first };
    assert!(
        reported.contains(&lost) && reported.contains(&TangoError::ProducerReplaced { first: 11 }),
        "{reported:?}"
    );
    assert_eq!(reported.len(), 2);
    while let Some(fragment) = rx.poll().unwrap() {
        assert_eq!(fragment.payload.as_slice(), if fragment.meta.seq < 11 { b"x" } else { b"y" });
    }
}

/// A reader that learned of the death of one producer learns of the next producer before its first fragment,
/// whatever the timing, and learns nothing more of earlier deaths after that.
#[test]
fn a_producer_after_a_death_is_announced_before_its_first_fragment() {
    in_time(|| {
        const LIVES: u64 = few(8000);
        // So many deaths and takeovers must be seen, or more.
        const GONE: u64 = if cfg!(miri) { 1 } else { 30 };
        const REPLACED: u64 = if cfg!(miri) { 0 } else { 10 };
        let link = Link::builder().depth(64).mtu(MTU).consumers(3).build().unwrap();
        drop(link.producer().unwrap());
        let mut readers = [
            link.consumer().unwrap(),
            link.evictable_consumer(Start::Next).unwrap(),
            link.observer().unwrap(),
        ];
        // Readers that get little processor time see few of them, and then the test runs longer.
        let is_enough = Arc::new(AtomicBool::new(false));
        let enough = is_enough.clone();
        let producing = std::thread::spawn(move || {
            let mut random = Random::new(3);
            let mut lives = 0;
            while lives < LIVES || !enough.load(Ordering::Relaxed) {
                lives += 1;
                let tx = link.producer().unwrap();
                let count = random.below(3);
                for _ in 0..count {
                    common::publish_blocking(&tx, MTU);
                }
                common::die_by_panic(tx);
                for _ in 0..random.below(few(3000)) {
                    std::hint::spin_loop();
                }
            }
            drop(link.producer().unwrap());
            lives
        });
        // Where each reader learned of a death, unless it has learned of a new producer since.
        let (mut gone, mut replaced, mut reported) = ([None; 3], [0_u64; 3], 0_u64);
        while !readers.iter().all(Consumer::is_closed) || !producing.is_finished() {
            for (at, rx) in readers.iter_mut().enumerate() {
                let next = rx.next_seq();
                match rx.poll() {
                    Ok(None) => {}
                    Ok(Some(fragment)) => {
                        assert!(
                            gone[at].is_none(),
                            "reader {at}: fragment {} is of a producer that was not announced",
                            fragment.meta.seq
                        );
                        assert_is(&fragment, next, MTU);
                    }
                    Err(TangoError::ProducerGone) => {
                        reported += u64::from(gone[at].is_none());
                        gone[at].get_or_insert(next);
                    }
                    Err(TangoError::ProducerReplaced { first }) => {
                        assert!(gone[at].is_none_or(|next| first >= next), "reader {at}: {first}, {gone:?}");
                        gone[at] = None;
                        replaced[at] += 1;
                    }
                    Err(TangoError::Overrun { .. }) if at == 2 => {}
                    Err(error) => panic!("{error}"),
                }
            }
            let have_seen_enough = reported > GONE && replaced.iter().all(|count| *count > REPLACED);
            is_enough.store(have_seen_enough, Ordering::Relaxed);
        }
        let lives = producing.join().unwrap();
        assert!(replaced.iter().all(|count| *count > REPLACED && *count <= lives), "{replaced:?}");
        assert!(reported > GONE, "only {reported} deaths were seen");
    });
}

/// A reader that learned of a death waits until a new producer has come, or until its timeout.
#[test]
fn a_reader_waits_for_the_next_producer() {
    in_time(|| {
        let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        common::die_by_panic(tx);
        assert_eq!(rx.wait().unwrap_err(), rust_tango::TangoError::ProducerGone);
        assert!(!rx.wait_for_producer(Some(std::time::Duration::from_millis(1))), "there is no new producer");
        let next = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(30));
            link.producer().unwrap()
        });
        assert!(rx.wait_for_producer(None));
        publish(&next.join().unwrap(), MTU).unwrap();
        assert!(matches!(rx.wait(), Err(rust_tango::TangoError::ProducerReplaced { first: 1 })));
        assert_is(&rx.wait().unwrap().unwrap(), 1, MTU);
    });
}
