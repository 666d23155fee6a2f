//! What the hardware and the kernel do with no channel: the limits that everything else is held against.

use std::cell::UnsafeCell;
use std::fs::File;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::thread;

use memmap2::{Mmap, MmapMut};
use nix::sys::memfd::{MFdFlags, memfd_create};
use rustix::thread::futex;

use crate::exchange::without_hesitation;
use crate::message::{Hesitation, Message, Source, is_right, work};
use crate::method::{Cores, Load, Plan, Sample, Stopwatch, now, pause, pin, spawn};

/// Round trips of one probe of the distance.
const PROBE: u64 = 500;
/// Bytes of shared memory that a word gets.
const PAGE: u64 = 4096;

/// An atomic word in a slot of its own, so that neither its line nor the neighbour that the hardware
/// fetches along is shared.
#[repr(align(128))]
struct Word(AtomicU64);

/// A ring of words as one side sees it, and as the other does.
#[derive(Clone, Copy)]
struct Ends<'a> {
    writer: &'a [Word],
    reader: &'a [Word],
}

/// Round trip of an atomic word each way between two pinned threads, the `n`-th in slot `n` of a ring:
/// one line travels there, one back. With one slot, it is always the same two lines, and they stay in the
/// innermost caches.
pub(crate) fn round_trip(plan: &Plan, slots: usize) -> Sample {
    let ring = || -> Vec<Word> { (0..slots).map(|_| Word(AtomicU64::new(0))).collect() };
    let (there, back) = (ring(), ring());
    let same = |ring| Ends { writer: ring, reader: ring };
    words_there_and_back(plan, same(&there), same(&back))
}

/// The same with one slot in shared memory, which each side reads through a mapping that is read-only.
pub(crate) fn round_trip_read_only(plan: &Plan) -> Sample {
    let (there, back) = (Mapped::new(), Mapped::new());
    words_there_and_back(plan, there.ends(), back.ends())
}

/// A page of shared memory that is mapped twice.
struct Mapped {
    writable: MmapMut,
    read_only: Mmap,
}

impl Mapped {
    #[allow(unsafe_code)]
    fn new() -> Self {
        let file = memfd_create(c"tango-bench", MFdFlags::empty()).expect("there is memory for a page");
        let file = File::from(file);
        file.set_len(PAGE).expect("there is memory for a page");
        // SAFETY: nobody else knows of this file, so nobody makes it shorter.
        let maps = unsafe { MmapMut::map_mut(&file).and_then(|map| Ok((map, Mmap::map(&file)?))) };
        let (writable, read_only) = maps.expect("the file is there");
        Self { writable, read_only }
    }

    #[allow(unsafe_code)]
    fn ends(&self) -> Ends<'_> {
        // SAFETY: both begin at a page, are that long, and live as long as `self`. The bytes are looked at as atomics
        // only; those of the second are loaded relaxed and not written to.
        let words = |start: *const u8| unsafe { std::slice::from_raw_parts(start.cast::<Word>(), 1) };
        Ends { writer: words(self.writable.as_ptr()), reader: words(self.read_only.as_ptr()) }
    }
}

fn words_there_and_back(plan: &Plan, there: Ends<'_>, back: Ends<'_>) -> Sample {
    let slots = there.writer.len();
    assert!(slots.is_power_of_two());
    let mask = slots - 1;
    let put = |ring: Ends<'_>, number: u64| {
        // Pairs with the fence in `await_number`.
        ring.writer[number as usize & mask].0.store(number, Ordering::Release);
    };
    let await_number = |ring: Ends<'_>, number: u64| {
        // Memory that is mapped read-only may be loaded relaxed, and in no other way.
        while ring.reader[number as usize & mask].0.load(Ordering::Relaxed) != number {
            pause();
        }
        // Pairs with the store in `put`.
        fence(Ordering::Acquire);
    };
    let total = plan.total();
    thread::scope(|scope| {
        let echo = spawn(scope, || {
            pin(plan.cores.consumer);
            let mut hesitation = Hesitation::new(plan.load.hesitation);
            let watch = Stopwatch::start();
            for number in 1..=total {
                await_number(there, number);
                hesitation.before_answer(number);
                put(back, number);
            }
            watch.stop()
        });
        let caller = spawn(scope, || {
            pin(plan.cores.producer);
            let mut hesitation = Hesitation::new(plan.load.hesitation);
            let mut call = |number| {
                hesitation.before_call(number);
                put(there, number);
                await_number(back, number);
            };
            (1..=plan.warm).for_each(&mut call);
            let watch = Stopwatch::start();
            (plan.warm + 1..=total).for_each(call);
            without_hesitation(watch.stop(), plan)
        });
        let echo = echo.join().expect("a panic ends the process");
        let caller = caller.join().expect("a panic ends the process");
        Sample::window(plan.count, caller, 0).with_other_side(echo, true)
    })
}

