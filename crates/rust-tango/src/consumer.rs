//! [`Consumer`]: reads every fragment in place, or whatever it can by copy.
//!
//! One type reads in three modes, chosen when it is made:
//!
//! - *reliable*: it holds credits, so the producer waits for it, and what it hands out is a slice of
//!   the ring itself (of a small fragment that it has waited for, a copy: see [`latest`](crate::latest)). It
//!   finishes with a fragment when the [`Payload`] is dropped.
//! - *observing*: the producer does not know of it and laps it. It copies, validates the copy, and
//!   hands that out.
//! - *evictable*: the producer waits for it, but not for ever. So it reads like an observer, and gives
//!   its credit back with the copy.

mod life;
mod pace;

#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use life::Watch;

use self::pace::Pace;
use crate::error::TangoError;
use crate::fctl::Seat;
use crate::frag::FragmentMetadata;
use crate::latest::{Copied, Found, Latest};
use crate::line::{Line, Look};
use crate::mcache::Occupants;
use crate::metrics::{Counter, Metrics};
use crate::parts::{Ending, Parts};
use crate::payload::{Credit, Fragment, Payload, Scratch};
use crate::seq;
use crate::sync::{AtomicU64, intact};
use crate::wait::{Due, Wait, Waiting};

/// Where a consumer that joins begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the next fragment that is published.
    #[default]
    Next,
    /// With the oldest fragment that is still there.
    Oldest,
    /// With this sequence number: if it is gone already, the first read says how many were lost; if it
    /// is yet to come, what is published before it is not read.
    At(u64),
}

/// Reads the fragments of a link, in order.
///
/// A fragment is borrowed from its consumer, so it has to go before the next one comes:
///
/// ```compile_fail,E0499
/// # use rust_tango::*;
/// # let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
/// let mut consumer = Consumer::new(&mcache, &dcache, 1);
/// let first = consumer.poll().unwrap();
/// let second = consumer.poll().unwrap(); // `first` still borrows `consumer`
/// drop(first);
/// ```
///
/// and its bytes do not outlive it, because with it goes the credit:
///
/// ```compile_fail,E0597
/// # use rust_tango::*;
/// # let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
/// let mut consumer = Consumer::new(&mcache, &dcache, 1);
/// let bytes = {
///     let fragment = consumer.poll().unwrap().unwrap();
///     fragment.payload.as_slice() // borrowed from `fragment`, which ends here
/// };
/// println!("{bytes:?}");
/// ```
pub struct Consumer<'a> {
    /// The fragment that is read next.
    pub(crate) next: u64,
    pub(crate) pace: Pace,
    /// Where it looks for the next fragment if it follows: [`Consumer::where_shown`].
    shown: &'a Latest,
    copied: Copied,
    /// The lines were prepared, and the place in them has been settled.
    joined: bool,
    /// A fragment that is there may be taken without further questions.
    ready: bool,
    /// A fragment before this may even be taken with nothing but a look at its line: see [`Consumer::plain`].
    plain_until: u64,
    /// What was gone before this consumer had joined, or joined again: reported by the next look.
    missed: u64,
    /// It was gone because this consumer had been evicted.
    missed_evicted: bool,
    pub(crate) parts: Parts<'a>,
    pub(crate) mode: Mode<'a>,
    /// Overruns in a row, each soon after the one before: 2 if more, or [`life::ASTRAY`]. And where the last one made
    /// reading go on.
    streak: u32,
    resumed_at: u64,
    /// The fragments that overruns have sent it past.
    skipped: u64,
    /// The incarnation of the producer that is proven dead. A later one has another.
    dead_producer: Option<u64>,
    /// The takeovers that this reader has been told of, or that were before its time.
    takeovers: u64,
    /// The evictions that this reader has taken notice of.
    evictions: u64,
    wait: Wait,
    metrics: Option<Counter<'a>>,
    /// Last, so that it is dropped last: it may own the memory that everything above is a view of.
    #[cfg_attr(not(feature = "alloc"), allow(dead_code))] // held for its drop
    attachment: Attachment<'a>,
}

