//! [`HotSlot`]: the newest fragment once more, always in the same place, for a reader that waits.
//!
//! A reader that waits for the next fragment could look at its line in the ring. But each is in another slot, and a
//! slot that has not been touched for a whole lap is in no cache that is near: the producer stores into it only when
//! it has come, and what the reader sees is late by that. So a reader that has found nothing for some time
//! *follows*: it looks here, at a pair of cache lines that are always the same and that both sides keep in their
//! nearest caches, and when the fragment that it waits for has come, it has come here whole (`bench/`: `round-trip`).
//! (If the producer knows that somebody may follow: a consumer tells, and that of a link without consumers takes it that
//! observers do. Otherwise, and of batches, only the number comes here: whoever follows all the same is sent to the ring.)
//!
//! ```text
//!   word   0     1     2       3         4 ... 7  |  8 ... 14                    15
//!        | seq | sig | place | control | payload, if it is small enough      | begun |
//! ```
//!
//! The first fifteen words are a [`Line`], and mean what they mean there, in two cache lines, *near* and *far*. What is
//! no longer than 32 bytes is in the near one only. The producer stores, behind all that it does in the ring for fragment
//! `n` ([`HotSlot::publish`]):
//!
//! 1. if there is a far part: `begun = n`, relaxed, and `fence(Release)`; then that part, relaxed
//! 2. `seq = n` less [`UNDER_WAY`], relaxed, and `fence(Release)`; then the near part and the metadata, relaxed
//! 3. `seq = n` with Release
//!
//! or a place that is no place, relaxed, and 3 ([`HotSlot::announce`]): the fragment is in the ring. A reader
//! ([`HotSlot::look`], [`HotSlot::copy`]):
//!
//! 1. `seq`, relaxed; only if it is `n`: `fence(Acquire)`. Ahead of `n`, or what is under way is: `n` is in the ring, or
//!    was.
//! 2. copies the metadata and the payload, relaxed
//! 3. `fence(Acquire)`; accepts the copy if `seq`, relaxed, is still `n`, and if it has copied from the far line,
//!    `begun` too. Otherwise, and if the place is none, it takes `n` from the ring
//!
//! # Shown to one consumer apart
//!
//! All readers of a link can look at the one of these that lies beside the ring. In shared memory, each slot of a reliable
//! consumer has another one, in a page that the producer and that consumer map, and both of them writable: through a
//! read-only mapping, a load leaves the line shared on AMD's processors, and the producer waits when it stores there
//! again (`bench/`: `round-trip`). If one consumer alone tells that it follows, fragments are shown *apart* to it, in its
//! own, before they are shown to all. Otherwise its own is at its *end* ([`HotSlot::end`]): there is a number for which all
//! is in the ring for who looks, and nobody begins to follow there ([`HotSlot::is_shown`]).
//!
//! The consumer stores one thing there: that end, when it has taken its slot and before it looks, so that it is shown
//! nothing that the owner before it has left there. (The producer may be showing something at this moment: that is then
//! found where all look.) If anything else in its process stores there, it misleads that consumer and nobody else.
//!
//! # Why it is right
//!
//! *What is accepted is fragment `n`.* `seq = n` is stored behind the words of `n`, and who has loaded it and run the
//! acquire fence sees those or newer ones. Suppose one is newer, of `m`. If it is in the near line, there came before
//! it `seq = m` less `UNDER_WAY` and a release fence, and the load of that word is followed by the acquire fence of
//! step 3. So the second load of `seq` returns that or one further on, and `n` does not come again: `m` was in the ring
//! before, so whoever takes over begins behind it. If it is in the far line, the same holds of `begun`. And who accepts
//! something of the far line has seen in the near one that `n` has a part there. (Where fragments are shown apart, the
//! reader has stored an end, too: before all its looks. So whatever it finds was stored behind that, and it stands
//! between no two numbers that this is about.) (What is announced leaves all words as they are but for the place, and
//! that says so; a producer that begins does the same with a number that was there before.)
//!
//! *What is refused is in the ring.* All that the producer did there for `n` was stored before `seq = n`, with Release.
//!
//! *Nothing is missed.* Every publish, and every batch, ends with a store of `seq`, whatever the size of the payload,
//! wherever fragments are shown. Where they are not any more, `end` is stored first, before the next one is shown
//! anywhere, and a producer that begins stores it wherever its predecessor may have shown something apart: who waits
//! there finds that all is in the ring. A producer that dies in front of its store of `seq` leaves a fragment in the
//! ring that is not here; the next producer stores `seq` when it begins ([`HotSlot::begin`]), and who finds that a link
//! has ended looks once more at the ring. Who sleeps, or is awaited, looks there too. So does, now and then, a follower
//! that goes on polling: a producer may have been stopped between the two stores, and others may have the fragment
//! already.
//!
//! *Each line is taken once.* All stores into the far line come first, then all into the near one: the reader, which
//! looks at that all the time, would take it away in between.
//!
//! Credits have no part in this: the place is overwritten by the next fragment, read or not. That is why it is copied,
//! and why payloads are limited to [`ROOM`] words. A reader that gives back a credit for `n` does so for its line.

