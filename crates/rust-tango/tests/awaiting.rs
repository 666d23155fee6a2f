//! Between processes, fragments can be awaited under any executor, and the descriptor of a reader can be
//! polled. No wakeup is lost, even when a future is dropped. Ends, deaths and takeovers wake a reader, too.
//! An idle reader takes no processor time. For links on the heap, see `awaiting_between_threads`.
#![cfg(all(feature = "async", target_os = "linux", not(miri)))]

mod common;

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use common::executor::{self, EXECUTORS, Executor, KINDS, block_on, poll_once, tokio_on_this_thread};
use common::process::{Child, TestFolder, assert_uses_less, is_told, role, say};
use common::waiting::{MTU, is_asleep, until};
use common::{Random, assert_is, in_time, publish, publish_blocking};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::resource::UsageWho;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;
use rust_tango::{AsyncConsumer, Link, LinkBuilder, Producer, Start, TangoError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(2).dir(folder)
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    match role.as_str() {
        // Answers each fragment of `there` by one of `back`.
        "echo" => block_on(async {
            let rx = Link::open_in(&folder, "there").unwrap().consumer().unwrap();
            let mut rx = rx.into_async().unwrap();
            let tx = Link::open_in(&folder, "back").unwrap().producer().unwrap();
            say("ready");
            while let Some(fragment) = rx.recv().await.unwrap() {
                tx.send(fragment.payload.as_slice()).unwrap();
            }
        }),
        "producer" => {
            let link = builder(&folder).create("quotes").unwrap();
            let tx = link.producer().unwrap();
            say("ready");
            assert!(tx.wait_for_consumers(1, None));
            until(|| is_told("publish") && is_asleep(&link, 0));
            publish(&tx, MTU).unwrap();
            std::thread::sleep(common::PATIENCE);
        }
        // In a process of its own, because the processor time of the watcher counts, too.
        "idle" => {
            const IDLE: Duration = Duration::from_secs(2);
            let link = Link::open_in(&folder, "quotes").unwrap();
            let runtime = tokio_on_this_thread();
            for kind in KINDS {
                let mut rx = kind(&link).unwrap().into_async().unwrap();
                assert_uses_less(IDLE / 100, UsageWho::RUSAGE_SELF, || {
                    let timeout = async { tokio::time::timeout(IDLE, rx.recv()).await.is_err() };
                    assert!(runtime.block_on(timeout));
                });
            }
        }
        other => panic!("no role {other}"),
    }
}

/// Every exchange involves four threads, and each of them must be woken. A task that is not woken would hang.
/// A watcher that is not woken would cause a pause of 50 ms.
#[test]
fn exchanges_between_processes_lose_no_wakeup() {
    in_time(|| {
        let folder = TestFolder::new();
        let there = builder(folder.path()).create("there").unwrap();
        let back = builder(folder.path()).create("back").unwrap();
        let tx = there.producer().unwrap();
        let rx = back.consumer().unwrap().into_async().unwrap();
        drop(back); // so that the child can be its producer
        let child = Child::start_ready("echo", &folder);
        const ROUNDS: u64 = 4000;
        let (mut ends, mut late) = tokio_on_this_thread().block_on(exchange(ROUNDS, (tx, rx)));
        for executor in &EXECUTORS[1..] {
            let (used, more) = executor.run(exchange(ROUNDS / 4, ends));
            (ends, late) = (used, late + more);
        }
        assert!(late < ROUNDS / 100, "{late} exchanges took a slice");
        drop(ends);
        child.succeeds();
    });
}

