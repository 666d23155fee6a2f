//! A producer can leave out sequence numbers. Every kind of reader reports each run of them once, as lost, and reads every
//! fragment before and after it. The credits of numbers that were left out return as others do.
#![cfg(feature = "std")]

mod common;

use std::time::Duration;

use common::{assert_is, die_by_panic, few, in_time, publish, publish_blocking};
use rust_tango::{
    Assembler, Consumer, DCache, Fctl, Fragment, Fseq, Link, MCache, MessageError, Metrics, Producer,
    RecvError, Start, TangoError,
};

const MTU: usize = 300;
const DEPTH: usize = 8;
/// More empty polls than any reader makes in the ring before it switches to the hot slot.
const EMPTY_POLLS: usize = 20;
/// The way to read that returns fragments one by one, first.
const POLL: usize = 0;
const BATCH: usize = 2;
const WAYS: usize = 5;

/// First numbers from before the wrap to after it.
fn starts() -> impl Iterator<Item = u64> {
    let few = if cfg!(miri) { 6 } else { 1 };
    (0..12).map(|back| 2_u64.wrapping_sub(back)).chain([1 << 63]).step_by(few)
}

fn link(start: u64) -> Link {
    Link::builder().depth(DEPTH).mtu(MTU).consumers(2).start(start).build().unwrap()
}

type Join = fn(&Link) -> Consumer<'static>;

/// Every kind of consumer, from the oldest fragment on.
const KINDS: [Join; 3] = [
    |link| link.consumer_from(Start::Oldest).unwrap(),
    |link| link.evictable_consumer(Start::Oldest).unwrap(),
    |link| link.observer_from(Start::Oldest).unwrap(),
];

/// What a reader has met: a fragment of this number, or a gap of so many, and the number after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Fragment(u64),
    Gap { lost: u64, next: u64 },
}
use Met::Gap;

fn note(fragment: &Fragment<'_>) -> Met {
    assert_is(fragment, fragment.meta.seq, MTU);
    Met::Fragment(fragment.meta.seq)
}

/// Reads once, by the call that `way` selects. Nothing: there is no fragment now.
fn read(rx: &mut Consumer<'_>, way: usize) -> Result<Vec<Met>, TangoError> {
    match way {
        POLL => Ok(rx.poll()?.iter().map(note).collect()),
        1 => Ok(rx.wait_timeout(Duration::ZERO)?.iter().map(note).collect()),
        BATCH => Ok(rx.poll_batch(32)?.iter().map(|fragment| note(&fragment)).collect()),
        // The tag of a number that was left out is never asked about: it would be 0.
        3 => Ok(rx
            .poll_if(|sig| {
                assert_ne!(sig, 0);
                true
            })?
            .iter()
            .map(note)
            .collect()),
        _ => match rx.try_recv() {
            Ok(fragment) => Ok(vec![note(&fragment)]),
            Err(RecvError::Empty) => Ok(Vec::new()),
            Err(RecvError::Lost { lost, next, evicted: false }) => Err(TangoError::Overrun { lost, next }),
            Err(error) => panic!("{error}"),
        },
    }
}

