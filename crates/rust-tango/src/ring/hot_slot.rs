//! [`HotSlot`]: mirrors the newest fragment, always in the same place, for readers that wait.
//!
//! A reader that waits for the next fragment can poll the line of that fragment in the ring. But each
//! fragment uses another slot. A slot that was not used for a whole lap is in no near cache. So the
//! producer's stores into it are slow, and the reader sees the fragment late.
//!
//! Therefore a reader that has polled in vain for some time polls the *hot slot*. This is a fixed pair of
//! cache lines, which both sides keep in their nearest caches. When the fragment that the reader waits for
//! has been published, the reader finds all of it here (`bench/`: `round-trip`).
//!
//! The producer *mirrors* a fragment into the hot slot, or only *announces* its number there:
//!
//! - It mirrors fragments if a reader may poll the hot slot. Consumers hint that they do. On a link without
//!   consumers, the producer assumes that observers do.
//! - Otherwise, and for batches and for numbers that it leaves out, it announces. A reader that polls the hot slot then takes the fragment from
//!   the ring.
//!
//! ```text
//!   word   0     1     2       3         4 ... 7  |  8 ... 14                    15
//!        | seq | sig | place | control | payload, if it is small enough      | begun |
//!          the near cache line                    |  the far cache line
//! ```
//!
//! The first fifteen words are a [`Line`], with the same meaning. A payload of up to 32 bytes is in the near
//! line only.
//!
//! # How the producer mirrors `n`
//!
//! The fragment is already in the ring. The producer then stores here ([`HotSlot::publish`]):
//!
//! M1. Only if there is a far part: `begun = n`, relaxed, and `fence(Release)`. Then the far part of the
//!     payload, relaxed.
//!
//! M2. `seq = n - UNDER_WAY`, relaxed, and `fence(Release)`. Then the near part of the payload and the
//!     metadata, relaxed.
//!
//! M3. `seq = n` with Release.
//!
//! # How the producer announces `n`
//!
//! It does not mirror any more, so the hot slot's place is one that no payload has: [`ELSEWHERE`]. The producer
//! has stored it, relaxed, when it stopped mirroring ([`HotSlot::stop_mirroring`]) or attached
//! ([`HotSlot::begin`]). The fragment is already in the ring. An announcement ([`HotSlot::announce`]) is M3 and
//! nothing else.
//!
//! # How a reader reads `n`
//!
//! R1. [`HotSlot::state`]: load `seq`, relaxed.
//!
//!   - It is `n`: `fence(Acquire)`, and continue.
//!   - It is a later number, or the mark of a later fragment under way: `n` is in the ring, or was
//!     overwritten there.
//!   - Otherwise `n` is not there yet.
//!
//! R2. [`HotSlot::copy`]: copy the metadata and the payload, relaxed.
//!
//! R3. `fence(Acquire)`. Accept the copy if a relaxed load of `seq` still returns `n`, and, if words of the
//!     far line were copied, a relaxed load of `begun` returns `n`, too. If the copy is rejected, or if the
//!     place is that of an announcement, take `n` from the ring.
//!
//! # Why it is right
//!
//! *What a reader accepts is fragment `n`.* The producer stores `seq = n` with Release after the words of `n`
//! (M3). A reader that has loaded `n` and executed the acquire fence (R1) sees those words, or newer ones.
//! Suppose that it copied a newer word, of fragment `m`.
//!
//! - *The word is in the near line, and `m` was mirrored.*
//!   1. Before it stored that word, the producer stored `seq = m - UNDER_WAY` and executed a release fence
//!      (M2).
//!   2. The reader loaded the word, and then executed the acquire fence (R3).
//!   3. So its second load of `seq` returns that value or a later one. It is never `n` again: `m` was in the
//!      ring before it came here, so every later producer starts after `m`. The copy is rejected.
//! - *The word is in the far line.* The same holds for `begun` (M1). A reader that copied from the far line
//!   loads `begun`, because the size in the near line tells it that `n` has a far part.
//! - *The word is the place, and is that of announcements.* The producer has stopped mirroring after `n`. That
//!   changes no other word, and this place says that `n` is in the ring, which is so. The same holds for a
//!   producer that attaches and announces a number that was here before.
//!
//! *What was announced is not taken from here.* The producer stored the place of announcements before it
//! announced `n`, and it announces with Release. So a reader that has loaded `n` and executed the acquire fence
//! (R1) sees that place, or a newer one. A newer one is that of a fragment that was mirrored later, and then the
//! copy is rejected, as above. An announcement needs no store of the place, because an announcement changes no
//! word but `seq`: the place stays until the producer mirrors again.
//!
//! *What a reader rejects is in the ring.* All stores into the ring for `n` come before `seq = n`, which is a
//! Release store.
//!
//! *No fragment is missed.*
//!
//! - Every publish, every batch, and every run of numbers that are left out ends with a store of `seq`, whatever the
//!   size of the payload.
//! - A producer that dies before its store of `seq` leaves a fragment in the ring that is not here. The next
//!   producer stores `seq` when it attaches ([`HotSlot::begin`]). A reader that finds that the link has ended
//!   checks the ring once more.
//! - A reader that sleeps, and the watcher of an async consumer, poll the ring.
//! - A reader that polls the hot slot for long also checks the ring now and then. A producer may have been
//!   suspended between its store into the ring and the one here, and other readers may already have the
//!   fragment.
//!
//! *Each cache line moves once.* All stores into the far line come first, then all into the near line. The
//! reader polls the near line continuously, and would take it away in between.
//!
//! # No credits
//!
//! Credits do not protect the hot slot: the next fragment overwrites it, whether or not it was read. So
//! readers copy, and payloads here have at most [`ROOM`] words. A reader that returns a credit for `n`
//! returns it for the line in the ring.
//!
//! # A page of its own
//!
//! In shared memory the hot slot lies alone in a page. On AMD's processors, a load through a read-only mapping
//! leaves the cache line shared, and the producer's next store to it has to wait (`bench/`: `round-trip`). So
//! readers of the same user map this page writable there, and still only load from it. No other user can, and
//! all other words of the link are mapped read-only. A stray store into this page can mislead readers that poll
//! the hot slot.

