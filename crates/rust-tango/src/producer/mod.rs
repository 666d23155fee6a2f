//! [`Producer`]: the one that publishes.
//!
//! All that it needs to know is private to it: where it is, how far it may go, where payloads lie. On
//! the way of a fragment it only writes shared memory, by the steps of [`line`](crate::ring::line), and looks at two words
//! of each consumer that seldom change: does it sleep, and what does it tell about its ways? It reads how far they are
//! when its credits run out ([`backpressure`]). [`attach`] is how it begins, [`showing`] about who waits for the newest
//! fragment, and [`cleaning`] about caches.

mod attach;
mod backpressure;
mod cleaning;
pub(crate) mod loan;
pub(crate) mod placement;
mod showing;

#[cfg(feature = "alloc")]
pub(crate) use attach::prepare;

use self::cleaning::Cleaning;
use self::showing::Showing;
use crate::cpu::words;
use crate::credits::floor::Credits;
use crate::error::TangoError;
use crate::memory::cnc::CncState;
use crate::memory::occupants::Occupants;
use crate::memory::parts::Parts;
use crate::metrics::{Counter, Metrics};
use crate::producer::placement::{Placement, Spot};
use crate::ring::line::{self, Content};
use crate::ring::metadata::FragmentMetadata;
use crate::ring::region::granules;
use crate::ring::seq;
use crate::sync::{AtomicU64, Cell, Relaxed, Release, intact, ordering};
use crate::waiting::eventcount::Barrier;
use crate::waiting::wait::Wait;
#[cfg(feature = "std")]
use core::time::Duration;

/// Publishes fragments into a link. There is one at a time.
///
/// It can move to another thread, and publishes through `&self`, but cannot be shared between threads
/// or copied, so two threads cannot publish at once:
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
/// Dropping it ends the link for its readers, once they have drained it, until another producer comes. If it
/// is dropped by a panic of its thread, they are told so ([`TangoError::ProducerGone`]).
pub struct Producer<'a> {
    /// What is published next.
    next: Cell<u64>,
    /// The first number that needs more than to be written: a credit, or something to be retired.
    limit: Cell<u64>,
    parts: Parts<'a>,
    /// Largest payload that travels in its slot.
    in_slot: usize,
    /// How many lines ahead of their use lines are fetched; 0 where that does not help.
    clean_ahead: u64,
    /// What it does so that lines that are used soon are at hand.
    cleaning: Cell<Cleaning>,
    /// To whom it shows the newest fragment whole.
    showing: Cell<Showing>,
    /// How many fragments more than needed are retired at once.
    retire_ahead: u64,
    /// Everything before this is dead: its line or its granules may be overwritten.
    oldest: Cell<u64>,
    /// The fragment that was last counted as stalled.
    stalled: Cell<Option<u64>>,
    placement: Placement,
    credits: Credits<'a>,
    /// How a publish is ordered before the look at who sleeps.
    order: Barrier,
    wait: Wait,
    /// How long it waits for an evictable consumer.
    #[cfg(feature = "std")]
    patience: Duration,
    /// The evictable consumer that holds it back, by slot and state word, the fragment that it is about, and since
    /// when.
    #[cfg(feature = "std")]
    held_since: Cell<Option<(usize, u64, u64, std::time::Instant)>>,
    /// Words of the borrowed API that follow the producer.
    followers: Option<Followers<'a>>,
    /// Last, so that it is dropped last: it may own the memory that everything above is a view of.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))] // held for its drop
    claim: Claim<'a>,
}

struct Followers<'a> {
    /// See `Fseq`.
    fseq: Option<&'a AtomicU64>,
    /// See `Fctl::available`.
    fctl: Option<&'a AtomicU64>,
    metrics: Option<Counter<'a>>,
}

/// The exclusive right to be the producer. Dropping it gives the right back.
pub(crate) enum Claim<'a> {
    Borrowed(&'a Occupants),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn ProducerClaim>),
}

/// What a producer of a `Link` holds on to. Its drop gives the right up.
#[cfg(feature = "alloc")]
pub(crate) trait ProducerClaim: Send {
    /// Whether the owner of this consumer slot lives: `false` only with proof that it does not.
    fn consumer_lives(&self, slot: usize) -> bool;

