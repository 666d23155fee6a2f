//! An evictable consumer gets everything as long as it keeps up. If it keeps the producer waiting for too
//! long, it is evicted, learns what it has lost, and joins again. A zero-copy consumer is never evicted.
#![cfg(feature = "std")]

mod common;

use std::time::{Duration, Instant};

use common::{Random, assert_is, assert_whole, few, in_time, publish, publish_blocking};
use rust_tango::{Consumer, Link, Producer, Start, TangoError, Wait};

const MTU: usize = 300;
const DEPTH: u64 = 8;
const PATIENCE: Duration = Duration::from_millis(30);

fn link() -> Link {
    Link::builder().depth(DEPTH as usize).mtu(MTU).consumers(2).build().unwrap()
}

#[test]
fn a_consumer_that_keeps_up_gets_everything() {
    in_time(|| {
        let link = link();
        let tx = link.producer().unwrap().with_patience(Duration::from_secs(60));
        let readers = [1, 7].map(|pace| {
            let mut rx = link.evictable_consumer(Start::Next).unwrap();
            std::thread::spawn(move || {
                let mut seq = 1;
                while let Some(fragment) = rx.wait().unwrap() {
                    assert_is(&fragment, seq, MTU);
                    if seq % pace == 0 {
                        std::thread::yield_now();
                    }
                    seq += 1;
                }
                seq
            })
        });
        for _ in 0..few(20_000) {
            publish_blocking(&tx, MTU);
        }
        assert_eq!(link.status().evicted, 0);
        drop(tx);
        assert_eq!(readers.map(|reader| reader.join().unwrap()), [few(20_000) + 1; 2]);
    });
}

#[test]
fn the_credit_returns_with_the_copy() {
    let link = link();
    let tx = link.producer().unwrap();
    let mut rx = link.evictable_consumer(Start::Next).unwrap();
    assert!(rx.is_reliable() && link.status().consumers[0].evictable);
    for _ in 0..DEPTH {
        publish(&tx, MTU).unwrap();
    }
    assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    {
        let held = rx.poll().unwrap().unwrap();
        publish(&tx, MTU).unwrap();
        assert_is(&held, 1, MTU);
    }
    let batch = rx.poll_batch(5).unwrap();
    for _ in 0..5 {
        publish(&tx, MTU).unwrap();
    }
    for (fragment, seq) in batch.iter().zip(2..) {
        assert_is(&fragment, seq, MTU);
    }
    drop(batch);
    assert!(rx.poll_if(|_| false).unwrap().is_none(), "it skips everything there is");
    for _ in 0..DEPTH {
        publish(&tx, MTU).unwrap();
    }
    assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
}

#[test]
fn a_slow_consumer_is_evicted_and_learns_its_loss() {
    in_time(|| {
        for wait in [Wait::Spin, Wait::Yield, Wait::ParkAfter(Duration::ZERO)] {
            let link = link();
            let tx = link.producer().unwrap().with_patience(PATIENCE).with_wait(wait);
            let mut lazy = link.evictable_consumer(Start::Next).unwrap();
            let mut busy = link.consumer().unwrap();
            let begin = Instant::now();
            for seq in 1..=3 * DEPTH {
                publish_blocking(&tx, MTU);
                assert_is(&busy.poll().unwrap().unwrap(), seq, MTU);
            }
            assert!(begin.elapsed() >= PATIENCE, "the producer must wait first");
            let status = link.status();
            assert_eq!((status.evicted, status.held_by), (1, None));
            // With its next call it learns of the eviction, loses nothing that is intact, and counts again.
            let error = lazy.poll().unwrap_err();
            let TangoError::Evicted { lost, next } = error else { panic!("{error}") };
            assert_eq!((lost, next), (next - 1, lazy.next_seq()));
            assert!(lost >= DEPTH, "{lost}");
            // It must not be evicted once more, however long this takes.
            let tx = tx.with_patience(Duration::MAX);
            for _ in 0..DEPTH - 1 {
                if publish(&tx, MTU).is_ok() {
                    busy.poll().unwrap().unwrap();
                }
            }
            let error = publish(&tx, MTU).unwrap_err();
            assert_eq!(
                (error, tx.held_by()),
                (TangoError::NoCredits, Some(0)),
                "the producer must wait for it again"
            );
            assert_is(&lazy.poll().unwrap().unwrap(), next, MTU);
            publish(&tx, MTU).unwrap();
            assert_eq!(link.status().consumers[0].lost, lost);
        }
    });
}

