//! [`Producer`], and the path of a fragment through it.
//!
//! ```text
//!   publish         stopped? -> credit? -> write payload -> commit line -> mirror -> next -> touch lines -> wake
//!                   on the fast path, "mirror" is an announcement, and "touch lines" a prefetch at most
//!   larger          stopped? -> reserve (place, credit) -> write -----^
//!   loan            stopped? -> reserve -> the caller writes, stopped? ^
//!   publish_batch   stopped? -> credits? -> write all -> commit all -> announce the last -> next -> touch lines -> wake
//!   skip            stopped? -> credits? -> commit placeholders -----> announce the last ---^
//! ```
//!
//! In names here, to *put* a fragment is to publish it without waking waiters.

use super::backpressure::Backpressure;
use super::claim::Claim;
use super::hot_writer::HotWriter;
use super::meta::Meta;
use super::placement::{Placement, Spot};
use crate::cpu::{cache, words};
use crate::error::{TangoError, TrySendError};
use crate::memory::parts::Parts;
use crate::metrics::Counter;
use crate::ring::line::{Content, Line};
use crate::ring::metadata::FragmentMetadata;
use crate::ring::region::granules;
use crate::ring::seq;
use crate::sync::{AtomicU64, Cell, Relaxed, Release, ordering};
use crate::timing::writing::{Lines, LinesAhead};
use crate::waiting::eventcount::Barrier;
#[cfg(feature = "std")]
use crate::waiting::wait::KeptNaps;
use crate::waiting::wait::Wait;

/// Publishes fragments into a link. A link has one producer at a time.
///
/// A producer can move to another thread, and it publishes through `&self`. It cannot be shared between
/// threads or cloned, so two threads cannot publish at once:
///
/// ```compile_fail,E0277
/// # use rust_tango::*;
/// fn share<T: Sync>(_: &T) {}
/// let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(1));
/// share(&Producer::new(&mcache, &dcache, &fseq)); // `Producer` is not `Sync`
/// ```
///
/// ```compile_fail,E0599
/// # use rust_tango::*;
/// let (mcache, dcache, fseq) = (MCache::<8>::new(), DCache::<8, 64>::new(), Fseq::new(1));
/// let first = Producer::new(&mcache, &dcache, &fseq);
/// let second = first.clone(); // `Producer` is not `Clone`
/// ```
///
/// Dropping the producer closes the link, until another producer attaches. Readers still get everything
/// that was published. If the producer is dropped by a panic of its thread, readers get
/// [`TangoError::ProducerGone`] instead of the end. (Not if it was also made during that panic, by the `drop` of
/// another value.)
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, TangoError};
///
/// let link = Link::builder().depth(2).mtu(64).build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// tx.publish(b"bid 101.25", 7, 0, 0)?; // never blocks
/// tx.publish(b"bid 101.50", 7, 0, 0)?;
/// assert_eq!((tx.publish(b"bid 101.75", 7, 0, 0), tx.held_by()), (Err(TangoError::NoCredits), Some(0)));
/// drop(rx.poll()?); // the consumer returns the credit of the first
/// tx.publish(b"bid 101.75", 7, 0, 0)?;
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
pub struct Producer<'a> {
    /// The number of the next fragment.
    pub(super) next: Cell<u64>,
    /// The first number that cannot simply be written: it needs a credit, or something has to be retired
    /// for it.
    pub(super) limit: Cell<u64>,
    pub(super) parts: Parts<'a>,
    /// The largest payload that travels in its slot, in bytes.
    pub(super) in_slot: usize,
    pub(super) hot_slot: HotWriter<'a>,
    pub(super) lines_ahead: LinesAhead,
    /// A publish does nothing but the least: it mirrors into no hot slot, touches no lines except that it may prefetch
    /// one, reports its progress nowhere, and needs no fence before it checks for sleepers.
    pub(super) is_plain: Cell<bool>,
    /// How many fragments more than needed are retired at once.
    pub(super) retire_ahead: u64,
    /// The fragment before which the hints of consumers were last read.
    pub(super) hints_read_at: Cell<u64>,
    /// Every fragment before this one is retired: its line and its granules may be overwritten.
    pub(super) oldest: Cell<u64>,
    pub(super) placement: Placement,
    pub(super) backpressure: Backpressure<'a>,
    /// How a publish is ordered before the check for sleeping consumers.
    pub(super) barrier: Barrier,
    pub(super) wait: Wait,
    #[cfg(feature = "std")]
    pub(super) naps: Cell<KeptNaps>,
    /// It wakes tasks of its own process itself.
    #[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
    pub(super) wakes_tasks: bool,
    /// Its thread was unwinding when the producer was made.
    pub(super) made_in_panic: bool,
    /// Where the producer also reports its progress, if anywhere.
    pub(super) reports: Option<Reports<'a>>,
    /// Last, so that it is dropped last: it may own the memory that everything above is a view of.
    pub(super) claim: Claim<'a>,
}