    /// False in a forked child, which has got the producer but not its memory.
    fn is_of_this_process(&self) -> bool {
        true
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        match self {
            Self::Borrowed(occupants) => occupants.leave_producer(),
            #[cfg(feature = "alloc")]
            Self::Owned(_) => {}
        }
    }
}

/// So many fragments of a batch are stored before they are shown; and of a small ring, one part in so many.
const BATCH: usize = 32;
const BATCH_PART: u64 = 8;

impl core::fmt::Debug for Producer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer")
            .field("next_seq", &self.next.get())
            .field("limit", &self.limit.get())
            .field("mtu", &self.parts.mtu)
            .finish_non_exhaustive()
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        #[cfg(feature = "alloc")]
        if let Claim::Owned(claim) = &self.claim {
            if !claim.is_of_this_process() {
                return;
            }
        }
        // Readers of a producer whose thread panics should not take what is there for all.
        #[cfg(feature = "std")]
        let panics = std::thread::panicking();
        #[cfg(not(feature = "std"))]
        let panics = false;
        // Who sees the end sees what came before: `Cnc` orders it, `Parts::ending` asks.
        self.parts.head.lifecycle.cnc.set_state(if panics { CncState::Fail } else { CncState::Halt });
        self.parts.head.eventcount.notify();
    }
}

/// The everyday use.
impl<'a> Producer<'a> {
    /// Publishes a payload. Never blocks.
    ///
    /// `sig`, `ctl` and `ts` travel with it as they are (see [`Control`](crate::Control) for what `ctl`
    /// means where messages are longer than the MTU, [`timestamp`](crate::timestamp) for `ts`).
    ///
    /// # Errors
    /// [`TangoError::TooLarge`] over the MTU; [`TangoError::NoCredits`] while a reliable consumer has
    /// not finished with what this would overwrite. In both cases nothing was published.
    #[inline(always)]
    pub fn publish(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        if payload.len() > self.in_slot {
            return self.publish_apart(payload, sig, ctl, ts);
        }
        let n = self.next.get();
        if !seq::is_before(n, self.limit.get()) {
            self.make_room(n, None, 1)?;
        }
        self.prefetch_newest(payload.len());
        let meta = FragmentMetadata::in_slot(n, payload.len(), sig, ctl, ts);
        let (line, content) = (self.parts.ring.line(n), Content::of(payload));
        let fits = line.write_payload(content);
        debug_assert!(fits, "`in_slot` is no more than a slot has room for");
        line.publish(&meta);
        self.show_newest(&meta, content);
        self.advance(n, 1);
        self.clean(n, payload.len());
        self.wake_sleepers();
        Ok(meta)
    }

    /// Publishes a payload that does not fit its slot.
    #[inline]
    fn publish_apart(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        let meta = self.put_apart(payload, sig, ctl, ts)?;
        self.wake_sleepers();
        Ok(meta)
    }

