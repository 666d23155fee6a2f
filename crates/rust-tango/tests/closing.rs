//! After the producer has gone or somebody has stopped the link, readers drain it and then learn that it is
//! closed. Waiting readers return.
#![cfg(feature = "std")]

mod common;

use std::time::Duration;

use common::{assert_is, in_time, publish};
use rust_tango::{ChannelBuilder, Consumer, Link, Producer, TangoError, Wait};

const MTU: usize = 200;

fn link() -> Link {
    Link::builder().depth(8).mtu(MTU).consumers(4).build().unwrap()
}

#[test]
fn readers_drain_and_then_the_link_is_closed() {
    let link = link();
    let tx = link.producer().unwrap();
    let mut readers = [link.consumer().unwrap(), link.observer().unwrap()];
    for _ in 0..3 {
        publish(&tx, MTU).unwrap();
    }
    assert!(readers.iter().all(|rx| !rx.is_closed()));
    drop(tx);
    assert!(link.status().closed && !link.status().stopped && !link.status().producer);
    for rx in &mut readers {
        assert!(!rx.is_closed(), "there is something left");
        assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
        assert_is(&rx.wait().unwrap().unwrap(), 2, MTU);
        assert!(!rx.is_closed());
        assert_eq!(rx.poll_batch(8).unwrap().len(), 1);
        assert!(rx.is_closed());
        assert!(rx.poll().unwrap().is_none());
        assert!(rx.wait().unwrap().is_none());
        assert!(rx.wait_timeout(common::PATIENCE).unwrap().is_none(), "it must not wait");
        assert!(rx.poll_batch(8).unwrap().is_empty());
        rx.for_each(|_, _| panic!("nothing is left")).unwrap();
    }
    for rx in readers {
        assert_eq!(rx.into_iter().count(), 0);
    }
}

#[test]
fn iteration_ends_with_the_link() {
    let link = link();
    let tx = link.producer().unwrap();
    let (by_value, mut by_call) = (link.consumer().unwrap(), link.consumer().unwrap());
    for _ in 0..5 {
        publish(&tx, MTU).unwrap();
    }
    drop(tx);
    let owned: Result<Vec<_>, _> = by_value.into_iter().collect();
    for (fragment, seq) in owned.unwrap().iter().zip(1..) {
        assert_eq!(fragment.meta.seq, seq);
        common::assert_whole(&fragment.meta, &fragment.payload, MTU);
    }
    let mut seen = 0;
    by_call
        .for_each(|meta, bytes| {
            seen += 1;
            assert_eq!(meta.seq, seen);
            common::assert_whole(meta, bytes, MTU);
        })
        .unwrap();
    assert_eq!(seen, 5);
}

#[test]
fn waiting_readers_return() {
    in_time(|| {
        for (wait, stop) in
            [(Wait::Yield, false), (Wait::Spin, false), (Wait::Yield, true), (Wait::Spin, true)]
        {
            let link = link();
            let tx = link.producer().unwrap();
            let readers: Vec<_> = [link.consumer().unwrap(), link.observer().unwrap()]
                .into_iter()
                .map(|rx| {
                    let mut rx = rx.with_wait(wait);
                    std::thread::spawn(move || {
                        let mut seen = 0;
                        while rx.wait().unwrap().is_some() {
                            seen += 1;
                        }
                        assert!(rx.is_closed());
                        seen
                    })
                })
                .collect();
            publish(&tx, MTU).unwrap();
            std::thread::sleep(Duration::from_millis(2)); // so that the readers wait, most of the time
            if stop {
                link.stop().unwrap();
                readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), 1));
                drop(tx);
            } else {
                drop(tx);
                readers.into_iter().for_each(|reader| assert_eq!(reader.join().unwrap(), 1));
            }
        }
    });
}

/// A producer that is made and dropped while its thread unwinds, by the `drop` of another value, has not died by
/// that panic.
#[test]
fn a_producer_made_during_a_panic_closes_the_link() {
    struct SaysGoodbye<'a>(&'a Link);
    impl Drop for SaysGoodbye<'_> {
        fn drop(&mut self) {
            self.0.producer().unwrap().send(b"goodbye").unwrap();
        }
    }
    let link = link();
    let mut readers = [link.consumer().unwrap(), link.observer().unwrap()];
    let panic = || {
        let _goodbye = SaysGoodbye(&link);
        std::panic::resume_unwind(Box::new(()));
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panic)).is_err());
    assert!(link.status().closed);
    for rx in &mut readers {
        assert_eq!(rx.wait().unwrap().unwrap().payload.as_slice(), b"goodbye");
        assert!(rx.wait().unwrap().is_none() && rx.is_closed());
    }
}

