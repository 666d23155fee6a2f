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
//!   seq = n            n mod depth is this line's index: fragment n; intact, unless it is before `oldest`
//!   seq = n - 1        a marker: the line of n, which nobody has used yet
//! ```
//!
//! A marker for `n` reads as "not there yet" to a reader that waits for `n`. As `depth >= 2`, no marker has the residue of its
//! own line. Beside the ring, the producer keeps one word more:
//!
//! ```text
//!   oldest             everything before it is dead: its line or its granules may be overwritten. Never falls.
//! ```
//!
//! # Publishing `n`
//!
//! 1. where `n - depth` (whose line it takes) or the newest fragment whose granules it takes is not dead yet:
//!    [`retire`], that is `oldest` = behind both, relaxed, and `fence(Release)`. It may retire more than that,
//!    which spares the publishes that follow this step.
//! 2. payload words, then [`Line::publish`]: `sig` and the two packed words, relaxed,
//! 3. and `seq = n` with Release
//!
//! # Reading `n`
//!
//! 1. [`Line::state`]: `seq`, relaxed; only if it is `n`: `fence(Acquire)`
//! 2. the words, relaxed
//! 3. a reader that copies (an observer, or an evictable consumer, whose credits may be ignored) copies the payload, then
//!    asks [`still`]: `fence(Acquire)`, and `oldest`,
//!    relaxed: it must not be behind `n` yet
//!
//! # Why it is right
//!
//! *A reader sees whole fragments.* `seq = n` is stored with Release (3) after all words of `n`. A
//! reader that loads it and then runs the acquire fence (1) synchronises with that store, so it reads
//! the words of `n` or newer ones.
//!
//! *A lapped reader notices.* Suppose a word that an observer copied in step 2 was written by a later
//! publish `m`, which reused the line or the granules of `n`. Before it wrote the word, `m` (or an earlier
//! publish, or its producer when it began) stored a number behind `n` into `oldest` and ran the release fence of
//! `retire`. The observer
//! loaded that word and then ran the acquire fence of `still`. So the two fences synchronise, and the load of
//! `oldest` returns that number or, as it never falls, one further on.
//!
//! *A reader in place needs no second look.* The producer retires `n` only when every reliable
//! consumer has given its credit back for it (see [`fctl`](crate::credits::floor)), which happens after the last
//! read of `n`. Neither the line nor the granules of `n` change while it is read. (So `oldest` is never behind the
//! floor. A producer that takes over relies on that too: it begins with `oldest` for its floor.)
//!
//! *Nothing is written into the line before its turn.* A reader that waits for `n` looks at its line all the
//! time, so each store there costs the producer the whole way to that reader and back. A marker in the line of
//! `n`, before its payload, would double that (`bench/`: workload `throughput`). So `oldest` stands elsewhere, the
//! payload is filled from its end ([`Line::write_payload`]), and the words beside `seq` come last, all at once
//! (those of a loan when its owner writes them).
//!
//! *An empty ring holds no phantom.* Before anyone reads, the lines hold the markers of the first
//! `depth` numbers, whatever the first number is.
//!
//! Memory may be mapped read-only by readers, so they use nothing but relaxed loads of whole words and
//! fences (read-modify-writes, and on some targets wider or acquiring loads, may need write access).

use crate::cpu::words;
use crate::ring::metadata::{FragmentMetadata, Place};
use crate::ring::seq;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, intact, ordering};

/// Words of metadata at the head of a slot.
pub(crate) const META_WORDS: usize = 4;

/// Bytes of a cache line. (Models have one word of payload in the first, so that two words are in both.)
const CACHE_LINE: usize = if cfg!(loom) { (META_WORDS + 1) * words::WORD } else { 64 };

/// Words of payload that share a cache line with the metadata.
pub(crate) const BESIDE_META: usize = CACHE_LINE / words::WORD - META_WORDS;
/// The same in bytes.
pub(crate) const NEAR: usize = BESIDE_META * words::WORD;

/// What a reader that wants one fragment finds in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineState {
    /// The fragment is there; its words may be read.
    Ready,
    /// Not published yet.
    NotYet,
    /// Overwritten.
    Overwritten,
}

