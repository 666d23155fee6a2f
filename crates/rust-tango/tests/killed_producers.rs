//! A producer may be killed (SIGKILL) at any point: in the middle of a fragment, asleep, or while it takes a
//! link over. Readers get whole fragments, each number once, and the next producer continues after the last
//! one. A producer that is only stopped (SIGSTOP) is never taken for dead.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

#[path = "killed_producers/cases.rs"]
mod cases;
mod common;
#[path = "killed_producers/reading.rs"]
mod reading;

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use cases::{BATCH, CASES, Case, How, case, publish_batches, publish_by_loan};
use common::process::{Child, TestFolder, die_after, role, say, warm_up};
use common::waiting::AT_ONCE;
use common::{Random, assert_is, in_time, payload, publish, publish_blocking, sig};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use reading::Reading;
use rust_tango::{Link, LinkErrorKind, Start, TangoError, Wait};

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let words: Vec<_> = role.split(',').collect();
    match words[..] {
        // Takes the link over, reports where it continues, and publishes until it is killed.
        ["publish", name, seed] => {
            let case = case(name);
            let mut random = Random::new(seed.parse().unwrap());
            let wait = if random.below(2) == 0 { AT_ONCE } else { Wait::Yield };
            let mut tx = Link::open_in(&folder, "quotes").unwrap().producer().unwrap().with_wait(wait);
            say(tx.next_seq());
            // Two runs of prepared fragments, so that most of the time is spent in publishing. The first run
            // measures the time. The child is killed in the second.
            let mut longest = Duration::ZERO;
            for run in 0..2 {
                let next = tx.next_seq();
                let ready: Vec<_> =
                    (next..next + case.depth as u64).map(|seq| (seq, payload(seq, case.mtu))).collect();
                assert!(tx.wait_until_drained(None));
                let begin = Instant::now();
                if run == 1 {
                    die_after(Duration::from_nanos(random.below(longest.as_nanos() as u64 + 1)));
                }
                for batch in ready.chunks(BATCH as usize) {
                    if case.how == How::Batches {
                        publish_batches(&tx, batch);
                        continue;
                    }
                    for (seq, bytes) in batch {
                        if case.how == How::Loans {
                            publish_by_loan(&mut tx, *seq, bytes, &mut random);
                        } else {
                            tx.publish_blocking(bytes, sig(*seq), sig(*seq) as u16, *seq as u32).unwrap();
                        }
                    }
                }
                longest = begin.elapsed().min(Duration::from_millis(5));
            }
            loop {
                publish_blocking(&tx, case.mtu);
            }
        }
        // Is killed while it takes the link over, or soon after.
        ["take over", name, seed] => {
            let case = case(name);
            let mut random = Random::new(seed.parse().unwrap());
            let link = Link::open_in(&folder, "quotes").unwrap();
            warm_up();
            say("ready");
            let longest = [60_000, 800_000][random.below(2) as usize];
            die_after(Duration::from_nanos(random.below(longest)));
            let tx = link.producer().unwrap().with_wait(AT_ONCE);
            loop {
                publish_blocking(&tx, case.mtu);
            }
        }
        // Falls asleep sooner or later, for lack of credits.
        ["sleep", name] => {
            let case = case(name);
            let tx = Link::open_in(&folder, "quotes").unwrap().producer().unwrap().with_wait(AT_ONCE);
            say(tx.next_seq());
            loop {
                publish_blocking(&tx, case.mtu);
            }
        }
        // Publishes until it is killed.
        ["endless", name] => {
            let tx = Link::open_in(&folder, "quotes").unwrap().producer().unwrap().with_wait(AT_ONCE);
            say(tx.next_seq());
            loop {
                publish_blocking(&tx, case(name).mtu);
            }
        }
        // Publishes a fragment whenever all consumers sleep, with the current time as its `sig`.
        ["beat", count] => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            let tx = link.producer().unwrap();
            say(tx.next_seq());
            for _ in 0..count.parse().unwrap() {
                let asleep = || link.status().consumers.iter().filter(|consumer| consumer.asleep).count();
                while asleep() < 2 {
                    std::thread::yield_now();
                }
                tx.publish(b"", now(), 0, 0).unwrap();
            }
            std::thread::sleep(common::PATIENCE);
        }
        _ => panic!("no role {role}"),
    }
}

