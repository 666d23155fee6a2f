//! What travels: messages whose every word follows from their number, so that a reader can tell a
//! right one from an old, a mixed or a cut one.
//!
//! Up to a cache line, the sender makes each message anew. Larger ones are prepared in a few variants
//! and only stamped with their number, so that filling them does not outweigh sending them; neighbours
//! in a ring whose depth is a power of two still differ, because the number of variants is odd.

use std::hint::black_box;

/// Variants in which the words of a large message come.
const VARIANTS: u64 = 3;
/// Difference between neighbouring words of a message.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A message of `N` bytes as the peers that carry values are given it, aligned as words are. (Aligned to
/// cache lines, `rtrb` and `ringbuf` are as fast, and channels that keep a stamp beside each message slower.)
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Message<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Message<N> {
    const fn is_small() -> bool {
        N <= 64
    }

    /// What the words after the first count up from.
    #[inline(always)]
    fn base(number: u64) -> u64 {
        if Self::is_small() { number } else { number % VARIANTS }
    }

    #[inline(always)]
    fn new(number: u64) -> Self {
        let mut message = Self([0; N]);
        fill(&mut message.0, number);
        message
    }

    /// What a reader of it will take for its number.
    #[inline(always)]
    pub(crate) fn number(&self) -> u64 {
        u64::from_ne_bytes(self.0.as_chunks::<8>().0[0])
    }

    #[inline(always)]
    fn stamp(&mut self, number: u64) {
        self.0.as_chunks_mut::<8>().0[0] = number.to_ne_bytes();
    }
}

/// Makes the message `number` in its place, every word of it.
#[inline(always)]
pub(crate) fn fill<const N: usize>(place: &mut [u8; N], number: u64) {
    let base = Message::<N>::base(number);
    let words = place.as_chunks_mut::<8>().0;
    for (i, word) in words.iter_mut().enumerate() {
        *word = base.wrapping_add((i as u64).wrapping_mul(STEP)).to_ne_bytes();
    }
    words[0] = number.to_ne_bytes();
}

/// Whether `bytes` are all of the message `number`. Reads every word.
#[inline(always)]
pub(crate) fn is_right<const N: usize>(bytes: &[u8], number: u64) -> bool {
    let Ok(bytes) = <&[u8; N]>::try_from(bytes) else { return false };
    let words = bytes.as_chunks::<8>().0;
    let base = Message::<N>::base(number);
    let mut difference = u64::from_ne_bytes(words[0]) ^ number;
    for (i, word) in words.iter().enumerate().skip(1) {
        difference |= u64::from_ne_bytes(*word) ^ base.wrapping_add((i as u64).wrapping_mul(STEP));
    }
    difference == 0
}

/// Where a sender takes its messages from: at the start of a cache line, as a careful program has them.
#[repr(align(64))]
pub(crate) struct Source<const N: usize> {
    prepared: [Message<N>; VARIANTS as usize],
}

impl<const N: usize> Source<N> {
    pub(crate) fn new() -> Self {
        Self { prepared: std::array::from_fn(|variant| Message::new(variant as u64)) }
    }

    /// Room for one message.
    pub(crate) fn place(&mut self) -> &mut Message<N> {
        &mut self.prepared[0]
    }

    /// The message `number`, ready to be sent.
    #[inline(always)]
    pub(crate) fn message(&mut self, number: u64) -> &Message<N> {
        if Message::<N>::is_small() {
            self.prepared[0] = Message::new(number);
            &self.prepared[0]
        } else {
            let message = &mut self.prepared[(number % VARIANTS) as usize];
            message.stamp(number);
            message
        }
    }
}

/// Messages of one batch call: 32, fewer if they are large.
pub(crate) const fn batch_size<const N: usize>() -> usize {
    let fits = (128 << 10) / N;
    if fits < 2 {
        2
    } else if fits > 32 {
        32
    } else {
        fits
    }
}

/// Where a sender of batches takes them from.
pub(crate) struct Batch<const N: usize> {
    /// Two more than a batch, so that a batch can begin with any variant.
    staged: Vec<Message<N>>,
}

impl<const N: usize> Batch<N> {
    pub(crate) fn new() -> Self {
        let slots = batch_size::<N>() as u64 + VARIANTS - 1;
        Self { staged: (0..slots).map(|slot| Message::new(slot % VARIANTS)).collect() }
    }

