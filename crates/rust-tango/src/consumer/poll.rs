//! [`Reader`], and the path of a fragment through it.
//!
//! ```text
//!   poll    peek_in_place: reads the line, and nothing else --> ready ----------------> take_in_place
//!           | no
//!           poll_elsewhere
//!           find_next: hot slot, or checkpoint and line --> ready --> take: hot copy, in place, by copy
//!                       |                                             | overwritten meanwhile, or a place that no payload
//!                       |                                             | has: left out, or corrupt (`unreadable`)
//!                       '-- not there, or not joined --> find_next_slow: joins, reports losses, asks timing,
//!                                                        checks whether the producer lives
//! ```

use super::mode::{Attachment, Mode};
use super::pacing::Pacing;
use super::payload::{Fragment, Payload};
use super::producer_watch::ProducerWatch;
use super::standing::Standing;
#[cfg(feature = "tracing")]
use super::told::Told;
use crate::error::TangoError;
use crate::memory::parts::Parts;
use crate::metrics::Counter;
use crate::ring::hot_slot::Found;
use crate::ring::line::{Line, LineState};
use crate::ring::metadata::FragmentMetadata;
use crate::sync::AtomicU64;
#[cfg(feature = "std")]
use crate::waiting::wait::KeptNaps;
use crate::waiting::wait::Wait;

/// Reads the fragments of a link, in order. What a [`Consumer`](super::handle::Consumer) has inside.
pub(crate) struct Reader<'a> {
    /// The number of the next fragment to read.
    pub(crate) next: u64,
    /// How many fragments from `next` on may be taken after their lines were read, without other checks: see
    /// [`Reader::peek_in_place`].
    pub(super) unchecked: u32,
    /// The largest payload that travels in its slot, in bytes.
    pub(super) in_slot: usize,
    pub(crate) parts: Parts<'a>,
    pub(crate) mode: Mode<'a>,
    pub(super) pacing: Pacing<'a>,
    /// A fragment that is there may be taken without further checks.
    pub(super) ready: bool,
    pub(super) standing: Standing,
    pub(super) producer: ProducerWatch,
    pub(super) wait: Wait,
    #[cfg(feature = "std")]
    pub(super) naps: KeptNaps,
    pub(super) metrics: Option<Counter<'a>>,
    #[cfg(feature = "tracing")]
    pub(super) told: Told,
    /// Last, so that it is dropped last: it may own the memory that everything above is a view of.
    pub(super) attachment: Attachment<'a>,
}

/// What a read found.
pub(crate) enum Next<'a> {
    /// The next fragment is there: its line, and where it was found.
    Fragment(Line<'a>, FoundIn),
    /// The next fragment is not there yet.
    Nothing,
    /// The link is closed and drained. Nothing more will come, unless another producer attaches.
    Closed,
}

/// What a reader has seen in the hot slot on the way of the most frequent cases.
enum Seen {
    /// Nothing that has to be acted on. The hot slot is asked again, if the reader polls it.
    Nothing,
    /// The next fragment is in the ring.
    Overwritten,
    /// The next fragment was there, and has to be taken.
    Found(Option<Found>),
}

/// Where a fragment was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundIn {
    Ring,
    HotSlot,
}

/// The path of a fragment.
impl<'a> Reader<'a> {
    /// See [`Consumer::poll`](super::handle::Consumer::poll).
    #[inline(always)] // otherwise the result goes through memory, which takes as long as the rest
    pub(crate) fn poll(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        match self.peek_in_place() {
            Some((line, meta)) => Ok(Some(self.take_in_place(line, meta))),
            None => self.poll_elsewhere(),
        }
    }

