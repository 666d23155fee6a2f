//! A consumer may be killed (SIGKILL) at any point: while it joins, reads or leaves. The producer gets its
//! credits back, nobody else loses anything, and its slot can be claimed again. A consumer that is only
//! stopped (SIGSTOP) is never taken for dead. If it is evictable, it may be evicted, and then learns what it
//! has lost.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::process::{Child, TestFolder, die_after, is_told, role, say, warm_up};
use common::{Random, assert_is, in_time, publish, publish_blocking};
use nix::sys::signal::Signal;
use rust_tango::{Link, LinkBuilder, Start, TangoError, Wait};

const MTU: usize = 700;
const DEPTH: u64 = 16;
const SLOTS: usize = 4;

fn builder(folder: &Path) -> LinkBuilder {
    // A small region, so that large payloads run out of granules before they run out of lines.
    Link::builder().depth(DEPTH as usize).mtu(MTU).region(4000).consumers(SLOTS).dir(folder)
}

/// Joins, reads a little and leaves, again and again, until it is killed.
fn come_and_go(folder: &Path, seed: u64) {
    let mut random = Random::new(seed);
    let link = Link::open_in(folder, "quotes").unwrap();
    warm_up();
    say("ready");
    die_after(Duration::from_nanos(random.below(4_000_000)));
    loop {
        let mut rx = match random.below(5) {
            0 => link.consumer(),
            1 => link.consumer_from(Start::Oldest),
            2 => link.consumer_from(Start::At(link.status().oldest)),
            3 => link.evictable_consumer(Start::Oldest),
            _ => link.evictable_consumer(Start::Next),
        };
        let rx = rx.as_mut().unwrap();
        let mut next = rx.next_seq();
        let first = next;
        for _ in 0..random.below(2000) {
            match rx.poll() {
                Ok(None) => {}
                Ok(Some(fragment)) => {
                    assert_is(&fragment, next, MTU);
                    next += 1;
                }
                // The fragment that was the oldest may be overwritten by now.
                Err(TangoError::Overrun { next: on, .. }) if next == first => assert_eq!(on, first),
                Err(error) => panic!("{error}"),
            }
            if random.below(8) == 0 {
                let batch = rx.poll_batch(5).unwrap();
                for fragment in &batch {
                    assert_is(&fragment, next, MTU);
                    next += 1;
                }
            }
        }
    }
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let mut words = role.split(' ');
    match (words.next().unwrap(), words.next()) {
        ("churn", Some(seed)) => come_and_go(&folder, seed.parse().unwrap()),
        // Holds fragment `seq` until it is told to check it again.
        ("hold", Some(seq)) => {
            let seq = seq.parse().unwrap();
            let link = Link::open_in(&folder, "quotes").unwrap();
            let mut rx = link.consumer_from(Start::At(seq)).unwrap();
            let held = rx.poll().unwrap().unwrap();
            assert_is(&held, seq, MTU);
            let copy = held.payload.as_slice().to_vec();
            say("ready");
            while !is_told("look") {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(held.payload.as_slice(), copy);
            assert_is(&held, seq, MTU);
            say("same");
            drop(held);
            for next in seq + 1..=seq + DEPTH {
                assert_is(&rx.wait().unwrap().unwrap(), next, MTU);
            }
        }
        // Reads and reports until the link is closed.
        ("evictable", None) => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            let mut rx = link.evictable_consumer(Start::Next).unwrap();
            say("ready");
            let mut next = rx.next_seq();
            loop {
                match rx.wait() {
                    Ok(Some(fragment)) => assert_is(&fragment, next, MTU),
                    Ok(None) => break say(format!("closed at {next}")),
                    Err(error @ TangoError::Evicted { lost, next: on }) => {
                        assert_eq!(on, next + lost);
                        say(format!("{error}, from {next} on"));
                        next = on;
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                }
                say(next);
                next += 1;
            }
        }
        other => panic!("no role {other:?}"),
    }
}

/// The producer does not wait for dead consumers, and gets all credits back.
#[test]
fn dead_consumers_are_not_counted_and_hold_no_fragments() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let none = Some(Duration::ZERO);
        let kill_one = |tx: &rust_tango::Producer<'_>| {
            let child = Child::start_ready("evictable", &folder);
            assert!(tx.consumers() == 1 && tx.wait_for_consumers(1, none));
            child.stop();
            publish(tx, MTU).unwrap();
            assert!(!tx.is_drained());
            child.kill();
        };
        kill_one(&tx);
        assert!(tx.is_drained(), "nobody waits for a dead consumer");
        kill_one(&tx);
        assert!(tx.wait_until_drained(none));
        kill_one(&tx);
        assert_eq!(tx.consumers(), 0);
        kill_one(&tx);
        assert!(!tx.wait_for_consumers(1, none), "dead consumers do not count");
        // A later producer does not know of any of them.
        kill_one(&tx);
        drop(tx);
        let tx = link.producer().unwrap();
        assert!(!tx.wait_for_consumers(1, none));
    });
}

