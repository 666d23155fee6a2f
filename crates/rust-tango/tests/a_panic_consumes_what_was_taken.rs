//! A panic in the caller's code, while it has a fragment, a batch or a loan, consumes what was taken and nothing
//! else. All credits return, and a caller that catches the panic goes on after it.
#![cfg(feature = "std")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use common::{assert_is, publish};
use rust_tango::{Consumer, Link, Producer, Start, TangoError};

const MTU: usize = 200;
const DEPTH: u64 = 8;

/// Runs `act`, which panics. The panic prints nothing.
#[track_caller]
fn panics<T>(act: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(act)).is_err());
}

fn now() -> ! {
    resume_unwind(Box::new(()))
}

/// A full ring, and for each kind of reader `act` on it, which panics. After that, the reader goes on with
/// fragment `next`, and has returned the credits of all before it.
fn each_kind(next: u64, mut act: impl FnMut(&mut Consumer<'_>)) {
    for kind in 0..3 {
        let link = Link::builder().depth(DEPTH as usize).mtu(MTU).build().unwrap();
        let tx = link.producer().unwrap();
        let mut rx = match kind {
            0 => link.consumer(),
            1 => link.evictable_consumer(Start::Next),
            _ => link.observer(),
        }
        .unwrap();
        for _ in 0..DEPTH {
            publish(&tx, MTU).unwrap();
        }
        panics(|| act(&mut rx));
        assert_eq!(rx.next_seq(), next);
        if rx.is_reliable() {
            let free = (0..DEPTH).take_while(|_| publish(&tx, MTU).is_ok()).count() as u64;
            assert_eq!(free, next - 1, "kind {kind}");
        }
        for seq in next..=DEPTH {
            assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
        }
    }
}

#[test]
fn the_fragment_that_a_handler_was_given_is_read() {
    each_kind(4, |rx| {
        let mut seen = 0;
        let _ = rx.for_each(|meta, _| {
            seen += 1;
            assert_eq!(meta.seq, seen);
            if seen == 3 {
                now();
            }
        });
    });
    each_kind(2, |rx| {
        let _fragment = rx.poll().unwrap().unwrap();
        now();
    });
    each_kind(2, |rx| {
        let _fragment = rx.wait().unwrap().unwrap();
        now();
    });
}

/// A loop over a batch panics at its second fragment: the others of the batch count as read, too.
#[test]
fn a_batch_is_read_as_a_whole() {
    each_kind(6, |rx| {
        for fragment in &rx.poll_batch(5).unwrap() {
            if fragment.meta.seq == 2 {
                now();
            }
        }
    });
    each_kind(6, |rx| {
        for fragment in rx.poll_batch(5).unwrap() {
            if fragment.meta.seq == 2 {
                now();
            }
        }
    });
}

/// A fragment whose tag was being judged is offered again. The skipped ones before it are read.
#[test]
fn a_fragment_that_was_not_accepted_yet_stays() {
    each_kind(3, |rx| {
        let mut judged = 0;
        let _ = rx.poll_if(|_| {
            judged += 1;
            if judged == 3 {
                now();
            }
            false
        });
    });
}

/// A panic while a loan is filled publishes nothing, and the number is used for the next fragment.
#[test]
fn a_loan_is_not_published() {
    for size in [0, 8, MTU] {
        let link = Link::builder().depth(DEPTH as usize).mtu(MTU).build().unwrap();
        let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        publish(&tx, MTU).unwrap();
        // More often than there are credits: a loan that is dropped keeps none.
        for _ in 0..3 * DEPTH {
            panics(|| {
                let mut loan = tx.loan(size).unwrap();
                loan.write_at(0, &vec![9; size / 2]);
                now();
            });
        }
        assert_eq!(tx.next_seq(), 2);
        assert!(!link.status().closed && link.status().producer);
        for _ in 1..DEPTH {
            publish(&tx, MTU).unwrap();
        }
        assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
        for seq in 1..=DEPTH {
            assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
        }
        assert!(rx.poll().unwrap().is_none() && !rx.is_closed());
    }
}

/// A panic that also drops the producer is the producer's death, and the loan is not published then, either.
#[test]
fn a_loan_of_a_dying_producer_is_not_published() {
    let link = Link::builder().depth(DEPTH as usize).mtu(MTU).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    publish(&tx, MTU).unwrap();
    let fill = |mut tx: Producer<'_>| {
        let mut loan = tx.loan(8).unwrap();
        loan.write_at(0, &[9; 4]);
        now();
    };
    panics(|| fill(tx));
    assert_is(&rx.wait().unwrap().unwrap(), 1, MTU);
    assert_eq!(rx.wait().unwrap_err(), TangoError::ProducerGone);
    assert_eq!(link.producer().unwrap().next_seq(), 2);
}
