//! Shared by all tests: fragments whose content follows from their number, deterministic random numbers, and
//! a limit on how long a test may hang.

#![allow(dead_code)] // each test uses only a part of this

#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) mod executor;
#[cfg(feature = "std")]
pub(crate) mod exercise;
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) mod hostile;
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) mod kernel;
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) mod process;
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) mod producers;
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) mod users;
#[cfg(feature = "std")]
pub(crate) mod waiting;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rust_tango::{Fragment, FragmentMetadata, Producer, TangoError};

/// How long a test may take before it fails. Generous, because the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(if cfg!(miri) { 3600 } else { 120 });

/// `count`, or at most 24 under Miri, which interprets every step.
pub(crate) const fn few(count: u64) -> u64 {
    if cfg!(miri) && count > 24 { 24 } else { count }
}

/// Runs a test in a thread and fails if it does not finish in time. For tests that would hang if the library
/// were wrong.
pub(crate) fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = channel();
    let body = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match is_done.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Timeout) => panic!("not finished after {PATIENCE:?}"),
        _ => body.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Drops the producer during a panic that prints nothing, which counts as its death.
pub(crate) fn die_by_panic(producer: Producer<'_>) {
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _producer = producer;
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(died.is_err());
}

/// Deterministic pseudo-random numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The tag of fragment `seq`.
pub(crate) fn sig(seq: u64) -> u64 {
    mix(seq ^ 0x5151)
}

/// The payload size of fragment `seq`, 0 to `max`. Half of the payloads fit into a slot of 128 bytes.
pub(crate) fn size(seq: u64, max: usize) -> usize {
    let random = mix(seq ^ 0x5117e);
    let max = if random & 1 == 0 { max.min(96) } else { max };
    (random >> 1) as usize % (max + 1)
}

/// The payload of fragment `seq`, of up to `max` bytes.
pub(crate) fn payload(seq: u64, max: usize) -> Vec<u8> {
    bytes(seq, size(seq, max))
}

/// `len` bytes that differ for each `seed`.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let words = (0..len.div_ceil(8) as u64).flat_map(|at| word(seed, at).to_le_bytes());
    let mut bytes: Vec<u8> = words.collect();
    bytes.truncate(len);
    bytes
}

fn word(seed: u64, at: u64) -> u64 {
    mix(seed).wrapping_add(at.wrapping_mul(0x0101_0101_0101_0101))
}

/// Publishes the next fragment, with the content that follows from its number.
pub(crate) fn publish(tx: &Producer<'_>, max: usize) -> Result<FragmentMetadata, TangoError> {
    let seq = tx.next_seq();
    let meta = tx.publish(&payload(seq, max), sig(seq), sig(seq) as u16, seq as u32)?;
    assert_eq!(meta.seq, seq);
    assert_eq!(tx.next_seq(), seq.wrapping_add(1));
    Ok(meta)
}

/// [`publish`], but waits for credits.
pub(crate) fn publish_blocking(tx: &Producer<'_>, max: usize) {
    let seq = tx.next_seq();
    tx.publish_blocking(&payload(seq, max), sig(seq), sig(seq) as u16, seq as u32).unwrap();
}

/// Asserts that every byte and every field of a fragment is what [`publish`] wrote.
#[track_caller]
pub(crate) fn assert_whole(meta: &FragmentMetadata, bytes: &[u8], max: usize) {
    let seq = meta.seq;
    assert_eq!(meta.sig, sig(seq), "sig of fragment {seq}");
    assert_eq!(meta.ctl, sig(seq) as u16, "ctl of fragment {seq}");
    assert_eq!(meta.ts, seq as u32, "ts of fragment {seq}");
    assert_eq!((meta.size as usize, bytes.len()), (size(seq, max), size(seq, max)), "size of fragment {seq}");
    let (words, tail) = bytes.as_chunks_of_eight();
    for (at, found) in words.enumerate() {
        assert_eq!(found, word(seq, at as u64).to_le_bytes(), "word {at} of fragment {seq}");
    }
    let last = word(seq, (bytes.len() / 8) as u64).to_le_bytes();
    assert_eq!(tail, &last[..tail.len()], "end of fragment {seq}");
}

trait Chunks {
    fn as_chunks_of_eight(&self) -> (impl Iterator<Item = [u8; 8]>, &[u8]);
}

impl Chunks for [u8] {
    fn as_chunks_of_eight(&self) -> (impl Iterator<Item = [u8; 8]>, &[u8]) {
        let chunks = self.chunks_exact(8);
        let tail = chunks.remainder();
        (chunks.map(|chunk| chunk.try_into().unwrap()), tail)
    }
}

/// [`assert_whole`], and the fragment must have number `seq`.
#[track_caller]
pub(crate) fn assert_is(fragment: &Fragment<'_>, seq: u64, max: usize) {
    assert_eq!(fragment.meta.seq, seq);
    assert_whole(&fragment.meta, fragment.payload.as_slice(), max);
}
