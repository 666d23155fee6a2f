//! Consumers join and leave while the producer runs, without its help. Each reads a sequence without gaps
//! from its first fragment on, and a consumer that has left holds nobody back.
#![cfg(feature = "std")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::{Random, assert_is, assert_whole, few, in_time, publish, publish_blocking};
use rust_tango::{Link, LinkErrorKind, Start, TangoError};

const NO_TIME: Option<Duration> = Some(Duration::ZERO);

/// One consumer after the other, each with a random start and for a random time.
fn visit(link: &Link, max: usize, visits: u64, seed: u64, total: &AtomicU64) {
    let mut random = Random::new(seed);
    let mut done = 0;
    while done < visits {
        let status = link.status();
        let start = match random.below(4) {
            0 => Start::Oldest,
            1 => Start::At(status.next.saturating_sub(random.below(20)).max(status.start)),
            2 => Start::At(status.next + random.below(20)),
            _ => Start::Next,
        };
        let mut rx = match link.consumer_from(start) {
            Ok(rx) => rx,
            Err(error) => {
                assert_eq!(error.kind(), LinkErrorKind::Taken, "{error}");
                std::thread::yield_now();
                continue;
            }
        };
        let (mut expected, mut missed) = (None, 0);
        if let Start::At(seq) = start {
            expected = Some(seq);
        }
        let stay = random.below(few(100));
        let mut seen = 0;
        while seen < stay {
            let read = rx.wait_timeout(Duration::from_millis(50));
            match read {
                Ok(Some(fragment)) => {
                    let seq = fragment.meta.seq;
                    match expected {
                        Some(expected) => assert_eq!(seq, expected, "joined at {start:?}"),
                        None => assert!(start != Start::Next || seq >= status.next),
                    }
                    assert_whole(&fragment.meta, fragment.payload.as_slice(), max);
                    if random.below(4) == 0 {
                        std::thread::yield_now();
                        assert_whole(&fragment.meta, fragment.payload.as_slice(), max);
                    }
                    expected = Some(seq.wrapping_add(1));
                    seen += 1;
                }
                Ok(None) => continue,
                Err(TangoError::Overrun { lost, next }) => {
                    assert!(
                        matches!(start, Start::At(_)) && seen == 0 && missed == 0,
                        "{start:?}, {seen} seen"
                    );
                    assert_eq!(expected.map(|expected| expected + lost), Some(next));
                    (expected, missed) = (Some(next), lost);
                }
                Err(error) => panic!("{error}"),
            }
        }
        total.fetch_add(seen, Relaxed);
        done += 1;
    }
}

/// Three visitors for two slots, an observer, and a producer that never waits for anybody to join.
fn run_visitors(depth: usize, max: usize, region: usize, visits: u64) {
    let visits = if cfg!(miri) { 1 } else { visits };
    let link = Link::builder().depth(depth).mtu(max).region(region).consumers(2).build().unwrap();
    let (over, total) = (AtomicBool::new(false), AtomicU64::new(0));
    let tx = link.producer().unwrap();
    std::thread::scope(|scope| {
        let (link, over, total) = (&link, &over, &total);
        let producer = scope.spawn(move || {
            let mut idle = 0_u64;
            while !over.load(Relaxed) {
                if publish(&tx, max).is_err() {
                    idle += 1;
                    std::thread::yield_now();
                } else if tx.next_seq() % 64 == 0 {
                    std::thread::yield_now();
                }
            }
            (tx.next_seq(), idle)
        });
        let visitors: Vec<_> =
            (0..3).map(|seed| scope.spawn(move || visit(link, max, visits, seed, total))).collect();
        let results: Vec<_> = visitors.into_iter().map(|visitor| visitor.join()).collect();
        over.store(true, Relaxed);
        producer.join().unwrap();
        results.into_iter().for_each(|result| result.unwrap());
    });
    assert!(total.load(Relaxed) > visits);
    assert!(link.status().consumers.is_empty());
}

#[test]
fn with_payloads_in_slots() {
    in_time(|| run_visitors(8, 96, 0, 300));
    in_time(|| run_visitors(2, 40, 0, 100));
}

#[test]
fn with_payloads_in_a_small_region() {
    in_time(|| run_visitors(32, 600, 2048, 300));
}

#[test]
fn a_consumer_starts_where_it_asks_to() {
    let link = Link::builder().depth(8).mtu(300).consumers(4).build().unwrap();
    let tx = link.producer().unwrap();
    for _ in 0..5 {
        publish(&tx, 300).unwrap();
    }
    let mut next = link.consumer().unwrap();
    let mut oldest = link.consumer_from(Start::Oldest).unwrap();
    let mut at = link.consumer_from(Start::At(3)).unwrap();
    let mut future = link.consumer_from(Start::At(8)).unwrap();
    assert_eq!([&next, &oldest, &at, &future].map(|rx| rx.next_seq()), [6, 1, 3, 8]);
    for _ in 0..3 {
        publish(&tx, 300).unwrap();
    }
    for (rx, first) in [(&mut next, 6), (&mut oldest, 1), (&mut at, 3), (&mut future, 8)] {
        for seq in first..=8 {
            assert_is(&rx.poll().unwrap().unwrap(), seq, 300);
        }
        assert!(rx.poll().unwrap().is_none());
    }
}