/// Where the producer also reports its progress: words of the borrowed API, and metrics.
#[derive(Default)]
pub(super) struct Reports<'a> {
    /// See `Fseq`.
    pub(super) fseq: Option<&'a AtomicU64>,
    /// See `Fctl::available`.
    pub(super) fctl: Option<&'a AtomicU64>,
    pub(super) metrics: Option<Counter<'a>>,
}

/// A fragment that is not published yet: its number and place, and the newest fragment that it has retired.
#[derive(Debug)]
pub(super) struct Reserved {
    n: u64,
    size: usize,
    spot: Option<Spot>,
    victim: Option<u64>,
}

impl Reserved {
    pub(super) fn is_in_slot(&self) -> bool {
        self.spot.is_none()
    }
}

/// Publishing one fragment.
impl<'a> Producer<'a> {
    /// Publishes a payload. Never blocks.
    ///
    /// `sig`, `ctl` and `ts` travel with the payload unchanged: see the table on [`FragmentMetadata`]. Pass
    /// 0 for what the readers do not use. Wakes consumers that sleep, and tasks (`Producer::with_direct_wake`).
    /// Returns the metadata of the fragment, with its sequence number.
    ///
    /// # Errors
    ///
    /// - [`TangoError::Closed`]: the link was stopped. Each later call returns this error, too.
    /// - [`TangoError::TooLarge`]: the payload is longer than [`Producer::mtu`].
    /// - [`TangoError::NoCredits`]: a reliable consumer still needs what this fragment would overwrite. It
    ///   may return the credit at any moment, so try again later, or call [`Producer::publish_blocking`]. These
    ///   calls also notice that a consumer is dead: they check about every 50 milliseconds.
    ///
    /// In each case nothing was published.
    ///
    /// # Examples
    ///
    /// See [`Producer`].
    #[inline(always)]
    pub fn publish(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        self.check_stopped()?;
        let n = self.next.get();
        if payload.len() <= self.in_slot && seq::is_before(n, self.limit.get()) {
            self.publish_with_credit(n, payload, sig, ctl, ts);
            return Ok(FragmentMetadata::in_slot(n, payload.len(), sig, ctl, ts));
        }
        // Taken apart, so that the result of the fast path stays in registers.
        match self.publish_elsewhere(payload, sig, ctl, ts) {
            Ok(FragmentMetadata { seq, sig, chunk, size, ctl, reserved, ts }) => {
                Ok(FragmentMetadata { seq, sig, chunk, size, ctl, reserved, ts })
            }
            Err(error) => Err(error),
        }
    }

    /// [`Producer::publish`] with the metadata by name. Never blocks.
    ///
    /// # Errors
    ///
    /// See [`Producer::publish`].
    ///
    /// # Examples
    ///
    /// See [`Meta`].
    #[inline(always)]
    pub fn publish_with(&self, payload: &[u8], meta: Meta) -> Result<FragmentMetadata, TangoError> {
        self.publish(payload, meta.sig, meta.ctl, meta.ts)
    }

    /// [`Producer::publish`] with `sig`, `ctl` and `ts` 0, and an error of its own. Never blocks.
    /// [`Producer::send`] is the call that waits.
    ///
    /// # Errors
    ///
    /// - [`TrySendError::Full`]: a reliable consumer still needs what the payload would overwrite. Try again later.
    /// - [`TrySendError::Closed`]: the link was stopped.
    /// - [`TrySendError::TooLarge`]: the payload is longer than [`Producer::mtu`].
    ///
    /// In each case nothing was published.
    ///
    /// # Examples
    ///
    /// See [`TrySendError`].
    #[inline(always)]
    pub fn try_send(&self, payload: &[u8]) -> Result<(), TrySendError> {
        match self.publish(payload, 0, 0, 0) {
            Ok(_) => Ok(()),
            Err(error) => Err(TrySendError::of_publishing(error)),
        }
    }

    /// [`Self::publish`] without its fast path. The link was not stopped.
    #[inline(never)]
    fn publish_elsewhere(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        if payload.len() > self.in_slot {
            let meta = self.put_in_region(payload, sig, ctl, ts)?;
            self.wake_waiters();
            return Ok(meta);
        }
        let n = self.next.get();
        if !seq::is_before(n, self.limit.get()) {
            if self.backpressure.credits().allow(n, None) {
                self.retire(n, None, 1);
            } else {
                self.make_room(n, None, 1)?;
            }
        }
        self.publish_with_credit(n, payload, sig, ctl, ts);
        Ok(FragmentMetadata::in_slot(n, payload.len(), sig, ctl, ts))
    }

