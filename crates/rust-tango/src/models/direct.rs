//! A producer wakes the tasks of its own process itself ([`direct`](crate::waiting::direct)). As in `parking`, a lost
//! wakeup leaves all threads blocked.

use super::memory::{Memory, Model, Seen, publish_all};
use super::parking::{AT_ONCE, Sleep, await_fragment, is_there, joins, link, sleeps_for_all};
use crate::consumer::Start;
use crate::sync::kernel;
use crate::waiting::direct::hook;
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// A task of which models see only that it is woken.
struct Task(Seen);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.note("woke a task");
    }
}

/// From now on, the producer answers waiters itself if it gets the lock, as in [`direct`](crate::waiting::direct).
fn producer_answers(sleep: &Arc<Mutex<Sleep>>, memory: &Arc<Memory>, seen: &Seen) -> impl Drop + use<> {
    let (sleep, memory, seen) = (sleep.clone(), memory.clone(), seen.clone());
    hook::begin(move |_, answered| {
        let Ok(mut sleep) = sleep.try_lock() else { return seen.note("the lock was taken") };
        sleep.waiters.retain(|waiter| {
            let task = || Some(Waker::from(Arc::new(Task(seen.clone()))));
            let is_answered = answered.check(waiter.own, || is_there(&memory, waiter.n), task);
            assert!(!is_answered || is_there(&memory, waiter.n), "answered for nothing");
            !is_answered
        });
    })
}

/// The end of a model: if no waiter is left, nothing wakes the sleeper.
fn end_sleeper(sleep: &Mutex<Sleep>, memory: &Arc<Memory>) {
    if sleep.lock().unwrap().waiters.is_empty() {
        memory.parts().head.eventcount.notify();
    }
}

/// The producer wakes the task of one waiter. The sleeper wakes the other one, which waits for the next fragment, or
/// the producer does that, too.
#[test]
fn a_producer_answers_waiters() {
    Model::bounded(3, 21176).must_see(&["woke a task", "the lock was taken"]).check(|seen| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(2);
        (0..2).for_each(|slot| memory.seat(slot).claim(7, false));
        let sleep = Sleep::of(&memory);
        let _hook = producer_answers(&sleep, &memory, seen);
        joins(&sleep, &memory, 0, 7);
        joins(&sleep, &memory, 1, 8);
        let sleeper = thread::spawn({
            let (memory, sleep) = (memory.clone(), sleep.clone());
            move || sleeps_for_all(&sleep, &memory)
        });
        publish_all(&producer, 2);
        end_sleeper(&sleep, &memory);
        sleeper.join().unwrap();
        core::mem::forget(producer);
    });
}

/// A waiter joins for the next fragment while the producer answers another one. From then on, its thread sleeps for both.
#[test]
fn a_waiter_joins_while_the_producer_answers() {
    Model::bounded(3, 6258).must_see(&["woke a task", "the lock was taken"]).check(|seen| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(2);
        (0..2).for_each(|slot| memory.seat(slot).claim(7, false));
        let sleep = Sleep::of(&memory);
        let _hook = producer_answers(&sleep, &memory, seen);
        joins(&sleep, &memory, 1, 7);
        let waiter = thread::spawn({
            let (memory, sleep) = (memory.clone(), sleep.clone());
            move || {
                joins(&sleep, &memory, 0, 8);
                sleeps_for_all(&sleep, &memory);
            }
        });
        publish_all(&producer, 2);
        end_sleeper(&sleep, &memory);
        waiter.join().unwrap();
        core::mem::forget(producer);
    });
}

/// A waiter leaves, because its task gave up, while the producer answers it and another one.
#[test]
fn a_waiter_leaves_while_the_producer_answers() {
    Model::bounded(3, 663).must_see(&["woke a task", "the lock was taken", "left"]).check(|seen| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(2);
        (0..2).for_each(|slot| memory.seat(slot).claim(7, false));
        let sleep = Sleep::of(&memory);
        let _hook = producer_answers(&sleep, &memory, seen);
        (0..2).for_each(|slot| assert_eq!(joins(&sleep, &memory, slot, 7), slot == 0));
        let sleeper = thread::spawn({
            let (memory, sleep) = (memory.clone(), sleep.clone());
            move || sleeps_for_all(&sleep, &memory)
        });
        let own = memory.seat(0).eventcount();
        let leaves = thread::spawn({
            let (sleep, seen) = (sleep.clone(), seen.clone());
            move || {
                let mut sleep = sleep.lock().unwrap();
                if let Some(at) = sleep.waiters.iter().position(|waiter| core::ptr::eq(waiter.own, own)) {
                    sleep.waiters.swap_remove(at).own.wake_up();
                    seen.note("left");
                }
            }
        });
        publish_all(&producer, 1);
        leaves.join().unwrap();
        end_sleeper(&sleep, &memory);
        sleeper.join().unwrap();
        core::mem::forget(producer);
    });
}

/// The producer answers a task, and a thread sleeps by itself, in whatever process.
#[test]
fn a_thread_is_notified_besides_a_task() {
    Model::bounded(3, 21524).must_see(&["woke a task"]).check(|seen| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(2);
        memory.seat(0).claim(7, false);
        let mut consumer = memory.consumer(1, Start::Next).with_wait(AT_ONCE);
        let sleep = Sleep::of(&memory);
        let _hook = producer_answers(&sleep, &memory, seen);
        joins(&sleep, &memory, 0, 7);
        let reader = thread::spawn(move || await_fragment(&mut consumer, 7));
        publish_all(&producer, 1);
        reader.join().unwrap();
        assert!(sleep.lock().unwrap().waiters.is_empty());
    });
}