/// Returns the ends, and how many rounds took as long as a slice.
async fn exchange(
    rounds: u64,
    (tx, mut rx): (Producer<'static>, AsyncConsumer),
) -> ((Producer<'static>, AsyncConsumer), u64) {
    let (mut random, mut late) = (Random::new(7), 0);
    for round in 0..rounds {
        let begin = Instant::now();
        tx.send(&round.to_le_bytes()).unwrap();
        let answer = rx.recv().await.unwrap().unwrap();
        assert_eq!(answer.payload.as_slice(), round.to_le_bytes());
        late += u64::from(begin.elapsed() >= Duration::from_millis(45));
        drop(answer);
        // Meet the other process, and both watchers, at all stages of falling asleep.
        for _ in 0..random.below(3000) {
            std::hint::spin_loop();
        }
    }
    ((tx, rx), late)
}

/// Readers on several threads of one runtime give up waiting at random, in every possible way.
#[test]
fn readers_that_stop_waiting_lose_nothing() {
    in_time(|| {
        for executor in EXECUTORS {
            let folder = TestFolder::new();
            let links = [
                executor::on_heap(),
                executor::on_heap(),
                builder(folder.path()).create("a").unwrap(),
                builder(folder.path()).create("b").unwrap(),
            ];
            let count = if executor == Executor::Tokio { 4000 } else { 1000 };
            let mut producers = Vec::new();
            let mut readers: Vec<executor::Task> = Vec::new();
            for (seed, link) in links.iter().enumerate() {
                let seed = seed as u64;
                for number in 0..2 {
                    let rx = link.consumer().unwrap().into_async().unwrap();
                    readers.push(Box::pin(read_with_interruptions(executor, rx, seed * 2 + number, count)));
                }
                let tx = link.producer().unwrap();
                producers.push(std::thread::spawn(move || {
                    let mut random = Random::new(100 + seed);
                    for _ in 0..count {
                        publish_blocking(&tx, MTU);
                        if random.below(8) == 0 {
                            std::thread::sleep(Duration::from_micros(random.below(100)));
                        }
                    }
                }));
            }
            executor.run_all(readers);
            producers.into_iter().for_each(|producer| producer.join().unwrap());
        }
    });
}

async fn read_with_interruptions(executor: Executor, mut rx: AsyncConsumer, seed: u64, count: u64) {
    let mut random = Random::new(seed);
    let mut seq = 1;
    while seq <= count {
        match random.below(4) {
            0 => {
                let wait = Duration::from_micros(random.below(300));
                let recv = async { rx.recv().await.map(|fragment| assert_is(&fragment.unwrap(), seq, MTU)) };
                if let Some(read) = executor.timeout(wait, recv).await {
                    read.unwrap();
                    seq += 1;
                }
            }
            1 => seq += u64::from(poll_once(&mut rx, seq).await),
            2 => {
                if let Some(fragment) = rx.poll().unwrap() {
                    assert_is(&fragment, seq, MTU);
                    seq += 1;
                }
            }
            _ => {
                assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
                seq += 1;
            }
        }
    }
    assert!(rx.recv().await.unwrap().is_none());
    assert!(rx.is_closed() && rx.poll().unwrap().is_none());
}

#[test]
fn tokio_watches_the_descriptor() {
    const COUNT: u64 = 4000;
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let readers = [link.consumer().unwrap(), link.evictable_consumer(Start::Next).unwrap()];
        let producer = std::thread::spawn(move || {
            let tx = tx.with_patience(common::PATIENCE);
            let mut random = Random::new(3);
            for _ in 0..COUNT {
                publish_blocking(&tx, MTU);
                if random.below(4) == 0 {
                    std::thread::sleep(Duration::from_micros(random.below(100)));
                }
            }
        });
        tokio_on_this_thread().block_on(async {
            let tasks = readers.map(|rx| {
                let rx = rx.into_async().unwrap();
                // SAFETY: a reader has one descriptor, and closes it only when it is dropped.
                let rx = unsafe { AsyncFd::register_with_interest(rx, Interest::READABLE) };
                tokio::spawn(read_by_descriptor(rx.unwrap()))
            });
            for task in tasks {
                assert_eq!(task.await.unwrap(), COUNT);
            }
        });
        producer.join().unwrap();
    });
}

/// Returns how many fragments came until the link was closed.
async fn read_by_descriptor(mut rx: AsyncFd<AsyncConsumer>) -> u64 {
    let mut seq = 1;
    loop {
        let mut guard = rx.readable_mut().await.unwrap();
        while let Some(fragment) = guard.get_inner_mut().poll().unwrap() {
            assert_is(&fragment, seq, MTU);
            seq += 1;
        }
        if guard.get_inner().is_closed() {
            return seq - 1;
        }
        guard.clear_ready();
    }
}

#[test]
fn smol_watches_the_descriptor() {
    const COUNT: u64 = 1000;
    in_time(|| {
        let link = executor::on_heap();
        let tx = link.producer().unwrap();
        let rx = link.consumer().unwrap().into_async().unwrap();
        let producer = std::thread::spawn(move || (0..COUNT).for_each(|_| publish_blocking(&tx, MTU)));
        smol::block_on(async {
            let mut rx = smol::Async::new_nonblocking(rx).unwrap();
            let mut seq = 1;
            loop {
                rx.readable().await.unwrap();
                // SAFETY: the reader is not replaced, so its descriptor stays the same.
                let rx = unsafe { rx.get_mut() };
                while let Some(fragment) = rx.poll().unwrap() {
                    assert_is(&fragment, seq, MTU);
                    seq += 1;
                }
                if rx.is_closed() {
                    break assert_eq!(seq, COUNT + 1);
                }
            }
        });
        producer.join().unwrap();
    });
}

