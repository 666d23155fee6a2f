//! A producer closes the link, or another one takes over: nothing of what was published is lost.

use super::memory::{Memory, Model, Shape, publish_all, read, whole};
use crate::consumer::Start;
use crate::{Link, TangoError};
use loom::thread;

/// The producer publishes and goes. Who finds the link closed has read everything.
#[test]
fn closed_and_drained() {
    let model = Model::exhaustive(4089);
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

/// A producer that dies says so before all it has published has been read: the reader is told behind the last
/// fragment. The next producer is announced with the number that it begins with.
#[test]
fn died_and_replaced() {
    let model = Model::bounded(2, 17360).must_see(&["died", "replaced"]);
    model.check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        let mut consumer = memory.consumer(0, Start::Next);
        let reader = thread::spawn({
            let seen = seen.clone();
            move || {
                let mut n = 7;
                while n != 9 {
                    match consumer.poll() {
                        Ok(Some(fragment)) => {
                            assert_eq!(whole(&fragment), n);
                            n += 1;
                        }
                        Ok(None) => thread::yield_now(),
                        Err(TangoError::ProducerGone) => {
                            seen.note("died");
                            assert_eq!(n, 8, "told before the last fragment");
                            thread::yield_now();
                        }
                        Err(TangoError::ProducerReplaced { first }) => {
                            seen.note("replaced");
                            assert_eq!(first, 8);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        publish_all(&producer, 1);
        memory.fails(producer);
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
        let heir = thread::spawn({
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
        let published = heir.join().unwrap();
        let mut observer = link.observer_from(Start::At(7)).unwrap();
        (0..published).for_each(|n| read(&mut observer, 7 + n));
        assert!(observer.poll().unwrap().is_none());
    });
}
