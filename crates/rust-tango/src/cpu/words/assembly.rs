//! Tests that the copies in assembly do the same as the portable loop: for every length and alignment, with
//! every byte, and without touching any other byte.
//!
//! Models, sanitizers and Miri cannot check assembly. So source and target lie next to pages that fault on
//! any access.

use super::*;
use crate::cpu::processor::{Processor, Width};
use core::num::NonZeroUsize;
use core::slice::from_raw_parts_mut;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use proptest::prelude::*;
use std::vec::Vec;

const PAGE: usize = 4096;
/// The value of bytes that no copy has written.
const UNTOUCHED: u8 = 0xee;

/// Two accessible pages between two inaccessible ones.
struct Between(core::ptr::NonNull<core::ffi::c_void>);

/// Next to which of the inaccessible pages some bytes lie, and how many bytes away from it.
#[derive(Debug, Clone, Copy)]
enum At {
    Front(usize),
    Back(usize),
}

impl Between {
    const INSIDE: usize = 2 * PAGE;

    fn new() -> Self {
        let whole = NonZeroUsize::new(Self::INSIDE + 2 * PAGE).unwrap();
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel picks a free range. Its first and last page become inaccessible before anything
        // uses them.
        unsafe {
            let start = mmap_anonymous(None, whole, access, MapFlags::MAP_PRIVATE).unwrap();
            mprotect(start, PAGE, ProtFlags::PROT_NONE).unwrap();
            mprotect(start.byte_add(PAGE + Self::INSIDE), PAGE, ProtFlags::PROT_NONE).unwrap();
            Self(start)
        }
    }

    /// The accessible pages.
    fn inside(&mut self) -> &mut [u8] {
        // SAFETY: mapped, initialised by the kernel, and borrowed with `self`.
        unsafe { from_raw_parts_mut(self.0.cast::<u8>().as_ptr().add(PAGE), Self::INSIDE) }
    }

    /// `len` bytes at this position. They and all bytes around them are reset to [`UNTOUCHED`].
    fn bytes(&mut self, len: usize, at: At) -> &mut [u8] {
        let inside = self.inside();
        inside.fill(UNTOUCHED);
        match at {
            At::Front(away) => &mut inside[away..][..len],
            At::Back(away) => &mut inside[Self::INSIDE - away - len..][..len],
        }
    }

    /// Whether all bytes except those `len` are still [`UNTOUCHED`].
    fn is_untouched_beside(&mut self, len: usize, at: At) -> bool {
        let begin = match at {
            At::Front(away) => away,
            At::Back(away) => Self::INSIDE - away - len,
        };
        let inside = self.inside();
        inside[..begin].iter().chain(&inside[begin + len..]).all(|byte| *byte == UNTOUCHED)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping, and nothing refers to it any more.
        unsafe { munmap(self.0, Self::INSIDE + 2 * PAGE).unwrap() };
    }
}

/// Bytes as the atomic words of a ring.
fn atomics(bytes: &mut [u8]) -> &mut [AtomicU64] {
    assert!(bytes.as_ptr().addr() % WORD == 0 && bytes.len() % WORD == 0);
    // SAFETY: the bytes are aligned, whole words, initialised and exclusively borrowed. Any bytes are a valid
    // word.
    unsafe { from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / WORD) }
}

/// Bytes as the plain words of a reader's copy.
fn plain(bytes: &mut [u8]) -> &mut [u64] {
    assert!(bytes.as_ptr().addr() % WORD == 0 && bytes.len() % WORD == 0);
    // SAFETY: as in `atomics`.
    unsafe { from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / WORD) }
}

/// The words that the portable loop stores for some bytes, with zeros at the end of the last one.
fn portable(bytes: &[u8]) -> Vec<u8> {
    let words: Vec<AtomicU64> = (0..bytes.len().div_ceil(WORD)).map(|_| AtomicU64::new(0)).collect();
    store_each(&words, bytes);
    if words.len() * WORD > bytes.len() {
        store_word(&words[words.len() - 1], last_word(bytes));
    }
    words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect()
}

fn random(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    core::iter::repeat_with(next).take(len).collect()
}

/// Checks [`store`]: bytes at any alignment to words.
fn stores(content: &[u8], from: At, to: At) {
    let (mut source, mut target) = (Between::new(), Between::new());
    let bytes = source.bytes(content.len(), from);
    bytes.copy_from_slice(content);
    let expected = portable(content);
    store(atomics(target.bytes(expected.len(), to)), bytes);
    assert!(target.is_untouched_beside(expected.len(), to), "{} bytes, {from:?} to {to:?}", content.len());
    let found = match to {
        At::Front(_) => &target.inside()[..expected.len()],
        At::Back(_) => &target.inside()[Between::INSIDE - expected.len()..],
    };
    assert_eq!(found, expected, "{} bytes, {from:?} to {to:?}", content.len());
}

