//! A producer closes the link, dies, or is replaced: nothing that was published is lost.

use super::memory::{Memory, Model, Seen, Shape, payload, publish_all, read, whole};
use crate::consumer::{Consumer, Start};
use crate::{Link, TangoError};
use loom::thread;

/// The producer publishes and is dropped. A reader that finds the link closed has read everything.
#[test]
fn closed_and_drained() {
    let model = Model::exhaustive(228);
    model.check(|_| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        let reader = thread::spawn(move || {
            let mut n = 7;
            loop {
                if let Some(fragment) = consumer.poll().expect("nothing is lost") {
                    assert_eq!(whole(&fragment), n);
                    n += 1;
                } else if consumer.is_closed() {
                    break;
                } else {
                    thread::yield_now();
                }
            }
            assert_eq!(n, 9, "closed before all was read");
        });
        publish_all(&producer, 2);
        drop(producer);
        reader.join().unwrap();
    });
}

/// Reads one fragment of each of two producers. The first producer dies after its fragment. `check` is what
/// the reader does when it finds nothing.
///
/// - The death is reported after the last fragment of the dead producer.
/// - The next producer is reported with the number of its first fragment. If the death was reported, this
///   comes before that fragment.
/// - After that, nothing is reported about the dead producer.
fn read_from_both(mut consumer: Consumer<'_>, seen: &Seen, check: impl Fn(&mut Consumer<'_>)) {
    let (mut n, mut died, mut replaced) = (7, false, false);
    while n != 9 {
        match consumer.poll().map(|found| found.map(|fragment| whole(&fragment))) {
            Ok(Some(read)) => {
                assert_eq!(read, n);
                assert!(!died || replaced, "a fragment of a producer that was not reported");
                n += 1;
            }
            Ok(None) => {
                check(&mut consumer);
                thread::yield_now();
            }
            Err(TangoError::ProducerGone) => {
                seen.note("died");
                assert_eq!(n, 8, "reported before the last fragment");
                assert!(!replaced, "the next producer was mistaken for the dead one");
                died = true;
                thread::yield_now();
            }
            Err(TangoError::ProducerReplaced { first }) => {
                seen.note("replaced");
                assert_eq!(first, 8);
                replaced = true;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A producer dies in a panic. Its state word says so.
#[test]
fn died_and_replaced() {
    let model = Model::bounded(3, 5601).must_see(&["died", "replaced"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        let consumer = memory.consumer(0, Start::Next);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || read_from_both(consumer, &seen, |_| ())
        });
        publish_all(&producer, 1);
        memory.panics(producer);
        let producer = memory.producer();
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// A producer is killed. Only the kernel says so, to a reader that checks.
#[test]
fn killed_and_replaced() {
    let model = Model::bounded(2, 522).must_see(&["died", "replaced"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        let consumer = memory.consumer(0, Start::Next);
        publish_all(&producer, 1);
        memory.is_killed(producer);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || read_from_both(consumer, &seen, |consumer| consumer.reader_mut().check_producer_lives())
        });
        memory.producer_lives();
        let producer = memory.producer();
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// A second producer attaches as soon as the first has left, and continues exactly after the fragments of
/// the first.
#[test]
fn taken_over() {
    let model = Model::exhaustive(4).must_see(&["refused", "took over"]);
    model.check(|seen| {
        let link = Link::builder().depth(2).mtu(16).consumers(1).start(7).build().unwrap();
        link.touch(2);
        let producer = link.producer().unwrap();
        let successor = thread::spawn({
            let (link, seen) = (link.clone(), seen.clone());
            move || match link.producer() {
                Ok(producer) => {
                    seen.note("took over");
                    publish_all(&producer, 1);
                    2
                }
                Err(_) => {
                    seen.note("refused");
                    1
                }
            }
        });
        publish_all(&producer, 1);
        drop(producer);
        let published = successor.join().unwrap();
        let mut observer = link.observer_from(Start::At(7)).unwrap();
        (0..published).for_each(|n| read(&mut observer, 7 + n));
        assert!(observer.poll().unwrap().is_none());
    });
}

/// A producer is killed, and a reader checks whether it lives while another one attaches. The reader does
/// not mistake that one for the dead producer.
#[test]
fn checked_while_another_one_attaches() {
    let model = Model::bounded(3, 12).must_see(&["alive", "dead"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        memory.is_killed(producer);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                consumer.reader_mut().check_producer_lives();
                seen.note(if consumer.knows_of_death() { "dead" } else { "alive" });
                consumer
            }
        });
        let producer = memory.next_producer();
        let mut consumer = reader.join().unwrap();
        publish_all(&producer, 1);
        // Nothing is reported about the dead producer, except that it was replaced.
        let mut read = 0;
        for _ in 0..4 {
            match consumer.poll() {
                Ok(Some(fragment)) => {
                    assert_eq!(whole(&fragment), 7);
                    read += 1;
                }
                Ok(None) | Err(TangoError::ProducerReplaced { .. }) => {}
                Err(error) => panic!("reported about a living producer: {error}"),
            }
        }
        assert_eq!(read, 1);
    });
}

/// A producer closes the link, a reader checks whether the producer lives, and another producer opens the
/// link again. No death is reported.
#[test]
fn closed_and_opened_again() {
    let model = Model::bounded(3, 158).must_see(&["closed", "open"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        drop(memory.producer());
        memory.has_no_producer();
        let mut consumer = memory.consumer(0, Start::Next);
        consumer.reader_mut().check_producer_lives();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                assert!(consumer.poll().expect("no producer has died").is_none());
                seen.note(if consumer.is_closed() { "closed" } else { "open" });
            }
        });
        core::mem::forget(memory.next_producer());
        reader.join().unwrap();
    });
}

