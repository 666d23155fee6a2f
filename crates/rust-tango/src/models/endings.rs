//! A producer closes the link, or another one takes over: nothing of what was published is lost.

use super::memory::{Memory, Model, Seen, Shape, publish_all, read, whole};
use crate::consumer::{Consumer, Start};
use crate::{Link, TangoError};
use loom::thread;

/// The producer publishes and goes. Who finds the link closed has read everything.
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

/// Reads the two fragments of two producers, the first of which dies behind its own; `ask` is what a reader does
/// that finds nothing. The death is told behind the last fragment of the dead. The next producer is announced with
/// the number that it begins with: before its first fragment if the death was told, and nothing is told of the
/// dead after that.
fn read_from_both(mut consumer: Consumer<'_>, seen: &Seen, ask: impl Fn(&mut Consumer<'_>)) {
    let (mut n, mut died, mut replaced) = (7, false, false);
    while n != 9 {
        match consumer.poll().map(|found| found.map(|fragment| whole(&fragment))) {
            Ok(Some(read)) => {
                assert_eq!(read, n);
                assert!(!died || replaced, "a fragment of somebody who was not announced");
                n += 1;
            }
            Ok(None) => {
                ask(&mut consumer);
                thread::yield_now();
            }
            Err(TangoError::ProducerGone) => {
                seen.note("died");
                assert_eq!(n, 8, "told before the last fragment");
                assert!(!replaced, "the next one was taken for the dead one");
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

/// A producer dies of a panic, which says so.
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

/// A producer is killed, and only the kernel says so, to who asks.
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
            move || read_from_both(consumer, &seen, |consumer| consumer.check_producer_lives())
        });
        memory.producer_lives();
        let producer = memory.producer();
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// A second producer takes the link as soon as the first has left it, and goes on exactly behind what that
/// one has published.
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

/// A producer is killed, and somebody asks about it while another one comes. That one is not taken for the dead.
#[test]
fn asked_about_while_another_one_comes() {
    let model = Model::bounded(3, 12).must_see(&["alive", "dead"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        memory.is_killed(producer);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                consumer.check_producer_lives();
                seen.note(if consumer.knows_of_death() { "dead" } else { "alive" });
                consumer
            }
        });
        let producer = memory.next_producer();
        let mut consumer = reader.join().unwrap();
        publish_all(&producer, 1);
        // There is nothing to be told of the one before but that it was replaced.
        let mut read = 0;
        for _ in 0..4 {
            match consumer.poll() {
                Ok(Some(fragment)) => {
                    assert_eq!(whole(&fragment), 7);
                    read += 1;
                }
                Ok(None) | Err(TangoError::ProducerReplaced { .. }) => {}
                Err(error) => panic!("of one that lives: {error}"),
            }
        }
        assert_eq!(read, 1);
    });
}

/// A producer closes the link, somebody asks whether it lives, and another one opens it again. Nobody is told of a death.
#[test]
fn closed_and_opened_again() {
    let model = Model::bounded(3, 158).must_see(&["closed", "open"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        drop(memory.producer());
        memory.has_no_producer();
        let mut consumer = memory.consumer(0, Start::Next);
        consumer.check_producer_lives();
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                assert!(consumer.poll().expect("nobody has died").is_none());
                seen.note(if consumer.is_closed() { "closed" } else { "open" });
            }
        });
        core::mem::forget(memory.next_producer());
        reader.join().unwrap();
    });
}