/// Checks a copy from atomic words to plain words.
fn loads(content: &[u8], from: At, to: At, copy: impl Fn(&[AtomicU64], &mut [u64])) {
    let (mut source, mut target) = (Between::new(), Between::new());
    let bytes = source.bytes(content.len(), from);
    bytes.copy_from_slice(content);
    copy(atomics(bytes), plain(target.bytes(content.len(), to)));
    assert!(target.is_untouched_beside(content.len(), to), "{} bytes, {from:?} to {to:?}", content.len());
    let found = match to {
        At::Front(_) => &target.inside()[..content.len()],
        At::Back(_) => &target.inside()[Between::INSIDE - content.len()..],
    };
    assert_eq!(found, portable(content), "{} bytes, {from:?} to {to:?}", content.len());
}

const ENDS: [At; 2] = [At::Front(0), At::Back(0)];

#[test]
fn bytes_of_any_length_and_alignment_are_stored() {
    for len in 0..=300 {
        for away in 0..WORD {
            for (from, to) in [(At::Front(away), At::Front(0)), (At::Back(away), At::Back(0))] {
                stores(&random(len, len), from, to);
            }
        }
    }
}

#[test]
fn words_of_any_number_are_loaded() {
    for words in 0..=80 {
        let content = random(words, words * WORD);
        for (from, to) in ENDS.into_iter().flat_map(|from| ENDS.map(|to| (from, to))) {
            loads(&content, from, to, load);
        }
    }
}

#[test]
fn blocks_and_few_words_are_copied() {
    fn few<const WORDS: usize>() {
        for (from, to) in ENDS.into_iter().flat_map(|from| ENDS.map(|to| (from, to))) {
            let copy = |from: &[AtomicU64], to: &mut [u64]| {
                load_few::<WORDS>(from.first_chunk().unwrap(), to.first_chunk_mut().unwrap());
            };
            loads(&random(WORDS, WORDS * WORD), from, to, copy);
        }
    }
    [few::<1>, few::<2>, few::<3>, few::<4>, few::<7>, few::<11>].into_iter().for_each(|few| few());
    for away in 0..=WORD {
        for (from, to) in [(At::Front(away), At::Front(0)), (At::Back(away), At::Back(0))] {
            let (content, mut source, mut target) = (random(away, 64), Between::new(), Between::new());
            let bytes = source.bytes(64, from);
            bytes.copy_from_slice(&content);
            let block = Block::load(bytes.first_chunk().unwrap());
            let words: &[AtomicU64] = atomics(target.bytes(64, to));
            block.store_far(words.first_chunk().unwrap());
            assert!(words[..4].iter().all(|word| word.load(Relaxed).to_ne_bytes() == [UNTOUCHED; WORD]));
            block.store_near(words.first_chunk().unwrap());
            let found: Vec<u8> = words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
            assert_eq!(found, content);
            assert!(target.is_untouched_beside(64, to));
        }
    }
}

/// Every width that is used on this processor.
#[test]
fn words_are_copied_by_registers_of_each_width() {
    let widths = [Width::Bytes16, Width::Bytes32, Width::Bytes64];
    for width in widths.into_iter().filter(|width| *width <= Processor::this().width) {
        for words in 0..=80 {
            let content = random(words, words * WORD);
            for (from, to) in ENDS.into_iter().flat_map(|from| ENDS.map(|to| (from, to))) {
                loads(&content, from, to, |from, to| {
                    // SAFETY: both sides have as many words. The processor has such registers.
                    unsafe {
                        vector::copy_by(width, to.as_mut_ptr().cast(), from.as_ptr().cast(), from.len());
                    }
                });
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_larger_is_copied_too(
        content in proptest::collection::vec(any::<u8>(), 0..=PAGE),
        away in 0..64_usize,
        back in any::<bool>(),
    ) {
        let at = |away| if back { At::Back(away) } else { At::Front(away) };
        stores(&content, at(away), at(0));
        let whole = &content[..content.len() / WORD * WORD];
        loads(whole, at(away / WORD * WORD), at(0), load);
    }

    #[test]
    fn what_is_stored_at_an_offset_changes_nothing_else(
        offset in 0..200_usize,
        content in proptest::collection::vec(any::<u8>(), 0..400),
        back in any::<bool>(),
    ) {
        let at = if back { At::Back(0) } else { At::Front(0) };
        let len = (offset + content.len()).next_multiple_of(WORD);
        let (mut source, mut target) = (Between::new(), Between::new());
        let bytes = source.bytes(content.len(), at);
        bytes.copy_from_slice(&content);
        let words: &[AtomicU64] = atomics(target.bytes(len, at));
        store_at(words, offset, bytes);
        let mut expected = std::vec![UNTOUCHED; len];
        expected[offset..][..content.len()].copy_from_slice(&content);
        let found: Vec<u8> = words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(target.is_untouched_beside(len, at));
    }
}
