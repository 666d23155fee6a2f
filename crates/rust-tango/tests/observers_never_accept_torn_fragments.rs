//! An observer may be lapped at any moment. Every fragment that it accepts is whole, it knows exactly how
//! many it has lost, and it continues.
#![cfg(feature = "std")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Random, assert_whole, in_time, publish, sig};
use rust_tango::{Consumer, DCache, Fseq, Link, LinkBuilder, MCache, Producer, TangoError};

const ENOUGH: u64 = if cfg!(miri) { FEW } else { 2_000 };
const FEW: u64 = if cfg!(miri) { 1 } else { 10 };
const A_WHILE: Duration = Duration::from_secs(1);

/// What an observer has seen.
#[derive(Default)]
struct Tally {
    accepted: u64,
    lost: u64,
    overruns: u64,
}

impl Tally {
    fn overrun(&mut self, error: TangoError, before: u64, after: u64) {
        let TangoError::Overrun { lost, next } = error else { panic!("{error}") };
        assert!(lost > 0, "an overrun must lose something");
        assert_eq!(next, after, "reading must continue where the overrun says");
        assert_eq!(before.wrapping_add(lost), next, "the lost fragments must lie in between");
        self.lost += lost;
        self.overruns += 1;
    }

    fn accept(&mut self, meta: &rust_tango::FragmentMetadata, bytes: &[u8], expected: u64, max: usize) {
        assert_eq!(meta.seq, expected);
        assert_whole(meta, bytes, max);
        self.accepted += 1;
    }
}

/// What the observers select when they filter: about every second fragment.
fn is_wanted(sig: u64) -> bool {
    sig % 2 == 0
}

/// Reads until the link is closed. Increments `done` once it has accepted `ENOUGH` fragments and was lapped.
/// That may take long on a busy machine, so after `A_WHILE` it needs `FEW` only.
fn observe(mut ob: Consumer<'_>, max: usize, seed: u64, done: &AtomicUsize) -> Tally {
    assert!(!ob.is_reliable());
    let (mut tally, mut random, mut told) = (Tally::default(), Random::new(seed), false);
    let (first, begin) = (ob.next_seq(), Instant::now());
    while !ob.is_closed() {
        let mut before = ob.next_seq();
        let seen = match random.below(3) {
            0 => ob.poll().map(|fragment| match fragment {
                Some(fragment) => tally.accept(&fragment.meta, fragment.payload.as_slice(), before, max),
                None => std::thread::yield_now(),
            }),
            1 => ob.poll_batch(1 + random.below(20) as usize).map(|batch| {
                for (fragment, at) in batch.iter().zip(0..) {
                    tally.accept(&fragment.meta, fragment.payload.as_slice(), before + at, max);
                }
            }),
            _ => {
                let found = ob.poll_if(is_wanted).map(|found| {
                    found.map(|fragment| {
                        assert_whole(&fragment.meta, fragment.payload.as_slice(), max);
                        fragment.meta.seq
                    })
                });
                let lost = if let Err(TangoError::Overrun { lost, .. }) = found { lost } else { 0 };
                let end = ob.next_seq() - lost;
                // Skipped fragments were judged by their own tags, not by the tags of fragments that have
                // overwritten them.
                let passed = before..if let Ok(Some(seq)) = found { seq } else { end };
                assert!(passed.clone().all(|seq| !is_wanted(sig(seq))), "skipped {passed:?}");
                tally.accepted += end - before;
                before = end;
                found.map(|_| ())
            }
        };
        if let Err(error) = seen {
            tally.overrun(error, before, ob.next_seq());
        }
        assert_eq!(ob.next_seq(), first + tally.accepted + tally.lost, "every number must be accounted for");
        if random.below(100) == 0 {
            std::thread::yield_now();
        }
        let enough = if begin.elapsed() < A_WHILE { ENOUGH } else { FEW };
        if !told && tally.accepted >= enough && tally.overruns >= FEW {
            told = true;
            done.fetch_add(1, Relaxed);
        }
    }
    tally
}

