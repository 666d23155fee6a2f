//! Nothing changes where sequence numbers wrap from `u64::MAX` to 0.
#![cfg(feature = "std")]

mod common;

use common::{assert_is, in_time, publish};
use rust_tango::{Consumer, DCache, Fctl, Fseq, Link, MCache, Metrics, Producer, Start, TangoError};

const MTU: usize = 200;
const DEPTH: usize = 8;

/// First numbers from before the wrap to after it.
fn starts() -> impl Iterator<Item = u64> {
    (0..20).map(|back| 2_u64.wrapping_sub(back)).chain([1 << 63, (1 << 63) - 5])
}

#[test]
fn reliable_consumers_on_borrowed_storage() {
    in_time(|| starts().for_each(reliable_from));
}

fn reliable_from(start: u64) {
    let (mcache, dcache) = (MCache::<DEPTH>::new(), DCache::<DEPTH, MTU>::new());
    let (fseq, fctl, metrics) = (Fseq::new(start), Fctl::new(5), Metrics::new());
    let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).with_metrics(&metrics);
    let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, start).with_metrics(&metrics);
    assert!(rx.poll().unwrap().is_none(), "an empty ring that starts with {start} must have no fragment");
    let mut read = start;
    for round in 0..10 {
        for _ in 0..5 {
            publish(&tx, MTU).unwrap();
        }
        assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
        assert_eq!(fctl.available(), 0);
        assert_eq!((metrics.snapshot().lag(), metrics.snapshot().backpressure_events), (5, round + 1));
        for _ in 0..5 {
            assert_is(&rx.poll().unwrap().unwrap(), read, MTU);
            read = read.wrapping_add(1);
        }
        assert!(rx.poll().unwrap().is_none());
        assert_eq!((fctl.available(), fseq.current()), (5, read));
    }
    let counted = metrics.snapshot();
    assert_eq!((counted.published, counted.consumed, counted.overruns), (50, 50, 0));
}

#[test]
fn overruns_across_the_wrap() {
    in_time(|| starts().for_each(overruns_from));
}

fn overruns_from(start: u64) {
    let (mcache, dcache) = (MCache::<DEPTH>::new(), DCache::<DEPTH, MTU>::new());
    let (fseq, metrics) = (Fseq::new(start), Metrics::new());
    let tx = Producer::new(&mcache, &dcache, &fseq).with_metrics(&metrics);
    let mut ob = Consumer::new(&mcache, &dcache, start).with_metrics(&metrics);
    for _ in 0..DEPTH + 5 {
        publish(&tx, MTU).unwrap();
    }
    let next = start.wrapping_add(5);
    assert_eq!(ob.poll().unwrap_err(), TangoError::Overrun { lost: 5, next });
    for back in 0..DEPTH as u64 {
        assert_is(&ob.poll().unwrap().unwrap(), next.wrapping_add(back), MTU);
    }
    assert!(ob.poll().unwrap().is_none());
    let counted = metrics.snapshot();
    assert_eq!((counted.published, counted.consumed, counted.overruns), (13, 8, 1));
}

#[test]
fn a_link_and_all_kinds_of_readers() {
    in_time(|| starts().for_each(link_from));
}

fn link_from(start: u64) {
    let link = Link::builder().depth(DEPTH).mtu(MTU).region(1024).consumers(4).start(start);
    let link = link.build().unwrap();
    assert_eq!((link.status().start, link.status().next), (start, start));
    let mut tx = link.producer().unwrap();
    let mut rx = link.consumer().unwrap();
    for step in 0..40_u64 {
        let n = start.wrapping_add(step);
        assert_eq!(tx.next_seq(), n);
        let mut late = link.consumer().unwrap();
        let mut future = link.consumer_from(Start::At(n.wrapping_add(1))).unwrap();
        publish(&tx, MTU).unwrap();
        let mut oldest = link.observer_from(Start::Oldest).unwrap();
        assert_is(&rx.poll().unwrap().unwrap(), n, MTU);
        assert_is(&late.poll().unwrap().unwrap(), n, MTU);
        assert!(future.poll().unwrap().is_none());
        let status = link.status();
        assert_eq!((status.next, status.consumers.len()), (n.wrapping_add(1), 3));
        assert!(status.consumers.iter().all(|consumer| consumer.lag == 0), "{status:?}");
        assert_eq!(status.consumers[0].consumed, step + 1);
        let mut first = None;
        while let Some(fragment) = oldest.poll().unwrap() {
            first.get_or_insert(fragment.meta.seq);
            let seq = fragment.meta.seq;
            assert_is(&fragment, seq, MTU);
        }
        let reach = n.wrapping_sub(first.expect("at least the last fragment is there"));
        assert!(reach <= step && reach < DEPTH as u64, "{reach} at {step}");
        assert_eq!(oldest.next_seq(), n.wrapping_add(1));
        if step % 7 == 3 {
            drop(tx);
            tx = link.producer().unwrap();
        }
    }
    drop(tx);
    assert!(rx.is_closed());
}

#[test]
fn messages_across_the_wrap() {
    let link = Link::builder().depth(DEPTH).mtu(10).start(u64::MAX - 1).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    assert_eq!(tx.send_message(&[7; 45], 1).unwrap(), 5);
    let mut assembler = rust_tango::Assembler::new(100);
    let mut message = None;
    while let Some(fragment) = rx.poll().unwrap() {
        message = assembler.push(&fragment).unwrap().map(<[u8]>::to_vec);
    }
    assert_eq!(message, Some(vec![7; 45]));
}