/// How far apart the two cores are right now: ns for the round trip of an atomic word. The least of a few
/// short probes, because an interruption of one of them says nothing about the distance.
pub(crate) fn distance(cores: Cores) -> f64 {
    let plan = Plan { cores, warm: PROBE / 4, count: PROBE, load: Load::default() };
    (0..3).map(|_| round_trip(&plan, 1).figure).fold(f64::INFINITY, f64::min)
}

/// An atomic word on its way, as the latency of a schedule: when the plan says so, one thread writes the
/// number of the message, and the other sees it.
pub(crate) fn word_on_time(plan: &Plan) -> Sample {
    let (word, start) = (Word(AtomicU64::new(0)), Word(AtomicU64::new(0)));
    on_time(plan, &start.0, &|number| word.0.store(number, Ordering::Release), &|number| {
        while word.0.load(Ordering::Acquire) < number {
            pause();
        }
    })
}

/// A futex, on the same schedule: the reader sleeps in the kernel until it is woken.
pub(crate) fn futex_on_time(plan: &Plan) -> Sample {
    let (word, start) = (AtomicU32::new(0), Word(AtomicU64::new(0)));
    let flags = futex::Flags::PRIVATE;
    let put = |number: u64| {
        word.store(number as u32, Ordering::Release);
        futex::wake(&word, flags, 1).expect("the word is there");
    };
    let take = |number: u64| loop {
        let seen = word.load(Ordering::Acquire);
        if seen >= number as u32 {
            return;
        }
        // It may have changed meanwhile, or somebody else's signal may have come: look again.
        let _ = futex::wait(&word, flags, seen, None);
    };
    Sample { on_core: 1.0, ..on_time(plan, &start.0, &put, &take) }
}

/// Numbers from 1 on, each put when it is due; the latency is from then until it has been taken.
fn on_time(
    plan: &Plan,
    start: &AtomicU64,
    put: &(dyn Fn(u64) + Sync),
    take: &(dyn Fn(u64) + Sync),
) -> Sample {
    let due = |start: u64, number: u64| start + (number - 1) / plan.load.burst * plan.load.every;
    thread::scope(|scope| {
        let consumer = spawn(scope, || {
            pin(plan.cores.consumer);
            let mut latencies = vec![u32::MAX; plan.count as usize];
            let start = loop {
                match start.load(Ordering::Acquire) {
                    0 => pause(),
                    start => break start,
                }
            };
            let watch = Stopwatch::start();
            for (number, latency) in (1..).zip(&mut latencies) {
                take(number);
                *latency = u32::try_from(now().saturating_sub(due(start, number))).unwrap_or(u32::MAX);
            }
            Sample::timed(&latencies, watch.stop(), 0)
        });
        let producer = spawn(scope, || {
            pin(plan.cores.producer);
            let watch = Stopwatch::start();
            // Enough for the other side to be there.
            let first = now() + 1_000_000;
            start.store(first, Ordering::Release);
            for number in 1..=plan.count {
                while now() < due(first, number) {
                    pause();
                }
                put(number);
            }
            watch.stop()
        });
        let span = producer.join().expect("a panic ends the process");
        consumer.join().expect("a panic ends the process").with_other_side(span, true)
    })
}

