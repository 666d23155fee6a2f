//! [`Line`]: the protocol by which one producer hands fragments to many readers.
//!
//! A line is one slot of the ring: four words of metadata, followed by room for a small payload:
//!
//! ```text
//!   word   0     1     2                   3                              4 ...
//!        | seq | sig | chunk | size << 32 | ctl | reserved<<16 | ts<<32 | payload, if it fits the slot
//! ```
//!
//! Fragment `n` uses the line with index `n mod depth`. The `seq` word of that line says what it holds:
//!
//! | `seq` word | the line holds |
//! |---|---|
//! | `m`, and `m mod depth` is this line's index | fragment `m`. Its words are intact unless `m` is before `oldest`. |
//! | `n - 1`, and `n mod depth` is this line's index | a *marker*: no fragment yet. `n` will be the first. |
//!
//! A reader that waits for `n` reads a marker for `n` as "not there yet". As `depth >= 2`, a marker is never
//! mistaken for a fragment: `n - 1` belongs to another line.
//!
//! If the first fragment of a link is 1, zeros are as good as markers, so a ring in zeroed memory need not be touched:
//! a reader that waits for an `n` after 0 reads 0 as "not there yet". The exception is line 0, which would seem to hold
//! fragment 0, so that line has its marker.
//!
//! The producer also keeps one word outside the ring:
//!
//! - `oldest`: every fragment before it is *dead*, that is, its line and its granules may be overwritten. The
//!   word never falls.
//!
//! # How the producer publishes `n`
//!
//! P1. [`retire`]: raise `oldest` with a relaxed store, then `fence(Release)`. Needed if a fragment that `n`
//!     overwrites is not dead yet. That can be `n - depth`, whose line `n` uses, or fragments whose granules
//!     `n` uses. `oldest` becomes the number after the newest of them. It may be raised further, so that the
//!     next publishes can skip this step.
//!
//! P2. Store the payload words, relaxed. Then, in [`Line::publish`], store `sig` and the two packed words,
//!     relaxed.
//!
//! P3. Store `seq = n` with Release.
//!
//! # How a reader reads `n`
//!
//! R1. [`Line::state`]: load `seq`, relaxed. Continue only if it is `n`: `fence(Acquire)`.
//!
//! R2. Load the words of the fragment, relaxed.
//!
//! R3. Only a reader that copies: when it has copied the payload, it calls [`is_valid`]. That is
//!     `fence(Acquire)` and a relaxed load of `oldest`, which must not be later than `n`. Observers copy. So
//!     do evictable consumers, because the producer may ignore their credits.
//!
//! # Why it is right
//!
//! *A reader sees whole fragments.*
//!
//! 1. The producer stores `seq = n` with Release (P3), after all words of `n` (P2).
//! 2. A reader that loads `n` from `seq` and then executes the acquire fence (R1) synchronises with that
//!    store.
//! 3. So it reads the words of `n`, or newer ones.
//!
//! *A lapped reader notices.* Suppose a reader that copies has loaded a word in R2 that a later publish `m`
//! wrote, because `m` reused the line or the granules of `n`.
//!
//! 1. Before that word was written, a number later than `n` was stored into `oldest`, and the release fence
//!    of [`retire`] was executed. This was done by `m` itself, by an earlier publish, or by the producer when
//!    it attached.
//! 2. The reader loaded the word, and then executed the acquire fence of [`is_valid`].
//! 3. So the two fences synchronise, and the reader's load of `oldest` returns that number. As `oldest` never
//!    falls, it may also return a later one. In both cases the reader rejects the copy.
//!
//! *A reader in place needs no check afterwards.*
//!
//! 1. The producer retires `n` only when every reliable consumer has returned its credit for `n` (see
//!    [`floor`](crate::credits::floor)).
//! 2. A consumer returns the credit after its last read of `n`.
//! 3. So neither the line nor the granules of `n` change while a reliable consumer reads them.
//!
//! It follows that `oldest` is never later than the floor. A producer that takes over relies on that: it
//! starts with `oldest` as its floor.
//!
//! *An empty ring holds no fragments.* Before any reader reads, the lines hold the markers of the first
//! `depth` numbers, whatever the first number is, or zeros that say the same.
//!
//! # Numbers that the producer leaves out
//!
//! For a number that it leaves out, the producer publishes a *placeholder*: a fragment by the steps above, without a
//! payload, and with a place that no payload has ([`Place::LEFT_OUT`]). Lines, credits, joining and takeovers treat it
//! as any other fragment, so everything above holds for it. Readers check each place before they use it. That check
//! fails for a placeholder, and what reads then tells it from a corrupt fragment, by the same steps (R1 to R3).
//!
//! # Why the stores are in this order
//!
//! A reader that waits for `n` loads the line of `n` continuously. So each store to that cache line costs the
//! producer a round trip to the reader's core. A marker that is stored into the line before the payload would
//! double that cost (`bench/`: workload `throughput`). Therefore:
//!
//! - `oldest` is a word outside the ring.
//! - The payload is stored from its end ([`Line::write_payload`]).
//! - The words beside `seq` are stored last, all at once. (In a loan, when its owner writes them.)
//!
//! # Read-only mappings
//!
//! Readers may have the memory mapped read-only. So they use only relaxed loads of whole words, and fences.
//! Read-modify-writes, and on some targets wider or acquiring loads, may need write access.

