//! [`Placement`]: where payloads go that do not fit their slot.
//!
//! They go to the payload region, which consists of granules of 64 bytes. Positions in the region are
//! virtual and only grow. The granule of a position is the position modulo the size of the region. A
//! payload is contiguous. So a payload that does not fit before the end of the region skips the tail, and
//! the skipped tail counts as used:
//!
//! ```text
//!   virtual   0 ......................... region ......................... 2 * region
//!             [ a ][ b  ][  c  ][ d ]~~~ [   e    ][ f ] ...                 ~ skipped tail
//!   physical  0                          0
//! ```
//!
//! Fragment `n` overwrites granules of fragment `t` if `end(n) - start(t) > region`. Then `t` is dead, and
//! so is every fragment before it. The newest such `t` is the *victim* of `n`.
//!
//! The producer keeps the starts of living fragments in a private table. It does not read them from its
//! lines, because these are in the caches of the readers. A publish needs no division.

use crate::ring::metadata::FragmentMetadata;
use crate::ring::region::granules;
#[cfg(feature = "alloc")]
use crate::ring::seq;
use crate::ring::slots::Ring;
use crate::sync::Cell;

/// The producer's private bookkeeping of the payload region.
#[derive(Debug)]
pub(crate) struct Placement {
    /// Granules of the region: at least as many as the largest payload takes.
    region: u64,
    /// Virtual position of the next payload.
    head: Cell<u64>,
    /// The granule of that position, 0 to `region`.
    granule: Cell<u64>,
    /// Starts of the living fragments. `None`: the region is so large that lines are always reused before
    /// granules.
    #[cfg(feature = "alloc")]
    living: Option<Living>,
}

/// A place for one payload, which is not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Its first granule.
    pub(crate) chunk: u32,
    start: u64,
    granules: u64,
}

impl Placement {
    /// Bookkeeping for `region` granules.
    ///
    /// With `ample`, the caller promises that the region holds one payload of the largest size more than
    /// the ring has lines. Then `depth` payloads always fit beside a skipped tail, and no payload is
    /// overwritten before its line is.
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

    /// A contiguous place for `granules` granules, 1 to the size of the region.
    #[inline]
    pub(crate) fn spot(&self, granules: u64) -> Spot {
        let (head, granule) = (self.head.get(), self.granule.get());
        if granule + granules <= self.region {
            Spot { chunk: granule as u32, start: head, granules }
        } else {
            Spot { chunk: 0, start: head.wrapping_add(self.region - granule), granules }
        }
    }

    /// The newest fragment that fragment `n` overwrites if it uses `spot`, apart from the previous fragment
    /// of its line.
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

    /// Takes `spot` for fragment `n`, which is being published. `victim` and every fragment before it are
    /// dead.
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

    /// Rebuilds the bookkeeping from the lines of fragments `oldest..next`, which are all intact.
    pub(crate) fn rebuild(&self, ring: &Ring<'_>, oldest: u64, next: u64) {
        // Virtual position at which the current pass through the region began.
        let mut pass = 0_u64;
        self.head.set(0);
        self.granule.set(0);
        let mut n = oldest;
        while n != next {
            let meta = ring.line(n).metadata(n);
            let taken = granules(meta.size as usize);
            // A placeholder is not inside: see `Place::LEFT_OUT`.
            let inside = u64::from(meta.chunk) + taken <= self.region;
            if meta.chunk != FragmentMetadata::IN_SLOT && taken != 0 && inside {
                if u64::from(meta.chunk) < self.granule.get() {
                    pass = pass.wrapping_add(self.region);
                }
                let start = pass.wrapping_add(meta.chunk.into());
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
    /// A power of two of entries: as many as the ring has lines.
    table: alloc::boxed::Box<[Cell<(u64, u64)>]>,
    /// How many entries were ever removed (`first`) and pushed (`last`). The difference is at most the
    /// length of the table.
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

// A region that is not ample needs the table.
#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    /// Payloads of random sizes: no two living payloads overlap, and no payload is given up without need.
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
