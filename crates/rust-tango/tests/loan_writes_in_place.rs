//! A loan is filled where the payload will lie. It publishes exactly what was written, and nothing unless it
//! is committed.
#![cfg(feature = "std")]

mod common;

use std::io::Write;

use common::{assert_is, bytes, publish};
use rust_tango::{Link, Start, TangoError};

#[test]
fn a_loan_publishes_exactly_what_was_written() {
    for observers in [false, true] {
        for len in [0, 1, 7, 8, 9, 95, 96, 97, 500, 777, 1000] {
            let link = Link::builder().depth(8).mtu(1000).observers(observers).build().unwrap();
            let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
            let expected = bytes(len as u64, len);
            let mut loan = tx.loan(len).unwrap();
            assert_eq!((loan.len(), loan.is_empty()), (len, len == 0));
            // In pieces, from the end to the beginning, at odd offsets.
            let mut end = len;
            for piece in (1..).map(|n| n * 13 % 37 + 1) {
                let start = end.saturating_sub(piece);
                loan.write_at(start, &expected[start..end]);
                end = start;
                if end == 0 {
                    break;
                }
            }
            let meta = loan.commit(5, 6, 7).unwrap();
            assert_eq!((meta.seq, meta.size as usize), (1, len));
            assert_eq!(tx.next_seq(), 2);
            let fragment = rx.poll().unwrap().unwrap();
            assert_eq!(fragment.meta, meta);
            assert_eq!((meta.sig, meta.ctl, meta.ts), (5, 6, 7));
            assert_eq!(fragment.payload.as_slice(), expected);
        }
    }
}

#[test]
fn a_loan_is_a_writer() {
    let link = Link::builder().depth(8).mtu(1000).build().unwrap();
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let mut loan = tx.loan(200).unwrap();
    write!(loan, "price {}", 101.25).unwrap();
    loan.write_all(b"; ").unwrap();
    loan.flush().unwrap();
    loan.write_at(0, b"PRICE");
    loan.truncate(14);
    loan.truncate(100); // cannot grow again
    assert_eq!(loan.len(), 14);
    loan.commit(0, 0, 0).unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"PRICE 101.25; ");

    let mut loan = tx.loan(5).unwrap();
    assert_eq!(loan.write(b"abc").unwrap(), 3);
    assert_eq!(loan.write(b"defg").unwrap(), 2, "a short write at the end, as with a slice");
    assert_eq!(loan.write(b"h").unwrap(), 0);
    assert!(loan.write_all(b"h").is_err());
    loan.commit(0, 0, 0).unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"abcde");
}

#[test]
fn a_truncated_loan_is_a_writer_up_to_its_new_end() {
    let link = Link::builder().depth(8).mtu(100).build().unwrap();
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let mut loan = tx.loan(100).unwrap();
    loan.write_all(b"too much").unwrap();
    loan.truncate(3);
    assert_eq!(loan.write(b"x").unwrap(), 0);
    loan.commit(0, 0, 0).unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"too");
}

#[test]
#[should_panic(expected = "outside of a loan of 100 bytes")]
fn writing_outside_of_a_loan_panics() {
    let mut tx = Link::builder().mtu(200).build().unwrap().producer().unwrap();
    tx.loan(100).unwrap().write_at(90, &[0; 11]);
}

#[test]
#[should_panic(expected = "outside of a loan of 10 bytes")]
fn writing_after_the_truncated_end_panics() {
    let mut tx = Link::builder().mtu(200).build().unwrap().producer().unwrap();
    let mut loan = tx.loan(100).unwrap();
    loan.truncate(10);
    loan.write_at(usize::MAX, b"xx");
}

#[test]
fn a_mutable_slice_is_lent_only_without_observers() {
    let watched = Link::builder().depth(8).mtu(300).build().unwrap();
    assert!(watched.producer().unwrap().loan(300).unwrap().as_mut_slice().is_none());
    let link = Link::builder().depth(8).mtu(300).observers(false).build().unwrap();
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    for len in [5, 96, 300] {
        let mut loan = tx.loan(len).unwrap();
        let slice = loan.as_mut_slice().unwrap();
        assert_eq!(slice.len(), len);
        slice.copy_from_slice(&bytes(9, len));
        loan.truncate(len - 2);
        assert_eq!(loan.as_mut_slice().unwrap().len(), len - 2);
        loan.commit(0, 0, 0).unwrap();
        assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), &bytes(9, len)[..len - 2]);
    }
}

#[test]
fn without_a_commit_nothing_is_published() {
    let link = Link::builder().depth(4).mtu(300).consumers(2).build().unwrap();
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let mut ob = link.observer().unwrap();
    for seq in 1..20 {
        for len in [10, 300] {
            let mut loan = tx.loan(len).unwrap();
            loan.write_at(0, &vec![0xee; len]);
            drop(loan);
            assert_eq!(tx.next_seq(), seq);
            assert!(rx.poll().unwrap().is_none() && ob.poll().unwrap().is_none());
        }
        assert_eq!(publish(&tx, 300).unwrap().seq, seq, "the number must be used again");
        assert_is(&rx.poll().unwrap().unwrap(), seq, 300);
        assert_is(&ob.poll().unwrap().unwrap(), seq, 300);
    }
}

#[test]
fn a_loan_needs_a_credit_and_overwrites_nothing_that_is_held() {
    let link = Link::builder().depth(4).mtu(256).region(512).build().unwrap();
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    tx.publish(&bytes(1, 256), 0, 0, 0).unwrap();
    tx.publish(&bytes(2, 256), 0, 0, 0).unwrap();
    assert_eq!(tx.loan(256).unwrap_err(), TangoError::NoCredits);
    assert_eq!(tx.held_by(), Some(0));
    let held = rx.poll().unwrap().unwrap();
    assert_eq!(tx.loan(97).unwrap_err(), TangoError::NoCredits);
    assert_eq!(tx.held_by(), Some(0));
    drop(tx.loan(96).unwrap());
    assert_eq!(held.payload.as_slice(), bytes(1, 256));
    drop(held);
    let mut loan = tx.loan(256).unwrap();
    loan.write_at(0, &[0; 256]);
    drop(loan);
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), bytes(2, 256));
}

/// Before a loan is written, observers no longer accept what it overwrites.
#[test]
fn observers_see_nothing_of_a_loan_before_it_is_committed() {
    let link = Link::builder().depth(4).mtu(256).region(512).build().unwrap();
    let mut tx = link.producer().unwrap();
    let mut ob = link.observer().unwrap();
    tx.publish(&bytes(1, 256), 0, 0, 0).unwrap();
    tx.publish(&bytes(2, 256), 0, 0, 0).unwrap();
    let mut loan = tx.loan(256).unwrap();
    loan.write_at(100, &[0xee; 10]);
    assert_eq!(ob.poll().unwrap_err(), TangoError::Overrun { lost: 1, next: 2 });
    assert_eq!(ob.poll().unwrap().unwrap().payload.as_slice(), bytes(2, 256));
    assert!(ob.poll().unwrap().is_none());
    loan.write_at(0, &bytes(3, 256));
    loan.commit(0, 0, 0).unwrap();
    assert_eq!(ob.poll().unwrap().unwrap().payload.as_slice(), bytes(3, 256));
    let mut late = link.observer_from(Start::Oldest).unwrap();
    assert_eq!(late.poll().unwrap().unwrap().meta.seq, 2);
}
