//! The part of a link that is dropped last frees the memory, even inside a function that got it by value: no
//! reference that is passed along promises more than that. Mostly for Miri: natively, this can hardly fail.
#![cfg(feature = "std")]

use rust_tango::{Consumer, Link, Producer, Start};

fn link() -> Link {
    Link::builder().depth(4).mtu(200).consumers(2).build().unwrap()
}

/// One fragment in a slot of the ring, and one in the region.
fn publish(tx: &Producer<'_>) {
    tx.send(&[7; 20]).unwrap();
    tx.send(&[8; 150]).unwrap();
}

fn drain(rx: &mut Consumer<'_>) -> usize {
    let mut bytes = 0;
    while let Some(fragment) = rx.wait().unwrap() {
        bytes += fragment.payload.as_slice().len();
    }
    bytes
}

/// Drops `last` while it, and everything that it refers to, is an argument.
#[inline(never)]
fn drop_by_value<T>(last: T) {
    drop(std::hint::black_box(last));
}

#[test]
fn a_producer() {
    let link = link();
    let tx = link.producer().unwrap();
    drop(link);
    publish(&tx);
    drop_by_value(tx);
}

/// Every kind of reader is dropped after the producer.
#[test]
fn a_reader_of_each_kind() {
    let kinds: [fn(&Link) -> Consumer<'static>; 3] = [
        |link| link.consumer().unwrap(),
        |link| link.observer().unwrap(),
        |link| link.evictable_consumer(Start::Next).unwrap(),
    ];
    for make in kinds {
        let link = link();
        let (tx, mut rx) = (link.producer().unwrap(), make(&link));
        drop(link);
        publish(&tx);
        drop(tx);
        assert_eq!(rx.poll().unwrap().unwrap().payload.len(), 20);
        drop_by_value(rx);
    }
}

/// A consumer that has polled in vain switches to the hot slot, with references of its own.
#[test]
fn a_reader_that_has_waited() {
    let link = link();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    drop(link);
    for _ in 0..40 {
        assert!(rx.poll().unwrap().is_none());
    }
    publish(&tx);
    drop(tx);
    drop_by_value(rx);
}

#[test]
fn a_reader_that_was_moved_into_a_thread() {
    let link = link();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let reader = std::thread::spawn(move || drain(&mut rx));
    drop(link);
    publish(&tx);
    drop(tx);
    assert_eq!(reader.join().unwrap(), 170);
}

#[test]
fn a_producer_that_was_moved_into_a_thread() {
    let link = link();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    drop(link);
    let writer = std::thread::spawn(move || {
        publish(&tx);
        tx.wait_until_drained(None);
    });
    for _ in 0..2 {
        assert!(rx.wait().unwrap().is_some());
    }
    drop_by_value(rx);
    writer.join().unwrap();
}

#[test]
fn an_iterator() {
    let link = link();
    let (tx, rx) = (link.producer().unwrap(), link.consumer().unwrap());
    drop(link);
    publish(&tx);
    drop(tx);
    let mut fragments = rx.into_iter();
    assert_eq!(fragments.next().unwrap().unwrap().payload.len(), 20);
    drop_by_value(fragments);
}

#[test]
fn an_unused_link() {
    let link = link();
    drop(link.producer().unwrap());
    drop(link.consumer().unwrap());
    drop_by_value(link);
}

/// A payload or a batch is passed by value. Its credit then lets the producer overwrite the memory.
#[test]
fn a_payload_is_overwritten_while_it_is_dropped() {
    let link = Link::builder().depth(2).mtu(200).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let writer = std::thread::spawn(move || {
        for n in 0..10_u8 {
            for len in [150, 64, 20] {
                tx.send(&vec![n; len]).unwrap();
            }
        }
    });
    let all_alike = |bytes: &[u8]| assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    let mut seen = 0;
    while seen < 30 {
        if let Some(fragment) = rx.wait().unwrap() {
            all_alike(fragment.payload.as_slice());
            drop_by_value(fragment.payload);
            seen += 1;
        }
        let batch = rx.poll_batch(2).unwrap();
        seen += batch.len();
        batch.iter().for_each(|fragment| all_alike(fragment.payload.as_slice()));
        drop_by_value(batch);
    }
    assert!(rx.wait().unwrap().is_none());
    writer.join().unwrap();
}
