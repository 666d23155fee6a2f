//! `Metrics` and `Link::status` report what has happened: lag, stalls, losses.
#![cfg(feature = "std")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{few, in_time, publish, publish_blocking};
use rust_tango::{Consumer, DCache, Fctl, Fseq, Link, MCache, Metrics, Producer, Start, TangoError};

const MTU: usize = 200;

#[test]
fn metrics_count_each_side() {
    let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, MTU>::new());
    let (fseq, fctl, metrics) = (Fseq::new(1), Fctl::new(8), Metrics::new());
    let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).with_metrics(&metrics);
    let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1).with_metrics(&metrics);
    for n in 1..=8 {
        publish(&tx, MTU).unwrap();
        assert_eq!((metrics.snapshot().published, metrics.snapshot().lag()), (n, n));
        assert_eq!(fctl.available(), 8 - n);
    }
    for _ in 0..100 {
        assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    }
    assert_eq!(
        metrics.snapshot().backpressure_events,
        1,
        "one fragment had to wait, whatever the number of tries"
    );
    rx.poll().unwrap().unwrap();
    assert_eq!((metrics.snapshot().consumed, metrics.snapshot().lag()), (1, 7));
    publish(&tx, MTU).unwrap();
    for _ in 0..100 {
        assert!(tx.publish(&[0; MTU + 1], 0, 0, 0).is_err());
        assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    }
    assert_eq!(metrics.snapshot().backpressure_events, 2, "and then the next fragment had to wait");
    assert_eq!(rx.poll_batch(3).unwrap().len(), 3);
    assert!(rx.poll_if(|_| false).unwrap().is_none());
    let counted = metrics.snapshot();
    assert_eq!((counted.published, counted.consumed, counted.overruns, counted.lag()), (9, 9, 0, 0));
    assert_eq!(counted.to_string(), "published=9 consumed=9 lag=0 overruns=0 backpressure=2");
    // A later user of the same metrics continues the counts.
    drop((tx, rx));
    let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).with_metrics(&metrics);
    let _rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 10).with_metrics(&metrics);
    publish(&tx, MTU).unwrap();
    assert_eq!((metrics.snapshot().published, metrics.snapshot().lag()), (10, 1));
}

#[test]
fn metrics_live_as_long_as_their_users() {
    in_time(|| {
        let metrics = Arc::new(Metrics::new());
        let link = Link::builder().depth(8).mtu(MTU).build().unwrap();
        let tx = link.producer().unwrap().with_metrics(&metrics);
        // All that is left of the metrics is in the ends, which are free of borrows.
        let rx: Consumer<'static> = link.consumer().unwrap().with_metrics(metrics.clone());
        let weak = Arc::downgrade(&metrics);
        drop(metrics);
        let reader = std::thread::spawn(move || {
            rx.into_iter().for_each(|fragment| drop(fragment.unwrap()));
        });
        for _ in 0..few(100) {
            publish_blocking(&tx, MTU);
        }
        let snapshot = weak.upgrade().unwrap().snapshot();
        assert_eq!(snapshot.published, few(100));
        drop(tx);
        reader.join().unwrap();
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn metrics_count_overruns() {
    let (mcache, dcache) = (MCache::<4>::new(), DCache::<4, MTU>::new());
    let (fseq, metrics) = (Fseq::new(1), Metrics::new());
    let tx = Producer::new(&mcache, &dcache, &fseq).with_metrics(&metrics);
    let mut one = Consumer::new(&mcache, &dcache, 1).with_metrics(&metrics);
    let mut two = Consumer::new(&mcache, &dcache, 1).with_metrics(&metrics);
    for _ in 0..10 {
        publish(&tx, MTU).unwrap();
    }
    for ob in [&mut one, &mut two] {
        ob.poll().unwrap_err();
        while ob.poll().unwrap().is_some() {}
    }
    let counted = metrics.snapshot();
    assert_eq!((counted.published, counted.consumed, counted.overruns), (10, 8, 2));
    assert_eq!(counted.backpressure_events, 0);
}

#[test]
fn metrics_of_threads_are_exact_in_the_end() {
    in_time(|| {
        let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, MTU>::new());
        let (fseq, fctl, metrics) = (Fseq::new(1), Fctl::new(8), Metrics::new());
        let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).with_metrics(&metrics);
        let rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1).with_metrics(&metrics);
        std::thread::scope(|scope| {
            scope.spawn(|| rx.into_iter().for_each(|fragment| drop(fragment.unwrap())));
            for _ in 0..few(5_000) {
                publish_blocking(&tx, MTU);
                assert!(metrics.snapshot().lag() <= 8);
            }
            drop(tx);
        });
        let counted = metrics.snapshot();
        assert_eq!((counted.published, counted.consumed, counted.lag()), (few(5_000), few(5_000), 0));
        assert!(counted.backpressure_events <= few(5_000));
    });
}

