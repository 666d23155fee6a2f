//! Many short runs with random shapes and delays, in which all content is checked. They look for reorderings
//! that some processors allow and a developer's machine does not show. Takes a few seconds by default.
//!
//! ```sh
//! # An hour for each test, on any machine. Most useful on 64-bit Arm, which has a weak memory model:
//! TANGO_STRESS_SECONDS=3600 cargo test --release -p rust-tango --test stress -- --test-threads 1 --nocapture
//! # Built for that target on another machine that has a cross linker, to be copied and run there:
//! cargo test --release -p rust-tango --test stress --target aarch64-unknown-linux-gnu --no-run
//! ```
//!
//! A failure prints its seed. `TANGO_STRESS_SEED` sets the first seed. The interleaving differs in each run.
#![cfg(feature = "std")]

mod common;

use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::waiting::AT_ONCE;
use common::{Random, assert_whole, die_by_panic, in_time, payload, publish, publish_blocking, sig};
use rust_tango::{Consumer, Link, LinkBuilder, Producer, Start, TangoError, Wait};

/// Fragments per run.
const RUN: u64 = if cfg!(miri) { 12 } else { 300 };

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Calls `run` with one seed after the other, at least three times, until the time is over. Under Miri, only
/// once.
fn repeat(name: &'static str, run: fn(&mut Random)) {
    let time = number("TANGO_STRESS_SECONDS").map(Duration::from_secs);
    let first = number("TANGO_STRESS_SEED").unwrap_or(match time {
        // A run of hours should try something new each time.
        Some(_) => std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() << 24),
        None => 0,
    });
    let (begin, time) = (Instant::now(), time.unwrap_or(Duration::from_millis(300)));
    let mut runs = 0;
    while runs < if cfg!(miri) { 1 } else { 3 } || (begin.elapsed() < time && !cfg!(miri)) {
        in_time(move || {
            let seed = first.wrapping_add(runs);
            let result = catch_unwind(|| run(&mut Random::new(seed)));
            result.unwrap_or_else(|panic| {
                eprintln!("{name}: TANGO_STRESS_SEED={seed}");
                resume_unwind(panic)
            });
        });
        runs += 1;
    }
    println!("{name}: {runs} runs from seed {first}");
}

/// Usually does nothing. Sometimes pauses so that other threads get further.
fn pause_at_random(random: &mut Random) {
    match random.below(16) {
        0 => std::thread::yield_now(),
        1..4 => (0..random.below(300)).for_each(|_| std::hint::spin_loop()),
        4 if random.below(16) == 0 => std::thread::sleep(Duration::from_micros(random.below(200))),
        _ => {}
    }
}

/// A link of random shape, and its MTU: payloads in slots, granules or both, with ample or scarce granules
/// and credits. Numbers often start just before the wrap.
fn shape(random: &mut Random) -> (LinkBuilder, usize) {
    let mtu = [8, 40, 96, 300, 700][random.below(5) as usize];
    let depth = 2 << random.below(4);
    let mut link = Link::builder().depth(depth).mtu(mtu);
    if random.below(2) == 0 {
        link = link.start(u64::MAX - random.below(RUN));
    }
    if mtu > 96 && random.below(2) == 0 {
        link = link.region(mtu.next_multiple_of(64) * (1 + random.below(3) as usize));
    }
    if random.below(4) == 0 {
        link = link.credits(1 + random.below(depth as u64));
    }
    (link, mtu)
}

fn wait(random: &mut Random) -> Wait {
    [Wait::Yield, Wait::Park, AT_ONCE][random.below(3) as usize]
}

/// What a reader has seen.
#[derive(Debug, Default)]
struct Tally {
    got: u64,
    lost: u64,
    replaced: u64,
}

