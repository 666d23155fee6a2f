//! Credits can be awaited under any executor, between threads and between processes. No wakeup is lost, a dropped
//! future sends nothing, and what it was to send can be sent again. How else a wait ends is in `waits_for_credits_end`.
#![cfg(all(feature = "async", target_os = "linux", not(miri)))]

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::executor::{self, EXECUTORS, block_on};
use common::kernel::forget;
use common::process::{Child, TestFolder, assert_uses_less, role, say, skip};
use common::producers::{Count, full, link_with_reader, producer, send, small_ring, try_send, wait_with};
use common::waiting::{AT_ONCE, MTU, is_asleep, read, until};
use common::{Random, assert_is, in_time};
use nix::libc;
use nix::sys::resource::UsageWho;
use rust_tango::{AsyncConsumer, AsyncProducer, Link, Meta, TangoError};

/// What the kernel of a child does not know.
const FILTERS: [(&str, &[libc::c_long]); 2] =
    [(" on one word", &[libc::SYS_futex_waitv]), (" without the barrier", &[libc::SYS_membarrier])];

#[test]
fn child() {
    let Some((all, folder)) = role() else { return };
    let mut role = all.as_str();
    for (suffix, calls) in FILTERS {
        if let Some(rest) = role.strip_suffix(suffix) {
            role = rest;
            for call in calls {
                if let Err(error) = forget(*call) {
                    return say(format!("no filter: {error}"));
                }
            }
        }
    }
    match role {
        // Answers each fragment of `there` by one of `back`, in rings of two slots.
        "echo" => block_on(async {
            let mut rx = Link::open_in(&folder, "there").unwrap().consumer().unwrap().into_async().unwrap();
            let link = Link::open_in(&folder, "back").unwrap();
            let mut tx = link.producer().unwrap().into_async().unwrap();
            say("ready");
            while let Some(fragment) = rx.recv().await.unwrap() {
                let FragmentCopy(bytes, meta) = FragmentCopy::of(&fragment);
                drop(fragment);
                tx.send_with(&bytes, meta).await.unwrap();
            }
        }),
        "slow reader" => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
            say("ready");
            let mut random = Random::new(3);
            let mut seq = 1;
            while let Some(fragment) = rx.wait().unwrap() {
                assert_is(&fragment, seq, MTU);
                drop(fragment);
                seq += 1;
                if random.below(8) == 0 {
                    std::thread::sleep(Duration::from_micros(random.below(100)));
                }
            }
            say(seq.to_string());
        }
        "exchange" => {
            // A nap takes a millisecond at least.
            exchanges(if role == all { 2000 } else { 200 });
            say("done");
        }
        // In a process of its own, because the processor time of the watcher counts, too.
        "idle" => {
            const IDLE: Duration = Duration::from_secs(2);
            let links: Vec<_> = (0..32).map(|_| small_ring().build().unwrap()).collect();
            let _readers: Vec<_> = links.iter().map(|link| link.consumer().unwrap()).collect();
            let mut producers: Vec<_> = links.iter().map(full).collect();
            let woken = Arc::new(Count::default());
            producers.iter_mut().for_each(|tx| wait_with(tx, &woken));
            assert_uses_less(IDLE / 100, UsageWho::RUSAGE_SELF, || std::thread::sleep(IDLE));
            assert_eq!(woken.get(), 0);
            say("done");
        }
        other => panic!("no role {other}"),
    }
}

/// Plays a role in a process of its own, with this kernel and with some that know less.
fn play(role: &str, filters: &[&str]) {
    for filter in filters {
        let role = format!("{role}{filter}");
        in_time(move || {
            let folder = TestFolder::new();
            let mut child = Child::start(&role, &folder);
            match child.hear().as_str() {
                "done" => {}
                why => skip(why),
            }
            child.succeeds();
        });
    }
}

struct FragmentCopy(Vec<u8>, Meta);

impl FragmentCopy {
    fn of(fragment: &rust_tango::Fragment<'_>) -> Self {
        let meta = fragment.meta;
        let with = Meta::new().sig(meta.sig).ctl(meta.ctl).ts(meta.ts);
        Self(fragment.payload.as_slice().to_vec(), with)
    }
}