    /// [`Self::poll`] without its fast path: the way of a reader that waits in the hot slot.
    #[inline(always)]
    fn poll_elsewhere(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        let mut seen = Seen::Nothing;
        if self.pacing.is_in_hot_slot() && self.ready && !self.mode.returns_credit_of_copy() {
            let n = self.next;
            seen = match self.pacing.hot.state(n) {
                LineState::Ready if !self.pacing.timing.may_leave_hot_slot() => {
                    match self.pacing.hot.copy(n, self.parts.mtu) {
                        Some(Found::Whole(meta)) => {
                            self.pacing.timing.found_whole(n);
                            // As in `consumed`. The fast path is closed as long as the reader is in the hot slot.
                            if let Some(metrics) = &self.metrics {
                                metrics.fragments(1);
                            }
                            self.next = n.wrapping_add(1);
                            return Ok(Some(self.hot_copy(meta)));
                        }
                        found => Seen::Found(found),
                    }
                }
                LineState::NotYet if self.pacing.timing.count_quick_poll(n) => return Ok(None),
                LineState::Overwritten => Seen::Overwritten,
                _ => Seen::Nothing,
            };
        }
        // Taken apart, so that the results of the two ways above stay in registers.
        match self.poll_slow(seen) {
            Ok(Some(Fragment { meta, payload })) => Ok(Some(Fragment { meta, payload })),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// [`Self::poll`] in all cases. `seen` is what the hot slot has said. Where that is enough, the hot slot is not read
    /// again: the producer may be writing it.
    #[inline(never)] // so that the two ways above need few registers
    fn poll_slow(&mut self, seen: Seen) -> Result<Option<Fragment<'_>>, TangoError> {
        match seen {
            Seen::Nothing => {}
            Seen::Overwritten => self.leave_hot_slot_now(),
            Seen::Found(found) => return self.take_found(self.parts.ring.line(self.next), found),
        }
        match self.find_next()? {
            Next::Fragment(line, found_in) => self.take(line, found_in),
            Next::Nothing | Next::Closed => Ok(None),
        }
    }

    /// The fast path: the next fragment, if it is there and nothing else has to be checked. That is, this
    /// reader is ready, reads in place, polls the ring, has no metrics, and is not at a checkpoint; and the
    /// payload is in the slot. In a stream, almost all fragments take this path.
    #[inline(always)]
    fn peek_in_place(&self) -> Option<(Line<'a>, FragmentMetadata)> {
        if self.unchecked == 0 {
            return None;
        }
        let n = self.next;
        let line = self.parts.ring.line(n);
        if line.state(n) != LineState::Ready {
            return None;
        }
        let meta = line.metadata(n);
        // The same check as in `Parts::payload`.
        meta.place().is_in_slot(self.in_slot).then_some((line, meta))
    }

    /// Takes the fragment that `peek_in_place` has found.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn take_in_place(&mut self, line: Line<'a>, meta: FragmentMetadata) -> Fragment<'_> {
        let next = self.next.wrapping_add(1);
        self.next = next;
        self.unchecked -= 1;
        // The credit protects these words, as in `take_from_ring`.
        // SAFETY: `peek_in_place` has compared the size with `in_slot`, which is `Parts::in_slot`, at most the room
        // of a slot.
        let payload = unsafe { Payload::lent_whole(line.room, meta.size, self.mode.credit(next)) };
        Fragment { meta, payload }
    }

    /// Moves to `next`, wherever that is.
    #[cold]
    pub(super) fn move_to(&mut self, next: u64) {
        self.next = next;
        self.update_fast_path();
    }

    /// Updates what [`Self::peek_in_place`] depends on.
    pub(super) fn update_fast_path(&mut self) {
        let is_open =
            self.ready && self.mode.is_in_place() && !self.pacing.is_in_hot_slot() && self.metrics.is_none();
        self.unchecked = if is_open { self.pacing.timing.until_checkpoint(self.next) } else { 0 };
    }

