//! Bridges that are killed at random points: as long as the ring at the origin holds what was published meanwhile, nothing
//! is lost, nothing comes twice, and consumers of the far link go on.
//!
//! The seed is printed. `TANGO_TEST_SEED` sets it.

mod support;

use std::sync::mpsc;
use std::time::{Duration, SystemTime};
use std::{env, thread};

use rust_tango::Link;
use support::Random;
use support::pair::Pair;
use support::traffic::{Found, Traffic, read_until};

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Publish,
    Subscribe,
    Either,
}

fn seed() -> u64 {
    let seed =
        env::var("TANGO_TEST_SEED").ok().map(|text| text.parse().expect("TANGO_TEST_SEED is a number"));
    seed.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64)
}

fn survives(victim: Victim, kills: usize) {
    let seed = seed();
    eprintln!("TANGO_TEST_SEED={seed}");
    let mut random = Random(seed);
    let traffic = Traffic { seed, largest: 24, equal: true };
    // It holds all that this test can publish before its deadline.
    let builder = Link::builder().start(0).depth(1 << 20).mtu(24).slot(64);
    let mut pair = Pair::start(builder, None, "--congestion block", "--congestion block --depth 65536");
    let producer = pair.link.producer().unwrap();
    let mut consumer = pair.consumer();
    let (stop, stopped) = mpsc::channel();
    let publishing = thread::spawn(move || {
        // Bursts of all sizes, so that bridges are killed while they have much to do, and while they have nothing.
        let mut random = Random(!seed);
        while stopped.try_recv().is_err() && producer.next_seq() < 1_000_000 {
            traffic.publish(&producer, random.below(400));
            thread::sleep(Duration::from_millis(random.below(10)));
        }
        // More than the reader waits for while it does not know the end.
        traffic.publish(&producer, 200);
        (producer.next_seq(), producer)
    });
    let (end_is, end) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut found = Found::default();
        // First what there is, then up to the end.
        loop {
            let goal: Option<u64> = end.try_recv().ok();
            let upto = goal.unwrap_or(consumer.next_seq() + 100);
            let part = read_until(&mut consumer, &traffic, upto);
            found.read += part.read;
            found.gaps.extend(part.gaps);
            if goal.is_some() {
                return found;
            }
        }
    });
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(random.below(250)));
        let is_publish = match victim {
            Victim::Publish => true,
            Victim::Subscribe => false,
            Victim::Either => random.below(2) == 0,
        };
        let pause = Duration::from_millis(random.below(60));
        if is_publish {
            pair.publish.take().unwrap().kill();
            thread::sleep(pause);
            pair.start_publish();
        } else {
            pair.subscribe.take().unwrap().kill();
            thread::sleep(pause);
            pair.start_subscribe();
        }
    }
    stop.send(()).unwrap();
    let (end, _producer) = publishing.join().unwrap();
    end_is.send(end).unwrap();
    let found = reading.join().unwrap();
    assert_eq!(found, Found { read: end, gaps: vec![] });
}

#[test]
fn of_the_bridge_at_the_origin() {
    survives(Victim::Publish, 8);
}

#[test]
fn of_the_bridge_on_the_other_side() {
    survives(Victim::Subscribe, 8);
}

#[test]
fn of_either() {
    survives(Victim::Either, 12);
}
