//! [`Tcache`] and [`TcacheBuf`]: exact filters for duplicates among the last N distinct tags.
//!
//! The idea is that of Firedancer's tcache. A ring keeps the tags in the order in which they came. A hash map
//! over the same entries finds a tag at once. When the ring overwrites the oldest tag, that tag is removed
//! from the map.
//!
//! A filter has one owner, and no other thread can use it meanwhile: the types are `Send` but not `Sync`.
//!
//! Reading order: `window` (the algorithm and its invariants), then this file (the two types, which own the
//! memory: inside the value, or in a box).

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::fmt;

mod window;

use window::{Entry, State, Window, is_depth};

/// An exact duplicate filter over the last `N` distinct tags, without an allocator.
///
/// A tag is new unless it is among the last `N` tags that were new. The answer is exact: within this window
/// there are no false positives and no false negatives. The tag that was inserted first is forgotten first.
/// To see a tag again does not make it younger. All 2^64 values are ordinary tags, including 0 and
/// `u64::MAX`.
///
/// The memory, 16 bytes per tag, is inside the value. Use [`TcacheBuf`] for a large window: it is made on the
/// heap, while a `Tcache` of that size would pass through the stack. `N` is from 1 to `u32::MAX`; other
/// values do not compile.
///
/// # Hostile tags
///
/// A lookup walks along a chain of tags with the same hash. A chain has one or two tags if nobody has chosen
/// the tags to collide: numbers, checksums, signatures.
///
/// The hash of [`new`](Self::new) is the same in every program. An attacker who chooses the tags can make all
/// of them collide. Each call then takes time proportional to `N`, but the answers stay right. If an attacker
/// may choose the tags, use [`with_seed`](Self::with_seed) with a random secret seed. The expected length of
/// the chains is then bounded again. This does not protect against an attacker who can learn the seed, for
/// example from precise measurements of many calls.
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
/// A window of 0 tags does not compile:
///
/// ```compile_fail,E0080
/// let seen = rust_tango::Tcache::<0>::new();
/// ```
pub struct Tcache<const N: usize> {
    state: State,
    entries: [Entry; N],
}

impl<const N: usize> Tcache<N> {
    /// An empty filter with the public hash.
    pub const fn new() -> Self {
        Self::with_seed(0)
    }

    /// An empty filter with a hash of its own, for tags that an attacker may choose: see
    /// [above](Self#hostile-tags).
    ///
    /// The seed should be random and secret. A seed of 0 is the same as [`new`](Self::new).
    pub const fn with_seed(seed: u64) -> Self {
        const { assert!(is_depth(N), "a Tcache has from 1 to u32::MAX tags") }
        Self { state: State::new(seed), entries: [const { Entry::new() }; N] }
    }

    /// Whether the tag is new. If so, remembers it, and forgets the oldest tag if there are already `N`.
    ///
    /// False: the tag is a duplicate, and nothing changes.
    #[inline]
    pub fn check_and_insert(&self, tag: u64) -> bool {
        self.window().check_and_insert(tag)
    }

    /// Whether the tag is remembered. Changes nothing.
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

/// A [`Tcache`] on the heap, with a depth that is chosen at run time.
///
/// It is the same filter otherwise. It takes 16 bytes per tag, which never pass through the stack.
///
/// # Examples
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
    /// An empty filter over the last `depth` distinct tags, with the public hash.
    ///
    /// # Panics
    /// If `depth` is not from 1 to `u32::MAX`.
    pub fn new(depth: usize) -> Self {
        Self::with_seed(depth, 0)
    }

    /// An empty filter with a hash of its own, for tags that an attacker may choose: see
    /// [`Tcache`](Tcache#hostile-tags).
    ///
    /// The seed should be random and secret. A seed of 0 is the same as [`new`](Self::new).
    ///
    /// # Panics
    /// If `depth` is not from 1 to `u32::MAX`.
    pub fn with_seed(depth: usize, seed: u64) -> Self {
        assert!(is_depth(depth), "a TcacheBuf has from 1 to u32::MAX tags, not {depth}");
        Self { state: State::new(seed), entries: (0..depth).map(|_| Entry::new()).collect() }
    }

    /// Whether the tag is new. If so, remembers it, and forgets the oldest tag if there are already
    /// [`capacity`](Self::capacity).
    ///
    /// False: the tag is a duplicate, and nothing changes.
    #[inline]
    pub fn check_and_insert(&self, tag: u64) -> bool {
        self.window().check_and_insert(tag)
    }

    /// Whether the tag is remembered. Changes nothing.
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

    /// How many tags can be remembered: the depth that the filter was made with.
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
mod tests;
