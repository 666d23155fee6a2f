//! The messages. Every word of a message follows from its number, so a reader can tell a correct message
//! from an old, mixed or truncated one.
//!
//! Messages of up to one cache line are made anew for each send. Larger ones are prepared in a few variants
//! and only stamped with their number, so that filling them does not take longer than sending them. The number
//! of variants is odd, so messages that follow each other in one slot of a ring (whose depth is a power of two)
//! still differ.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

// Two words side by side: the compiler does not find the vector instructions for a few words by itself.
use wide::u64x2 as Pair;

/// Number of prepared variants of a large message.
const VARIANTS: u64 = 3;
/// Difference between neighbouring words of a message.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A message of `N` bytes, aligned to words. With cache line alignment, `rtrb` and `ringbuf` are as fast, and
/// channels that store a stamp beside each message are slower.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Message<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Message<N> {
    const fn is_small() -> bool {
        N <= 64
    }

    /// The words after the first count up from this.
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

    /// The number that a reader will find in it.
    #[inline(always)]
    pub(crate) fn number(&self) -> u64 {
        u64::from_ne_bytes(self.0.as_chunks::<8>().0[0])
    }

    #[inline(always)]
    fn stamp(&mut self, number: u64) {
        self.0.as_chunks_mut::<8>().0[0] = number.to_ne_bytes();
    }
}

/// Pairs of words that are made and checked at a time.
const GROUP: usize = 4;

/// The first words of message `number`, and the words after them, a group each.
#[inline(always)]
fn first_words<const N: usize>(number: u64) -> ([Pair; GROUP], [Pair; GROUP]) {
    let base = Message::<N>::base(number);
    let word = |i: usize| base.wrapping_add((i as u64).wrapping_mul(STEP));
    let words =
        |from: usize| std::array::from_fn(|i| Pair::new([word(from + 2 * i), word(from + 2 * i + 1)]));
    let mut first: [Pair; GROUP] = words(0);
    first[0] = Pair::new([number, word(1)]);
    (first, words(2 * GROUP))
}

/// From the words of one group to those of the next: an addition, which costs less than a product for each word.
#[inline(always)]
fn next_words(words: &mut [Pair; GROUP]) {
    let step = STEP.wrapping_mul(2 * GROUP as u64);
    words.iter_mut().for_each(|pair| *pair += Pair::splat(step));
}

/// Writes every word of message `number`.
#[inline(always)]
pub(crate) fn fill<const N: usize>(place: &mut [u8; N], number: u64) {
    let (first, mut next) = first_words::<N>(number);
    let (pairs, last) = place.as_chunks_mut::<16>();
    let (groups, rest) = pairs.as_chunks_mut::<GROUP>();
    let write = |place: &mut [[u8; 16]], words: &[Pair; GROUP]| {
        place.iter_mut().zip(words).for_each(|(place, pair)| *place = bytes_of(*pair));
    };
    let mut words = first;
    for group in groups {
        write(group, &words);
        words = next;
        next_words(&mut next);
    }
    write(rest, &words);
    if let Some(last) = last.first_chunk_mut::<8>() {
        *last = first_word(words[rest.len()]);
    }
}

/// Whether `bytes` are exactly message `number`. Reads every word.
#[inline(always)]
pub(crate) fn is_correct<const N: usize>(bytes: &[u8], number: u64) -> bool {
    let Ok(bytes) = <&[u8; N]>::try_from(bytes) else { return false };
    let (first, mut next) = first_words::<N>(number);
    let (pairs, last) = bytes.as_chunks::<16>();
    let (groups, rest) = pairs.as_chunks::<GROUP>();
    // One for each pair of a group, so that they do not wait for each other.
    let mut differences = [Pair::ZERO; GROUP];
    let mut compare = |found: &[[u8; 16]], words: &[Pair; GROUP]| {
        for ((difference, found), pair) in differences.iter_mut().zip(found).zip(words) {
            *difference |= pair_in(found) ^ *pair;
        }
    };
    let mut words = first;
    for group in groups {
        compare(group, &words);
        words = next;
        next_words(&mut next);
    }
    compare(rest, &words);
    let last = last.first_chunk::<8>().is_none_or(|last| *last == first_word(words[rest.len()]));
    let [a, b, c, d] = differences;
    last && (a | b | c | d).to_array() == [0, 0]
}

/// The two words in these bytes.
#[inline(always)]
fn pair_in(bytes: &[u8; 16]) -> Pair {
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
    Pair::new([word(0), word(8)])
}

#[inline(always)]
fn bytes_of(pair: Pair) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(pair.to_array()) {
        *place = word.to_ne_bytes();
    }
    bytes
}

#[inline(always)]
fn first_word(pair: Pair) -> [u8; 8] {
    pair.to_array()[0].to_ne_bytes()
}