/// Reads until there is nothing more.
#[track_caller]
fn drain(rx: &mut Consumer<'_>, way: usize) -> Vec<Met> {
    let mut met = Vec::new();
    loop {
        match read(rx, way) {
            Ok(nothing) if nothing.is_empty() => return met,
            Ok(some) => met.extend(some),
            Err(TangoError::Overrun { lost, next }) => {
                assert_eq!(rx.next_seq(), next);
                met.push(Gap { lost, next });
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn every_reader_reports_each_run_once() {
    in_time(|| {
        for (start, kind) in starts().flat_map(|start| KINDS.map(|kind| (start, kind))) {
            for way in 0..WAYS {
                let (link, nth) = (link(start), |n: u64| start.wrapping_add(n));
                let tx = link.producer().unwrap();
                let mut rx = kind(&link);
                // Across several laps, with runs at different places of the ring, and as long as the ring.
                let mut n = 0;
                for run in [1, 2, 5, 7, 3, 6, 0, 4] {
                    publish(&tx, MTU).unwrap();
                    assert_eq!(tx.skip(run), run);
                    let mut wanted = vec![Met::Fragment(nth(n))];
                    n += 1 + run;
                    if run > 0 {
                        wanted.push(Gap { lost: run, next: nth(n) });
                    }
                    assert_eq!(tx.next_seq(), nth(n));
                    assert_eq!(drain(&mut rx, way), wanted, "way {way}, run of {run} from {start}");
                }
                assert!(tx.is_drained());
            }
        }
    });
}

/// Between two fragments that are there already: a batch ends before the run, and the next call reports it.
#[test]
fn a_batch_ends_before_a_run() {
    for (start, kind) in starts().flat_map(|start| KINDS.map(|kind| (start, kind))) {
        let (link, nth) = (link(start), |n: u64| start.wrapping_add(n));
        let tx = link.producer().unwrap();
        let mut rx = kind(&link);
        publish(&tx, MTU).unwrap();
        publish(&tx, MTU).unwrap();
        assert_eq!(tx.skip(3), 3);
        publish(&tx, MTU).unwrap();
        assert_eq!(read(&mut rx, BATCH), Ok(vec![Met::Fragment(start), Met::Fragment(nth(1))]));
        assert_eq!(read(&mut rx, BATCH), Err(TangoError::Overrun { lost: 3, next: nth(5) }));
        assert_eq!(read(&mut rx, BATCH), Ok(vec![Met::Fragment(nth(5))]));
    }
}

/// What an earlier lap has left in the lines belongs to no run: neither to one that begins, nor to one that ends.
#[test]
fn a_run_ends_at_the_newest_number() {
    for (start, kind) in starts().flat_map(|start| KINDS.map(|kind| (start, kind))) {
        let (link, depth) = (link(start), DEPTH as u64);
        let tx = link.producer().unwrap();
        let mut rx = kind(&link);
        let mut next = start;
        for run in [depth, 1, depth - 1, 2, depth] {
            assert_eq!(tx.skip(run), run);
            next = next.wrapping_add(run);
            assert_eq!(drain(&mut rx, POLL), [Gap { lost: run, next }]);
        }
    }
}

#[test]
fn as_many_are_left_out_as_have_credits() {
    for start in starts() {
        let (link, depth) = (link(start), DEPTH as u64);
        let tx = link.producer().unwrap();
        assert_eq!(tx.skip(0), 0);
        let mut rx = link.consumer().unwrap();
        publish(&tx, MTU).unwrap();
        assert_eq!((tx.skip(1000), tx.skip(1)), (depth - 1, 0));
        assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
        assert_eq!(tx.skip_timeout(1, Duration::from_millis(1)), Ok(0));
        let fragment = rx.poll().unwrap().unwrap();
        assert_eq!(tx.skip(1000), 0, "the fragment is held");
        drop(fragment);
        assert_eq!(tx.skip(1000), 1);
        // The credits of a run return with its report: there is no payload that could hold them.
        let next = start.wrapping_add(1 + depth);
        assert_eq!(rx.poll().unwrap_err(), TangoError::Overrun { lost: depth, next });
        assert_eq!(tx.skip(depth - 1), depth - 1);
        publish(&tx, MTU).unwrap();
        drop(rx);
        assert_eq!(tx.skip(1000), 1000, "nothing holds it back");
        assert_eq!(tx.skip_timeout(few(200_000), common::PATIENCE), Ok(few(200_000)));
    }
}

/// For the link, which knows numbers only, they are published, and then lost. The producer has published nothing.
#[test]
fn numbers_that_are_left_out_count_for_the_link_and_not_for_the_producer() {
    let link = link(1);
    let (sent, received) = (Metrics::new(), Metrics::new());
    let tx = link.producer().unwrap().with_metrics(&sent);
    let rx = link.consumer().unwrap().with_metrics(&received);
    let mut rx = rx;
    publish(&tx, MTU).unwrap();
    assert_eq!(tx.skip(5), 5);
    publish(&tx, MTU).unwrap();
    let metrics = link.metrics();
    assert_eq!((metrics.published, metrics.lag(), metrics.lost()), (7, 7, 0));
    drain(&mut rx, POLL);
    let metrics = link.metrics();
    assert_eq!((metrics.published, metrics.consumed(), metrics.lost(), metrics.lag()), (7, 2, 5, 0));
    assert_eq!(metrics.consumers[0].overruns, 1);
    let (sent, received) = (sent.snapshot(), received.snapshot());
    assert_eq!((sent.published, sent.backpressure_events), (2, 0));
    assert_eq!((received.consumed, received.overruns), (2, 1));
    let status = link.status();
    assert_eq!((status.next, status.consumers[0].overruns, status.consumers[0].lost), (8, 1, 5));
    assert_eq!(status.consumers[0].lag, 0);
}

#[test]
fn readers_of_the_hot_slot() {
    in_time(|| {
        for (start, kind) in starts().flat_map(|start| KINDS.map(|kind| (start, kind))) {
            for way in 0..WAYS {
                let (link, nth) = (link(start), |n: u64| start.wrapping_add(n));
                let tx = link.producer().unwrap();
                let mut rx = kind(&link);
                let mut n = 0;
                for run in [1, 3, 1, 5, 2, 1] {
                    (0..EMPTY_POLLS).for_each(|_| assert!(rx.poll().unwrap().is_none()));
                    // A fragment that is mirrored before the run, in turns, and one that is mirrored after it.
                    let mut wanted = Vec::new();
                    if run % 2 == 0 {
                        publish(&tx, 24).unwrap();
                        drop(rx.poll().unwrap().unwrap());
                        n += 1;
                    }
                    assert_eq!(tx.skip(run), run);
                    n += run;
                    wanted.push(Gap { lost: run, next: nth(n) });
                    assert_eq!(drain(&mut rx, way), wanted, "way {way}");
                    publish(&tx, MTU).unwrap();
                    assert_eq!(drain(&mut rx, way), [Met::Fragment(nth(n))], "way {way}");
                    n += 1;
                }
            }
        }
    });
}

/// The producer waits for the consumer, which reports as many numbers as were left out.
#[test]
fn more_than_the_ring_holds() {
    in_time(|| {
        for start in [1, 0_u64.wrapping_sub(few(3000))] {
            let (link, count) = (link(start), few(7000));
            let tx = link.producer().unwrap();
            let mut rx = link.consumer().unwrap();
            let reader = std::thread::spawn(move || {
                let (mut lost, mut read, mut next) = (0, Vec::new(), start);
                loop {
                    match rx.wait() {
                        Ok(None) => return (lost, read),
                        Ok(Some(fragment)) => {
                            assert_is(&fragment, next, MTU);
                            read.push(next);
                            next = next.wrapping_add(1);
                        }
                        Err(TangoError::Overrun { lost: run, next: continues }) => {
                            assert_eq!(next.wrapping_add(run), continues);
                            assert!((1..=DEPTH as u64).contains(&run), "a run of {run} was there at once");
                            (lost, next) = (lost + run, continues);
                            if lost % 64 == 0 {
                                std::thread::yield_now();
                            }
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            publish_blocking(&tx, MTU);
            tx.skip_blocking(count).unwrap();
            publish_blocking(&tx, MTU);
            tx.skip_blocking(0).unwrap();
            assert_eq!(tx.skip_timeout(0, Duration::ZERO), Ok(0));
            tx.skip_blocking(count).unwrap();
            drop(tx);
            let fragments = vec![start, start.wrapping_add(1 + count)];
            assert_eq!(reader.join().unwrap(), (2 * count, fragments));
        }
    });
}

#[test]
fn a_consumer_joins_within_a_run() {
    for (start, kind) in starts().flat_map(|start| KINDS.map(|kind| (start, kind))) {
        let (link, nth) = (link(start), |n: u64| start.wrapping_add(n));
        let tx = link.producer().unwrap();
        publish(&tx, MTU).unwrap();
        assert_eq!(tx.skip(20), 20);
        publish(&tx, MTU).unwrap();
        // At the oldest number, which was left out, as all were that are there.
        let mut rx = kind(&link);
        let first = rx.next_seq();
        let lost = nth(21).wrapping_sub(first);
        assert!((1..DEPTH as u64).contains(&lost));
        assert_eq!(drain(&mut rx, POLL), [Gap { lost, next: nth(21) }, Met::Fragment(nth(21))]);
        // At a certain number within the run.
        let mut rx = link.consumer_from(Start::At(nth(19))).unwrap();
        assert_eq!(drain(&mut rx, POLL), [Gap { lost: 2, next: nth(21) }, Met::Fragment(nth(21))]);
        // After it.
        let mut rx = link.observer_from(Start::Next).unwrap();
        assert_eq!(drain(&mut rx, POLL), []);
    }
}

/// An observer that is lapped within a run learns of both gaps, and of each number once.
#[test]
fn an_observer_is_lapped_by_a_run() {
    for start in starts() {
        let (link, nth) = (link(start), |n: u64| start.wrapping_add(n));
        let tx = link.producer().unwrap();
        for way in 0..WAYS {
            let mut rx = link.observer_from(Start::Next).unwrap();
            let first = rx.next_seq();
            publish(&tx, MTU).unwrap();
            assert_eq!(tx.skip(30), 30);
            publish(&tx, MTU).unwrap();
            let met = drain(&mut rx, way);
            let lost: u64 = met.iter().map(|met| if let Gap { lost, .. } = met { *lost } else { 0 }).sum();
            assert_eq!((lost, met.last()), (31, Some(&Met::Fragment(first.wrapping_add(31)))), "{met:?}");
            assert_eq!(tx.next_seq(), nth(32 * (way as u64 + 1)));
        }
    }
}

#[test]
fn a_consumer_that_sleeps_is_woken() {
    in_time(|| {
        let link = link(1);
        let tx = link.producer().unwrap();
        for join in [KINDS[0], KINDS[1]] {
            let mut rx = join(&link);
            let next = rx.next_seq();
            let reader = std::thread::spawn(move || rx.wait().map(|fragment| fragment.is_some()));
            #[cfg(not(miri))]
            std::thread::sleep(Duration::from_millis(20)); // so that it probably sleeps
            assert_eq!(tx.skip(1), 1);
            let lost = Err(TangoError::Overrun { lost: 1, next: next + 1 });
            assert_eq!(reader.join().unwrap(), lost);
        }
    });
}

#[test]
fn a_stopped_link_leaves_out_nothing() {
    in_time(|| {
        let link = link(1);
        let tx = link.producer().unwrap();
        let _held = link.consumer().unwrap();
        let waiting = std::thread::spawn(move || {
            let ended = tx.skip_blocking(100);
            (ended, tx.skip(1), tx.skip_blocking(0), tx.skip_timeout(0, Duration::ZERO), tx.next_seq())
        });
        // Either side may be first.
        while link.status().next != 1 + DEPTH as u64 {
            std::thread::yield_now();
        }
        link.stop().unwrap();
        let closed = Err(TangoError::Closed);
        assert_eq!(waiting.join().unwrap(), (closed, 0, closed, Err(TangoError::Closed), 1 + DEPTH as u64));
    });
}

/// A producer dies within a run, and another one continues. Payloads in the region before and after the run are intact.
#[test]
fn another_producer_continues_after_a_run() {
    for (start, kind) in starts().flat_map(|start| KINDS.map(|kind| (start, kind))) {
        let builder = Link::builder().depth(DEPTH).mtu(MTU).slot(128).region(2048).consumers(2);
        let (link, nth) = (builder.start(start).build().unwrap(), |n: u64| start.wrapping_add(n));
        let tx = link.producer().unwrap();
        let mut rx = kind(&link);
        publish(&tx, MTU).unwrap();
        publish(&tx, MTU).unwrap();
        assert_eq!(tx.skip(2), 2);
        die_by_panic(tx);
        let tx = link.producer().unwrap();
        assert_eq!(tx.next_seq(), nth(4));
        assert_eq!(tx.skip(1), 1);
        publish(&tx, MTU).unwrap();
        let mut met = Vec::new();
        while rx.next_seq() != nth(6) {
            match rx.poll() {
                Ok(Some(fragment)) => met.push(note(&fragment)),
                Ok(None) => panic!("there is more"),
                Err(TangoError::Overrun { lost, next }) => met.push(Gap { lost, next }),
                Err(error) => assert_eq!(error, TangoError::ProducerReplaced { first: nth(4) }),
            }
        }
        assert_eq!(
            met,
            [
                Met::Fragment(nth(0)),
                Met::Fragment(nth(1)),
                Gap { lost: 3, next: nth(5) },
                Met::Fragment(nth(5))
            ]
        );
        drop(rx);
        // What comes next fits around what is there.
        for _ in 0..50 {
            publish(&tx, MTU).unwrap();
        }
    }
}

/// A message of which a part has no number any more is dropped, and the next one is not.
#[test]
fn a_message_with_a_gap_is_dropped() {
    let link = Link::builder().depth(16).mtu(8).consumers(1).start(1).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let mut whole = Assembler::new(64);
    let more = |continues| rust_tango::Control::new(0).with_more().bits() | u16::from(continues);
    tx.publish(b"01234567", 0, more(false), 0).unwrap();
    assert_eq!(tx.skip(2), 2);
    tx.publish(b"89", 0, rust_tango::Control::new(0).with_continues().bits(), 0).unwrap();
    tx.send_message(b"the next message", 0).unwrap();
    let (mut results, mut gaps) = (Vec::new(), 0);
    loop {
        match rx.poll() {
            Ok(Some(fragment)) => {
                results.extend(whole.push(&fragment).map(|done| done.map(<[u8]>::to_vec)).transpose())
            }
            Ok(None) => break,
            Err(error) => {
                assert_eq!(error, TangoError::Overrun { lost: 2, next: 4 });
                gaps += 1;
            }
        }
    }
    let wanted = [Err(MessageError::Incomplete { seq: 4 }), Ok(b"the next message".to_vec())];
    assert_eq!((gaps, results), (1, wanted.to_vec()));
}

#[test]
fn on_borrowed_storage() {
    for start in starts() {
        let (mcache, dcache) = (MCache::<DEPTH>::new(), DCache::<DEPTH, MTU>::new());
        let (fseq, fctl) = (Fseq::new(start), Fctl::new(DEPTH as u64));
        let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        let mut rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, start);
        let nth = |n: u64| start.wrapping_add(n);
        for round in 0..5 {
            publish(&tx, MTU).unwrap();
            assert_eq!(tx.skip(100), DEPTH as u64 - 1);
            assert_eq!((fseq.current(), fctl.available()), (nth(8 * (round + 1)), 0));
            let gap = Gap { lost: 7, next: nth(8 * (round + 1)) };
            assert_eq!(drain(&mut rx, round as usize), [Met::Fragment(nth(8 * round)), gap]);
            assert_eq!(fctl.available(), DEPTH as u64);
        }
    }
}

/// An iterator goes on after a gap.
#[test]
fn iteration_continues() {
    let link = link(1);
    let (tx, rx) = (link.producer().unwrap(), link.consumer().unwrap());
    publish(&tx, MTU).unwrap();
    assert_eq!(tx.skip(3), 3);
    publish(&tx, MTU).unwrap();
    assert_eq!(tx.skip(1), 1);
    drop(tx);
    let met: Vec<_> = rx.into_iter().map(|item| item.map(|fragment| fragment.meta.seq)).collect();
    let gap = |lost, next| Err(TangoError::Overrun { lost, next });
    assert_eq!(met, [Ok(1), gap(3, 5), Ok(5), gap(1, 7)], "the end comes after the last gap");
}

#[cfg(all(feature = "async", target_os = "linux", not(miri)))]
#[test]
fn async_ends() {
    in_time(|| {
        common::executor::block_on(async {
            for join in KINDS {
                let link = link(u64::MAX);
                let mut tx = link.producer().unwrap().into_async().unwrap();
                let mut rx = join(&link).into_async().unwrap();
                tx.send(b"one").await.unwrap();
                assert_eq!(tx.skip(3), 3);
                tx.send(b"two").await.unwrap();
                assert_eq!(rx.recv().await.unwrap().unwrap().meta.seq, u64::MAX);
                assert_eq!(rx.recv().await.unwrap_err(), TangoError::Overrun { lost: 3, next: 3 });
                assert_eq!(rx.recv().await.unwrap().unwrap().meta.seq, 3);
                // The consumer takes turns with the producer, which awaits its credits.
                let mut left = 20;
                while left > 0 {
                    tx.ready(0).await.unwrap();
                    left -= tx.skip(left);
                    // An observer is lapped first.
                    while rx.next_seq() != tx.next_seq() {
                        let error = rx.recv().await.unwrap_err();
                        assert!(matches!(error, TangoError::Overrun { .. }), "{error}");
                    }
                }
            }
        });
    });
}
