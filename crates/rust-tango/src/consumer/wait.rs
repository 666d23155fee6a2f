//! Calls of the consumer that wait, and what it waits for.

#[cfg(any(feature = "std", loom))]
use super::losses::Losses;
#[cfg(all(feature = "async", target_os = "linux"))]
use super::mode::{Attachment, Question};
use super::payload::Fragment;
use super::poll::{Consumer, Next};
#[cfg(any(feature = "std", loom))]
use super::producer_watch::ProducerWatch;
use crate::error::TangoError;
#[cfg(feature = "std")]
use crate::memory::parts::Ending;
#[cfg(any(feature = "std", loom))]
use crate::memory::parts::Parts;
#[cfg(any(feature = "std", loom))]
use crate::ring::line::LineState;
use crate::ring::metadata::FragmentMetadata;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::waiting::eventcount::Eventcount;
use crate::waiting::wait::{Due, Wait, Waiting};

impl<'a> Consumer<'a> {
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

    /// The next fragment; waits until there is one, the link is closed, or the wait is over.
    fn wait_until_over(&mut self, mut waiting: Waiting) -> Result<Option<Fragment<'_>>, TangoError> {
        loop {
            match self.find_next()? {
                Next::Fragment(line, place) => return self.take(line, place),
                Next::Closed => return Ok(None),
                Next::Nothing if waiting.is_over() => return Ok(None),
                Next::Nothing => {}
            }
            match waiting.pause() {
                Due::Look | Due::Question => {}
                #[cfg(feature = "std")]
                Due::Sleep => {
                    // A sleeping consumer is woken for ring fragments only, so leave the hot slot first.
                    self.leave_hot_slot();
                    self.sleep(&mut waiting);
                }
            }
        }
    }

    /// Sleeps until there is news; at most for a slice.
    #[cfg(feature = "std")]
    fn sleep(&mut self, waiting: &mut Waiting) {
        let has_news = || self.watch().has_news();
        let slept = self.mode.seat().is_some_and(|seat| seat.sleep(waiting.longest_sleep(), has_news));
        let is_due = if slept { !self.watch().has_news() } else { waiting.nap() };
        if is_due {
            self.check_producer_lives();
        }
    }

    /// Waits until the link has a producer again, behind [`TangoError::ProducerGone`]. False if the link was
    /// closed or stopped, or `timeout` has passed, before that. Looks every ten milliseconds at the latest.
    #[cfg(feature = "std")]
    pub fn wait_for_producer(&mut self, timeout: Option<core::time::Duration>) -> bool {
        let mut waiting = Waiting::until(Wait::Park, timeout);
        loop {
            self.check_producer_lives();
            match self.producer.ending(&self.parts) {
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

    /// What this reader waits for once it has found nothing.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn watch(&self) -> Watch<'a> {
        Watch {
            parts: self.parts,
            next: self.next,
            joined: self.joined,
            losses: self.losses,
            producer: self.producer,
            #[cfg(all(feature = "async", target_os = "linux"))]
            eventcounts: self.mode.seat().map(crate::credits::seat::Seat::eventcounts),
        }
    }

    /// What another thread asks about the producer's life; `None`: it can only live.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn question(&self) -> Option<Question> {
        match &self.attachment {
            Attachment::Owned(claim) => claim.question(),
            Attachment::None | Attachment::Borrowed(_) => None,
        }
    }
}

/// What a reader that has found nothing waits for: a view of the link and of where the reader stands, which
/// another thread can have.
#[cfg(any(feature = "std", loom))]
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    parts: Parts<'a>,
    next: u64,
    joined: bool,
    losses: Losses,
    producer: ProducerWatch,
    /// The reader's and the producer's, if it has one.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) eventcounts: Option<(&'a Eventcount, &'a Eventcount)>,
}

#[cfg(any(feature = "std", loom))]
impl Watch<'_> {
    /// Whether the reader would find more than nothing. (Evictions can wait: an evicted reader finds out when it reads.)
    pub(crate) fn has_news(&self) -> bool {
        if !self.joined {
            return self.parts.head.is_bound() || self.parts.is_stopped();
        }
        let state = self.parts.ring.line(self.next).state(self.next);
        self.losses.plausible_state(state, self.next, &self.parts) != LineState::NotYet
            || self.producer.ending(&self.parts).is_some()
            || self.producer.is_replaced(&self.parts)
    }
}
