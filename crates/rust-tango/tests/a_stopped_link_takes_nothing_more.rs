//! Once a link is stopped, every call that publishes returns `Closed` and publishes nothing. Readers get exactly
//! what was published before.
#![cfg(feature = "std")]

mod common;

use std::time::Duration;

use common::{assert_is, in_time, publish};
use rust_tango::{Consumer, DCache, Fctl, Fseq, Link, MCache, Producer, TangoError};

const MTU: usize = 300;
const DEPTH: usize = 8;
/// Payloads that fit a slot, and one that does not.
const SIZES: [usize; 4] = [0, 8, 64, MTU];

/// Calls everything that publishes. Nothing may be published.
#[track_caller]
fn takes_nothing(tx: &mut Producer<'_>) {
    assert!(tx.is_stopped());
    let (next, bytes) = (tx.next_seq(), [7; MTU]);
    for size in SIZES {
        let payload = &bytes[..size];
        assert_eq!(tx.publish(payload, 1, 2, 3), Err(TangoError::Closed), "publish {size}");
        assert_eq!(tx.publish_blocking(payload, 1, 2, 3), Err(TangoError::Closed), "publish_blocking {size}");
        assert_eq!(tx.publish_timeout(payload, 1, 2, 3, Duration::MAX), Err(TangoError::Closed));
        assert_eq!(tx.send(payload), Err(TangoError::Closed), "send {size}");
        assert_eq!(tx.publish_batch(&[payload, payload], 1, 2), 0, "publish_batch {size}");
        assert_eq!(tx.publish_batch_at(&[payload, payload], 1, 2, 3), 0, "publish_batch_at {size}");
        assert_eq!(tx.loan(size).map(drop), Err(TangoError::Closed), "loan {size}");
    }
    assert_eq!(tx.publish(&[0; MTU + 1], 0, 0, 0), Err(TangoError::Closed));
    assert_eq!(tx.send_message(&[7; 5 * MTU], 0), Err(TangoError::Closed));
    assert_eq!(tx.send_message(&[7; 5], 0), Err(TangoError::Closed));
    assert_eq!(tx.next_seq(), next);
    assert!(tx.is_stopped());
}

/// Reads the fragments up to `next`, and finds the end.
#[track_caller]
fn reads_up_to(rx: &mut Consumer<'_>, next: u64) {
    for seq in rx.next_seq()..next {
        assert!(!rx.is_closed());
        assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
    }
    assert!(rx.poll().unwrap().is_none() && rx.is_closed());
}

#[test]
fn on_the_heap() {
    in_time(|| {
        for published in [0, 3, DEPTH as u64] {
            let link = Link::builder().depth(DEPTH).mtu(MTU).consumers(2).build().unwrap();
            let (mut tx, mut rx, mut ob) =
                (link.producer().unwrap(), link.consumer().unwrap(), link.observer().unwrap());
            for _ in 0..published {
                publish(&tx, MTU).unwrap();
            }
            assert!(!tx.is_stopped());
            link.stop().unwrap();
            takes_nothing(&mut tx);
            // Also for the next producer.
            drop(tx);
            takes_nothing(&mut link.producer().unwrap());
            reads_up_to(&mut rx, 1 + published);
            reads_up_to(&mut ob, 1 + published);
        }
    });
}

#[test]
fn a_loan_from_before_is_not_committed() {
    for size in SIZES {
        let link = Link::builder().depth(DEPTH).mtu(MTU).build().unwrap();
        let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        publish(&tx, MTU).unwrap();
        let mut loan = tx.loan(size).unwrap();
        loan.write_at(0, &[9; MTU][..size]);
        link.stop().unwrap();
        assert_eq!(loan.commit(1, 2, 3), Err(TangoError::Closed));
        assert_eq!(tx.next_seq(), 2);
        reads_up_to(&mut rx, 2);
    }
}

