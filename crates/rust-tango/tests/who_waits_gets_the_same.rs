//! A reader that has waited finds the next fragment in another place than one that has not (`latest.rs`). It gets
//! the same: every fragment, whole, in order, however it was published and whoever published it.
#![cfg(feature = "std")]

mod common;

use common::{bytes, few, in_time, payload, sig};
use rust_tango::{Consumer, Link, LinkBuilder, Producer, Start, TangoError};

const MTU: usize = 300;
/// More than any reader looks in the ring before it looks elsewhere.
const LOOKS: usize = 20;

/// Looks in vain.
fn wait(rx: &mut Consumer<'_>) {
    for _ in 0..LOOKS {
        assert!(rx.poll().unwrap().is_none());
    }
}

/// Publishes one fragment or more, in one of all ways.
fn put(tx: &mut Producer<'_>, way: u64) {
    let n = tx.next_seq();
    let content = payload(n, MTU);
    match way % 5 {
        0 | 1 => drop(tx.publish(&content, sig(n), 0, 0).unwrap()),
        2 => {
            let mut loan = tx.loan(MTU).unwrap();
            loan.write_at(0, &content);
            loan.truncate(content.len());
            loan.commit(sig(n), 0, 0);
        }
        3 => assert_eq!(tx.publish_batch(&[&content], sig(n), 0), 1),
        _ => {
            let rest = [n.wrapping_add(1), n.wrapping_add(2)].map(|n| payload(n, MTU));
            assert_eq!(tx.publish_batch(&[&content, &rest[0], &rest[1]], 0, 0), 3);
        }
    }
}