/// A producer's work and the making of each message, with no channel to put it into.
pub(crate) fn work_alone<const N: usize>(plan: &Plan) -> Sample {
    alone(plan, |source: &mut Source<N>, state, number| {
        *state = work(*state, plan.load.work);
        black_box(source.message(number));
    })
}

/// A consumer's work alone: checking each message, which lies in its own cache, and computing.
pub(crate) fn chore_alone<const N: usize>(plan: &Plan) -> Sample {
    alone(plan, |source: &mut Source<N>, state, number| {
        assert!(is_right::<N>(&black_box(source.message(number)).0, number));
        *state = work(*state, plan.load.chore);
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

/// Places for messages that one thread writes and another one reads, never both at a time.
struct Places<const N: usize>(Vec<UnsafeCell<Message<N>>>);

// SAFETY: `copy_across`, the only user, keeps the two threads away from each other's places.
#[allow(unsafe_code)]
unsafe impl<const N: usize> Sync for Places<N> {}

/// The best that any channel can do that copies each message once: one thread copies them into a ring, the
/// other checks them where they lie, and the two tell each other how far they are only eight times a lap.
#[allow(unsafe_code)]
pub(crate) fn copy_across<const N: usize>(plan: &Plan, slots: usize) -> Sample {
    assert!(slots.is_power_of_two() && slots >= 8);
    let (mask, step) = (slots - 1, slots as u64 / 8);
    let places = Places::<N>((0..slots).map(|_| UnsafeCell::new(Message([0; N]))).collect());
    let places = &places;
    // How many messages have been written, and how many of those places are free again.
    let (written, read) = (Word(AtomicU64::new(0)), Word(AtomicU64::new(0)));
    let total = plan.total();
    let write = || {
        pin(plan.cores.producer);
        let watch = Stopwatch::start();
        let mut source = Source::new();
        let mut limit = slots as u64;
        for number in 0..total {
            while number == limit {
                // Pairs with the store below, after the last look at the places.
                limit = read.0.load(Ordering::Acquire) + slots as u64;
                if number == limit {
                    pause();
                }
            }
            // SAFETY: `number` is below the limit, so the reader is done with the place, and it does not look
            // there again before it is told of `number`.
            unsafe { *places.0[number as usize & mask].get() = *source.message(number) };
            if (number + 1).is_multiple_of(step) || number + 1 == total {
                written.0.store(number + 1, Ordering::Release);
            }
        }
        watch.stop()
    };
    let check = |numbers: Range<u64>, limit: &mut u64| {
        let mut wrong = 0;
        for number in numbers {
            while number == *limit {
                // Pairs with the store above, after the places were written.
                *limit = written.0.load(Ordering::Acquire);
                if number == *limit {
                    pause();
                }
            }
            // SAFETY: the writer has told of `number`, and does not write there before it is told of this look.
            let message = unsafe { &*places.0[number as usize & mask].get() };
            wrong += u64::from(!is_right::<N>(&message.0, number));
            if (number + 1).is_multiple_of(step) {
                read.0.store(number + 1, Ordering::Release);
            }
        }
        wrong
    };
    thread::scope(|scope| {
        let writer = spawn(scope, write);
        let reader = spawn(scope, || {
            pin(plan.cores.consumer);
            let mut limit = 0;
            let mut wrong = check(0..plan.warm, &mut limit);
            let watch = Stopwatch::start();
            wrong += check(plan.warm..total, &mut limit);
            Sample::window(plan.count, watch.stop(), wrong)
        });
        let span = writer.join().expect("a panic ends the process");
        reader.join().expect("a panic ends the process").with_other_side(span, true)
    })
}

/// One thread on the producer's core, with nobody on the other.
fn alone<const N: usize>(plan: &Plan, mut each: impl FnMut(&mut Source<N>, &mut u64, u64)) -> Sample {
    pin(plan.cores.producer);
    let mut source = Source::new();
    let mut state = 1;
    (0..plan.warm).for_each(|number| each(&mut source, &mut state, number));
    let watch = Stopwatch::start();
    (plan.warm..plan.total()).for_each(|number| each(&mut source, &mut state, number));
    let span = watch.stop();
    black_box(state);
    Sample::window(plan.count, span, 0)
}
