//! Sleeping threads are woken. A lost wakeup leaves all threads blocked, which the model checker reports.
//!
//! The calls that block run as they are, except that they poll twice before they sleep, and not for
//! microseconds. All threads execute their own fences (N2 of [`eventcount`](crate::waiting::eventcount)).
//! The kernel's barrier is not modelled.

use super::memory::{Memory, Model, Shape, publish_all, read, whole};
use crate::consumer::{Consumer, Start};
use crate::producer::Producer;
use crate::ring::line::LineState;
use crate::sync::kernel;
use crate::waiting::eventcount::{Announced, Eventcount};
use crate::waiting::shared_sleep::SharedSleep;
use crate::waiting::wait::Wait;
use core::time::Duration;
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;

pub(super) const AT_ONCE: Wait = Wait::ParkAfter(Duration::ZERO);

pub(super) fn link(slots: usize) -> (Arc<Memory>, Producer<'static>) {
    let memory = Memory::new(Shape { slots, first: 7, ..Shape::default() });
    let producer = memory.producer().with_wait(AT_ONCE);
    (memory, producer)
}

pub(super) fn await_fragment(consumer: &mut Consumer<'_>, n: u64) {
    let fragment = consumer.wait().expect("nothing is lost").expect("the link is open");
    assert_eq!(whole(&fragment), n);
}

#[test]
fn a_fragment_wakes() {
    Model::exhaustive(1823).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(1);
        let mut consumer = memory.consumer(0, Start::Next).with_wait(AT_ONCE);
        let reader = thread::spawn(move || await_fragment(&mut consumer, 7));
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// The second fragment needs a notification of its own, because the sleep is a new one.
#[test]
fn each_of_two_fragments_wakes() {
    Model::bounded(3, 21165).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(1);
        let mut consumer = memory.consumer(0, Start::Next).with_wait(AT_ONCE);
        let reader = thread::spawn(move || (7..9).for_each(|n| await_fragment(&mut consumer, n)));
        publish_all(&producer, 2);
        reader.join().unwrap();
    });
}

#[test]
fn the_end_wakes() {
    Model::exhaustive(181).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(1);
        let mut consumer = memory.consumer(0, Start::Next).with_wait(AT_ONCE);
        let reader = thread::spawn(move || assert!(consumer.wait().unwrap().is_none()));
        drop(producer);
        reader.join().unwrap();
    });
}

