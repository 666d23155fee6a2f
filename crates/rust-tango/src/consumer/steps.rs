//! The steps of reading: a look at the next line, what it may mean, and taking what is there.

use super::Consumer;
use crate::consumer::payload::{Fragment, Payload};
use crate::error::TangoError;
use crate::memory::parts::{Ending, Parts};
use crate::ring::hot_slot::Found;
use crate::ring::line::{Line, LineState};
use crate::ring::metadata::FragmentMetadata;
use crate::ring::seq;
use crate::sync::{AtomicU64, intact};
use crate::waiting::wait::{Due, Waiting};

/// What a look at the next line leads to.
pub(crate) enum Next<'a> {
    Fragment(Line<'a>),
    /// Not yet.
    Nothing,
    /// Nor will there be, unless another producer comes.
    Closed,
}

/// The steps of reading, shared with `batch`.
impl<'a> Consumer<'a> {
    /// The next fragment; waits until there is one, the link is closed, or the wait is over.
    pub(super) fn wait_until_over(
        &mut self,
        mut waiting: Waiting,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
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
    pub(super) fn plain(&self) -> Option<(Line<'a>, FragmentMetadata)> {
        let n = self.next;
        // Of who reads by copy, `plain_until` says no more than that it is not now: a producer that follows no rules may
        // send one half around, to where it would mean the opposite.
        if !seq::is_before(n, self.plain_until) || !self.mode.is_in_place() {
            return None;
        }
        let line = self.parts.ring.line(n);
        if line.state(n) != LineState::Ready {
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
    pub(super) fn take_plain(&mut self, line: Line<'a>, meta: FragmentMetadata) -> Fragment<'_> {
        let next = self.next.wrapping_add(1);
        self.next = next;
        // As in `take`.
        Fragment { meta, payload: Payload::lent(line.room, meta.size, self.mode.credit(next)) }
    }

    /// Something has changed that `plain` is about.
    pub(super) fn note_plain(&mut self) {
        let is_plain = self.ready && self.mode.is_in_place() && !self.pace.follows && self.metrics.is_none();
        self.plain_until = if is_plain { self.pace.gate() } else { self.next };
    }

    /// Looks for the next fragment.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Result<Next<'a>, TangoError> {
        let line = self.parts.ring.line(self.next);
        let found = if self.pace.follows {
            match self.shown.state(self.next) {
                // What is not the newest any more is in the ring.
                LineState::Overwritten => self.look_in_ring(&line),
                found => found,
            }
        } else {
            self.look_in_ring(&line)
        };
        match found {
            LineState::Ready if self.ready => Ok(Next::Fragment(line)),
            // Mostly looks at nothing but the line: who waits for it sees it the sooner.
            LineState::NotYet if self.ready && self.pace.is_quick_look(self.next) => Ok(Next::Nothing),
            found => self.find_next_slow(found),
        }
    }

    #[inline(always)]
    fn look_in_ring(&mut self, line: &Line<'a>) -> LineState {
        self.stop_following();
        if self.pace.is_at_gate(self.next) {
            self.at_gate();
        }
        line.state(self.next)
    }

    /// [`Self::look`], but one that finds nothing has asked for everything else: for who sleeps behind it.
    #[cfg(all(feature = "async", target_os = "linux"))]
    #[inline]
    pub(crate) fn look_closely(&mut self) -> Result<Next<'a>, TangoError> {
        self.stop_following();
        match self.look()? {
            Next::Nothing => self.find_next_slow(LineState::NotYet),
            found => Ok(found),
        }
    }

    /// There is no fragment, or there is something to be told before it.
    #[cold]
    fn find_next_slow(&mut self, found: LineState) -> Result<Next<'a>, TangoError> {
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
            self.ready = found == LineState::Ready;
            self.note_plain();
        }
        match self.believable(found) {
            LineState::Overwritten => Err(self.overrun()),
            LineState::Ready => Ok(Next::Fragment(self.parts.ring.line(self.next))),
            LineState::NotYet => {
                self.pace_idle_look();
                self.count_idle_look();
                self.ask_whether_evicted();
                if self.missed != 0 {
                    return Err(self.report_missed());
                }
                self.ask_whether_replaced()?;
                match self.ending() {
                    None => Ok(Next::Nothing),
                    Some(ending) => self.recheck_after_end(ending),
                }
            }
        }
    }

    pub(super) fn believable(&self, found: LineState) -> LineState {
        believable(found, self.streak, self.next, &self.parts)
    }

    pub(super) fn count_idle_look(&mut self) {
        if self.pace.count_idle_look() {
            self.ask_whether_producer_lives();
            self.look_behind_newest();
        }
    }

    /// The link has ended: looks once more, now that all that was published before its end is visible.
    fn recheck_after_end(&mut self, ending: Ending) -> Result<Next<'a>, TangoError> {
        let line = self.parts.ring.line(self.next);
        // A producer may have died before it showed its last fragment as the newest.
        self.stop_following();
        let found = if intact("consumer.recheck") { line.state(self.next) } else { LineState::NotYet };
        match (self.believable(found), ending) {
            (LineState::Ready, _) => self.look(),
            (LineState::Overwritten, _) => Err(self.overrun()),
            (LineState::NotYet, Ending::Closed) => {
                // It may have been closed by one who came since that was asked.
                self.ask_whether_replaced()?;
                Ok(Next::Closed)
            }
            (LineState::NotYet, Ending::Died) => {
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
        if !self.parts.is_valid(self.next) {
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
/// And a reader that has joined finds the ring unbound only in the memory of a forked child, where nothing is published.
pub(super) fn believable(found: LineState, streak: u32, n: u64, parts: &Parts<'_>) -> LineState {
    if found != LineState::Overwritten {
        return found;
    }
    let is_made_up = streak == super::life::ASTRAY
        || streak >= 2 && !seq::is_before(n, parts.extent().1)
        || parts.head.lifecycle.cnc.is_fresh();
    if is_made_up { LineState::NotYet } else { LineState::Overwritten }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;
    use crate::{Link, Start};

    /// One that follows no rules has put a fragment there, and sent the reader half around.
    #[test]
    fn who_reads_by_copy_is_lent_nothing_wherever_it_is_sent() {
        let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
        let _tx = link.producer().unwrap();
        for mut rx in [link.observer().unwrap(), link.evictable_consumer(Start::Next).unwrap()] {
            rx.next = rx.plain_until.wrapping_add((1 << 63) + 10);
            let line = rx.parts.ring.line(rx.next);
            rx.parts.head.oldest.store(rx.next, crate::sync::Relaxed);
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
        rx.parts.head.next.store(1, crate::sync::Relaxed);
        rx.parts.head.credit.floor.store((1 << 63) + 1, crate::sync::Relaxed);
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

    /// One that came, and closed it, between the two questions.
    #[test]
    #[cfg(feature = "std")]
    fn who_is_told_of_the_end_has_been_told_of_who_closed_it() {
        let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _tx = tx;
            std::panic::resume_unwind(std::boxed::Box::new(()));
        }));
        assert!(died.is_err());
        drop(link.producer().unwrap());
        let told = rx.recheck_after_end(Ending::Closed).map(|_| ()).unwrap_err();
        assert!(matches!(told, TangoError::ProducerReplaced { .. }), "{told}");
        assert!(matches!(rx.poll(), Ok(None)));
        assert!(rx.is_closed());
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
}