/// A producer awaits the credits of two readers of different pace, which sleep whenever there is nothing.
fn exchanges(count: u64) {
    for executor in EXECUTORS {
        let link = small_ring().build().unwrap();
        let readers = [1, 50].map(|pace| {
            let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
            std::thread::spawn(move || {
                for at in 0..count {
                    read(&mut rx, 1);
                    if at % pace == 0 {
                        std::thread::yield_now();
                    }
                }
                assert!(rx.wait().unwrap().is_none());
            })
        });
        let mut tx = producer(&link);
        executor.run(async move {
            for _ in 0..count {
                send(&mut tx).await.unwrap();
            }
        });
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }
}

#[test]
fn credits_of_other_threads_are_awaited() {
    play("exchange", &["", FILTERS[0].0, FILTERS[1].0]);
}

/// Every payload needs the granules of several others, so a credit is not enough, and many returned credits are not yet
/// what the producer waits for.
#[test]
fn room_for_large_payloads_is_awaited() {
    in_time(|| {
        for executor in EXECUTORS {
            let link = Link::builder().depth(64).mtu(4000).region(9000).consumers(1).build().unwrap();
            let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
            let reader = std::thread::spawn(move || {
                let mut sizes = Vec::new();
                while let Some(fragment) = rx.wait().unwrap() {
                    sizes.push(fragment.payload.len());
                }
                sizes
            });
            let mut tx = producer(&link);
            let sizes: Vec<_> = (0..500).map(|n| if n % 20 == 19 { 4000 } else { 300 }).collect();
            let expected = sizes.clone();
            executor.run(async move {
                for size in sizes {
                    tx.send(&vec![7; size]).await.unwrap();
                }
            });
            assert_eq!(reader.join().unwrap(), expected);
        }
    });
}

#[test]
fn credits_of_another_process_are_awaited() {
    const COUNT: u64 = 3000;
    in_time(|| {
        for executor in EXECUTORS {
            let folder = TestFolder::new();
            let link = small_ring().dir(folder.path()).create("quotes").unwrap();
            let mut tx = producer(&link);
            let mut child = Child::start_ready("slow reader", &folder);
            executor.run(async move {
                for _ in 0..COUNT {
                    send(&mut tx).await.unwrap();
                }
                assert!(tx.wait_until_drained().await);
            });
            assert_eq!(child.hear(), (COUNT + 1).to_string());
            child.succeeds();
        }
    });
}

/// There are more fragments under way than the rings hold, so both producers have to await credits all the time.
#[test]
fn both_ends_are_awaited_in_both_processes() {
    const COUNT: u64 = 4000;
    in_time(|| {
        let folder = TestFolder::new();
        let there = small_ring().dir(folder.path()).create("there").unwrap();
        let back = small_ring().dir(folder.path()).create("back").unwrap();
        let mut tx = producer(&there);
        let mut rx = back.consumer().unwrap().into_async().unwrap();
        drop(back); // so that the child can be its producer
        let child = Child::start_ready("echo", &folder);
        let sender = std::thread::spawn(move || {
            block_on(async {
                for _ in 0..COUNT {
                    send(&mut tx).await.unwrap();
                }
            });
        });
        block_on(async {
            for seq in 1..=COUNT {
                assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
            }
            assert!(rx.recv().await.unwrap().is_none());
        });
        sender.join().unwrap();
        child.succeeds();
    });
}

async fn pass_on(mut rx: AsyncConsumer, mut tx: AsyncProducer) {
    while let Some(fragment) = rx.recv().await.unwrap() {
        let FragmentCopy(bytes, meta) = FragmentCopy::of(&fragment);
        drop(fragment);
        tx.send_with(&bytes, meta).await.unwrap();
    }
}

/// A -> B -> C, in rings of two slots: each stage stops for the one before it and for the one behind it.
#[test]
fn stages_of_a_pipeline_await_each_other() {
    const COUNT: u64 = 3000;
    in_time(|| {
        for executor in EXECUTORS {
            let links: [Link; 3] = std::array::from_fn(|_| small_ring().build().unwrap());
            let [mut first, second, third] = links.each_ref().map(producer);
            let [a, b, mut last] =
                links.each_ref().map(|link| link.consumer().unwrap().into_async().unwrap());
            executor.run_all(vec![
                Box::pin(async move {
                    for _ in 0..COUNT {
                        send(&mut first).await.unwrap();
                    }
                }),
                Box::pin(pass_on(a, second)),
                Box::pin(pass_on(b, third)),
                Box::pin(async move {
                    for seq in 1..=COUNT {
                        assert_is(&last.recv().await.unwrap().unwrap(), seq, MTU);
                    }
                    assert!(last.recv().await.unwrap().is_none());
                }),
            ]);
        }
    });
}