use crate::cpu::cache;
use crate::cpu::words::{self, WORD};
use crate::ring::line::{BESIDE_META, Content, Line, LineState, META_WORDS, NEAR};
use crate::ring::metadata::{FragmentMetadata, Place};
use crate::ring::seq;
#[cfg(loom)]
use crate::sync::StaticU64;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, intact, ordering};

/// What is under way has a number so far before its own: nobody waits for that one.
const UNDER_WAY: u64 = 1 << 62;
/// Where nothing is shown any more, there is a number so far behind: nobody waits for that one either, and to
/// [`HotSlot::look`] it is that of something under way which is newer than all.
const ENDED: u64 = 3 << 60;

/// Words of payload: in both lines, and in the far one. (Models have one in each.)
const ROOM: usize = if cfg!(loom) { 2 } else { 11 };
const FAR: usize = ROOM - BESIDE_META;

/// The place of a payload that has none here. Longer than any.
const ELSEWHERE: Place = Place { chunk: FragmentMetadata::IN_SLOT, size: u32::MAX };

/// The newest fragment: see the module. Written by the producer with every fragment.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct HotSlot {
    meta: [AtomicU64; META_WORDS],
    room: [AtomicU64; ROOM],
    /// Whose payload may be in the far cache line.
    begun: AtomicU64,
    /// Not zero: producers show fragments here. Models that are not about this do without it.
    #[cfg(loom)]
    used: StaticU64,
}

/// What was found of a fragment.
#[derive(Debug)]
pub(crate) enum Found {
    /// All of it: the payload has been copied.
    Whole(FragmentMetadata),
    /// Its metadata. The payload is where that says.
    Metadata(FragmentMetadata),
    /// Its number only: it is in the ring.
    Elsewhere,
}

/// A payload that was copied. Aligned, because it is copied by 16 bytes.
#[repr(C, align(16))]
#[derive(Debug)]
pub(crate) struct HotCopy([u64; ROOM]);

impl HotCopy {
    pub(crate) const fn new() -> Self {
        Self([0; ROOM])
    }

    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }
}

impl HotSlot {
    pub(crate) const fn new() -> Self {
        Self {
            meta: [const { AtomicU64::new(0) }; META_WORDS],
            room: [const { AtomicU64::new(0) }; ROOM],
            begun: AtomicU64::new(0),
            #[cfg(loom)]
            used: StaticU64::new(0),
        }
    }

