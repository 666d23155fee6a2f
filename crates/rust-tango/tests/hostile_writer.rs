//! Somebody writes random words into all files of a link in use, through a mapping of its own, while all
//! parties work. Nobody crashes, every call returns soon, and after the writes the link delivers fragments
//! again.
//!
//! There is no reliable consumer: its slices lie in that memory, and the documentation of links requires that
//! nobody else writes there.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::OpenOptions;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::hostile::{
    CONSUMER, CONSUMER_WORDS, DEPTH, HEAD, HEAD_WORDS, HOT_SLOT, HOT_SLOT_WORDS, MTU, NAME, RING, SLOT_WORDS,
    builder, hostile_value,
};
use common::process::TestFolder;
use common::{Random, assert_whole, in_time, publish};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use rust_tango::{Assembler, Consumer, Link, Producer, Start, Wait};

/// How long the files are overwritten.
const OVERWRITING: Duration = Duration::from_millis(1500);
/// The longest that a call may take which waits for nothing, or for a few milliseconds. Generous, because the
/// machine may be busy, and an error would show as a call that never returns.
const SOON: Duration = Duration::from_secs(20);
/// The timeout of calls that have one.
const SHORT: Duration = Duration::from_millis(2);

/// A whole file, mapped writable.
struct Mapped(&'static [AtomicU64]);

impl Mapped {
    fn new(file: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
        let len = NonZeroUsize::new(file.metadata().unwrap().len() as usize).unwrap();
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping of a file that keeps its length. It is used as atomics only, and stays until
        // `drop`, which nothing outlives.
        let words = unsafe {
            let start = mmap(None, len, access, MapFlags::MAP_SHARED, &file, 0).unwrap();
            std::slice::from_raw_parts(start.as_ptr().cast(), len.get() / 8)
        };
        Self(words)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let start = std::ptr::NonNull::from(self.0).cast();
        // SAFETY: this is the mapping that `new` has made, and the slice is not used any more.
        unsafe { munmap(start, self.0.len() * 8) }.unwrap();
    }
}

/// Overwrites words for a while. With `everything`, also the state of the producer, the stop word and the
/// headers.
fn overwrite_at_random(path: &Path, seed: u64, everything: bool) {
    let files = ["tx", "rx.0", "rx.1", "ctl"].map(|file| Mapped::new(&path.join(file)));
    let mut random = Random::new(seed);
    let begin = Instant::now();
    while begin.elapsed() < OVERWRITING {
        for _ in 0..64 {
            let (file, word) = match random.below(if everything { 9 } else { 7 }) {
                0 | 1 => (0, RING + random.below(DEPTH) * SLOT_WORDS + random.below(4)),
                2 => (0, RING + random.below(DEPTH * SLOT_WORDS + 100)),
                3 => (1 + random.below(2), CONSUMER + random.below(CONSUMER_WORDS)),
                // The eventcount; floor, stalls, held_by, sole; oldest; next.
                4 => (0, HEAD + 16 + random.below(HEAD_WORDS - 16)),
                // Plausible numbers: the line of a fragment near the next one.
                5 => {
                    let near = files[0].0[(HEAD + 64) as usize].load(Relaxed).wrapping_add(random.below(32));
                    let n = near.wrapping_sub(16);
                    let word = RING + (n % DEPTH) * SLOT_WORDS;
                    files[0].0[word as usize].store(n, Relaxed);
                    continue;
                }
                6 => (0, HOT_SLOT + random.below(HOT_SLOT_WORDS)),
                7 => (0, HEAD + random.below(16)),
                _ => (random.below(4), [0, 1, 2, 3, 4, 5, 6, 16][random.below(8) as usize]),
            };
            // The stop word ends everything at once, so it is written rarely.
            if file != 3 || random.below(1000) == 0 {
                files[file as usize].0[word as usize].store(hostile_value(&mut random), Relaxed);
            }
        }
        std::thread::yield_now();
    }
}

/// Repeats a call until `over`. No call may take long. Returns how many there were.
fn repeat(over: &AtomicBool, what: &str, mut call: impl FnMut(u64)) -> u64 {
    let mut calls = 0;
    while !over.load(Relaxed) {
        let begin = Instant::now();
        call(calls);
        assert!(begin.elapsed() < SOON, "{what}: call {calls} took {:?}", begin.elapsed());
        calls += 1;
    }
    calls
}

fn produce(tx: &mut Producer<'_>, call: u64) {
    let bytes = [call as u8; MTU];
    match call % 8 {
        0 => drop(tx.loan(MTU).map(|mut loan| {
            loan.write_at(7, &bytes[7..]);
            loan.commit(call, 0, 0)
        })),
        1 => drop(tx.publish_batch(&[&bytes[..10], &bytes, &[]], call, 0)),
        2 if call % 256 == 2 => drop(tx.wait_until_drained(Some(SHORT))),
        3 if call % 256 == 3 => drop(tx.wait_for_consumers(2, Some(SHORT))),
        4 => drop((tx.consumers(), tx.held_by(), tx.is_drained())),
        _ => drop(tx.publish(&bytes[..call as usize % (MTU + 1)], call, call as u16, 0)),
    }
}

fn read(rx: &mut Consumer<'_>, assembler: &mut Assembler, call: u64) {
    let look = |bytes: &[u8]| {
        assert!(bytes.len() <= MTU);
        std::hint::black_box(bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
    };
    match call % 8 {
        0 => drop(rx.poll_batch(usize::MAX).map(|batch| {
            assert!(batch.len() as u64 <= DEPTH);
            batch.iter().for_each(|fragment| look(fragment.payload.as_slice()));
        })),
        1 => drop(rx.poll_if(|sig| sig % 2 == 0).map(|found| found.map(|fragment| fragment.payload.read()))),
        2 => drop(rx.is_closed()),
        3 => {
            let _ =
                rx.wait_timeout(SHORT).map(|found| found.map(|fragment| look(fragment.payload.as_slice())));
        }
        4 if call % 1024 == 4 => drop(rx.wait_for_producer(Some(SHORT))),
        _ => {
            if let Ok(Some(fragment)) = rx.poll() {
                look(fragment.payload.as_slice());
                let _ = assembler.push(&fragment);
            }
        }
    }
}

/// All parties work while the files are overwritten. Returns the producer.
fn all_parties_work(folder: &Path, seed: u64, everything: bool) -> (Link, Producer<'static>) {
    let link = builder(folder).create(NAME).unwrap();
    let mut tx = link.producer().unwrap().with_patience(SHORT).with_wait(Wait::ParkAfter(SHORT / 4));
    let (path, over) = (folder.join(NAME), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let producing = scope.spawn(|| repeat(&over, "producer", |call| produce(&mut tx, call)));
        let readers = [
            link.observer_from(Start::Oldest).unwrap(),
            link.observer().unwrap().with_wait(Wait::Yield),
            link.evictable_consumer(Start::Oldest).unwrap(),
        ];
        let reading = readers.map(|mut rx| {
            let over = &over;
            scope.spawn(move || {
                let mut assembler = Assembler::new(1 << 16);
                repeat(over, "reader", |call| read(&mut rx, &mut assembler, call))
            })
        });
        let joining = scope.spawn(|| {
            repeat(&over, "joining", |call| {
                let start = [Start::Oldest, Start::Next, Start::At(call)][call as usize % 3];
                let mut assembler = Assembler::new(1 << 16);
                let again = Link::open_in(folder, NAME);
                let link = again.as_ref().unwrap_or(&link);
                for mut rx in
                    [link.observer_from(start), link.evictable_consumer(start)].into_iter().flatten()
                {
                    (0..32).for_each(|call| read(&mut rx, &mut assembler, call));
                }
            })
        });
        let reading_status = scope.spawn(|| repeat(&over, "status", |_| drop(link.status())));
        overwrite_at_random(&path, seed, everything);
        over.store(true, Relaxed);
        let calls = [producing.join(), joining.join(), reading_status.join()].map(|calls| calls.unwrap());
        assert!(calls.iter().all(|calls| *calls > 1), "too few calls: {calls:?}");
        for calls in reading.map(|reader| reader.join().unwrap()) {
            assert!(calls > 10, "a reader has made {calls} calls");
        }
    });
    (link, tx)
}

#[test]
fn everything_is_overwritten() {
    in_time(|| {
        for seed in 0..3 {
            let folder = TestFolder::new();
            let (link, tx) = all_parties_work(folder.path(), seed, true);
            // A later producer can take over the link, whatever its state.
            drop(tx);
            let tx = link.producer().unwrap();
            for _ in 0..3 * DEPTH {
                let _ = publish(&tx, MTU);
            }
        }
    });
}

#[test]
fn the_link_works_again_after_the_writes() {
    in_time(|| {
        for seed in 3..6 {
            let folder = TestFolder::new();
            let (link, tx) = all_parties_work(folder.path(), seed, false);
            // All consumers have gone. A new one gets everything from now on.
            for _ in 0..2 * DEPTH {
                let begin = Instant::now();
                while publish(&tx, MTU).is_err() {
                    assert!(
                        begin.elapsed() < SOON,
                        "consumers that have gone hold the producer back: {:?}",
                        link.status()
                    );
                }
            }
            let mut ob = link.observer().unwrap();
            for _ in 0..10 * DEPTH {
                let seq = publish(&tx, MTU).unwrap().seq;
                let fragment = ob.poll().unwrap().unwrap();
                assert_eq!(fragment.meta.seq, seq);
                assert_whole(&fragment.meta, fragment.payload.as_slice(), MTU);
            }
        }
    });
}
