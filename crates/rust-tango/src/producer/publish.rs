//! [`Producer`], and the path of a fragment through it.
//!
//! ```text
//!   publish         credit? -> write payload -> commit line -> mirror -> next -> touch lines -> wake waiters
//!   larger          reserve (place, credit) -> write ------^
//!   loan            reserve -> the caller writes ----------^
//!   publish_batch   credits? -> write all -> commit all -> announce the last -> next -> touch lines -> wake
//! ```
//!
//! In names here, to *put* a fragment is to publish it without waking waiters.

use super::backpressure::{Backpressure, Refused};
use super::claim::Claim;
use super::hot_slots::HotSlots;
use super::placement::{Placement, Spot};
use crate::cpu::{cache, words};
use crate::error::TangoError;
use crate::memory::cnc::CncState;
use crate::memory::parts::Parts;
use crate::metrics::{Counter, Metrics};
use crate::ring::line::{self, Content, Line};
use crate::ring::metadata::FragmentMetadata;
use crate::ring::region::granules;
use crate::ring::seq;
use crate::sync::{AtomicU64, Cell, Relaxed, Release, ordering};
use crate::timing::hints::ConsumerHints;
use crate::timing::writing::{Lines, LinesAhead};
use crate::waiting::eventcount::Barrier;
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
/// [`TangoError::ProducerGone`] instead of the end.
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
/// assert_eq!(tx.publish(b"bid 101.75", 7, 0, 0), Err(TangoError::NoCredits { held_by: Some(0) }));
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
    pub(super) hot_slots: HotSlots<'a>,
    pub(super) lines_ahead: LinesAhead,
    /// How many fragments more than needed are retired at once.
    pub(super) retire_ahead: u64,
    /// Every fragment before this one is retired: its line and its granules may be overwritten.
    pub(super) oldest: Cell<u64>,
    pub(super) placement: Placement,
    pub(super) backpressure: Backpressure<'a>,
    /// How a publish is ordered before the check for sleeping consumers.
    pub(super) barrier: Barrier,
    pub(super) wait: Wait,
    /// Where the producer also reports its progress, if anywhere.
    pub(super) reports: Option<Reports<'a>>,
    /// Last, so that it is dropped last: it may own the memory that everything above is a view of.
    pub(super) claim: Claim<'a>,
}

/// Where the producer also reports its progress: words of the borrowed API, and metrics.
#[derive(Default)]
pub(super) struct Reports<'a> {
    /// See `Fseq`.
    fseq: Option<&'a AtomicU64>,
    /// See `Fctl::available`.
    fctl: Option<&'a AtomicU64>,
    metrics: Option<Counter<'a>>,
}

