//! Who sleeps is woken: a lost wakeup leaves all threads blocked, which the model checker reports.
//!
//! The calls that block run as they are, except that they look twice, and not for microseconds, before they
//! sleep. All parties fence (N2 of [`bell`](crate::bell)); the kernel's barrier is not modelled.

use super::memory::{Memory, Model, Shape, publish_all, read, whole};
use crate::bell::{Bell, Order};
use crate::consumer::{Consumer, Start};
use crate::producer::Producer;
use crate::sync::kernel;
use crate::wait::Wait;
use core::time::Duration;
use loom::thread;
use std::sync::Arc;

const AT_ONCE: Wait = Wait::ParkAfter(Duration::ZERO);

fn link(slots: usize) -> (Arc<Memory>, Producer<'static>) {
    let memory = Memory::new(Shape { slots, first: 7, ..Shape::default() });
    let producer = memory.producer().with_wait(AT_ONCE);
    (memory, producer)
}

fn await_fragment(consumer: &mut Consumer<'_>, n: u64) {
    let fragment = consumer.wait().expect("nothing is lost").expect("the link is open");
    assert_eq!(whole(&fragment), n);
}

#[test]
fn a_fragment_wakes() {
    Model::exhaustive(12968).check(|_| {
        let _kernel = kernel::begin();
        let (memory, producer) = link(1);
        let mut consumer = memory.consumer(0, Start::Next).with_wait(AT_ONCE);
        let reader = thread::spawn(move || await_fragment(&mut consumer, 7));
        publish_all(&producer, 1);
        reader.join().unwrap();
    });
}

/// The second fragment needs a stroke of its own: the sleep is a new one.
#[test]
fn each_of_two_fragments_wakes() {
    Model::bounded(2, 8295).check(|_| {
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

/// The ring is full, and the producer sleeps until there is room.
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
    Model::exhaustive(12644).check(|_| {
        room_wakes(|mut consumer| {
            read(&mut consumer, 7);
            // Leaving would wake the producer, too.
            core::mem::forget(consumer);
        });
    });
}

#[test]
fn leaving_wakes() {
    Model::exhaustive(12932).check(|_| room_wakes(drop));
}

/// The producer sleeps until both have made room, whoever of them is last.
#[test]
fn the_last_credit_wakes() {
    Model::bounded(2, 7795).check(|_| {
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

/// The memory of a bell gets an owner that relies on the barrier of who goes to sleep, and rings once. Who
/// sleeps on it from then on has asked for that barrier.
#[test]
fn a_new_rule_is_known_to_sleepers() {
    Model::exhaustive(21).must_see(&["knew the old rule", "knew the new rule"]).check(|seen| {
        let _kernel = kernel::begin();
        kernel::only_expect_barrier_from(1);
        let bells = Arc::new([Bell::new(), Bell::new()]);
        bells.iter().for_each(Bell::touch);
        let sleeper = thread::spawn({
            let (bells, seen) = (bells.clone(), seen.clone());
            move || {
                let [own, other] = &*bells;
                own.sleep_on(other, Duration::MAX, || false);
                seen.note(if kernel::barrier_was_asked_for() {
                    "knew the new rule"
                } else {
                    "knew the old rule"
                });
            }
        });
        bells[1].take(Order::ByKernel);
        bells[1].ring();
        sleeper.join().unwrap();
    });
}