/// Producers give up at random, in every possible way. Each fragment arrives once, in order.
#[test]
fn a_dropped_future_sends_nothing_and_loses_nothing() {
    const COUNT: u64 = 3000;
    in_time(|| {
        for (seed, executor) in (0..).zip(EXECUTORS) {
            let link = small_ring().build().unwrap();
            let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
            let reader = std::thread::spawn(move || {
                let mut random = Random::new(50 + seed);
                for seq in 1..=COUNT {
                    assert_is(&rx.wait().unwrap().unwrap(), seq, MTU);
                    if random.below(4) == 0 {
                        std::thread::sleep(Duration::from_micros(random.below(100)));
                    }
                }
                assert!(rx.wait().unwrap().is_none());
            });
            let mut tx = producer(&link);
            executor.run(async move {
                let mut random = Random::new(seed);
                while tx.next_seq() <= COUNT {
                    let next = tx.next_seq();
                    let sent = match random.below(4) {
                        0 => {
                            let wait = Duration::from_micros(random.below(300));
                            executor.timeout(wait, send(&mut tx)).await
                        }
                        // Polled once.
                        1 => {
                            let mut sending = pin!(send(&mut tx));
                            let once = poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx)));
                            match once.await {
                                Poll::Ready(sent) => Some(sent),
                                Poll::Pending => None,
                            }
                        }
                        2 => Some(try_send(&mut tx)).filter(|sent| *sent != Err(TangoError::NoCredits)),
                        _ => Some(send(&mut tx).await),
                    };
                    assert!(sent.is_none_or(|sent| sent.is_ok()));
                    assert_eq!(tx.next_seq(), next + u64::from(sent.is_some()));
                }
            });
            reader.join().unwrap();
        }
    });
}

/// A dropped future leaves nothing behind that wakes its task, or keeps it alive.
#[test]
fn a_dropped_future_leaves_no_request() {
    in_time(|| {
        let link = small_ring().build().unwrap();
        let mut rx = link.consumer().unwrap();
        let mut tx = full(&link);
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        {
            let mut sending = pin!(send(&mut tx));
            assert!(sending.as_mut().poll(&mut cx).is_pending());
            assert_eq!(Arc::strong_count(&count), 3, "the watcher has one, too");
        }
        assert_eq!(Arc::strong_count(&count), 2, "the watcher has no waker");
        drop(rx.poll().unwrap().unwrap());
        assert!(tx.poll_ready(&mut cx, MTU).is_ready());
        assert_eq!(count.get(), 0);
    });
}

/// The task has moved to another thread, or another branch of it polls now.
#[test]
fn the_last_waker_is_woken() {
    in_time(|| {
        let (link, mut rx) = link_with_reader();
        let mut tx = full(&link);
        let [first, second] = [(); 2].map(|()| Arc::new(Count::default()));
        wait_with(&mut tx, &first);
        wait_with(&mut tx, &second);
        assert_eq!(Arc::strong_count(&first), 1, "the watcher has the second waker only");
        drop(rx.poll().unwrap().unwrap());
        until(|| second.get() == 1);
        assert_eq!(first.get(), 0);
        assert!(tx.poll_ready(&mut Context::from_waker(Waker::noop()), MTU).is_ready());
    });
}

/// The consumer that holds the producer back changes while the producer awaits it.
#[test]
fn the_slowest_consumer_may_change_between_polls() {
    in_time(|| {
        let link = small_ring().build().unwrap();
        let mut readers = [(); 2].map(|()| link.consumer().unwrap());
        let mut tx = full(&link);
        for round in 0..200 {
            let woken = Arc::new(Count::default());
            wait_with(&mut tx, &woken);
            let held_by = tx.held_by().unwrap();
            // The one that holds the producer back goes on, and then the other one does.
            drop(readers[held_by].poll().unwrap().unwrap());
            if round % 2 == 0 {
                until(|| woken.get() == 1);
            }
            let woken = Arc::new(Count::default());
            wait_with(&mut tx, &woken);
            assert_eq!(tx.held_by(), Some(1 - held_by));
            drop(readers[1 - held_by].poll().unwrap().unwrap());
            until(|| woken.get() == 1);
            try_send(&mut tx).unwrap();
        }
    });
}