/// At most this many fragments of a batch are written before they are committed.
const BATCH: usize = 32;
/// In a small ring, a batch is cut into pieces of at most one part of the ring in this many.
const BATCH_PART: u64 = 8;

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
    /// 0 for what the readers do not use. Wakes consumers that sleep. Returns the metadata of the fragment,
    /// with its sequence number.
    ///
    /// # Errors
    ///
    /// - [`TangoError::TooLarge`]: the payload is longer than [`Producer::mtu`].
    /// - [`TangoError::NoCredits`]: a reliable consumer still needs what this fragment would overwrite. It
    ///   may return the credit at any moment, so try again later, or call [`Producer::publish_blocking`].
    ///
    /// In both cases nothing was published.
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
        if payload.len() > self.in_slot {
            return self.publish_in_region(payload, sig, ctl, ts);
        }
        let n = self.next.get();
        if !seq::is_before(n, self.limit.get()) {
            self.make_room(n, None, 1)?;
        }
        self.hot_slots.prefetch(payload.len());
        let meta = FragmentMetadata::in_slot(n, payload.len(), sig, ctl, ts);
        let (line, content) = (self.parts.ring.line(n), Content::of(payload));
        let fits = line.write_payload(content);
        debug_assert!(fits, "`in_slot` is no more than a slot has room for");
        self.commit_line(line, &meta, content, payload.len());
        self.wake_waiters();
        Ok(meta)
    }

    /// Publishes a payload that does not fit its slot.
    #[inline]
    fn publish_in_region(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        let meta = self.put_in_region(payload, sig, ctl, ts)?;
        self.wake_waiters();
        Ok(meta)
    }

    fn put_in_region(
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
    fn place(&self, n: u64, size: usize) -> (Option<Spot>, Option<u64>) {
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
        self.commit_line(line, &meta, content, meta.place().size_in_slot());
        meta
    }

    /// Publishes a fragment whose payload is in place, with `len` bytes of it in the slot. Does not wake
    /// waiters.
    #[inline(always)]
    fn commit_line(&self, line: Line<'_>, meta: &FragmentMetadata, content: Content<'_>, len: usize) {
        line.publish(meta);
        self.hot_slots.mirror(meta, content);
        self.advance(meta.seq, 1);
        self.touch_lines(meta.seq, len);
    }

    /// Moves on: `count` fragments up to `n` are published.
    #[inline]
    fn advance(&self, n: u64, count: u64) {
        let next = n.wrapping_add(1);
        self.next.set(next);
        self.parts.head.next.store(next, Relaxed);
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
    fn touch_lines(&self, n: u64, len: usize) {
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
        if self.backpressure.credits().signals_changed() {
            self.read_signals();
        }
    }

    #[cold]
    fn read_signals(&self) {
        if self.backpressure.credits().read_signals() {
            self.parts.head.eventcount.notify();
        }
        self.apply_hints();
    }
}

/// Publishing several fragments.
impl Producer<'_> {
    /// Publishes payloads in order, until all are published or one fails. Returns how many were published.
    /// Never blocks.
    ///
    /// All fragments get this `sig` and `ctl`, and `ts` 0: see the table on [`FragmentMetadata`]. To learn
    /// why the call stopped early, publish the next payload, which returns the error.
    ///
    /// A reader may see the first fragments of the batch before the last are published. Consumers that
    /// sleep are woken once, at the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(2).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let payloads: [&[u8]; 3] = [b"one", b"two", b"three"];
    ///
    /// let mut published = tx.publish_batch(&payloads, 7, 0);
    /// assert_eq!(published, 2); // the ring is full
    /// drop(rx.poll_batch(2)?); // the consumer returns the credits
    /// published += tx.publish_batch(&payloads[published..], 7, 0);
    /// assert_eq!(published, 3);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use = "fewer may have been published than were given"]
    pub fn publish_batch(&self, payloads: &[&[u8]], sig: u64, ctl: u16) -> usize {
        self.publish_batch_at(payloads, sig, ctl, 0)
    }

    /// [`Producer::publish_batch`] with the timestamp `ts` for the whole batch.
    ///
    /// # Examples
    ///
    /// See [`Producer::publish_batch`].
    #[must_use = "fewer may have been published than were given"]
    pub fn publish_batch_at(&self, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        let mut count = 0;
        while let Some(payload) = payloads.get(count) {
            let put = if payload.len() > self.in_slot {
                usize::from(self.put_in_region(payload, sig, ctl, ts).is_ok())
            } else {
                self.put_several(&payloads[count..], sig, ctl, ts)
            };
            if put == 0 {
                break;
            }
            count += put;
        }
        self.wake_waiters();
        count
    }

    /// Publishes payloads from the start of `payloads`, as many as have credits and fit their slots,
    /// [`BATCH`] at most. Returns how many.
    ///
    /// First it writes all of them, and then it commits all, in order. So a reader that waits for the first
    /// does not take each line away while the next one is written (`bench/`: rows of batches).
    #[inline]
    fn put_several(&self, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        let first = self.next.get();
        let most = payloads.len().min(BATCH) as u64;
        // Make room only here, before anything is written. A refresh raises the floor up to the next
        // number, and a consumer that joins must not find a floor that is after what is committed. And make
        // room for all of them at once. If a batch were written in two parts, the reader would take the
        // lines of the second part away while they are written.
        if seq::is_before(self.limit.get(), first.wrapping_add(most)) {
            let small =
                || payloads.iter().take(BATCH).take_while(|payload| payload.len() <= self.in_slot).count();
            // Do not retire more than will be overwritten. A large ring retires at least as many ahead
            // anyway.
            let count = if self.retire_ahead < most { small() as u64 } else { most };
            if self.make_room(first, None, count).is_err() {
                return 0;
            }
        }
        let room = self.limit.get().wrapping_sub(first).min(most) as usize;
        let ring = self.parts.ring;
        let blocks = self.write_blocks(first, &payloads[..room], sig, ctl, ts);
        let mut n = first.wrapping_add(blocks as u64);
        for payload in &payloads[blocks..room] {
            if payload.len() > self.in_slot {
                break;
            }
            let line = ring.line(n);
            let fits = line.write_payload(Content::of(payload));
            debug_assert!(fits, "as in `publish`");
            line.write_metadata(&FragmentMetadata::in_slot(n, payload.len(), sig, ctl, ts));
            n = n.wrapping_add(1);
        }
        let count = n.wrapping_sub(first);
        for offset in 0..count {
            let n = first.wrapping_add(offset);
            ring.line(n).commit(n);
        }
        if count != 0 {
            self.hot_slots.announce(n.wrapping_sub(1));
            self.advance(n.wrapping_sub(1), count);
        }
        if self.lines_ahead.touches_after_batch() {
            for (payload, offset) in payloads.iter().zip(0..count) {
                self.touch_lines(first.wrapping_add(offset), payload.len());
            }
        }
        count as usize
    }

    /// Writes payloads from the start of `payloads`, for `first` and the fragments after it, as long as
    /// they have 64 bytes. Returns how many. This is by far the most frequent size, so it has a loop of its
    /// own, without calls. The caller knows that the first payload fits its slot, so each of these does.
    #[inline]
    fn write_blocks(&self, first: u64, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        // A copy, because a copy stays in registers.
        let ring = self.parts.ring;
        for (at, payload) in payloads.iter().enumerate() {
            let Ok(block) = <&[u8; 64]>::try_from(*payload) else { return at };
            let n = first.wrapping_add(at as u64);
            let line = ring.line(n);
            let fits = line.write_payload(Content::Block(words::Block::load(block)));
            debug_assert!(fits, "it has the size of the first, which fits");
            line.write_metadata(&FragmentMetadata::in_slot(n, 64, sig, ctl, ts));
        }
        payloads.len()
    }
}