/// Kills `kills` producers. Returns how many of them were killed in the middle of a fragment; where payloads
/// overwrite older ones, that number is not exact.
fn kill_while_it_publishes(case: &Case, kills: u64) -> u64 {
    let folder = TestFolder::new();
    let link = case.builder(folder.path()).create("quotes").unwrap();
    let rx = Reading::new(link.consumer().unwrap(), case.mtu);
    let ob = Reading::new(link.observer().unwrap(), case.mtu);
    drop(link.producer().unwrap());
    let link = Link::open_in(folder.path(), "quotes").unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let [rx, ob] = [rx, ob].map(|mut reading| {
            let done = &done;
            reading.untagged = case.how == How::Batches;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    reading.drain();
                    std::thread::yield_now();
                }
                while !reading.drain() {}
                reading
            })
        });
        let killer = scope.spawn(|| {
            let (mut fragments, mut begun) = (0, 0);
            for at in 0..kills {
                let mut child = Child::start(&format!("publish,{},{at}", case.name), &folder);
                let first: u64 = child.hear().parse().unwrap();
                let status = child.ends();
                assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
                // The last fragment may not have been counted in the head.
                let next = fragments + 1;
                assert!(
                    at == 0 || (next..=next + case.uncounted()).contains(&first),
                    "continues at {first}, and {next} is next"
                );
                fragments = link.status().next - 1;
                // The fragment that the next one overwrites is marked as overwritten when the next one
                // begins, or some earlier.
                if let Some(oldest) =
                    (fragments + 1).checked_sub(case.depth as u64).filter(|oldest| *oldest > 0)
                {
                    let mut ob = link.observer_from(Start::At(oldest)).unwrap();
                    begun += u64::from(matches!(ob.poll(), Err(TangoError::Overrun { .. })));
                }
            }
            (fragments, begun)
        });
        let killed = killer.join();
        done.store(true, Ordering::Relaxed);
        let (fragments, begun) = killed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (rx, ob) = (rx.join().unwrap(), ob.join().unwrap());
        assert_eq!((rx.next, rx.read, rx.lost), (ob.next, ob.next - 1, 0));
        assert_eq!(ob.read + ob.lost, rx.read);
        assert!(
            rx.read >= fragments && rx.read <= fragments + case.uncounted(),
            "{} of {fragments}",
            rx.read
        );
        let status = link.status();
        // The first producer followed one that had left in an orderly way.
        assert_eq!(status.takeovers, kills - 1);
        assert!(rx.replaced > kills / 2 && rx.replaced < kills, "{} times", rx.replaced);
        println!(
            "{}: {kills} killed, {} fragments, {} of them seen by an observer; {begun} killed in the middle of a fragment",
            case.name, rx.read, ob.read
        );
        assert!(rx.read > 2 * kills && ob.read > 0);
        let tx = link.producer().unwrap();
        assert_eq!(tx.next_seq(), rx.next, "continues after the last");
        begun
    })
}

#[test]
fn a_producer_may_be_killed_in_the_middle_of_a_fragment() {
    in_time(|| {
        let begun = CASES.iter().map(|case| {
            let begun = kill_while_it_publishes(case, 20);
            if case.region.is_none() { begun } else { 0 }
        });
        let begun: u64 = begun.sum();
        assert!(begun > 5, "only {begun} were killed in the middle of a fragment");
    });
}

/// The ring is almost full, and a reader holds one fragment at a time in place.
#[test]
fn a_producer_may_be_killed_while_it_takes_over() {
    in_time(|| {
        for case in &CASES {
            let folder = TestFolder::new();
            let link = case.builder(folder.path()).create("quotes").unwrap();
            let mut slow = Reading::new(link.consumer().unwrap(), case.mtu);
            let mut fast = Reading::new(link.consumer().unwrap(), case.mtu);
            let tx = link.producer().unwrap();
            while publish(&tx, case.mtu).is_ok() {
                fast.drain();
            }
            drop(tx);
            let mut early = 0;
            const KILLS: u64 = 24;
            for at in 0..KILLS {
                fast.drain();
                let next = slow.next;
                let held = slow.take();
                let copy = held.as_ref().map(|held| {
                    assert_is(held, next, case.mtu);
                    held.payload.as_slice().to_vec()
                });
                let mut child = Child::start(&format!("take over,{},{at}", case.name), &folder);
                assert_eq!(child.hear(), "ready");
                let before = link.status();
                let status = child.ends();
                assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
                assert_eq!(held.as_ref().map(|held| held.payload.as_slice()), copy.as_deref());
                let after = link.status();
                early += u64::from(after.takeovers == before.takeovers && after.next == before.next);
            }
            println!("{}: {early} of {KILLS} killed before they had taken over", case.name);
            // If a producer was killed before its publish returned, one reader may find that fragment some
            // polls later than another.
            loop {
                slow.drain();
                fast.drain();
                if slow.next == fast.next {
                    break;
                }
            }
            let tx = link.producer().unwrap();
            assert_eq!(tx.next_seq(), slow.next, "continues after the last");
            for _ in 0..3 * case.depth {
                publish(&tx, case.mtu).unwrap();
                assert!(!slow.drain() && !fast.drain());
            }
            assert_eq!((slow.next, fast.next), (tx.next_seq(), tx.next_seq()));
        }
    });
}

