//! Fragments of links on the heap can be awaited. An async reader can be dropped at any time and can go back
//! to blocking, and its wakers may do what they want. Between processes, see `awaiting`.
#![cfg(all(feature = "async", target_os = "linux"))]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use common::executor::{
    self, EXECUTORS, KINDS, block_on, on_heap, poll_once, tokio_on_this_thread, wait_with,
};
use common::waiting::{AT_ONCE, MTU, is_asleep, until};
use common::{assert_is, few, in_time, publish, publish_blocking};
use rust_tango::{AsyncConsumer, Link, Producer, Start, TangoError};

#[test]
fn ends_wake_async_readers() {
    in_time(|| executor::ends_wake_readers(on_heap));
}

#[test]
fn timeouts_of_the_executor_are_kept() {
    in_time(|| {
        let link = on_heap();
        let tx = link.producer().unwrap();
        for (kind, seq) in KINDS.into_iter().zip(1..) {
            let mut rx = kind(&link).unwrap().into_async().unwrap();
            tokio_on_this_thread().block_on(async {
                for timeout in [0, 1, 20, 120].map(Duration::from_millis) {
                    let begin = Instant::now();
                    assert!(tokio::time::timeout(timeout, rx.recv()).await.is_err());
                    assert!(begin.elapsed() >= timeout);
                }
                publish(&tx, MTU).unwrap();
                assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
            });
        }
        // Miri does not know what the others need for their timers.
        for executor in EXECUTORS.into_iter().filter(|_| !cfg!(miri)) {
            let link = on_heap();
            let _tx = link.producer().unwrap();
            let mut rx = link.consumer().unwrap().into_async().unwrap();
            executor.run(async move {
                for timeout in [1, 20].map(Duration::from_millis) {
                    let begin = Instant::now();
                    let recv = async { rx.recv().await.is_ok() };
                    assert_eq!(executor.timeout(timeout, recv).await, None);
                    assert!(begin.elapsed() >= timeout);
                }
            });
        }
    });
}

#[test]
fn losses_are_reported() {
    in_time(|| {
        let link = on_heap();
        let tx: Producer<'_> = link.producer().unwrap().with_patience(Duration::ZERO);
        let mut observer = link.observer().unwrap().into_async().unwrap();
        let mut evictable = link.evictable_consumer(Start::Next).unwrap().into_async().unwrap();
        for _ in 0..20 {
            publish_blocking(&tx, MTU);
        }
        block_on(async {
            let TangoError::Overrun { lost, next } = observer.recv().await.unwrap_err() else {
                panic!("an observer is overrun")
            };
            assert_eq!(next, 1 + lost);
            let TangoError::Evicted { lost, next: joined } = evictable.recv().await.unwrap_err() else {
                panic!("an evictable consumer is evicted")
            };
            assert_eq!(joined, 1 + lost);
            for (mut rx, next) in [(observer, next), (evictable, joined)] {
                for seq in next..=20 {
                    assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
                }
            }
        });
    });
}

/// A reader that always has a fragment must not keep the executor from its other tasks.
#[test]
fn other_tasks_get_their_turn() {
    in_time(|| {
        const MANY: u64 = if cfg!(miri) { 200 } else { 1000 };
        let link = Link::builder().depth(1024).mtu(MTU).consumers(1).build().unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        for _ in 0..MANY {
            publish(&tx, MTU).unwrap();
        }
        tokio_on_this_thread().block_on(async {
            let other = tokio::spawn(async {});
            let mut at = None;
            for seq in 1..=MANY {
                assert_is(&rx.recv().await.unwrap().unwrap(), seq, MTU);
                if other.is_finished() {
                    at.get_or_insert(seq);
                }
            }
            assert!(at.is_some_and(|at| at < MANY), "{at:?}");
        });
    });
}

/// The watcher sleeps on the producer's eventcount, which a drop does not signal.
#[test]
fn dropping_a_reader_that_waits_does_not_take_a_slice() {
    in_time(|| {
        const TIMES: u32 = few(100) as u32;
        let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
        let _tx = link.producer().unwrap();
        let mut took = Duration::ZERO;
        for round in 0..TIMES {
            // Its slot is free again after each drop.
            let mut rx = link.consumer().unwrap().into_async().unwrap();
            if round % 4 != 0 {
                assert!(rx.poll().unwrap().is_none());
                until(|| is_asleep(&link, 0));
            }
            let begin = Instant::now();
            drop(rx);
            took += begin.elapsed();
            assert!(!is_asleep(&link, 0));
        }
        assert!(took < TIMES * Duration::from_millis(20) || cfg!(miri), "{TIMES} drops took {took:?}");
    });
}

