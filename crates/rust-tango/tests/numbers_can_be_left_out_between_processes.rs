//! Numbers that a producer leaves out reach readers of other processes, also if it is killed meanwhile: each number is a
//! fragment or a part of a gap, once.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::time::Duration;

use common::process::{Child, TestFolder, die_after, role, say};
use common::{Random, assert_is, in_time, publish_blocking, size};
use rust_tango::{Consumer, Link, LinkBuilder, Start, TangoError};

const MTU: usize = 700;
const COUNT: u64 = 3000;

fn builder(folder: &std::path::Path) -> LinkBuilder {
    Link::builder().depth(64).mtu(MTU).region(8192).consumers(3).dir(folder)
}

/// How many numbers follow fragment `seq` that are left out: none most of the time, at times more than the ring has lines.
fn left_out_after(seq: u64) -> u64 {
    match size(seq, 9) {
        7 => 3,
        8 => 40,
        9 => 150,
        _ => 0,
    }
}

/// Reads until `is_end`, and checks that each number is what it should be. Returns how many were lost.
fn check(rx: &mut Consumer<'_>, is_exact: bool, mut is_end: impl FnMut(TangoError) -> bool) -> u64 {
    let (mut next, mut all_lost) = (rx.next_seq(), 0);
    loop {
        match rx.wait() {
            Ok(None) => return all_lost,
            Ok(Some(fragment)) => {
                assert_is(&fragment, next, MTU);
                next += 1;
            }
            Err(TangoError::Overrun { lost, next: continues }) => {
                assert_eq!(next + lost, continues);
                assert!(!is_exact || lost <= 64, "a run of {lost} was there at once");
                (all_lost, next) = (all_lost + lost, continues);
            }
            Err(error) if is_end(error) => return all_lost,
            Err(_) => {}
        }
    }
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let words: Vec<_> = role.split(' ').collect();
    match words[..] {
        ["reader", kind] => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            let (mut rx, is_exact) = match kind {
                "reliable" => (link.consumer().unwrap(), true),
                "evictable" => (link.evictable_consumer(Start::Next).unwrap(), false),
                _ => (link.observer().unwrap(), false),
            };
            say("ready");
            say(check(&mut rx, is_exact, |error| panic!("{error}")));
        }
        ["dies", seed] => {
            let mut random = Random::new(seed.parse().unwrap());
            let tx = Link::open_in(&folder, "quotes").unwrap().producer().unwrap();
            say(tx.next_seq());
            die_after(Duration::from_micros(random.below(3000)));
            loop {
                publish_blocking(&tx, MTU);
                tx.skip_blocking(1 + random.below(200)).unwrap();
            }
        }
        _ => panic!("no role {role}"),
    }
}

#[test]
fn every_kind_of_reader_learns_of_each_number() {
    in_time(|| {
        for kind in ["reliable", "evictable", "observer"] {
            let folder = TestFolder::new();
            let link = builder(folder.path()).create("quotes").unwrap();
            let tx = link.producer().unwrap().with_patience(common::PATIENCE);
            let mut reader = Child::start_ready(&format!("reader {kind}"), &folder);
            let (first, mut left_out) = (tx.next_seq(), 0);
            for _ in 0..COUNT {
                let count = left_out_after(tx.next_seq());
                publish_blocking(&tx, MTU);
                tx.skip_blocking(count).unwrap();
                left_out += count;
            }
            assert_eq!(tx.next_seq() - first, COUNT + left_out);
            assert!(left_out > COUNT);
            drop(tx);
            let lost: u64 = reader.hear().parse().unwrap();
            // An observer may lose fragments as well.
            assert!(if kind == "observer" { lost >= left_out } else { lost == left_out }, "{kind}: {lost}");
            reader.succeeds();
        }
    });
}

/// A producer is killed while it leaves out numbers, again and again.
#[test]
fn another_process_continues_after_a_run() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let mut rx = link.consumer().unwrap();
        // The right to publish is for the children.
        drop(link.producer().unwrap());
        drop(link);
        for seed in 0..30 {
            let mut producer = Child::start(&format!("dies {seed}"), &folder);
            let from: u64 = producer.hear().parse().unwrap();
            assert_eq!(from, rx.next_seq(), "it continues after all that was read");
            check(&mut rx, true, |error| match error {
                TangoError::ProducerGone => true,
                TangoError::ProducerReplaced { first } => {
                    assert_eq!(first, from);
                    false
                }
                error => panic!("{error}"),
            });
            assert!(!producer.ends().success());
        }
        assert!(rx.next_seq() > 1, "each was killed before it published anything");
    });
}