/// Making room for fragments.
impl Producer<'_> {
    /// Makes sure that fragment `n` has a credit, and that what it overwrites is retired: the previous
    /// fragment of its line, and every fragment up to `victim`. Does the same for `count` fragments from
    /// `n` on, as far as there are credits.
    #[inline(never)]
    fn make_room(&self, n: u64, victim: Option<u64>, count: u64) -> Result<(), TangoError> {
        if !self.backpressure.credits().allow(n, victim) {
            self.await_credit(n, victim)?;
        }
        let (depth, credits) = (self.parts.ring.depth(), self.backpressure.credits());
        // A batch that overwrites much of a small ring is cut into pieces, so that observers find
        // something.
        let most = (depth / BATCH_PART).max(1);
        let count = count.min(credits.limit().wrapping_sub(n)).min(most);
        let by_line = n.wrapping_sub(depth).wrapping_add(1);
        // Retire for the next few fragments at once, but nothing that a consumer may still need.
        let ahead = by_line.wrapping_add(self.retire_ahead.max(count - 1));
        let mut dead = seq::earlier(ahead, credits.floor());
        if let Some(victim) = victim {
            dead = seq::later(dead, victim.wrapping_add(1));
        }
        if seq::is_before(self.oldest.get(), dead) {
            self.oldest.set(dead);
            line::retire(&self.parts.head.oldest, dead);
        }
        self.set_limit();
        Ok(())
    }

    /// Sets the limit: every fragment before it has a credit, and its line is free.
    pub(super) fn set_limit(&self) {
        let by_lines = self.oldest.get().wrapping_add(self.parts.ring.depth());
        self.limit.set(seq::earlier(self.backpressure.credits().limit(), by_lines));
    }

    #[cold]
    fn await_credit(&self, n: u64, victim: Option<u64>) -> Result<(), TangoError> {
        let obtained = self.backpressure.obtain(n, victim, &self.claim);
        self.set_limit();
        self.apply_hints();
        obtained.map_err(|Refused { held_by, is_new }| {
            if is_new {
                if let Some(metrics) = self.reports.as_ref().and_then(|reports| reports.metrics.as_ref()) {
                    metrics.event();
                }
            }
            TangoError::NoCredits { held_by }
        })
    }

    /// Reads the consumers' progress. Returns whether a payload of `size` bytes could be published now.
    #[cfg(feature = "std")]
    pub(super) fn has_credit(&self, size: usize) -> bool {
        let n = self.next.get();
        let (_, victim) = self.place(n, size);
        let allowed = self.backpressure.has_credit(n, victim);
        self.set_limit();
        self.apply_hints();
        allowed
    }

    /// Stops counting consumers that are proven dead.
    pub(super) fn reap_dead(&self) {
        if self.backpressure.reap_dead(&self.claim) {
            self.apply_hints();
        }
    }

    /// Acts on the hints of the consumers, after consumers or their hints have changed.
    pub(super) fn apply_hints(&self) {
        let credits = self.backpressure.credits();
        let hints = ConsumerHints::of(credits.hints(), credits.counted());
        self.lines_ahead.choose(&hints);
        self.hot_slots.choose(&hints, self.next.get());
        let (word, is_single) = (&self.parts.head.credit.single_consumer, u64::from(hints.single_consumer));
        if word.load(Relaxed) != is_single {
            word.store(is_single, Relaxed);
        }
    }
}