#[test]
fn on_borrowed_storage() {
    in_time(|| {
        let (mcache, dcache) = (MCache::<DEPTH>::new(), DCache::<DEPTH, MTU>::new());
        let (fseq, fctl) = (Fseq::new(1), Fctl::new(4));
        let mut tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
        for _ in 0..4 {
            publish(&tx, MTU).unwrap();
        }
        mcache.stop();
        takes_nothing(&mut tx);
        assert_eq!((fseq.current(), fctl.available()), (5, 0));
        reads_up_to(&mut rx, 5);

        let (mcache, dcache, fseq) = (MCache::<DEPTH>::new(), DCache::<DEPTH, MTU>::new(), Fseq::new(1));
        let mut tx = Producer::new(&mcache, &dcache, &fseq);
        let mut ob = Consumer::new(&mcache, &dcache, 1);
        for _ in 0..3 {
            publish(&tx, MTU).unwrap();
        }
        mcache.stop();
        takes_nothing(&mut tx);
        reads_up_to(&mut ob, 4);
    });
}

/// A message that is stopped between two fragments is not continued.
#[test]
fn a_message_ends_where_the_link_was_stopped() {
    in_time(|| {
        let link = Link::builder().depth(DEPTH).mtu(8).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let sender = std::thread::spawn(move || (tx.send_message(&[7; 1000], 0), tx.next_seq()));
        while rx.next_seq() != 5 {
            let _ = rx.poll().unwrap();
        }
        link.stop().unwrap();
        let (sent, next) = sender.join().unwrap();
        assert_eq!(sent, Err(TangoError::Closed));
        let mut read = rx.next_seq();
        while rx.poll().unwrap().is_some() {
            read += 1;
        }
        assert_eq!(read, next);
    });
}

/// One thread stops the link while another one publishes: what was published can be read.
#[test]
fn what_succeeds_beside_the_stop_is_read() {
    in_time(|| {
        for round in 0..common::few(200) {
            let link = Link::builder().depth(1024).mtu(MTU).build().unwrap();
            let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
            let producer = std::thread::spawn(move || {
                loop {
                    match publish(&tx, MTU) {
                        Ok(_) => {}
                        Err(TangoError::NoCredits) => std::thread::yield_now(),
                        Err(error) => return (error, tx.next_seq()),
                    }
                }
            });
            while rx.next_seq() < 1 + round {
                let _ = rx.poll().unwrap();
            }
            link.stop().unwrap();
            let (error, next) = producer.join().unwrap();
            assert_eq!(error, TangoError::Closed);
            reads_up_to(&mut rx, next);
        }
    });
}

/// The roles of the child processes.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn child() {
    use common::process::{role, say};
    let Some((role, folder)) = role() else { return };
    match role.as_str() {
        "producer" => {
            let link = Link::builder().depth(4096).mtu(MTU).consumers(2).dir(&folder);
            let mut tx = link.create("quotes").unwrap().producer().unwrap();
            say("ready");
            let error = loop {
                match publish(&tx, MTU) {
                    Ok(_) | Err(TangoError::NoCredits) => {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    Err(error) => break error,
                }
            };
            assert_eq!(error, TangoError::Closed);
            takes_nothing(&mut tx);
            say(tx.next_seq());
        }
        "stopper" => Link::open_in(&folder, "quotes").unwrap().stop().unwrap(),
        other => panic!("no role {other}"),
    }
}

/// Three processes: one publishes, one stops the link, one reads. The link is also removed, as by
/// `tango rm --force`.
#[cfg(all(feature = "shm", target_os = "linux", not(miri)))]
#[test]
fn another_process_stops_and_removes_the_link() {
    use common::process::{Child, TestFolder};
    in_time(|| {
        for removed in [false, true] {
            let folder = TestFolder::new();
            let mut producer = Child::start_ready("producer", &folder);
            let link = Link::open_in(folder.path(), "quotes").unwrap();
            let mut rx = link.consumer_from(rust_tango::Start::Oldest).unwrap();
            while rx.next_seq() < 100 {
                if let Some(fragment) = rx.wait().unwrap() {
                    common::assert_whole(&fragment.meta, fragment.payload.as_slice(), MTU);
                }
            }
            Child::start("stopper", &folder).succeeds();
            if removed {
                link.remove().unwrap();
            }
            let next = producer.hear().parse().unwrap();
            producer.succeeds();
            reads_up_to(&mut rx, next);
        }
    });
}
