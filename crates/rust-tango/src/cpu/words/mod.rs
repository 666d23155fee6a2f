//! Payload bytes in words of `AtomicU64`: storing them and copying them out.
//!
//! All payload memory is words of eight bytes. Every access that may race is a relaxed atomic access to a
//! whole word. So a lapped reader sees old or mixed words, never undefined behaviour, and the protocol in
//! [`line`](crate::ring::line) makes it reject them.
//!
//! [`store`] and [`load`] copy payloads of any size. [`Block`] and [`load_few`] copy small ones.
//!
//! Compilers do not vectorise loops over atomics. On x86-64 the copies are therefore also written in inline
//! assembly. The assembly is specified by the portable loop: relaxed accesses to the same aligned words, each
//! word once. It uses vector accesses of 16, 32 or 64 bytes. Each consists of 8-byte parts that are single-copy
//! atomic, and no word is read twice. (Intel and AMD guarantee atomicity for eight aligned bytes. They do not
//! document that a wider access has no smaller parts, but their processors behave that way.)
//!
//! The portable loop runs on all other processors, under the model checker, and with `--cfg portable`. The
//! latter is for sanitizers, which cannot check assembly.
#![allow(unsafe_code)]

use crate::sync::{AtomicU64, Relaxed};

/// Bytes of a word.
pub(crate) const WORD: usize = 8;

/// Copies `bytes` into the words at the start of `to`. If the last word is covered only in part, the rest of
/// it becomes zero, so the words depend on nothing but the payload.
///
/// # Panics
/// If `to` is too short.
#[inline]
pub(crate) fn store(to: &[AtomicU64], bytes: &[u8]) {
    assert!(store_if_fits(to, bytes), "{} bytes do not fit {} words", bytes.len(), to.len());
}

/// [`store`]. False if `to` is too short; nothing is stored then.
#[inline(never)] // each publish contains two to four calls
pub(crate) fn store_if_fits(to: &[AtomicU64], bytes: &[u8]) -> bool {
    let full = bytes.len() / WORD;
    let Some(words) = to.get(..bytes.len().div_ceil(WORD)) else { return false };
    store_full(&words[..full], bytes);
    if words.len() > full {
        store_word(&words[full], last_word(bytes));
    }
    true
}

/// The bytes after the last full word, as one word with zeros above them.
#[inline]
fn last_word(bytes: &[u8]) -> u64 {
    let tail = bytes.len() % WORD;
    if let Some(last) = bytes.last_chunk::<WORD>() {
        // One load that overlaps the word before, instead of a loop. The overlap is shifted out.
        u64::from_le_bytes(*last) >> ((WORD - tail) * 8)
    } else {
        let mut word = 0;
        for (at, byte) in bytes.iter().enumerate() {
            word |= u64::from(*byte) << (at * 8);
        }
        word
    }
    .to_le()
}

/// Stores `to.len()` full words from `bytes`. `bytes` must be at least that long.
#[inline]
fn store_full(to: &[AtomicU64], bytes: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    if to.len() >= vector::FROM_WORDS {
        if let (Some((head, rest)), Some(first)) = (to.split_first_chunk(), bytes.first_chunk()) {
            // Most messages have a head that the caller has just stored, in words or parts of them: see `Block::load`.
            let block = Block::load(first);
            block.store_near(head);
            block.store_far(head);
            let bytes = &bytes[BLOCK..to.len() * WORD];
            // SAFETY: both sides are `rest.len()` words long. The destination is shared atomic memory, aligned to
            // eight bytes. The source is a plain slice, so it does not overlap the destination: by the protocol
            // (see `line`), no `&[u8]` covers words that the producer may write.
            unsafe { vector::copy(rest.as_ptr() as *mut u8, bytes.as_ptr(), rest.len()) };
            return;
        }
    }
    store_each(to, bytes);
}

/// Stores as many full words as both sides have.
#[inline(always)]
pub(crate) fn store_each(to: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in to.iter().zip(bytes.chunks_exact(WORD)) {
        let chunk: [u8; WORD] = chunk.try_into().unwrap_or_default();
        store_word(word, u64::from_ne_bytes(chunk));
    }
}

/// The full words of `bytes`, followed by zeros.
#[inline(always)]
#[cfg(any(not(target_arch = "x86_64"), miri, loom, portable))]
pub(crate) fn full<const WORDS: usize>(bytes: &[u8]) -> [u64; WORDS] {
    let mut chunks = bytes.chunks_exact(WORD);
    core::array::from_fn(|_| {
        chunks.next().and_then(|chunk| chunk.try_into().ok()).map_or(0, u64::from_ne_bytes)
    })
}

