//! A consumer on a link whose producer does not follow the protocol, and at the end of one whose producer
//! does.

use crate::error::{RecvError, TangoError};
use crate::metrics::Metrics;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::Relaxed;
use crate::{Consumer, Link, Start};

/// An invented fragment lies where an invented overrun has sent the reader: half the way around the
/// numbers.
#[test]
fn a_reader_by_copy_never_gets_a_slice_of_the_ring() {
    let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let _tx = link.producer().unwrap();
    for mut rx in [link.observer().unwrap(), link.evictable_consumer(Start::Next).unwrap()] {
        rx.reader_mut().next = rx.reader().next.wrapping_add((1 << 63) + 10);
        let line = rx.reader().parts.ring.line(rx.reader().next);
        rx.reader().parts.head.oldest.store(rx.reader().next, Relaxed);
        line.publish(&FragmentMetadata::in_slot(rx.reader().next, 8, 0, 0, 0));
        let in_the_ring = line.room.as_ptr_range();
        let fragment = rx.poll().unwrap().unwrap();
        assert_eq!(fragment.payload.len(), 8);
        assert!(!in_the_ring.contains(&fragment.payload.as_slice().as_ptr().cast()), "a slice of the ring");
    }
}

/// From after the last fragment to half the way around the numbers, and from there back to the first: each
/// time, the way is forward.
#[test]
fn a_reader_that_is_sent_around_all_numbers_stops() {
    let link = Link::builder().depth(8).mtu(64).consumers(1).start(1).build().unwrap();
    let tx = link.producer().unwrap();
    for _ in 1..=4 {
        tx.send(b"there").unwrap();
    }
    let mut rx = link.consumer_from(Start::Oldest).unwrap();
    rx.reader().parts.head.next.store(1, Relaxed);
    rx.reader().parts.head.credit.floor.store((1 << 63) + 1, Relaxed);
    rx.reader().parts.ring.line(5).publish(&FragmentMetadata::in_slot(5 + (1 << 62), 8, 0, 0, 0));
    let (mut fragments, mut overruns) = (0, 0);
    loop {
        match rx.poll() {
            Ok(Some(_)) => fragments += 1,
            Ok(None) => break,
            Err(_) => overruns += 1,
        }
        assert!(overruns <= 10, "the reader goes around forever");
    }
    assert!(fragments > 4, "never went around: {fragments} fragments, {overruns} overruns");
    assert!((0..9).all(|_| matches!(rx.poll(), Ok(None))));
}

/// A producer has taken over, and closed the link, between the two checks.
#[test]
#[cfg(feature = "std")]
fn a_takeover_is_reported_before_the_link_reads_as_closed() {
    use crate::memory::parts::Ending;

    let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _tx = tx;
        std::panic::resume_unwind(std::boxed::Box::new(()));
    }));
    assert!(died.is_err());
    drop(link.producer().unwrap());
    let reported = rx.reader_mut().recheck_after_end(Ending::Closed).map(|_| ()).unwrap_err();
    assert!(matches!(reported, TangoError::ProducerReplaced { .. }), "{reported}");
    assert!(matches!(rx.poll(), Ok(None)));
    assert!(rx.is_closed());
}

#[test]
fn a_size_over_the_mtu_is_corrupt_also_on_the_fast_path() {
    let link = Link::builder().depth(8).mtu(40).consumers(1).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    tx.send(b"good").unwrap();
    assert!(rx.poll().unwrap().is_some());
    assert_ne!(rx.reader().unchecked, 0, "the fast path is closed");
    // Over the MTU, although the slot has room for it.
    let line = rx.reader().parts.ring.line(rx.reader().next);
    line.publish(&FragmentMetadata::in_slot(rx.reader().next, 41, 0, 0, 0));
    assert_eq!(rx.poll().unwrap_err(), TangoError::Corrupt { seq: rx.reader().next.wrapping_sub(1) });
    let line = rx.reader().parts.ring.line(rx.reader().next);
    line.publish(&FragmentMetadata::in_slot(rx.reader().next, 41, 0, 0, 0));
    assert_eq!(rx.recv().unwrap_err(), RecvError::Corrupt { seq: rx.reader().next.wrapping_sub(1) });
}

#[test]
fn metrics_count_from_when_they_are_added() {
    let metrics = Metrics::new();
    let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let one = |rx: &mut Consumer<'_>| {
        tx.send(b"counted").unwrap();
        assert!(rx.poll().unwrap().is_some());
    };
    (0..3).for_each(|_| one(&mut rx));
    let mut rx = rx.with_metrics(&metrics);
    (0..4).for_each(|_| one(&mut rx));
    assert_eq!(metrics.snapshot().consumed, 4);
}
