//! A reader that polls a hot slot reads what it would read in the ring: every fragment, whole, in order.

use super::memory::{
    Memory, Model, PAYLOAD, Shape, payload, publish_all, read_across_producers, whole, whole_of,
};
use crate::consumer::Start;
use crate::{Fragment, Link, Producer, TangoError};
use loom::thread;
use std::sync::Arc;

const FIRST: u64 = 7;

const SHAPE: Shape = Shape { depth: 2, granules: 0, mtu: PAYLOAD, slots: 1, first: FIRST };

fn memory(shape: Shape) -> Arc<Memory> {
    let memory = Memory::new(shape);
    memory.uses_hot_slot(true);
    memory
}

/// A short payload takes one cache line.
const SHORT: usize = PAYLOAD / 2;

/// Where fragments that are published one at a time may be read.
const EITHER: &[&str] = &["copied", "ring"];

/// Two fragments. `put` publishes the first, or both. `check` checks each fragment that is read, with the
/// number that it should have.
fn all_arrive(
    least: usize,
    must_see: &'static [&'static str],
    put: impl Fn(&mut Producer<'_>) + Send + Sync + 'static,
    check: impl Fn(&Fragment<'_>, u64) + Send + Sync + Copy + 'static,
) {
    Model::bounded(3, least).must_see(must_see).check(move |seen| {
        let memory = memory(SHAPE);
        let mut producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next).in_hot_slot();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                for n in FIRST..FIRST + 2 {
                    while consumer.next_seq() == n {
                        match consumer.poll().expect("nothing is lost") {
                            Some(fragment) => {
                                check(&fragment, n);
                                let in_place = fragment.payload.is_in_place();
                                seen.note(if in_place { "ring" } else { "copied" });
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
    all_arrive(70514, EITHER, |_| (), |fragment, n| assert_eq!(whole(fragment), n));
}

/// Publishes the next fragment in a batch of its own. So it is only announced, and its `sig` is 0.
fn announce(producer: &Producer<'_>) {
    let payload = payload(producer.next_seq());
    assert_eq!(producer.publish_batch(&[&payload], 0, 0), 1);
}

fn is_of(fragment: &Fragment<'_>, n: u64) {
    assert_eq!((fragment.meta.seq, fragment.payload.as_slice()), (n, &payload(n)[..]));
}

#[test]
fn all_arrive_after_a_batch() {
    all_arrive(6569, EITHER, |producer| announce(producer), is_of);
}

#[test]
fn all_arrive_before_a_batch() {
    let put = |producer: &mut Producer<'_>| {
        publish_all(producer, 1);
        announce(producer);
    };
    all_arrive(660, EITHER, put, is_of);
}

/// Publishes the next fragment, with a short payload.
fn publish_short(producer: &Producer<'_>) {
    let payload = &payload(producer.next_seq())[..SHORT];
    assert!(producer.publish(payload, 0, 0, 0).is_ok());
}

fn is_short_of(fragment: &Fragment<'_>, n: u64) {
    assert_eq!((fragment.meta.seq, fragment.payload.as_slice()), (n, &payload(n)[..SHORT]));
}

/// The payload words beside the metadata are not those of the previous fragment.
#[test]
fn all_arrive_before_a_short_batch() {
    let put = |producer: &mut Producer<'_>| {
        publish_short(producer);
        assert_eq!(producer.publish_batch(&[&payload(FIRST + 1)[..SHORT]], 0, 0), 1);
    };
    all_arrive(704, EITHER, put, is_short_of);
}

#[test]
fn a_batch_arrives() {
    let put = |producer: &mut Producer<'_>| {
        assert_eq!(producer.publish_batch(&[&payload(FIRST), &payload(FIRST + 1)], 0, 0), 2);
    };
    all_arrive(10, &["ring"], put, is_of);
}

#[test]
fn all_arrive_after_a_loan() {
    let put = |producer: &mut Producer<'_>| {
        let mut loan = producer.loan(PAYLOAD).expect("no consumer holds it back");
        loan.write_at(0, &payload(FIRST));
        loan.commit(FIRST, FIRST as u16, FIRST as u32).unwrap();
    };
    all_arrive(70514, EITHER, put, |fragment, n| assert_eq!(whole(fragment), n));
}

/// The producer mirrors the first fragment, and only announces the second. They are short, so the reader would not
/// learn from the far cache line that the hot slot does not have the second.
#[test]
fn all_arrive_while_mirroring_stops() {
    let put = |producer: &mut Producer<'_>| {
        publish_short(producer);
        producer.mirrors(false);
        publish_short(producer);
    };
    all_arrive(704, EITHER, put, is_short_of);
}

/// The other way round.
#[test]
fn all_arrive_while_mirroring_begins() {
    let put = |producer: &mut Producer<'_>| {
        producer.mirrors(false);
        publish_all(producer, 1);
        producer.mirrors(true);
    };
    all_arrive(6569, EITHER, put, |fragment, n| assert_eq!(whole(fragment), n));
}