/// The ring is full, and the producer sleeps until there is a credit.
fn room_wakes(make_room: impl FnOnce(Consumer<'static>) + Send + 'static) {
    let _kernel = kernel::begin();
    let (memory, producer) = link(1);
    let consumer = memory.consumer(0, Start::Next);
    publish_all(&producer, 2);
    let reader = thread::spawn(move || make_room(consumer));
    let sent = producer.send(&[]);
    sent.unwrap();
    reader.join().unwrap();
}

#[test]
fn a_credit_wakes() {
    Model::exhaustive(7890).check(|_| {
        room_wakes(|mut consumer| {
            read(&mut consumer, 7);
            // Forget the consumer: leaving would wake the producer, too.
            core::mem::forget(consumer);
        });
    });
}

#[test]
fn leaving_wakes() {
    Model::exhaustive(8097).check(|_| room_wakes(drop));
}

/// The producer sleeps until both consumers have returned a credit, whichever of them is last.
#[test]
fn the_last_credit_wakes() {
    Model::bounded(2, 6945).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(2);
        let consumers = [0, 1].map(|slot| memory.consumer(slot, Start::Next));
        publish_all(&producer, 2);
        let readers = consumers.map(|mut consumer| {
            thread::spawn(move || {
                read(&mut consumer, 7);
                core::mem::forget(consumer);
            })
        });
        producer.send(&[]).unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// A producer that executes fences is replaced by one that relies on the kernel's barrier. A waiter that
/// sleeps by the old rule is woken. From then on, it sleeps by the new rule, that is, it calls the barrier.
#[test]
fn waiters_learn_of_a_new_barrier() {
    Model::exhaustive(90).must_see(&["slept by the old rule", "knew the new rule"]).check(|seen| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(1);
        let seat = memory.seat(0);
        seat.claim(7, false);
        memory.panics(producer);
        kernel::rely_on_barrier();
        let waiter = thread::spawn({
            let (memory, seen) = (memory.clone(), seen.clone());
            move || {
                seat.sleep(Duration::MAX, || false);
                seen.note(if kernel::barrier_was_asked_for() {
                    "knew the new rule"
                } else {
                    "slept by the old rule"
                });
                drop(memory);
            }
        });
        // Forget the producer: its end would wake the waiter, too.
        core::mem::forget(memory.producer());
        waiter.join().unwrap();
    });
}

/// A batch and a loan wake a consumer as a single publish does.
fn news_wakes(publish: impl FnOnce(&mut Producer<'static>)) {
    let _kernel = kernel::begin();
    let (memory, mut producer) = link(1);
    let mut consumer = memory.consumer(0, Start::Next).with_wait(AT_ONCE);
    let reader = thread::spawn(move || {
        let fragment = consumer.wait().expect("nothing is lost").expect("the link is open");
        assert_eq!(fragment.meta.seq, 7);
    });
    publish(&mut producer);
    reader.join().unwrap();
}

#[test]
fn a_batch_wakes() {
    Model::bounded(2, 110)
        .check(|_| news_wakes(|producer| assert_eq!(producer.publish_batch(&[&[]], 0, 0), 1)));
}

#[test]
fn a_loan_wakes() {
    Model::bounded(2, 110).check(|_| {
        news_wakes(|producer| {
            producer.loan(0).unwrap().commit(0, 0, 0).unwrap();
        });
    });
}

/// A consumer died while it slept, after the producer had notified it. The next owner of its slot sleeps.
/// The producer notifies it, too.
#[test]
fn the_next_owner_of_a_slot_is_woken() {
    Model::bounded(2, 110).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(1);
        memory.dies_asleep(memory.consumer(0, Start::Next), 0);
        publish_all(&producer, 1);
        let mut consumer = memory.consumer(0, Start::Next).with_wait(AT_ONCE);
        let reader = thread::spawn(move || await_fragment(&mut consumer, 8));
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// The producer sleeps because of a dead consumer, without proof of its death yet. The next owner of the
/// slot does not hold the producer back, and wakes it.
#[test]
fn the_next_owner_of_a_slot_wakes_the_producer() {
    Model::bounded(2, 2731).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(1);
        core::mem::forget(memory.consumer(0, Start::Next));
        publish_all(&producer, 2);
        let next = thread::spawn({
            let memory = memory.clone();
            // Forget the consumer: leaving would wake the producer, too.
            move || core::mem::forget(memory.consumer(0, Start::Next))
        });
        producer.send(&[]).unwrap();
        next.join().unwrap();
    });
}

/// A waiter in whose place another thread sleeps.
pub(super) struct Waiter {
    pub(super) own: &'static Eventcount,
    announced: Announced,
    /// The fragment that it waits for.
    pub(super) n: u64,
}

/// What the lock of [`shared_sleep`](crate::waiting::shared_sleep) protects.
pub(super) struct Sleep {
    shared: SharedSleep<'static>,
    pub(super) waiters: Vec<Waiter>,
}

impl Sleep {
    pub(super) fn of(memory: &Arc<Memory>) -> Arc<Mutex<Self>> {
        let notifier = &memory.parts().head.eventcount;
        Arc::new(Mutex::new(Self { shared: SharedSleep::new(notifier), waiters: Vec::new() }))
    }
}

pub(super) fn is_there(memory: &Arc<Memory>, n: u64) -> bool {
    memory.parts().ring.line(n).state(n) != LineState::NotYet
}

/// A waiter in `slot` waits for fragment `n` (S1, S2, W3, W4). Returns whether the sleeper must be woken.
pub(super) fn joins(sleep: &Mutex<Sleep>, memory: &Arc<Memory>, slot: usize, n: u64) -> bool {
    let own = memory.seat(slot).eventcount();
    let (announced, must_wake) = {
        let mut sleep = sleep.lock().unwrap();
        let joined = sleep.shared.join(own);
        sleep.waiters.push(Waiter { own, announced: joined.0, n });
        joined
    };
    assert!(announced.order());
    if is_there(memory, n) {
        let mut sleep = sleep.lock().unwrap();
        // Unless the sleeper has found it meanwhile.
        if let Some(at) = sleep.waiters.iter().position(|waiter| waiter.n == n) {
            sleep.waiters.swap_remove(at).own.wake_up();
        }
    }
    must_wake
}

/// Sleeps until there is no waiter left.
pub(super) fn sleeps_for_all(sleep: &Mutex<Sleep>, memory: &Arc<Memory>) {
    loop {
        let mut locked = sleep.lock().unwrap();
        let Sleep { shared, waiters } = &mut *locked;
        if waiters.is_empty() {
            return;
        }
        let notifier = shared.notifier();
        if !shared.is_due() {
            let count = shared.count();
            drop(locked);
            notifier.sleep_while(count, Duration::MAX);
            continue;
        }
        let mut round = shared.round();
        waiters.retain_mut(|Waiter { own, announced, n }| {
            !round.check(notifier, own, announced, || is_there(memory, *n))
        });
        let announced_again = shared.end(round, true);
        drop(locked);
        assert!(announced_again.is_none_or(Announced::order));
    }
}

/// One thread sleeps for two waiters. The first fragment is news for one of them. The other needs a
/// notification of its own, for which it has to announce its sleep again.
#[test]
fn one_thread_sleeps_for_two_waiters() {
    Model::bounded(3, 46536).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(2);
        [0, 1].map(|slot| memory.seat(slot).claim(7, false));
        let sleep = Sleep::of(&memory);
        let sleeper = thread::spawn({
            let memory = memory.clone();
            move || {
                joins(&sleep, &memory, 0, 7);
                joins(&sleep, &memory, 1, 8);
                sleeps_for_all(&sleep, &memory);
            }
        });
        publish_all(&producer, 2);
        sleeper.join().unwrap();
        // Forget the producer: its end adds states.
        core::mem::forget(producer);
    });
}