/// A payload that is stored in one slot or in two.
#[derive(Clone, Copy)]
pub(crate) enum Content<'p> {
    /// 64 bytes: the most frequent size by far, so without a loop.
    Block(words::Block),
    /// So many words, and no part of one: numbers, small structures. They fit beside the metadata.
    Few([u64; BESIDE_META], usize),
    /// Any other size.
    Bytes(&'p [u8]),
    /// So many words of another slot, by the one who has written them.
    Slot(Line<'p>, usize),
    /// It lies in no slot.
    Apart,
}

impl<'p> Content<'p> {
    /// How many words it takes.
    #[inline]
    pub(crate) fn words(self) -> usize {
        match self {
            Self::Block(_) => 64 / words::WORD,
            Self::Few(_, words) => words,
            Self::Bytes(payload) => payload.len().div_ceil(words::WORD),
            Self::Slot(_, words) => words,
            Self::Apart => 0,
        }
    }

    #[inline(always)]
    pub(crate) fn of(payload: &'p [u8]) -> Self {
        if let Ok(block) = payload.try_into() {
            Self::Block(words::Block::load(block))
        } else if payload.len() <= NEAR && payload.len() % words::WORD == 0 {
            Self::Few(words::full(payload), payload.len() / words::WORD)
        } else {
            Self::Bytes(payload)
        }
    }
}

/// One slot of the ring: metadata, and room for a payload.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) meta: &'a [AtomicU64; META_WORDS],
    /// Where a payload that fits the slot lies. Written by the producer only.
    pub(crate) room: &'a [AtomicU64],
}

impl Line<'_> {
    /// Makes this the empty line that fragment `n` will be the first to use. Nobody reads it yet.
    #[inline]
    pub(crate) fn prepare(&self, n: u64) {
        self.meta[0].store(n.wrapping_sub(1), Relaxed);
    }

    /// Stores a payload in the slot; the part that shares the cache line of the metadata comes last. False:
    /// it does not fit. Producer only, behind [`retire`].
    #[inline(always)]
    pub(crate) fn write_payload(&self, content: Content<'_>) -> bool {
        let fits = self.write_far(content);
        if fits {
            self.write_near(content);
        }
        fits
    }

    /// The first half of [`Self::write_payload`]: what is in other cache lines than the metadata. False: the whole does not fit.
    #[inline(always)]
    pub(crate) fn write_far(&self, content: Content<'_>) -> bool {
        match content {
            Content::Block(block) => self.room.first_chunk().map(|room| block.store_far(room)).is_some(),
            Content::Few(_, words) => words <= self.room.len(),
            Content::Bytes(payload) => match payload.split_first_chunk::<NEAR>() {
                Some((_, [])) | None => payload.len() <= self.room.len() * words::WORD,
                Some((_, rest)) => {
                    words::store_if_fits(self.room.get(BESIDE_META..).unwrap_or_default(), rest)
                }
            },
            Content::Slot(line, words) => match (line.room.get(..words), self.room.get(..words)) {
                (Some(from), Some(to)) => {
                    let near = words.min(BESIDE_META);
                    words::relay(&from[near..], &to[near..]);
                    true
                }
                _ => false,
            },
            Content::Apart => false,
        }
    }

    /// The second half.
    #[inline(always)]
    pub(crate) fn write_near(&self, content: Content<'_>) {
        match content {
            Content::Block(block) => {
                if let Some(room) = self.room.first_chunk() {
                    block.store_near(room);
                }
            }
            Content::Few(values, words) => words::store_few(self.room, values, words),
            Content::Bytes(payload) => match payload.first_chunk::<NEAR>() {
                Some(first) => words::store_each(self.room, first),
                None => _ = words::store_if_fits(self.room, payload),
            },
            Content::Slot(line, words) => {
                let near = words.min(BESIDE_META);
                words::relay(line.room.get(..near).unwrap_or_default(), self.room);
            }
            Content::Apart => {}
        }
    }

    /// Does something to each cache line of the slot that a payload of `len` bytes takes; to nine at most.
    #[inline]
    pub(crate) fn for_cache_lines(&self, len: usize, act: impl Fn(&AtomicU64)) {
        act(&self.meta[0]);
        let Some(second) = self.room.get(BESIDE_META).filter(|_| len > NEAR) else { return };
        act(second);
        let mut at = BESIDE_META + CACHE_LINE / words::WORD;
        while at * words::WORD < len && at < 64 {
            let Some(word) = self.room.get(at) else { return };
            act(word);
            at += CACHE_LINE / words::WORD;
        }
    }

    /// Stores the metadata of fragment `meta.seq`, whose payload is in place, and makes it visible.
    /// Producer only.
    #[inline]
    pub(crate) fn publish(&self, meta: &FragmentMetadata) {
        self.write_metadata(meta);
        self.commit(meta.seq);
    }

    /// The first half of [`Self::publish`]: stores the metadata, and shows nothing yet.
    #[inline]
    pub(crate) fn write_metadata(&self, meta: &FragmentMetadata) {
        let (place, control) = meta.pack();
        self.meta[1].store(meta.sig, Relaxed);
        self.meta[2].store(place, Relaxed);
        self.meta[3].store(control, Relaxed);
    }

    /// The second half: makes fragment `n` visible, with all that has been stored for it.
    #[inline]
    pub(crate) fn commit(&self, n: u64) {
        // Pairs with the acquire fence in `state_and_seq`.
        self.meta[0].store(n, ordering("line.publish", Release));
    }

    /// What the line says about fragment `n`. After [`LineState::Ready`], the words of `n` are visible.
    #[inline]
    pub(crate) fn state(&self, n: u64) -> LineState {
        self.state_and_seq(n).0
    }

    /// [`Self::look`], with the word that it is about.
    #[inline]
    pub(crate) fn state_and_seq(&self, n: u64) -> (LineState, u64) {
        let seen = self.meta[0].load(Relaxed);
        let found = if seen == n {
            // Pairs with the Release store in `show`.
            fence(ordering("line.state", Acquire));
            LineState::Ready
        } else if seq::is_before(seen, n) {
            LineState::NotYet
        } else {
            LineState::Overwritten
        };
        (found, seen)
    }

    /// The application tag, for a look before anything else is read.
    #[inline]
    pub(crate) fn sig(&self) -> u64 {
        self.meta[1].load(Relaxed)
    }

    /// Where its payload lies, without the rest of its metadata.
    #[inline]
    pub(crate) fn place(&self) -> Place {
        Place::unpack(self.meta[2].load(Relaxed))
    }

    /// The metadata of fragment `n`, after [`Line::state`] said it is there.
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

