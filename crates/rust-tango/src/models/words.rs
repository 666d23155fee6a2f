//! Single words by which one thread signals others. A thread that reads the signal sees everything that was
//! stored before it.

use super::memory::{Memory, Model, Shape, publish_all};
use crate::consumer::Start;
use crate::metrics::MetricsRef;
use crate::producer::store_published;
use crate::sync::{AtomicU64, Relaxed};
use crate::{Cnc, Fseq, Link, MCache, Metrics};
use loom::thread;
use std::sync::Arc;

/// Data that one thread stores before it sends a signal, and another loads after it has received the
/// signal.
struct Shared<T> {
    data: AtomicU64,
    signal: T,
}

/// One thread stores data, and then calls `send`. If `receive` returns true on another thread, that thread
/// sees the data.
fn data_is_seen<T: Send + Sync + 'static>(signal: T, touch: fn(&T), send: fn(&T), receive: fn(&T) -> bool) {
    let shared = Arc::new(Shared { data: AtomicU64::new(0), signal });
    shared.data.touch();
    touch(&shared.signal);
    let sender = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.data.store(1, Relaxed);
            send(&shared.signal);
        }
    });
    if receive(&shared.signal) {
        assert_eq!(shared.data.load(Relaxed), 1, "the signal was read, but the data was not seen");
    }
    sender.join().unwrap();
}

#[test]
fn a_heartbeat() {
    let (send, receive) = (|cnc: &Cnc| cnc.beat(7), |cnc: &Cnc| cnc.heartbeat() == 7);
    Model::exhaustive(6).check(move |_| data_is_seen(Cnc::new(), Cnc::touch, send, receive));
}

#[test]
fn a_published_number() {
    let (send, receive) = (|fseq: &Fseq| store_published(fseq.word(), 8), |fseq: &Fseq| fseq.current() == 8);
    Model::exhaustive(6).check(move |_| data_is_seen(Fseq::new(7), Fseq::touch, send, receive));
}

#[test]
fn a_stopped_ring() {
    Model::exhaustive(6).check(|_| {
        data_is_seen(MCache::<2>::new(), |ring| ring.touch(0), |ring| ring.stop(), |ring| !ring.is_running());
    });
}

/// A reader that finds a link stopped has read everything that was published before the stop.
#[test]
fn a_stopped_link() {
    Model::exhaustive(140).must_see(&["read"]).check(|seen| {
        let link = Link::builder().depth(2).mtu(16).consumers(1).start(7).build().unwrap();
        link.touch(2);
        let producer = link.producer().unwrap();
        let mut consumer = link.consumer().unwrap();
        let stops = thread::spawn({
            let link = link.clone();
            move || {
                publish_all(&producer, 1);
                link.stop().unwrap();
                // Return the producer: the reader would also notice its end.
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

/// A writer that takes counters over from another one continues from the counts of that one.
#[test]
fn counters_are_handed_over() {
    Model::exhaustive(10).must_see(&["handed over", "taken"]).check(|seen| {
        let metrics = Arc::new(Metrics::new());
        metrics.touch();
        let first = thread::spawn({
            let metrics = metrics.clone();
            move || count_one(&metrics)
        });
        let second = count_one(&metrics);
        let both = u64::from(first.join().unwrap()) + u64::from(second);
        assert_eq!(metrics.snapshot().published, both);
        seen.note(if both == 2 { "handed over" } else { "taken" });
    });
}

/// False: another writer counts into them.
fn count_one(metrics: &Metrics) -> bool {
    let counter = MetricsRef::from(metrics).producer();
    counter.inspect(|counter| counter.fragments(1)).is_some()
}

/// A report combines the state of a slot's owner with the progress of that owner, or newer progress. Never
/// with that of the previous owner, which was further back.
#[test]
fn the_progress_of_a_slot() {
    Model::exhaustive(7212).must_see(&["no owner", "at 9"]).check(|seen| {
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        // A previous owner has left at 7.
        drop(memory.consumer(0, Start::Next));
        publish_all(&producer, 2);
        let joins = thread::spawn({
            let memory = memory.clone();
            move || core::mem::forget(memory.consumer(0, Start::Next))
        });
        let report = memory.report(0);
        if report.active {
            assert_eq!(report.next, 9, "the progress of the previous owner");
            seen.note("at 9");
        } else {
            seen.note("no owner");
        }
        joins.join().unwrap();
    });
}
