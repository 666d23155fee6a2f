//! A process that has nothing to do sleeps in the kernel and takes no processor time. It is woken by what it
//! waits for, by the end of the link, and within a bounded time by the death of the other side. No wakeup is
//! lost. For threads of one process, see `threads_wake_each_other`.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::kernel::{forbid, forget};
use common::process::{Child, TestFolder, assert_uses_less, role, say, skip};
use common::waiting::{self, AT_ONCE, MTU, exchange_between_sleeping_threads, is_asleep, read, until};
use common::{Random, assert_is, in_time, publish, publish_blocking};
use nix::libc;
use nix::sys::resource::UsageWho;
use rust_tango::{Link, LinkBuilder, Producer, Start, TangoError, Wait};

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(2).dir(folder)
}

/// Sends questions by `there` and gets the answers by `back`, both of which exist. Another process is the
/// producer of `back`.
fn ask(there: &Link, back: Link) {
    let tx = there.producer().unwrap();
    let mut rx = back.consumer().unwrap().with_wait(AT_ONCE);
    drop(back); // so that the other process can be its producer
    say("ready");
    assert!(tx.wait_for_consumers(1, None));
    let mut random = Random::new(7);
    let mut late = 0;
    const ROUNDS: u64 = 4000;
    for round in 0..ROUNDS {
        let begin = Instant::now();
        tx.send(&round.to_le_bytes()).unwrap();
        assert_eq!(rx.wait().unwrap().unwrap().payload.as_slice(), round.to_le_bytes());
        late += u64::from(begin.elapsed() >= Duration::from_millis(45));
        // Meet the other process at all stages of falling asleep.
        for _ in 0..random.below(3000) {
            std::hint::spin_loop();
        }
    }
    assert!(late < ROUNDS / 100, "{late} of {ROUNDS} exchanges took a slice");
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    // A kernel without membarrier, or a filter that forbids it.
    let role = match role.strip_suffix(" without the barrier") {
        None => role.as_str(),
        Some(role) => {
            if let Err(error) = forget(libc::SYS_membarrier) {
                return say(format!("no filter: {error}"));
            }
            role
        }
    };
    match role {
        "ask" => {
            ask(&builder(&folder).create("there").unwrap(), builder(&folder).create("back").unwrap());
        }
        "threads" => {
            say("ready");
            exchange_between_sleeping_threads();
        }
        "publish" => say(time_of_publishing()),
        "produce" => {
            let _tx = builder(&folder).create("there").unwrap().producer().unwrap();
            say("ready");
            std::thread::sleep(common::PATIENCE);
        }
        "wait" => {
            let mut rx = Link::open_in(&folder, "there").unwrap().consumer().unwrap().with_wait(AT_ONCE);
            say("ready");
            say(nix::unistd::gettid());
            read(&mut rx, 1);
        }
        "wait, and call no barrier" => {
            let mut rx = Link::open_in(&folder, "there").unwrap().consumer().unwrap().with_wait(AT_ONCE);
            if let Err(error) = forbid(libc::SYS_membarrier) {
                return say(format!("no filter: {error}"));
            }
            say("ready");
            read(&mut rx, 1);
        }
        // Answers each fragment of `there` by one of `back`.
        "echo" => {
            // The producer first: once the other process finds this consumer, it waits for an answer.
            let tx = Link::open_in(&folder, "back").unwrap().producer().unwrap().with_wait(AT_ONCE);
            let mut rx = Link::open_in(&folder, "there").unwrap().consumer().unwrap().with_wait(AT_ONCE);
            say("ready");
            while let Some(fragment) = rx.wait().unwrap() {
                tx.send(fragment.payload.as_slice()).unwrap();
            }
        }
        "producer" => {
            let link = builder(&folder).create("quotes").unwrap();
            let tx = link.producer().unwrap();
            say("ready");
            assert!(tx.wait_for_consumers(1, None));
            until(|| is_asleep(&link, 0));
            publish(&tx, MTU).unwrap();
            std::thread::sleep(common::PATIENCE);
        }
        "blocked producer" => {
            let link = builder(&folder).create("quotes").unwrap();
            let tx = link.producer().unwrap().with_wait(AT_ONCE);
            say("ready");
            assert!(tx.wait_for_consumers(1, None));
            for _ in 0..40 {
                publish_blocking(&tx, MTU);
            }
        }
        "consumer" => {
            let rx = Link::open_in(&folder, "quotes").unwrap().consumer().unwrap();
            say("ready");
            std::thread::sleep(common::PATIENCE);
            drop(rx);
        }
        other => panic!("no role {other}"),
    }
}

/// Every exchange needs two wakeups, in two processes. A lost one costs a slice of 50 ms, so many of them
/// would exceed the bound.
#[test]
fn exchanges_between_processes_lose_no_wakeup() {
    in_time(|| {
        let folder = TestFolder::new();
        let asking = Child::start_ready("ask", &folder);
        let answering = Child::start_ready("echo", &folder);
        asking.succeeds();
        answering.succeeds();
    });
}