    /// The messages of these numbers, at most a batch of them, ready to be sent.
    #[inline(always)]
    pub(crate) fn messages(&mut self, numbers: std::ops::Range<u64>) -> &[Message<N>] {
        let len = (numbers.end - numbers.start) as usize;
        let skip = if Message::<N>::is_small() { 0 } else { (numbers.start % VARIANTS) as usize };
        let staged = &mut self.staged[skip..skip + len];
        for (message, number) in staged.iter_mut().zip(numbers) {
            if Message::<N>::is_small() {
                *message = Message::new(number);
            } else {
                message.stamp(number);
            }
        }
        staged
    }
}

/// The number of a message, if it is right under it.
pub(crate) fn number_of<const N: usize>(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_ne_bytes(*bytes.first_chunk()?);
    is_right::<N>(bytes, number).then_some(number)
}

/// `steps` of arithmetic, each of which needs the outcome of the one before: the work of a producer
/// between two messages.
#[inline(always)]
pub(crate) fn work(mut state: u64, steps: u32) -> u64 {
    for _ in 0..steps {
        state = (state ^ (state >> 29)).wrapping_mul(STEP);
    }
    state
}

/// Random work before each message of a round trip. Who waits looks at intervals, so both sides of an exchange fall
/// into step, and how well they do changes its time by tens of nanoseconds for reasons that have nothing to do with the
/// channel. With this they do not, and the mean is over all phases.
pub(crate) struct Hesitation {
    most: u32,
    state: u64,
}

impl Hesitation {
    /// Of up to `most` steps.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, state: 1 }
    }

    /// What comes before the call `number`.
    #[inline(always)]
    pub(crate) fn before_call(&mut self, number: u64) {
        self.before(number);
    }

    /// What comes before its answer: of another length.
    #[inline(always)]
    pub(crate) fn before_answer(&mut self, number: u64) {
        self.before(!number);
    }

    #[inline(always)]
    fn before(&mut self, number: u64) {
        if self.most != 0 {
            let random = number.wrapping_mul(STEP) >> 32;
            // At most 2^32 times 2^32.
            self.state = black_box(work(self.state, ((random * u64::from(self.most)) >> 32) as u32));
        }
    }
}

/// How many steps of [`work`] take about `nanos` on this machine.
pub(crate) fn steps_of_work(nanos: f64) -> u32 {
    const STEPS: u32 = 1_000_000;
    let fastest = (0..5)
        .map(|_| {
            let start = std::time::Instant::now();
            black_box(work(black_box(1), STEPS));
            start.elapsed().as_nanos() as f64 / f64::from(STEPS)
        })
        .fold(f64::INFINITY, f64::min);
    (nanos / fastest).round().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_right_under_its_own_number_only() {
        fn check<const N: usize>() {
            let mut source = Source::<N>::new();
            for number in [0, 1, 2, 3, 1023, 1024, u64::MAX] {
                let mut message = *source.message(number);
                assert!(is_right::<N>(&message.0, number));
                assert!(!is_right::<N>(&message.0, number.wrapping_add(1024)));
                assert!(!is_right::<N>(&message.0[..N - 1], number));
                message.0[N - 1] ^= 1;
                assert!(!is_right::<N>(&message.0, number));
            }
        }
        check::<8>();
        check::<64>();
        check::<4096>();
    }

    #[test]
    fn batches_hold_the_messages_of_their_numbers() {
        fn check<const N: usize>() {
            let mut batch = Batch::<N>::new();
            for first in [0, 1, 2, 31, 1000] {
                for len in [1, batch_size::<N>() as u64] {
                    let messages = batch.messages(first..first + len);
                    assert_eq!(messages.len() as u64, len);
                    for (message, number) in messages.iter().zip(first..) {
                        assert_eq!(number_of::<N>(&message.0), Some(number));
                    }
                }
            }
        }
        check::<8>();
        check::<256>();
        check::<65_536>();
    }

    #[test]
    fn a_large_message_mixed_from_a_lap_and_the_next_is_wrong() {
        let mut source = Source::<1024>::new();
        let old = *source.message(5);
        let mut mixed = *source.message(5 + 1024);
        mixed.0[512..].copy_from_slice(&old.0[512..]);
        assert!(!is_right::<1024>(&mixed.0, 5 + 1024));
    }
}
