//! A reader that has waited finds the next fragment in the hot slot, and other readers find it in the ring.
//! Both get the same: every fragment, whole and in order, by whatever call and whichever producer it was
//! published.
#![cfg(feature = "std")]

mod common;

use common::{bytes, few, in_time, payload, sig};
use rust_tango::{Consumer, Link, LinkBuilder, Producer, Start, TangoError};

const MTU: usize = 300;
/// More empty polls than any reader makes in the ring before it switches to the hot slot.
const EMPTY_POLLS: usize = 20;

/// Polls in vain until the reader switches to the hot slot.
fn wait(rx: &mut Consumer<'_>) {
    for _ in 0..EMPTY_POLLS {
        assert!(rx.poll().unwrap().is_none());
    }
}

/// Publishes one fragment or more, by the method that `way` selects.
fn put(tx: &mut Producer<'_>, way: u64) {
    let n = tx.next_seq();
    let content = payload(n, MTU);
    match way % 5 {
        0 | 1 => drop(tx.publish(&content, sig(n), 0, 0).unwrap()),
        2 => {
            let mut loan = tx.loan(MTU).unwrap();
            loan.write_at(0, &content);
            loan.truncate(content.len());
            loan.commit(sig(n), 0, 0).unwrap();
        }
        3 => assert_eq!(tx.publish_batch(&[&content], sig(n), 0), 1),
        _ => {
            let rest = [n.wrapping_add(1), n.wrapping_add(2)].map(|n| payload(n, MTU));
            assert_eq!(tx.publish_batch(&[&content, &rest[0], &rest[1]], 0, 0), 3);
        }
    }
}