use crate::cpu::words;
use crate::ring::metadata::{FragmentMetadata, Place};
use crate::ring::seq;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, ordering};

/// Words of metadata at the start of a slot.
pub(crate) const META_WORDS: usize = 4;

/// Alignment of every payload, in bytes, wherever it lies: behind the metadata of an aligned slot, at the start of a
/// granule, and in each copy.
pub(crate) const PAYLOAD_ALIGNMENT: usize = 32;

const _: () = assert!(META_WORDS * words::WORD % PAYLOAD_ALIGNMENT == 0);

/// Size of a cache line, in bytes. (In models, the first line has room for one word of payload, so that a
/// payload of two words takes two lines.)
const CACHE_LINE: usize = if cfg!(loom) { (META_WORDS + 1) * words::WORD } else { 64 };

/// Words of payload that share a cache line with the metadata.
pub(crate) const BESIDE_META: usize = CACHE_LINE / words::WORD - META_WORDS;
/// The same, in bytes.
pub(crate) const NEAR: usize = BESIDE_META * words::WORD;

/// What a line says to a reader that wants one certain fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineState {
    /// The fragment is there. Its words may be read.
    Ready,
    /// The fragment is not published yet.
    NotYet,
    /// The fragment was overwritten: the line holds a later one.
    Overwritten,
}

