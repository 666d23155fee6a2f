//! The payload region: granules of 64 bytes, for payloads that do not fit their slot.
//!
//! Positions in the region are virtual and only grow; the granule of a position is the position
//! modulo the size of the region. A payload is contiguous, so one that does not fit before the end
//! skips the tail, and the skipped tail counts:
//!
//! ```text
//!   virtual   0 ......................... region ......................... 2 * region
//!             [ a ][ b  ][  c  ][ d ]~~~ [   e    ][ f ] ...                 ~ skipped tail
//!   physical  0                          0
//! ```
//!
//! A fragment `t` dies when `end(n) - start(t) > region`, and everything before it dies with it. The
//! producer keeps the starts of living fragments in a private table, because reading its own lines
//! back costs cache misses: readers hold them. No division happens on the way of a fragment.
#![allow(unsafe_code)]

use crate::mcache::{PartIdentity, Ring};
#[cfg(feature = "alloc")]
use crate::seq;
use crate::sync::{AtomicU64, Cell, UnsafeCell};
use crate::words::WORD;

/// Bytes of a granule.
pub(crate) const GRANULE: usize = 64;
const GRANULE_WORDS: usize = GRANULE / WORD;

/// Granules that a payload of `size` bytes takes.
#[inline]
pub(crate) fn granules(size: usize) -> u64 {
    size.div_ceil(GRANULE) as u64
}

/// A view of the payload region. Empty on a link whose payloads all fit their slots.
#[derive(Clone, Copy)]
pub(crate) struct Granules<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Granules<'a> {
    /// A region over `words`, of which a last part of a granule is not used.
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    /// Granules of the region.
    pub(crate) fn count(&self) -> u64 {
        (self.words.len() / GRANULE_WORDS) as u64
    }

    /// The words of a payload of `size` bytes that starts at granule `chunk`, if they are inside.
    #[inline]
    pub(crate) fn payload(&self, chunk: u32, size: usize) -> Option<&'a [AtomicU64]> {
        let start = chunk as usize * GRANULE_WORDS;
        self.words.get(start..start.checked_add(size.div_ceil(WORD))?)
    }
}

/// Where the next payload goes: the producer's private bookkeeping of the region.
#[derive(Debug)]
pub(crate) struct Placement {
    /// Granules of the region, at least as many as the largest payload takes.
    region: u64,
    /// Virtual position of the next payload.
    head: Cell<u64>,
    /// The granule of `head`, 0 to `region`.
    granule: Cell<u64>,
    /// Starts of the living fragments; `None` where the region is so ample that lines die first.
    #[cfg(feature = "alloc")]
    living: Option<Living>,
}

/// A place for one payload, not yet taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Its granule.
    pub(crate) chunk: u32,
    start: u64,
    granules: u64,
}

impl Placement {
    /// Bookkeeping for `region` granules. With `ample` the caller promises that the region holds
    /// one payload of the largest size more than the ring has lines: then `depth` payloads always fit
    /// beside a skipped tail, and none dies before its line is used again.
    pub(crate) fn new(region: u64, depth: u64, ample: bool) -> Self {
        #[cfg(not(feature = "alloc"))]
        let _ = (depth, ample);
        Self {
            region,
            head: Cell::new(0),
            granule: Cell::new(0),
            #[cfg(feature = "alloc")]
            living: (!ample).then(|| Living::new(depth)),
        }
    }

    /// A contiguous place for `granules` granules (1 to the size of the region).
    #[inline]
    pub(crate) fn spot(&self, granules: u64) -> Spot {
        let (head, granule) = (self.head.get(), self.granule.get());
        if granule + granules <= self.region {
            Spot { chunk: granule as u32, start: head, granules }
        } else {
            Spot { chunk: 0, start: head.wrapping_add(self.region - granule), granules }
        }
    }

    /// The newest fragment that dies if `spot` is used for fragment `n`, besides the one of its line.
    #[inline]
    pub(crate) fn victim(&self, spot: &Spot, n: u64, depth: u64) -> Option<u64> {
        #[cfg(feature = "alloc")]
        if let Some(living) = &self.living {
            living.forget_before(n.wrapping_sub(depth).wrapping_add(1));
            return living.newest_starting_before(spot.end().wrapping_sub(self.region));
        }
        let _ = (spot, n, depth);
        None
    }