use crate::cpu::cache;
use crate::cpu::words::{self, WORD};
use crate::ring::line::{BESIDE_META, Content, Line, LineState, META_WORDS, NEAR, PAYLOAD_ALIGNMENT};
use crate::ring::metadata::{FragmentMetadata, Place};
use crate::ring::seq;
#[cfg(loom)]
use crate::sync::StaticU64;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, ordering};

/// While fragment `m` is being mirrored, `seq` is `m - UNDER_WAY`: a number that no reader waits for.
const UNDER_WAY: u64 = 1 << 62;

/// Words of payload in both lines, and in the far line. (Models have one in each line.)
const ROOM: usize = if cfg!(loom) { 2 } else { 11 };
const FAR: usize = ROOM - BESIDE_META;

/// The place while fragments are announced: the payload is elsewhere. Its size is longer than any payload.
const ELSEWHERE: Place = Place { chunk: FragmentMetadata::IN_SLOT, size: u32::MAX };

/// Mirrors the newest fragment: see the head of this file. The producer writes it with every fragment.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct HotSlot {
    meta: [AtomicU64; META_WORDS],
    room: [AtomicU64; ROOM],
    /// The fragment whose payload the producer last began to store into the far cache line.
    begun: AtomicU64,
    /// Not zero: producers use this hot slot. Models about other things leave it out.
    #[cfg(loom)]
    used: StaticU64,
}

/// How much of a fragment the hot slot had.
#[derive(Debug)]
pub(crate) enum Found {
    /// All of it. The payload was copied.
    Whole(FragmentMetadata),
    /// Its metadata. The payload is where the metadata says.
    Metadata(FragmentMetadata),
    /// Its number only. The fragment is in the ring.
    Elsewhere,
}

/// A copy of a payload, aligned as all payloads are.
#[repr(C, align(32))]
#[derive(Debug)]
pub(crate) struct HotCopy([u64; ROOM]);

