//! Who follows the newest fragment reads what who looks in the ring would: all of it, whole, in order.

use super::memory::{Memory, Model, PAYLOAD, Shape, payload, publish, publish_all, read_through, whole};
use crate::consumer::Start;
use crate::{Fragment, Producer, TangoError};
use loom::thread;
use std::sync::Arc;

const FIRST: u64 = 7;

const SHAPE: Shape = Shape { depth: 2, granules: 0, slots: 1, first: FIRST };

fn memory(shape: Shape) -> Arc<Memory> {
    let memory = Memory::new(shape);
    memory.shows_latest(true);
    memory
}

/// Where fragments of one by one are read.
const EITHER: &[&str] = &["copied", "in the ring"];

/// Two fragments, the first of them, or both, as `put` publishes them; `check` is told
/// what is read and which it must be.
fn all_arrive(
    least: usize,
    must_see: &'static [&'static str],
    put: impl Fn(&mut Producer<'_>) + Send + Sync + 'static,
    check: impl Fn(&Fragment<'_>, u64) + Send + Sync + Copy + 'static,
) {
    let model = Model::bounded(3, least).must_see(must_see);
    model.check(move |seen| {
        let memory = memory(SHAPE);
        let mut producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next).following();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                for n in FIRST..FIRST + 2 {
                    while consumer.next_seq() == n {
                        match consumer.poll().expect("nothing is lost") {
                            Some(fragment) => {
                                check(&fragment, n);
                                let in_place = fragment.payload.is_in_place();
                                seen.note(if in_place { "in the ring" } else { "copied" });
                            }
                            None => thread::yield_now(),
                        }
                    }
                }
            }
        });
        put(&mut producer);
        while producer.next_seq() != FIRST + 2 {
            publish_all(&producer, 1);
        }
        reader.join().unwrap();
    });
}

#[test]
fn all_arrive_one_by_one() {
    all_arrive(11167, EITHER, |_| (), |fragment, n| assert_eq!(whole(fragment), n));
}

#[test]
fn all_arrive_behind_a_batch() {
    let put = |producer: &mut Producer<'_>| {
        assert_eq!(producer.publish_batch(&[&payload(FIRST), &payload(FIRST + 1)], 0, 0), 2);
    };
    // A batch has one tag for all.
    all_arrive(10, &["in the ring"], put, |fragment, n| assert_eq!(fragment.payload.as_slice(), payload(n)));
}

#[test]
fn all_arrive_behind_a_loan() {
    let put = |producer: &mut Producer<'_>| {
        let mut loan = producer.loan(PAYLOAD).expect("nobody holds it back");
        loan.write_at(0, &payload(FIRST));
        loan.commit(FIRST, FIRST as u16, FIRST as u32);
    };
    all_arrive(11167, EITHER, put, |fragment, n| assert_eq!(whole(fragment), n));
}

/// An observer accepts no mixture, wherever it looks.
#[test]
fn an_observer_follows() {
    let model = Model::exhaustive(30188).must_see(&["0", "1", "nothing"]);
    model.check(|seen| {
        let memory = memory(Shape { slots: 0, ..SHAPE });
        let producer = memory.producer();
        publish_all(&producer, 1);
        let mut observer = memory.observer(Start::At(FIRST)).following();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                for _ in 0..2 {
                    let from = observer.next_seq();
                    match observer.poll() {
                        Ok(Some(fragment)) => {
                            assert_eq!(whole(&fragment), from);
                            seen.note(std::format!("{}", from - FIRST));
                        }
                        Ok(None) => seen.note("nothing"),
                        Err(TangoError::Overrun { .. }) => seen.note("lapped"),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        assert!(publish(&producer), "nobody holds it back");
        reader.join().unwrap();
    });
}

/// A producer dies when its fragment is in the ring, and not yet where followers look. Nobody comes after it.
#[test]
fn the_last_of_the_dead_is_read() {
    let model = Model::exhaustive(19);
    model.check(|_| {
        let memory = memory(SHAPE);
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next).following();
        let reader = thread::spawn(move || {
            read_through(&mut consumer, FIRST);
            loop {
                match consumer.poll() {
                    Ok(None) => thread::yield_now(),
                    Err(TangoError::ProducerGone) => return,
                    other => panic!("{other:?}"),
                }
            }
        });
        memory.shows_latest(false);
        publish_all(&producer, 1);
        memory.fails(producer);
        reader.join().unwrap();
    });
}

/// The same, or in the midst of showing it, and another producer comes, which publishes nothing, or something.
fn a_follower_goes_on(memory: &Arc<Memory>, published: u64) {
    let producer = memory.producer();
    let mut consumer = memory.consumer(0, Start::Next).following();
    publish_all(&producer, 1);
    read_through(&mut consumer, FIRST);
    memory.shows_latest(false);
    publish_all(&producer, 1);
    memory.dies_showing(FIRST + 1, producer);
    memory.shows_latest(true);
    let producer = memory.producer();
    publish_all(&producer, published as usize);
    let mut next = FIRST + 1;
    // Each look that finds nothing is one too many, but for the one that the next producer is announced by.
    let mut looks = 0;
    while next != FIRST + 2 + published {
        looks += 1;
        assert!(looks <= 2 + published, "{next} is not found");
        if let Ok(Some(fragment)) = consumer.poll() {
            assert_eq!(whole(&fragment), next);
            next += 1;
        }
    }
}

#[test]
fn the_next_producer_shows_the_last_of_the_dead() {
    Model::exhaustive(1).check(|_| a_follower_goes_on(&memory(SHAPE), 0));
}

#[test]
fn the_next_producer_is_followed() {
    Model::exhaustive(1).check(|_| a_follower_goes_on(&memory(Shape { depth: 4, ..SHAPE }), 1));
}
