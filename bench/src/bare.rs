//! What the hardware and the kernel do without a channel, for comparison. A channel may exceed such a row: it has other
//! hints for the caches, for example. The report then says so.

use std::cell::UnsafeCell;
use std::fs::File;
use std::hint::black_box;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use memmap2::{Mmap, MmapMut};
use nix::sys::memfd::{MFdFlags, memfd_create};
use rustix::thread::futex;

use crate::cores::{Cores, Stopwatch, now, pause, pin};
use crate::exchange::{both, schedule, since, wait_until, without_jitter};
use crate::message::{Jitter, Message, Source, is_correct, work};
use crate::plan::{Load, Plan, RowId, Sample};

/// Round trips of one probe of the distance.
const PROBE: u64 = 500;
/// Nanoseconds from the start of the producer to the first message that is due: both threads are running by then.
const HEAD_START: u64 = 1_000_000;

/// An atomic word in two cache lines of its own, because the hardware prefetches the neighbour of a line.
#[repr(align(128))]
struct Word(AtomicU64);

/// A ring of words as its writer and its reader see it.
#[derive(Clone, Copy)]
struct Ends<'a> {
    writer: &'a [Word],
    reader: &'a [Word],
}

/// Round trip of an atomic word each way, the `n`-th in slot `n` of a ring: one cache line travels there, one back.
/// With one slot, it is always the same two lines, which stay in the innermost caches.
pub(crate) fn round_trip(plan: &Plan, slots: usize) -> Sample {
    let ring = || -> Vec<Word> { (0..slots).map(|_| Word(AtomicU64::new(0))).collect() };
    let (there, back) = (ring(), ring());
    let same = |ring| Ends { writer: ring, reader: ring };
    words_there_and_back(plan, same(&there), same(&back))
}

/// The same with one slot in shared memory, which each side reads through a read-only mapping.
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
        file.set_len(PAGE as u64).expect("there is memory for a page");
        // SAFETY: the file is known to this function only, so nobody truncates it.
        let maps = unsafe { MmapMut::map_mut(&file).and_then(|map| Ok((map, Mmap::map(&file)?))) };
        let (writable, read_only) = maps.expect("the file is there");
        Self { writable, read_only }
    }

    #[allow(unsafe_code)]
    fn ends(&self) -> Ends<'_> {
        // SAFETY: both mappings are aligned to a page, at least as long as a word, and live as long as `self`. The
        // bytes are accessed as atomics only; those of the second are loaded relaxed and never written.
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
        // Only relaxed loads are allowed in read-only memory.
        while ring.reader[number as usize & mask].0.load(Ordering::Relaxed) != number {
            pause();
        }
        // Pairs with the store in `put`.
        fence(Ordering::Acquire);
    };
    let echo = || {
        pin(plan.cores.consumer);
        let mut jitter = Jitter::new(plan.load.jitter);
        let watch = Stopwatch::start();
        for number in 1..=plan.total() {
            await_number(there, number);
            jitter.delay(!number);
            put(back, number);
        }
        watch.stop()
    };
    let call = || {
        pin(plan.cores.producer);
        let mut jitter = Jitter::new(plan.load.jitter);
        let mut call = |number| {
            jitter.delay(number);
            put(there, number);
            await_number(back, number);
        };
        (1..=plan.warm).for_each(&mut call);
        let watch = Stopwatch::start();
        (plan.warm + 1..=plan.total()).for_each(call);
        Sample::window(plan.count, without_jitter(watch.stop(), plan), 0)
    };
    both(echo, call, true)
}

/// The distance between the two cores now: nanoseconds for the round trip of an atomic word. The minimum of a few
/// short probes, because an interruption of one of them does not change the distance.
pub(crate) fn distance(cores: Cores) -> f64 {
    let (load, row) = (Load::default(), RowId::default());
    let plan = Plan { cores, warm: PROBE / 4, count: PROBE, load, row };
    (0..3).map(|_| round_trip(&plan, 1).figure).fold(f64::INFINITY, f64::min)
}