/// Reads the next fragment, by the method that `way` selects.
fn get(rx: &mut Consumer<'_>, way: u64) {
    let n = rx.next_seq();
    let check = |seq: u64, tag: u64, payload_read: &[u8]| {
        assert_eq!((seq, payload_read), (n, &payload(n, MTU)[..]));
        assert!(tag == sig(n) || tag == 0, "the tag of another fragment");
    };
    match way % 4 {
        0 => {
            let fragment = rx.poll().unwrap().expect("a fragment");
            check(fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        }
        1 => {
            let fragment = rx.wait().unwrap().expect("a fragment");
            check(fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        }
        2 => {
            let tag = |tag| tag == sig(n) || tag == 0;
            let fragment = rx.poll_if(tag).unwrap().expect("a fragment with that tag");
            check(fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        }
        _ => {
            let batch = rx.poll_batch(1).unwrap();
            let fragment = batch.iter().next().expect("a fragment");
            check(fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        }
    }
    assert_eq!(rx.next_seq(), n.wrapping_add(1));
}

/// All methods of publishing and reading, with every kind of reader side by side.
fn exchange_with_all_kinds(link: &Link) {
    let evictable = link.evictable_consumer(Start::Next).unwrap();
    exchange(link, &mut [link.consumer().unwrap(), evictable, link.observer().unwrap()]);
}

/// All methods of publishing and reading. Before each fragment, some of the readers wait in vain.
fn exchange(link: &Link, readers: &mut [Consumer<'_>]) {
    let mut tx = link.producer().unwrap();
    for round in 0..few(240) {
        let way = round % 5;
        for (which, rx) in (0_u64..).zip(&mut *readers) {
            // Mix readers that have waited with readers that have not.
            if (round / 5 + which) % 3 != 0 {
                wait(rx);
            }
        }
        put(&mut tx, way);
        for (which, rx) in (0_u64..).zip(&mut *readers) {
            let mut way = round / 20 + which;
            while rx.next_seq() != tx.next_seq() {
                get(rx, way);
                way += 1;
            }
        }
    }
}

fn builder() -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).slot(128).consumers(2)
}

#[test]
fn all_readers_on_the_heap() {
    in_time(|| {
        for first in [1, 0, u64::MAX - 30] {
            exchange_with_all_kinds(&builder().start(first).build().unwrap());
            exchange_with_all_kinds(&builder().slot(512).start(first).build().unwrap());
        }
    });
}

#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn all_readers_in_shared_memory() {
    in_time(|| {
        let folder = common::process::TestFolder::new();
        let link = builder().dir(folder.path()).create("quotes").unwrap();
        exchange_with_all_kinds(&link);
        exchange(&link, &mut [link.consumer().unwrap()]);
        exchange(&link, &mut [link.evictable_consumer(Start::Next).unwrap()]);
        exchange(&link, &mut [link.consumer().unwrap(), link.observer().unwrap()]);
        exchange_with_all_kinds(&link);
    });
}

/// A consumer may ask for any earlier number, beside a consumer that waits. It starts with the oldest
/// possible one.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn a_consumer_that_starts_with_a_lost_fragment_waits_like_others() {
    let folder = common::process::TestFolder::new();
    for first in [1 << 60, 1 << 61, 3 << 60, 1 << 62, 5 << 60, (1 << 63) - 30] {
        let link = builder().start(first).dir(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let mut readers = [link.consumer().unwrap(), link.consumer_from(Start::At(0)).unwrap()];
        assert!(
            matches!(readers[1].poll(), Err(TangoError::Overrun { .. })),
            "it must learn what it has missed"
        );
        for round in 0..20 {
            readers.iter_mut().for_each(wait);
            let n = tx.next_seq();
            tx.publish(&payload(n, MTU), sig(n), 0, 0).unwrap();
            readers.iter_mut().for_each(|rx| get(rx, round));
        }
        drop((tx, readers));
        link.remove().unwrap();
    }
}

/// A consumer may start with any later number. Until then it gets nothing.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn a_consumer_that_starts_far_ahead_gets_nothing() {
    let folder = common::process::TestFolder::new();
    for first in [0, 1, u64::MAX] {
        let link = builder().start(first).dir(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        for far in [1, 1 << 60, 1 << 61, 3 << 60, 1 << 62, (1 << 63) - 1] {
            let mut rx = link.consumer_from(Start::At(first.wrapping_add(far))).unwrap();
            wait(&mut rx);
        }
        drop(tx);
        link.remove().unwrap();
    }
}

/// A consumer may wait before there is a producer. Nothing has been published, whatever the first number is.
#[test]
fn a_new_link_is_empty() {
    for first in [0, 1, u64::MAX] {
        assert_empty(&builder().start(first).build().unwrap(), first);
    }
    #[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
    for first in [0, 1, u64::MAX] {
        let folder = common::process::TestFolder::new();
        assert_empty(&builder().start(first).dir(folder.path()).create("fresh").unwrap(), first);
    }
}

fn assert_empty(link: &Link, first: u64) {
    for start in [Start::Next, Start::At(first), Start::At(first.wrapping_add(1))] {
        let mut rx = link.consumer_from(start).unwrap();
        wait(&mut rx);
    }
    let mut rx = link.consumer().unwrap();
    wait(&mut rx);
    let tx = link.producer().unwrap();
    wait(&mut rx);
    // The hot slot has only the number of the very first fragment.
    assert_eq!(tx.publish_batch(&[&payload(first, MTU)], 0, 0), 1);
    get(&mut rx, 0);
}

/// The producer ends or dies, and another one comes while a reader waits. The hot slot of the previous
/// producer is not taken for a fragment of the next one.
#[test]
fn fragments_of_the_next_producer_are_read() {
    for dies in [false, true] {
        let link = builder().build().unwrap();
        let mut rx = link.consumer().unwrap();
        for way in 0..10 {
            let mut tx = link.producer().unwrap();
            put(&mut tx, way + 3);
            while rx.next_seq() != tx.next_seq() {
                let n = rx.next_seq();
                match rx.poll() {
                    Ok(Some(fragment)) => assert_eq!(fragment.payload.as_slice(), payload(n, MTU)),
                    Ok(None) => {}
                    Err(error) => assert!(is_change_of_producer(&error), "{error}"),
                }
            }
            // The reader may learn of the next producer only now.
            if let Err(error) = rx.poll() {
                assert!(is_change_of_producer(&error), "{error}");
            }
            wait(&mut rx);
            put(&mut tx, way);
            while rx.next_seq() != tx.next_seq() {
                get(&mut rx, way);
            }
            if dies {
                let died = std::thread::spawn(move || {
                    let _tx = tx;
                    std::panic::resume_unwind(Box::new("dies"));
                });
                assert!(died.join().is_err());
            }
        }
    }
}

/// Whether a reader reports that a producer has gone or has come.
fn is_change_of_producer(error: &TangoError) -> bool {
    matches!(error, TangoError::ProducerGone | TangoError::ProducerReplaced { .. })
}

/// A program that breaks the protocol stores a size in the hot slot that is longer than the link allows.
#[cfg(all(feature = "shm", target_os = "linux", not(miri), not(no_hints)))]
#[test]
fn no_payload_is_longer_than_the_link_allows() {
    use common::hostile::{HOT_SLOT, store};
    let folder = common::process::TestFolder::new();
    let link = Link::builder().depth(8).mtu(16).consumers(1).dir(folder.path()).create("small").unwrap();
    let tx = link.producer().unwrap();
    let file = folder.path().join("small").join("tx");
    for mut rx in [link.observer().unwrap(), link.consumer().unwrap()] {
        wait(&mut rx);
        let n = rx.next_seq();
        store(&file, HOT_SLOT + 2, 88 << 32 | u64::from(u32::MAX));
        store(&file, HOT_SLOT + 15, n);
        store(&file, HOT_SLOT, n);
        assert_eq!(rx.poll().unwrap_err(), TangoError::Corrupt { seq: n });
        store(&file, HOT_SLOT, n.wrapping_sub(1));
    }
    drop(tx);
}

/// A producer is stopped when its fragment is in the ring but not yet in the hot slot. A reader that goes to
/// sleep finds it.
#[cfg(all(feature = "shm", target_os = "linux", not(miri), not(no_hints)))]
#[test]
fn a_reader_checks_the_ring_before_it_sleeps() {
    use common::hostile::{HOT_SLOT, store};
    use std::time::{Duration, Instant};
    let folder = common::process::TestFolder::new();
    let link = Link::builder().depth(8).mtu(16).consumers(1).dir(folder.path()).create("stopped").unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let link_folder = folder.path().join("stopped");
    for round in 0..3 {
        wait(&mut rx);
        let n = rx.next_seq();
        tx.publish(b"the last", round, 0, 0).unwrap();
        store(&link_folder.join("tx"), HOT_SLOT, n.wrapping_sub(1));
        assert!(rx.poll().unwrap().is_none(), "it must poll the hot slot");
        let begin = Instant::now();
        let fragment = rx.wait_timeout(common::PATIENCE).unwrap().expect("it is in the ring");
        assert_eq!(fragment.payload.as_slice(), b"the last");
        assert!(
            begin.elapsed() < common::PATIENCE - Duration::from_secs(1),
            "found only when the time was over"
        );
    }
}

/// The hot slot is overwritten by the next fragment. A fragment that a consumer holds does not change.
#[test]
fn a_held_fragment_does_not_change() {
    let link = builder().build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for round in 0..40 {
        wait(&mut rx);
        tx.publish(&bytes(round, 64), round, 0, 0).unwrap();
        let fragment = rx.poll().unwrap().expect("a fragment");
        for other in 0..7 {
            tx.publish(&bytes(100 + other, 64), 0, 0, 0).unwrap();
        }
        assert!(matches!(tx.publish(b"", 0, 0, 0), Err(TangoError::NoCredits)), "the fragment is held");
        assert_eq!((fragment.meta.sig, fragment.payload.as_slice()), (round, &bytes(round, 64)[..]));
        drop(fragment);
        while rx.poll().unwrap().is_some() {}
    }
}