/// The sender's copies of the messages, aligned to a cache line.
#[repr(align(64))]
pub(crate) struct Source<const N: usize> {
    prepared: [Message<N>; VARIANTS as usize],
}

impl<const N: usize> Source<N> {
    pub(crate) fn new() -> Self {
        Self { prepared: std::array::from_fn(|variant| Message::new(variant as u64)) }
    }

    pub(crate) fn place(&mut self) -> &mut Message<N> {
        &mut self.prepared[0]
    }

    /// Message `number`, ready to be sent.
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

/// Messages in one batch call: 32, or fewer if they are large.
pub(crate) const fn batch_size<const N: usize>() -> usize {
    match (128 << 10) / N {
        0..=2 => 2,
        fits @ 3..=32 => fits,
        _ => 32,
    }
}

/// The sender's copies of a batch of messages.
pub(crate) struct Batch<const N: usize> {
    /// Two more than a batch, so that a batch can start with any variant.
    staged: Vec<Message<N>>,
}

impl<const N: usize> Batch<N> {
    pub(crate) fn new() -> Self {
        let slots = batch_size::<N>() as u64 + VARIANTS - 1;
        Self { staged: (0..slots).map(|slot| Message::new(slot % VARIANTS)).collect() }
    }

    /// The messages with these numbers, at most one batch, ready to be sent.
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

/// The number that a message carries, if its content is correct for that number.
pub(crate) fn number_of<const N: usize>(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_ne_bytes(*bytes.first_chunk()?);
    is_correct::<N>(bytes, number).then_some(number)
}

/// `steps` of arithmetic, each of which depends on the result of the one before.
#[inline(always)]
pub(crate) fn work(mut state: u64, steps: u32) -> u64 {
    for _ in 0..steps {
        state = (state ^ (state >> 29)).wrapping_mul(STEP);
    }
    state
}

/// Random work before each message of a round trip. Both sides poll at fixed intervals, so without it they
/// fall into step, and the phase changes the round trip by tens of nanoseconds, whatever the channel. With it,
/// the mean is over all phases.
pub(crate) struct Jitter {
    max_steps: u32,
    state: u64,
}

impl Jitter {
    pub(crate) fn new(max_steps: u32) -> Self {
        Self { max_steps, state: 1 }
    }

    /// Works for a random number of steps that follows from `seed`.
    #[inline(always)]
    pub(crate) fn delay(&mut self, seed: u64) {
        if self.max_steps != 0 {
            let random = seed.wrapping_mul(STEP) >> 32;
            // Both factors are below 2^32.
            let steps = (random * u64::from(self.max_steps)) >> 32;
            self.state = black_box(work(self.state, steps as u32));
        }
    }
}

/// How many steps of [`work`] take about `nanos` on this machine.
pub(crate) fn steps_of_work(nanos: f64) -> u32 {
    const STEPS: u32 = 1_000_000;
    static NANOS_A_STEP: OnceLock<f64> = OnceLock::new();
    let measure = |_| {
        let start = Instant::now();
        black_box(work(black_box(1), STEPS));
        start.elapsed().as_nanos() as f64 / f64::from(STEPS)
    };
    let fastest = NANOS_A_STEP.get_or_init(|| (0..5).map(measure).fold(f64::INFINITY, f64::min));
    (nanos / fastest).round().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_correct_under_its_own_number_only() {
        fn check<const N: usize>() {
            let mut source = Source::<N>::new();
            for number in [0, 1, 2, 3, 1023, 1024, u64::MAX] {
                let mut message = *source.message(number);
                assert!(is_correct::<N>(&message.0, number));
                assert!(!is_correct::<N>(&message.0, number.wrapping_add(1024)));
                assert!(!is_correct::<N>(&message.0[..N - 1], number));
                message.0[N - 1] ^= 1;
                assert!(!is_correct::<N>(&message.0, number));
            }
        }
        check::<8>();
        check::<64>();
        check::<72>();
        check::<4096>();
    }

    #[test]
    fn every_word_is_made_and_checked() {
        fn check<const N: usize>() {
            let mut message = Message::<N>::new(1027);
            let words: Vec<u64> =
                message.0.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
            assert_eq!(words[0], 1027);
            for (i, word) in words.iter().enumerate().skip(1) {
                let base = if N <= 64 { 1027 } else { 1027 % VARIANTS };
                assert_eq!(*word, base.wrapping_add((i as u64).wrapping_mul(STEP)));
            }
            for byte in 0..N {
                message.0[byte] ^= 1;
                assert!(!is_correct::<N>(&message.0, 1027), "byte {byte}");
                message.0[byte] ^= 1;
            }
            assert!(is_correct::<N>(&message.0, 1027));
        }
        check::<8>();
        check::<64>();
        check::<72>();
        check::<256>();
        check::<1024>();
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
        assert!(!is_correct::<1024>(&mixed.0, 5 + 1024));
    }
}
