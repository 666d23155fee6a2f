//! One link is used for a while. Its processes, the producer included, are killed, stopped, asked to leave
//! and started again at random moments. Now and then all of them end, and the link is created anew under its
//! name.
//!
//! The test process is the supervisor. One of its threads is the witness, a reliable consumer that lives as
//! long as the link. All other parties are processes. Everything that is read is checked:
//!
//! - the content, which follows from the fragment's number and from its producer;
//! - that a reliable consumer gets each number once, in order, from where it joined;
//! - that what other readers miss is what they were told they have lost;
//! - at the end, that all readers saw each producer begin at the same number.
//!
//! `TANGO_SOAK_SECONDS` sets the duration (default: 8), `TANGO_SOAK_SEED` the seed of all choices. The seed
//! is printed. The same seed repeats the choices, but not their timing.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;
#[path = "soak/reader.rs"]
mod reader;
#[path = "soak/supervisor.rs"]
mod supervisor;

use std::path::Path;
use std::time::{Duration, Instant};

use common::process::{die_with_parent, entries, is_told, role, say};
use common::{Random, payload, sig};
use reader::{Kind, Reader, Remote, Sums};
use rust_tango::{Link, LinkBuilder, Start, TangoError, Wait};
use supervisor::{HANGS, Supervisor};

const MTU: usize = 1500;
const DEPTH: u64 = 32;
/// Consumer slots: the witness, and four others.
const SLOTS: usize = 5;
/// How long a producer waits for an evictable consumer.
const PATIENCE: Duration = Duration::from_millis(4);
/// A link that is created anew skips this many numbers.
const GAP: u64 = 1000;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(DEPTH as usize).mtu(MTU).region(6 * MTU).consumers(SLOTS).dir(folder)
}

fn wait_by(random: &mut Random) -> Wait {
    match random.below(8) {
        0 => Wait::Spin,
        1 | 2 => Wait::Yield,
        3..=5 => Wait::ParkAfter(Duration::ZERO),
        _ => Wait::Park,
    }
}

/// Publishes until it is asked to leave. Each fragment has the number of its producer as timestamp.
fn produce(folder: &Path, id: u32, make: Option<u64>, mut random: Random) {
    let link = match make {
        Some(start) => builder(folder).start(start).create("quotes"),
        None => Link::open_in(folder, "quotes"),
    };
    let wait = wait_by(&mut random);
    let mut tx = link.unwrap().producer().unwrap().with_wait(wait).with_patience(PATIENCE);
    say(format!("first {}", tx.next_seq()));
    if make.is_some() {
        assert!(tx.wait_for_consumers(1, None));
    }
    while !is_told("leave") {
        let seq = tx.next_seq();
        let bytes = payload(seq, MTU);
        if random.below(4) == 0 {
            let mut loan = loop {
                match tx.loan(bytes.len()) {
                    Ok(loan) => break loan,
                    Err(TangoError::NoCredits) => std::thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            };
            loan.write_at(0, &bytes);
            if random.below(8) != 0 {
                loan.commit(sig(seq), sig(seq) as u16, id).unwrap();
            }
        } else {
            let meta = tx.publish_blocking(&bytes, sig(seq), sig(seq) as u16, id).unwrap();
            assert_eq!(meta.seq, seq);
        }
        if random.below(300) == 0 {
            // So that readers run out of fragments and fall asleep.
            std::thread::sleep(Duration::from_micros(random.below(3000)));
        }
    }
    say(format!("next {}", tx.next_seq()));
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    die_with_parent();
    let words: Vec<_> = role.split(' ').collect();
    let [what, number, make, seed] = words[..] else { panic!("no role {role}") };
    let mut random = Random::new(seed.parse().unwrap());
    if what == "Producer" {
        return produce(&folder, number.parse().unwrap(), make.parse().ok(), random);
    }
    let kind = *Kind::ALL.iter().find(|kind| format!("{kind:?}") == what).unwrap();
    let mut reader = Reader::new(kind, &Remote);
    let mut start = match random.below(3) {
        0 => Start::Next,
        1 => Start::Oldest,
        _ => Start::At(0),
    };
    while !is_told("leave") && !is_told("end") {
        // There is no link for a moment while it is created anew.
        let Ok(link) = Link::open_wait_in(&folder, "quotes", Some(Duration::from_millis(100))) else {
            assert!(kind == Kind::Observer);
            continue;
        };
        let status = link.status();
        if let Start::At(seq) = &mut start {
            *seq = status.oldest.saturating_sub(2).max(status.start);
        }
        reader.read(&link, start, &mut random);
    }
    say(format!("left {} {}", reader.next, reader.sums));
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value:?}")))
}

#[test]
fn nothing_is_lost_while_parties_come_and_go() {
    if role().is_some() {
        return;
    }
    let time = Duration::from_secs(from_environment("TANGO_SOAK_SECONDS").unwrap_or(8));
    let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = from_environment("TANGO_SOAK_SEED").unwrap_or_else(clock);
    println!("TANGO_SOAK_SEED={seed}, for {time:?}");
    let begin = Instant::now();
    let mut all = Supervisor::new(seed);
    all.make(1);
    let mut remake_at = time / 3;
    while begin.elapsed() < time || !all.has_seen_all() {
        assert!(begin.elapsed() < time + 2 * HANGS.0, "too little happens: {:#?}", all.counts);
        let pause = Duration::from_micros(all.random.below(12_000));
        std::thread::sleep(pause);
        all.process_messages();
        all.continue_the_stopped(Instant::now());
        all.watch();
        if begin.elapsed() >= remake_at {
            remake_at += (time / 3).clamp(Duration::from_secs(1), Duration::from_secs(10));
            let in_order = all.random.below(2) == 0;
            let next = all.end(in_order, false);
            all.make(next + GAP);
            all.counts.remade += 1;
        } else {
            all.act();
        }
    }
    // If the last producer is about to leave, start one more, so that the link ends in an orderly way.
    all.until("a producer leaves", |all| {
        !all.parties.iter().any(|party| party.kind.is_none() && party.leaves)
    });
    if all.parties.iter().all(|party| party.kind.is_some()) {
        all.start(None, None);
    }
    all.until("a producer begins", |all| {
        all.parties.iter().any(|party| party.kind.is_none() && all.firsts.contains_key(&party.number))
    });
    let (link, _) = all.now.as_ref().unwrap();
    let link = link.clone();
    all.end(true, true);
    all.agree();
    assert!(all.parties.is_empty());
    link.remove().unwrap();
    assert_eq!(entries(all.folder.path()), [".lock"]);
    let Sums { read, lost, overruns, evictions, gone, replaced } = all.sums;
    println!("{:#?}", all.counts);
    println!(
        "read by parties that lived to report it: {read}, and {lost} lost in {overruns} overruns and {evictions} evictions"
    );
    println!(
        "readers were told of {gone} deaths and {replaced} takeovers, and saw {} changes of the producer",
        all.turns.len()
    );
}