/// Latency of an atomic word on a schedule: one thread stores the number of the message, and the other sees it.
pub(crate) fn word_on_schedule(plan: &Plan) -> Sample {
    let word = Word(AtomicU64::new(0));
    let put = |number: u64| word.0.store(number, Ordering::Release);
    on_schedule(plan, put, |number| {
        while word.0.load(Ordering::Acquire) < number {
            pause();
        }
    })
}

/// Latency of a futex on the same schedule: the reader sleeps in the kernel until it is woken.
pub(crate) fn futex_on_schedule(plan: &Plan) -> Sample {
    let word = AtomicU32::new(0);
    let flags = futex::Flags::PRIVATE;
    let put = |number: u64| {
        word.store(number as u32, Ordering::Release);
        futex::wake(&word, flags, 1).expect("the word is there");
    };
    let await_number = |number: u64| loop {
        let seen = word.load(Ordering::Acquire);
        if seen >= number as u32 {
            return;
        }
        // An error means that the word has changed or that a signal arrived. In either case it is loaded again.
        let _ = futex::wait(&word, flags, seen, None);
    };
    Sample { on_core: 1.0, ..on_schedule(plan, put, await_number) }
}

/// Puts numbers, from 1 on, when they are due. The latency is from then until `await_number` returns.
fn on_schedule(plan: &Plan, put: impl Fn(u64) + Sync, await_number: impl Fn(u64) + Sync) -> Sample {
    // When the first is due; 0 until the producer has started.
    let first = Word(AtomicU64::new(0));
    let produce = || {
        pin(plan.cores.producer);
        let watch = Stopwatch::start();
        let start = now() + HEAD_START;
        first.0.store(start, Ordering::Release);
        for (number, due) in schedule(plan, start) {
            wait_until(due);
            put(number + 1);
        }
        watch.stop()
    };
    let consume = || {
        pin(plan.cores.consumer);
        let mut latencies = vec![u32::MAX; plan.count as usize];
        while first.0.load(Ordering::Acquire) == 0 {
            pause();
        }
        let watch = Stopwatch::start();
        let start = first.0.load(Ordering::Acquire);
        for ((number, due), latency) in schedule(plan, start).zip(&mut latencies) {
            await_number(number + 1);
            *latency = since(due);
        }
        Sample::timed(&latencies, watch.stop(), 0)
    };
    both(produce, consume, true)
}

/// A producer's work and the making of each message, without a channel.
pub(crate) fn producer_work_alone<const N: usize>(plan: &Plan) -> Sample {
    alone(plan, |source: &mut Source<N>, state, number| {
        *state = work(*state, plan.load.producer_work);
        black_box(source.message(number));
    })
}

/// A consumer's work alone: checking each message, which lies in its own cache, and computing.
pub(crate) fn consumer_work_alone<const N: usize>(plan: &Plan) -> Sample {
    alone(plan, |source: &mut Source<N>, state, number| {
        assert!(is_correct::<N>(&black_box(source.message(number)).0, number));
        *state = work(*state, plan.load.consumer_work);
    })
}

/// One thread copies messages of `N` bytes into a ring with `slots` slots, and nobody reads.
pub(crate) fn copy<const N: usize>(plan: &Plan, slots: usize) -> Sample {
    let mut ring = vec![0_u8; slots * N];
    alone(plan, |source: &mut Source<N>, _, number| {
        let at = (number as usize % slots) * N;
        ring[at..at + N].copy_from_slice(&source.message(number).0);
        black_box(&mut ring);
    })
}

/// Slots that one thread writes and another one reads, never both at the same time.
struct Slots<const N: usize>(Vec<UnsafeCell<Message<N>>>);

// SAFETY: `copy_across`, the only user, keeps the two threads away from each other's slots.
#[allow(unsafe_code)]
unsafe impl<const N: usize> Sync for Slots<N> {}