    /// Finds the next fragment.
    #[inline(always)]
    pub(crate) fn find_next(&mut self) -> Result<Next<'a>, TangoError> {
        let line = self.parts.ring.line(self.next);
        let state = if self.pacing.is_in_hot_slot() {
            match self.pacing.hot.state(self.next) {
                // It is no longer the newest fragment, so it is in the ring.
                LineState::Overwritten => self.state_in_ring(&line),
                state => state,
            }
        } else {
            self.state_in_ring(&line)
        };
        match state {
            LineState::Ready if self.ready => Ok(Next::Fragment(line, self.polled())),
            // Most empty polls check only the line, so that a waiting reader sees its fragment sooner.
            LineState::NotYet if self.ready && self.pacing.timing.count_quick_poll(self.next) => {
                Ok(Next::Nothing)
            }
            state => self.find_next_slow(state),
        }
    }

    /// Where this reader polls.
    #[inline(always)]
    pub(super) fn polled(&self) -> FoundIn {
        if self.pacing.is_in_hot_slot() { FoundIn::HotSlot } else { FoundIn::Ring }
    }

    #[inline(always)]
    fn state_in_ring(&mut self, line: &Line<'a>) -> LineState {
        self.leave_hot_slot();
        if self.pacing.timing.is_checkpoint_due(self.next) {
            self.at_checkpoint();
        }
        line.state(self.next)
    }

    /// Takes the fragment that [`Self::find_next`] has found.
    #[inline(always)]
    pub(crate) fn take(
        &mut self,
        line: Line<'a>,
        found_in: FoundIn,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        if found_in == FoundIn::Ring {
            return self.take_from_ring(&line, line.metadata(self.next));
        }
        let found = self.pacing.hot.copy(self.next, self.parts.mtu);
        self.take_found(line, found)
    }

    /// Takes the next fragment, of which the hot slot has this, and the rest is in its `line`.
    fn take_found(
        &mut self,
        line: Line<'a>,
        found: Option<Found>,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        match found {
            Some(Found::Whole(meta)) => Ok(Some(self.take_hot_copy(meta))),
            Some(Found::Metadata(meta)) => {
                self.pacing.timing.found_in_hot_slot();
                self.take_from_ring(&line, meta)
            }
            Some(Found::Elsewhere) => {
                self.found_announced();
                self.take_from_ring(&line, line.metadata(self.next))
            }
            // The next fragment has overwritten it in the hot slot.
            None => self.take_from_ring(&line, line.metadata(self.next)),
        }
    }

    /// Takes a fragment that the hot slot had whole. Its line in the ring still needs the credit, so it is
    /// returned as for any other fragment.
    #[inline(always)]
    fn take_hot_copy(&mut self, meta: FragmentMetadata) -> Fragment<'_> {
        let next = self.next.wrapping_add(1);
        let stays = self.pacing.timing.found_whole(self.next);
        self.consumed(next);
        if !stays {
            self.leave_hot_slot_now();
        }
        if self.mode.returns_credit_of_copy() {
            self.copied_up_to(next);
        }
        self.hot_copy(meta)
    }

    /// The fragment that was copied out of the hot slot. It is the one before `next`.
    #[inline(always)]
    fn hot_copy(&self, meta: FragmentMetadata) -> Fragment<'_> {
        let credit = self.mode.credit(self.next);
        Fragment { meta, payload: Payload::copied(self.pacing.hot.words(), meta.size, credit) }
    }

    /// Takes a fragment that is in the ring and has this metadata.
    #[inline(always)]
    fn take_from_ring(
        &mut self,
        line: &Line<'a>,
        meta: FragmentMetadata,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        let words = self.parts.payload(line, meta.place());
        if !self.mode.is_in_place() {
            return self.take_by_copy(meta, words);
        }
        let Some(words) = words else { return Err(self.unreadable()) };
        let next = self.next.wrapping_add(1);
        self.consumed(next);
        // The producer does not write these words before the payload returns the credit.
        Ok(Some(Fragment { meta, payload: Payload::lent(words, meta.size, self.mode.credit(next)) }))
    }

    /// Takes a fragment that the producer may overwrite meanwhile.
    #[inline(always)]
    fn take_by_copy(
        &mut self,
        meta: FragmentMetadata,
        words: Option<&'a [AtomicU64]>,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        let next = self.next.wrapping_add(1);
        let copied = match (words, self.mode.scratch()) {
            (Some(words), Some(scratch)) => scratch.fill(words),
            _ => false,
        };
        if !self.parts.is_valid(self.next) {
            return Err(self.overrun());
        }
        if !copied {
            return Err(self.unreadable());
        }
        self.consumed(next);
        if self.mode.returns_credit_of_copy() {
            self.copied_up_to(next);
        }
        // There is one: the payload was copied to it.
        let Some(scratch) = self.mode.scratch() else { return Ok(None) };
        Ok(Some(Fragment { meta, payload: Payload::copied(scratch.words(), meta.size, None) }))
    }

    /// Moves on to `next`: everything before it was read.
    #[inline]
    pub(super) fn consumed(&mut self, next: u64) {
        if let Some(metrics) = &self.metrics {
            metrics.fragments(next.wrapping_sub(self.next));
        }
        let count = next.wrapping_sub(self.next);
        self.unchecked = self.unchecked.saturating_sub(count.try_into().unwrap_or(u32::MAX));
        self.next = next;
    }

    /// A consumer that the producer waits for has copied everything before `next`, or will not read it. Returns the credits,
    /// and joins again if the consumer was evicted.
    pub(super) fn copied_up_to(&mut self, next: u64) {
        if let Some(seat) = self.mode.seat() {
            seat.release(next);
        }
        self.check_evicted();
    }
}
