//! [`CreditWatch`]: what a producer waits for without credits, for a thread that waits in the producer's place.

use super::publish::Producer;
use crate::credits::hold::Hold;
use crate::error::TangoError;
use crate::memory::parts::Parts;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::memory::share::LinkMemory;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::sync::Arc;
use crate::waiting::eventcount::{Eventcount, SLICE};
use std::time::Instant;

/// What a producer waits for: that a consumer no longer holds it back, or a time. Another thread can have it. It only
/// loads, so the producer itself has to refresh its credits afterwards.
#[derive(Clone, Copy)]
pub(crate) struct CreditWatch<'a> {
    parts: Parts<'a>,
    /// `None`: the producer waits for the time only.
    hold: Option<Hold<'a>>,
    /// When the producer has to look in any case. `None`: an evictable consumer is evicted then, and this one is not
    /// evictable.
    due: Option<Instant>,
}

impl<'a> Producer<'a> {
    /// Obtains a credit for a payload of `size` bytes, as a call that publishes it does. It stays until then.
    ///
    /// # Errors
    ///
    /// As [`Producer::publish`].
    pub(crate) fn obtain_credit(&self, size: usize) -> Result<(), TangoError> {
        self.check_stopped()?;
        if size > self.parts.mtu {
            return Err(TangoError::TooLarge { size, max: self.parts.mtu });
        }
        let n = self.next.get();
        let (_, victim) = self.place(n, size);
        if self.backpressure.credits().allow(n, victim) { Ok(()) } else { self.await_credit(n, victim) }
    }

    /// What this producer waits for after it has found no credit for a payload of `size` bytes. `None`: there may be
    /// one by now.
    pub(crate) fn credit_watch(&self, size: usize) -> Option<CreditWatch<'a>> {
        let (n, credits) = (self.next.get(), self.backpressure.credits());
        let (_, victim) = self.place(n, size);
        let hold = credits.hold(n, victim);
        // Another consumer may be the slowest now, or the slot may have another owner, which the hold then shows.
        if self.has_credit(size) || credits.held_by() != hold.map(|hold| hold.slot()) {
            return None;
        }
        let longest = if hold.is_none() { Some(SLICE) } else { self.backpressure.patience_left(n) };
        let due = longest.and_then(|longest| Instant::now().checked_add(longest));
        Some(CreditWatch { parts: self.parts, hold, due })
    }

    /// Waits for nothing but a time, or for the end of the link.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn watch_until(&self, due: Option<Instant>) -> CreditWatch<'a> {
        CreditWatch { parts: self.parts, hold: None, due }
    }

    /// The memory of the link, for a thread that waits in the producer's place. `None`: it is static.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn memory(&self) -> Option<Arc<dyn LinkMemory>> {
        self.claim.memory()
    }
}

impl<'a> CreditWatch<'a> {
    /// The eventcount in which the producer announces its sleep.
    pub(crate) fn own(&self) -> &'a Eventcount {
        &self.parts.head.eventcount
    }

    /// The consumer that the producer waits for.
    pub(crate) fn hold(&self) -> Option<Hold<'a>> {
        self.hold
    }

    /// When the producer has to look in any case.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the link was stopped. A stop wakes sleepers, but does not change the notifier's count.
    pub(crate) fn is_stopped(&self) -> bool {
        self.parts.is_stopped()
    }

    /// Whether the producer has to look again.
    pub(crate) fn has_news(&self) -> bool {
        self.hold.is_some_and(|hold| hold.is_over())
            || self.is_stopped()
            || self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Words of the link of which one changes before [`has_news`](Self::has_news), except by time.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn signs(&self) -> [u64; 5] {
        let [state, next] = self.hold.map_or([0; 2], |hold| hold.signs());
        [state, next, u64::from(self.is_stopped()), 0, 0]
    }
}