/// A payload on its way into a slot, or into a slot and a hot slot.
#[derive(Clone, Copy)]
pub(crate) enum Content<'p> {
    /// 64 bytes, by far the most frequent size. Needs no loop.
    Block(words::Block),
    /// Whole words that fit beside the metadata: numbers, small structures. Needs no call.
    Near(&'p [u8]),
    /// Any other size.
    Bytes(&'p [u8]),
    /// This many words of another slot, which the caller has written.
    Slot(Line<'p>, usize),
    /// The payload lies in no slot.
    Apart,
}

impl<'p> Content<'p> {
    /// How many words it takes in a slot.
    #[inline]
    pub(crate) fn words(self) -> usize {
        match self {
            Self::Block(_) => words::BLOCK / words::WORD,
            Self::Near(words) => words.len() / words::WORD,
            Self::Bytes(payload) => payload.len().div_ceil(words::WORD),
            Self::Slot(_, words) => words,
            Self::Apart => 0,
        }
    }

    #[inline(always)]
    pub(crate) fn of(payload: &'p [u8]) -> Self {
        Self::block(payload).or(Self::near(payload)).unwrap_or(Self::Bytes(payload))
    }

    /// [`Self::Block`], loaded here, if the payload has that size.
    #[inline(always)]
    pub(crate) fn block(payload: &[u8]) -> Option<Self> {
        Some(Self::Block(words::Block::load(payload.try_into().ok()?)))
    }

    /// [`Self::Near`], if the payload is of that kind.
    #[inline(always)]
    pub(crate) fn near(payload: &'p [u8]) -> Option<Self> {
        let is_near = payload.len() <= NEAR && payload.len() % words::WORD == 0;
        is_near.then_some(Self::Near(payload))
    }
}

/// One slot of the ring: metadata, and room for a payload.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) meta: &'a [AtomicU64; META_WORDS],
    /// Room for a payload that fits the slot. Only the producer writes it.
    pub(crate) room: &'a [AtomicU64],
}

impl Line<'_> {
    /// Stores the marker for `n`: fragment `n` will be the first to use this line. Before any reader reads
    /// it.
    #[inline]
    pub(crate) fn prepare(&self, n: u64) {
        self.meta[0].store(n.wrapping_sub(1), Relaxed);
    }

    /// Stores a payload in the slot (P2). The part that shares a cache line with the metadata comes last.
    /// False: it does not fit. Producer only, after [`retire`].
    #[inline(always)]
    pub(crate) fn write_payload(&self, content: Content<'_>) -> bool {
        if let (Content::Block(block), Some(room)) = (content, self.room.first_chunk()) {
            block.store_far(room);
            block.store_near(room);
            return true;
        }
        let fits = self.write_far(content);
        if fits {
            self.write_near(content);
        }
        fits
    }

    /// The first half of [`Self::write_payload`]: the part in other cache lines than the metadata. False: the
    /// whole payload does not fit.
    #[inline(always)]
    pub(crate) fn write_far(&self, content: Content<'_>) -> bool {
        match content {
            Content::Block(block) => self.room.first_chunk().map(|room| block.store_far(room)).is_some(),
            Content::Near(words) => words.len() <= self.room.len() * words::WORD,
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

    /// The second half: the part beside the metadata.
    #[inline(always)]
    pub(crate) fn write_near(&self, content: Content<'_>) {
        match content {
            Content::Block(block) => {
                if let Some(room) = self.room.first_chunk() {
                    block.store_near(room);
                }
            }
            Content::Near(words) => words::store_each(self.room, words),
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

    /// [`Self::for_cache_lines`] for a payload that takes two lines at most.
    #[inline(always)]
    pub(crate) fn for_first_cache_lines(&self, len: usize, act: impl Fn(&AtomicU64)) {
        act(&self.meta[0]);
        if let Some(second) = self.room.get(BESIDE_META).filter(|_| len > NEAR) {
            act(second);
        }
    }

    /// Calls `act` for each cache line of the slot that the metadata and a payload of `len` bytes take, and
    /// for nine lines at most.
    #[inline]
    pub(crate) fn for_cache_lines(&self, len: usize, act: impl Fn(&AtomicU64)) {
        act(&self.meta[0]);
        self.for_cache_lines_after_first(len, act);
    }

    /// [`Self::for_cache_lines`] without the line that has the metadata.
    #[inline]
    pub(crate) fn for_cache_lines_after_first(&self, len: usize, act: impl Fn(&AtomicU64)) {
        let mut at = BESIDE_META;
        while at * words::WORD < len && at < 64 {
            let Some(word) = self.room.get(at) else { return };
            act(word);
            at += CACHE_LINE / words::WORD;
        }
    }

    /// Stores the metadata of fragment `meta.seq`, whose payload is in place, and makes it visible (P2, P3).
    /// Producer only.
    #[inline]
    pub(crate) fn publish(&self, meta: &FragmentMetadata) {
        self.write_metadata(meta);
        self.commit(meta.seq);
    }

    /// The first half of [`Self::publish`]: stores the metadata. The fragment is not visible yet.
    #[inline]
    pub(crate) fn write_metadata(&self, meta: &FragmentMetadata) {
        let (place, control) = meta.pack();
        self.meta[1].store(meta.sig, Relaxed);
        self.meta[2].store(place, Relaxed);
        self.meta[3].store(control, Relaxed);
    }

    /// The second half (P3): makes fragment `n` visible, with everything that was stored for it.
    #[inline]
    pub(crate) fn commit(&self, n: u64) {
        // Pairs with the acquire fence in `state_and_seq`.
        self.meta[0].store(n, ordering("line.publish", Release));
    }

    /// What the line says about fragment `n` (R1). After [`LineState::Ready`], the words of `n` are visible.
    #[inline]
    pub(crate) fn state(&self, n: u64) -> LineState {
        self.state_and_seq(n).0
    }

    /// [`Self::state`], and the `seq` word that it is derived from.
    #[inline]
    pub(crate) fn state_and_seq(&self, n: u64) -> (LineState, u64) {
        let seen = self.meta[0].load(Relaxed);
        let found = if seen == n {
            // Pairs with the Release store in `commit`.
            fence(ordering("line.state", Acquire));
            LineState::Ready
        } else if seq::is_before(seen, n) {
            LineState::NotYet
        } else {
            LineState::Overwritten
        };
        (found, seen)
    }

    /// The application tag alone, for readers that filter before they read anything else.
    #[inline]
    pub(crate) fn sig(&self) -> u64 {
        self.meta[1].load(Relaxed)
    }

    /// Where the payload lies, without the rest of the metadata.
    #[inline]
    pub(crate) fn place(&self) -> Place {
        Place::unpack(self.meta[2].load(Relaxed))
    }

    /// The metadata of fragment `n` (R2), after [`Line::state`] returned [`LineState::Ready`].
    #[inline]
    pub(crate) fn metadata(&self, n: u64) -> FragmentMetadata {
        FragmentMetadata::unpack(
            n,
            self.meta[1].load(Relaxed),
            self.meta[2].load(Relaxed),
            self.meta[3].load(Relaxed),
        )
    }

    /// The newest fragment that this line, at `index` in a ring of `depth`, proves to have been published.
    /// For a line that never held a fragment, it is a number before the first one of the link.
    pub(crate) fn proven(&self, index: u64, depth: u64) -> u64 {
        let seen = self.meta[0].load(Relaxed);
        if seen & (depth - 1) == index { seen } else { seen.wrapping_add(1).wrapping_sub(depth) }
    }
}

/// P1: declares every fragment before `before` dead, before any word of it is overwritten. Producer only.
#[inline]
pub(crate) fn retire(oldest: &AtomicU64, before: u64) {
    oldest.store(before, Relaxed);
    // Orders the store before all words that are stored from now on. Pairs with the acquire fence in
    // `is_valid`.
    fence(ordering("line.retired", Release));
}

/// R3: whether everything that was loaded since [`Line::state`] returned `Ready` belongs to fragment `n`.
#[inline]
pub(crate) fn is_valid(oldest: &AtomicU64, n: u64) -> bool {
    // Pairs with the release fence in `retire`: if a word of a later fragment was loaded, the load below sees
    // the number that was stored before that word, or a later number.
    fence(ordering("line.is_valid_fence", Acquire));
    !seq::is_before(n, oldest.load(Relaxed))
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
