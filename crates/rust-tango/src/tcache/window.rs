//! [`Window`]: the algorithm of the filter, on a borrowed slice of entries.
//!
//! ```text
//!  entries  [0]    [1]    [2]    [3]    N entries of 16 bytes. Entry i has two roles:
//!    tag      t4     t1     t2     t3     slot i of the ring. Tags take the slots in turn. Once all
//!                    ^ cursor             slots are taken, the slot at the cursor holds the oldest tag.
//!    next      0      4      0      0     link to the next younger tag of the same bucket
//!    head      0      2      1      3     bucket i of the map: link to its oldest tag
//!                                         (here t1 and t3 hash to bucket 1, t4 to 2, t2 to 3)
//! ```
//!
//! Invariants, between any two calls:
//!
//! - The `len` slots that were filled last hold distinct tags. Each of them is in the chain of the bucket
//!   that its tag hashes to, and in no other chain. No other slot is in a chain.
//! - A chain runs from its oldest tag to its youngest. Tags enter at the end and leave at the front, because
//!   the oldest tag of all is also the oldest of its bucket. So an eviction needs no search.
//! - A link (`next`, `head`) is the number of a slot plus 1, or 0 for none. So zeroed memory is an empty
//!   filter.

use core::fmt;

use crate::sync::Cell;

/// The link to no slot.
pub(super) const NONE: u32 = 0;

/// Whether a filter can have this many tags. A link has 32 bits, and one of its values means "none".
pub(super) const fn is_depth(depth: usize) -> bool {
    depth > 0 && depth as u64 <= u32::MAX as u64
}

/// A slot of the ring, and a bucket of the map. The two are unrelated and only share the memory.
pub(super) struct Entry {
    /// Any value. Only meaningful while the slot is in a chain.
    pub(super) tag: Cell<u64>,
    /// Link to the next younger tag of the same bucket, 0 to N.
    pub(super) next: Cell<u32>,
    /// Link to the oldest tag of the bucket, 0 to N.
    pub(super) head: Cell<u32>,
}

impl Entry {
    pub(super) const fn new() -> Self {
        Self { tag: Cell::new(0), next: Cell::new(NONE), head: Cell::new(NONE) }
    }
}

/// The part of a filter that is not in the entries.
pub(super) struct State {
    /// The slot that the next new tag takes, 0 to N - 1.
    pub(super) cursor: Cell<u32>,
    /// How many tags are in the window, 0 to N.
    pub(super) len: Cell<u32>,
    /// Changes the hash, so that an attacker does not know it. 0: the public hash.
    pub(super) salt: u64,
}

impl State {
    pub(super) const fn new(seed: u64) -> Self {
        // A finalizer like that of splitmix64, so that similar seeds make different hashes. It permutes the
        // 64-bit numbers, and 0 stays 0.
        let mut salt = seed;
        salt = (salt ^ (salt >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        salt = (salt ^ (salt >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        salt ^= salt >> 31;
        Self { cursor: Cell::new(0), len: Cell::new(0), salt }
    }
}

/// The filter on borrowed memory. Each call must get the same entries, 1 to `u32::MAX` of them, with the same
/// `state`.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) state: &'a State,
}

impl<'a> Window<'a> {
    /// The bucket of a tag, 0 to N - 1.
    #[inline]
    pub(super) fn bucket(self, tag: u64) -> usize {
        // 2^64 divided by the golden ratio, changed by the seed if there is one. It is odd, so no two tags
        // have the same product.
        let factor = (0x9e37_79b9_7f4a_7c15 ^ self.state.salt) | 1;
        // The upper 32 bits depend on all bits of the tag. Read as a fraction of 2^32, they are scaled to N.
        let fraction = tag.wrapping_mul(factor) >> 32;
        ((fraction * self.entries.len() as u64) >> 32) as usize
    }

    /// Walks along the chain of the tag's bucket. `None` if the tag is in it, otherwise the link at the end
    /// of the chain.
    #[inline]
    fn end_of_chain_without(self, tag: u64) -> Option<&'a Cell<u32>> {
        let mut link = &self.entries[self.bucket(tag)].head;
        loop {
            let slot = match link.get() {
                NONE => return Some(link),
                number => (number - 1) as usize,
            };
            let entry = &self.entries[slot];
            if entry.tag.get() == tag {
                return None;
            }
            link = &entry.next;
        }
    }

    #[inline]
    pub(super) fn contains(self, tag: u64) -> bool {
        self.end_of_chain_without(tag).is_none()
    }

    #[inline]
    pub(super) fn check_and_insert(self, tag: u64) -> bool {
        let Some(mut end) = self.end_of_chain_without(tag) else { return false };
        let depth = self.entries.len() as u32;
        let slot = self.state.cursor.get();
        let entry = &self.entries[slot as usize];
        let len = self.state.len.get();
        if len == depth {
            // The slot holds the oldest tag, which is the first of its chain. Remove it from the chain.
            let head = &self.entries[self.bucket(entry.tag.get())].head;
            head.set(entry.next.get());
            // If it was the only tag of the chain that the new tag joins, that chain now ends at its head.
            if core::ptr::eq(end, &entry.next) {
                end = head;
            }
        } else {
            self.state.len.set(len + 1);
        }
        entry.tag.set(tag);
        entry.next.set(NONE);
        end.set(slot + 1);
        self.state.cursor.set(if slot + 1 == depth { 0 } else { slot + 1 });
        true
    }

    pub(super) fn clear(self) {
        for entry in self.entries {
            entry.head.set(NONE);
        }
        self.state.cursor.set(0);
        self.state.len.set(0);
    }

    pub(super) fn fmt(self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("len", &self.state.len.get())
            .field("capacity", &self.entries.len())
            .finish_non_exhaustive()
    }
}