/// Fragments that other consumers hold are still there for the evicted one.
#[test]
fn an_evicted_consumer_loses_only_overwritten_fragments() {
    let link = link();
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let mut rx = link.evictable_consumer(Start::Next).unwrap();
    let mut other = link.consumer().unwrap();
    for _ in 0..DEPTH {
        publish(&tx, MTU).unwrap();
    }
    assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
    for seq in [1, 2] {
        assert_is(&other.poll().unwrap().unwrap(), seq, MTU);
    }
    publish(&tx, MTU).unwrap();
    assert_eq!(link.status().evicted, 0);
    publish(&tx, MTU).unwrap();
    assert_eq!(link.status().evicted, 1);
    assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(1)));
    let error = rx.poll().unwrap_err();
    assert_eq!(error, TangoError::Evicted { lost: 1, next: 3 }, "the last fragment has overwritten 2");
    for seq in 3..=10 {
        assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
    }
    assert!(rx.poll().unwrap().is_none());
    assert_eq!((link.status().evicted, tx.consumers()), (1, 2));
}

/// A consumer that is evicted before it is lapped learns of it and counts again, without a loss.
#[test]
fn an_evicted_consumer_that_is_not_lapped_loses_nothing() {
    let link = Link::builder().depth(16).credits(4).mtu(MTU).consumers(2).build().unwrap();
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let mut rx = link.evictable_consumer(Start::Next).unwrap();
    let _other = link.consumer().unwrap();
    for _ in 0..4 {
        publish(&tx, MTU).unwrap();
    }
    for _ in 0..3 {
        let error = publish(&tx, MTU).unwrap_err();
        assert!(matches!(error, TangoError::NoCredits), "{error}");
    }
    for seq in 1..=4 {
        assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
    }
    assert!(rx.poll().unwrap().is_none());
    assert_eq!(link.status().consumers[0].lost, 0);
    assert_eq!(tx.consumers(), 2, "it must count again");
}

/// The producer, an evictable consumer that it does not wait for, and one in slot 1 that it does wait for. So everything is
/// still there that the evicted one needs: `put` has published, or left out, the numbers 2 to 5 with one call each.
fn evicted(put: fn(&Producer<'_>) -> bool) -> (Producer<'static>, Consumer<'static>, Consumer<'static>) {
    let link = Link::builder().depth(16).credits(4).mtu(MTU).consumers(2).build().unwrap();
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let mut rx = link.evictable_consumer(Start::Next).unwrap();
    let mut other = link.consumer().unwrap();
    publish(&tx, MTU).unwrap();
    for reader in [&mut rx, &mut other] {
        assert_is(&reader.poll().unwrap().unwrap(), 1, MTU);
    }
    (2..=5).for_each(|_| assert!(put(&tx)));
    assert!((0..3).all(|_| !put(&tx)), "there are no credits");
    assert_eq!((link.status().evicted, tx.consumers()), (1, 1));
    (tx.with_patience(Duration::MAX), rx, other)
}

#[test]
fn an_evicted_consumer_that_comes_to_numbers_left_out_joins_again() {
    let (tx, mut rx, other) = evicted(|tx| tx.skip(1) == 1);
    assert_eq!(rx.poll().unwrap_err(), TangoError::Overrun { lost: 4, next: 6 });
    assert_eq!(tx.consumers(), 2, "it must count again");
    drop(other);
    assert_eq!((tx.skip(100), tx.held_by()), (4, Some(0)), "the producer must wait for it again");
}

#[test]
fn an_evicted_consumer_that_skips_fragments_joins_again() {
    let (tx, mut rx, _other) = evicted(|tx| publish(tx, MTU).is_ok());
    // With the first fragment that it skips, and not only when it has skipped all.
    let mut counted = Vec::new();
    let found = rx.poll_if(|_| {
        counted.push(tx.consumers());
        false
    });
    assert!(found.unwrap().is_none());
    assert_eq!(counted, [1, 2, 2, 2], "it must count again");
}

#[test]
fn zero_copy_consumers_are_never_evicted() {
    let link = link();
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    let mut rx = link.consumer().unwrap();
    let mut evictable = link.evictable_consumer(Start::Next).unwrap();
    for _ in 0..DEPTH {
        publish(&tx, MTU).unwrap();
        evictable.poll().unwrap().unwrap();
    }
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    }
    assert_eq!(link.status().evicted, 0);
    assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
}

