//! The metadata line: the protocol by which one producer hands fragments to many readers.
//!
//! A line is four words, followed by the room of its slot, in which a small payload travels:
//!
//! ```text
//!   word   0     1     2                   3                              4 ...
//!        | seq | sig | chunk | size << 32 | ctl | reserved<<16 | ts<<32 | payload, if it fits the slot
//! ```
//!
//! The line of fragment `n` is the one of index `n mod depth`. Its `seq` word says what it holds:
//!
//! ```text
//!   seq = n            n mod depth is this line's index: fragment n, intact
//!   seq = n - 1        a marker: the line of n, whose old content (n - depth, if there was one) is gone
//! ```
//!
//! A marker for `n` reads as "behind n" to who waits for `n`, and as "ahead" to who still wants an
//! older fragment of the same line. As `depth >= 2`, no marker has the residue of its own line.
//!
//! # Publishing `n`
//!
//! 1. [`Line::retire`]: for each fragment that dies by this publish, its line's `seq` gets the marker
//! 2. [`retired`][]: `fence(Release)`
//! 3. payload words, then [`Line::publish`]: `sig` and the two packed words, relaxed,
//! 4. and `seq = n` with Release
//!
//! # Reading `n`
//!
//! 1. [`Line::look`]: `seq`, relaxed; only if it is `n`: `fence(Acquire)`
//! 2. the words, relaxed
//! 3. a reader that holds no credits copies the payload, then [`Line::still`]: `fence(Acquire)`, and
//!    `seq` once more, relaxed: it must still be `n`
//!
//! # Why it is right
//!
//! *A reader sees whole fragments.* `seq = n` is stored with Release (4) after all words of `n`. A
//! reader that loads it and then runs the acquire fence (1) synchronises with that store, so it reads
//! the words of `n` or newer ones.
//!
//! *A lapped reader notices.* Suppose a word that an observer copied in step 2 was written by a later
//! publish `m`, which reused the line or the granules of `n`. Before it wrote the word, `m` stored a
//! marker into the line of `n` (or an earlier publish did) and ran the release fence (2). The observer
//! loaded that word and then ran the acquire fence of step 3. So the two fences synchronise, the
//! marker happens before the last load of `seq`, and this load cannot return `n` any more.
//!
//! *A reader with credits needs no second look.* The producer retires `n` only when every reliable
//! consumer has given its credit back for it (see [`fctl`](crate::fctl)), which happens after the last
//! read of `n`. Neither the line nor the granules of `n` change while it is read.
//!
//! *An empty ring holds no phantom.* Before anyone reads, the lines hold the markers of the first
//! `depth` numbers, whatever the first number is.
//!
//! Memory may be mapped read-only by readers, so they use nothing but relaxed loads of whole words and
//! fences (read-modify-writes, and on some targets wider or acquiring loads, may need write access).

use crate::frag::FragmentMetadata;
use crate::seq;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, intact, ordering};
use crate::words;

/// Words of metadata at the head of a slot.
pub(crate) const META_WORDS: usize = 4;

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// What a reader that wants one fragment finds in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The fragment is there; its words may be read.
    Ready,
    /// Not published yet.
    Behind,
    /// Overwritten, or retired to be.
    Gone,
}

/// One slot of the ring: metadata, and room for a payload.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) meta: &'a [AtomicU64; META_WORDS],
    /// Where a payload that fits the slot lies. Written by the producer only.
    pub(crate) room: &'a [AtomicU64],
}

