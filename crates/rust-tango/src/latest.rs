//! [`Latest`]: the newest fragment once more, always in the same place, for a reader that waits.
//!
//! A reader that waits for the next fragment could look at its line in the ring. But each is in another slot, and a
//! slot that has not been touched for a whole lap is in no cache that is near: the producer stores into it only when
//! it has come, and what the reader sees is late by that. So a reader that has found nothing for some time
//! *follows*: it looks here, at a pair of cache lines that are always the same and that both sides keep in their
//! nearest caches, and when the fragment that it waits for has come, it has come here whole (`bench/`: `round-trip`).
//!
//! ```text
//!   word   0     1     2       3         4 ... 14                              15
//!        | seq | sig | place | control | payload, if it is small enough      | begun |
//! ```
//!
//! The first fifteen words are a [`Line`], and mean what they mean there. The producer stores, behind all that it
//! does in the ring for fragment `n` ([`Latest::publish`]):
//!
//! 1. `begun = n`, relaxed, and `fence(Release)`
//! 2. the payload, if it fits, and the metadata, relaxed
//! 3. `seq = n` with Release
//!
//! or 3 alone ([`Latest::announce`]): the fragment is in the ring. A reader ([`Latest::look`], [`Latest::copy`]):
//!
//! 1. `seq`, relaxed; only if it is `n`: `fence(Acquire)`. Ahead of `n`: `n` is in the ring, or was.
//! 2. copies the metadata and the payload, relaxed
//! 3. `fence(Acquire)`; accepts the copy if `begun`, relaxed, is `n`. Otherwise it takes `n` from the ring
//!
//! # Why it is right
//!
//! *What is accepted is fragment `n`.* `seq = n` is stored behind the words of `n`, and who has loaded it and run the
//! acquire fence sees those or newer ones. Suppose one is newer, of `m`: before it came `begun = m` and the release
//! fence of `m`, and the load of that word is followed by the acquire fence of step 3. So the load of `begun`
//! returns `m` or one further on, and the copy is refused. If only `n` was announced, `begun` is of an
//! older one, or ([`Latest::begin`]) of none.
//!
//! *What is refused is in the ring.* All that the producer did there for `n` was stored before `seq = n`, with Release.
//!
//! *Nothing is missed.* Every publish, and every batch, ends with a store of `seq`, whatever the size of the payload. A
//! producer that dies in front of it leaves a fragment in the ring that is not here; the next producer stores `seq`
//! when it begins ([`Latest::begin`]), and who finds that a link has ended looks once more at the ring. Who sleeps, or
//! is awaited, looks there too. (So if a producer is stopped between the two stores, a follower that goes on polling
//! gets the fragment when the producer goes on; others may have it already.)
//!
//! Credits have no part in this: the place is overwritten by the next fragment, read or not. That is why it is copied,
//! and why payloads are limited to [`ROOM`] words. A reader that gives back a credit for `n` does so for its line.

use crate::frag::FragmentMetadata;
use crate::line::{Content, Line, Look, META_WORDS};
#[cfg(loom)]
use crate::sync::StaticU64;
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence, intact, ordering};
use crate::words::{self, WORD};

/// A number that nobody waits for is so far from those that somebody does.
const NOBODY: u64 = 1 << 63;

/// Words of payload.
const ROOM: usize = words::SMALL;

/// The newest fragment: see the module. Written by the producer with every fragment.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Latest {
    meta: [AtomicU64; META_WORDS],
    room: [AtomicU64; ROOM],
    /// Whose words may be in here, all or some. In the second cache line, which is fetched with each look.
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
}

/// A payload that was copied. Aligned, because it is copied by 16 bytes.
#[repr(C, align(16))]
#[derive(Debug)]
pub(crate) struct Copied([u64; ROOM]);

impl Copied {
    pub(crate) const fn new() -> Self {
        Self([0; ROOM])
    }

    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }
}