/// Stores one word of a payload. (Under the model checker this also counts as a plain write.)
#[inline]
fn store_word(to: &AtomicU64, value: u64) {
    #[cfg(loom)]
    to.write_plain();
    to.store(value, Relaxed);
}

/// Copies all words of `from` to the start of `to`.
///
/// A producer may be writing these words at the same time. The copy must not be used before the protocol has
/// validated it.
///
/// # Panics
/// If `to` is too short.
#[inline]
pub(crate) fn load(from: &[AtomicU64], to: &mut [u64]) {
    let to = &mut to[..from.len()];
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    if from.len() >= vector::LOAD_FROM_WORDS {
        let (to, words) = (to.as_mut_ptr().cast(), from.len());
        let from = from.as_ptr().cast();
        // SAFETY: both sides are that many words long and aligned to eight bytes. `to` is exclusive, so they do not overlap.
        unsafe {
            if words < vector::WIDE_FROM_WORDS {
                vector::by_16(to, from, words);
            } else {
                vector::copy_many(to, from, words);
            }
        }
        return;
    }
    for (word, slot) in from.iter().zip(to) {
        *slot = word.load(Relaxed);
    }
}

/// Copies words that only this thread writes to other such words.
#[inline]
pub(crate) fn relay(from: &[AtomicU64], to: &[AtomicU64]) {
    for (from, to) in from.iter().zip(to) {
        store_word(to, from.load(Relaxed));
    }
}

/// Bytes of a [`Block`].
pub(crate) const BLOCK: usize = 64;

/// 64 bytes in registers, to be stored in one place or in two.
#[derive(Clone, Copy)]
pub(crate) struct Block(Registers);

#[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
type Registers = [core::arch::x86_64::__m128d; 4];
#[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
type Registers = [u64; 8];

impl Block {
    /// Loads word by word. The caller may just have stored `bytes` that way, and a wider load would have to
    /// wait until those stores reach the cache.
    #[inline(always)]
    pub(crate) fn load(bytes: &[u8; 64]) -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
        {
            // SAFETY: the assembly reads the 64 bytes of `bytes`, at any alignment. SSE2 is part of x86-64.
            unsafe {
                let (a, b, c, d);
                core::arch::asm!(
                    "movq {a}, [{from}]",
                    "movhps {a}, [{from} + 8]",
                    "movq {b}, [{from} + 16]",
                    "movhps {b}, [{from} + 24]",
                    "movq {c}, [{from} + 32]",
                    "movhps {c}, [{from} + 40]",
                    "movq {d}, [{from} + 48]",
                    "movhps {d}, [{from} + 56]",
                    from = in(reg) bytes.as_ptr(),
                    a = out(xmm_reg) a,
                    b = out(xmm_reg) b,
                    c = out(xmm_reg) c,
                    d = out(xmm_reg) d,
                    options(pure, readonly, nostack, preserves_flags),
                );
                Self([a, b, c, d])
            }
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
        {
            Self(full(bytes))
        }
    }

    /// Stores the second half.
    #[inline(always)]
    pub(crate) fn store_far(self, to: &[AtomicU64; 8]) {
        self.store_half(to, 2);
    }

    /// Stores the first half.
    #[inline(always)]
    pub(crate) fn store_near(self, to: &[AtomicU64; 8]) {
        self.store_half(to, 0);
    }