/// No fragment is mirrored.
#[test]
fn all_arrive_by_announcements() {
    let put = |producer: &mut Producer<'_>| producer.mirrors(false);
    all_arrive(63, &["ring"], put, |fragment, n| assert_eq!(whole(fragment), n));
}

/// An observer accepts no mixture of two fragments of these sizes, in the hot slot or in the ring. `mirrored`: which of
/// the two the producer mirrors.
fn polled_by_an_observer(least: usize, sizes: [usize; 2], mirrored: [bool; 2]) {
    let model = Model::exhaustive(least).must_see(&["0", "1", "nothing"]);
    model.check(move |seen| {
        let memory = memory(Shape { slots: 0, ..SHAPE });
        let producer = memory.producer();
        let publish = |offset: usize| {
            let n = FIRST + offset as u64;
            producer.mirrors(mirrored[offset]);
            producer
                .publish(&payload(n)[..sizes[offset]], n, n as u16, n as u32)
                .expect("no consumer holds it back")
        };
        publish(0);
        let mut observer = memory.observer(Start::At(FIRST)).in_hot_slot();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                for _ in 0..2 {
                    let n = observer.next_seq();
                    let offset = (n - FIRST) as usize;
                    match observer.poll() {
                        Ok(Some(fragment)) => {
                            assert_eq!(whole_of(&fragment, sizes[offset]), n);
                            seen.note(std::format!("{offset}"));
                        }
                        Ok(None) => seen.note("nothing"),
                        Err(TangoError::Overrun { .. }) => seen.note("lapped"),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        publish(1);
        reader.join().unwrap();
    });
}

#[test]
fn an_observer_polls() {
    polled_by_an_observer(112049, [PAYLOAD, PAYLOAD], [true; 2]);
}

#[test]
fn an_observer_polls_short_ones() {
    polled_by_an_observer(18476, [SHORT, SHORT], [true; 2]);
}

#[test]
fn an_observer_polls_a_short_one_after_a_long_one() {
    polled_by_an_observer(18476, [PAYLOAD, SHORT], [true; 2]);
}

#[test]
fn an_observer_polls_a_long_one_after_a_short_one() {
    polled_by_an_observer(24045, [SHORT, PAYLOAD], [true; 2]);
}

#[test]
fn an_observer_polls_while_mirroring_stops() {
    polled_by_an_observer(82, [SHORT, SHORT], [true, false]);
}

#[test]
fn an_observer_polls_while_mirroring_begins() {
    polled_by_an_observer(10747, [PAYLOAD, PAYLOAD], [false, true]);
}

/// The same while the producer dies, and another one attaches and publishes.
#[test]
fn an_observer_polls_during_a_takeover() {
    let model = Model::bounded(2, 86641).must_see(&["0", "1"]);
    model.check(|seen| {
        let memory = memory(Shape { slots: 0, ..SHAPE });
        let producer = memory.producer();
        publish_all(&producer, 1);
        let mut observer = memory.observer(Start::At(FIRST)).in_hot_slot();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                for _ in 0..3 {
                    if let Ok(Some(fragment)) = observer.poll() {
                        seen.note(std::format!("{}", whole(&fragment) - FIRST));
                    }
                }
            }
        });
        memory.panics(producer);
        publish_all(&memory.producer(), 1);
        reader.join().unwrap();
    });
}