#[test]
fn a_producer_may_be_killed_asleep() {
    in_time(|| {
        for case in &CASES {
            let folder = TestFolder::new();
            let link = case.builder(folder.path()).create("quotes").unwrap();
            let mut slow = Reading::new(link.consumer().unwrap(), case.mtu);
            let mut fast = Reading::new(link.consumer().unwrap(), case.mtu);
            drop(link.producer().unwrap());
            let mut random = Random::new(case.depth as u64);
            for _ in 0..6 {
                let mut child = Child::start(&format!("sleep,{}", case.name), &folder);
                let first: u64 = child.hear().parse().unwrap();
                assert!(first <= link.status().next);
                for _ in 0..random.below(2 * case.depth as u64) {
                    fast.drain();
                    slow.take();
                    std::thread::yield_now();
                }
                while link.status().held_by != Some(0) {
                    fast.drain();
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(random.below(20)));
                // It wakes now and then to check who lives.
                while child.state() != 'S' {
                    std::thread::yield_now();
                }
                child.kill();
            }
            while !slow.drain() {}
            while !fast.drain() {}
            assert_eq!((slow.next, slow.read), (fast.next, fast.next - 1));
            let tx = link.producer().unwrap().with_wait(AT_ONCE);
            assert_eq!((tx.next_seq(), link.status().takeovers), (slow.next, 6));
        }
    });
}

/// A stopped producer (SIGSTOP) is alive, even in the middle of a fragment: readers wait for it, and nobody
/// can replace it.
#[test]
fn a_stopped_producer_is_not_taken_for_dead() {
    in_time(|| {
        let case = case("few granules");
        let folder = TestFolder::new();
        let link = case.builder(folder.path()).create("quotes").unwrap();
        let rx = link.consumer().unwrap().with_wait(AT_ONCE);
        let (mut rx, mut ob) = (Reading::new(rx, case.mtu), Reading::new(link.observer().unwrap(), case.mtu));
        drop(link.producer().unwrap());
        let mut producer = Child::start(&format!("endless,{}", case.name), &folder);
        assert_eq!(producer.hear(), "1");
        for round in 1..=5 {
            while rx.next < 200 * round {
                assert!(!rx.drain() && !ob.drain());
            }
            producer.stop();
            let begin = Instant::now();
            // Longer than a slice of sleep, and more polls than lie between two checks who lives.
            for _ in 0..10_000 {
                assert!(!rx.drain() && !ob.drain());
            }
            assert!(rx.rx.wait_timeout(Duration::from_millis(120)).unwrap().is_none() && !rx.rx.is_closed());
            assert!(ob.rx.wait_timeout(Duration::from_millis(120)).unwrap().is_none() && !ob.rx.is_closed());
            assert_eq!(link.producer().unwrap_err().kind(), LinkErrorKind::Taken);
            let holder = format!("its producer (tx, process {})", producer.id());
            for refused in [
                case.builder(folder.path()).create("quotes").map(drop),
                case.builder(folder.path()).create_or_take_over("quotes").map(drop),
                Link::remove_dead(folder.path(), "quotes"),
            ] {
                let error = refused.unwrap_err();
                assert!(
                    error.kind() == LinkErrorKind::InUse && error.to_string().contains(&holder),
                    "{error}"
                );
            }
            assert!(begin.elapsed() >= Duration::from_millis(240) && producer.state() == 'T');
            assert!(link.status().producer);
            producer.signal(Signal::SIGCONT);
        }
        producer.kill();
        while !rx.drain() {}
        while !ob.drain() {}
        assert_eq!((rx.replaced, rx.lost, rx.next), (0, 0, ob.next));
    });
}