#[test]
fn a_consumer_can_go_back_to_blocking() {
    in_time(|| {
        let link = on_heap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().with_wait(AT_ONCE);
        for seq in 1..=few(50) {
            let mut awaiting = rx.into_async().unwrap();
            if seq % 2 == 0 {
                block_on(async { assert!(!poll_once(&mut awaiting, seq).await) });
            }
            rx = awaiting.into_inner();
            let reader = std::thread::spawn(move || {
                assert_is(&rx.wait().unwrap().unwrap(), seq, MTU);
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

/// Wakers are foreign code that runs on the producer's thread, or on the watcher's.
#[test]
fn wakers_may_panic_and_may_drop_the_reader() {
    struct Bad {
        woken: AtomicU32,
        reader: Mutex<Option<AsyncConsumer>>,
        panics: bool,
    }
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("what a waker has panicked with was dropped");
        }
    }
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            drop(self.reader.lock().unwrap().take());
            self.woken.fetch_add(1, Ordering::SeqCst);
            if self.panics {
                std::panic::panic_any(PanicsWhenDropped);
            }
        }
    }
    let bad = |panics| Arc::new(Bad { woken: AtomicU32::new(0), reader: Mutex::new(None), panics });
    let register = |rx: &mut AsyncConsumer, bad: &Arc<Bad>| {
        wait_with(rx, &Waker::from(bad.clone()));
    };
    in_time(move || {
        for direct in [true, false] {
            let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
            let tx = link.producer().unwrap().with_direct_wake(direct);
            let mut rx = link.consumer().unwrap().into_async().unwrap();
            let panics = bad(true);
            register(&mut rx, &panics);
            publish(&tx, MTU).unwrap();
            until(|| panics.woken.load(Ordering::SeqCst) == 1);
            block_on(async {
                assert_is(&rx.recv().await.unwrap().unwrap(), 1, MTU);
                assert!(!poll_once(&mut rx, 2).await);
            });

            // The lock keeps the waker from taking the reader before it is there.
            let drops = bad(false);
            let mut place = drops.reader.lock().unwrap();
            register(&mut rx, &drops);
            *place = Some(rx);
            drop(place);
            publish(&tx, MTU).unwrap();
            until(|| drops.woken.load(Ordering::SeqCst) == 1);
            let mut rx = link.consumer().unwrap().into_async().unwrap(); // the slot is free
            publish(&tx, MTU).unwrap();
            block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), 3, MTU) });
        }
    });
}

/// Some executors drop tasks under a lock that their wakers wait for.
#[test]
fn a_reader_is_dropped_while_its_waker_waits_for_the_dropping_thread() {
    struct Waits {
        called: AtomicU32,
        lock: Mutex<()>,
    }
    impl Wake for Waits {
        fn wake(self: Arc<Self>) {
            self.called.fetch_add(1, Ordering::SeqCst);
            drop(self.lock.lock().unwrap());
            self.called.fetch_add(1, Ordering::SeqCst);
        }
    }
    in_time(|| {
        let link = Link::builder().depth(8).mtu(MTU).consumers(1).build().unwrap();
        // This thread publishes while it has the lock.
        let tx = link.producer().unwrap().with_direct_wake(false);
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        let waits = Arc::new(Waits { called: AtomicU32::new(0), lock: Mutex::new(()) });
        wait_with(&mut rx, &Waker::from(waits.clone()));
        let lock = waits.lock.lock().unwrap();
        publish(&tx, MTU).unwrap();
        until(|| waits.called.load(Ordering::SeqCst) == 1);
        drop(rx);
        assert!(link.consumer().is_ok(), "the slot must be free");
        drop(lock);
        until(|| waits.called.load(Ordering::SeqCst) == 2);
    });
}

/// Asking to be woken takes longer than to let other tasks run and to look again.
#[test]
fn a_task_that_got_a_fragment_looks_again_before_it_waits() {
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    in_time(|| {
        for kind in KINDS {
            let link = on_heap();
            let tx = link.producer().unwrap();
            let mut rx = kind(&link).unwrap().into_async().unwrap();
            let count = Arc::new(Count(AtomicU32::new(0)));
            let waker = Waker::from(count.clone());
            assert_eq!(wait_with(&mut rx, &waker), 0, "it has no reason to expect a fragment soon");
            for seq in 1..=3 {
                publish(&tx, MTU).unwrap();
                until(|| count.0.load(Ordering::SeqCst) == seq);
                block_on(async { assert_is(&rx.recv().await.unwrap().unwrap(), u64::from(seq), MTU) });
                let looks = wait_with(&mut rx, &waker);
                assert!((1..100).contains(&looks), "{looks}");
                assert_eq!(count.0.load(Ordering::SeqCst), seq, "it waits");
            }
        }
    });
}
