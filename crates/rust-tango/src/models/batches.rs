//! Several fragments at once, fragments that are skipped, and payloads that are written in place. The same
//! holds for these as for fragments that are published and read one at a time.

use super::memory::{Memory, Model, Seen, Shape, payload, publish, publish_all, whole};
use crate::TangoError;
use crate::consumer::{Consumer, Start};
use loom::thread;
use std::sync::Arc;
use std::vec::Vec;

fn nth(n: u64) -> u64 {
    Shape::default().first.wrapping_add(n)
}

/// A reliable consumer holds up to two fragments in place at once. Neither is overwritten before the batch
/// is dropped.
#[test]
fn a_batch_is_held() {
    let model = Model::bounded(3, 6791).must_see(&["1 at once", "2 at once"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, ..Shape::default() });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                while consumer.next_seq() != nth(3) {
                    let mut n = consumer.next_seq();
                    let batch = consumer.poll_batch(2).expect("nothing is lost");
                    let fragments: Vec<_> = batch.iter().collect();
                    for fragment in &fragments {
                        assert_eq!(whole(fragment), n);
                        n = n.wrapping_add(1);
                    }
                    if fragments.is_empty() {
                        thread::yield_now();
                    } else {
                        seen.note(std::format!("{} at once", fragments.len()));
                    }
                }
            }
        });
        publish_all(&producer, 3);
        reader.join().unwrap();
    });
}

/// A reliable consumer reads every second fragment. It returns the credits of those that it skips, and no
/// others.
#[test]
fn the_credits_of_skipped_fragments_return() {
    Model::bounded(3, 12653).check(|_| {
        let memory = Memory::new(Shape { slots: 1, ..Shape::default() });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        let reader = thread::spawn(move || {
            loop {
                match consumer.poll_if(|sig| sig == nth(1)).expect("nothing is lost") {
                    Some(fragment) => return assert_eq!(whole(&fragment), nth(1)),
                    None => thread::yield_now(),
                }
            }
        });
        publish_all(&producer, 4);
        reader.join().unwrap();
    });
}

/// Two fragments are there. The first is overwritten while an observer reads them by `read`.
fn lapped(seen: &Seen, read: impl FnOnce(Consumer<'static>, &Seen) + Send + 'static) {
    let memory = Memory::new(Shape::default());
    let producer = memory.producer();
    publish_all(&producer, 2);
    let observer = memory.observer(Start::At(nth(0)));
    let reader = thread::spawn({
        let seen = seen.clone();
        move || read(observer, &seen)
    });
    assert!(publish(&producer), "no consumer holds it back");
    reader.join().unwrap();
}

/// Each fragment that an observer copies in a batch is whole.
#[test]
fn an_observer_copies_a_batch() {
    let model = Model::bounded(3, 4092).must_see(&["2 at once", "lapped"]);
    model.check(|seen| {
        lapped(seen, |mut observer, seen| match observer.poll_batch(2) {
            Ok(batch) => {
                for (n, fragment) in batch.iter().enumerate() {
                    assert_eq!(whole(&fragment), nth(n as u64));
                }
                seen.note(std::format!("{} at once", batch.len()));
            }
            Err(TangoError::Overrun { .. }) => seen.note("lapped"),
            Err(error) => panic!("{error}"),
        });
    });
}

/// An observer skips a fragment only because of that fragment's own `sig`.
#[test]
fn an_observer_filters() {
    let model = Model::bounded(3, 3708).must_see(&["read", "lapped"]);
    model.check(|seen| {
        lapped(seen, |mut observer, seen| match observer.poll_if(|sig| sig == nth(0)) {
            Ok(Some(fragment)) => {
                assert_eq!(whole(&fragment), nth(0));
                seen.note("read");
            }
            Ok(None) => panic!("skipped by the tag of another fragment"),
            Err(TangoError::Overrun { .. }) => seen.note("lapped"),
            Err(error) => panic!("{error}"),
        });
    });
}

/// A loan overwrites the oldest fragment, and is committed or not, while an observer reads that fragment.
fn overwritten_by_a_loan(seen: &Seen, memory: &Arc<Memory>, before: usize, is_committed: bool) {
    let mut producer = memory.producer();
    publish_all(&producer, before);
    let mut observer = memory.observer(Start::At(nth(0)));
    let reader = thread::spawn({
        let seen = seen.clone();
        move || match observer.poll() {
            Ok(Some(fragment)) => {
                assert_eq!(whole(&fragment), nth(0));
                seen.note("read");
            }
            Ok(None) => panic!("the fragment was there"),
            Err(TangoError::Overrun { .. }) => seen.note("lapped"),
            Err(error) => panic!("{error}"),
        }
    });
    let mut loan = producer.loan(payload(0).len()).unwrap();
    let n = nth(before as u64);
    loan.write_at(0, &payload(n));
    if is_committed {
        loan.commit(n, n as u16, n as u32).unwrap();
    }
    reader.join().unwrap();
}

#[test]
fn a_loan_laps_an_observer() {
    let model = Model::exhaustive(300).must_see(&["read", "lapped"]);
    model.check(|seen| {
        overwritten_by_a_loan(seen, &Memory::new(Shape { granules: 1, ..Shape::default() }), 1, true)
    });
}

#[test]
fn a_loan_that_is_dropped_laps_an_observer() {
    let model = Model::exhaustive(81).must_see(&["read", "lapped"]);
    model.check(|seen| {
        overwritten_by_a_loan(seen, &Memory::new(Shape { granules: 1, ..Shape::default() }), 1, false)
    });
}

#[test]
fn a_loan_in_its_slot_laps_an_observer() {
    let model = Model::bounded(3, 2866).must_see(&["read", "lapped"]);
    model.check(|seen| overwritten_by_a_loan(seen, &Memory::new(Shape::default()), 2, true));
}

/// Three fragments are published in batches. A consumer that joins meanwhile reads everything that is
/// published after its place.
#[test]
fn all_of_a_batch_arrive() {
    let model = Model::bounded(3, 69348).must_see(&["from 0", "from 2"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, ..Shape::default() });
        let producer = memory.producer();
        let reader = thread::spawn({
            let (memory, seen) = (memory.clone(), seen.clone());
            move || {
                let mut consumer = memory.consumer(0, Start::Next);
                let from = consumer.next_seq();
                seen.note(std::format!("from {}", from.wrapping_sub(nth(0))));
                let mut n = from;
                while n != nth(3) {
                    // Recognised by their payloads: all fragments of a batch have the same tag.
                    match consumer.poll().expect("nothing is lost") {
                        Some(fragment) => {
                            assert_eq!(fragment.payload.as_slice(), payload(n), "another fragment");
                            n = n.wrapping_add(1);
                        }
                        None => thread::yield_now(),
                    }
                }
            }
        });
        let payloads = [payload(nth(0)), payload(nth(1)), payload(nth(2))];
        let mut count = 0;
        while count < 3 {
            let rest: Vec<&[u8]> = payloads[count..].iter().map(|payload| &payload[..]).collect();
            count += producer.publish_batch(&rest, 0, 0);
            thread::yield_now();
        }
        reader.join().unwrap();
    });
}