/// Kills `kills` consumers, two at a time, while a producer that waits by `wait` publishes.
fn kill_many(kills: u64, wait: Wait) {
    let folder = TestFolder::new();
    let link = builder(folder.path()).create("quotes").unwrap();
    // No living consumer delays it for that long.
    let tx = link.producer().unwrap().with_wait(wait).with_patience(Duration::from_secs(60));
    let mut steady = link.consumer().unwrap();
    let mut observer = link.observer().unwrap();
    let (published, longest) = (AtomicU64::new(0), AtomicU64::new(0));
    let (killed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let tx = tx;
            while !done.load(Ordering::Relaxed) {
                let begin = Instant::now();
                publish_blocking(&tx, MTU);
                longest.fetch_max(begin.elapsed().as_millis() as u64, Ordering::Relaxed);
                published.fetch_add(1, Ordering::Relaxed);
            }
        });
        let reader = scope.spawn(move || {
            let mut next = 1;
            while let Some(fragment) = steady.wait().unwrap() {
                assert_is(&fragment, next, MTU);
                next += 1;
            }
            next - 1
        });
        let observer = scope.spawn(move || {
            let (mut next, mut seen) = (1, 0_u64);
            loop {
                match observer.wait() {
                    Ok(None) => break (next - 1, seen),
                    Ok(Some(fragment)) => {
                        assert_is(&fragment, next, MTU);
                        (next, seen) = (next + 1, seen + 1);
                    }
                    Err(TangoError::Overrun { lost, next: on }) => {
                        assert_eq!(on, next + lost);
                        next = on;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let killers = [1_u64, 2].map(|half| {
            let (folder, killed) = (&folder, &killed);
            scope.spawn(move || {
                for at in 0..kills / 2 {
                    let role = format!("churn {}", half * 1_000_000 + at);
                    let status = Child::start_ready(&role, folder).ends();
                    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
                    killed.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for killer in killers {
            if let Err(panic) = killer.join() {
                done.store(true, Ordering::Relaxed);
                std::panic::resume_unwind(panic);
            }
        }
        done.store(true, Ordering::Relaxed);
        let read = reader.join().unwrap();
        assert_eq!(read, published.load(Ordering::Relaxed), "the steady consumer must read everything");
        let (last, seen) = observer.join().unwrap();
        assert!(last <= read && seen > 0, "an observer saw {seen} up to {last} of {read}");
    });
    let status = link.status();
    println!(
        "{} killed, {} reaped; {} fragments, {} stalls, the longest of {} ms",
        killed.into_inner(),
        status.reaped,
        status.next - 1,
        status.backpressure,
        longest.into_inner()
    );
    assert_eq!(status.evicted, 0, "dead consumers are reaped, not evicted");
    // Most slots are claimed again before the producer checks. How many depends on the machine.
    assert!(status.reaped > 0 && status.reaped <= kills, "{} of {kills}", status.reaped);
    assert!(status.next > kills, "{status:?}");
    assert!(status.consumers.iter().all(|consumer| !consumer.alive), "{status:?}");
    assert_eq!(status.takeovers, 0);
    // Each slot works again.
    let tx = link.producer().unwrap();
    let mut consumers: Vec<_> = (0..SLOTS).map(|_| link.consumer().unwrap()).collect();
    assert!(link.consumer().is_err());
    assert_eq!(tx.consumers(), SLOTS);
    let first = tx.next_seq();
    for rx in &mut consumers {
        assert_eq!(rx.next_seq(), first);
    }
    for seq in first..first + 3 * DEPTH {
        publish(&tx, MTU).unwrap();
        for rx in &mut consumers {
            assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
        }
    }
}

#[test]
fn a_consumer_may_be_killed_at_any_point() {
    in_time(|| kill_many(300, Wait::Yield));
}

/// A producer that sleeps reaps dead consumers between its sleeps.
#[test]
fn a_sleeping_producer_reaps_dead_consumers() {
    in_time(|| kill_many(80, Wait::ParkAfter(Duration::ZERO)));
}

/// It is stopped while it holds a fragment, in a slot or in granules.
#[test]
fn a_stopped_consumer_is_not_taken_for_dead() {
    in_time(|| {
        for large in [false, true] {
            let folder = TestFolder::new();
            let link = builder(folder.path()).create("quotes").unwrap();
            let tx = link.producer().unwrap().with_patience(Duration::ZERO);
            let mut seq = 1;
            while (publish(&tx, MTU).unwrap().size > 96) != large {
                seq += 1;
            }
            let mut holder = Child::start_ready(&format!("hold {seq}"), &folder);
            let dead = Child::start_ready(&format!("hold {seq}"), &folder);
            holder.stop();
            dead.kill();
            // A call that blocks must behave like one that tries again and again.
            while publish(&tx, MTU).is_ok() {}
            let full = tx.next_seq();
            assert!(full <= seq + DEPTH, "{full} after {seq}");
            let begin = Instant::now();
            let mut tries = 0_u64;
            while begin.elapsed() < Duration::from_millis(1200) {
                assert_eq!((publish(&tx, MTU), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
                tries += 1;
            }
            assert!(tries > 500, "{tries}");
            let blocked = std::thread::spawn(move || {
                let tx = tx.with_wait(Wait::ParkAfter(Duration::ZERO));
                publish_blocking(&tx, MTU);
                tx
            });
            std::thread::sleep(Duration::from_millis(300));
            assert!(!blocked.is_finished());
            let status = link.status();
            assert_eq!((status.held_by, status.next), (Some(0), full), "{status:?}");
            assert_eq!((status.reaped, status.evicted), (1, 0), "only the killed consumer");
            let [stopped, killed] = &status.consumers[..] else { panic!("{status:?}") };
            assert_eq!((stopped.slot, stopped.alive, killed.alive), (0, true, false));
            assert_eq!(stopped.next, seq);
            assert_eq!(holder.state(), 'T');
            holder.tell("look");
            holder.signal(Signal::SIGCONT);
            assert_eq!(holder.hear(), "same");
            let tx = blocked.join().unwrap();
            while tx.next_seq() <= seq + DEPTH {
                publish_blocking(&tx, MTU);
            }
            holder.succeeds();
        }
    });
}

/// The producer also waits for a stopped consumer that is evictable, but only within its patience. When that
/// consumer continues, it learns what it has lost and joins again.
#[test]
fn a_stopped_evictable_consumer_is_evicted_and_learns_its_loss() {
    in_time(|| {
        const PATIENCE: Duration = Duration::from_millis(150);
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let wait = Wait::ParkAfter(Duration::ZERO);
        let tx = link.producer().unwrap().with_patience(PATIENCE).with_wait(wait);
        let mut steady = link.consumer().unwrap();
        let mut evictable = Child::start_ready("evictable", &folder);
        let mut publish_and_read = |seq| {
            publish_blocking(&tx, MTU);
            assert_is(&steady.poll().unwrap().unwrap(), seq, MTU);
        };
        for seq in 1..=5 {
            publish_and_read(seq);
            assert_eq!(evictable.hear(), seq.to_string());
        }
        evictable.stop();
        let begin = Instant::now();
        let last = 5 + 3 * DEPTH;
        (6..=last).for_each(&mut publish_and_read);
        assert!(begin.elapsed() >= PATIENCE, "the producer must wait first");
        let status = link.status();
        assert_eq!((status.evicted, status.reaped, status.held_by), (1, 0, None), "{status:?}");
        let stopped = &status.consumers[1];
        assert_eq!((stopped.slot, stopped.alive, stopped.evictable), (1, true, true));
        assert_eq!(evictable.state(), 'T');
        evictable.signal(Signal::SIGCONT);
        let report = evictable.hear();
        assert!(report.contains("evict") && report.ends_with("from 6 on"), "{report}");
        // It continues with the oldest intact fragment, and counts again.
        let first: u64 = evictable.hear().parse().unwrap();
        assert!(first > 6 && first > last - DEPTH && first <= last, "{first}");
        for seq in first + 1..=last {
            assert_eq!(evictable.hear(), seq.to_string());
        }
        assert_eq!(link.status().consumers[1].lost, first - 6);
        for seq in last + 1..=last + 3 * DEPTH {
            publish_and_read(seq);
            assert_eq!(evictable.hear(), seq.to_string());
        }
        assert_eq!(link.status().evicted, 1);
        drop(tx);
        assert_eq!(evictable.hear(), format!("closed at {}", last + 3 * DEPTH + 1));
        evictable.succeeds();
    });
}