    /// Takes `spot` for fragment `n`, now that it is published; `victim` and all before it are dead.
    #[inline]
    pub(crate) fn take(&self, spot: &Spot, n: u64, victim: Option<u64>) {
        self.head.set(spot.end());
        self.granule.set(spot.chunk as u64 + spot.granules);
        #[cfg(feature = "alloc")]
        if let Some(living) = &self.living {
            if let Some(victim) = victim {
                living.forget_before(victim.wrapping_add(1));
            }
            living.push(n, spot.start);
        }
        let _ = (n, victim);
    }

    /// Rebuilds the bookkeeping from the lines of fragments `oldest..next`, all intact.
    pub(crate) fn rebuild(&self, ring: &Ring<'_>, oldest: u64, next: u64) {
        // The virtual start of the turn that the walk is in.
        let mut turn = 0_u64;
        self.head.set(0);
        self.granule.set(0);
        let mut n = oldest;
        while n != next {
            let meta = ring.line(n).metadata(n);
            let taken = granules(meta.size as usize);
            let inside = u64::from(meta.chunk) + taken <= self.region;
            if meta.chunk != crate::FragmentMetadata::IN_SLOT && taken != 0 && inside {
                if u64::from(meta.chunk) < self.granule.get() {
                    turn = turn.wrapping_add(self.region);
                }
                let start = turn.wrapping_add(meta.chunk.into());
                self.take(&Spot { chunk: meta.chunk, start, granules: taken }, n, None);
            }
            n = n.wrapping_add(1);
        }
    }
}

impl Spot {
    #[inline]
    fn end(&self) -> u64 {
        self.start.wrapping_add(self.granules)
    }
}

/// The living fragments that have granules, oldest first: number and virtual start.
#[cfg(feature = "alloc")]
#[derive(Debug)]
struct Living {
    /// A power of two of entries, as many as the ring has lines.
    table: alloc::boxed::Box<[Cell<(u64, u64)>]>,
    /// Entries ever removed and ever pushed; the difference is at most the table's length.
    first: Cell<usize>,
    last: Cell<usize>,
}

#[cfg(feature = "alloc")]
impl Living {
    fn new(depth: u64) -> Self {
        Self {
            table: (0..depth).map(|_| Cell::new((0, 0))).collect(),
            first: Cell::new(0),
            last: Cell::new(0),
        }
    }

    #[inline]
    fn entry(&self, at: usize) -> &Cell<(u64, u64)> {
        &self.table[at & (self.table.len() - 1)]
    }

    #[inline]
    fn forget_before(&self, n: u64) {
        while self.first.get() != self.last.get() && seq::is_before(self.entry(self.first.get()).get().0, n) {
            self.first.set(self.first.get().wrapping_add(1));
        }
    }

    #[inline]
    fn newest_starting_before(&self, position: u64) -> Option<u64> {
        let mut found = None;
        let mut at = self.first.get();
        while at != self.last.get() {
            let (n, start) = self.entry(at).get();
            if !seq::is_before(start, position) {
                break;
            }
            found = Some(n);
            at = at.wrapping_add(1);
        }
        found
    }

    #[inline]
    fn push(&self, n: u64, start: u64) {
        self.entry(self.last.get()).set((n, start));
        self.last.set(self.last.get().wrapping_add(1));
    }
}

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
            crate::mcache::boxed_zeroed()
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

    /// Payloads of random sizes: no two living ones overlap, and none dies that could have lived.
    #[cfg(feature = "alloc")] // what is not ample has a table
    #[test]
    fn living_payloads_never_overlap() {
        let (region, depth) = (10, 8);
        let placement = Placement::new(region, depth, false);
        let mut living: Vec<(u64, u64, u64)> = Vec::new(); // number, virtual start, granules
        let mut random = 1_u64;
        for n in u64::MAX - 500..=u64::MAX {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let size = 1 + (random >> 33) % region;
            let spot = placement.spot(size);
            assert!(u64::from(spot.chunk) + size <= region);
            let victim = placement.victim(&spot, n, depth);
            living.retain(|(m, start, _)| {
                let dies = spot.end() - start > region;
                assert_eq!(dies, victim.is_some_and(|victim| *m <= victim), "{m} at {n}");
                !dies && n - m < depth
            });
            for (m, start, granules) in &living {
                let (a, b) = (start % region, u64::from(spot.chunk));
                assert!(a + granules <= b || b + size <= a, "{m} and {n} overlap");
            }
            placement.take(&spot, n, victim);
            living.push((n, spot.start, size));
        }
    }
}