    /// Stores two of the four quarters, `at` and the next.
    #[inline(always)]
    fn store_half(self, to: &[AtomicU64; 8], at: usize) {
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
        // SAFETY: `to` is 64 bytes of shared atomic memory, aligned to eight. The two stores cover 32 of
        // them, because `at` is 0 or 2. The head of this file says why they count as relaxed stores of words.
        unsafe {
            core::arch::asm!(
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                to = in(reg) to[2 * at..].as_ptr(),
                a = in(xmm_reg) self.0[at],
                b = in(xmm_reg) self.0[at + 1],
                options(nostack, preserves_flags),
            );
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
        for (to, value) in to.iter().zip(self.0).skip(2 * at).take(4) {
            store_word(to, value);
        }
    }
}

/// Copies `WORDS` words, a small number known at compile time. As with [`load`], a producer may be writing
/// them.
///
/// It copies 16 bytes at a time where possible. Code that later reads the copy 16 bytes at a time would
/// otherwise have to wait until the narrower stores reach the cache.
#[inline(always)]
pub(crate) fn load_few<const WORDS: usize>(from: &[AtomicU64; WORDS], to: &mut [u64; WORDS]) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    for at in (0..WORDS).step_by(2) {
        let (from, to) = (from[at..].as_ptr(), to[at..].as_mut_ptr());
        if at + 1 < WORDS {
            // SAFETY: both sides have two words from here on, aligned to eight. `to` is exclusive, so they do
            // not overlap.
            unsafe {
                core::arch::asm!(
                    "movups {two}, [{from}]",
                    "movups [{to}], {two}",
                    from = in(reg) from,
                    to = in(reg) to,
                    two = out(xmm_reg) _,
                    options(nostack, preserves_flags),
                );
            }
        } else {
            // SAFETY: as above, for one word.
            unsafe {
                core::arch::asm!(
                    "mov {one}, [{from}]",
                    "mov [{to}], {one}",
                    from = in(reg) from,
                    to = in(reg) to,
                    one = out(reg) _,
                    options(nostack, preserves_flags),
                );
            }
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    load(from, to);
}

/// Stores `bytes` at any byte offset of `to`. A word that is covered only in part, at either end, keeps its
/// other bytes.
///
/// Only for the one thread that writes these words: a partly covered word is read, changed and stored again.
///
/// # Panics
/// If `to` is too short.
#[inline]
pub(crate) fn store_at(to: &[AtomicU64], offset: usize, bytes: &[u8]) {
    assert!(
        offset.checked_add(bytes.len()).is_some_and(|end| end <= to.len() * WORD),
        "{} bytes at offset {offset} end outside of the payload",
        bytes.len()
    );
    let (mut at, mut rest) = (offset, bytes);
    while !rest.is_empty() {
        let within = at % WORD;
        let word = &to[at / WORD];
        if within == 0 && rest.len() >= WORD {
            let full = rest.len() / WORD;
            store_full(&to[at / WORD..][..full], rest);
            at += full * WORD;
            rest = &rest[full * WORD..];
        } else {
            let take = rest.len().min(WORD - within);
            let mut whole = word.load(Relaxed).to_ne_bytes();
            whole[within..within + take].copy_from_slice(&rest[..take]);
            store_word(word, u64::from_ne_bytes(whole));
            at += take;
            rest = &rest[take..];
        }
    }
}

/// The first `len` bytes of `words` as a mutable slice, for the thread that writes them.
///
/// # Safety
/// As long as the slice lives, no other code reads or writes any of these words.
///
/// # Panics
/// If `words` is too short.
#[allow(clippy::mut_from_ref)] // the words are interior-mutable, and the caller guarantees exclusive access
pub(crate) unsafe fn lend_mut(words: &[AtomicU64], len: usize) -> &mut [u8] {
    assert!(len <= words.len() * WORD);
    if cfg!(loom) {
        unimplemented!("the model checker does not see plain stores");
    }
    // SAFETY: `words` is initialised memory of at least `len` bytes, and outlives the slice. Atomics are
    // interior-mutable, so writing through a shared reference to them is allowed. The caller guarantees that
    // no other code accesses them meanwhile.
    unsafe { core::slice::from_raw_parts_mut(words.as_ptr() as *mut u8, len) }
}

#[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
mod vector;

#[cfg(all(
    test,
    feature = "shm",
    target_os = "linux",
    target_arch = "x86_64",
    not(any(miri, loom, portable))
))]
mod assembly;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[AtomicU64]) -> Vec<u8> {
        let mut copy = vec![0; words.len()];
        load(words, &mut copy);
        copy.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    #[test]
    fn every_length_comes_back_and_touches_nothing_behind_it() {
        let source: Vec<u8> = (0..=255).cycle().take(400).collect();
        for len in (0..=300).step_by(if cfg!(miri) { 7 } else { 1 }) {
            for shift in [0, 1, 5] {
                let memory = words(50);
                let payload = &source[shift..shift + len];
                store(&memory, payload);
                let used = len.div_ceil(WORD);
                let bytes = bytes(&memory[..used]);
                assert_eq!(&bytes[..len], payload, "length {len}");
                assert!(bytes[len..].iter().all(|byte| *byte == 0));
                assert!(memory[used..].iter().all(|word| word.load(Relaxed) == u64::MAX));
            }
        }
    }

    #[test]
    fn writing_at_an_offset_keeps_the_rest() {
        // Offsets and lengths below, at and above the bounds of words.
        for offset in (0..20).step_by(if cfg!(miri) { 3 } else { 1 }) {
            for len in (0..40).step_by(if cfg!(miri) { 5 } else { 1 }) {
                let memory = words(8);
                let mut expected = [0xff_u8; 64];
                let patch: Vec<u8> = (1..=len as u8).collect();
                store_at(&memory, offset, &patch);
                expected[offset..offset + len].copy_from_slice(&patch);
                assert_eq!(bytes(&memory), expected);
            }
        }
    }

    #[test]
    #[should_panic(expected = "end outside of the payload")]
    fn writing_over_the_end_is_refused() {
        store_at(&words(1), 5, &[0; 4]);
    }
}
