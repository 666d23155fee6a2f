//! Numbers that the producer leaves out: a reader reports these as lost, and no others, while the producer comes around the
//! ring.

use super::memory::{Memory, Model, Seen, Shape, publish, publish_all, whole};
use super::parking;
use crate::TangoError;
use crate::consumer::{Consumer, Start};
use crate::producer::Producer;
use crate::sync::kernel;
use core::time::Duration;
use loom::thread;

fn nth(n: u64) -> u64 {
    Shape::default().first.wrapping_add(n)
}

/// Leaves out `count` numbers, and waits for the consumers where it has to.
fn skip_all(producer: &Producer<'_>, count: u64) {
    let mut left = count;
    while left != 0 {
        match producer.skip(left) {
            0 => thread::yield_now(),
            done => left -= done,
        }
    }
}

/// A reliable consumer reads fragment 0, finds that 1 and 2 were left out, and reads fragment 3, in a ring of two lines. The
/// line of 3 had the placeholder for 1.
#[test]
fn a_consumer_reads_across_a_gap() {
    let model = Model::bounded(2, 94869).must_see(&["1 left out", "2 left out"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, ..Shape::default() });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                let mut n = 0;
                while n < 4 {
                    match consumer.poll() {
                        Ok(Some(fragment)) => {
                            assert_eq!(whole(&fragment), nth(n));
                            assert!(n == 0 || n == 3, "{n} was left out");
                            n += 1;
                        }
                        Ok(None) => thread::yield_now(),
                        Err(TangoError::Overrun { lost, next }) => {
                            assert!(n >= 1 && n + lost <= 3, "only 1 and 2 were left out");
                            assert_eq!(next, nth(n + lost));
                            seen.note(std::format!("{lost} left out"));
                            n += lost;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        publish_all(&producer, 1);
        skip_all(&producer, 2);
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// Polls twice. What is lost was left out, or overwritten, and nothing is corrupt.
fn observe(mut observer: Consumer<'_>, seen: &Seen) {
    for _ in 0..2 {
        let from = observer.next_seq();
        match observer.poll() {
            Ok(Some(fragment)) => {
                assert_eq!(whole(&fragment), from);
                assert!(from != nth(0) && from != nth(1), "it was left out");
                seen.note("read");
            }
            Ok(None) => seen.note("nothing"),
            Err(TangoError::Overrun { lost, next }) => {
                assert_eq!(next, from.wrapping_add(lost));
                seen.note(std::format!("{lost} lost"));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Numbers 0 and 1 were left out. Fragment 2, and perhaps 3, overwrites them while an observer comes to them.
fn overwritten(fragments: usize, seen: &Seen) {
    let memory = Memory::new(Shape::default());
    let producer = memory.producer();
    assert_eq!(producer.skip(2), 2);
    let observer = memory.observer(Start::At(nth(0)));
    let reader = thread::spawn({
        let seen = seen.clone();
        move || observe(observer, &seen)
    });
    for _ in 0..fragments {
        assert!(publish(&producer), "no consumer holds it back");
    }
    reader.join().unwrap();
}

#[test]
fn an_observer_comes_to_a_gap_that_is_overwritten() {
    Model::bounded(3, 3039)
        .must_see(&["1 lost", "2 lost", "read", "nothing"])
        .check(|seen| overwritten(1, seen));
}

#[test]
fn an_observer_comes_to_a_gap_that_is_overwritten_twice() {
    Model::bounded(1, 8367).must_see(&["1 lost", "2 lost", "read"]).check(|seen| overwritten(2, seen));
}

/// A consumer is evictable, and the producer has no patience. The consumer has nothing to read but numbers that were left
/// out, and with them it learns that it was evicted: when it has come to the last one, it has joined again.
#[test]
fn an_evicted_consumer_comes_to_a_gap() {
    let model = Model::bounded(2, 12734).must_see(&["evicted", "1 left out", "2 left out"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, ..Shape::default() });
        let producer = memory.producer().with_patience(Duration::ZERO);
        let mut consumer = memory.evictable(0, Start::Next);
        skip_all(&producer, 2);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                let mut n = 0;
                while n < 3 {
                    match consumer.poll() {
                        Ok(None) => thread::yield_now(),
                        Err(TangoError::Overrun { lost, next }) => {
                            n += lost;
                            assert_eq!(next, nth(n));
                            seen.note(std::format!("{lost} left out"));
                        }
                        Err(TangoError::Evicted { lost, next }) => {
                            n += lost;
                            assert_eq!(next, nth(n));
                            seen.note("evicted");
                        }
                        other => panic!("{other:?}"),
                    }
                }
                consumer
            }
        });
        skip_all(&producer, 1);
        let _consumer = reader.join().unwrap();
        assert_eq!(producer.consumers(), 1, "the consumer has not found out");
    });
}

/// A consumer sleeps until a number is left out.
#[test]
fn a_gap_wakes() {
    Model::exhaustive(1823).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = parking::link(1);
        let mut consumer = memory.consumer(0, Start::Next).with_wait(parking::AT_ONCE);
        let reader = thread::spawn(move || {
            assert_eq!(consumer.wait().unwrap_err(), TangoError::Overrun { lost: 1, next: 8 });
        });
        assert_eq!(producer.skip(1), 1);
        reader.join().unwrap();
        // Forget the producer: its end would wake the reader, too.
        core::mem::forget(producer);
    });
}

/// A consumer that polls the hot slot finds the numbers that were left out with its next poll.
#[test]
fn a_gap_is_announced() {
    Model::exhaustive(1).check(|_| {
        let memory = Memory::new(Shape { slots: 1, ..Shape::default() });
        memory.uses_hot_slot(true);
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next).in_hot_slot();
        assert!(consumer.poll().unwrap().is_none());
        assert_eq!(producer.skip(2), 2);
        assert_eq!(consumer.poll().unwrap_err(), TangoError::Overrun { lost: 2, next: nth(2) });
    });
}
