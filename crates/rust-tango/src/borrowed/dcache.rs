//! [`DCache`]: the payload region on storage of the caller.
#![allow(unsafe_code)]

use crate::borrowed::identity::PartIdentity;
use crate::cpu::words::WORD;
use crate::ring::region::{GRANULE, Granules};
use crate::sync::{AtomicU64, UnsafeCell};

/// Bytes for the granules of one payload of `SIZE` bytes, and up to 63 more than those take: a type cannot be so
/// long as a payload that is rounded up to whole granules. Filling by alignment would not do: a move need not keep
/// bytes that belong to no field, and a fragment may lie there that was published before the move.
#[cfg(not(loom))]
#[repr(C)]
struct Chunk<const SIZE: usize>([u8; SIZE], [u8; GRANULE - 1]);

/// For models: as many words as there are bytes, of which the region uses as many as it needs.
#[cfg(loom)]
#[repr(C)]
struct Chunk<const SIZE: usize>([AtomicU64; SIZE]);

impl<const SIZE: usize> Chunk<SIZE> {
    const fn new() -> Self {
        #[cfg(not(loom))]
        return Self([0; SIZE], [0; GRANULE - 1]);
        #[cfg(loom)]
        return Self([const { AtomicU64::new(0) }; SIZE]);
    }

    /// Bytes of the region that a payload takes.
    const BYTES: usize = SIZE.next_multiple_of(GRANULE);
}

/// Payload region for `COUNT` payloads of up to `SIZE` bytes (its MTU), and one more, so that `COUNT`
/// always fit however they lie. `COUNT` is at least the `DEPTH` of the [`MCache`](crate::MCache) it is
/// used with. It takes `(COUNT + 1) * (SIZE + 63)` bytes, and less than 100 beside them.
///
/// `new` is `const` and all zeros; see [`MCache`](crate::MCache) on where large storage belongs.
#[repr(C, align(64))]
pub struct DCache<const COUNT: usize, const SIZE: usize> {
    chunks: [UnsafeCell<Chunk<SIZE>>; COUNT],
    spare: UnsafeCell<Chunk<SIZE>>,
    identity: PartIdentity,
}

// SAFETY: the cells are only ever accessed as words of `AtomicU64` (`granules` below), except for the
// slices that the protocol hands out while nobody writes.
unsafe impl<const COUNT: usize, const SIZE: usize> Sync for DCache<COUNT, SIZE> {}

impl<const COUNT: usize, const SIZE: usize> Default for DCache<COUNT, SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const COUNT: usize, const SIZE: usize> core::fmt::Debug for DCache<COUNT, SIZE> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DCache").field("chunks", &COUNT).field("chunk_size", &SIZE).finish()
    }
}

impl<const COUNT: usize, const SIZE: usize> DCache<COUNT, SIZE> {
    const CHECKED: () = {
        assert!(COUNT >= 1, "COUNT is at least 1");
        assert!(SIZE <= u32::MAX as usize, "SIZE is at most 4 GiB - 1");
        assert!((COUNT + 1) * SIZE.div_ceil(GRANULE) < u32::MAX as usize, "a region has at most 256 GiB");
    };

    /// An empty region.
    pub const fn new() -> Self {
        let () = Self::CHECKED;
        Self {
            chunks: [const { UnsafeCell::new(Chunk::new()) }; COUNT],
            spare: UnsafeCell::new(Chunk::new()),
            identity: PartIdentity::new(),
        }
    }

    /// An empty region on the heap, built there: it does not pass through the stack.
    #[cfg(feature = "alloc")]
    pub fn boxed() -> alloc::boxed::Box<Self> {
        let () = Self::CHECKED;
        #[cfg(loom)]
        return alloc::boxed::Box::new(Self::new());
        // SAFETY: bytes and `AtomicU64`, for which zero is valid and is what `new` stores.
        #[cfg(not(loom))]
        unsafe {
            crate::borrowed::mcache::boxed_zeroed()
        }
    }

    /// How many payloads of the largest size always fit: `COUNT`.
    pub const fn capacity(&self) -> usize {
        COUNT
    }

    /// The largest payload, in bytes: `SIZE`.
    pub const fn chunk_size(&self) -> usize {
        SIZE
    }

    pub(crate) fn identity(&self) -> &PartIdentity {
        &self.identity
    }

    pub(crate) fn granules(&self) -> Granules<'_> {
        let bytes = (COUNT + 1) * Chunk::<SIZE>::BYTES;
        assert!(bytes * size_of::<AtomicU64>() <= (COUNT + 1) * size_of::<Chunk<SIZE>>() * WORD);
        // SAFETY: `chunks` and `spare` lie one behind the other at the start of a `repr(C)` struct that is aligned
        // to 64, and have no alignment of their own, so no gap between them or in them: they are `bytes` or more,
        // all initialised, and no move of the struct loses one. The pointer is that of the whole struct. All of
        // it is inside of `UnsafeCell`s, so it may be written through a shared reference.
        Granules::new(unsafe {
            core::slice::from_raw_parts(core::ptr::from_ref(self).cast::<AtomicU64>(), bytes / WORD)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_room_for_one_payload_more() {
        let cache = DCache::<4, 100>::new();
        assert_eq!(cache.granules().count(), 5 * 2);
        assert!(cache.granules().payload(9, 64).is_some());
        assert!(cache.granules().payload(9, 65).is_none());
        assert!(cache.granules().payload(u32::MAX, 1).is_none());
        assert_eq!(DCache::<4, 0>::new().granules().count(), 0);
    }

    /// What alignment fills is lost by a move (which only Miri sees: `tests/storage_can_be_moved.rs`).
    #[cfg(not(loom))]
    #[test]
    fn the_region_holds_no_byte_of_no_field() {
        fn holds<const SIZE: usize>() {
            assert_eq!((size_of::<Chunk<SIZE>>(), align_of::<Chunk<SIZE>>()), (SIZE + GRANULE - 1, 1));
            assert_eq!(core::mem::offset_of!(DCache<3, SIZE>, spare), 3 * (SIZE + GRANULE - 1));
        }
        holds::<0>();
        holds::<100>();
        holds::<128>();
    }
}