/// Describes the nanoseconds that publishing a fragment of 64 bytes takes, alone and in a batch.
fn time_of_publishing() -> String {
    const BATCH: [&[u8]; 32] = [&[7; 64]; 32];
    let link = Link::builder().depth(1024).mtu(64).build().unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let alone = || {
        for bytes in BATCH {
            tx.publish(bytes, 0, 0, 0).unwrap();
        }
    };
    let together = || assert_eq!(tx.publish_batch(&BATCH, 0, 0), BATCH.len());
    let [alone, together] = [&alone as &dyn Fn(), &together].map(|publish| {
        let mut times: Vec<Duration> = (0..2000)
            .map(|_| {
                let begin = Instant::now();
                (0..16).for_each(|_| publish());
                let time = begin.elapsed();
                while rx.poll().unwrap().is_some() {}
                time
            })
            .collect();
        times.sort();
        times[times.len() / 2].as_nanos() / (16 * BATCH.len() as u128)
    });
    format!("{alone} ns alone, {together} ns in batches of {}", BATCH.len())
}

/// What membarrier saves a producer. Measures only, and asserts nothing:
/// `cargo test --release -p rust-tango --test parking -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn what_a_fence_costs() {
    let folder = TestFolder::new();
    for role in ["publish", "publish without the barrier"] {
        println!("{role}: {}", Child::start(role, &folder).hear());
    }
}

/// Without membarrier, a party runs its own fences. While the other side relies on membarrier, it sleeps only
/// briefly, because it may miss a wakeup.
#[test]
fn no_wakeup_is_lost_without_the_kernel_barrier() {
    in_time(|| {
        const WITHOUT: &str = " without the barrier";
        for (asks, answers) in [(WITHOUT, WITHOUT), (WITHOUT, ""), ("", WITHOUT)] {
            let folder = TestFolder::new();
            let mut parties = Vec::new();
            for role in [format!("ask{asks}"), format!("echo{answers}")] {
                let mut party = Child::start(&role, &folder);
                match party.hear().as_str() {
                    "ready" => parties.push(party),
                    why => return skip(why),
                }
            }
            parties.into_iter().for_each(Child::succeeds);
        }
        let folder = TestFolder::new();
        Child::start_ready("threads without the barrier", &folder).succeeds();
    });
}

/// Whether this kernel offers membarrier.
fn has_barrier() -> bool {
    // SAFETY: takes no memory.
    let offers = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_QUERY, 0, 0) };
    offers > 0 && offers & libc::c_long::from(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0
}

/// Membarrier does not fence a process that has not registered for it.
#[test]
fn a_party_relies_on_the_barrier_only_if_it_has_registered() {
    in_time(|| {
        for (role, relies) in [("produce", has_barrier()), ("produce without the barrier", false)] {
            let folder = TestFolder::new();
            let mut child = Child::start(role, &folder);
            match child.hear().as_str() {
                "ready" => {}
                why => return skip(why),
            }
            // The word `relies` in the producer's eventcount: `Head` begins at 128, and the eventcount is
            // its second pair of lines.
            let tx = std::fs::read(folder.path().join("there/tx")).unwrap();
            let word = u64::from_ne_bytes(tx[128 + 128 + 8..][..8].try_into().unwrap());
            assert_eq!(word != 0, relies, "{role}");
        }
    });
}

/// Beside a producer that relies on membarrier. Here, the call kills the reader.
#[test]
fn a_reader_calls_the_barrier_before_it_sleeps() {
    in_time(|| {
        if !has_barrier() {
            return skip("this kernel has no membarrier");
        }
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("there").unwrap();
        let _tx = link.producer().unwrap();
        let mut child = Child::start("wait, and call no barrier", &folder);
        match child.hear().as_str() {
            "ready" => {}
            why => return skip(why),
        }
        assert_eq!(child.ends().signal(), Some(libc::SIGSYS));
    });
}

/// A reader sleeps where its producer can wake it, also without membarrier beside a producer that relies on it.
#[test]
fn a_reader_with_or_without_the_barrier_sleeps_where_it_is_woken() {
    in_time(|| {
        for role in ["wait", "wait without the barrier"] {
            let folder = TestFolder::new();
            let link = builder(folder.path()).create("there").unwrap();
            let tx = link.producer().unwrap();
            let mut child = Child::start(role, &folder);
            match child.hear().as_str() {
                "ready" => {}
                why => return skip(why),
            }
            if !has_barrier() {
                return skip("this kernel has no membarrier");
            }
            let path = format!("/proc/{}/task/{}/syscall", child.id(), child.hear());
            let mut asleep = 0;
            for _ in 0..200 {
                std::thread::sleep(Duration::from_millis(1));
                match std::fs::read_to_string(&path) {
                    Ok(call) => asleep += u32::from(call.starts_with(&format!("{} ", libc::SYS_futex))),
                    Err(why) => return skip(&why.to_string()),
                }
            }
            assert!(asleep > 0, "{role}: on a futex in none of 200 samples");
            publish(&tx, MTU).unwrap();
            child.succeeds();
        }
    });
}