/// A link is stopped while its producer publishes. Once the producer has seen the stop, it publishes nothing
/// more. A reader that has found the link closed may miss what was published beside the stop, but finds it when
/// it reads once more.
#[test]
fn stopped_while_it_publishes() {
    let model =
        Model::bounded(2, 3903).must_see(&["published", "refused", "seen before", "read after the end"]);
    model.check(|seen| {
        let link = Link::builder().depth(2).mtu(16).consumers(1).start(7).build().unwrap();
        link.touch(2);
        let mut producer = link.producer().unwrap();
        let mut consumer = link.consumer().unwrap();
        let stops = thread::spawn({
            let link = link.clone();
            move || link.stop().unwrap()
        });
        let reader = thread::spawn(move || {
            while !consumer.is_closed() {
                if let Some(fragment) = consumer.poll().expect("nothing is lost") {
                    whole(&fragment);
                } else {
                    thread::yield_now();
                }
            }
            consumer
        });
        for _ in 0..2 {
            let is_stopped = producer.is_stopped();
            if is_stopped {
                seen.note("seen before");
            }
            let n = producer.next_seq();
            match producer.publish(&payload(n), n, n as u16, n as u32) {
                Ok(_) => {
                    seen.note("published");
                    assert!(!is_stopped, "published after the stop was seen");
                }
                Err(error) => {
                    seen.note("refused");
                    assert_eq!(error, TangoError::Closed);
                    assert!(producer.is_stopped());
                }
            }
        }
        stops.join().unwrap();
        let mut consumer = reader.join().unwrap();
        // The stop is visible: neither a batch nor a loan is published.
        let next = producer.next_seq();
        assert_eq!(producer.publish_batch(&[&payload(next)], next, next as u16), 0);
        assert_eq!(producer.loan(0).map(drop), Err(TangoError::Closed));
        while let Some(fragment) = consumer.poll().expect("nothing is lost") {
            seen.note("read after the end");
            whole(&fragment);
        }
        assert!(consumer.is_closed());
        assert_eq!(consumer.next_seq(), next);
    });
}
