//! Single words by which one thread tells others something: a thread that reads one sees what was stored before it.

use super::memory::{Memory, Model, Shape, publish_all};
use crate::consumer::Start;
use crate::producer::store_published;
use crate::sync::{AtomicU64, Relaxed};
use crate::{Cnc, Fseq, Link, MCache, Metrics};
use loom::thread;
use std::sync::Arc;

/// A word that one thread stores before it tells, and another looks at once it has been told.
struct Told<T> {
    word: AtomicU64,
    by: T,
}

/// `tell` comes behind a store; if `hear` says that it was told, the store is seen.
fn is_seen<T: Send + Sync + 'static>(by: T, touch: fn(&T), tell: fn(&T), hear: fn(&T) -> bool) {
    let told = Arc::new(Told { word: AtomicU64::new(0), by });
    told.word.touch();
    touch(&told.by);
    let teller = thread::spawn({
        let told = told.clone();
        move || {
            told.word.store(1, Relaxed);
            tell(&told.by);
        }
    });
    if hear(&told.by) {
        assert_eq!(told.word.load(Relaxed), 1, "told, and not seen");
    }
    teller.join().unwrap();
}

#[test]
fn a_heartbeat() {
    let (tell, hear) = (|cnc: &Cnc| cnc.beat(7), |cnc: &Cnc| cnc.heartbeat() == 7);
    Model::exhaustive(6).check(move |_| is_seen(Cnc::new(), Cnc::touch, tell, hear));
}

#[test]
fn a_published_number() {
    let (tell, hear) = (|fseq: &Fseq| store_published(fseq.word(), 8), |fseq: &Fseq| fseq.current() == 8);
    Model::exhaustive(6).check(move |_| is_seen(Fseq::new(7), Fseq::touch, tell, hear));
}

#[test]
fn a_stopped_ring() {
    Model::exhaustive(6).check(|_| {
        is_seen(MCache::<2>::new(), |ring| ring.touch(0), |ring| ring.stop(), |ring| !ring.is_running());
    });
}

/// A reader that finds a link stopped has read all that was published before somebody stopped it.
#[test]
fn a_stopped_link() {
    Model::exhaustive(172).must_see(&["read"]).check(|seen| {
        let link = Link::builder().depth(2).mtu(16).consumers(1).start(7).build().unwrap();
        link.touch(2);
        let producer = link.producer().unwrap();
        let mut consumer = link.consumer().unwrap();
        let stops = thread::spawn({
            let link = link.clone();
            move || {
                publish_all(&producer, 1);
                link.stop().unwrap();
                // Its end would be seen, too.
                producer
            }
        });
        let mut read = false;
        loop {
            if consumer.poll().expect("nothing is lost").is_some() {
                seen.note("read");
                read = true;
            } else if consumer.is_closed() {
                break;
            }
            thread::yield_now();
        }
        assert!(read, "closed before all was read");
        stops.join().unwrap();
    });
}

/// A writer that takes over the counters of another one goes on from its counts.
#[test]
fn counters_are_handed_over() {
    Model::exhaustive(10).must_see(&["handed on", "taken"]).check(|seen| {
        let metrics = Arc::new(Metrics::new());
        metrics.touch();
        let first = thread::spawn({
            let metrics = metrics.clone();
            move || count_one(&metrics)
        });
        let second = count_one(&metrics);
        let both = u64::from(first.join().unwrap()) + u64::from(second);
        assert_eq!(metrics.snapshot().published, both);
        seen.note(if both == 2 { "handed on" } else { "taken" });
    });
}

/// False: somebody else counts into them.
fn count_one(metrics: &Metrics) -> bool {
    let counter = metrics.producer();
    counter.inspect(|counter| counter.fragments(1)).is_some()
}

/// What is told of a slot is of the owner that it is told of, or newer: not of the one before, which was further back.
#[test]
fn the_progress_of_a_slot() {
    Model::exhaustive(7212).must_see(&["nobody", "at 9"]).check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        // Another one was there before, and has left at 7.
        drop(memory.consumer(0, Start::Next));
        publish_all(&producer, 2);
        let joins = thread::spawn({
            let memory = memory.clone();
            move || core::mem::forget(memory.consumer(0, Start::Next))
        });
        let report = memory.report(0);
        if report.active {
            assert_eq!(report.next, 9, "where the owner before stood");
            seen.note("at 9");
        } else {
            seen.note("nobody");
        }
        joins.join().unwrap();
    });
}