#[test]
fn a_producer_sleeps_until_it_has_credits() {
    in_time(|| {
        let folder = TestFolder::new();
        let child = Child::start_ready("blocked producer", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap();
        until(|| link.status().next == 9);
        for seq in 1..=40 {
            std::thread::sleep(Duration::from_millis(1));
            assert_is(&rx.wait().unwrap().unwrap(), seq, MTU);
        }
        assert!(rx.wait().unwrap().is_none());
        child.succeeds();
    });
}

#[test]
fn timeouts_of_a_producer_are_kept() {
    in_time(|| {
        let folder = TestFolder::new();
        waiting::producer_timeouts_are_kept(|| builder(folder.path()).create("quotes").unwrap());
    });
}

#[test]
fn the_end_wakes_everyone() {
    in_time(|| {
        let folder = TestFolder::new();
        waiting::the_end_wakes(|| builder(folder.path()).create("quotes").unwrap());
    });
}

#[test]
fn a_stop_wakes_everyone() {
    in_time(|| {
        let folder = TestFolder::new();
        waiting::a_stop_wakes(|| builder(folder.path()).create("quotes").unwrap());
    });
}

#[test]
fn the_death_of_the_other_side_wakes() {
    in_time(|| {
        let folder = TestFolder::new();
        let child = Child::start_ready("producer", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
        read(&mut rx, 1);
        let waiting = std::thread::spawn(move || rx.wait().unwrap_err());
        until(|| is_asleep(&link, 0));
        child.kill();
        assert_eq!(waiting.join().unwrap(), TangoError::ProducerGone);

        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap().with_wait(AT_ONCE);
        let child = Child::start_ready("consumer", &folder);
        let blocked = std::thread::spawn(move || {
            for _ in 0..20 {
                publish_blocking(&tx, MTU);
            }
        });
        until(|| link.status().held_by == Some(0));
        std::thread::sleep(Duration::from_millis(120));
        assert!(!blocked.is_finished());
        child.kill();
        blocked.join().unwrap();
        assert_eq!((link.status().reaped, link.status().held_by), (1, None));

        // A producer that waits with a timeout reaps dead consumers, too.
        let tx = link.producer().unwrap().with_wait(AT_ONCE);
        let child = Child::start_ready("consumer", &folder);
        while publish(&tx, MTU).is_ok() {}
        child.kill();
        tx.publish_timeout(b"", 0, 0, 0, Duration::from_secs(100)).unwrap();
        assert_eq!((link.status().reaped, link.status().held_by), (2, None));
    });
}

/// A process that is killed asleep leaves its words in that state. The next owner of the slot is woken
/// nevertheless.
#[test]
fn a_new_owner_does_not_inherit_the_sleep_of_a_dead_one() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("there").unwrap();
        let tx = link.producer().unwrap();
        let back = builder(folder.path()).create("back").unwrap();
        drop(back);
        let child = Child::start_ready("echo", &folder);
        until(|| is_asleep(&link, 0));
        child.kill();
        assert!(is_asleep(&link, 0), "its words still say so");
        let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
        assert!(!is_asleep(&link, 0));
        for _ in 0..20 {
            let reader = std::thread::spawn(move || {
                read(&mut rx, 1);
                rx
            });
            until(|| is_asleep(&link, 0));
            let begin = Instant::now();
            publish(&tx, MTU).unwrap();
            rx = reader.join().unwrap();
            assert!(begin.elapsed() < Duration::from_secs(1));
        }
    });
}

#[test]
fn an_idle_party_takes_less_than_a_hundredth_of_a_core() {
    in_time(|| {
        const IDLE: Duration = Duration::from_secs(2);
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap().with_wait(Wait::Park);
        let readers = [
            link.consumer().unwrap(),
            link.evictable_consumer(Start::Next).unwrap(),
            link.observer().unwrap(),
        ]
        .map(|reader| {
            let mut reader = reader.with_wait(Wait::Park);
            std::thread::spawn(move || {
                assert_uses_less(IDLE / 100, UsageWho::RUSAGE_THREAD, || {
                    assert!(reader.wait_timeout(IDLE).unwrap().is_none());
                });
                reader
            })
        });
        let readers = readers.map(|reader| reader.join().unwrap());
        let blocked = std::thread::spawn(move || {
            let tx: Producer<'_> = tx.with_patience(Duration::from_secs(60));
            (0..8).for_each(|_| publish_blocking(&tx, MTU));
            assert_uses_less(IDLE / 100, UsageWho::RUSAGE_THREAD, || {
                let late = tx.publish_timeout(b"no credit", 0, 0, 0, IDLE);
                assert_eq!(late.unwrap_err(), TangoError::NoCredits);
            });
        });
        blocked.join().unwrap();
        drop(readers);
    });
}