/// How a consumer reads.
pub(crate) enum Mode<'a> {
    Reliable(Seat<'a>),
    Observing(Scratch<'a>),
    #[cfg(feature = "alloc")]
    Evictable(Seat<'a>, Scratch<'a>),
}

impl<'a> Mode<'a> {
    /// The slot, if the producer waits for this reader.
    #[inline]
    pub(crate) fn seat(&self) -> Option<&Seat<'a>> {
        match self {
            Self::Reliable(seat) => Some(seat),
            Self::Observing(_) => None,
            #[cfg(feature = "alloc")]
            Self::Evictable(seat, _) => Some(seat),
        }
    }

    /// The credit for what is before `next`, if a payload has to give it back.
    #[inline]
    pub(crate) fn credit(&self, next: u64) -> Option<Credit<'_>> {
        match self {
            Self::Reliable(seat) => Some(Credit { seat, next }),
            _ => None,
        }
    }

    /// Where fragments are copied to, if they are.
    #[inline]
    pub(crate) fn scratch(&mut self) -> Option<&mut Scratch<'a>> {
        match self {
            Self::Reliable(_) => None,
            Self::Observing(scratch) => Some(scratch),
            #[cfg(feature = "alloc")]
            Self::Evictable(_, scratch) => Some(scratch),
        }
    }

    /// Whether what is read stays in the ring.
    #[inline]
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self, Self::Reliable(_))
    }

    pub(crate) fn is_evictable(&self) -> bool {
        match self {
            Self::Reliable(_) | Self::Observing(_) => false,
            #[cfg(feature = "alloc")]
            Self::Evictable(..) => true,
        }
    }
}

/// What a consumer holds on to, and gives up when dropped.
pub(crate) enum Attachment<'a> {
    /// An observer on borrowed storage.
    None,
    /// The right to be the consumer of borrowed storage.
    Borrowed(&'a Occupants),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn ConsumerClaim>),
}

/// What a consumer of a `Link` holds on to. Its drop gives up the slot, if there is one.
#[cfg(feature = "alloc")]
pub(crate) trait ConsumerClaim: Send + Sync {
    /// Whether the producer lives: `false` only with proof that it does not.
    fn producer_lives(&self) -> bool;

    /// What another thread asks instead of [`Self::producer_lives`]. `None`: it can only live.
    #[cfg(all(feature = "async", target_os = "linux"))]
    fn question(&self) -> Option<Question> {
        None
    }

    /// False in a forked child, which has got the consumer but not its memory.
    fn is_of_this_process(&self) -> bool {
        true
    }
}

/// Whether the producer lives, asked from any thread.
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) type Question = alloc::boxed::Box<dyn Fn() -> bool + Send>;

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        match self {
            Self::None => {}
            Self::Borrowed(occupants) => occupants.leave_consumer(),
            #[cfg(feature = "alloc")]
            Self::Owned(_) => {}
        }
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        // The consumer of an `Fctl` stays on record, so that the producer goes on to wait for the next.
        #[cfg(feature = "alloc")]
        if let (Some(seat), Attachment::Owned(claim)) = (self.mode.seat(), &self.attachment) {
            if claim.is_of_this_process() {
                seat.leave();
            }
        }
    }
}

impl core::fmt::Debug for Consumer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Consumer")
            .field("next_seq", &self.next)
            .field("reliable", &self.is_reliable())
            .finish_non_exhaustive()
    }
}

/// What a look at the next line leads to.
pub(crate) enum Next<'a> {
    Fragment(Line<'a>),
    /// Not yet.
    Nothing,
    /// Nor will there be, unless another producer comes.
    Closed,
}

/// Reading.
impl<'a> Consumer<'a> {
    /// The next fragment, if it is there. Never blocks. (In a stream of fragments that come fast, it may spin for some
    /// microseconds now and then, so that the producer gets ahead: both are faster so.)
    ///
    /// `Ok(None)` says that there is nothing yet, or nothing any more: [`Consumer::is_closed`] tells.
    ///
    /// # Errors
    /// [`TangoError::Overrun`] when the producer has lapped this reader, [`TangoError::Evicted`] when it did
    /// so after having waited; [`TangoError::Corrupt`] when a fragment's metadata points outside of the link:
    /// these have been stepped over, call again. [`TangoError::ProducerGone`] when the producer has died and
    /// all that it published has been read; [`TangoError::ProducerReplaced`], once, when another one has come
    /// after that.
    #[inline(always)] // from memory, the result would take as long as the rest
    pub fn poll(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        if let Some((line, meta)) = self.plain() {
            return Ok(Some(self.take_plain(line, meta)));
        }
        match self.look()? {
            Next::Fragment(line) => self.take(line),
            Next::Nothing | Next::Closed => Ok(None),
        }
    }

