//! A network or a bridge that is too slow: what is dropped is counted and said, memory is bounded, and the end comes.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use rust_tango::Link;
use tango_bridge::settings::{Congestion, Publish, Reading};
use tango_bridge::wire::{EndCause, GapCause};

use super::setup::{Setup, all, eventually, gaps, piece, pieces, publish};

const QUEUE: usize = 1 << 20;
const MTU: usize = 60_000;
/// More fragments than the buffers of zenoh and of the system take.
const MANY: u64 = 2000;

#[test]
fn a_slow_network_drops_whole_batches_and_says_which() {
    let mut setup = Setup::new();
    let link = setup.create("wide", Link::builder().depth(64).mtu(MTU).start(0));
    let tx = link.producer().unwrap();
    setup.start(Publish { queue: QUEUE, congestion: Congestion::Drop, read: Reading::Reliable, ..all() });
    setup.state();
    let counts = setup.counts("wide");
    setup.is_stalled.store(true, SeqCst);
    for _ in 0..MANY {
        publish(&tx, MTU);
        assert!(counts.backlog.load(SeqCst) <= (QUEUE + 2 * MTU) as u64);
    }
    eventually("something is dropped", || counts.dropped.load(SeqCst) > 0);
    setup.is_stalled.store(false, SeqCst);
    eventually("the queue is sent", || counts.backlog.load(SeqCst) == 0);
    (0..10).for_each(|_| _ = publish(&tx, MTU));
    let got = setup.until(0, MANY + 10);
    let (gaps, found) = (gaps(&got), pieces(&got));
    assert!(gaps.iter().all(|(.., cause)| *cause == GapCause::Congestion));
    let dropped = gaps.iter().map(|(_, count, _)| count).sum::<u64>();
    assert!(dropped > 0 && dropped == counts.dropped.load(SeqCst) && setup.has_event("dropped"));
    assert_eq!(found.len() as u64 + dropped, MANY + 10);
    for found in found {
        assert_eq!(found, piece(found.seq, MTU));
    }
    setup.stop();
    assert_eq!(setup.end().1, MANY + 10);
}

#[test]
fn an_evictable_consumer_that_waits_for_the_network_is_evicted_and_joins_again() {
    let mut setup = Setup::new();
    let link = setup.create("wide", Link::builder().depth(16).mtu(MTU).start(0));
    let tx = link.producer().unwrap().with_patience(Duration::from_millis(1));
    setup.start(Publish { queue: QUEUE, congestion: Congestion::Block, ..all() });
    setup.state();
    let counts = setup.counts("wide");
    setup.is_stalled.store(true, SeqCst);
    let mut published = 0;
    eventually("the consumer is evicted", || {
        (0..20).for_each(|_| _ = publish(&tx, MTU));
        published += 20;
        link.metrics().evicted > 0
    });
    assert!(counts.backlog.load(SeqCst) <= (QUEUE + 2 * MTU) as u64);
    setup.is_stalled.store(false, SeqCst);
    eventually("the queue is sent", || counts.backlog.load(SeqCst) == 0);
    // The eviction is noticed by now, or with these.
    (0..10).for_each(|_| _ = publish(&tx, MTU));
    let got = setup.until(0, published + 10);
    let gaps = gaps(&got);
    assert!(!gaps.is_empty() && gaps.iter().all(|(.., cause)| *cause == GapCause::Evicted), "{gaps:?}");
    let lost = gaps.iter().map(|(_, count, _)| count).sum::<u64>();
    assert_eq!((counts.lost_at_origin.load(SeqCst), counts.dropped.load(SeqCst)), (lost, 0));
    assert!(pieces(&got).into_iter().all(|found| found == piece(found.seq, MTU)));
    eventually("it is said", || setup.has_event("gap"));
}

#[test]
fn an_observer_that_is_lapped_says_what_is_missing() {
    let mut setup = Setup::new();
    let link = setup.create("fast", Link::builder().depth(2).mtu(64).consumers(0).start(u64::MAX - 5000));
    let tx = link.producer().unwrap();
    setup.start(Publish { read: Reading::Observer, ..all() });
    let (_, first, _) = setup.state();
    let mut rounds = 0;
    eventually("fragments are lost", || {
        (0..1000).for_each(|_| _ = publish(&tx, 64));
        rounds += 1;
        setup.counts("fast").lost_at_origin.load(SeqCst) > 0
    });
    let end = tx.next_seq();
    drop(tx);
    let got = setup.until(first, end);
    let gaps = gaps(&got);
    assert!(
        !gaps.is_empty() && gaps.iter().all(|(.., cause)| *cause == GapCause::Overrun),
        "{rounds}: {gaps:?}"
    );
    assert!(pieces(&got).into_iter().all(|found| found == piece(found.seq, 64)));
    assert_eq!(setup.end().1, end);
}

#[test]
fn the_bridge_ends_although_the_network_takes_nothing() {
    for congestion in [Congestion::Block, Congestion::Drop] {
        let mut setup = Setup::new();
        let link = setup.create("wide", Link::builder().depth(16).mtu(MTU).start(0));
        let tx = link.producer().unwrap();
        setup.start(Publish { queue: QUEUE, congestion, read: Reading::Reliable, ..all() });
        setup.state();
        let counts = setup.counts("wide");
        setup.is_stalled.store(true, SeqCst);
        let stop = setup.context.stop.clone();
        let producer = thread::spawn(move || {
            // Until the end, and not a number of fragments: a fast bridge may drop them all before the network is full.
            while !stop.is_set() {
                for _ in 0..8 {
                    _ = tx.publish(&[7; MTU], 0, 0, 0);
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        eventually("the queue is full, and nothing is sent for a while", || {
            let sent = counts.messages.load(SeqCst);
            thread::sleep(Duration::from_millis(500));
            counts.backlog.load(SeqCst) > (QUEUE - 2 * MTU) as u64 && counts.messages.load(SeqCst) == sent
        });
        setup.stop();
        producer.join().unwrap();
        assert!(counts.dropped.load(SeqCst) > 0 && setup.has_event("dropped"));
    }
}

#[test]
fn what_waits_is_sent_before_the_bridge_ends() {
    let mut setup = Setup::new();
    let link = setup.create("quotes", Link::builder().depth(1024).mtu(64).start(0));
    let tx = link.producer().unwrap();
    setup.start(Publish { delay: Duration::from_secs(3600), ..all() });
    setup.state();
    (0..100).for_each(|_| _ = publish(&tx, 64));
    eventually("they are read", || link.metrics().lag() == 0);
    setup.stop();
    assert_eq!(pieces(&setup.until(0, 100)).len(), 100);
    let (_, next, cause) = setup.end();
    assert_eq!((next, cause), (100, EndCause::BridgeLeft));
}