/// Nanoseconds of the monotonic clock, which all processes share.
fn now() -> u64 {
    let now: Duration = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap().into();
    now.as_nanos() as u64
}

/// A reader that sleeps while its producer is killed and replaced is woken by the new producer's fragments.
#[test]
fn no_wakeup_is_lost_between_producers() {
    in_time(|| {
        const KILLS: u64 = 40;
        const EACH: u64 = 3;
        let folder = TestFolder::new();
        let start = || {
            let mut child = Child::start(&format!("beat,{EACH}"), &folder);
            let first = child.hear().parse::<u64>().unwrap();
            (child, first)
        };
        drop(case("slots").builder(folder.path()).create("quotes").unwrap());
        let (mut child, _) = start();
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let (progress, events) = channel();
        // The observer first, because the producer begins when the two others sleep.
        let readers = [Wait::Yield, Wait::Park, AT_ONCE].map(|wait| {
            let rx = match wait {
                AT_ONCE => link.consumer(),
                Wait::Park => link.evictable_consumer(Start::Next),
                _ => link.observer(),
            };
            let (mut rx, progress) = (rx.unwrap().with_wait(wait), progress.clone());
            std::thread::spawn(move || {
                let (mut next, mut gone, mut replaced) = (1, 0, 0);
                let mut late = Vec::new();
                loop {
                    let error = match rx.wait() {
                        Ok(Some(fragment)) => {
                            late.push(Duration::from_nanos(now() - fragment.meta.sig));
                            assert_eq!(fragment.meta.seq, next);
                            next += 1;
                            progress.send(next).unwrap();
                            continue;
                        }
                        Ok(None) => break (late, gone, replaced),
                        Err(error) => error,
                    };
                    match error {
                        TangoError::ProducerGone => {
                            gone += 1;
                            // The last producer ends at once, perhaps before this reader checks; then the
                            // link is closed.
                            assert!(rx.wait_for_producer(None) || next == 1 + (KILLS + 1) * EACH, "{next}");
                        }
                        TangoError::ProducerReplaced { first } => {
                            assert!(
                                first <= next,
                                "the new producer begins at {first}, and {next} is read next"
                            );
                            replaced += 1;
                            let _ = progress.send(next); // nobody receives the last one
                        }
                        error => panic!("{error}"),
                    }
                }
            })
        });
        drop(progress);
        let mut random = Random::new(5);
        // If two producers take over between two calls of a reader, it learns of one takeover.
        let all_know = |taken_over: bool| {
            (0..3 * (EACH + u64::from(taken_over))).for_each(|_| assert!(events.recv().is_ok()))
        };
        for at in 1..=KILLS {
            all_know(at > 1);
            while link.status().consumers.iter().any(|consumer| !consumer.asleep) {
                std::thread::yield_now();
            }
            // Sometimes long enough for the readers to check who lives meanwhile.
            let pause = if random.below(3) == 0 { random.below(120) } else { 0 };
            child.kill();
            std::thread::sleep(Duration::from_millis(pause));
            let first;
            (child, first) = start();
            assert_eq!(first, 1 + at * EACH);
        }
        all_know(true);
        child.kill();
        // An orderly end, so that the readers end.
        drop(link.producer().unwrap());
        for (reader, wait) in readers.into_iter().zip([
            "an observer that yields",
            "an evictable consumer that parks",
            "a reliable consumer that sleeps at once",
        ]) {
            let (mut late, gone, replaced) = reader.join().unwrap();
            assert_eq!(late.len() as u64, (KILLS + 1) * EACH);
            late.sort();
            let slice = Duration::from_millis(45);
            let slices = late.iter().filter(|late| **late >= slice).count();
            let (half, most) = (late[late.len() / 2], late[late.len() - 1]);
            println!("{wait}: {half:?} to wake up, at most {most:?}; {gone} times gone, {replaced} replaced");
            // A sleep that nobody ends takes half a slice on average. (The machine may be busy.)
            assert!(half < Duration::from_millis(10), "{late:?}");
            assert!(slices < late.len() / 10, "{late:?}");
            assert!(replaced > KILLS && replaced <= KILLS + 1, "{replaced} times");
            // At times the producer of a sleeping reader is replaced before the reader checks.
            assert!(gone < KILLS || wait.contains("yields"), "{wait}: {gone} times gone");
        }
    });
}