    /// Whether the producer shows fragments here: always, but in models that are not about this.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        #[cfg(loom)]
        return self.used.load(Relaxed) != 0;
        #[cfg(not(loom))]
        true
    }

    #[inline]
    fn line(&self) -> Line<'_> {
        Line { meta: &self.meta, room: &self.room }
    }

    /// A producer begins, behind `next - 1`: whoever waits for that one or an older one finds it in the ring.
    pub(crate) fn begin(&self, next: u64) {
        if intact("hot_slot.begin") {
            self.store_elsewhere(next.wrapping_sub(1));
        }
    }

    /// Nothing is shown here any more, until the next [`Self::publish`]. Who looks for `next`, or for anything within 2^60
    /// of it, finds it in the ring. Producer only; and where fragments are shown to one consumer apart, that one before it
    /// looks here.
    pub(crate) fn close(&self, next: u64) {
        if self.is_used() && intact("hot_slot.close") {
            self.meta[0].store(Self::closed_mark(next), Relaxed);
        }
    }

    /// The number that is there behind [`Self::close`].
    pub(crate) const fn closed_mark(next: u64) -> u64 {
        next.wrapping_sub(ENDED)
    }

    /// Whether fragments like `next` are shown here. (If they are no more, at the next moment, a look says so.)
    pub(crate) fn is_open(&self, next: u64) -> bool {
        self.is_used() && self.state(next) != LineState::Overwritten
    }

    /// Shows fragment `meta.seq`, which is in the ring. Producer only.
    #[inline(always)]
    pub(crate) fn publish(&self, meta: &FragmentMetadata, content: Content<'_>) {
        if self.is_used() {
            self.begin_to_publish(meta.seq, content);
            self.line().publish(meta);
        }
    }

    /// Has the processor fetch what a payload of `len` bytes will be stored to. (The reader that waits may take it back
    /// before; that it mostly does not is measured, with random times between messages.)
    #[inline(always)]
    pub(crate) fn prefetch_for_writing(&self, len: usize) {
        cache::prefetch_for_writing(&self.meta[0]);
        if NEAR < len && len <= ROOM * WORD {
            cache::prefetch_for_writing(&self.begun);
        }
    }

    /// Step 1, and 2 up to the metadata.
    #[inline(always)]
    fn begin_to_publish(&self, n: u64, content: Content<'_>) {
        // What does not fit is in the ring only: `copy` knows by the size.
        let content = if content.words() <= ROOM { content } else { Content::Apart };
        let is_wide = content.words() > BESIDE_META;
        if is_wide {
            if intact("hot_slot.begun") {
                self.begun.store(n, Relaxed);
            }
            // Pairs with the acquire fence in `copy`.
            fence(ordering("hot_slot.begun_fence", Release));
        }
        self.line().write_far(content);
        if is_wide && !intact("hot_slot.begun") {
            self.begun.store(n, Relaxed);
        }
        if intact("hot_slot.under_way") {
            self.meta[0].store(n.wrapping_sub(UNDER_WAY), Relaxed);
        }
        // Pairs with the acquire fence in `copy`.
        fence(ordering("hot_slot.under_way_fence", Release));
        self.line().write_near(content);
    }

    /// Shows that fragment `n` is in the ring, and all before it. Producer only.
    #[inline]
    pub(crate) fn announce(&self, n: u64) {
        if self.is_used() {
            self.store_elsewhere(n);
        }
    }

    #[inline]
    fn store_elsewhere(&self, n: u64) {
        if intact("hot_slot.elsewhere") {
            self.meta[2].store(ELSEWHERE.pack(), Relaxed);
        }
        self.line().commit(n);
    }

    /// The number of the newest fragment, which is not far from `near`. A look and nothing more: what it says may be out
    /// of date, and nothing is ordered by it.
    pub(crate) fn newest(&self, near: u64) -> u64 {
        let seen = self.meta[0].load(Relaxed);
        let is_under_way = seq::distance(seen, near) > UNDER_WAY as i64 / 2;
        if is_under_way { seen.wrapping_add(UNDER_WAY).wrapping_sub(1) } else { seen }
    }

    /// What there is to be said about fragment `n`. Ready: it is in the ring, and perhaps here. Gone: others are behind
    /// it. Has the second cache line fetched together with the first: to wait for the first before that would take
    /// the way to the producer twice.
    #[inline]
    pub(crate) fn state(&self, n: u64) -> LineState {
        cache::prefetch(&self.begun);
        let (found, seen) = self.line().state_and_seq(n);
        // What is under way is newer than `n`, which is in the ring, then.
        let behind = n.wrapping_sub(seen);
        if UNDER_WAY / 2 < behind && behind < UNDER_WAY && intact("hot_slot.newer") {
            LineState::Overwritten
        } else {
            found
        }
    }

    /// What is here of fragment `n`, of which `look` has said that it is ready; its payload is copied into `to`.
    #[inline(always)]
    pub(crate) fn copy(&self, n: u64, mtu: usize, to: &mut HotCopy) -> Option<Found> {
        let meta = self.line().metadata(n);
        let size = meta.size as usize;
        let is_whole = meta.chunk == FragmentMetadata::IN_SLOT && size <= mtu.min(ROOM * WORD);
        let is_wide = is_whole && size > NEAR;
        let (near, far) = (self.room.split_first_chunk(), to.0.split_first_chunk_mut());
        if let (true, Some((near, rest)), Some((to_near, to_rest))) = (is_whole, near, far) {
            words::load_few::<BESIDE_META>(near, to_near);
            if let (true, Some(far), Some(to_far)) = (is_wide, rest.first_chunk(), to_rest.first_chunk_mut())
            {
                words::load_few::<FAR>(far, to_far);
            }
        }
        // Pairs with the release fences in `begin_to_publish`.
        fence(ordering("hot_slot.copied", Acquire));
        if self.meta[0].load(Relaxed) != n && intact("hot_slot.is_valid") {
            return None;
        }
        if is_wide && self.begun.load(Relaxed) != n && intact("hot_slot.is_valid_far") {
            return None;
        }
        if meta.place() == ELSEWHERE {
            return Some(Found::Elsewhere);
        }
        Some(if is_whole { Found::Whole(meta) } else { Found::Metadata(meta) })
    }
}

