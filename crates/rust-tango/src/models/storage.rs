//! The borrowed API: `MCache`, `DCache`, `Fseq` and `Fctl`, and which producers and consumers may use them
//! together.

use super::memory::{Model, publish, publish_all, read, whole};
use crate::{Consumer, DCache, Fctl, Fseq, MCache, Producer, TangoError};
use loom::thread;
use std::boxed::Box;
use std::sync::Arc;

const FIRST: u64 = 7;

struct Storage {
    mcache: MCache<2>,
    dcache: DCache<2, 16>,
    fseq: Fseq,
    fctl: Fctl,
}

impl Storage {
    /// The storage lives until the last thread of an execution has dropped the `Arc`. Everything that uses
    /// the reference is dropped before that.
    fn new() -> (Arc<Self>, &'static Self) {
        let storage = Arc::new(Self {
            mcache: MCache::new(),
            dcache: DCache::new(),
            fseq: Fseq::new(FIRST),
            fctl: Fctl::new(2),
        });
        // SAFETY: the memory of an `Arc` does not move, and each thread keeps the `Arc` for longer than
        // what it makes of the reference.
        let this: &'static Self = unsafe { &*Arc::as_ptr(&storage) };
        this.mcache.touch(2);
        this.fctl.slot().touch();
        (storage, this)
    }
}

/// In a ring of two, the third fragment needs the credit of the first.
#[test]
fn all_arrive() {
    Model::bounded(2, 1450).check(|_| {
        let (storage, s) = Storage::new();
        let producer = Producer::with_flow_control(&s.mcache, &s.dcache, &s.fseq, &s.fctl);
        let mut consumer = Consumer::with_flow_control(&s.mcache, &s.dcache, &s.fctl, FIRST);
        let reader = thread::spawn({
            let storage = storage.clone();
            move || {
                (0..3).for_each(|n| read(&mut consumer, FIRST + n));
                drop((consumer, storage));
            }
        });
        publish_all(&producer, 3);
        reader.join().unwrap();
        drop((producer, storage));
    });
}

/// A reader that finds the link stopped has read what was published before.
#[test]
fn stopped_and_drained() {
    Model::exhaustive(58).check(|_| {
        let (storage, s) = Storage::new();
        let producer = Producer::with_flow_control(&s.mcache, &s.dcache, &s.fseq, &s.fctl);
        let mut consumer = Consumer::with_flow_control(&s.mcache, &s.dcache, &s.fctl, FIRST);
        let reader = thread::spawn({
            let storage = storage.clone();
            move || {
                let mut read = 0;
                while !consumer.is_closed() {
                    match consumer.poll().expect("nothing is lost") {
                        Some(fragment) => read += whole(&fragment) + 1 - FIRST,
                        None => thread::yield_now(),
                    }
                }
                assert_eq!(read, 1, "closed before all was read");
                drop((consumer, storage));
            }
        });
        publish_all(&producer, 1);
        s.mcache.stop();
        reader.join().unwrap();
        drop((producer, storage));
    });
}

/// A producer without flow control and a consumer that reads in place attach at the same time. Never both
/// succeed.
#[test]
fn no_slice_is_overwritten() {
    let model = Model::exhaustive(997).must_see(&["the producer came", "the consumer came"]);
    model.check(|seen| {
        let (storage, s) = Storage::new();
        // Two threads that bind a fresh ring at once may fail (`MCache::bind`), so it is bound here before.
        drop(Producer::with_flow_control(&s.mcache, &s.dcache, &s.fseq, &s.fctl));
        let reader = thread::spawn({
            let (storage, seen) = (storage.clone(), seen.clone());
            move || {
                let consumer = Consumer::try_with_flow_control(&s.mcache, &s.dcache, &s.fctl, FIRST);
                match &consumer {
                    Ok(_) => seen.note("the consumer came"),
                    Err(error) => assert_eq!(*error, TangoError::FlowControlMismatch),
                }
                // Forget the consumer, so that it stays attached.
                let came = consumer.is_ok();
                core::mem::forget(Box::new((consumer, storage)));
                came
            }
        });
        let producer = Producer::try_new(&s.mcache, &s.dcache, &s.fseq);
        match &producer {
            Ok(_) => seen.note("the producer came"),
            Err(error) => assert_eq!(*error, TangoError::FlowControlMismatch),
        }
        let came = reader.join().unwrap();
        assert!(!(came && producer.is_ok()), "the producer would overwrite what the consumer reads");
        drop((producer, storage));
    });
}

/// Two producers attach one after the other. The second continues after the fragments of the first.
#[test]
fn taken_over() {
    let model = Model::exhaustive(6).must_see(&["refused", "took over"]);
    model.check(|seen| {
        let (storage, s) = Storage::new();
        let producer = Producer::new(&s.mcache, &s.dcache, &s.fseq);
        let successor = thread::spawn({
            let (storage, seen) = (storage.clone(), seen.clone());
            move || {
                let published = match Producer::try_new(&s.mcache, &s.dcache, &s.fseq) {
                    Ok(producer) => {
                        seen.note("took over");
                        assert!(publish(&producer));
                        2
                    }
                    Err(error) => {
                        seen.note("refused");
                        assert_eq!(error, TangoError::ProducerTaken);
                        1
                    }
                };
                drop(storage);
                published
            }
        });
        publish_all(&producer, 1);
        drop(producer);
        let published = successor.join().unwrap();
        let mut observer = Consumer::new(&s.mcache, &s.dcache, FIRST);
        (0..published).for_each(|n| read(&mut observer, FIRST + n));
        assert!(observer.poll().unwrap().is_none());
        drop((observer, storage));
    });
}