    /// Publishes as many payloads from the start of `payloads` as have room and fit their slots, at most
    /// [`BATCH`]. First all are stored, then all are shown, in order: a reader that waits for the first does not
    /// take each line away while the next is being written (`bench/`: rows of batches). Says how many.
    #[inline]
    fn put_several(&self, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        let first = self.next.get();
        let most = payloads.len().min(BATCH) as u64;
        // Only here, before anything is stored: credits are counted up to what is shown, and a consumer that joins
        // meanwhile must not find the floor behind that. Retires for all of them at once: of a batch in two parts, the
        // reader would take the lines of the second away while they are filled.
        if seq::is_before(self.limit.get(), first.wrapping_add(most)) {
            let small =
                || payloads.iter().take(BATCH).take_while(|payload| payload.len() <= self.in_slot).count();
            // Not more than will be overwritten; in a large ring, as many are retired ahead anyway.
            let count = if self.retire_ahead < most { small() as u64 } else { most };
            if self.make_room(first, None, count).is_err() {
                return 0;
            }
        }
        let room = self.limit.get().wrapping_sub(first).min(most) as usize;
        let ring = self.parts.ring;
        let blocks = self.store_blocks(first, &payloads[..room], sig, ctl, ts);
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
            self.announce(n.wrapping_sub(1));
            self.advance(n.wrapping_sub(1), count);
        }
        self.clean_batch(first, payloads, count);
        count as usize
    }

    /// Stores payloads from the start of `payloads`, for `first` and those behind it, as long as they have 64 bytes: the
    /// most frequent size by far, so in a loop of their own, which needs no calls. The first is known to fit its slot, so
    /// these do. Says how many.
    #[inline]
    fn store_blocks(&self, first: u64, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        // A copy, which stays in registers.
        let ring = self.parts.ring;
        for (at, payload) in payloads.iter().enumerate() {
            let Ok(block) = <&[u8; 64]>::try_from(*payload) else { return at };
            let n = first.wrapping_add(at as u64);
            let line = ring.line(n);
            let fits = line.write_payload(Content::Block(words::Block::load(block)));
            debug_assert!(fits, "as the first");
            line.write_metadata(&FragmentMetadata::in_slot(n, 64, sig, ctl, ts));
        }
        payloads.len()
    }

    /// Publishes a payload; where credits are missing, waits until they are back.
    ///
    /// **Deadlock:** it waits for ever if this thread itself holds a fragment of the same link, or
    /// otherwise keeps a consumer from going on.
    ///
    /// # Errors
    /// [`TangoError::TooLarge`] over the MTU; [`TangoError::Closed`] if credits are missing and the link
    /// is stopped. In both cases nothing was published.
    #[inline]
    pub fn publish_blocking(
        &self,
        payload: &[u8],
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        match self.publish(payload, sig, ctl, ts) {
            Err(TangoError::NoCredits { .. }) => self.publish_waiting(payload, sig, ctl, ts),
            done => done,
        }
    }

    /// Publishes a payload for readers that need no metadata: `sig`, `ctl` and `ts` are 0. Waits for
    /// credits like [`Producer::publish_blocking`].
    ///
    /// # Errors
    /// As [`Producer::publish_blocking`].
    #[inline]
    pub fn send(&self, payload: &[u8]) -> Result<(), TangoError> {
        self.publish_blocking(payload, 0, 0, 0).map(|_| ())
    }

    /// Publishes payloads in order, all with the same `sig` and `ctl` and with timestamp 0, until all
    /// are published or one fails, and says how many went. Never blocks.
    ///
    /// Why it stopped early is what publishing the next payload says.
    #[must_use = "fewer may have been published than were given"]
    pub fn publish_batch(&self, payloads: &[&[u8]], sig: u64, ctl: u16) -> usize {
        self.publish_batch_at(payloads, sig, ctl, 0)
    }

    /// [`Producer::publish_batch`] with one timestamp for the whole batch.
    #[must_use = "fewer may have been published than were given"]
    pub fn publish_batch_at(&self, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        let mut count = 0;
        while let Some(payload) = payloads.get(count) {
            let put = if payload.len() > self.in_slot {
                usize::from(self.put_apart(payload, sig, ctl, ts).is_ok())
            } else {
                self.put_several(&payloads[count..], sig, ctl, ts)
            };
            if put == 0 {
                break;
            }
            count += put;
        }
        self.wake_sleepers();
        count
    }

    /// The sequence number that is published next.
    pub fn next_seq(&self) -> u64 {
        self.next.get()
    }

    /// The largest payload of one fragment, in bytes.
    pub fn mtu(&self) -> usize {
        self.parts.mtu
    }

    /// How many reliable consumers are attached and live at this moment; asks about each (in shared memory a system
    /// call). Others may come and go meanwhile.
    pub fn consumers(&self) -> usize {
        self.reap_dead();
        self.credits.attached().count()
    }

    /// The slot of the reliable consumer that held the producer back when it last ran out of credits.
    pub fn held_by(&self) -> Option<usize> {
        self.credits.held_by()
    }

    /// Whether every reliable consumer that is attached has finished with all that was published. Where one has not,
    /// asks whether they live (as [`Producer::consumers`]).
    pub fn is_drained(&self) -> bool {
        self.seems_drained() || {
            self.reap_dead();
            self.seems_drained()
        }
    }

    /// [`Self::is_drained`], but the dead may count.
    fn seems_drained(&self) -> bool {
        self.credits.attached().all(|(_, next)| !seq::is_before(next, self.next.get()))
    }

    /// Counts into `metrics` from now on: fragments published, and those that had to wait for credits.
    ///
    /// # Panics
    /// If another producer counts into these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: &'a Metrics) -> Self {
        let counter = metrics.producer().expect("another producer counts into these Metrics");
        let followers = self.followers.get_or_insert(Followers { fseq: None, fctl: None, metrics: None });
        followers.metrics = Some(counter);
        self
    }

    /// Shows `now`, of a clock and in a unit that readers know, as the producer's heartbeat
    /// (`LinkStatus::heartbeat`). It is for people to look at: nothing is decided by it.
    pub fn beat(&self, now: u64) {
        self.parts.head.lifecycle.cnc.beat(now);
    }

    /// How blocking calls wait from now on.
    #[must_use]
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// How long an evictable consumer ([`Link::evictable_consumer`]) may hold publishing up, without a
    /// fragment that gets through in between, before it is evicted. Default: one second. Counts from the first
    /// try to publish that it made fail, and ends with one: this needs somebody who tries again, or blocks.
    ///
    /// [`Link::evictable_consumer`]: crate::Link::evictable_consumer
    #[cfg(feature = "std")]
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits until at least `consumers` reliable consumers are attached and live, so that early fragments are not
    /// lost to them. False if the link was stopped, or `timeout` has passed, before that.
    #[cfg(feature = "std")]
    pub fn wait_for_consumers(&self, consumers: usize, timeout: Option<Duration>) -> bool {
        self.wait_until(timeout, || {
            self.credits.attached().count() >= consumers && self.consumers() >= consumers
        })
    }

    /// Waits until [`Producer::is_drained`]. False if the link was stopped, or `timeout` has passed,
    /// before that.
    ///
    /// **Deadlock:** as [`Producer::publish_blocking`].
    #[cfg(feature = "std")]
    pub fn wait_until_drained(&self, timeout: Option<Duration>) -> bool {
        self.wait_until(timeout, || self.seems_drained()) || self.is_drained()
    }
}