/// Whether the descriptor is readable now, or becomes readable within the time.
fn is_readable(rx: &AsyncConsumer, within: Duration) -> bool {
    let mut descriptors = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut descriptors, PollTimeout::try_from(within).unwrap()).unwrap() == 1
}

#[test]
fn the_descriptor_is_readable_when_there_is_something_to_read() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut child = Child::start_ready("producer", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let patience = Duration::from_secs(30);
        // Long enough for the watcher to check whether the producer lives. That check alone must not wake the
        // reader.
        let moment = Duration::from_millis(120);

        assert!(is_readable(&rx, Duration::ZERO), "before the first poll");
        assert!(rx.poll().unwrap().is_none());
        child.tell("publish");
        assert!(is_readable(&rx, patience), "a fragment");
        assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
        assert!(rx.poll().unwrap().is_none() && !rx.is_closed());
        assert!(!is_readable(&rx, moment), "nothing");
        assert!(rx.poll().unwrap().is_none());
        assert!(!is_readable(&rx, moment), "still nothing");

        child.kill();
        assert!(is_readable(&rx, patience), "a death");
        assert_eq!(rx.poll().unwrap_err(), TangoError::ProducerGone);
        let tx = link.producer().unwrap();
        assert!(is_readable(&rx, Duration::ZERO), "after an error");
        assert_eq!(rx.poll().unwrap_err(), TangoError::ProducerReplaced { first: 2 });
        assert!(rx.poll().unwrap().is_none());
        assert!(!is_readable(&rx, moment), "a new producer, but nothing new from it");

        // While a task awaits, its waker is used, and the descriptor is not.
        block_on(async { assert!(!poll_once(&mut rx, 2).await) });
        assert!(is_readable(&rx, Duration::ZERO), "after the task has stopped waiting");
        assert!(rx.poll().unwrap().is_none());
        assert!(!is_readable(&rx, Duration::ZERO));

        publish(&tx, MTU).unwrap();
        assert!(is_readable(&rx, patience), "another fragment");
        assert_is(&rx.poll().unwrap().unwrap(), 2, MTU);
        assert!(rx.poll().unwrap().is_none());
        drop(tx);
        assert!(is_readable(&rx, patience), "the end");
        assert!(rx.poll().unwrap().is_none() && rx.is_closed());
        assert!(is_readable(&rx, Duration::ZERO), "and stays readable");
    });
}

#[test]
fn a_takeover_between_polls_is_reported() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut child = Child::start_ready("producer", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        child.tell("publish");
        block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU) });
        child.kill();
        let tx = link.producer().unwrap();
        block_on(async {
            assert_eq!(rx.recv().await.unwrap_err(), TangoError::ProducerReplaced { first: 2 });
            publish(&tx, MTU).unwrap();
            assert_is(&rx.recv().await.unwrap().unwrap(), 2, MTU);
        });
    });
}

#[test]
fn ends_and_deaths_wake_async_readers() {
    in_time(|| {
        let folder = TestFolder::new();
        executor::ends_wake_readers(|| builder(folder.path()).create("quotes").unwrap());

        let mut child = Child::start_ready("producer", &folder);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let mut observer = link.observer_from(Start::At(2)).unwrap().into_async().unwrap();
        child.tell("publish");
        block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU) });
        let waiting = [
            std::thread::spawn(move || block_on(async { rx.recv().await.unwrap_err() })),
            std::thread::spawn(move || block_on(async { observer.recv().await.unwrap_err() })),
        ];
        until(|| is_asleep(&link, 0));
        child.kill();
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), TangoError::ProducerGone);
        }
    });
}

/// A forked child has the reader but not its thread. It may drop the reader without effect on the parent.
#[test]
fn a_forked_child_can_drop_a_reader() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        assert!(rx.poll().unwrap().is_none());
        until(|| is_asleep(&link, 0));
        // SAFETY: the child drops what it has inherited, and ends without returning.
        match unsafe { nix::unistd::fork() }.unwrap() {
            ForkResult::Child => {
                drop(rx);
                // SAFETY: ends this process at once, without running any code of the parent's.
                unsafe { nix::libc::_exit(7) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
            }
        }
        assert!(!is_readable(&rx, Duration::from_millis(60)));
        publish(&tx, MTU).unwrap();
        assert!(is_readable(&rx, Duration::from_secs(30)));
        block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU) });
        assert!(is_readable(&rx, Duration::ZERO));
    });
}

#[test]
fn an_idle_reader_takes_less_than_a_hundredth_of_a_core() {
    let folder = TestFolder::new();
    let link = builder(folder.path()).create("quotes").unwrap();
    let _tx = link.producer().unwrap();
    Child::start("idle", &folder).succeeds();
}
