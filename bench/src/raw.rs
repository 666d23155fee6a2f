//! What the hardware does with no channel: the limits that everything else is held against.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::message::{Source, work};
use crate::method::{Cores, Plan, Sample, Stopwatch, pin};

/// Round trips of one probe of the distance.
const PROBE: u64 = 500;

/// An atomic word in a slot of its own, so that neither its line nor the neighbour that the hardware
/// fetches along is shared.
#[repr(align(128))]
struct Word(AtomicU64);

/// Round trip of an atomic word each way between two pinned threads, the `n`-th in slot `n` of a ring:
/// one line travels there, one back. With one slot, it is always the same two lines, and they stay in the
/// innermost caches.
pub(crate) fn round_trip(plan: &Plan, slots: usize) -> Sample {
    let ring = || -> Vec<Word> { (0..slots).map(|_| Word(AtomicU64::new(0))).collect() };
    let (there, back) = (ring(), ring());
    assert!(slots.is_power_of_two());
    let mask = slots - 1;
    let put = |ring: &[Word], number: u64| {
        // Pairs with the load in `await_number`.
        ring[number as usize & mask].0.store(number, Ordering::Release);
    };
    let await_number = |ring: &[Word], number: u64| {
        // Pairs with the store in `put`.
        while ring[number as usize & mask].0.load(Ordering::Acquire) != number {
            spin_loop();
        }
    };
    let total = plan.total();
    thread::scope(|scope| {
        let echo = scope.spawn(|| {
            pin(plan.cores.consumer);
            let watch = Stopwatch::start();
            for number in 1..=total {
                await_number(&there, number);
                put(&back, number);
            }
            watch.stop()
        });
        let caller = scope.spawn(|| {
            pin(plan.cores.producer);
            let call = |number| {
                put(&there, number);
                await_number(&back, number);
            };
            (1..=plan.warm).for_each(call);
            let watch = Stopwatch::start();
            (plan.warm + 1..=total).for_each(call);
            watch.stop()
        });
        let echo = echo.join().expect("a panic ends the process");
        let caller = caller.join().expect("a panic ends the process");
        Sample {
            messages: plan.count,
            nanos: caller.nanos,
            wrong: 0,
            lost: 0,
            on_core: caller.on_core.min(echo.on_core),
        }
    })
}

/// How far apart the two cores are right now: ns for the round trip of an atomic word. The least of a few
/// short probes, because an interruption of one of them says nothing about the distance.
pub(crate) fn distance(cores: Cores) -> f64 {
    let plan = Plan { cores, warm: PROBE / 4, count: PROBE };
    (0..3).map(|_| round_trip(&plan, 1).nanos_each()).fold(f64::INFINITY, f64::min)
}

/// A producer's work and the making of each message, with no channel to put it into.
pub(crate) fn work_alone<const N: usize>(plan: &Plan, steps: u32) -> Sample {
    alone(plan, |source: &mut Source<N>, state, number| {
        *state = work(*state, steps);
        black_box(source.message(number));
    })
}

/// One thread copies the same messages into a ring of `slots` places, `N` bytes each, and nobody reads.
pub(crate) fn copy<const N: usize>(plan: &Plan, slots: usize) -> Sample {
    let mut ring = vec![0_u8; slots * N];
    alone(plan, |source: &mut Source<N>, _, number| {
        let at = (number as usize % slots) * N;
        ring[at..at + N].copy_from_slice(&source.message(number).0);
        black_box(&mut ring);
    })
}

/// One thread on the producer's core, with nobody on the other.
fn alone<const N: usize>(plan: &Plan, mut each: impl FnMut(&mut Source<N>, &mut u64, u64) + Send) -> Sample {
    let work = || {
        pin(plan.cores.producer);
        let mut source = Source::new();
        let mut state = 1;
        (0..plan.warm).for_each(|number| each(&mut source, &mut state, number));
        let watch = Stopwatch::start();
        (plan.warm..plan.total()).for_each(|number| each(&mut source, &mut state, number));
        let span = watch.stop();
        black_box(state);
        span
    };
    let span = thread::scope(|scope| scope.spawn(work).join().expect("a panic ends the process"));
    Sample { messages: plan.count, nanos: span.nanos, wrong: 0, lost: 0, on_core: span.on_core }
}
