//! [`Ring`]: a view of the slots of a link.
#![allow(unsafe_code)]

use crate::cpu::words::WORD;
use crate::ring::line::{Line, META_WORDS};
use crate::sync::AtomicU64;

/// Size of the smallest slot, in bytes: one cache line. The size of each slot is a multiple of it, so that no two slots
/// share a line.
pub(crate) const SMALLEST: usize = 64;
/// The default size of a slot of a link whose payloads do not all fit their slots, in bytes: small ones do.
pub(crate) const ROOMY: usize = 128;

/// The slots of a link, as a view of memory that something else owns.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    /// `depth * stride` words. A pointer and not a slice, so that finding a line needs no bounds check.
    words: core::ptr::NonNull<AtomicU64>,
    /// `depth - 1`. The depth is a power of two.
    mask: u64,
    /// Words per slot.
    stride: usize,
    /// Words per slot after the metadata: `stride - META_WORDS`.
    room: usize,
    memory: core::marker::PhantomData<&'a [AtomicU64]>,
}

// SAFETY: a `Ring` gives the same access as a `&[AtomicU64]`, which is `Send`.
unsafe impl Send for Ring<'_> {}
// SAFETY: as above. `&[AtomicU64]` is `Sync`.
unsafe impl Sync for Ring<'_> {}

impl<'a> Ring<'a> {
    /// A ring of slots of `slot` bytes over `words`.
    ///
    /// # Panics
    /// If `slot` is not a multiple of 64, or `words` is not a power of two of such slots, at least two. Callers have
    /// checked the geometry.
    pub(crate) fn new(words: &'a [AtomicU64], slot: usize) -> Self {
        // Models also use slots without room for a payload, so that small payloads go to the region.
        assert!(slot % SMALLEST == 0 || (cfg!(loom) && slot % WORD == 0));
        let stride = slot / WORD;
        assert!(stride >= META_WORDS);
        let depth = words.len() / stride;
        assert!(depth >= 2 && depth.is_power_of_two() && depth * stride == words.len());
        Self {
            words: core::ptr::NonNull::from(words).cast(),
            mask: depth as u64 - 1,
            stride,
            room: stride - META_WORDS,
            memory: core::marker::PhantomData,
        }
    }

    #[inline]
    pub(crate) fn depth(&self) -> u64 {
        self.mask + 1
    }

    /// The size of all slots together, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.depth() as usize * self.stride * WORD
    }

    /// The largest payload that fits a slot, in bytes.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.room * WORD
    }

    /// The slot of fragment `n`.
    #[inline]
    pub(crate) fn line(&self, n: u64) -> Line<'a> {
        let index = (n & self.mask) as usize;
        #[cfg(not(loom))]
        // SAFETY: `new` has checked that a slot has at least `SMALLEST` bytes. With this, the compiler knows that a
        // payload of 32 bytes fits each slot.
        unsafe {
            core::hint::assert_unchecked(self.room >= SMALLEST / WORD - META_WORDS);
        }
        // SAFETY: `new` borrowed `(mask + 1) * stride` words for 'a, and `index <= mask`. So the words of the slot,
        // `stride` of them, are inside. `new` has checked that these are at least eight (in models, at least four). All
        // references are shared.
        unsafe {
            let slot = self.words.add(index * self.stride);
            Line {
                meta: slot.cast().as_ref(),
                room: core::slice::from_raw_parts(slot.add(META_WORDS).as_ptr(), self.room),
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_fragment_of_a_lap_has_a_slot_of_its_own() {
        let memory: [AtomicU64; 128] = core::array::from_fn(|_| AtomicU64::new(0));
        for (slot, words) in [(64, 16), (64, 128), (128, 32), (128, 128), (192, 48), (192, 96), (256, 128)] {
            let ring = Ring::new(&memory[..words], slot);
            let depth = words * WORD / slot;
            assert_eq!((ring.depth(), ring.bytes()), (depth as u64, words * WORD));
            assert_eq!(ring.room(), slot - META_WORDS * WORD);
            for n in 0..2 * depth {
                let line = ring.line((n as u64).wrapping_sub(depth as u64));
                let expected = &memory[n % depth * slot / WORD..];
                assert!(core::ptr::eq(&line.meta[0], &expected[0]));
                assert!(core::ptr::eq(line.room, &expected[META_WORDS..slot / WORD]));
            }
        }
    }
}