/// A waiter joins while the sleeper falls asleep for another one, or is being woken for it.
#[test]
fn a_waiter_joins_while_another_sleeps() {
    Model::bounded(2, 13035).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(2);
        [0, 1].map(|slot| memory.seat(slot).claim(7, false));
        let sleep = Sleep::of(&memory);
        joins(&sleep, &memory, 1, 8);
        let sleeper = thread::spawn({
            let (memory, sleep) = (memory.clone(), sleep.clone());
            move || sleeps_for_all(&sleep, &memory)
        });
        let waiter = thread::spawn({
            let (memory, sleep) = (memory.clone(), sleep.clone());
            move || assert!(!joins(&sleep, &memory, 0, 7))
        });
        publish_all(&producer, 2);
        waiter.join().unwrap();
        if sleep.lock().unwrap().waiters.is_empty() {
            // The waiter has found its fragment itself, and nothing wakes the sleeper, which has no waiter.
            memory.parts().head.eventcount.notify();
        }
        sleeper.join().unwrap();
        assert!(sleep.lock().unwrap().waiters.is_empty());
        // Forget the producer: its end adds states.
        core::mem::forget(producer);
    });
}

/// A waiter finds its fragment itself, while the sleeper is being woken for it, and waits for the next one with
/// the same announcement.
#[test]
fn a_waiter_goes_on_while_another_thread_sleeps() {
    Model::bounded(3, 26751).must_see(&["went on", "was answered"]).check(|seen| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(1);
        memory.seat(0).claim(7, false);
        let sleep = Sleep::of(&memory);
        joins(&sleep, &memory, 0, 7);
        let sleeper = thread::spawn({
            let (memory, sleep) = (memory.clone(), sleep.clone());
            move || sleeps_for_all(&sleep, &memory)
        });
        let waiter = thread::spawn({
            let (memory, sleep, seen) = (memory.clone(), sleep.clone(), seen.clone());
            move || {
                if !is_there(&memory, 7) {
                    return;
                }
                match sleep.lock().unwrap().waiters.first_mut() {
                    Some(waiter) => waiter.n = 8,
                    None => return seen.note("was answered"),
                }
                seen.note("went on");
                if is_there(&memory, 8) {
                    sleep.lock().unwrap().waiters.retain(|waiter| waiter.n != 8);
                }
            }
        });
        publish_all(&producer, 2);
        waiter.join().unwrap();
        if sleep.lock().unwrap().waiters.is_empty() {
            // The waiter has found its fragment itself, and nothing wakes the sleeper, which has no waiter.
            memory.parts().head.eventcount.notify();
        }
        sleeper.join().unwrap();
        core::mem::forget(producer);
    });
}