/// The last fragment is never hidden by the end of the link.
#[test]
fn the_last_fragment_is_not_lost() {
    in_time(|| {
        for round in 0..common::few(1000) {
            let link = link();
            let tx = link.producer().unwrap();
            let mut rx = link.consumer().unwrap();
            let reader = std::thread::spawn(move || {
                let mut seen = 0;
                loop {
                    if rx.poll().unwrap().is_some() {
                        seen += 1;
                    } else if rx.is_closed() {
                        return seen;
                    }
                }
            });
            for _ in 0..1 + round % 3 {
                publish(&tx, MTU).unwrap();
            }
            drop(tx);
            assert_eq!(reader.join().unwrap(), 1 + round % 3);
        }
    });
}

#[test]
fn a_stopped_link_ends_blocking_calls_of_its_producer() {
    in_time(|| {
        let link = link();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap();
        for _ in 0..8 {
            publish(&tx, MTU).unwrap();
        }
        let producer = std::thread::spawn(move || {
            let blocked = tx.publish_blocking(b"no room", 0, 0, 0);
            (blocked, tx.send(b"no room"), tx.send_message(&[0; 500], 0), tx.next_seq())
        });
        std::thread::sleep(Duration::from_millis(5));
        link.stop().unwrap();
        link.stop().unwrap();
        let (blocked, sent, message, next) = producer.join().unwrap();
        assert_eq!(blocked, Err(TangoError::Closed));
        assert_eq!((sent, message), (Err(TangoError::Closed), Err(TangoError::Closed)));
        assert_eq!(next, 9, "nothing was published");
        for seq in 1..=8 {
            assert!(!rx.is_closed());
            assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
        }
        assert!(rx.is_closed() && rx.wait().unwrap().is_none());
        assert!(link.status().stopped);
    });
}

#[test]
fn a_new_producer_opens_the_link_again() {
    let link = link();
    let tx = link.producer().unwrap();
    let mut readers = [link.consumer().unwrap(), link.observer().unwrap()];
    publish(&tx, MTU).unwrap();
    drop(tx);
    for rx in &mut readers {
        assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
        assert!(rx.is_closed() && rx.wait().unwrap().is_none());
    }
    let tx = link.producer().unwrap();
    assert_eq!(tx.next_seq(), 2);
    assert!(!link.status().closed);
    for rx in &mut readers {
        assert!(!rx.is_closed());
        assert!(rx.wait_timeout(Duration::from_millis(1)).unwrap().is_none());
        assert!(!rx.is_closed());
    }
    publish(&tx, MTU).unwrap();
    for rx in &mut readers {
        assert_is(&rx.wait().unwrap().unwrap(), 2, MTU);
    }
}

#[test]
fn waiting_with_a_timeout() {
    in_time(|| {
        let link = link();
        let tx = link.producer().unwrap();
        for wait in [Wait::Yield, Wait::Spin] {
            let mut rx = link.observer().unwrap().with_wait(wait);
            let begin = std::time::Instant::now();
            assert!(rx.wait_timeout(Duration::from_millis(20)).unwrap().is_none());
            assert!(begin.elapsed() >= Duration::from_millis(20));
            assert!(!rx.is_closed(), "only the timeout was over");
            assert!(rx.wait_timeout(Duration::ZERO).unwrap().is_none());
            publish(&tx, MTU).unwrap();
            assert!(rx.wait_timeout(Duration::ZERO).unwrap().is_some());
        }
    });
}

#[test]
fn an_empty_link_closes() {
    let link = link();
    let mut early = link.consumer().unwrap();
    assert!(!early.is_closed(), "no producer has come yet");
    drop(link.producer().unwrap());
    assert!(early.is_closed() && early.wait().unwrap().is_none());
    let mut late = link.observer().unwrap();
    assert!(late.is_closed() && late.wait().unwrap().is_none());
}

#[test]
fn borrowed_storage_closes() {
    in_time(|| {
        let (mcache, dcache, fseq, fctl, _) = ChannelBuilder::<8, 8, MTU>::new().with_flow_control().build();
        let fctl = fctl.unwrap();
        let mut early = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
        assert!(!early.is_closed() && early.poll().unwrap().is_none());
        let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        publish(&tx, MTU).unwrap();
        drop(tx);
        assert_is(&early.wait().unwrap().unwrap(), 1, MTU);
        assert!(early.is_closed() && early.wait().unwrap().is_none());
        drop(Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl));
        assert!(early.is_closed());
    });
}

/// A reader must not wait forever for a producer that will never come.
#[test]
fn storage_that_is_stopped_before_its_first_producer_is_closed() {
    in_time(|| {
        let (mcache, dcache, _, fctl, _) = ChannelBuilder::<8, 8, MTU>::new().with_flow_control().build();
        let fctl = fctl.unwrap();
        let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
        let mut ob = Consumer::new(&mcache, &dcache, 1);
        mcache.stop();
        assert!(rx.poll().unwrap().is_none() && rx.is_closed());
        assert!(ob.wait().unwrap().is_none() && ob.is_closed());
        assert!(rx.wait().unwrap().is_none());
    });
}
