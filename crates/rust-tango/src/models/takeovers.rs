//! A producer ends, and the next one continues. It overwrites nothing that a consumer reads in place,
//! whether the consumer was there before or joins meanwhile.

use super::memory::{
    Memory, Model, PAYLOAD, Shape, payload, publish, publish_all, read, read_across_producers, whole,
};
use crate::Link;
use crate::consumer::Start;
use crate::cpu::words::WORD;
use loom::thread;

const FIRST: u64 = 7;

const SHAPE: Shape = Shape { depth: 2, granules: 0, mtu: PAYLOAD, slots: 1, first: FIRST };

/// When the producer dies, the ring, or the region, is full of fragments that a consumer has not read.
fn waits(shape: Shape) {
    let memory = Memory::new(shape);
    let producer = memory.producer();
    let mut consumer = memory.consumer(0, Start::Next);
    publish_all(&producer, 2);
    let reader = thread::spawn(move || (0..3).for_each(|n| read_across_producers(&mut consumer, FIRST + n)));
    memory.panics(producer);
    publish_all(&memory.producer(), 1);
    reader.join().unwrap();
}

#[test]
fn the_next_producer_waits_for_readers() {
    Model::bounded(2, 19861).check(|_| waits(SHAPE));
}

#[test]
fn the_next_producer_knows_where_payloads_lie() {
    Model::bounded(2, 19861).check(|_| waits(Shape { granules: 2, depth: 4, ..SHAPE }));
}

/// The floor of the dead producer was after the oldest fragment that is still there. The next producer
/// starts with that fragment as its floor. A consumer joins before that, after it, or in between.
#[test]
fn a_consumer_joins_during_a_takeover() {
    let model = Model::bounded(2, 68417).must_see(&["from 1", "from 2", "from 3"]);
    model.check(|seen| {
        let memory = Memory::new(SHAPE);
        let producer = memory.producer();
        publish_all(&producer, 3);
        let reader = thread::spawn({
            let (memory, seen) = (memory.clone(), seen.clone());
            move || {
                let mut consumer = memory.consumer(0, Start::Oldest);
                let from = consumer.next_seq();
                seen.note(std::format!("from {}", from - FIRST));
                if from < FIRST + 4 {
                    read_across_producers(&mut consumer, from);
                }
            }
        });
        memory.panics(producer);
        publish_all(&memory.producer(), 1);
        reader.join().unwrap();
    });
}

/// A producer is killed while it overwrites the oldest fragment, and another one attaches. An observer that
/// copies the fragment meanwhile does not accept the rest of it, before or after the takeover.
#[test]
fn what_was_being_overwritten_stays_dead() {
    let model = Model::exhaustive(422).must_see(&["whole", "lapped"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 0, ..SHAPE });
        let mut producer = memory.producer();
        publish_all(&producer, 2);
        let mut observer = memory.observer(Start::At(FIRST));
        let reader = thread::spawn({
            let seen = seen.clone();
            move || match observer.poll() {
                Ok(Some(fragment)) => {
                    assert_eq!(whole(&fragment), FIRST);
                    seen.note("whole");
                }
                Ok(None) => panic!("the fragment was there"),
                Err(_) => seen.note("lapped"),
            }
        });
        let mut loan = producer.loan(PAYLOAD).expect("no consumer holds it back");
        loan.write_at(0, &payload(FIRST + 2)[..WORD]);
        drop(loan);
        memory.panics(producer);
        let producer = memory.producer();
        assert_eq!(producer.next_seq(), FIRST + 2);
        reader.join().unwrap();
    });
}

/// The same with the next producer on another thread. The first producer has retired a fragment for a loan
/// that it dropped. The next producer overwrites that fragment.
#[test]
fn what_was_retired_is_overwritten_by_the_next() {
    let model = Model::bounded(2, 3067).must_see(&["whole", "lapped", "overwritten"]);
    model.check(|seen| {
        let link = Link::builder().depth(2).mtu(16).consumers(1).start(FIRST).build().unwrap();
        link.touch(2);
        let mut producer = link.producer().unwrap();
        publish_all(&producer, 2);
        let mut observer = link.observer_from(Start::At(FIRST)).unwrap();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || match observer.poll() {
                Ok(Some(fragment)) => {
                    assert_eq!(whole(&fragment), FIRST);
                    seen.note("whole");
                }
                Ok(None) => panic!("the fragment was there"),
                Err(_) => seen.note("lapped"),
            }
        });
        drop(producer.loan(PAYLOAD).expect("no consumer holds it back"));
        let successor = thread::spawn({
            let (link, seen) = (link.clone(), seen.clone());
            move || {
                if let Ok(producer) = link.producer() {
                    publish_all(&producer, 1);
                    seen.note("overwritten");
                }
            }
        });
        drop(producer);
        successor.join().unwrap();
        reader.join().unwrap();
    });
}

/// A producer retires more than it needs, but nothing that a consumer may still need. The next producer
/// starts with the fragments that are not retired, and waits for no consumer before them.
#[test]
fn fragments_that_are_needed_are_not_retired_ahead() {
    Model::bounded(2, 16313).check(|_| {
        let memory = Memory::new(SHAPE);
        let producer = memory.producer().retiring_ahead(1);
        let mut consumer = memory.consumer(0, Start::Next);
        publish_all(&producer, 2);
        read(&mut consumer, FIRST);
        publish_all(&producer, 1);
        let reader =
            thread::spawn(move || (1..4).for_each(|n| read_across_producers(&mut consumer, FIRST + n)));
        memory.panics(producer);
        publish_all(&memory.producer(), 1);
        reader.join().unwrap();
    });
}

/// The next producer is on another thread, and attaches as soon as the link is free.
#[test]
fn the_next_producer_waits_on_another_thread() {
    let model = Model::bounded(2, 283).must_see(&["refused", "took over"]);
    model.check(|seen| {
        let link = Link::builder().depth(2).mtu(16).consumers(1).start(FIRST).build().unwrap();
        link.touch(2);
        let producer = link.producer().unwrap();
        let mut consumer = link.consumer().unwrap();
        let successor = thread::spawn({
            let (link, seen) = (link.clone(), seen.clone());
            move || match link.producer() {
                Ok(producer) => {
                    seen.note("took over");
                    // The third and the fourth fragment. For one of them, the reader has to return a
                    // credit.
                    publish_all(&producer, 2);
                }
                Err(_) => seen.note("refused"),
            }
        });
        assert!(publish(&producer));
        drop(producer);
        read(&mut consumer, FIRST);
        drop(consumer);
        successor.join().unwrap();
    });
}
