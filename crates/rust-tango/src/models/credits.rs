//! Reliable consumers: what they read is not overwritten before each of them has returned its credit,
//! whichever consumers come, leave or die meanwhile.

use super::memory::{Memory, Model, Shape, publish, publish_all, read, whole};
use crate::consumer::{Consumer, Start};
use crate::{Link, TangoError};
use core::time::Duration;
use loom::thread;

const FIRST: u64 = u64::MAX;

fn nth(n: u64) -> u64 {
    FIRST.wrapping_add(n)
}

fn shape(slots: usize) -> Shape {
    Shape { slots, first: FIRST, ..Shape::default() }
}

/// Reads every fragment before fragment `end`, which will be the next when the producer is done. None of
/// them is lost.
fn read_up_to(consumer: &mut Consumer<'_>, end: u64) {
    while consumer.next_seq() != nth(end) {
        let n = consumer.next_seq();
        read(consumer, n);
    }
}

/// The ring is full. The third fragment needs the line of the first, and both consumers have to return
/// their credits for it.
#[test]
fn the_producer_waits_for_both() {
    Model::bounded(3, 3182).check(|_| {
        let memory = Memory::new(shape(2));
        let producer = memory.producer();
        let consumers = [memory.consumer(0, Start::Next), memory.consumer(1, Start::Next)];
        publish_all(&producer, 2);
        let readers = consumers.map(|mut consumer| thread::spawn(move || read(&mut consumer, nth(0))));
        publish_all(&producer, 1);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// The region is full, and the ring is not. The third fragment needs the granules of the first.
#[test]
fn the_producer_waits_for_granules() {
    Model::bounded(2, 250).check(|_| {
        let memory = Memory::new(Shape { granules: 2, depth: 4, ..shape(1) });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        publish_all(&producer, 2);
        let reader = thread::spawn(move || read_up_to(&mut consumer, 3));
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// There is no consumer. One joins at the oldest fragment while that is being overwritten. From where it
/// settles, it loses nothing.
#[test]
fn a_consumer_joins() {
    let model = Model::bounded(3, 53804).must_see(&["from 0", "from 2"]);
    model.check(|seen| {
        let memory = Memory::new(shape(1));
        let producer = memory.producer();
        publish_all(&producer, 2);
        let reader = thread::spawn({
            let (memory, seen) = (memory.clone(), seen.clone());
            move || {
                let mut consumer = memory.consumer(0, Start::Oldest);
                seen.note(std::format!("from {}", consumer.next_seq().wrapping_sub(FIRST)));
                read_up_to(&mut consumer, 4);
            }
        });
        publish_all(&producer, 2);
        reader.join().unwrap();
    });
}

/// A consumer joins while another one holds the floor down. So the tentative floor is higher than the final
/// one.
#[test]
fn a_consumer_joins_beside_another() {
    let model = Model::bounded(1, 1992).must_see(&["from 0", "from 1", "from 2"]);
    model.check(|seen| {
        let memory = Memory::new(shape(2));
        let producer = memory.producer();
        let mut first = memory.consumer(0, Start::Next);
        publish_all(&producer, 2);
        let reader = thread::spawn({
            let (memory, seen) = (memory.clone(), seen.clone());
            move || {
                let mut consumer = memory.consumer(1, Start::Oldest);
                seen.note(std::format!("from {}", consumer.next_seq().wrapping_sub(FIRST)));
                read_up_to(&mut consumer, 3);
            }
        });
        let other = thread::spawn(move || read(&mut first, nth(0)));
        publish_all(&producer, 1);
        other.join().unwrap();
        reader.join().unwrap();
    });
}

/// The producer refreshes twice while a consumer joins. A joiner that has moved up to the first floor reads
/// the floor again.
#[test]
fn a_consumer_joins_while_the_producer_moves_on() {
    let model = Model::bounded(2, 52339).must_see(&["from 0", "from 2", "from 4"]);
    model.check(|seen| {
        let memory = Memory::new(shape(1));
        let producer = memory.producer();
        publish_all(&producer, 2);
        let reader = thread::spawn({
            let (memory, seen) = (memory.clone(), seen.clone());
            move || {
                let mut consumer = memory.consumer(0, Start::Oldest);
                let from = consumer.next_seq();
                seen.note(std::format!("from {}", from.wrapping_sub(FIRST)));
                if from != nth(4) {
                    read(&mut consumer, from);
                }
            }
        });
        publish_all(&producer, 3);
        reader.join().unwrap();
    });
}

/// During a refresh, one consumer moves on between the two reads of its slot, and another consumer joins.
/// The final floor must not be after the candidate, because the joiner may have settled there.
#[test]
fn a_consumer_joins_while_another_moves_on() {
    let model = Model::bounded(2, 71993).must_see(&["from 0", "from 1", "from 2"]);
    model.check(|seen| {
        let memory = Memory::new(shape(2));
        let producer = memory.producer();
        let mut first = memory.consumer(0, Start::Next);
        publish_all(&producer, 2);
        read(&mut first, nth(0));
        let other = thread::spawn(move || {
            read(&mut first, nth(1));
            core::mem::forget(first);
        });
        let reader = thread::spawn({
            let (memory, seen) = (memory.clone(), seen.clone());
            move || {
                let mut consumer = memory.consumer(1, Start::Oldest);
                let from = consumer.next_seq();
                seen.note(std::format!("from {}", from.wrapping_sub(FIRST)));
                read(&mut consumer, from);
            }
        });
        publish_all(&producer, 2);
        other.join().unwrap();
        reader.join().unwrap();
    });
}

/// A consumer that reads in place leaves. The producer stops waiting for it.
#[test]
fn a_consumer_leaves() {
    let model = Model::exhaustive(296);
    model.check(|_| {
        let memory = Memory::new(shape(1));
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        publish_all(&producer, 2);
        let reader = thread::spawn(move || read(&mut consumer, nth(0)));
        publish_all(&producer, 2);
        reader.join().unwrap();
    });
}

/// One consumer leaves, and another claims its slot, at a later or an earlier fragment.
fn hands_over(start: Start) {
    let memory = Memory::new(shape(1));
    let producer = memory.producer();
    let mut consumer = memory.consumer(0, Start::Next);
    publish_all(&producer, 2);
    let reader = thread::spawn({
        let memory = memory.clone();
        move || {
            read(&mut consumer, nth(0));
            drop(consumer);
            let mut consumer = memory.consumer(0, start);
            read_up_to(&mut consumer, 3);
        }
    });
    publish_all(&producer, 1);
    reader.join().unwrap();
}

#[test]
fn a_slot_changes_hands_further_on() {
    Model::bounded(2, 1440).check(|_| hands_over(Start::At(nth(2))));
}

#[test]
fn a_slot_changes_hands_further_back() {
    Model::bounded(2, 20881).check(|_| hands_over(Start::Oldest));
}

/// The owner of a slot is proven dead, and the producer has stopped waiting for it. It waits for the next
/// owner of the slot.
#[test]
fn the_slot_of_a_dead_consumer_changes_hands() {
    let model = Model::bounded(2, 43);
    model.check(|_| {
        let memory = Memory::new(shape(1));
        let producer = memory.producer();
        let dead = memory.consumer(0, Start::Next);
        publish_all(&producer, 2);
        memory.dies(dead, 0);
        publish_all(&producer, 1);
        memory.slot_is_owned_again();
        let mut consumer = memory.consumer(0, Start::Oldest);
        let from = consumer.next_seq();
        let reader = thread::spawn(move || {
            let fragment = consumer.poll().unwrap().expect("the fragment was there before");
            assert_eq!(whole(&fragment), from);
        });
        publish(&producer);
        publish(&producer);
        reader.join().unwrap();
    });
}

/// The owner of a slot is dead, and the next owner claims the slot while the producer checks it. The
/// producer does not mistake the next owner for the dead one.
#[test]
fn the_next_owner_after_a_dead_consumer_is_waited_for() {
    let model = Model::bounded(2, 22802).must_see(&["from 0", "from 2"]);
    model.check(|seen| {
        let memory = Memory::new(shape(1));
        let producer = memory.producer();
        let dead = memory.consumer(0, Start::Next);
        publish_all(&producer, 2);
        memory.dies(dead, 0);
        // The producer checks at the fourth refusal.
        (0..3).for_each(|_| assert!(!publish(&producer)));
        let reader = thread::spawn({
            let (memory, seen) = (memory.clone(), seen.clone());
            move || {
                memory.slot_is_owned_again();
                let mut consumer = memory.consumer(0, Start::Oldest);
                seen.note(std::format!("from {}", consumer.next_seq().wrapping_sub(FIRST)));
                read_up_to(&mut consumer, 3);
            }
        });
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// A consumer is evictable, and the producer has no patience. The consumer learns what it lost, and reads
/// no mixture. Another consumer, which reads in place, loses nothing.
#[test]
fn an_evicted_consumer_learns_of_it() {
    let model = Model::bounded(2, 16358).must_see(&["evicted", "read 0", "read 1", "read 2"]);
    model.check(|seen| {
        let memory = Memory::new(shape(2));
        let producer = memory.producer().with_patience(Duration::ZERO);
        let mut evictable = memory.evictable(0, Start::Next);
        let mut other = memory.consumer(1, Start::Next);
        publish_all(&producer, 2);
        read(&mut other, nth(0));
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                let mut expected = nth(0);
                while expected != nth(3) {
                    match evictable.poll() {
                        Ok(Some(fragment)) => {
                            assert_eq!(whole(&fragment), expected);
                            seen.note(std::format!("read {}", expected.wrapping_sub(FIRST)));
                            expected = expected.wrapping_add(1);
                        }
                        Ok(None) => thread::yield_now(),
                        Err(TangoError::Evicted { lost, next }) => {
                            assert!(lost > 0);
                            expected = expected.wrapping_add(lost);
                            assert_eq!(expected, next);
                            seen.note("evicted");
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                evictable
            }
        });
        publish_all(&producer, 1);
        read(&mut other, nth(1));
        let mut evictable = reader.join().unwrap();
        // A consumer that was evicted has joined again after its next poll.
        assert!(evictable.poll().unwrap().is_none());
        assert_eq!(producer.consumers(), 2);
    });
}

/// A consumer that begins to join far back does not hold the producer back, even if it never finishes
/// joining.
#[test]
fn a_consumer_stops_while_it_joins() {
    Model::exhaustive(48).check(|_| {
        let memory = Memory::new(shape(1));
        let producer = memory.producer();
        publish_all(&producer, 4);
        let joiner = thread::spawn({
            let memory = memory.clone();
            move || memory.begin_to_join(0, nth(0))
        });
        assert!(publish(&producer), "every fragment before the last two is given up");
        joiner.join().unwrap();
        assert!(publish(&producer) && publish(&producer));
    });
}

/// The next owner of a slot is on another thread. The producer overwrites what the previous owner has read
/// only after that.
#[test]
fn a_slot_changes_hands_between_threads() {
    let model = Model::bounded(2, 4701).must_see(&["taken", "free"]);
    model.check(|seen| {
        let link = Link::builder().depth(2).mtu(16).consumers(1).start(FIRST).build().unwrap();
        link.touch(2);
        let producer = link.producer().unwrap();
        let mut consumer = link.consumer().unwrap();
        publish_all(&producer, 2);
        let reader = thread::spawn(move || read(&mut consumer, nth(0)));
        let next = thread::spawn({
            let (link, seen) = (link.clone(), seen.clone());
            move || match link.consumer_from(Start::At(nth(2))) {
                Ok(mut consumer) => {
                    seen.note("free");
                    read_up_to(&mut consumer, 3);
                }
                Err(_) => seen.note("taken"),
            }
        });
        publish_all(&producer, 1);
        reader.join().unwrap();
        next.join().unwrap();
    });
}

/// The producer does not combine the state of a slot's next owner with the progress of the previous owner,
/// which had finished with everything.
#[test]
fn a_new_owner_is_not_mistaken_for_the_previous_one() {
    let model = Model::exhaustive(22).must_see(&["has joined"]);
    model.check(|seen| {
        let memory = Memory::new(shape(1));
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        publish_all(&producer, 2);
        read_up_to(&mut consumer, 2);
        drop(consumer);
        let reader = thread::spawn({
            let memory = memory.clone();
            move || core::mem::forget(memory.consumer(0, Start::At(nth(0))))
        });
        if producer.consumers() == 1 {
            seen.note("has joined");
            assert!(!producer.is_drained());
        }
        reader.join().unwrap();
    });
}

/// A consumer is evicted while it joins, by a producer without patience that publishes nothing more. The
/// consumer finds out, and the producer waits for it again.
#[test]
fn a_consumer_is_evicted_while_it_joins() {
    let model = Model::bounded(2, 608).must_see(&["evicted", "not evicted"]);
    model.check(|seen| {
        let memory = Memory::new(shape(1));
        let producer = memory.producer().with_patience(Duration::ZERO);
        publish_all(&producer, 2);
        let joiner = thread::spawn({
            let memory = memory.clone();
            move || memory.evictable(0, Start::Oldest)
        });
        publish_all(&producer, 1);
        let mut evictable = joiner.join().unwrap();
        seen.note(if memory.evictions() == 0 { "not evicted" } else { "evicted" });
        while let Ok(Some(_)) | Err(_) = evictable.poll() {}
        assert_eq!(producer.consumers(), 1, "the consumer has not found out");
    });
}