/// A consumer that was evicted and has a new producer learns of both before it continues after the gap.
#[test]
fn a_takeover_does_not_hide_an_eviction() {
    let link = Link::builder().depth(16).credits(4).mtu(MTU).consumers(2).build().unwrap();
    let tx = link.producer().unwrap();
    let mut rx = link.evictable_consumer(Start::Next).unwrap();
    let mut other = link.consumer().unwrap();
    publish(&tx, MTU).unwrap();
    common::die_by_panic(tx);
    let tx = link.producer().unwrap().with_patience(Duration::ZERO);
    for _ in 2..5 {
        publish(&tx, MTU).unwrap();
    }
    for seq in 1..5 {
        assert_is(&other.poll().unwrap().unwrap(), seq, MTU);
    }
    assert_eq!(link.status().evicted, 0);
    publish(&tx, MTU).unwrap();
    assert_eq!(link.status().evicted, 1);
    // It reads a fragment that is intact, learns of the eviction, and joins again after the fragments that it
    // has lost.
    assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
    assert_eq!(rx.poll().unwrap_err(), TangoError::ProducerReplaced { first: 2 });
    assert_eq!(rx.poll().unwrap_err(), TangoError::Evicted { lost: 3, next: 5 });
    assert_is(&rx.poll().unwrap().unwrap(), 5, MTU);
    assert!(rx.poll().unwrap().is_none());
}

/// Evicted again and again at random moments, it accepts no torn fragment, and what it gets and what it was
/// told it has lost add up.
#[test]
fn received_and_lost_fragments_add_up() {
    in_time(|| {
        for round in 0..4 {
            let link = link();
            let tx = link.producer().unwrap().with_patience(Duration::from_micros(50 * round));
            let mut rx = link.evictable_consumer(Start::Next).unwrap();
            let reader = std::thread::spawn(move || {
                let mut random = Random::new(round);
                let (mut got, mut lost, mut evictions, mut expected) = (0, 0, 0, 1);
                loop {
                    match rx.wait() {
                        Ok(Some(fragment)) => {
                            assert_eq!(fragment.meta.seq, expected);
                            assert_whole(&fragment.meta, fragment.payload.as_slice(), MTU);
                            got += 1;
                            expected += 1;
                        }
                        Ok(None) => return (got, lost, evictions),
                        Err(TangoError::Evicted { lost: gap, next }) => {
                            assert_eq!(next, expected + gap);
                            lost += gap;
                            evictions += 1;
                            expected = next;
                        }
                        Err(error) => panic!("{error}"),
                    }
                    if random.below(200) == 0 {
                        std::thread::sleep(Duration::from_micros(random.below(400)));
                    }
                }
            });
            for _ in 0..few(30_000) {
                publish_blocking(&tx, MTU);
            }
            drop(tx);
            let (got, lost, evictions) = reader.join().unwrap();
            assert_eq!(got + lost, few(30_000), "{evictions} evictions");
            assert!(got > 0 && evictions <= link.status().evicted);
        }
    });
}

/// The patience is counted for each consumer, not for each fragment: a consumer that joins while another one
/// holds the producer back has all of it.
#[test]
fn a_joiner_is_not_evicted_for_the_delay_of_another() {
    let link = link();
    let tx = link.producer().unwrap().with_patience(Duration::from_secs(60));
    let mut slow = link.consumer().unwrap();
    for _ in 0..DEPTH {
        publish(&tx, MTU).unwrap();
    }
    let tx = tx.with_patience(PATIENCE);
    assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    std::thread::sleep(2 * PATIENCE);
    let mut joiner = link.evictable_consumer(Start::Oldest).unwrap();
    slow.poll().unwrap().unwrap();
    assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(1)));
    assert_eq!(link.status().evicted, 0);
    assert_is(&joiner.poll().unwrap().unwrap(), 1, MTU);
    publish(&tx, MTU).unwrap();
}

/// Without observers, loans lend the ring as plain memory, so nobody may read it at the same time.
#[test]
fn links_without_observers_refuse_evictable_consumers() {
    let link = Link::builder().depth(8).mtu(MTU).observers(false).build().unwrap();
    let error = link.evictable_consumer(Start::Next).unwrap_err();
    assert_eq!(error.kind(), rust_tango::LinkErrorKind::Invalid);
    assert!(link.producer().unwrap().loan(8).unwrap().as_mut_slice().is_some());
}