    /// Publishes a payload that fits its slot as fragment `n`, which has a credit.
    #[inline(always)]
    fn publish_with_credit(&self, n: u64, payload: &[u8], sig: u64, ctl: u16, ts: u32) {
        let is_published = if self.is_plain.get() {
            self.publish_small::<true>(n, payload, sig, ctl, ts)
        } else {
            self.publish_small::<false>(n, payload, sig, ctl, ts)
        };
        if !is_published {
            self.publish_by_copying(n, payload, sig, ctl, ts);
        }
    }

    /// [`Self::publish_with_credit`] for a payload of any size.
    #[inline(never)]
    fn publish_by_copying(&self, n: u64, payload: &[u8], sig: u64, ctl: u16, ts: u32) {
        if self.is_plain.get() {
            self.publish_in_slot::<true>(n, Content::Bytes(payload), payload.len(), sig, ctl, ts);
        } else {
            self.hot_slot.prefetch(payload.len());
            self.publish_in_slot::<false>(n, Content::Bytes(payload), payload.len(), sig, ctl, ts);
        }
    }

    /// [`Self::publish_with_credit`] for the two sizes that need no call to copy them, so that it needs few registers.
    /// Each has a copy of the rest. False: the payload has another size, and nothing was done. `PLAIN`:
    /// [`Self::is_plain`].
    #[inline(always)]
    fn publish_small<const PLAIN: bool>(&self, n: u64, payload: &[u8], sig: u64, ctl: u16, ts: u32) -> bool {
        if !PLAIN {
            self.hot_slot.prefetch(payload.len());
        }
        if let Some(block) = Content::block(payload) {
            self.publish_in_slot::<PLAIN>(n, block, words::BLOCK, sig, ctl, ts);
        } else if let Some(near) = Content::near(payload) {
            self.publish_in_slot::<PLAIN>(n, near, payload.len(), sig, ctl, ts);
        } else {
            return false;
        }
        true
    }

    /// Publishes a payload of `len` bytes, which fits its slot, as fragment `n`, which has a credit. `PLAIN`: see
    /// [`Self::is_plain`].
    #[inline(always)]
    fn publish_in_slot<const PLAIN: bool>(
        &self,
        n: u64,
        content: Content<'_>,
        len: usize,
        sig: u64,
        ctl: u16,
        ts: u32,
    ) {
        let meta = FragmentMetadata::in_slot(n, len, sig, ctl, ts);
        let line = self.parts.ring.line(n);
        let fits = line.write_payload(content);
        debug_assert!(fits, "`in_slot` is no more than a slot has room for");
        self.commit_line::<PLAIN>(line, &meta, content, len);
        if PLAIN {
            // The kernel's barrier makes this a fence where one is needed: see `Barrier`.
            Barrier::Kernel.before_check();
            self.wake_sleepers();
        } else {
            self.wake_waiters();
        }
    }

    /// An error if the link was stopped. Each call that publishes makes this check, and it is one load: the
    /// word is written once in the life of a link.
    #[inline(always)]
    pub(super) fn check_stopped(&self) -> Result<(), TangoError> {
        if self.parts.is_stopped() { Err(TangoError::Closed) } else { Ok(()) }
    }

    /// Publishes a payload that does not fit its slot. Does not wake waiters.
    pub(super) fn put_in_region(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        let reserved = self.reserve(payload.len())?;
        words::store(self.words(&reserved), payload);
        Ok(self.commit_reserved(reserved, payload.len(), sig, ctl, ts))
    }

    /// Finds a place for a payload of `size` bytes, and retires what it overwrites.
    #[inline(always)]
    pub(super) fn reserve(&self, size: usize) -> Result<Reserved, TangoError> {
        if size > self.parts.mtu {
            return Err(TangoError::TooLarge { size, max: self.parts.mtu });
        }
        let n = self.next.get();
        let (spot, victim) = self.place(n, size);
        if victim.is_some() || !seq::is_before(n, self.limit.get()) {
            self.make_room(n, victim, 1)?;
        }
        Ok(Reserved { n, size, spot, victim })
    }

    /// Where a payload of `size` bytes goes as fragment `n`, if not into its slot. Also the newest fragment
    /// that it then overwrites, apart from the previous one of its line.
    #[inline(always)]
    pub(super) fn place(&self, n: u64, size: usize) -> (Option<Spot>, Option<u64>) {
        if size <= self.in_slot {
            return (None, None);
        }
        let spot = self.placement.spot(granules(size));
        (Some(spot), self.placement.victim(&spot, n, self.parts.ring.depth()))
    }