impl Latest {
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
        // Whatever is here now is accepted for no number. The one before may have died in the midst of `next - 1`, and
        // `next` may only be announced.
        if intact("latest.begin") {
            self.begun.store(next.wrapping_add(NOBODY), Relaxed);
        }
        if intact("latest.first") {
            self.line().show(next.wrapping_sub(1));
        }
    }

    /// Shows fragment `meta.seq`, which is in the ring. Producer only.
    #[inline]
    pub(crate) fn publish(&self, meta: &FragmentMetadata, content: Content<'_>) {
        if !self.is_used() {
            return;
        }
        self.begin_to_publish(meta.seq, content);
        self.line().publish(meta);
    }

    /// Steps 1 and half of 2.
    #[inline]
    fn begin_to_publish(&self, n: u64, content: Content<'_>) {
        let in_time = intact("latest.begun");
        if in_time {
            self.begun.store(n, Relaxed);
        }
        // Pairs with the acquire fence in `copy`.
        fence(ordering("latest.begun_fence", Release));
        // What does not fit is in the ring only: `copy` knows by the size.
        self.line().fill(content);
        if !in_time {
            self.begun.store(n, Relaxed);
        }
    }

    /// Shows that fragment `n` is in the ring, and all before it. Producer only.
    #[inline]
    pub(crate) fn announce(&self, n: u64) {
        if self.is_used() {
            self.line().show(n);
        }
    }

    /// The number of the newest fragment. A look and nothing more: what it says may be out of date, and nothing is
    /// ordered by it.
    pub(crate) fn newest(&self) -> u64 {
        self.meta[0].load(Relaxed)
    }

    /// What there is to be said about fragment `n`. Ready: it is in the ring, and perhaps here. Gone: others are behind
    /// it. Has the second cache line fetched together with the first: to wait for the first before that would take
    /// the way to the producer twice.
    #[inline]
    pub(crate) fn look(&self, n: u64) -> Look {
        words::prefetch(&self.begun);
        self.line().look(n)
    }

    /// What is here of fragment `n`, of which `look` has said that it is ready; its payload is copied into `to`.
    #[inline(always)]
    pub(crate) fn copy(&self, n: u64, mtu: usize, to: &mut Copied) -> Option<Found> {
        let meta = self.line().metadata(n);
        let size = meta.size as usize;
        let is_whole = meta.chunk == FragmentMetadata::IN_SLOT && size <= mtu.min(ROOM * WORD);
        if is_whole {
            words::load_small(&self.room, &mut to.0, size.div_ceil(WORD));
        }
        // Pairs with the release fence in `publish`.
        fence(ordering("latest.copied", Acquire));
        if self.begun.load(Relaxed) != n && intact("latest.still") {
            return None;
        }
        Some(if is_whole { Found::Whole(meta) } else { Found::Metadata(meta) })
    }
}

/// For models.
#[cfg(all(loom, test))]
impl Latest {
    /// Makes the words exist for the model checker; of the payload, as many as models use.
    pub(crate) fn touch(&self) {
        self.meta.iter().chain(&self.room[..2]).chain([&self.begun]).for_each(AtomicU64::touch);
    }

    /// Whether the producer shows fragments here from now on.
    pub(crate) fn is_used_from_now_on(&self, is_used: bool) {
        self.used.store(u64::from(is_used), Relaxed);
    }

    /// A producer is killed while it stores fragment `n` here.
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
        let (latest, mut copied) = (Latest::new(), Copied::new());
        let bytes: [u8; 96] = core::array::from_fn(|at| at as u8 + 1);
        for (n, size) in [0, 1, 8, 31, 32, 33, 63, 64, 65, 88, 89, 96].into_iter().enumerate() {
            let meta = meta(n as u64, size);
            latest.publish(&meta, Content::of(&bytes[..size]));
            assert_eq!(latest.look(meta.seq), Look::Ready);
            match latest.copy(meta.seq, 300, &mut copied) {
                Some(Found::Whole(found)) => {
                    assert_eq!((found, size <= 88), (meta, true));
                    let words = copied.words().iter().flat_map(|word| word.to_ne_bytes());
                    assert!(words.take(size).eq(bytes[..size].iter().copied()), "{size} bytes");
                }
                Some(Found::Metadata(found)) => assert_eq!((found, size > 88), (meta, true)),
                None => panic!("it is the newest"),
            }
        }
        let apart = FragmentMetadata { chunk: 3, ..meta(12, 8) };
        latest.publish(&apart, Content::Apart);
        assert!(matches!(latest.copy(12, 300, &mut copied), Some(Found::Metadata(found)) if found == apart));
        // A writer that follows no rules.
        latest.publish(&meta(13, 9), Content::of(&bytes[..9]));
        assert!(matches!(latest.copy(13, 8, &mut copied), Some(Found::Metadata(_))));
    }

    #[test]
    fn what_is_not_the_newest_or_not_whole_is_in_the_ring() {
        let (latest, mut copied) = (Latest::new(), Copied::new());
        for first in [7, u64::MAX] {
            let second = first.wrapping_add(1);
            latest.begin(first);
            assert_eq!(latest.look(first), Look::Behind);
            latest.announce(first);
            assert_eq!(latest.look(first), Look::Ready);
            assert!(latest.copy(first, 300, &mut copied).is_none(), "nothing was stored");
            latest.publish(&meta(first, 8), Content::of(&[1; 8]));
            // The next one comes between the look and the copy.
            assert_eq!(latest.look(first), Look::Ready);
            latest.publish(&meta(second, 8), Content::of(&[2; 8]));
            assert!(latest.copy(first, 300, &mut copied).is_none());
            assert_eq!(latest.look(first), Look::Gone);
            // Only told of.
            let third = second.wrapping_add(1);
            latest.announce(third);
            assert_eq!(latest.look(third), Look::Ready);
            assert!(latest.copy(third, 300, &mut copied).is_none());
            // The producer is killed in the midst of one, and the next begins behind it.
            let fourth = third.wrapping_add(1);
            latest.begin_to_publish(fourth, Content::of(&[4; 8]));
            latest.begin(fourth.wrapping_add(1));
            assert_eq!(latest.look(fourth), Look::Ready);
            assert!(latest.copy(fourth, 300, &mut copied).is_none());
        }
    }
}