/// Reads until the link is closed, or `enough` fragments are read. Checks every payload twice, with a pause
/// in between in which a producer that takes the payload for released would overwrite it.
fn read(mut rx: Consumer<'_>, mtu: usize, mut random: Random, enough: u64) -> Tally {
    // `next_seq` would not do: that of an evictable consumer moves before the eviction is reported.
    let (mut tally, mut expected) = (Tally::default(), rx.next_seq());
    while tally.got < enough {
        let seen = if random.below(4) == 0 {
            rx.poll_batch(1 + random.below(6) as usize).map(|batch| {
                let check = || {
                    batch.iter().fold(0, |count, fragment| {
                        assert_eq!(fragment.meta.seq, expected.wrapping_add(count));
                        assert_whole(&fragment.meta, fragment.payload.as_slice(), mtu);
                        count + 1
                    })
                };
                let count = check();
                pause_at_random(&mut random);
                assert_eq!(check(), count);
                count
            })
        } else {
            let found =
                if random.below(2) == 0 { rx.poll() } else { rx.wait_timeout(Duration::from_millis(5)) };
            found.map(|fragment| {
                let Some(fragment) = fragment else { return 0 };
                assert_eq!(fragment.meta.seq, expected);
                assert_whole(&fragment.meta, fragment.payload.as_slice(), mtu);
                pause_at_random(&mut random);
                assert_whole(&fragment.meta, fragment.payload.as_slice(), mtu);
                1
            })
        };
        match seen {
            Ok(0) if rx.is_closed() => break,
            Ok(0) => std::thread::yield_now(),
            Ok(count) => {
                tally.got += count;
                expected = expected.wrapping_add(count);
            }
            Err(TangoError::Overrun { lost, next } | TangoError::Evicted { lost, next }) => {
                assert!(lost > 0);
                assert_eq!(expected.wrapping_add(lost), next, "every number must be accounted for");
                expected = next;
                tally.lost += lost;
            }
            Err(TangoError::ProducerGone) => std::thread::yield_now(),
            Err(TangoError::ProducerReplaced { .. }) => tally.replaced += 1,
            Err(error) => panic!("{error}"),
        }
        pause_at_random(&mut random);
    }
    tally
}

/// Publishes `count` fragments by random methods.
fn produce(tx: &mut Producer<'_>, mtu: usize, count: u64, random: &mut Random) {
    for _ in 0..count {
        pause_at_random(random);
        match random.below(4) {
            0 => publish_blocking(tx, mtu),
            1 => {
                let seq = tx.next_seq();
                let bytes = payload(seq, mtu);
                loop {
                    if let Ok(mut loan) = tx.loan(bytes.len()) {
                        // Readers should meet the state between claiming memory and publishing.
                        pause_at_random(random);
                        loan.write_at(0, &bytes);
                        pause_at_random(random);
                        loan.commit(sig(seq), sig(seq) as u16, seq as u32).unwrap();
                        break;
                    }
                    std::thread::yield_now();
                }
            }
            _ => {
                while let Err(error) = publish(tx, mtu) {
                    assert!(matches!(error, TangoError::NoCredits), "{error}");
                    std::thread::yield_now();
                }
            }
        }
    }
}

/// Two reliable consumers get everything, across the wraps of ring, region and numbers.
fn wraps(random: &mut Random) {
    let (link, mtu) = shape(random);
    let link = link.consumers(2).build().unwrap();
    let mut tx = link.producer().unwrap().with_wait(wait(random));
    std::thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            let rx = link.consumer().unwrap().with_wait(wait(random));
            let random = Random::new(random.next());
            scope.spawn(move || read(rx, mtu, random, u64::MAX))
        });
        produce(&mut tx, mtu, RUN, random);
        drop(tx);
        for reader in readers {
            let tally = reader.join().unwrap();
            assert_eq!((tally.got, tally.lost), (RUN, 0));
        }
    });
}

/// Observers are lapped by a producer without consumers, and beside a consumer that holds it back.
fn laps(random: &mut Random) {
    let (link, mtu) = shape(random);
    let link = link.consumers(1).build().unwrap();
    let mut tx = link.producer().unwrap();
    let reliable = (random.below(2) == 0).then(|| link.consumer().unwrap());
    std::thread::scope(|scope| {
        let mut readers: Vec<_> = (0..2).map(|_| link.observer().unwrap()).collect();
        readers.extend(reliable);
        let readers: Vec<_> = readers
            .into_iter()
            .map(|rx| {
                let (reliable, random) = (rx.is_reliable(), Random::new(random.next()));
                (reliable, scope.spawn(move || read(rx, mtu, random, u64::MAX)))
            })
            .collect();
        produce(&mut tx, mtu, RUN, random);
        drop(tx);
        for (reliable, reader) in readers {
            let tally = reader.join().unwrap();
            assert_eq!(tally.got + tally.lost, RUN);
            assert!(!reliable || tally.lost == 0);
        }
    });
}

/// Consumers join and leave. Each gets everything in between without a gap.
fn visits(random: &mut Random) {
    let (link, mtu) = shape(random);
    let link = link.consumers(2).build().unwrap();
    let tx = link.producer().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (link, over) = (&link, &over);
        let seeds = [random.next(), random.next(), random.next()];
        let visitors = seeds.map(|seed| {
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..RUN / 10 {
                    let start = if random.below(2) == 0 { Start::Next } else { Start::Oldest };
                    let Ok(rx) = link.consumer_from(start) else {
                        std::thread::yield_now();
                        continue;
                    };
                    let enough = random.below(12);
                    let tally = read(rx, mtu, Random::new(random.next()), enough);
                    assert!(tally.lost == 0 && tally.got >= enough, "{tally:?} of {enough}");
                }
            })
        });
        let mut random = Random::new(random.next());
        let producer = scope.spawn(move || {
            while !over.load(Relaxed) {
                if publish(&tx, mtu).is_err() {
                    std::thread::yield_now();
                }
                pause_at_random(&mut random);
            }
        });
        let visits: Vec<_> = visitors.into_iter().map(|visitor| visitor.join()).collect();
        over.store(true, Relaxed);
        producer.join().unwrap();
        visits.into_iter().for_each(|visit| visit.unwrap());
    });
}

