//! [`Tcache`]: an exact filter for duplicates among the last N distinct tags.
//!
//! The idea is that of Firedancer's tcache: a ring knows in which order tags came, a map beside it
//! finds a tag at once, and what falls out of the ring is taken out of the map.
//!
//! ```text
//!  entries  [0]    [1]    [2]    [3]    N entries of 16 bytes; entry i is two things at once:
//!    tag      t4     t1     t2     t3     slot i of the ring. Tags enter in turn, so the slot that
//!                    ^ cursor             the cursor names holds the oldest tag, once all are taken
//!    next      0      4      0      0     link to the next younger tag of the same bucket
//!    head      0      2      1      3     bucket i of the map: link to its oldest tag
//!                                         (here t1 and t3 hash to bucket 1, t4 to 2, t2 to 3)
//! ```
//!
//! Invariants, between any two calls:
//! - The `len` slots that were filled last hold distinct tags, and each is in the chain of the bucket
//!   that its tag hashes to, and in no other. No other slot is in a chain.
//! - A chain runs from its oldest tag to its youngest: tags enter at the end, and leave at the front,
//!   because the oldest tag of all is the oldest of its bucket too. So eviction searches nothing.
//! - A link (`next`, `head`) is the slot's number plus 1, and 0 for none; so zeroed memory is empty.
//!
//! There is one algorithm, [`Window`], on a borrowed slice of entries, and two owners of entries:
//! [`Tcache`] has them inside, [`TcacheBuf`] in a box. The owner is the only reader and writer: the
//! cells make both types `Send` but not `Sync`.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::fmt;

use crate::sync::Cell;

/// A link that leads nowhere.
const NONE: u32 = 0;

/// Whether a filter can have this many tags: a link has 32 bits, and one value of it means none.
const fn is_depth(depth: usize) -> bool {
    depth > 0 && depth as u64 <= u32::MAX as u64
}

/// A slot of the ring, and a bucket of the map that has nothing to do with that slot.
struct Entry {
    /// Any value; means something only while the slot is in a chain.
    tag: Cell<u64>,
    /// Link to the next younger tag of the same bucket, 0 to N.
    next: Cell<u32>,
    /// Link to the oldest tag of the bucket, 0 to N.
    head: Cell<u32>,
}

impl Entry {
    const fn new() -> Self {
        Self { tag: Cell::new(0), next: Cell::new(NONE), head: Cell::new(NONE) }
    }
}

/// What there is besides the entries.
struct State {
    /// The slot that the next new tag takes, 0 to N - 1.
    cursor: Cell<u32>,
    /// How many tags are in the window, 0 to N.
    len: Cell<u32>,
    /// Changes the hash, so that strangers cannot know it; 0 for the hash that everybody knows.
    salt: u64,
}

