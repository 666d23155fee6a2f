//! Every reliable consumer gets every fragment, once, in order, with every byte, however fast it is and
//! wherever payloads lie.
#![cfg(feature = "std")]

mod common;

use std::time::Duration;

use common::{Random, assert_whole, few, in_time, publish, publish_blocking};
use rust_tango::{Consumer, DCache, Fctl, Fseq, Link, LinkBuilder, MCache, Producer, TangoError};

/// How fast a consumer reads.
#[derive(Clone, Copy)]
enum Pace {
    Fast,
    /// Pauses now and then, also while it holds a fragment.
    Slow,
}

/// Reads until the link is closed, by each reading method in turn. Returns how many fragments there were.
fn read_all(mut rx: Consumer<'_>, first: u64, max: usize, pace: Pace, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut next = first;
    let rest = |random: &mut Random| match pace {
        Pace::Slow if random.below(500) == 0 => std::thread::sleep(Duration::from_micros(300)),
        Pace::Slow if random.below(8) == 0 => std::thread::yield_now(),
        _ => {}
    };
    loop {
        match random.below(3) {
            0 => {
                let batch = rx.poll_batch(1 + random.below(9) as usize).unwrap();
                rest(&mut random);
                for fragment in &batch {
                    assert_eq!(fragment.meta.seq, next);
                    assert_whole(&fragment.meta, fragment.payload.as_slice(), max);
                    next = next.wrapping_add(1);
                }
            }
            1 => match rx.poll().unwrap() {
                Some(fragment) => {
                    rest(&mut random);
                    assert_eq!(fragment.meta.seq, next);
                    assert_whole(&fragment.meta, fragment.payload.as_slice(), max);
                    next = next.wrapping_add(1);
                }
                None => std::thread::yield_now(),
            },
            _ => match rx.wait().unwrap() {
                Some(fragment) => {
                    assert_eq!(fragment.meta.seq, next);
                    assert_whole(&fragment.meta, fragment.payload.as_slice(), max);
                    next = next.wrapping_add(1);
                }
                None => return next.wrapping_sub(first),
            },
        }
        assert_eq!(rx.next_seq(), next);
    }
}

/// Sends `count` fragments of up to `max` bytes to one consumer for each pace.
fn exchange(link: LinkBuilder, max: usize, count: u64, paces: &[Pace]) {
    let count = few(count);
    let link = link.mtu(max).consumers(paces.len()).build().unwrap();
    let tx = link.producer().unwrap();
    let first = tx.next_seq();
    std::thread::scope(|scope| {
        let readers: Vec<_> = paces
            .iter()
            .zip(1..)
            .map(|(&pace, seed)| {
                let rx = link.consumer().unwrap();
                assert!(rx.is_reliable());
                scope.spawn(move || read_all(rx, first, max, pace, seed))
            })
            .collect();
        let mut random = Random::new(0);
        for _ in 0..count {
            if random.below(2) == 0 {
                publish_blocking(&tx, max);
            } else {
                while let Err(error) = publish(&tx, max) {
                    assert_eq!(error, TangoError::NoCredits);
                    assert!(tx.held_by().is_some());
                    std::thread::yield_now();
                }
            }
        }
        drop(tx);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), count);
        }
    });
    assert!(link.status().consumers.is_empty());
}

#[test]
fn in_slots() {
    in_time(|| exchange(Link::builder().depth(16), 96, 20_000, &[Pace::Fast]));
    in_time(|| exchange(Link::builder().depth(2), 40, 5_000, &[Pace::Slow]));
    in_time(|| exchange(Link::builder().depth(64).slot(512), 480, 10_000, &[Pace::Fast, Pace::Slow]));
}

#[test]
fn in_an_ample_region() {
    in_time(|| exchange(Link::builder().depth(8), 1000, 10_000, &[Pace::Fast, Pace::Fast]));
}

/// The region has room for a few payloads only, so they are overwritten long before their lines are.
#[test]
fn in_a_small_region() {
    in_time(|| exchange(Link::builder().depth(64).region(1024), 1000, 6_000, &[Pace::Slow]));
    in_time(|| exchange(Link::builder().depth(8).region(64 * 7), 300, 6_000, &[Pace::Fast]));
    in_time(|| exchange(Link::builder().depth(2).region(64 * 17), 1000, 3_000, &[Pace::Fast, Pace::Slow]));
}

#[test]
fn four_consumers_of_different_pace() {
    let paces = [Pace::Fast, Pace::Slow, Pace::Fast, Pace::Slow];
    in_time(move || exchange(Link::builder().depth(32).region(4096), 700, 4_000, &paces));
}

#[test]
fn borrowed_storage() {
    in_time(|| {
        let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 300>::new());
        let (fseq, fctl) = (Fseq::new(1), Fctl::new(8));
        let tx = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl);
        let rx = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1);
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || read_all(rx, 1, 300, Pace::Slow, 3));
            for _ in 0..few(10_000) {
                publish_blocking(&tx, 300);
            }
            drop(tx);
            assert_eq!(reader.join().unwrap(), few(10_000));
        });
    });
}

/// While a consumer holds fragment `n`, nothing from `n + credits` on is published.
#[test]
fn credits_below_the_depth_are_never_exceeded() {
    in_time(|| {
        const CREDITS: u64 = 3;
        let link = Link::builder().depth(16).mtu(64).credits(CREDITS).consumers(2).build().unwrap();
        let tx = link.producer().unwrap();
        let consumers = [link.consumer().unwrap(), link.consumer().unwrap()];
        for _ in 0..CREDITS {
            publish(&tx, 64).expect("all credits must be usable");
        }
        assert!(publish(&tx, 64).is_err(), "and no more than these");
        let mut readers = Vec::new();
        for (mut rx, seed) in consumers.into_iter().zip(1..) {
            let link = link.clone();
            readers.push(std::thread::spawn(move || {
                let mut random = Random::new(seed);
                while let Some(fragment) = rx.wait().unwrap() {
                    for _ in 0..random.below(4) {
                        std::thread::yield_now();
                    }
                    let under_way = link.status().next.saturating_sub(fragment.meta.seq);
                    assert!(
                        under_way <= CREDITS,
                        "{under_way} under way from fragment {}",
                        fragment.meta.seq
                    );
                }
            }));
        }
        for _ in 0..few(5_000) {
            publish_blocking(&tx, 64);
        }
        drop(tx);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}