/// What a channel does at least that copies each message once: one thread copies them into a ring, the other checks
/// them there, and the two exchange their progress only eight times a lap. The producer does `producer_work` before
/// each.
#[allow(unsafe_code)]
pub(crate) fn copy_across<const N: usize>(plan: &Plan, slots: usize) -> Sample {
    assert!(slots.is_power_of_two() && slots >= 8);
    let (mask, step) = (slots - 1, slots as u64 / 8);
    let ring = Slots::<N>((0..slots).map(|_| UnsafeCell::new(Message([0; N]))).collect());
    let ring = &ring;
    // Messages that have been written, and messages that have been read.
    let (written, read) = (Word(AtomicU64::new(0)), Word(AtomicU64::new(0)));
    let total = plan.total();
    let write = || {
        pin(plan.cores.producer);
        let watch = Stopwatch::start();
        let mut source = Source::new();
        let mut state = 1;
        let mut limit = slots as u64;
        for number in 0..total {
            state = work(state, plan.load.producer_work);
            while number == limit {
                // Pairs with the store in `check`, after the last read of these slots.
                limit = read.0.load(Ordering::Acquire) + slots as u64;
                if number == limit {
                    pause();
                }
            }
            // SAFETY: `number` is below the limit, so the reader is done with the slot, and does not read it again
            // before `written` exceeds `number`.
            unsafe { *ring.0[number as usize & mask].get() = *source.message(number) };
            if (number + 1).is_multiple_of(step) || number + 1 == total {
                written.0.store(number + 1, Ordering::Release);
            }
        }
        black_box(state);
        watch.stop()
    };
    let check = |numbers: Range<u64>, limit: &mut u64| {
        let mut wrong = 0;
        for number in numbers {
            while number == *limit {
                // Pairs with the store in `write`, after these slots were written.
                *limit = written.0.load(Ordering::Acquire);
                if number == *limit {
                    pause();
                }
            }
            // SAFETY: `written` exceeds `number`, so the slot was written, and it is not written again before `read`
            // exceeds `number`.
            let message = unsafe { &*ring.0[number as usize & mask].get() };
            wrong += u64::from(!is_correct::<N>(&message.0, number));
            if (number + 1).is_multiple_of(step) {
                read.0.store(number + 1, Ordering::Release);
            }
        }
        wrong
    };
    let check_all = || {
        pin(plan.cores.consumer);
        let mut limit = 0;
        let mut wrong = check(0..plan.warm, &mut limit);
        let watch = Stopwatch::start();
        wrong += check(plan.warm..total, &mut limit);
        Sample::window(plan.count, watch.stop(), wrong)
    };
    both(write, check_all, true)
}

/// A page of memory.
const PAGE: usize = 4096;

/// Memory of this many bytes, each page of which has been touched.
pub(crate) fn touch(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0; bytes];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *black_box(byte) = 1);
    memory
}

/// The same in a new file in this folder, mapped.
#[allow(unsafe_code)]
pub(crate) fn touch_shared(folder: &Path, bytes: usize) -> MmapMut {
    let mut options = File::options();
    let file = options.read(true).write(true).create_new(true).open(folder.join("memory"));
    let file = file.expect("a file in shared memory");
    file.set_len(bytes as u64).expect("there is memory for it");
    // SAFETY: the folder is private to this run, and nothing else in it touches the file.
    let mut memory = unsafe { MmapMut::map_mut(&file) }.expect("the file is there");
    memory.iter_mut().step_by(PAGE).for_each(|byte| *black_box(byte) = 1);
    memory
}

/// Only the producer. `each` gets the source of the messages, the state of the work, and the number of the message.
pub(crate) fn alone<const N: usize>(
    plan: &Plan,
    mut each: impl FnMut(&mut Source<N>, &mut u64, u64),
) -> Sample {
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
