//! Another thread sleeps in the place of a producer that awaits credits. A lost wakeup leaves all threads blocked, which
//! the model checker reports. For readers in whose place another thread sleeps, see `parking`.

use super::memory::{Memory, Model, Shape, publish_all};
use crate::producer::{CreditWatch, Producer};
use crate::ring::region::GRANULE;
use crate::sync::kernel;
use crate::waiting::eventcount::Announced;
use crate::waiting::shared_sleep::SharedSleep;
use core::time::Duration;
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;

/// A producer in whose place another thread sleeps: what the lock protects.
struct ProducersSleep {
    shared: SharedSleep<'static>,
    request: Option<(CreditWatch<'static>, Announced)>,
}

impl ProducersSleep {
    fn of(memory: &Arc<Memory>) -> Mutex<Self> {
        Mutex::new(Self { shared: SharedSleep::new(&memory.parts().head.eventcount), request: None })
    }
}

/// A producer without credits leaves a request, or replaces it (S1, S2, W3, W4). False: it has to look again.
fn requests(sleep: &Mutex<ProducersSleep>, producer: &Producer<'static>, size: usize) -> bool {
    let Some(watch) = producer.credit_watch(size) else { return false };
    let consumer = watch.hold().expect("a consumer holds the producer back").eventcount();
    let announced = {
        let mut sleep = sleep.lock().unwrap();
        let ProducersSleep { shared, request } = &mut *sleep;
        let turns = shared.turn_to(consumer);
        if turns && request.take().is_some() {
            watch.own().wake_up();
        }
        if let Some((old, _)) = request {
            *old = watch;
            None
        } else {
            let announced = shared.join(watch.own()).0;
            *request = Some((watch, announced));
            Some(announced)
        }
    };
    assert!(announced.is_none_or(Announced::order));
    let has_news = watch.has_news();
    if has_news && sleep.lock().unwrap().request.take().is_some() {
        watch.own().wake_up();
    }
    !has_news
}

/// Sleeps until the request is answered.
fn sleeps_for_the_producer(sleep: &Mutex<ProducersSleep>) {
    loop {
        let mut locked = sleep.lock().unwrap();
        let ProducersSleep { shared, request } = &mut *locked;
        let Some((watch, announced)) = request else { return };
        let notifier = shared.notifier();
        if !shared.is_due() {
            let count = shared.count();
            drop(locked);
            notifier.sleep_while(count, Duration::MAX);
            continue;
        }
        let mut round = shared.round();
        if round.check(notifier, watch.own(), announced, || watch.has_news()) {
            *request = None;
        }
        let announced_again = shared.end(round, true);
        drop(locked);
        assert!(announced_again.is_none_or(Announced::order));
    }
}

/// Another thread sleeps in the place of a producer without credits.
#[test]
fn a_credit_wakes_a_thread_that_sleeps_for_the_producer() {
    Model::exhaustive(7483).must_see(&["slept", "did not sleep"]).check(|seen| {
        let _kernel = kernel::begin();
        let memory = Memory::new(Shape { slots: 1, first: 7, ..Shape::default() });
        let producer = memory.producer();
        let seat = memory.seat(0);
        seat.claim(7, false);
        publish_all(&producer, 2);
        let sleep = ProducersSleep::of(&memory);
        let reader = thread::spawn(move || seat.release(8));
        while producer.obtain_credit(0).is_err() {
            if requests(&sleep, &producer, 0) {
                sleeps_for_the_producer(&sleep);
                seen.note("slept");
            } else {
                seen.note("did not sleep");
            }
        }
        reader.join().unwrap();
        core::mem::forget(producer);
    });
}

/// The producer needs two fragments of each consumer. It is polled for another reason while a request is pending, and
/// another consumer holds it back by then, which has notified it of its first fragment already. So the sleep on that
/// consumer has to be announced anew, and on its eventcount.
#[test]
fn a_producer_turns_to_another_consumer() {
    const SIZE: usize = 2 * GRANULE;
    Model::bounded(2, 11169).must_see(&["turned"]).check(|seen| {
        let _kernel = kernel::begin();
        let memory = Memory::new(Shape { depth: 4, granules: 4, mtu: SIZE, slots: 2, first: 7 });
        let producer = memory.producer();
        let [one, other] = [0, 1].map(|slot| memory.seat(slot));
        one.claim(7, false);
        other.claim(7, false);
        publish_all(&producer, 4);
        let sleep = ProducersSleep::of(&memory);
        let mut held_by = None;
        let reader = thread::spawn(move || {
            other.release(8);
            one.release(9);
            other.release(9);
        });
        loop {
            // Polled twice before the thread sleeps.
            let mut waits = false;
            for _ in 0..2 {
                if producer.obtain_credit(SIZE).is_ok() {
                    break;
                }
                let turned =
                    held_by.replace(producer.held_by()).is_some_and(|before| before != producer.held_by());
                waits = requests(&sleep, &producer, SIZE);
                if turned && waits {
                    seen.note("turned");
                }
            }
            if producer.obtain_credit(SIZE).is_ok() {
                break;
            }
            if waits {
                sleeps_for_the_producer(&sleep);
            }
        }
        reader.join().unwrap();
        core::mem::forget(producer);
    });
}
