//! The credit of a reliable consumer returns when the payload is dropped: not when the payload is read, moved
//! or swapped. The credit of a leaked payload returns later.
#![cfg(feature = "std")]

mod common;

use common::{assert_is, bytes, publish};
use rust_tango::{Consumer, DCache, Fctl, Fseq, Link, MCache, Producer, TangoError};

const DEPTH: u64 = 8;
const MTU: usize = 200;

fn pair() -> (Producer<'static>, Consumer<'static>) {
    let link = Link::builder().depth(DEPTH as usize).mtu(MTU).build().unwrap();
    (link.producer().unwrap(), link.consumer().unwrap())
}

/// Publishes until the credits are used up. Returns how many fragments went.
#[track_caller]
fn fill(tx: &Producer<'_>) -> u64 {
    let mut count = 0;
    loop {
        assert!(count <= DEPTH, "more than the ring has lines");
        match publish(tx, MTU) {
            Ok(_) => count += 1,
            Err(error) => {
                assert_eq!(error, TangoError::NoCredits);
                assert!(matches!(tx.held_by(), Some(0) | None), "{:?}", tx.held_by());
                assert_eq!(publish(tx, MTU), Err(error), "and again");
                return count;
            }
        }
    }
}

#[test]
fn a_held_fragment_holds_its_line() {
    let (tx, mut rx) = pair();
    publish(&tx, MTU).unwrap();
    let held = rx.poll().unwrap().unwrap();
    assert_eq!(fill(&tx), DEPTH - 1);
    assert_is(&held, 1, MTU);
    drop(held);
    assert_eq!(fill(&tx), 1, "one credit for one fragment");
    rx.poll().unwrap().unwrap();
    assert_eq!(fill(&tx), 1);
}

#[test]
fn reading_returns_no_credit() {
    let (tx, mut rx) = pair();
    assert_eq!(fill(&tx), DEPTH);
    let held = rx.poll().unwrap().unwrap();
    assert_eq!(held.payload.read(), held.payload.as_slice());
    assert_eq!(fill(&tx), 0);
}

#[test]
fn the_credit_moves_with_the_payload() {
    let (tx, mut rx) = pair();
    assert_eq!(fill(&tx), DEPTH);
    let moved = {
        let fragment = rx.poll().unwrap().unwrap();
        fragment.payload
    };
    assert_eq!(fill(&tx), 0, "the fragment is gone, its payload lives");
    assert_eq!(moved.as_slice(), common::payload(1, MTU));
    let boxed = vec![Some(Box::new(moved))];
    assert_eq!(fill(&tx), 0);
    drop(boxed);
    assert_eq!(fill(&tx), 1);
}

#[test]
fn swapped_payloads_keep_their_own_credits() {
    let ((tx_a, mut rx_a), (tx_b, mut rx_b)) = (pair(), pair());
    fill(&tx_a);
    fill(&tx_b);
    rx_b.poll().unwrap().unwrap();
    assert_eq!(fill(&tx_b), 1);
    let mut a = rx_a.poll().unwrap().unwrap();
    let mut b = rx_b.poll().unwrap().unwrap();
    std::mem::swap(&mut a.payload, &mut b.payload);
    drop(a); // together with the payload of b
    assert_eq!((fill(&tx_a), fill(&tx_b)), (0, 1));
    assert_eq!(b.payload.as_slice(), common::payload(1, MTU));
    drop(b);
    assert_eq!((fill(&tx_a), fill(&tx_b)), (1, 0));
}

#[test]
fn a_forgotten_payload_only_delays_its_credit() {
    let (tx, mut rx) = pair();
    assert_eq!(fill(&tx), DEPTH);
    std::mem::forget(rx.poll().unwrap().unwrap());
    std::mem::forget(rx.poll().unwrap().unwrap().payload);
    assert_eq!(rx.next_seq(), 3);
    assert_eq!(fill(&tx), 0);
    assert_is(&rx.poll().unwrap().unwrap(), 3, MTU);
    assert_eq!(fill(&tx), 3, "the next one returns all three");
}

