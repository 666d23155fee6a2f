//! One producer and one reader: fragments are whole, in order, and not overwritten while they are read.

use super::memory::{Memory, Model, Seen, Shape, publish, publish_all, read, whole};
use crate::consumer::{Consumer, Start};
use crate::error::TangoError;
use loom::thread;

/// Publishes three fragments into a ring of two. So the third needs the credit and the line of the first.
fn all_arrive(shape: Shape) {
    let memory = Memory::new(shape);
    let producer = memory.producer();
    let mut consumer = memory.consumer(0, Start::Next);
    let reader = thread::spawn(move || {
        for n in 0..3 {
            read(&mut consumer, shape.first.wrapping_add(n));
        }
    });
    publish_all(&producer, 3);
    reader.join().unwrap();
}

#[test]
fn all_arrive_in_slots() {
    Model::bounded(3, 5351).check(|_| all_arrive(Shape { slots: 1, ..Shape::default() }));
}

#[test]
fn all_arrive_in_granules() {
    Model::bounded(3, 5351).check(|_| all_arrive(Shape { slots: 1, granules: 2, ..Shape::default() }));
}

/// Polls twice, from the first fragment on. Notes the results.
fn observe(mut observer: Consumer<'_>, first: u64, seen: &Seen) {
    for _ in 0..2 {
        let from = observer.next_seq();
        match observer.poll() {
            Ok(Some(fragment)) => {
                assert_eq!(whole(&fragment), from);
                seen.note(std::format!("read {}", from.wrapping_sub(first)));
            }
            Ok(None) => seen.note("nothing"),
            Err(TangoError::Overrun { lost, next }) => {
                assert!(lost > 0);
                assert_eq!(next, from.wrapping_add(lost));
                seen.note("lapped");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// An observer reads while the producer overwrites, and accepts no mixture.
fn observed(shape: Shape, before: usize, meanwhile: usize, seen: &Seen) {
    let memory = Memory::new(shape);
    let producer = memory.producer();
    publish_all(&producer, before);
    let observer = memory.observer(Start::At(shape.first));
    let reader = thread::spawn({
        let seen = seen.clone();
        move || observe(observer, shape.first, &seen)
    });
    for _ in 0..meanwhile {
        assert!(publish(&producer), "no consumer holds it back");
    }
    reader.join().unwrap();
}

#[test]
fn an_observer_is_lapped_in_slots() {
    let model = Model::exhaustive(31158).must_see(&["read 0", "read 1", "lapped"]);
    model.check(|seen| observed(Shape::default(), 2, 1, seen));
}

#[test]
fn an_observer_is_lapped_by_two() {
    let model = Model::bounded(3, 4384).must_see(&["nothing", "read 0", "read 1", "lapped"]);
    model.check(|seen| observed(Shape::default(), 1, 2, seen));
}

#[test]
fn an_observer_is_lapped_in_granules() {
    let shape = Shape { granules: 1, depth: 4, ..Shape::default() };
    let model = Model::exhaustive(1096).must_see(&["read 0", "read 1", "lapped"]);
    model.check(move |seen| observed(shape, 1, 1, seen));
}

#[test]
fn a_payload_may_overwrite_several() {
    // Three fragments of one granule each, in a region of three granules. The fourth fragment skips no
    // tail, and overwrites the granule of a fragment whose line it does not use.
    let shape = Shape { granules: 3, depth: 4, ..Shape::default() };
    let model = Model::exhaustive(348).must_see(&["read 0", "lapped"]);
    model.check(move |seen| observed(shape, 3, 1, seen));
}
