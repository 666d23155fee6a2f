//! [`DCache`]: the payload region, on storage of the caller.
#![allow(unsafe_code)]

use super::identity::PartIdentity;
use crate::cpu::words::WORD;
use crate::ring::metadata::Place;
use crate::ring::region::{GRANULE, Granules};
use crate::sync::{AtomicU64, UnsafeCell};

/// The granules of one payload of `SIZE` bytes, and up to 63 bytes more: the length of a type cannot be
/// `SIZE` rounded up to whole granules. Padding by alignment would not do, because a move need not keep
/// bytes that belong to no field, and they may contain a fragment that was published before the move.
#[cfg(not(loom))]
#[repr(C)]
struct Chunk<const SIZE: usize>([u8; SIZE], [u8; GRANULE - 1]);

/// For models: as many words as there are bytes. The region uses as many as it needs.
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

    /// How many bytes of the region a payload takes.
    const BYTES: usize = SIZE.next_multiple_of(GRANULE);
}

/// The region for payloads that do not fit the ring, on storage of the caller.
///
/// It has room for `COUNT` payloads of up to `SIZE` bytes (the MTU), wherever they start. `COUNT` is at
/// least the `DEPTH` of the [`MCache`](crate::MCache) with which it is used. It takes `(COUNT + 1) * (SIZE
/// + 63)` bytes, and less than 100 bytes more.
///
/// The producer writes it, and readers read it. `new` is `const` and stores only zeros, so a `static`
/// region takes no space in the binary. By value, it passes through the stack: a large region belongs in a
/// `static` or on the heap (`boxed`).
///
/// # Examples
///
/// ```
/// use rust_tango::DCache;
///
/// static REGION: DCache<1024, 4096> = DCache::new(); // 1024 payloads of up to 4 KiB
/// assert_eq!((REGION.capacity(), REGION.chunk_size()), (1024, 4096));
/// ```
///
/// See [`Producer::new`](crate::Producer::new) for a producer and a consumer on it.
#[repr(C, align(64))]
pub struct DCache<const COUNT: usize, const SIZE: usize> {
    chunks: [UnsafeCell<Chunk<SIZE>>; COUNT],
    spare: UnsafeCell<Chunk<SIZE>>,
    identity: PartIdentity,
}

// SAFETY: the cells are accessed only as words of `AtomicU64` (`granules` below), except for the slices
// that the protocol hands out while no thread writes there.
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
        assert!(COUNT >= 1, "COUNT must be at least 1");
        // No payload has the place of a placeholder, neither its size nor its granule.
        assert!(SIZE < Place::LEFT_OUT.size as usize, "SIZE must be less than 4 GiB - 1");
        assert!(
            (COUNT + 1) * SIZE.div_ceil(GRANULE) <= Place::LEFT_OUT.chunk as usize,
            "the region must be less than 256 GiB"
        );
    };

    /// An empty region. See [`DCache`] for an example.
    ///
    /// Does not compile if `COUNT` is 0, `SIZE` is 4 GiB - 1 or more, or the region is 256 GiB or more.
    pub const fn new() -> Self {
        let () = Self::CHECKED;
        Self {
            chunks: [const { UnsafeCell::new(Chunk::new()) }; COUNT],
            spare: UnsafeCell::new(Chunk::new()),
            identity: PartIdentity::new(),
        }
    }

    /// An empty region on the heap. It does not pass through the stack.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::DCache;
    /// let region = DCache::<1024, 4096>::boxed();
    /// assert_eq!(region.capacity(), 1024);
    /// ```
    ///
    /// A `SIZE` of 4 GiB - 1 would be the size that marks a number that was left out:
    ///
    /// ```compile_fail,E0080
    /// # use rust_tango::DCache;
    /// let region = DCache::<1, { u32::MAX as usize }>::boxed();
    /// ```
    #[cfg(feature = "alloc")]
    pub fn boxed() -> alloc::boxed::Box<Self> {
        let () = Self::CHECKED;
        #[cfg(loom)]
        return alloc::boxed::Box::new(Self::new());
        // SAFETY: bytes and `AtomicU64`. Zero is valid for them, and is what `new` stores.
        #[cfg(not(loom))]
        unsafe {
            super::mcache::boxed_zeroed()
        }
    }

    /// How many payloads of the largest size always fit: `COUNT`. See [`DCache`] for an example.
    pub const fn capacity(&self) -> usize {
        COUNT
    }

    /// The largest payload, in bytes: `SIZE`. See [`DCache`] for an example.
    pub const fn chunk_size(&self) -> usize {
        SIZE
    }

    pub(crate) fn identity(&self) -> &PartIdentity {
        &self.identity
    }

    pub(crate) fn granules(&self) -> Granules<'_> {
        let bytes = (COUNT + 1) * Chunk::<SIZE>::BYTES;
        assert!(bytes * size_of::<AtomicU64>() <= (COUNT + 1) * size_of::<Chunk<SIZE>>() * WORD);
        // SAFETY: `chunks` and `spare` lie one behind the other at the start of a `repr(C)` struct that is
        // aligned to 64. Their alignment is 1, so there is no gap between them or in them. They are at
        // least `bytes` long and initialised, and a move of the struct keeps them. The pointer is that of
        // the whole struct. All of it is inside of `UnsafeCell`s, so it may be written through a shared
        // reference.
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

    /// A move would lose padding. Only Miri notices (`tests/storage_can_be_moved.rs`).
    #[cfg(not(loom))]
    #[test]
    fn the_region_has_no_padding() {
        fn holds<const SIZE: usize>() {
            assert_eq!((size_of::<Chunk<SIZE>>(), align_of::<Chunk<SIZE>>()), (SIZE + GRANULE - 1, 1));
            assert_eq!(core::mem::offset_of!(DCache<3, SIZE>, spare), 3 * (SIZE + GRANULE - 1));
        }
        holds::<0>();
        holds::<100>();
        holds::<128>();
    }
}