#[test]
fn a_batch_returns_all_credits_at_once() {
    let (tx, mut rx) = pair();
    assert_eq!(fill(&tx), DEPTH);
    let batch = rx.poll_batch(5).unwrap();
    assert_eq!(batch.len(), 5);
    for fragment in &batch {
        drop(fragment);
        assert_eq!(fill(&tx), 0, "fragments of a batch have no credit of their own");
    }
    for (fragment, seq) in batch.iter().zip(1..) {
        assert_is(&fragment, seq, MTU);
    }
    drop(batch);
    assert_eq!(fill(&tx), 5);
    std::mem::forget(rx.poll_batch(2).unwrap());
    assert_eq!(fill(&tx), 0);
    assert_eq!(rx.poll_batch(100).unwrap().into_iter().count(), 6, "owned copies need no credit");
    assert_eq!(fill(&tx), DEPTH);
    assert!(rx.poll_batch(0).unwrap().is_empty());
    assert_eq!(fill(&tx), 0);
}

/// Lines are free, but granules are not.
#[test]
fn a_held_payload_holds_its_part_of_the_region() {
    // Room for four payloads of 256 bytes.
    let link = Link::builder().depth(64).mtu(256).region(1024).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let send = |seed: u64| tx.publish(&bytes(seed, 256), 0, 0, 0).map(|meta| meta.seq);
    for seed in 1..=4 {
        send(seed).unwrap();
    }
    assert_eq!((send(5), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    let held = rx.poll().unwrap().unwrap();
    assert_eq!((send(5), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    assert_eq!(held.payload.as_slice(), bytes(1, 256));
    tx.publish(b"small ones need a line only", 0, 0, 0).unwrap();
    drop(held);
    assert_eq!(send(6), Ok(6));
    assert_eq!((send(7), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    for seed in [2, 3, 4] {
        assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), bytes(seed, 256));
    }
    assert_eq!(rx.poll().unwrap().unwrap().payload.len(), 27);
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), bytes(6, 256));
    assert_eq!(tx.publish(&[0; 256], 0, 0, 0).unwrap().seq, 7);
}

/// The granules that a payload skips at the end of the region are not free either.
#[test]
fn a_payload_is_contiguous() {
    let link = Link::builder().depth(64).mtu(640).region(1024).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    tx.publish(&bytes(1, 640), 0, 0, 0).unwrap();
    assert_eq!((tx.publish(&bytes(2, 640), 0, 0, 0), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    let held = rx.poll().unwrap().unwrap();
    assert_eq!((tx.publish(&bytes(2, 640), 0, 0, 0), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    tx.publish(&bytes(2, 384), 0, 0, 0).unwrap();
    assert_eq!((tx.publish(&bytes(3, 97), 0, 0, 0), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    assert_eq!(held.payload.as_slice(), bytes(1, 640));
    drop(held);
    tx.publish(&bytes(3, 640), 0, 0, 0).unwrap();
    for (seed, len) in [(2, 384), (3, 640)] {
        assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), bytes(seed, len));
    }
}

#[test]
fn borrowed_storage_and_fewer_credits_than_lines() {
    for (credits, expected) in [(3, 3), (DEPTH, DEPTH), (1000, DEPTH), (0, 0)] {
        let (mcache, dcache) =
            (MCache::<{ DEPTH as usize }>::new(), DCache::<{ DEPTH as usize }, MTU>::new());
        let (fseq, fctl) = (Fseq::new(1), Fctl::new(credits));
        let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        assert_eq!(fill(&tx), expected, "even before the consumer is there");
        let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
        let Some(held) = rx.poll().unwrap() else {
            assert_eq!(credits, 0);
            continue;
        };
        assert_eq!(fill(&tx), 0);
        assert_is(&held, 1, MTU);
        drop(held);
        assert_eq!(fill(&tx), 1);
        rx.poll().unwrap().unwrap();
        drop(rx);
        assert_eq!(fill(&tx), 1, "the credits that were returned");
        let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 3);
        assert_is(&rx.poll().unwrap().unwrap(), 3, MTU);
        assert_eq!(fill(&tx), 1, "nothing was overwritten while there was no consumer");
    }
}

#[test]
fn a_forgotten_last_credit_comes_back_with_the_next_poll() {
    let link = Link::builder().depth(DEPTH as usize).mtu(MTU).credits(1).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for _ in 0..3 {
        publish(&tx, MTU).unwrap();
        std::mem::forget(rx.poll().unwrap().unwrap());
        assert_eq!(
            (publish(&tx, MTU), tx.held_by()),
            (Err(TangoError::NoCredits), Some(0)),
            "the payload could still be in use"
        );
        assert!(rx.poll().unwrap().is_none());
    }
    publish(&tx, MTU).unwrap();
}