/// The steps of publishing, shared with `loan`.
impl<'a> Producer<'a> {
    /// Publishes a payload that does not fit its slot.
    fn put_apart(&self, payload: &[u8], sig: u64, ctl: u16, ts: u32) -> Result<FragmentMetadata, TangoError> {
        let reserved = self.reserve(payload.len())?;
        let words = self.words(&reserved);
        words::store(words, payload);
        Ok(self.finish(reserved, payload.len(), sig, ctl, ts))
    }

    /// Finds a place for a payload of `size` bytes, and retires what it overwrites.
    #[inline(always)]
    pub(crate) fn reserve(&self, size: usize) -> Result<Reserved, TangoError> {
        if size > self.parts.mtu {
            return Err(TangoError::TooLarge { size, max: self.parts.mtu });
        }
        let n = self.next.get();
        let depth = self.parts.ring.depth();
        let (spot, victim) = if size > self.in_slot {
            let spot = self.placement.spot(granules(size));
            (Some(spot), self.placement.victim(&spot, n, depth))
        } else {
            (None, None)
        };
        if victim.is_some() || !seq::is_before(n, self.limit.get()) {
            self.make_room(n, victim, 1)?;
        }
        Ok(Reserved { n, size, spot, victim })
    }

    /// Sees to it that fragment `n` has a credit, and that what it overwrites is dead: the fragment whose line it
    /// takes, and all up to `victim`; and the same for the `count` that begin there, as far as there is credit.
    #[inline(never)]
    fn make_room(&self, n: u64, victim: Option<u64>, count: u64) -> Result<(), TangoError> {
        if !self.credits.allow(n, victim) {
            self.await_credit(n, victim)?;
        }
        // A batch that overwrites much of a small ring is cut into pieces: observers should find something.
        let most = (self.parts.ring.depth() / BATCH_PART).max(1);
        let count = count.min(self.credits.limit().wrapping_sub(n)).min(most);
        let by_line = n.wrapping_sub(self.parts.ring.depth()).wrapping_add(1);
        // The lines of the next few at once, but nothing that a consumer may still want.
        let ahead = by_line.wrapping_add(self.retire_ahead.max(count - 1));
        let mut dead = if intact("producer.cap") { seq::earlier(ahead, self.credits.floor()) } else { ahead };
        if let Some(victim) = victim.filter(|_| intact("producer.victims")) {
            dead = seq::later(dead, victim.wrapping_add(1));
        }
        if seq::is_before(self.oldest.get(), dead) {
            self.oldest.set(dead);
            line::retire(&self.parts.head.oldest, dead);
        }
        self.set_limit();
        Ok(())
    }

    /// Fragments before the limit have a credit, and their lines are free.
    fn set_limit(&self) {
        let by_lines = self.oldest.get().wrapping_add(self.parts.ring.depth());
        self.limit.set(seq::earlier(self.credits.limit(), by_lines));
    }