#[test]
fn a_credit_that_was_awaited_stays() {
    in_time(|| {
        let (link, mut rx) = link_with_reader();
        let mut tx = full(&link);
        drop(rx.poll().unwrap().unwrap());
        block_on(tx.ready(MTU)).unwrap();
        block_on(tx.ready(MTU)).unwrap();
        let next = tx.next_seq();
        {
            let mut loan = tx.loan(MTU).unwrap();
            loan.write_at(0, &[1; MTU]);
            loan.commit(0, 0, 0).unwrap();
        }
        assert_eq!((tx.next_seq(), tx.publish(&[], 0, 0, 0)), (next + 1, Err(TangoError::NoCredits)));
        for _ in 0..2 {
            drop(rx.poll().unwrap().unwrap());
        }
        block_on(tx.ready(1)).unwrap();
        assert_eq!(tx.publish_batch(&[&[1], &[2], &[3]], 0, 0), 2);
    });
}

#[test]
fn consumers_and_their_progress_are_awaited() {
    in_time(|| {
        for executor in EXECUTORS {
            let link = small_ring().build().unwrap();
            let mut tx = producer(&link);
            let mut reader = None;
            {
                let waker = Waker::noop();
                let mut waiting = pin!(tx.wait_for_consumers(1));
                assert!(waiting.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
                let link = link.clone();
                reader.get_or_insert_with(|| {
                    std::thread::spawn(move || {
                        let mut rx = link.consumer().unwrap();
                        read(&mut rx, 2);
                        rx
                    })
                });
                assert!(block_on(waiting));
            }
            executor.run(async move {
                assert!(!tx.wait_for_consumers(3).await, "there are two slots");
                for _ in 0..2 {
                    send(&mut tx).await.unwrap();
                }
                assert!(tx.wait_until_drained().await && tx.is_drained());
            });
            drop(reader.map(|reader| reader.join().unwrap()));
        }
    });
}

/// A producer that always has a credit must not keep the executor from its other tasks.
#[test]
fn other_tasks_get_their_turn() {
    in_time(|| {
        const MANY: u64 = 1000;
        let link = small_ring().build().unwrap();
        let mut tx = producer(&link);
        executor::tokio_on_this_thread().block_on(async {
            let other = tokio::spawn(async {});
            let mut at = None;
            for seq in 1..=MANY {
                send(&mut tx).await.unwrap();
                if other.is_finished() {
                    at.get_or_insert(seq);
                }
            }
            assert!(at.is_some_and(|at| at < MANY), "{at:?}");
        });
    });
}

#[test]
fn waiting_producers_take_next_to_no_processor_time() {
    play("idle", &[""]);
}

/// Of both ends of one link, and of others, in one process: each waits at times.
#[test]
fn a_reader_of_the_same_link_shares_the_thread() {
    in_time(|| {
        let link = small_ring().build().unwrap();
        let mut tx = producer(&link);
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let [reader, writer] = [(); 2].map(|()| Arc::new(Count::default()));
        for round in 1..100 {
            let waker = Waker::from(reader.clone());
            assert!(rx.poll_next(&mut Context::from_waker(&waker)).is_pending());
            until(|| is_asleep(&link, 0));
            let first = tx.next_seq();
            while try_send(&mut tx).is_ok() {}
            wait_with(&mut tx, &writer);
            until(|| reader.get() == round);
            for seq in first..tx.next_seq() {
                assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
            }
            until(|| writer.get() == round);
        }
    });
}

/// The futures can be spawned on executors with several threads.
#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: T) {}
    let (link, _rx) = link_with_reader();
    let mut tx = producer(&link);
    is_send(tx.send(b""));
    is_send(tx.send_with(b"", Meta::new()));
    is_send(tx.ready(1));
    is_send(tx.wait_for_consumers(1));
    is_send(tx.wait_until_drained());
    is_send(tx);
}