/// The same for a consumer.
#[test]
fn a_consumer_polls_during_a_takeover() {
    let model = Model::bounded(2, 58315).must_see(&["hot slot", "ring"]);
    model.check(|seen| {
        let memory = memory(Shape { depth: 4, ..SHAPE });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        publish_all(&producer, 1);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                consumer = consumer.in_hot_slot();
                for n in FIRST..FIRST + 2 {
                    read_across_producers(&mut consumer, n);
                    seen.note(consumer.polls());
                }
            }
        });
        memory.panics(producer);
        publish_all(&memory.producer(), 1);
        reader.join().unwrap();
    });
}

/// A published fragment is found, also while the next one is being mirrored.
#[test]
fn the_previous_one_is_found() {
    Model::exhaustive(1).check(|_| {
        let memory = memory(Shape { depth: 4, ..SHAPE });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next).in_hot_slot();
        publish_all(&producer, 2);
        memory.stops_while_mirroring(FIRST + 2);
        for n in FIRST..FIRST + 2 {
            is_of(&consumer.poll().unwrap().expect("it is in the ring"), n);
            consumer = consumer.in_hot_slot();
        }
    });
}

/// A producer dies when its fragment is in the ring, and not yet in the hot slot. No other producer
/// attaches.
#[test]
fn the_last_fragment_of_a_dead_producer_is_read() {
    let model = Model::exhaustive(5);
    model.check(|_| {
        let memory = memory(SHAPE);
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next).in_hot_slot();
        let reader = thread::spawn(move || {
            read_across_producers(&mut consumer, FIRST);
            loop {
                match consumer.poll() {
                    Ok(None) => thread::yield_now(),
                    Err(TangoError::ProducerGone) => return,
                    other => panic!("{other:?}"),
                }
            }
        });
        memory.uses_hot_slot(false);
        publish_all(&producer, 1);
        memory.panics(producer);
        reader.join().unwrap();
    });
}

/// A producer dies while it mirrors a fragment. Another one attaches, and may publish something by `put`.
fn reading_continues_after_a_crash(depth: usize, put: impl Fn(&Producer<'_>)) {
    let memory = memory(Shape { depth, ..SHAPE });
    let producer = memory.producer();
    let mut consumer = memory.consumer(0, Start::Next).in_hot_slot();
    publish_all(&producer, 1);
    read_across_producers(&mut consumer, FIRST);
    memory.uses_hot_slot(false);
    publish_all(&producer, 1);
    memory.dies_while_mirroring(FIRST + 1, producer);
    memory.uses_hot_slot(true);
    let producer = memory.producer();
    put(&producer);
    // No poll is empty, except the one that reports the takeover.
    let mut polls = 0;
    while consumer.next_seq() != producer.next_seq() {
        let n = consumer.next_seq();
        polls += 1;
        assert!(polls <= producer.next_seq() - FIRST, "{n} is not found");
        if let Ok(Some(fragment)) = consumer.poll() {
            is_of(&fragment, n);
            assert_eq!(fragment.meta.sig == n, n == FIRST + 1, "metadata of another fragment");
        }
    }
}

#[test]
fn the_next_producer_announces_the_last_of_a_dead_one() {
    Model::exhaustive(1).check(|_| reading_continues_after_a_crash(2, |_| ()));
}

#[test]
fn the_fragments_of_the_next_producer_are_found() {
    Model::exhaustive(1).check(|_| reading_continues_after_a_crash(4, announce));
}

/// A consumer polls the hot slot of a fresh link before there is a producer, whatever the first number is.
#[test]
fn the_hot_slot_of_a_fresh_link_is_empty() {
    for first in [0, 1, u64::MAX] {
        Model::exhaustive(1).check(move |_| {
            let link = Link::builder().depth(2).mtu(PAYLOAD).consumers(1).start(first).build().unwrap();
            link.uses_hot_slot();
            let mut consumer = link.consumer().unwrap().in_hot_slot();
            assert!(consumer.poll().unwrap().is_none());
            let producer = link.producer().unwrap();
            assert!(consumer.poll().unwrap().is_none());
            announce(&producer);
            is_of(&consumer.poll().unwrap().unwrap(), first);
        });
    }
}
