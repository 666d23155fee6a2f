//! What a consumer does when there is no fragment, or when something has to be reported before it. See
//! [`poll`](super::poll).

use super::poll::{Next, Reader};
use crate::error::TangoError;
use crate::memory::parts::Ending;
use crate::ring::line::LineState;
use crate::ring::metadata::Place;
use crate::waiting::kernel;

/// The slow path: there is no fragment, or something has to be reported before it.
impl<'a> Reader<'a> {
    #[cold]
    pub(super) fn find_next_slow(&mut self, state: LineState) -> Result<Next<'a>, TangoError> {
        if !self.ready {
            if !self.standing.has_joined() {
                if !self.parts.head.is_bound() {
                    self.count_slow_poll();
                    if self.producer.knows_of_death() {
                        return Err(self.told(TangoError::ProducerGone));
                    }
                    return Ok(if self.parts.is_stopped() { Next::Closed } else { Next::Nothing });
                }
                self.settle(true);
                return self.find_next();
            }
            // Check this after the line was read. The producer that published the fragment in it had then
            // already attached.
            self.check_replaced()?;
            if self.standing.has_missed() {
                return Err(self.report_missed());
            }
            self.ready = state == LineState::Ready;
            self.update_fast_path();
        }
        match self.plausible_state(state) {
            LineState::Overwritten => Err(self.overrun()),
            LineState::Ready => Ok(Next::Fragment(self.parts.ring.line(self.next), self.polled())),
            LineState::NotYet => {
                self.standing.caught_up(self.next, &self.mode);
                self.pacing.after_empty_poll(self.next, &self.parts, &self.mode);
                self.update_fast_path();
                self.count_slow_poll();
                self.check_evicted();
                if self.standing.has_missed() {
                    return Err(self.report_missed());
                }
                self.check_replaced()?;
                match self.producer.ending(&self.parts) {
                    None => Ok(Next::Nothing),
                    Some(ending) => self.recheck_after_end(ending),
                }
            }
        }
    }

    /// The link has ended. Checks the line once more, because everything that was published before the end
    /// is visible now.
    pub(super) fn recheck_after_end(&mut self, ending: Ending) -> Result<Next<'a>, TangoError> {
        let line = self.parts.ring.line(self.next);
        // The producer may have died before it mirrored its last fragment.
        self.leave_hot_slot();
        match (self.plausible_state(line.state(self.next)), ending) {
            (LineState::Ready, _) => self.find_next(),
            (LineState::Overwritten, _) => Err(self.overrun()),
            (LineState::NotYet, Ending::Closed) => {
                // A new producer may have attached, and closed the link, since that was last checked.
                self.check_replaced()?;
                Ok(Next::Closed)
            }
            (LineState::NotYet, Ending::Died) => {
                // Report the next producer before its first fragment.
                self.ready = false;
                self.update_fast_path();
                Err(self.told(TangoError::ProducerGone))
            }
        }
    }

    #[cold]
    pub(super) fn at_checkpoint(&mut self) {
        self.pacing.at_checkpoint(self.next, &self.parts, &self.mode);
        self.update_fast_path();
    }

    /// Polls the ring from now on.
    #[inline(always)]
    pub(super) fn leave_hot_slot(&mut self) {
        if self.pacing.is_in_hot_slot() {
            self.leave_hot_slot_now();
        }
    }

    #[cold]
    pub(super) fn leave_hot_slot_now(&mut self) {
        self.pacing.timing.leave_hot_slot(self.next);
        self.update_fast_path();
    }

    /// Polls the ring from now on. A reader that sleeps is woken for fragments in the ring only.
    #[cfg(feature = "std")]
    pub(super) fn leave_hot_slot_to_sleep(&mut self) {
        if self.pacing.is_in_hot_slot() {
            self.pacing.timing.leave_hot_slot_to_sleep(self.next);
            self.update_fast_path();
        }
    }

    #[cold]
    pub(super) fn found_announced(&mut self) {
        if self.pacing.timing.found_announced(self.next) {
            self.leave_hot_slot_now();
        }
    }

    /// See [`Losses::plausible_state`](super::losses::Losses::plausible_state).
    pub(super) fn plausible_state(&self, state: LineState) -> LineState {
        self.standing.losses().plausible_state(state, self.next, &self.parts)
    }

    /// Counts an empty poll that was not quick, and makes the checks that are due.
    fn count_slow_poll(&mut self) {
        let due = self.pacing.timing.count_slow_poll(kernel::milliseconds);
        if due.liveness {
            self.check_producer_lives();
        }
        if due.ring && self.parts.ring.line(self.next).state(self.next) != LineState::NotYet {
            self.leave_hot_slot_now();
        }
    }

    pub(crate) fn check_producer_lives(&mut self) {
        self.producer.check_producer_lives(&self.parts, &self.attachment);
    }

    /// Joins again if the producer may have stopped waiting for this reader.
    #[inline]
    pub(super) fn check_evicted(&mut self) {
        let next = self.standing.check_evicted(self.next, &self.parts, &self.mode);
        if next != self.next {
            self.move_to(next);
        }
        self.ready &= !self.standing.has_missed();
    }

    /// Settles in the ring, now that its lines are prepared: see [`Standing::settle`].
    pub(super) fn settle(&mut self, exact: bool) {
        let next = self.standing.settle(self.next, exact, &self.parts, &self.mode);
        self.move_to(next);
    }

    #[cold]
    fn report_missed(&mut self) -> TangoError {
        if let Some(metrics) = &self.metrics {
            metrics.event();
        }
        let error = self.standing.report_missed(self.next, &self.mode);
        self.told(error)
    }

    /// See [`ProducerWatch::check_replaced`](super::producer_watch::ProducerWatch::check_replaced).
    fn check_replaced(&mut self) -> Result<(), TangoError> {
        self.producer.check_replaced(&self.parts).map_err(|error| self.told(error))
    }

    /// The error, of which a subscriber is told.
    #[inline(always)]
    fn told(&mut self, error: TangoError) -> TangoError {
        #[cfg(feature = "tracing")]
        self.tell(error);
        error
    }

    /// The next fragment is gone. Continues after the gap.
    #[cold]
    pub(super) fn overrun(&mut self) -> TangoError {
        if let Some(metrics) = &self.metrics {
            metrics.event();
        }
        let (next, error) = self.standing.overrun(self.next, &self.parts, &self.mode);
        self.move_to(next);
        self.told(error)
    }

    /// The next fragment has a place that no payload can have. It is a placeholder, or corrupt.
    #[cold]
    pub(super) fn unreadable(&mut self) -> TangoError {
        match self.count_left_out() {
            // What was read of it may belong to a later fragment.
            0 if !self.mode.is_in_place() && !self.parts.is_valid(self.next) => self.overrun(),
            0 => self.corrupt(),
            count => self.left_out(count),
        }
    }

    /// How many numbers from the next one on the producer has left out, as far as it has come.
    ///
    /// Each line is read as any fragment is (R1 to R3 in [`line`](crate::ring::line)). So the run ends at the first number
    /// that is not published: the place in that line, which may be that of a placeholder of the last lap, is not read. A
    /// reader that copies also checks that the place belongs to this number, and not to one a lap later.
    fn count_left_out(&self) -> u64 {
        let is_left_out = |offset: &u64| {
            let n = self.next.wrapping_add(*offset);
            let line = self.parts.ring.line(n);
            line.state(n) == LineState::Ready
                && line.place() == Place::LEFT_OUT
                && (self.mode.is_in_place() || self.parts.is_valid(n))
        };
        // One lap at most. Otherwise a producer that leaves out numbers as fast as they are read here would keep the reader.
        (0..self.parts.ring.depth()).take_while(is_left_out).count() as u64
    }

    /// Skips the next `count` numbers, which the producer has left out.
    fn left_out(&mut self, count: u64) -> TangoError {
        if let Some(metrics) = &self.metrics {
            metrics.event();
        }
        let next = self.next.wrapping_add(count);
        self.move_to(next);
        self.copied_up_to(next);
        let error = self.standing.left_out(count, next, &self.mode);
        self.told(error)
    }

    /// Skips the next fragment, whose metadata is wrong.
    #[cold]
    fn corrupt(&mut self) -> TangoError {
        let seq = self.next;
        let next = seq.wrapping_add(1);
        self.move_to(next);
        self.copied_up_to(next);
        if let Some(seat) = self.mode.seat() {
            seat.slot().count_lost(1);
        }
        self.told(TangoError::Corrupt { seq })
    }
}

#[cfg(all(test, not(loom), feature = "std"))]
mod tests {
    use crate::sync::Relaxed;
    use crate::{Link, Start, TangoError};
    use core::time::Duration;

    /// A corrupt fragment returns its credit as any other that was copied: its reader learns that it was evicted.
    #[test]
    fn an_evicted_consumer_that_meets_a_corrupt_fragment_joins_again() {
        let link = Link::builder().depth(8).credits(4).mtu(64).consumers(1).start(1).build().unwrap();
        let tx = link.producer().unwrap().with_patience(Duration::ZERO);
        let mut rx = link.evictable_consumer(Start::Next).unwrap();
        (1..=4_u64).for_each(|n| tx.send(&n.to_ne_bytes()).unwrap());
        assert_eq!(rx.poll().unwrap().unwrap().meta.seq, 1);
        rx.reader().parts.ring.line(2).meta[2].store(u64::MAX, Relaxed);
        while link.status().evicted == 0 {
            let _ = tx.send(b"the credits run out");
        }
        assert_eq!(tx.consumers(), 0);
        assert_eq!(rx.poll().unwrap_err(), TangoError::Corrupt { seq: 2 });
        assert_eq!(tx.consumers(), 1, "it must count again");
    }
}