/// State and settings.
impl<'a> Producer<'a> {
    /// The sequence number of the next fragment.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// let next = tx.next_seq();
    /// assert_eq!(tx.publish(b"one", 0, 0, 0)?.seq, next);
    /// assert_eq!(tx.next_seq(), next.wrapping_add(1)); // numbers wrap around
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn next_seq(&self) -> u64 {
        self.next.get()
    }

    /// The largest payload of one fragment, in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// assert_eq!(tx.mtu(), 64);
    /// assert_eq!(tx.send(&[0; 65]), Err(TangoError::TooLarge { size: 65, max: 64 }));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn mtu(&self) -> usize {
        self.parts.mtu
    }

    /// How many reliable and evictable consumers are attached and alive now.
    ///
    /// Consumers can attach and leave at any time, so the answer may be out of date when it arrives. The
    /// call checks each consumer, which takes a system call for each in shared memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).consumers(2).build()?;
    /// let (tx, rx) = (link.producer()?, link.consumer()?);
    /// let _observer = link.observer()?; // does not count
    /// assert_eq!(tx.consumers(), 1);
    /// drop(rx);
    /// assert_eq!(tx.consumers(), 0);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn consumers(&self) -> usize {
        self.reap_dead();
        self.backpressure.credits().attached().count()
    }

    /// The slot of the consumer that held the producer back when it last read the consumers' progress.
    /// `None` if no consumer did.
    ///
    /// The consumer may have moved on since then, so the answer may be out of date.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(2).mtu(64).build()?;
    /// let (tx, _slow) = (link.producer()?, link.consumer()?);
    /// while tx.publish(b"tick", 0, 0, 0).is_ok() {}
    /// assert_eq!(tx.held_by(), Some(0));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn held_by(&self) -> Option<usize> {
        self.backpressure.credits().held_by()
    }

    /// Whether every attached reliable or evictable consumer has finished with everything that was
    /// published. True if there is none. Observers do not count.
    ///
    /// If a consumer has not finished, the call checks whether the consumers live, as
    /// [`Producer::consumers`] does. A consumer may attach at any time, so the answer may be out of date
    /// when it arrives.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"tick")?;
    /// assert!(!tx.is_drained());
    /// drop(rx.poll()?);
    /// assert!(tx.is_drained());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn is_drained(&self) -> bool {
        self.seems_drained() || {
            self.reap_dead();
            self.seems_drained()
        }
    }

    /// [`Self::is_drained`], except that dead consumers may still count.
    pub(super) fn seems_drained(&self) -> bool {
        self.backpressure.credits().attached().all(|(_, next)| !seq::is_before(next, self.next.get()))
    }

    /// Counts into `metrics` from now on: fragments published, and fragments that had to wait for credits.
    ///
    /// # Panics
    ///
    /// If another producer counts into these metrics.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Metrics};
    ///
    /// let metrics = Metrics::new();
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?.with_metrics(&metrics);
    /// tx.send(b"counted")?;
    /// assert_eq!(metrics.snapshot().published, 1);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use]
    pub fn with_metrics(mut self, metrics: &'a Metrics) -> Self {
        let counter = metrics.producer().expect("another producer counts into these Metrics");
        self.reports.get_or_insert_default().metrics = Some(counter);
        self
    }

    /// Stores `now` as the producer's heartbeat, for people and monitoring ([`LinkStatus::heartbeat`]).
    /// Choose a clock and a unit that they know. The library decides nothing by it.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?;
    /// tx.beat(1_700_000_000); // seconds since 1970, for example
    /// assert_eq!(link.status().heartbeat, 1_700_000_000);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    ///
    /// [`LinkStatus::heartbeat`]: crate::LinkStatus::heartbeat
    pub fn beat(&self, now: u64) {
        self.parts.head.lifecycle.cnc.beat(now);
    }

    /// From now on, keeps these words of the borrowed API up to date with each publish.
    pub(crate) fn reporting_to(mut self, fseq: &'a AtomicU64, fctl: Option<&'a AtomicU64>) -> Self {
        self.reports = Some(Reports { fseq: Some(fseq), fctl, metrics: None });
        let next = self.next.get();
        self.advance(next.wrapping_sub(1), 0);
        self
    }

    /// Every fragment before this one may be overwritten.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest.get()
    }
}