/// Runs a producer that waits for nobody until every observer has seen enough.
fn run(tx: Producer<'_>, observers: Vec<Consumer<'_>>, max: usize, depth: u64) {
    let done = AtomicUsize::new(0);
    let (count, first) = (observers.len(), tx.next_seq());
    let published = std::thread::scope(|scope| {
        let done = &done;
        let readers: Vec<_> = observers
            .into_iter()
            .zip(1..)
            .map(|(ob, seed)| scope.spawn(move || observe(ob, max, seed, done)))
            .collect();
        let mut random = Random::new(99);
        while done.load(Relaxed) < count && !readers.iter().any(|reader| reader.is_finished()) {
            // Bursts of many lengths: within the ring, and far beyond it.
            for _ in 0..random.below(6 * depth) {
                publish(&tx, max).expect("nothing may hold this producer back");
            }
            std::thread::yield_now();
        }
        let published = tx.next_seq() - first;
        drop(tx);
        for reader in readers {
            let tally = reader.join().unwrap();
            assert_eq!(tally.accepted + tally.lost, published);
            assert!(tally.accepted >= FEW && tally.overruns >= FEW);
        }
        published
    });
    assert!(published > FEW);
}

fn observe_link(link: LinkBuilder, depth: usize, max: usize) {
    // Most payloads lie in the region, but are only a little too long for a slot, because every byte takes
    // time.
    let max = if cfg!(miri) { max.min(100) } else { max };
    let link = link.depth(if cfg!(miri) { depth.min(8) } else { depth }).mtu(max).build().unwrap();
    let observers = (0..if cfg!(miri) { 1 } else { 2 }).map(|_| link.observer().unwrap()).collect();
    run(link.producer().unwrap(), observers, max, depth as u64);
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter too long; `stress` laps observers there")]
fn payloads_in_slots() {
    in_time(|| observe_link(Link::builder(), 2, 96));
    in_time(|| observe_link(Link::builder(), 8, 96));
    // More depths would only take longer under Miri.
    if !cfg!(miri) {
        in_time(|| observe_link(Link::builder(), 64, 40));
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter too long; `stress` laps observers there")]
fn payloads_in_a_region() {
    in_time(|| observe_link(Link::builder(), 2, 500));
    if !cfg!(miri) {
        in_time(|| observe_link(Link::builder(), 8, 500));
        in_time(|| observe_link(Link::builder(), 64, 300));
    }
}

/// Payloads are overwritten long before their lines are.
#[test]
#[cfg_attr(miri, ignore = "takes an interpreter too long; `stress` laps observers there")]
fn payloads_in_a_small_region() {
    in_time(|| observe_link(Link::builder().region(64 * 11), 8, 300));
    if !cfg!(miri) {
        in_time(|| observe_link(Link::builder().region(1024), 64, 500));
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes an interpreter too long; `stress` laps observers there")]
fn borrowed_storage() {
    in_time(|| {
        let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, 200>::new(), Fseq::new(1));
        let mut scratch = [0; 4 + 200 / 8];
        let observers =
            vec![Consumer::new(&mcache, &dcache, 1), Consumer::observing(&mcache, &dcache, &mut scratch, 1)];
        run(Producer::new(&mcache, &dcache, &fseq), observers, if cfg!(miri) { 100 } else { 200 }, 8);
    });
}

/// When nobody publishes any more, the second poll finds everything that is left.
#[test]
fn a_lapped_observer_gets_all_that_is_still_there() {
    for (max, region) in [(96, 0), (300, 64 * 300)] {
        let link = Link::builder().depth(16).mtu(max).region(region).build().unwrap();
        let (tx, mut ob) = (link.producer().unwrap(), link.observer().unwrap());
        for _ in 0..100 {
            publish(&tx, max).unwrap();
        }
        assert_eq!(ob.poll().unwrap_err(), TangoError::Overrun { lost: 84, next: 85 });
        for n in 85..=100 {
            common::assert_is(&ob.poll().unwrap().unwrap(), n, max);
        }
        assert!(ob.poll().unwrap().is_none());
    }
}

#[test]
fn observers_do_not_hold_the_producer_back() {
    let link = Link::builder().depth(4).mtu(300).build().unwrap();
    let (tx, mut ob) = (link.producer().unwrap(), link.observer().unwrap());
    publish(&tx, 300).unwrap();
    let held = ob.poll().unwrap().unwrap();
    for _ in 0..50 {
        publish(&tx, 300).unwrap();
    }
    // What the observer has accepted is its own copy.
    common::assert_is(&held, 1, 300);
    assert_eq!((tx.consumers(), link.status().backpressure), (0, 0));
}