const _: () = assert!(align_of::<HotCopy>() >= PAYLOAD_ALIGNMENT);

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

    /// Whether the producer uses this hot slot. Always true, except in models about other things.
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

    /// A producer attaches, and will publish `next`. Announces `next - 1`, so that a reader that waits for it
    /// or for an older fragment takes that from the ring.
    pub(crate) fn begin(&self, next: u64) {
        self.store_elsewhere();
        self.line().commit(next.wrapping_sub(1));
    }

    /// Mirrors fragment `meta.seq`, which is already in the ring (M1 to M3). Producer only.
    #[inline(always)]
    pub(crate) fn publish(&self, meta: &FragmentMetadata, content: Content<'_>) {
        if self.is_used() {
            self.begin_to_publish(meta.seq, content);
            self.line().publish(meta);
        }
    }

    /// Prefetches the lines that a payload of `len` bytes will be stored to. (A polling reader may take them
    /// back before the stores. Measurements with random times between messages showed that it mostly does
    /// not.)
    #[inline(always)]
    pub(crate) fn prefetch_for_writing(&self, len: usize) {
        cache::prefetch_for_writing(&self.meta[0]);
        if NEAR < len && len <= ROOM * WORD {
            cache::prefetch_for_writing(&self.begun);
        }
    }

    /// M1, and M2 without the metadata.
    #[inline(always)]
    fn begin_to_publish(&self, n: u64, content: Content<'_>) {
        // A payload that does not fit is in the ring only. `copy` recognises that by the size.
        let content = if content.words() <= ROOM { content } else { Content::Apart };
        let is_wide = content.words() > BESIDE_META;
        if is_wide {
            self.begun.store(n, Relaxed);
            // Pairs with the acquire fence in `copy`.
            fence(ordering("hot_slot.begun_fence", Release));
        }
        self.line().write_far(content);
        self.meta[0].store(n.wrapping_sub(UNDER_WAY), Relaxed);
        // Pairs with the acquire fence in `copy`.
        fence(ordering("hot_slot.under_way_fence", Release));
        self.line().write_near(content);
    }

    /// Before the next fragment is announced, if the last one was mirrored. Producer only.
    #[inline]
    pub(crate) fn stop_mirroring(&self) {
        if self.is_used() {
            self.store_elsewhere();
        }
    }

    #[inline]
    fn store_elsewhere(&self) {
        // Ordered by the Release store of `seq` in the next announcement.
        self.meta[2].store(ELSEWHERE.pack(), Relaxed);
    }

    /// Announces fragment `n`: it and all before it are in the ring. Producer only, after
    /// [`Self::stop_mirroring`] or [`Self::begin`], and until the next [`Self::publish`].
    #[inline]
    pub(crate) fn announce(&self, n: u64) {
        if self.is_used() {
            self.line().commit(n);
        }
    }

    /// The number of the newest fragment here, for a reader that is near fragment `near`. It is only a hint:
    /// it may be out of date, and it orders nothing.
    pub(crate) fn newest(&self, near: u64) -> u64 {
        let seen = self.meta[0].load(Relaxed);
        let is_under_way = seq::distance(seen, near) > UNDER_WAY as i64 / 2;
        if is_under_way { seen.wrapping_add(UNDER_WAY).wrapping_sub(1) } else { seen }
    }

    /// What the hot slot says about fragment `n` (R1).
    ///
    /// - `Ready`: `n` is in the ring, and it may be here.
    /// - `Overwritten`: a later fragment is here or under way. `n` is in the ring, or was.
    /// - `NotYet`: `n` is not here yet.
    ///
    /// Prefetches the far line together with the near one. To fetch one after the other would take two round
    /// trips to the producer's core.
    #[inline]
    pub(crate) fn state(&self, n: u64) -> LineState {
        cache::prefetch(&self.begun);
        let (found, seen) = self.line().state_and_seq(n);
        // The mark of a fragment under way that is later than `n`. So `n` is in the ring, or was.
        let ahead = n.wrapping_sub(seen);
        if UNDER_WAY / 2 < ahead && ahead < UNDER_WAY { LineState::Overwritten } else { found }
    }

    /// Copies the payload of fragment `n` into `to`, and says how much of `n` is here (R2, R3). Only after
    /// [`Self::state`] has returned `Ready`. `None`: the copy is rejected, and `n` is in the ring, or was.
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
        // R3. Pairs with the release fences in `begin_to_publish`.
        fence(ordering("hot_slot.copied", Acquire));
        if self.meta[0].load(Relaxed) != n {
            return None;
        }
        if is_wide && self.begun.load(Relaxed) != n {
            return None;
        }
        if meta.place() == ELSEWHERE {
            return Some(Found::Elsewhere);
        }
        Some(if is_whole { Found::Whole(meta) } else { Found::Metadata(meta) })
    }
}

/// Only for models.
#[cfg(all(loom, test))]
impl HotSlot {
    /// Makes the words exist for the model checker.
    pub(crate) fn touch(&self) {
        self.meta.iter().chain(&self.room).chain([&self.begun]).for_each(AtomicU64::touch);
    }

    /// Sets whether producers use this hot slot from now on.
    pub(crate) fn is_used_from_now_on(&self, is_used: bool) {
        self.used.store(u64::from(is_used), Relaxed);
    }

    /// Leaves the words as a producer does that is suspended, or dies, while it mirrors fragment `n`.
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
        // From a writer that breaks the protocol: the size is over the MTU.
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
            // The next fragment comes between `state` and `copy`.
            assert_eq!(hot_slot.state(first), LineState::Ready);
            hot_slot.publish(&meta(second, 8), Content::of(&[2; 8]));
            assert!(hot_slot.copy(first, 300, &mut copied).is_none());
            assert_eq!(hot_slot.state(first), LineState::Overwritten);
            // Announced only.
            hot_slot.stop_mirroring();
            assert_eq!(hot_slot.state(second), LineState::Ready);
            assert!(matches!(hot_slot.copy(second, 300, &mut copied), Some(Found::Elsewhere)));
            let third = second.wrapping_add(1);
            hot_slot.announce(third);
            assert_eq!(hot_slot.state(third), LineState::Ready);
            for near in [first, third, third.wrapping_add(5)] {
                assert_eq!(hot_slot.newest(near), third);
            }
            assert!(matches!(hot_slot.copy(third, 300, &mut copied), Some(Found::Elsewhere)));
            // The producer dies while it mirrors a fragment, and the next producer starts after that one.
            let fourth = third.wrapping_add(1);
            hot_slot.begin_to_publish(fourth, Content::of(&[4; 8]));
            assert_eq!(hot_slot.state(third), LineState::Overwritten, "it is in the ring");
            assert_eq!(hot_slot.state(fourth), LineState::NotYet);
            assert_eq!(hot_slot.state(fourth.wrapping_add(1)), LineState::NotYet);
            assert_eq!(hot_slot.newest(third), third);
            assert_eq!(hot_slot.newest(fourth.wrapping_add(5)), third);
            hot_slot.begin(fourth.wrapping_add(1));
            assert_eq!(hot_slot.state(fourth), LineState::Ready);
            assert!(matches!(hot_slot.copy(fourth, 300, &mut copied), Some(Found::Elsewhere)));
        }
    }
}
