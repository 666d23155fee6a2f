//! A reader that polls a hot slot reads what it would read in the ring: every fragment, whole, in order.

use super::memory::{
    Memory, Model, PAYLOAD, Shape, payload, publish_all, read, read_across_producers, whole, whole_of,
};
use crate::consumer::Start;
use crate::{Fragment, Link, Producer, TangoError};
use loom::thread;
use std::sync::Arc;

const FIRST: u64 = 7;

const SHAPE: Shape = Shape { depth: 2, granules: 0, slots: 1, first: FIRST };

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
    all_arrive_by(Model::bounded(3, least).must_see(must_see), || memory(SHAPE), put, check);
}

/// The same in this memory.
fn all_arrive_by(
    model: Model,
    memory: impl Fn() -> Arc<Memory> + Send + Sync + 'static,
    put: impl Fn(&mut Producer<'_>) + Send + Sync + 'static,
    check: impl Fn(&Fragment<'_>, u64) + Send + Sync + Copy + 'static,
) {
    model.check(move |seen| {
        let memory = memory();
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

/// The payload words beside the metadata are not those of the previous fragment.
#[test]
fn all_arrive_before_a_short_batch() {
    let put = |producer: &mut Producer<'_>| {
        for n in FIRST..FIRST + 2 {
            let payload = &payload(n)[..SHORT];
            if n == FIRST {
                assert!(producer.publish(payload, 0, 0, 0).is_ok());
            } else {
                assert_eq!(producer.publish_batch(&[payload], 0, 0), 1);
            }
        }
    };
    all_arrive(704, EITHER, put, |fragment, n| assert_eq!(fragment.payload.as_slice(), &payload(n)[..SHORT]));
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

/// Two fragments. If `first`, the first is mirrored into the consumer's private hot slot. Otherwise the
/// second is.
fn all_arrive_in_two_hot_slots(least: usize, first: bool, must_see: &'static [&'static str]) {
    let model = Model::bounded(2, least).must_see(must_see);
    model.check(move |seen| {
        let memory = memory_with_private(Shape { depth: 4, ..SHAPE });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next).in_hot_slot();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                for n in FIRST..FIRST + 2 {
                    read(&mut consumer, n);
                    seen.note(consumer.polls());
                }
            }
        });
        for offset in 0..2 {
            producer.mirrors_privately((offset == 0) == first);
            publish_all(&producer, 1);
        }
        reader.join().unwrap();
    });
}

#[test]
fn all_arrive_while_the_hot_slot_changes() {
    all_arrive_in_two_hot_slots(48043, true, &["shared", "private"]);
}

#[test]
fn all_arrive_while_the_hot_slot_changes_back() {
    all_arrive_in_two_hot_slots(46111, false, &["shared", "private"]);
}

/// A consumer has read a fragment in its private hot slot. `change` then ends the mirroring there. The
/// consumer finds the next fragment.
fn the_next_is_found_after(change: impl Fn(&Arc<Memory>, Producer<'static>) -> Producer<'static>) {
    let memory = memory_with_private(Shape { depth: 4, ..SHAPE });
    let mut producer = memory.producer();
    producer.mirrors_privately(true);
    let mut consumer = memory.consumer(0, Start::Next);
    publish_all(&producer, 1);
    consumer = consumer.in_hot_slot();
    assert_eq!(consumer.polls(), "private");
    is_of(&consumer.poll().unwrap().unwrap(), FIRST);
    assert_eq!(consumer.polls(), "private");
    producer = change(&memory, producer);
    publish_all(&producer, 1);
    loop {
        match consumer.poll() {
            Err(TangoError::ProducerReplaced { .. }) => {}
            found => {
                return is_of(&found.unwrap().expect("no poll is empty"), FIRST + 1);
            }
        }
    }
}

#[test]
fn the_fragment_after_a_private_one_is_found() {
    Model::exhaustive(1).check(|_| {
        the_next_is_found_after(|_, producer| {
            producer.mirrors_privately(false);
            producer
        });
    });
}

#[test]
fn the_fragment_after_a_private_one_and_a_crash_is_found() {
    Model::exhaustive(1).check(|_| {
        the_next_is_found_after(|memory, producer| {
            memory.panics(producer);
            memory.producer()
        });
    });
}

/// A link whose slot 0 has a private hot slot.
fn memory_with_private(shape: Shape) -> Arc<Memory> {
    let memory = Memory::new(shape);
    memory.has_private_hot_slot();
    memory
}

/// Batches are announced in a private hot slot, too.
#[test]
fn all_arrive_after_a_batch_in_a_private_hot_slot() {
    let put = |producer: &mut Producer<'_>| {
        producer.mirrors_privately(true);
        announce(producer);
    };
    all_arrive_by(Model::bounded(2, 7152).must_see(EITHER), || memory_with_private(SHAPE), put, is_of);
}