/// Stores the number of the next fragment into the word that `Fseq::current` loads.
#[inline]
pub(crate) fn store_published(word: &AtomicU64, next: u64) {
    // Pairs with the Acquire load in `Fseq::current`.
    word.store(next, ordering("fseq.set", Release));
}

/// Only for models.
#[cfg(all(loom, test))]
impl Producer<'_> {
    /// Retires this many fragments more than needed. The rings of models are too small for any.
    pub(crate) fn retiring_ahead(mut self, fragments: u64) -> Self {
        self.retire_ahead = fragments;
        self
    }

    /// From now on, mirrors into the private hot slot of slot 0 first, or only into the shared one.
    pub(crate) fn mirrors_privately(&self, privately: bool) {
        use crate::timing::writing::Mirror;
        let mirror = if privately { Mirror::PrivateFirst(0) } else { Mirror::Shared };
        self.hot_slots.set(mirror, self.next.get());
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        if !self.claim.is_of_this_process() {
            return;
        }
        // A panic may have come between two fragments that belong together. Readers should know.
        #[cfg(feature = "std")]
        let panics = std::thread::panicking();
        #[cfg(not(feature = "std"))]
        let panics = false;
        // A reader that finds the end also finds what was published before: `Cnc` orders it, and
        // `Parts::ending` checks it.
        self.parts.head.lifecycle.cnc.set_state(if panics { CncState::Fail } else { CncState::Halt });
        self.parts.head.eventcount.notify();
    }
}

impl core::fmt::Debug for Producer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer")
            .field("next_seq", &self.next.get())
            .field("limit", &self.limit.get())
            .field("mtu", &self.parts.mtu)
            .finish_non_exhaustive()
    }
}