/// Reads the next fragment, in one of all ways.
fn get(rx: &mut Consumer<'_>, way: u64) {
    let n = rx.next_seq();
    let check = |seq: u64, tag: u64, payload_read: &[u8]| {
        assert_eq!((seq, payload_read), (n, &payload(n, MTU)[..]));
        assert!(tag == sig(n) || tag == 0, "the tag of another fragment");
    };
    match way % 4 {
        0 => {
            let fragment = rx.poll().unwrap().expect("it is there");
            check(fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        }
        1 => {
            let fragment = rx.wait().unwrap().expect("it is there");
            check(fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        }
        2 => {
            let tag = |tag| tag == sig(n) || tag == 0;
            let fragment = rx.poll_if(tag).unwrap().expect("it is there, with its tag");
            check(fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        }
        _ => {
            let batch = rx.poll_batch(1).unwrap();
            let fragment = batch.iter().next().expect("it is there");
            check(fragment.meta.seq, fragment.meta.sig, fragment.payload.as_slice());
        }
    }
    assert_eq!(rx.next_seq(), n.wrapping_add(1));
}

/// All ways to publish against all ways to read, by all kinds of readers beside each other.
fn everybody(link: &Link) {
    let evictable = link.evictable_consumer(Start::Next).unwrap();
    get_all(link, &mut [link.consumer().unwrap(), evictable, link.observer().unwrap()]);
}

/// All ways to publish against all ways to read, by these readers, who wait in vain before it or do not.
fn get_all(link: &Link, readers: &mut [Consumer<'_>]) {
    let mut tx = link.producer().unwrap();
    for round in 0..few(240) {
        let way = round % 5;
        for (which, rx) in (0_u64..).zip(&mut *readers) {
            // Never one that has not, without one that has.
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
fn everybody_on_the_heap() {
    in_time(|| {
        for first in [1, 0, u64::MAX - 30] {
            everybody(&builder().start(first).build().unwrap());
            everybody(&builder().slot(512).start(first).build().unwrap());
        }
    });
}

#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn everybody_in_shared_memory() {
    in_time(|| {
        let place = common::process::Place::new();
        let link = builder().dir(place.path()).create("quotes").unwrap();
        everybody(&link);
        // Each consumer that is the only one is shown fragments apart.
        get_all(&link, &mut [link.consumer().unwrap()]);
        get_all(&link, &mut [link.evictable_consumer(Start::Next).unwrap()]);
        get_all(&link, &mut [link.consumer().unwrap(), link.observer().unwrap()]);
        everybody(&link);
    });
}

/// What a consumer was shown apart is not for the next one in its slot, nor what is stored there in the meantime.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn who_takes_a_slot_is_shown_nothing_of_before() {
    use common::hostile::{LATEST, store};
    let place = common::process::Place::new();
    let link = builder().consumers(1).dir(place.path()).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let file = place.path().join("quotes").join("tx.0");
    for round in 0..20 {
        let n = tx.next_seq();
        match round % 3 {
            // As the owner before has left it, which has seen the fragment before `n` there.
            0 => {}
            // Fragment `n`, of a place that is none, or of eight bytes that nobody has published.
            1 => store(&file, LATEST + 2, 88 << 32 | 7),
            _ => store(&file, LATEST + 2, 8 << 32 | u64::from(u32::MAX)),
        }
        if round % 3 != 0 {
            store(&file, LATEST, n);
        }
        let mut rx = link.consumer().unwrap();
        for _ in 0..3 {
            wait(&mut rx);
            let n = tx.next_seq();
            tx.publish(&payload(n, MTU), sig(n), 0, 0).unwrap();
            get(&mut rx, round);
        }
    }
}

/// A consumer may ask for any number of before, beside one that waits. It begins where it can.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn who_asks_for_what_is_long_gone_waits_like_others() {
    let place = common::process::Place::new();
    for first in [1 << 60, 1 << 61, 3 << 60, 1 << 62, 5 << 60, (1 << 63) - 30] {
        let link = builder().start(first).dir(place.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let mut readers = [link.consumer().unwrap(), link.consumer_from(Start::At(0)).unwrap()];
        assert!(
            matches!(readers[1].poll(), Err(TangoError::Overrun { .. })),
            "it is told what it has missed"
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

/// A consumer may begin with any number that is yet to come.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn who_waits_for_what_is_far_ahead_is_shown_nothing() {
    let place = common::process::Place::new();
    for first in [0, 1, u64::MAX] {
        let link = builder().start(first).dir(place.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        for far in [1, 1 << 60, 1 << 61, 3 << 60, 1 << 62, (1 << 63) - 1] {
            let mut rx = link.consumer_from(Start::At(first.wrapping_add(far))).unwrap();
            wait(&mut rx);
        }
        drop(tx);
        link.remove().unwrap();
    }
}

/// A consumer waits before there is a producer. Nothing has been published, whatever the first number is.
#[test]
fn a_fresh_link_is_empty() {
    for first in [0, 1, u64::MAX] {
        nothing_is_there(&builder().start(first).build().unwrap(), first);
    }
    #[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
    for first in [0, 1, u64::MAX] {
        let place = common::process::Place::new();
        nothing_is_there(&builder().start(first).dir(place.path()).create("fresh").unwrap(), first);
    }
}

fn nothing_is_there(link: &Link, first: u64) {
    for start in [Start::Next, Start::At(first), Start::At(first.wrapping_add(1))] {
        let mut rx = link.consumer_from(start).unwrap();
        wait(&mut rx);
    }
    let mut rx = link.consumer().unwrap();
    wait(&mut rx);
    let tx = link.producer().unwrap();
    wait(&mut rx);
    // The first fragment of all is only told of.
    assert_eq!(tx.publish_batch(&[&payload(first, MTU)], 0, 0), 1);
    get(&mut rx, 0);
}

/// A producer goes, or dies, and another one comes, while a reader waits. What the one before has shown last is not
/// taken for anything of the next.
#[test]
fn the_next_producer_is_read() {
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
                    Err(error) => assert!(told(&error), "{error}"),
                }
            }
            // Perhaps it is told of the next producer only now.
            if let Err(error) = rx.poll() {
                assert!(told(&error), "{error}");
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

/// What a reader is told of producers that come and go.
fn told(error: &TangoError) -> bool {
    matches!(error, TangoError::ProducerGone | TangoError::ProducerReplaced { .. })
}

/// A program that does not follow the protocol says that the newest fragment is longer than the link allows.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn no_payload_is_longer_than_the_link_allows() {
    use common::hostile::{HEAD, HEAD_WORDS, store};
    let place = common::process::Place::new();
    let link = Link::builder().depth(8).mtu(16).consumers(1).dir(place.path()).create("small").unwrap();
    let tx = link.producer().unwrap();
    let file = place.path().join("small").join("tx");
    for mut rx in [link.observer().unwrap(), link.consumer().unwrap()] {
        wait(&mut rx);
        let n = rx.next_seq();
        let latest = HEAD + HEAD_WORDS - 16;
        store(&file, latest + 2, 88 << 32 | u64::from(u32::MAX));
        store(&file, latest + 15, n);
        store(&file, latest, n);
        assert_eq!(rx.poll().unwrap_err(), TangoError::Corrupt { seq: n });
        store(&file, latest, n.wrapping_sub(1));
    }
    drop(tx);
}

/// A producer is stopped when its fragment is in the ring, and not yet where the newest is shown. Who goes to sleep
/// finds it.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn who_sleeps_looks_in_the_ring() {
    use common::hostile::{HEAD, HEAD_WORDS, LATEST, store};
    use std::time::{Duration, Instant};
    let place = common::process::Place::new();
    let link = Link::builder().depth(8).mtu(16).consumers(1).dir(place.path()).create("stopped").unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let folder = place.path().join("stopped");
    for round in 0..3 {
        wait(&mut rx);
        let n = rx.next_seq();
        tx.publish(b"the last", round, 0, 0).unwrap();
        store(&folder.join("tx"), HEAD + HEAD_WORDS - 16, n.wrapping_sub(1));
        store(&folder.join("tx.0"), LATEST, n.wrapping_sub(1));
        assert!(rx.poll().unwrap().is_none(), "it looks elsewhere");
        let begin = Instant::now();
        let fragment = rx.wait_timeout(common::PATIENCE).unwrap().expect("it is in the ring");
        assert_eq!(fragment.payload.as_slice(), b"the last");
        assert!(begin.elapsed() < common::PATIENCE - Duration::from_secs(1), "only when the time was over");
    }
}

/// The place of the newest fragment is used again at once. What a consumer holds does not change.
#[test]
fn what_is_held_stays_as_it_is() {
    let link = builder().build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for round in 0..40 {
        wait(&mut rx);
        tx.publish(&bytes(round, 64), round, 0, 0).unwrap();
        let fragment = rx.poll().unwrap().expect("it is there");
        for other in 0..7 {
            tx.publish(&bytes(100 + other, 64), 0, 0, 0).unwrap();
        }
        assert!(matches!(tx.publish(b"", 0, 0, 0), Err(TangoError::NoCredits { .. })), "it is held");
        assert_eq!((fragment.meta.sig, fragment.payload.as_slice()), (round, &bytes(round, 64)[..]));
        drop(fragment);
        while rx.poll().unwrap().is_some() {}
    }
}