#[test]
fn a_consumer_that_starts_with_a_lost_fragment_learns_its_loss() {
    let link = Link::builder().depth(4).mtu(64).start(100).build().unwrap();
    let tx = link.producer().unwrap();
    for _ in 0..10 {
        publish(&tx, 64).unwrap();
    }
    let mut rx = link.consumer_from(Start::At(100)).unwrap();
    let Err(TangoError::Overrun { lost, next }) = rx.poll() else { panic!("nothing was lost?") };
    assert!((106..=110).contains(&next), "{next}");
    assert_eq!(100 + lost, next);
    for seq in next..110 {
        assert_is(&rx.poll().unwrap().unwrap(), seq, 64);
    }
    assert!(rx.poll().unwrap().is_none());
    let status = &link.status().consumers[0];
    assert_eq!((status.lost, status.overruns, status.consumed), (lost, 1, 110 - next));
}

#[test]
fn a_consumer_that_leaves_frees_the_producer() {
    let link = Link::builder().depth(4).mtu(300).consumers(2).build().unwrap();
    let tx = link.producer().unwrap();
    let idle = link.consumer().unwrap();
    let mut busy = link.consumer().unwrap();
    for _ in 0..4 {
        publish(&tx, 300).unwrap();
        busy.poll().unwrap().unwrap();
    }
    assert_eq!((publish(&tx, 300), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    assert_eq!(tx.held_by(), Some(0));
    drop(idle);
    for _ in 0..4 {
        publish(&tx, 300).unwrap();
    }
    assert_eq!(
        (publish(&tx, 300), tx.held_by()),
        (Err(TangoError::NoCredits), Some(1)),
        "the other consumer still counts"
    );
    assert_eq!(tx.held_by(), Some(1));
    drop(busy);
    for _ in 0..50 {
        publish(&tx, 300).unwrap();
    }
}

#[test]
fn slots_are_claimed_and_released() {
    let link = Link::builder().consumers(2).build().unwrap();
    let tx = link.producer().unwrap();
    let (first, _second) = (link.consumer().unwrap(), link.consumer().unwrap());
    let refused = link.consumer().unwrap_err();
    assert_eq!(refused.kind(), LinkErrorKind::Taken);
    assert_eq!(refused.protocol(), Some(TangoError::ConsumerTaken));
    assert_eq!(tx.consumers(), 2);
    drop(first);
    assert_eq!(tx.consumers(), 1);
    assert_eq!(link.status().consumers.iter().map(|status| status.slot).collect::<Vec<_>>(), [1]);
    let _third = link.consumer().unwrap();
    assert_eq!(tx.consumers(), 2);
    for _ in 0..10 {
        link.observer().unwrap();
    }
    let none = Link::builder().consumers(0).build().unwrap();
    assert_eq!(none.consumer().unwrap_err().kind(), LinkErrorKind::Taken);
}

#[test]
fn the_producer_waits_until_all_have_joined() {
    in_time(|| {
        let link = Link::builder().consumers(2).depth(8).mtu(64).build().unwrap();
        let tx = link.producer().unwrap();
        assert!(tx.wait_for_consumers(0, None));
        assert!(!tx.wait_for_consumers(1, NO_TIME));
        assert!(!tx.wait_for_consumers(1, Some(Duration::from_millis(5))));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let link = link.clone();
                std::thread::spawn(move || {
                    let mut rx = link.consumer().unwrap();
                    let mut seen = 0;
                    rx.for_each(|meta, _| {
                        seen += 1;
                        assert_eq!(meta.seq, seen);
                    })
                    .unwrap();
                    seen
                })
            })
            .collect();
        assert!(tx.wait_for_consumers(2, None));
        for _ in 0..100 {
            publish_blocking(&tx, 64);
        }
        drop(tx);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 100, "a consumer missed a fragment");
        }
    });
}

#[test]
fn the_producer_waits_until_all_have_read() {
    in_time(|| {
        let link = Link::builder().consumers(2).depth(8).mtu(64).build().unwrap();
        let tx = link.producer().unwrap();
        assert!(
            tx.is_drained() && tx.wait_until_drained(None),
            "without consumers there is nothing to wait for"
        );
        let (mut one, mut two) = (link.consumer().unwrap(), link.consumer().unwrap());
        publish(&tx, 64).unwrap();
        one.poll().unwrap().unwrap();
        assert!(!tx.is_drained() && !tx.wait_until_drained(NO_TIME));
        let held = two.poll().unwrap().unwrap();
        assert!(!tx.is_drained(), "it is read, but still held");
        drop(held);
        assert!(tx.wait_until_drained(NO_TIME));
        publish(&tx, 64).unwrap();
        let reader =
            std::thread::spawn(move || (one.wait().unwrap().is_some(), two.wait().unwrap().is_some()));
        assert!(tx.wait_until_drained(None));
        assert_eq!(reader.join().unwrap(), (true, true));
        let _idle = link.consumer().unwrap();
        publish(&tx, 64).unwrap();
        link.stop().unwrap();
        assert!(!tx.wait_until_drained(None), "stopped");
        assert!(!tx.wait_for_consumers(2, None), "stopped");
    });
}