    /// [`Consumer::poll`], but only fragments whose `sig` is accepted: the others are finished with
    /// before anything else of them is read. At most as many as the link is deep are skipped in one
    /// call; then, or when there are no more, the result is `Ok(None)`.
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub fn poll_if(
        &mut self,
        mut accept: impl FnMut(u64) -> bool,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        for _ in 0..self.parts.ring.depth() {
            let Next::Fragment(line) = self.look()? else { return Ok(None) };
            let sig = line.sig();
            if self.mode.scratch().is_some() && intact("filter.still") && !self.parts.still(self.next) {
                return Err(self.overrun());
            }
            if accept(sig) {
                return self.take(line);
            }
            self.consumed(self.next.wrapping_add(1));
            if let Some(seat) = self.mode.seat() {
                seat.release(self.next);
            }
        }
        Ok(None)
    }

    /// The next fragment; waits until there is one. `Ok(None)`: the link is closed and drained.
    ///
    /// # Errors
    /// As [`Consumer::poll`]. While the producer is gone, it does not wait: call
    /// `wait_for_producer` instead of this again.
    pub fn wait(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        self.wait_until_over(Waiting::new(self.wait))
    }

    /// [`Consumer::wait`] for at most `timeout`. `Ok(None)`: nothing came, or the link is closed
    /// ([`Consumer::is_closed`] tells).
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    #[cfg(feature = "std")]
    pub fn wait_timeout(
        &mut self,
        timeout: core::time::Duration,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        self.wait_until_over(Waiting::until(self.wait, Some(timeout)))
    }

    /// Calls `each` with every fragment, in place, until the link is closed and drained.
    ///
    /// # Errors
    /// As [`Consumer::poll`]; call again to go on (behind [`TangoError::ProducerGone`], when there is another
    /// producer).
    pub fn for_each(&mut self, mut each: impl FnMut(&FragmentMetadata, &[u8])) -> Result<(), TangoError> {
        while let Some(fragment) = self.wait()? {
            each(&fragment.meta, fragment.payload.as_slice());
        }
        Ok(())
    }

    /// The sequence number that is read next.
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// Whether the producer waits for this consumer (if it is evictable: not for ever).
    pub fn is_reliable(&self) -> bool {
        self.mode.seat().is_some()
    }

    /// Whether nothing more will come: the link was stopped, or its producer has closed it, and everything
    /// that was published has been read. A new producer can open the link again. That the producer has died
    /// is not this: it is an error of the calls that read ([`TangoError::ProducerGone`]).
    pub fn is_closed(&self) -> bool {
        if !self.joined && !self.parts.head.is_bound() {
            return self.parts.is_stopped();
        }
        self.missed == 0
            && self.ending() == Some(Ending::Closed)
            && (self.believable(self.parts.ring.line(self.next).look(self.next)) == Look::Behind
                || !intact("consumer.closed"))
    }

    /// Waits until the link has a producer again, behind [`TangoError::ProducerGone`]. False if the link was
    /// closed or stopped, or `timeout` has passed, before that. Looks every ten milliseconds at the latest.
    #[cfg(feature = "std")]
    pub fn wait_for_producer(&mut self, timeout: Option<core::time::Duration>) -> bool {
        let mut waiting = Waiting::until(Wait::Park, timeout);
        loop {
            self.ask_whether_producer_lives();
            match self.ending() {
                None => return true,
                Some(Ending::Closed) => return false,
                Some(Ending::Died) if waiting.longest_sleep().is_zero() => return false,
                Some(Ending::Died) => {
                    waiting.nap();
                }
            }
        }
    }

    /// How blocking calls wait from now on.
    #[must_use]
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Counts into `metrics` from now on: fragments consumed, and overruns.
    ///
    /// # Panics
    /// If seven other consumers count into these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: &'a Metrics) -> Self {
        self.metrics = Some(metrics.consumer().expect("seven consumers count into these Metrics already"));
        self.note_plain();
        self
    }
}