impl Line<'_> {
    /// Makes this the empty line that fragment `n` will use: what it held before is gone.
    /// Producer only. Must be followed by [`retired`] before any word of the dead fragment is reused.
    #[inline]
    pub(crate) fn retire(&self, n: u64) {
        // Ordered before the words of the next fragment by the release fence in `retired`.
        self.meta[0].store(n.wrapping_sub(1), Relaxed);
    }

    /// Does something to each cache line that a payload of `len` bytes will touch. Producer only.
    #[inline]
    pub(crate) fn for_cache_lines(&self, len: usize, act: impl Fn(&AtomicU64)) {
        act(&self.meta[0]);
        if len > CACHE_LINE - META_WORDS * words::WORD {
            if let Some(word) = self.room.get(CACHE_LINE / words::WORD - META_WORDS) {
                act(word);
            }
        }
    }

    /// Stores the metadata of fragment `meta.seq`, whose payload is in place, and makes it visible.
    /// Producer only.
    #[inline]
    pub(crate) fn publish(&self, meta: &FragmentMetadata) {
        let (place, control) = meta.pack();
        self.meta[1].store(meta.sig, Relaxed);
        self.meta[2].store(place, Relaxed);
        self.meta[3].store(control, Relaxed);
        // Pairs with the acquire fence in `look`.
        self.meta[0].store(meta.seq, ordering("line.publish", Release));
    }

    /// What the line says about fragment `n`. After [`Look::Ready`], the words of `n` are visible.
    #[inline]
    pub(crate) fn look(&self, n: u64) -> Look {
        let seen = self.meta[0].load(Relaxed);
        if seen == n {
            // Pairs with the Release store in `publish`.
            fence(ordering("line.look", Acquire));
            Look::Ready
        } else if seq::is_before(seen, n) {
            Look::Behind
        } else {
            Look::Gone
        }
    }

    /// Whether everything that was loaded from fragment `n` since [`Line::look`] was of fragment `n`.
    #[inline]
    pub(crate) fn still(&self, n: u64) -> bool {
        // Pairs with the release fence in `retired`: if a word of a later fragment was read, the marker
        // that was stored before it is seen below.
        fence(ordering("line.still_fence", Acquire));
        self.meta[0].load(Relaxed) == n || !intact("line.still")
    }

    /// The application tag, for a look before anything else is read.
    #[inline]
    pub(crate) fn sig(&self) -> u64 {
        self.meta[1].load(Relaxed)
    }

    /// The metadata of fragment `n`, after [`Line::look`] said it is there.
    #[inline]
    pub(crate) fn metadata(&self, n: u64) -> FragmentMetadata {
        FragmentMetadata::unpack(
            n,
            self.meta[1].load(Relaxed),
            self.meta[2].load(Relaxed),
            self.meta[3].load(Relaxed),
        )
    }

    /// The newest fragment that this line, of index `index` in a ring of `depth`, proves to have been
    /// published; a line that never held one "proves" a number before the first.
    pub(crate) fn proven(&self, index: u64, depth: u64) -> u64 {
        let seen = self.meta[0].load(Relaxed);
        if seen & (depth - 1) == index { seen } else { seen.wrapping_add(1).wrapping_sub(depth) }
    }
}

/// Orders the markers of all retired lines before the words that are written next. Producer only.
#[inline]
pub(crate) fn retired() {
    // Pairs with the acquire fence in `Line::still`.
    fence(ordering("line.retired", Release));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> [AtomicU64; META_WORDS] {
        core::array::from_fn(|_| AtomicU64::new(0))
    }

    #[test]
    fn a_line_goes_from_marker_to_fragment_to_marker() {
        for n in [5_u64, 0, u64::MAX, 1 << 63] {
            let memory = words();
            let line = Line { meta: &memory, room: &[] };
            line.retire(n);
            retired();
            assert_eq!(line.look(n), Look::Behind);
            assert_eq!(line.look(n.wrapping_sub(8)), Look::Gone);
            let meta = FragmentMetadata { seq: n, sig: 9, chunk: 1, size: 2, ctl: 3, reserved: 0, ts: 4 };
            line.publish(&meta);
            assert_eq!(line.look(n), Look::Ready);
            assert_eq!(line.metadata(n), meta);
            assert!(line.still(n));
            assert_eq!(line.look(n.wrapping_add(8)), Look::Behind);
            line.retire(n.wrapping_add(8));
            assert!(!line.still(n));
            assert_eq!(line.look(n), Look::Gone);
        }
    }

    #[test]
    fn a_marker_proves_only_the_older_fragment() {
        let memory = words();
        let line = Line { meta: &memory, room: &[] };
        line.retire(19);
        assert_eq!(line.proven(3, 8), 11);
        line.publish(&FragmentMetadata { seq: 19, ..Default::default() });
        assert_eq!(line.proven(3, 8), 19);
    }
}