/// For models.
#[cfg(all(loom, test))]
impl HotSlot {
    /// Makes the words exist for the model checker.
    pub(crate) fn touch(&self) {
        self.meta.iter().chain(&self.room).chain([&self.begun]).for_each(AtomicU64::touch);
    }

    /// Whether the producer shows fragments here from now on.
    pub(crate) fn is_used_from_now_on(&self, is_used: bool) {
        self.used.store(u64::from(is_used), Relaxed);
    }

    /// A producer is stopped while it stores fragment `n` here.
    pub(crate) fn is_left_behind(&self, n: u64, payload: &[u8]) {
        self.begin_to_publish(n, Content::of(payload));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn meta(n: u64, size: usize) -> FragmentMetadata {
        FragmentMetadata::in_slot(n, size, n, n as u16, n as u32)
    }

    #[test]
    fn a_small_fragment_is_here_whole_and_of_a_larger_one_its_metadata() {
        let (hot_slot, mut copied) = (HotSlot::new(), HotCopy::new());
        let bytes: [u8; 96] = core::array::from_fn(|at| at as u8 + 1);
        for (n, size) in [0, 1, 8, 31, 32, 33, 63, 64, 65, 88, 89, 96].into_iter().enumerate() {
            let meta = meta(n as u64, size);
            hot_slot.publish(&meta, Content::of(&bytes[..size]));
            assert_eq!(hot_slot.state(meta.seq), LineState::Ready);
            match hot_slot.copy(meta.seq, 300, &mut copied) {
                Some(Found::Whole(found)) => {
                    assert_eq!((found, size <= 88), (meta, true));
                    let words = copied.words().iter().flat_map(|word| word.to_ne_bytes());
                    assert!(words.take(size).eq(bytes[..size].iter().copied()), "{size} bytes");
                }
                Some(Found::Metadata(found)) => assert_eq!((found, size > 88), (meta, true)),
                Some(Found::Elsewhere) | None => panic!("it is the newest, and here"),
            }
        }
        let apart = FragmentMetadata { chunk: 3, ..meta(12, 8) };
        hot_slot.publish(&apart, Content::Apart);
        assert!(
            matches!(hot_slot.copy(12, 300, &mut copied), Some(Found::Metadata(found)) if found == apart)
        );
        // A writer that follows no rules.
        hot_slot.publish(&meta(13, 9), Content::of(&bytes[..9]));
        assert!(matches!(hot_slot.copy(13, 8, &mut copied), Some(Found::Metadata(_))));
    }

    #[test]
    fn what_is_not_the_newest_or_not_whole_is_in_the_ring() {
        let (hot_slot, mut copied) = (HotSlot::new(), HotCopy::new());
        for first in [7, u64::MAX] {
            let second = first.wrapping_add(1);
            hot_slot.begin(first);
            assert_eq!(hot_slot.state(first), LineState::NotYet);
            hot_slot.announce(first);
            assert_eq!(hot_slot.state(first), LineState::Ready);
            assert!(
                matches!(hot_slot.copy(first, 300, &mut copied), Some(Found::Elsewhere)),
                "nothing was stored"
            );
            hot_slot.publish(&meta(first, 8), Content::of(&[1; 8]));
            // The next one comes between the look and the copy.
            assert_eq!(hot_slot.state(first), LineState::Ready);
            hot_slot.publish(&meta(second, 8), Content::of(&[2; 8]));
            assert!(hot_slot.copy(first, 300, &mut copied).is_none());
            assert_eq!(hot_slot.state(first), LineState::Overwritten);
            // Only told of.
            let third = second.wrapping_add(1);
            hot_slot.announce(third);
            assert_eq!(hot_slot.state(third), LineState::Ready);
            assert!(matches!(hot_slot.copy(third, 300, &mut copied), Some(Found::Elsewhere)));
            // The producer is killed in the midst of one, and the next begins behind it.
            let fourth = third.wrapping_add(1);
            hot_slot.begin_to_publish(fourth, Content::of(&[4; 8]));
            assert_eq!(hot_slot.state(third), LineState::Overwritten, "it is in the ring");
            assert_eq!(hot_slot.state(fourth), LineState::NotYet);
            assert_eq!(hot_slot.state(fourth.wrapping_add(1)), LineState::NotYet);
            assert_eq!(hot_slot.newest(third), third);
            hot_slot.begin(fourth.wrapping_add(1));
            assert_eq!(hot_slot.state(fourth), LineState::Ready);
            assert!(matches!(hot_slot.copy(fourth, 300, &mut copied), Some(Found::Elsewhere)));
        }
    }
}