    /// The words that a reserved payload goes to.
    #[inline(always)]
    pub(super) fn words(&self, reserved: &Reserved) -> &'a [AtomicU64] {
        match reserved.spot {
            // A spot is inside the region: see `Placement::spot`.
            Some(spot) => self.parts.granules.payload(spot.chunk, reserved.size).unwrap_or_default(),
            None => &self.parts.ring.line(reserved.n).room[..reserved.size.div_ceil(words::WORD)],
        }
    }

    /// Publishes a reserved payload, of which the first `size` bytes are in place. Does not wake waiters.
    #[inline(always)]
    pub(super) fn commit_reserved(
        &self,
        reserved: Reserved,
        size: usize,
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> FragmentMetadata {
        let Reserved { n, spot, victim, .. } = reserved;
        let chunk = spot.map_or(FragmentMetadata::IN_SLOT, |spot| spot.chunk);
        let meta = FragmentMetadata { seq: n, sig, chunk, size: size as u32, ctl, reserved: 0, ts };
        let line = self.parts.ring.line(n);
        let content = match spot {
            Some(_) => Content::Apart,
            None => Content::Slot(line, size.div_ceil(words::WORD)),
        };
        if let Some(spot) = spot {
            self.placement.take(&spot, n, victim);
        }
        self.commit_line::<false>(line, &meta, content, meta.place().size_in_slot());
        meta
    }

    /// Publishes a fragment whose payload is in place, with `len` bytes of it in the slot. Does not wake
    /// waiters. `PLAIN`: [`Self::is_plain`].
    #[inline(always)]
    fn commit_line<const PLAIN: bool>(
        &self,
        line: Line<'_>,
        meta: &FragmentMetadata,
        content: Content<'_>,
        len: usize,
    ) {
        line.publish(meta);
        if PLAIN {
            self.hot_slot.announce_only(meta.seq);
            self.move_on(meta.seq);
        } else {
            self.hot_slot.mirror(meta, content);
            self.advance(meta.seq, 1);
            self.touch_lines(meta.seq, len);
        }
        if let Some(ahead) = self.lines_ahead.prefetched_after(meta.seq) {
            let line = self.parts.ring.line(ahead);
            if PLAIN && matches!(content, Content::Block(_) | Content::Near(_)) {
                line.for_first_cache_lines(len, cache::prefetch_for_writing);
            } else {
                line.for_cache_lines(len, cache::prefetch_for_writing);
            }
        }
    }

    /// Moves on: fragment `n` is published.
    #[inline(always)]
    fn move_on(&self, n: u64) {
        let next = n.wrapping_add(1);
        self.next.set(next);
        self.parts.head.next.store(next, Relaxed);
    }

    /// Moves on: `count` fragments up to `n` are published. Reports them.
    #[inline]
    pub(super) fn advance(&self, n: u64, count: u64) {
        let next = n.wrapping_add(1);
        self.move_on(n);
        if let Some(reports) = &self.reports {
            if let Some(fseq) = reports.fseq {
                store_published(fseq, next);
            }
            if let Some(fctl) = reports.fctl {
                fctl.store(next, Relaxed);
            }
            if let Some(metrics) = &reports.metrics {
                metrics.fragments(count);
            }
        }
    }

    /// Evicts or prefetches lines that will be used soon after fragment `n`, which has `len` bytes in its
    /// slot, if that pays.
    #[inline]
    pub(super) fn touch_lines(&self, n: u64, len: usize) {
        let ring = self.parts.ring;
        if let Some(Lines { evict, prefetch }) =
            self.lines_ahead.after(n, || self.backpressure.credits().floor())
        {
            if let Some(far) = evict {
                ring.line(far).for_cache_lines(len, cache::evict);
            }
            if let Some(near) = prefetch {
                ring.line(near).for_cache_lines(len, cache::prefetch_for_writing);
            }
        }
    }

    /// Wakes the consumers that sleep, after a publish.
    #[inline]
    pub(super) fn wake_waiters(&self) {
        self.barrier.before_check();
        self.wake_sleepers();
    }

    /// [`Self::wake_waiters`] after the barrier.
    #[inline(always)]
    fn wake_sleepers(&self) {
        let credits = self.backpressure.credits();
        let asleep = credits.asleep();
        if credits.sleep_changed(asleep) {
            self.notify_sleepers(asleep);
        }
    }
}

/// Stores the number of the next fragment into the word that `Fseq::current` loads.
#[inline]
pub(crate) fn store_published(word: &AtomicU64, next: u64) {
    // Pairs with the Acquire load in `Fseq::current`.
    word.store(next, ordering("fseq.set", Release));
}