/// Declares everything before `before` dead, before any word of it is written. Producer only.
#[inline]
pub(crate) fn retire(oldest: &AtomicU64, before: u64) {
    if intact("line.retire") {
        oldest.store(before, Relaxed);
    }
    // Orders it before all words that are written from now on. Pairs with the acquire fence in `still`.
    fence(ordering("line.retired", Release));
}

/// Whether everything that was loaded from fragment `n` since [`Line::state`] was of fragment `n`.
#[inline]
pub(crate) fn is_valid(oldest: &AtomicU64, n: u64) -> bool {
    // Pairs with the release fence in `retire`: if a word of a later fragment was read, the number that
    // was stored before it, or one further on, is seen below.
    fence(ordering("line.is_valid_fence", Acquire));
    !seq::is_before(n, oldest.load(Relaxed)) || !intact("line.is_valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> [AtomicU64; META_WORDS] {
        core::array::from_fn(|_| AtomicU64::new(0))
    }

    #[test]
    fn a_line_goes_from_marker_to_fragment_to_fragment() {
        for n in [5_u64, 0, u64::MAX, 1 << 63] {
            let memory = words();
            let line = Line { meta: &memory, room: &[] };
            line.prepare(n);
            assert_eq!(line.state(n), LineState::NotYet);
            assert_eq!(line.state(n.wrapping_sub(8)), LineState::Overwritten);
            let meta = FragmentMetadata { seq: n, sig: 9, chunk: 1, size: 2, ctl: 3, reserved: 0, ts: 4 };
            line.publish(&meta);
            assert_eq!(line.state(n), LineState::Ready);
            assert_eq!(line.metadata(n), meta);
            assert_eq!(line.state(n.wrapping_add(8)), LineState::NotYet);
            let oldest = AtomicU64::new(n.wrapping_sub(3));
            assert!(is_valid(&oldest, n));
            retire(&oldest, n);
            assert!(is_valid(&oldest, n));
            retire(&oldest, n.wrapping_add(1));
            assert!(!is_valid(&oldest, n));
            line.publish(&FragmentMetadata { seq: n.wrapping_add(8), ..meta });
            assert_eq!(line.state(n), LineState::Overwritten);
        }
    }

    #[test]
    fn a_slot_is_filled_to_its_last_byte_and_no_further() {
        let memory: [AtomicU64; 16] = core::array::from_fn(|_| AtomicU64::new(u64::MAX));
        let (meta, room) = memory.split_first_chunk().unwrap();
        let line = Line { meta, room };
        for len in [0, 1, 8, 16, 24, 31, 32, 33, 63, 64, 65, 88, 95, 96] {
            room.iter().for_each(|word| word.store(u64::MAX, Relaxed));
            let payload: Vec<u8> = (1..=len as u8).collect();
            assert!(line.write_payload(Content::of(&payload)));
            let bytes: Vec<u8> = room.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect();
            assert_eq!(&bytes[..len], payload);
            assert!(bytes[len.next_multiple_of(8)..].iter().all(|byte| *byte == 0xff), "{len}");
        }
        assert!(!line.write_payload(Content::of(&[0; 97])));
        assert!(!Line { meta, room: &room[..1] }.write_payload(Content::of(&[0; 16])));
        assert!(meta.iter().all(|word| word.load(Relaxed) == u64::MAX));
    }

    #[test]
    fn a_marker_proves_only_the_older_fragment() {
        let memory = words();
        let line = Line { meta: &memory, room: &[] };
        line.prepare(19);
        assert_eq!(line.proven(3, 8), 11);
        line.publish(&FragmentMetadata { seq: 19, ..Default::default() });
        assert_eq!(line.proven(3, 8), 19);
    }
}