    /// The words that a reserved payload goes to.
    #[inline(always)]
    pub(crate) fn words(&self, reserved: &Reserved) -> &'a [crate::sync::AtomicU64] {
        match reserved.spot {
            // A spot is inside of the region: `Placement::spot`.
            Some(spot) => self.parts.granules.payload(spot.chunk, reserved.size).unwrap_or_default(),
            None => &self.parts.ring.line(reserved.n).room[..reserved.size.div_ceil(words::WORD)],
        }
    }

    /// Publishes a reserved payload, of which the first `size` bytes are in place.
    #[inline(always)]
    pub(crate) fn commit(
        &self,
        reserved: Reserved,
        size: usize,
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> FragmentMetadata {
        let meta = self.finish(reserved, size, sig, ctl, ts);
        self.wake_sleepers();
        meta
    }

    #[inline(always)]
    fn finish(&self, reserved: Reserved, size: usize, sig: u64, ctl: u16, ts: u32) -> FragmentMetadata {
        let Reserved { n, spot, victim, .. } = reserved;
        let chunk = spot.map_or(FragmentMetadata::IN_SLOT, |spot| spot.chunk);
        let meta = FragmentMetadata { seq: n, sig, chunk, size: size as u32, ctl, reserved: 0, ts };
        let line = self.parts.ring.line(n);
        line.publish(&meta);
        let content = match spot {
            Some(_) => Content::Apart,
            None => Content::Slot(line, size.div_ceil(words::WORD)),
        };
        self.show_newest(&meta, content);
        if let Some(spot) = spot {
            self.placement.take(&spot, n, victim);
        }
        self.advance(n, 1);
        self.clean(n, meta.place().size_in_slot());
        meta
    }

    /// `count` fragments up to `n` are published: moves on, and tells who follows.
    #[inline]
    fn advance(&self, n: u64, count: u64) {
        let next = n.wrapping_add(1);
        self.next.set(next);
        self.parts.head.next.store(next, Relaxed);
        if let Some(followers) = &self.followers {
            if let Some(fseq) = followers.fseq {
                store_published(fseq, next);
            }
            if let Some(fctl) = followers.fctl {
                fctl.store(next, Relaxed);
            }
            if let Some(metrics) = &followers.metrics {
                metrics.fragments(count);
            }
        }
    }

    /// Wakes the consumers that sleep, now that there is something for them.
    #[inline]
    fn wake_sleepers(&self) {
        self.order.before_check();
        if self.credits.signals_changed() {
            self.heed_signals();
        }
    }

    #[cold]
    fn heed_signals(&self) {
        if self.credits.look_closely() {
            self.parts.head.eventcount.notify();
        }
        self.heed_consumers();
    }

    /// The consumers have changed, or what they tell.
    fn heed_consumers(&self) {
        let told = self.credits.told();
        self.choose_cleaning(told);
        self.choose_where_to_show(told);
    }

    /// Retires so many fragments more than needed: for models, whose rings are too small for any.
    #[cfg(all(loom, test))]
    pub(crate) fn retiring_ahead(mut self, fragments: u64) -> Self {
        self.retire_ahead = fragments;
        self
    }

    /// Keeps these words of the borrowed API at the producer's place from now on.
    pub(crate) fn followed_by(mut self, fseq: &'a AtomicU64, fctl: Option<&'a AtomicU64>) -> Self {
        self.followers = Some(Followers { fseq: Some(fseq), fctl, metrics: None });
        let next = self.next.get();
        self.advance(next.wrapping_sub(1), 0);
        self
    }

    /// Everything before this is dead.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest.get()
    }

    pub(crate) fn may_have_observers(&self) -> bool {
        self.parts.observers
    }
}

/// Stores the number that is published next where `Fseq::current` loads it.
#[inline]
pub(crate) fn store_published(word: &AtomicU64, next: u64) {
    // Pairs with the Acquire load in `Fseq::current`.
    word.store(next, ordering("fseq.set", Release));
}

/// A fragment that is under way: its number, place, and what it has retired.
#[derive(Debug)]
pub(crate) struct Reserved {
    n: u64,
    size: usize,
    spot: Option<Spot>,
    victim: Option<u64>,
}

impl Reserved {
    pub(crate) fn is_in_slot(&self) -> bool {
        self.spot.is_none()
    }
}