impl State {
    const fn new(seed: u64) -> Self {
        // Similar seeds should make unlike hashes: this is a finalizer in the manner of splitmix64.
        // It permutes the 64-bit numbers, and 0 stays 0.
        let mut salt = seed;
        salt = (salt ^ (salt >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        salt = (salt ^ (salt >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        salt ^= salt >> 31;
        Self { cursor: Cell::new(0), len: Cell::new(0), salt }
    }
}

/// The filter itself, wherever its entries are. `entries` has the same 1 to `u32::MAX` entries, and
/// belongs to the same `state`, on each call.
#[derive(Clone, Copy)]
struct Window<'a> {
    entries: &'a [Entry],
    state: &'a State,
}

impl<'a> Window<'a> {
    /// The bucket of a tag, 0 to N - 1.
    #[inline]
    fn bucket(self, tag: u64) -> usize {
        // 2^64 divided by the golden ratio, unless there is a seed. Odd, so no two tags get one product.
        let factor = (0x9e37_79b9_7f4a_7c15 ^ self.state.salt) | 1;
        // The upper bits depend on all bits of the tag. As a fraction of 2^32 they are stretched to N.
        let fraction = tag.wrapping_mul(factor) >> 32;
        ((fraction * self.entries.len() as u64) >> 32) as usize
    }

    /// Follows the chain of the tag's bucket: `None` if the tag is there, else the link that ends it.
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
    fn contains(self, tag: u64) -> bool {
        self.end_of_chain_without(tag).is_none()
    }

    #[inline]
    fn check_and_insert(self, tag: u64) -> bool {
        let Some(mut end) = self.end_of_chain_without(tag) else { return false };
        let depth = self.entries.len() as u32;
        let slot = self.state.cursor.get();
        let entry = &self.entries[slot as usize];
        let len = self.state.len.get();
        if len == depth {
            // The slot holds the oldest tag, which is the first of its chain: take it out.
            let head = &self.entries[self.bucket(entry.tag.get())].head;
            head.set(entry.next.get());
            // If it was all there was in the chain that the new tag joins, that chain now ends here.
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

    fn clear(self) {
        for entry in self.entries {
            entry.head.set(NONE);
        }
        self.state.cursor.set(0);
        self.state.len.set(0);
    }

    fn fmt(self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("len", &self.state.len.get())
            .field("capacity", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// An exact duplicate filter over the last `N` distinct tags, without an allocator.
///
/// A tag is new unless it is among the last `N` tags that were new: no false positives, and no false
/// negatives within that window. The tag that was inserted first is forgotten first; seeing a tag
/// again does not make it younger. All 2^64 values are ordinary tags, 0 and `u64::MAX` included.
///
/// The storage, 16 bytes a tag, is inside. For a large window take [`TcacheBuf`], which is made on the
/// heap: a `Tcache` of that size would go through the stack. `N` is from 1 to `u32::MAX`; anything
/// else does not compile.
///
/// # Who chooses the tags
///
/// A lookup follows a chain of tags that hash alike. With tags that nobody chose against it (numbers,
/// checksums, signatures) a chain has one or two tags. The hash of [`new`](Self::new) is the same in
/// every program, though, so whoever may choose the tags can make all of them hash alike, and then each
/// call takes time in proportion to `N`; the answers stay right. If tags come from strangers, use
/// [`with_seed`](Self::with_seed) with a random secret number: for tags that were chosen without
/// knowing it, the expected length of the chains is bounded again. That is no defence against someone
/// who can learn the seed, for instance by measuring many calls with great precision.
///
/// # Examples
///
/// ```
/// use rust_tango::Tcache;
///
/// let seen = Tcache::<2>::new();
/// assert!(seen.check_and_insert(10)); // new
/// assert!(seen.check_and_insert(20)); // new
/// assert!(!seen.check_and_insert(10)); // a duplicate
/// assert!(seen.check_and_insert(30)); // new; 10 came first and is forgotten
/// assert!(seen.contains(20) && !seen.contains(10));
/// ```
///
/// A filter has one owner. It can move to another thread, but threads cannot share it:
///
/// ```compile_fail,E0277
/// fn is_sync<T: Sync>() {}
/// is_sync::<rust_tango::Tcache<8>>();
/// ```
///
/// A window of nothing is refused:
///
/// ```compile_fail,E0080
/// let seen = rust_tango::Tcache::<0>::new();
/// ```
pub struct Tcache<const N: usize> {
    state: State,
    entries: [Entry; N],
}

impl<const N: usize> Tcache<N> {
    /// An empty filter with the hash that everybody knows.
    pub const fn new() -> Self {
        Self::with_seed(0)
    }

    /// An empty filter with a hash of its own, for tags that come from strangers.
    ///
    /// The seed should be random, and nobody's business. A seed of 0 is the same as [`new`](Self::new).
    pub const fn with_seed(seed: u64) -> Self {
        const { assert!(is_depth(N), "a Tcache has from 1 to u32::MAX tags") }
        Self { state: State::new(seed), entries: [const { Entry::new() }; N] }
    }

    /// Returns true if the tag is new, and then remembers it (and forgets the oldest, if there are
    /// already `N`); returns false if it is a duplicate, and then changes nothing.
    #[inline]
    pub fn check_and_insert(&self, tag: u64) -> bool {
        self.window().check_and_insert(tag)
    }

    /// Whether the tag is among the remembered ones. Changes nothing.
    #[inline]
    pub fn contains(&self, tag: u64) -> bool {
        self.window().contains(tag)
    }

    /// How many tags are remembered, 0 to `N`.
    #[inline]
    pub fn len(&self) -> usize {
        self.state.len.get() as usize
    }

    /// Whether no tag is remembered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tags can be remembered: `N`.
    #[inline]
    pub const fn capacity(&self) -> usize {
        N
    }

    /// Forgets all tags, in time proportional to `N`.
    pub fn clear(&self) {
        self.window().clear();
    }

    #[inline]
    fn window(&self) -> Window<'_> {
        Window { entries: &self.entries, state: &self.state }
    }
}

impl<const N: usize> Default for Tcache<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Tcache<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.window().fmt("Tcache", f)
    }
}

/// A [`Tcache`] on the heap, with a depth chosen at run time.
///
/// The same filter in all else; 16 bytes a tag, which never touch the stack.
///
/// ```
/// use rust_tango::TcacheBuf;
///
/// let seen = TcacheBuf::new(1_000_000);
/// assert!(seen.check_and_insert(10));
/// assert!(!seen.check_and_insert(10));
/// ```
///
/// Threads cannot share it either:
///
/// ```compile_fail,E0277
/// fn is_sync<T: Sync>() {}
/// is_sync::<rust_tango::TcacheBuf>();
/// ```
#[cfg(feature = "alloc")]
pub struct TcacheBuf {
    state: State,
    entries: Box<[Entry]>,
}

#[cfg(feature = "alloc")]
impl TcacheBuf {
    /// An empty filter over the last `depth` distinct tags, with the hash that everybody knows.
    ///
    /// # Panics
    ///
    /// If `depth` is not from 1 to `u32::MAX`.
    pub fn new(depth: usize) -> Self {
        Self::with_seed(depth, 0)
    }

    /// An empty filter with a hash of its own, for tags that come from strangers: see
    /// [`Tcache`](Tcache#who-chooses-the-tags).
    ///
    /// The seed should be random, and nobody's business. A seed of 0 is the same as [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// If `depth` is not from 1 to `u32::MAX`.
    pub fn with_seed(depth: usize, seed: u64) -> Self {
        assert!(is_depth(depth), "a TcacheBuf has from 1 to u32::MAX tags, not {depth}");
        Self { state: State::new(seed), entries: (0..depth).map(|_| Entry::new()).collect() }
    }

    /// Returns true if the tag is new, and then remembers it (and forgets the oldest, if there are
    /// already [`capacity`](Self::capacity)); returns false if it is a duplicate, and then changes
    /// nothing.
    #[inline]
    pub fn check_and_insert(&self, tag: u64) -> bool {
        self.window().check_and_insert(tag)
    }

    /// Whether the tag is among the remembered ones. Changes nothing.
    #[inline]
    pub fn contains(&self, tag: u64) -> bool {
        self.window().contains(tag)
    }

    /// How many tags are remembered, 0 to [`capacity`](Self::capacity).
    #[inline]
    pub fn len(&self) -> usize {
        self.state.len.get() as usize
    }

    /// Whether no tag is remembered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tags can be remembered: the depth that it was made with.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Forgets all tags, in time proportional to the capacity.
    pub fn clear(&self) {
        self.window().clear();
    }

    #[inline]
    fn window(&self) -> Window<'_> {
        Window { entries: &self.entries, state: &self.state }
    }
}

#[cfg(feature = "alloc")]
impl fmt::Debug for TcacheBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.window().fmt("TcacheBuf", f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::{HashSet, VecDeque};
    use std::vec::Vec;

    /// The filter as one would write it without a thought for its cost.
    #[derive(Default)]
    struct Plain {
        order: VecDeque<u64>,
        known: HashSet<u64>,
    }

    impl Plain {
        fn check_and_insert(&mut self, tag: u64, depth: usize) -> bool {
            let new = self.known.insert(tag);
            if new {
                self.order.push_back(tag);
                if self.order.len() > depth {
                    self.known.remove(&self.order.pop_front().unwrap());
                }
            }
            new
        }
    }

    /// Checks the invariants at the head of the module.
    fn check_links(window: Window<'_>) {
        let (depth, len) = (window.entries.len(), window.state.len.get() as usize);
        let cursor = window.state.cursor.get() as usize;
        let age = |slot: usize| (cursor + depth - 1 - slot) % depth; // 0: the youngest
        let mut linked = HashSet::new();
        for bucket in 0..depth {
            let (mut link, mut older) = (window.entries[bucket].head.get(), depth);
            while link != NONE {
                let slot = link as usize - 1;
                let entry = &window.entries[slot];
                assert!(linked.insert(slot), "slot {slot} is in a chain twice");
                assert!(age(slot) < len, "slot {slot} is in a chain but not in the window");
                assert!(age(slot) < older, "the chain of bucket {bucket} is out of order");
                assert_eq!(window.bucket(entry.tag.get()), bucket);
                (link, older) = (entry.next.get(), age(slot));
            }
        }
        assert_eq!(linked.len(), len);
    }

    /// Feeds 4,000 tags out of `tags`, chosen pseudo-randomly, to the filter and to the plain one.
    fn compare(window: Window<'_>, tags: &[u64], mut random: u64) {
        let (depth, mut plain) = (window.entries.len(), Plain::default());
        for step in 0..if cfg!(miri) { 25 } else { 4_000 } {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let tag = tags[(random >> 16) as usize % tags.len()];
            if random % 1_000 == 0 {
                window.clear();
                plain = Plain::default();
            }
            assert_eq!(window.contains(tag), plain.known.contains(&tag), "step {step}, tag {tag}");
            let new = window.check_and_insert(tag);
            assert_eq!(new, plain.check_and_insert(tag, depth), "step {step}, tag {tag}");
            assert_eq!(window.state.len.get() as usize, plain.order.len());
            for &tag in tags {
                assert_eq!(window.contains(tag), plain.known.contains(&tag), "step {step}, tag {tag}");
            }
            check_links(window);
        }
    }

    fn compare_depth<const N: usize>() {
        let few: Vec<u64> = (0..2 * N as u64 + 1).map(|i| i.wrapping_sub(1)).collect(); // u64::MAX, 0, 1, ...
        for seed in [0, 1, 0x0dd_ba11] {
            compare(Tcache::<N>::with_seed(seed).window(), &few, 88_172_645_463_325_252 + seed);
        }
    }

    #[test]
    fn agrees_with_the_plain_filter() {
        compare_depth::<1>();
        compare_depth::<2>();
        compare_depth::<3>();
        compare_depth::<8>();
        compare_depth::<13>();
    }

    #[test]
    fn agrees_when_all_tags_collide() {
        for seed in [0, 7] {
            let cache = Tcache::<8>::with_seed(seed);
            // One bucket only, then two with a few tags each.
            let window = cache.window();
            let of = |bucket| (0..).filter(move |&tag| window.bucket(tag) == bucket);
            let one: Vec<u64> = of(5).take(20).collect();
            let two: Vec<u64> = of(0).take(8).chain(of(7).take(8)).collect();
            compare(window, &one, 0x2545_f491_4f6c_dd1d);
            cache.clear();
            compare(window, &two, 0x2545_f491_4f6c_dd1d);
        }
    }

    #[test]
    fn a_duplicate_does_not_get_younger() {
        let cache = Tcache::<3>::new();
        assert!([1, 2, 3].iter().all(|&tag| cache.check_and_insert(tag)));
        assert!(!cache.check_and_insert(1));
        assert!(cache.check_and_insert(4));
        assert_eq!([1, 2, 3, 4].map(|tag| cache.contains(tag)), [false, true, true, true]);
    }

    #[test]
    fn fresh_ones_hold_no_phantom() {
        let cache = Tcache::<4>::new();
        assert!(cache.is_empty() && !cache.contains(0) && !cache.contains(u64::MAX));
        // Zero is what fresh memory holds: no field of a fresh filter may be anything else.
        assert_eq!((cache.state.cursor.get(), cache.state.len.get(), cache.state.salt), (0, 0, 0));
        for entry in &cache.entries {
            assert_eq!((entry.tag.get(), entry.next.get(), entry.head.get()), (0, NONE, NONE));
        }
    }

    #[test]
    fn buckets_are_in_range_and_spread() {
        for seed in if cfg!(miri) { &[1][..] } else { &[0, 1, 2, u64::MAX] } {
            let cache = Tcache::<1_000>::with_seed(*seed);
            let window = cache.window();
            for stride in if cfg!(miri) { &[64][..] } else { &[1, 64, 1 << 20, 1 << 40] } {
                let mut load = [0; 1_000];
                for tag in 0..1_000u64 {
                    load[window.bucket(tag * stride)] += 1; // panics out of range
                }
                let longest = load.iter().max().unwrap();
                assert!(*longest <= 20, "seed {seed}, stride {stride}: {longest} tags in one bucket");
            }
            assert!(window.bucket(u64::MAX) < 1_000);
        }
    }

    #[test]
    fn a_seed_changes_the_hash() {
        let (known, own) = (Tcache::<64>::new(), Tcache::<64>::with_seed(1));
        assert!((0..64).any(|tag| known.window().bucket(tag) != own.window().bucket(tag)));
    }

    #[test]
    fn an_entry_is_sixteen_bytes() {
        assert_eq!(size_of::<Entry>(), 16);
        assert_eq!(size_of::<Tcache<4>>(), 16 + 4 * 16);
    }

    #[test]
    fn it_can_move_into_a_thread() {
        fn is_send<T: Send>() {}
        is_send::<Tcache<4>>();
        #[cfg(feature = "alloc")]
        is_send::<TcacheBuf>();
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn the_boxed_one_agrees_too() {
        let few: Vec<u64> = (0..15).collect();
        compare(TcacheBuf::new(5).window(), &few, 99);
        compare(TcacheBuf::with_seed(1, 3).window(), &few, 99);
    }

    #[cfg(feature = "alloc")]
    #[test]
    #[should_panic(expected = "from 1 to u32::MAX tags, not 0")]
    fn a_window_of_nothing_is_refused() {
        let _ = TcacheBuf::new(0);
    }
}