/// A slot changes hands while fragments are mirrored into its private hot slot. (The model does not require
/// that all fragments arrive. Two threads store `seq` here, and the model checker may hide the producer's
/// last store from the reader forever.)
#[test]
fn the_next_owner_reads_what_is_published() {
    let model = Model::bounded(1, 113419).must_see(&["shared", "private", "ring"]);
    model.check(|seen| {
        let memory = memory_with_private(Shape { depth: 4, ..SHAPE });
        let producer = memory.producer();
        producer.mirrors_privately(true);
        drop(memory.consumer(0, Start::Next));
        let reader = thread::spawn({
            let (seen, memory) = (seen.clone(), memory.clone());
            move || {
                let mut consumer = memory.consumer(0, Start::Oldest).in_hot_slot();
                for _ in 0..3 {
                    let n = consumer.next_seq();
                    let found = consumer.poll().expect("nothing is lost").map(|fragment| whole(&fragment));
                    if let Some(found) = found {
                        assert_eq!(found, n);
                        seen.note(consumer.polls());
                    }
                }
            }
        });
        publish_all(&producer, 2);
        reader.join().unwrap();
    });
}

/// The next owner of a slot does not read what was mirrored for the previous owner.
#[test]
fn fragments_mirrored_for_the_previous_owner_are_not_read() {
    Model::exhaustive(1).check(|_| {
        let memory = memory_with_private(SHAPE);
        let producer = memory.producer();
        memory.leaves_in_private(FIRST);
        let mut consumer = memory.consumer(0, Start::Next).in_hot_slot();
        assert!(consumer.poll().unwrap().is_none());
        producer.mirrors_privately(true);
        publish_all(&producer, 1);
        is_of(&consumer.in_hot_slot().poll().unwrap().unwrap(), FIRST);
    });
}

/// An observer accepts no mixture of two fragments of these sizes, in the hot slot or in the ring.
fn polled_by_an_observer(least: usize, sizes: [usize; 2]) {
    let model = Model::exhaustive(least).must_see(&["0", "1", "nothing"]);
    model.check(move |seen| {
        let memory = memory(Shape { slots: 0, ..SHAPE });
        let producer = memory.producer();
        let publish = |offset: usize| {
            let n = FIRST + offset as u64;
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
    polled_by_an_observer(112049, [PAYLOAD, PAYLOAD]);
}

#[test]
fn an_observer_polls_short_ones() {
    polled_by_an_observer(18476, [SHORT, SHORT]);
}

#[test]
fn an_observer_polls_a_short_one_after_a_long_one() {
    polled_by_an_observer(18476, [PAYLOAD, SHORT]);
}

#[test]
fn an_observer_polls_a_long_one_after_a_short_one() {
    polled_by_an_observer(24045, [SHORT, PAYLOAD]);
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

/// The same for a consumer into whose private hot slot the dead producer mirrored fragments.
#[test]
fn a_consumer_polls_during_a_takeover() {
    let model = Model::bounded(2, 62180).must_see(&["shared", "private", "ring"]);
    model.check(|seen| {
        let memory = memory_with_private(Shape { depth: 4, ..SHAPE });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        producer.mirrors_privately(true);
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
