//! Deaths, evictions and stops end the wait of an async producer for credits. It can go back to blocking, and be dropped
//! in a forked child.
#![cfg(all(feature = "async", target_os = "linux", not(miri)))]

mod common;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::executor::{EXECUTORS, block_on};
use common::process::{Child, TestFolder, role, say};
use common::producers::{
    Count, full, is_held, link_with_reader, producer, send, small_ring, try_send, wait_with,
};
use common::waiting::{AT_ONCE, MTU, until};
use common::{assert_is, in_time};
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::ForkResult;
use rust_tango::{Link, Start, TangoError};

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    match role.as_str() {
        "holds" => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            let _rx = link.consumer().unwrap();
            say("ready");
            std::thread::sleep(common::PATIENCE);
        }
        other => panic!("no role {other}"),
    }
}

#[test]
fn the_death_of_the_reader_ends_the_wait() {
    in_time(|| {
        for executor in EXECUTORS {
            let folder = TestFolder::new();
            let link = small_ring().dir(folder.path()).create("quotes").unwrap();
            let mut tx = producer(&link);
            let child = Child::start_ready("holds", &folder);
            let waiting = std::thread::spawn(move || {
                executor.run(async move {
                    for _ in 0..3 {
                        send(&mut tx).await.unwrap();
                    }
                });
            });
            until(|| is_held(&link));
            child.kill();
            waiting.join().unwrap();
            assert_eq!(link.status().reaped, 1);
        }
    });
}

#[test]
fn an_evictable_reader_that_hangs_is_evicted() {
    in_time(|| {
        for executor in EXECUTORS {
            let link = small_ring().build().unwrap();
            let tx = link.producer().unwrap().with_patience(Duration::from_millis(20));
            let mut tx = tx.into_async().unwrap();
            let mut rx = link.evictable_consumer(Start::Next).unwrap();
            executor.run(async move {
                for _ in 0..3 {
                    send(&mut tx).await.unwrap();
                }
            });
            assert!(matches!(rx.poll(), Err(TangoError::Evicted { .. })));
            assert_eq!(link.status().evicted, 1);
        }
    });
}

/// It may take as long as it likes. The one beside it, which does not hold the producer back, is no reason to evict.
#[test]
fn leaving_ends_the_wait() {
    in_time(|| {
        for executor in EXECUTORS {
            let (link, rx) = link_with_reader();
            let mut tx = full(&link);
            let waiting =
                std::thread::spawn(move || executor.run(async move { send(&mut tx).await.unwrap() }));
            until(|| is_held(&link));
            drop(rx);
            waiting.join().unwrap();
        }
    });
}

#[test]
fn a_stop_ends_the_wait() {
    in_time(|| {
        for executor in EXECUTORS {
            let (link, _rx) = link_with_reader();
            let mut tx = full(&link);
            let waiting = std::thread::spawn(move || {
                executor.run(async move {
                    assert_eq!(send(&mut tx).await, Err(TangoError::Closed));
                    assert_eq!(tx.ready(0).await, Err(TangoError::Closed));
                    assert!(tx.is_stopped() && !tx.wait_until_drained().await);
                });
            });
            until(|| is_held(&link));
            common::waiting::allow_time_to_fall_asleep();
            link.stop().unwrap();
            waiting.join().unwrap();
        }
    });
}

#[test]
fn payloads_that_never_fit_are_refused_at_once() {
    let (link, _rx) = link_with_reader();
    let mut tx = full(&link);
    let too_large = Err(TangoError::TooLarge { size: MTU + 1, max: MTU });
    block_on(async {
        assert_eq!(tx.send(&[0; MTU + 1]).await, too_large);
        assert_eq!(tx.ready(MTU + 1).await, too_large);
    });
}

#[test]
fn a_producer_can_go_back_to_blocking() {
    in_time(|| {
        let (link, mut rx) = link_with_reader();
        let mut tx = full(&link).into_inner().with_wait(AT_ONCE);
        for seq in 1..50 {
            let mut awaiting = tx.into_async().unwrap();
            if seq % 2 == 0 {
                wait_with(&mut awaiting, &Arc::new(Count::default()));
            }
            tx = awaiting.into_inner();
            let sender = std::thread::spawn(move || {
                common::publish_blocking(&tx, MTU);
                tx
            });
            until(|| is_held(&link));
            assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
            tx = sender.join().unwrap();
        }
    });
}

/// A forked child has the producer but not its thread. It may drop it without effect on the parent, and send nothing.
#[test]
fn in_a_forked_child_the_link_is_closed() {
    let folder = TestFolder::new();
    in_a_forked_child(small_ring().dir(folder.path()).create("quotes").unwrap());
}

/// The child has a copy of the link, and can make another producer of the one that it has inherited.
#[test]
fn in_a_forked_child_a_link_on_the_heap_is_not_awaited() {
    in_a_forked_child(small_ring().build().unwrap());
}

fn in_a_forked_child(link: Link) {
    in_time(move || {
        let mut rx = link.consumer().unwrap();
        let mut tx = full(&link);
        let woken = Arc::new(Count::default());
        wait_with(&mut tx, &woken);
        // SAFETY: the child uses what it has inherited, and ends without returning.
        match unsafe { nix::unistd::fork() }.unwrap() {
            ForkResult::Child => {
                let ready = tx.poll_ready(&mut Context::from_waker(Waker::noop()), MTU);
                if link.name().is_none() {
                    let mut tx = tx.into_inner().into_async().unwrap();
                    let woken = Arc::new(Count::default());
                    wait_with(&mut tx, &woken);
                    drop(rx.poll().unwrap().unwrap());
                    until(|| woken.get() == 1);
                } else {
                    drop(tx);
                }
                let code = if ready == Poll::Ready(Err(TangoError::Closed)) { 7 } else { 1 };
                // SAFETY: ends this process at once, without running any code of the parent's.
                unsafe { libc::_exit(code) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
            }
        }
        drop(rx.poll().unwrap().unwrap());
        until(|| woken.get() == 1);
        try_send(&mut tx).unwrap();
    });
}