/// The steps of reading, shared with `batch`.
impl<'a> Consumer<'a> {
    /// The next fragment; waits until there is one, the link is closed, or the wait is over.
    fn wait_until_over(&mut self, mut waiting: Waiting) -> Result<Option<Fragment<'_>>, TangoError> {
        loop {
            match self.look()? {
                Next::Fragment(line) => return self.take(line),
                Next::Closed => return Ok(None),
                Next::Nothing if waiting.is_over() => return Ok(None),
                Next::Nothing => {}
            }
            match waiting.pause() {
                Due::Look | Due::Question => {}
                #[cfg(feature = "std")]
                Due::Sleep => {
                    // Who sleeps is woken by what is in the ring.
                    self.stop_following();
                    self.sleep(&mut waiting);
                }
            }
        }
    }

    /// The next fragment, if it is there and nothing but that has to be asked: this reader is ready, reads in place and
    /// in the ring, has no metrics, and is not at its gate; and the payload is in the slot. In a stream, all but a few.
    #[inline(always)]
    fn plain(&self) -> Option<(Line<'a>, FragmentMetadata)> {
        let n = self.next;
        // Of who reads by copy, `plain_until` says no more than that it is not now: a producer that follows no rules may
        // send one half around, to where it would mean the opposite.
        if !seq::is_before(n, self.plain_until) || !self.mode.is_in_place() {
            return None;
        }
        let line = self.parts.ring.line(n);
        if line.look(n) != Look::Ready {
            return None;
        }
        let meta = line.metadata(n);
        // As in `Parts::payload`.
        let is_in_slot =
            meta.chunk == FragmentMetadata::IN_SLOT && meta.size as usize <= self.parts.in_slot();
        is_in_slot.then_some((line, meta))
    }

    /// Takes the fragment that `plain` has found.
    #[inline(always)]
    fn take_plain(&mut self, line: Line<'a>, meta: FragmentMetadata) -> Fragment<'_> {
        let next = self.next.wrapping_add(1);
        self.next = next;
        // As in `take`.
        Fragment { meta, payload: Payload::lent(line.room, meta.size, self.mode.credit(next)) }
    }

    /// Something has changed that `plain` is about.
    fn note_plain(&mut self) {
        let is_plain = self.ready && self.mode.is_in_place() && !self.pace.follows && self.metrics.is_none();
        self.plain_until = if is_plain { self.pace.gate() } else { self.next };
    }

    /// Looks for the next fragment.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Result<Next<'a>, TangoError> {
        let line = self.parts.ring.line(self.next);
        let found = if self.pace.follows {
            match self.shown.look(self.next) {
                // What is not the newest any more is in the ring.
                Look::Gone => self.look_in_ring(&line),
                found => found,
            }
        } else {
            self.look_in_ring(&line)
        };
        match found {
            Look::Ready if self.ready => Ok(Next::Fragment(line)),
            // Mostly looks at nothing but the line: who waits for it sees it the sooner.
            Look::Behind if self.ready && self.pace.is_quick_look(self.next) => Ok(Next::Nothing),
            found => self.look_again(found),
        }
    }

    #[inline(always)]
    fn look_in_ring(&mut self, line: &Line<'a>) -> Look {
        self.stop_following();
        if self.pace.is_at_gate(self.next) {
            self.at_gate();
        }
        line.look(self.next)
    }

    /// [`Self::look`], but one that finds nothing has asked for everything else: for who sleeps behind it.
    #[cfg(all(feature = "async", target_os = "linux"))]
    #[inline]
    pub(crate) fn look_closely(&mut self) -> Result<Next<'a>, TangoError> {
        self.stop_following();
        match self.look()? {
            Next::Nothing => self.look_again(Look::Behind),
            found => Ok(found),
        }
    }

    /// There is no fragment, or there is something to be told before it.
    #[cold]
    fn look_again(&mut self, found: Look) -> Result<Next<'a>, TangoError> {
        if !self.ready {
            if !self.joined {
                if !self.parts.head.is_bound() {
                    self.count_idle_look();
                    if self.dead_producer.is_some() {
                        return Err(TangoError::ProducerGone);
                    }
                    return Ok(if self.parts.is_stopped() { Next::Closed } else { Next::Nothing });
                }
                self.join(true);
                return self.look();
            }
            // Asked behind the look: whoever published what that found had come before.
            self.ask_whether_replaced()?;
            if self.missed != 0 {
                return Err(self.report_missed());
            }
            self.ready = found == Look::Ready;
            self.note_plain();
        }
        match self.believable(found) {
            Look::Gone => Err(self.overrun()),
            Look::Ready => Ok(Next::Fragment(self.parts.ring.line(self.next))),
            Look::Behind => {
                self.pace_idle_look();
                self.count_idle_look();
                self.ask_whether_evicted();
                if self.missed != 0 {
                    return Err(self.report_missed());
                }
                self.ask_whether_replaced()?;
                match self.ending() {
                    None => Ok(Next::Nothing),
                    Some(ending) => self.look_at_end(ending),
                }
            }
        }
    }

    fn believable(&self, found: Look) -> Look {
        believable(found, self.streak, self.next, &self.parts)
    }

    fn count_idle_look(&mut self) {
        if self.pace.count_idle_look() {
            self.ask_whether_producer_lives();
            self.look_behind_newest();
        }
    }

    /// The link has ended: looks once more, now that all that was published before its end is visible.
    fn look_at_end(&mut self, ending: Ending) -> Result<Next<'a>, TangoError> {
        let line = self.parts.ring.line(self.next);
        // A producer may have died before it showed its last fragment as the newest.
        self.stop_following();
        let found = if intact("consumer.last_look") { line.look(self.next) } else { Look::Behind };
        match (self.believable(found), ending) {
            (Look::Ready, _) => self.look(),
            (Look::Gone, _) => Err(self.overrun()),
            (Look::Behind, Ending::Closed) => Ok(Next::Closed),
            (Look::Behind, Ending::Died) => {
                // Whoever comes next is announced before its first fragment.
                self.ready = false;
                self.note_plain();
                Err(TangoError::ProducerGone)
            }
        }
    }

    /// Takes the fragment that `look` has found.
    #[inline(always)]
    pub(crate) fn take(&mut self, line: Line<'a>) -> Result<Option<Fragment<'_>>, TangoError> {
        let n = self.next;
        let mut meta = None;
        if self.pace.follows {
            meta = match self.shown.copy(n, self.parts.mtu, &mut self.copied) {
                Some(Found::Whole(meta)) => return Ok(Some(self.take_copied(meta))),
                Some(Found::Metadata(meta)) => {
                    self.not_sent_away();
                    Some(meta)
                }
                Some(Found::Elsewhere) => {
                    self.sent_away();
                    None
                }
                None => None,
            };
        }
        let meta = meta.unwrap_or_else(|| line.metadata(n));
        let words = self.parts.payload(&line, meta.place());
        if !self.mode.is_in_place() {
            return self.take_by_copy(meta, words);
        }
        let Some(words) = words else { return Err(self.corrupt()) };
        let next = n.wrapping_add(1);
        self.consumed(next);
        // Nobody writes these words before the credit is given back, which the payload does.
        Ok(Some(Fragment { meta, payload: Payload::lent(words, meta.size, self.mode.credit(next)) }))
    }

    /// Takes the newest fragment, of which there is a copy.
    #[inline(always)]
    fn take_copied(&mut self, meta: FragmentMetadata) -> Fragment<'_> {
        let next = self.next.wrapping_add(1);
        self.not_sent_away();
        self.consumed_newest(next);
        if self.mode.is_evictable() {
            self.copied_up_to(next);
        }
        Fragment { meta, payload: Payload::copied(self.copied.words(), meta.size, self.mode.credit(next)) }
    }

    /// Takes a fragment that its producer may overwrite.
    #[inline(always)]
    fn take_by_copy(
        &mut self,
        meta: FragmentMetadata,
        words: Option<&'a [AtomicU64]>,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        let next = self.next.wrapping_add(1);
        let copied =
            words.is_some_and(|words| self.mode.scratch().is_some_and(|scratch| scratch.fill(words)));
        if !self.parts.still(self.next) {
            return Err(self.overrun());
        }
        if !copied {
            return Err(self.corrupt());
        }
        self.consumed(next);
        if self.mode.is_evictable() {
            self.copied_up_to(next);
        }
        // It was there above.
        let Some(scratch) = self.mode.scratch() else { return Ok(None) };
        Ok(Some(Fragment { meta, payload: Payload::copied(scratch.words(), meta.size, None) }))
    }

    /// An evictable consumer has copied everything before `next`.
    pub(crate) fn copied_up_to(&mut self, next: u64) {
        if let Some(seat) = self.mode.seat() {
            seat.release(next);
        }
        self.ask_whether_evicted();
    }

    /// Moves on to `next`: what is before it has been read.
    #[inline]
    pub(crate) fn consumed(&mut self, next: u64) {
        if let Some(metrics) = &self.metrics {
            metrics.fragments(next.wrapping_sub(self.next));
        }
        self.next = next;
    }

    /// Steps over the next fragment, whose metadata is wrong.
    #[cold]
    pub(crate) fn corrupt(&mut self) -> TangoError {
        let seq = self.next;
        self.next = seq.wrapping_add(1);
        if let Some(seat) = self.mode.seat() {
            seat.release(self.next);
            seat.slot().count_lost(1);
        }
        TangoError::Corrupt { seq }
    }
}

