//! The payload region: granules of 64 bytes, for payloads that do not fit their slot.

use crate::cpu::words::WORD;
use crate::sync::AtomicU64;

/// Size of a granule, in bytes.
pub(crate) const GRANULE: usize = 64;
const GRANULE_WORDS: usize = GRANULE / WORD;

/// How many granules a payload of `size` bytes takes.
#[inline]
pub(crate) fn granules(size: usize) -> u64 {
    size.div_ceil(GRANULE) as u64
}

/// A view of the payload region. It is empty on a link whose payloads all fit their slots.
#[derive(Clone, Copy)]
pub(crate) struct Granules<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Granules<'a> {
    /// A region over `words`. Words at the end that make no whole granule are not used.
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    /// How many granules the region has.
    pub(crate) fn count(&self) -> u64 {
        (self.words.len() / GRANULE_WORDS) as u64
    }

    /// The words of a payload of `size` bytes that starts at granule `chunk`. `None` if they are not all
    /// inside the region.
    #[inline]
    pub(crate) fn payload(&self, chunk: u32, size: usize) -> Option<&'a [AtomicU64]> {
        let start = chunk as usize * GRANULE_WORDS;
        self.words.get(start..start.checked_add(size.div_ceil(WORD))?)
    }
}