#[test]
fn the_status_of_a_link() {
    let link = Link::builder().depth(8).mtu(MTU).consumers(3).start(100).build().unwrap();
    let fresh = link.status();
    assert_eq!((fresh.producer, fresh.closed, fresh.stopped), (false, false, false));
    assert_eq!((fresh.start, fresh.next, fresh.oldest, fresh.backpressure), (100, 100, 100, 0));
    assert!(fresh.consumers.is_empty());

    let tx = link.producer().unwrap();
    let mut fast = link.consumer().unwrap();
    let slow = link.consumer().unwrap();
    for _ in 0..6 {
        publish(&tx, MTU).unwrap();
        fast.poll().unwrap().unwrap();
    }
    let held = {
        publish(&tx, MTU).unwrap();
        fast.poll().unwrap().unwrap()
    };
    let status = link.status();
    assert_eq!((status.producer, status.closed, status.next), (true, false, 107));
    let of = |at: usize| (status.consumers[at].slot, status.consumers[at].next, status.consumers[at].lag);
    assert_eq!((of(0), of(1)), ((0, 106, 1), (1, 100, 7)), "a held fragment counts as unread");
    assert_eq!((status.consumers[0].consumed, status.consumers[1].consumed), (6, 0));
    assert!(status.consumers.iter().all(|consumer| consumer.alive && consumer.lost == 0));
    drop(held);
    assert_eq!(link.status().consumers[0].lag, 0);

    publish(&tx, MTU).unwrap();
    for _ in 0..50 {
        assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(1)));
    }
    assert_eq!((link.status().backpressure, tx.held_by()), (1, Some(1)));
    assert_eq!(link.status().held_by, Some(1));
    drop(slow);
    for _ in 0..7 {
        publish(&tx, MTU).unwrap();
    }
    assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
    assert_eq!((link.status().backpressure, tx.held_by()), (2, Some(0)));
    assert_eq!(link.status().held_by, Some(0));
    let status = link.status();
    assert_eq!((status.next, status.oldest, status.consumers[0].lag), (115, 107, 8));
    drop(tx);
    let status = link.status();
    assert_eq!((status.producer, status.closed, status.stopped), (false, true, false));
    link.clone().stop().unwrap();
    assert!(link.status().stopped);
}

#[test]
fn counters_of_a_slot_start_from_zero_for_each_owner() {
    let link = Link::builder().depth(4).mtu(MTU).build().unwrap();
    let tx = link.producer().unwrap();
    for _ in 0..10 {
        publish(&tx, MTU).unwrap();
    }
    let mut late = link.consumer_from(Start::At(1)).unwrap();
    assert!(matches!(late.poll(), Err(TangoError::Overrun { .. })));
    while late.poll().unwrap().is_some() {}
    let status = link.status().consumers[0].clone();
    assert_eq!((status.overruns, status.consumed + status.lost, status.lag), (1, 10, 0));
    assert!(status.lost >= 6);
    drop(late);
    assert!(link.status().consumers.is_empty());
    let _fresh = link.consumer().unwrap();
    let status = link.status().consumers[0].clone();
    assert_eq!((status.overruns, status.consumed, status.lost, status.next), (0, 0, 0, 11));
}

#[test]
fn a_heartbeat_is_seen_by_others() {
    let link = Link::builder().build().unwrap();
    assert_eq!(link.status().heartbeat, 0);
    link.producer().unwrap().beat(17);
    assert_eq!((link.status().heartbeat, link.status().closed), (17, true));
}

/// While an `Fctl` has no consumer, neither before the first nor after one has left, the producer names none.
#[test]
fn a_producer_without_its_consumer_names_none() {
    for credits in [0, 4] {
        let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
        let (fseq, fctl) = (Fseq::new(1), Fctl::new(credits));
        let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        let says = |held_by, consumers| {
            assert_eq!(tx.publish(b"x", 0, 0, 0), Err(TangoError::NoCredits));
            assert_eq!((tx.held_by(), tx.consumers(), tx.is_drained()), (held_by, consumers, consumers == 0));
            assert_eq!(tx.wait_for_consumers(1, Some(Duration::ZERO)), consumers == 1);
            assert_eq!(tx.wait_until_drained(Some(Duration::ZERO)), consumers == 0);
        };
        let fill = || while tx.publish(b"x", 0, 0, 0).is_ok() {};
        fill();
        says(None, 0);
        if credits == 0 {
            continue;
        }
        for round in 0..3 {
            let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, fseq.current());
            let _ = rx.poll();
            fill();
            says(Some(0), 1);
            drop(rx);
            says(None, 0);
            assert!(fseq.current() > 4 + round);
        }
    }
}

/// No more consumers than the link has slots are waited for, because they can never come.
#[test]
fn consumers_without_a_slot_are_not_waited_for() {
    in_time(|| {
        let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
        let (tx, _rx) = (link.producer().unwrap(), link.consumer().unwrap());
        assert!(tx.wait_for_consumers(0, None) && tx.wait_for_consumers(1, None));
        assert!(!tx.wait_for_consumers(2, None) && !tx.wait_for_consumers(usize::MAX, None));
        let none = Link::builder().depth(8).mtu(MTU).consumers(0).build().unwrap();
        assert!(!none.producer().unwrap().wait_for_consumers(1, None));
        let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
        let (fseq, fctl) = (Fseq::new(1), Fctl::new(8));
        assert!(!Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).wait_for_consumers(2, None));
        let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(1));
        assert!(!Producer::new(&mcache, &dcache, &fseq).wait_for_consumers(1, None));
    });
}