/// What to make of what the line of fragment `n` says. A producer that follows the protocol comes to a fragment
/// before that is gone. Where it has not, and a reader has been sent on twice in a row already (or all the way
/// round, whatever the producer says), the line holds something that was never published: it is about to be
/// overwritten, or the link has ended in front of it. Otherwise a ring of such lines would send the reader on and on.
fn believable(found: Look, streak: u32, n: u64, parts: &Parts<'_>) -> Look {
    let is_made_up = streak == life::ASTRAY || streak >= 2 && !seq::is_before(n, parts.extent().1);
    if found == Look::Gone && is_made_up { Look::Behind } else { found }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;
    use crate::Link;

    /// One that follows no rules has put a fragment there, and sent the reader half around.
    #[test]
    fn who_reads_by_copy_is_lent_nothing_wherever_it_is_sent() {
        let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
        let _tx = link.producer().unwrap();
        for mut rx in [link.observer().unwrap(), link.evictable_consumer(Start::Next).unwrap()] {
            rx.next = rx.plain_until.wrapping_add((1 << 63) + 10);
            let line = rx.parts.ring.line(rx.next);
            rx.parts.head.oldest.0.store(rx.next, crate::sync::Relaxed);
            line.publish(&FragmentMetadata::in_slot(rx.next, 8, 0, 0, 0));
            let in_the_ring = line.room.as_ptr_range();
            let fragment = rx.poll().unwrap().unwrap();
            assert_eq!(fragment.payload.len(), 8);
            assert!(!in_the_ring.contains(&fragment.payload.as_slice().as_ptr().cast()), "lent");
        }
    }

    /// From behind what is there to half around, and from there back to what is there: each time a way forward.
    #[test]
    fn who_is_sent_all_the_way_round_comes_to_rest() {
        let link = Link::builder().depth(8).mtu(64).consumers(1).start(1).build().unwrap();
        let tx = link.producer().unwrap();
        for _ in 1..=4 {
            tx.send(b"there").unwrap();
        }
        let mut rx = link.consumer_from(Start::Oldest).unwrap();
        rx.parts.head.next.0.store(1, crate::sync::Relaxed);
        rx.parts.head.credit.0.floor.store((1 << 63) + 1, crate::sync::Relaxed);
        rx.parts.ring.line(5).publish(&FragmentMetadata::in_slot(5 + (1 << 62), 8, 0, 0, 0));
        let (mut fragments, mut overruns) = (0, 0);
        loop {
            match rx.poll() {
                Ok(Some(_)) => fragments += 1,
                Ok(None) => break,
                Err(_) => overruns += 1,
            }
            assert!(overruns <= 10, "round and round");
        }
        assert!(fragments > 4, "never round: {fragments} fragments, {overruns} overruns");
        assert!((0..9).all(|_| matches!(rx.poll(), Ok(None))));
    }

    #[test]
    fn what_no_payload_may_be_is_corrupt_in_the_midst_of_a_run_too() {
        let link = Link::builder().depth(8).mtu(40).consumers(1).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        tx.send(b"good").unwrap();
        assert!(rx.poll().unwrap().is_some());
        assert!(seq::is_before(rx.next, rx.plain_until));
        // Over the MTU, and yet the slot has room for it.
        let line = rx.parts.ring.line(rx.next);
        line.publish(&FragmentMetadata::in_slot(rx.next, 41, 0, 0, 0));
        assert_eq!(rx.poll().unwrap_err(), TangoError::Corrupt { seq: rx.next.wrapping_sub(1) });
    }

    #[test]
    fn metrics_count_from_when_they_are_added() {
        let metrics = Metrics::new();
        let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let one = |rx: &mut Consumer<'_>| {
            tx.send(b"counted").unwrap();
            assert!(rx.poll().unwrap().is_some());
        };
        (0..3).for_each(|_| one(&mut rx));
        let mut rx = rx.with_metrics(&metrics);
        (0..4).for_each(|_| one(&mut rx));
        assert_eq!(metrics.snapshot().consumed, 4);
    }
}