/// An evictable consumer is evicted at random moments, beside a consumer that cannot be.
fn evictions(random: &mut Random) {
    let (link, mtu) = shape(random);
    let link = link.consumers(2).build().unwrap();
    let patience = Duration::from_micros(random.below(100));
    let mut tx = link.producer().unwrap().with_patience(patience).with_wait(wait(random));
    std::thread::scope(|scope| {
        let readers = [link.evictable_consumer(Start::Next).unwrap(), link.consumer().unwrap()].map(|rx| {
            let random = Random::new(random.next());
            scope.spawn(move || read(rx, mtu, random, u64::MAX))
        });
        produce(&mut tx, mtu, RUN, random);
        drop(tx);
        let [evictable, reliable] = readers.map(|reader| reader.join().unwrap());
        assert_eq!((reliable.got, reliable.lost), (RUN, 0));
        assert_eq!(evictable.got + evictable.lost, RUN);
    });
}

/// Producers end by panics, one after the other, each in a thread of its own. A reliable consumer loses
/// nothing that was published.
fn takeovers(random: &mut Random) {
    const PRODUCERS: u64 = 4;
    let (link, mtu) = shape(random);
    let link = link.consumers(1).build().unwrap();
    let count = 1 + random.below(RUN / PRODUCERS);
    // A link begins with its first producer.
    let mut tx = Some(link.producer().unwrap());
    std::thread::scope(|scope| {
        let readers = [link.consumer().unwrap(), link.observer().unwrap()].map(|rx| {
            let random = Random::new(random.next());
            scope.spawn(move || read(rx, mtu, random, u64::MAX))
        });
        for producer in 1..=PRODUCERS {
            let tx = tx.take().unwrap_or_else(|| link.producer().unwrap());
            let mut random = Random::new(random.next());
            let thread = scope.spawn(move || {
                let mut tx = tx;
                produce(&mut tx, mtu, count, &mut random);
                if producer < PRODUCERS {
                    die_by_panic(tx);
                }
            });
            thread.join().unwrap();
            pause_at_random(&mut Random::new(count));
        }
        let [reliable, observer] = readers.map(|reader| reader.join().unwrap());
        assert_eq!((reliable.got, reliable.lost), (PRODUCERS * count, 0));
        assert_eq!(observer.got + observer.lost, PRODUCERS * count);
        assert!(reliable.replaced < PRODUCERS && observer.replaced < PRODUCERS);
    });
}

/// Questions and answers between two threads that sleep whenever they have nothing to do. A lost wakeup costs
/// a slice of 50 ms, so many of them would exceed the bound.
fn wakeups(random: &mut Random) {
    let [there, back] = [0, 1].map(|_| Link::builder().depth(2).mtu(8).consumers(1).build().unwrap());
    let (tx, echo) = (there.producer().unwrap(), back.producer().unwrap().with_wait(AT_ONCE));
    let (mut asked, mut rx) = (there.consumer().unwrap(), back.consumer().unwrap().with_wait(AT_ONCE));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            asked = asked.with_wait(AT_ONCE);
            while let Some(question) = asked.wait().unwrap() {
                echo.send(question.payload.as_slice()).unwrap();
            }
        });
        let mut late = 0;
        for round in 0..RUN {
            let begin = Instant::now();
            tx.send(&round.to_le_bytes()).unwrap();
            assert_eq!(rx.wait().unwrap().unwrap().payload.as_slice(), round.to_le_bytes());
            late += u64::from(begin.elapsed() >= Duration::from_millis(45));
            (0..random.below(3000)).for_each(|_| std::hint::spin_loop());
        }
        drop(tx);
        assert!(late < RUN / 20 || cfg!(miri), "{late} of {RUN} exchanges took a slice");
    });
}

#[test]
fn everything_arrives_across_all_wraps() {
    repeat("wraps", wraps);
}

#[test]
fn lapped_observers_accept_nothing_torn() {
    repeat("laps", laps);
}

#[test]
fn joining_and_leaving_consumers_see_no_gap() {
    repeat("visits", visits);
}

#[test]
fn evicted_consumers_learn_what_they_lost() {
    repeat("evictions", evictions);
}

#[test]
fn nothing_is_lost_by_a_takeover() {
    repeat("takeovers", takeovers);
}

#[test]
fn no_wakeup_is_lost() {
    repeat("wakeups", wakeups);
}
