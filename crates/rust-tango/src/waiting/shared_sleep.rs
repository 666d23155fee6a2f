//! [`SharedSleep`]: how one thread sleeps on a notifier in the place of several waiters.
//!
//! Each waiter has an [`Eventcount`] of its own, and announces its sleep there. One other thread, the
//! *sleeper*, then sleeps for all of them. A lock of the caller protects the waiters, the announcements and
//! this state. No thread holds it in W3 or W5, which are system calls (the steps W1 to W6 and N1 to N4 are
//! those of [`eventcount`](crate::waiting::eventcount)):
//!
//! ```text
//!   a waiter, on any thread                       the sleeper
//!   locked  S1  announce: W1, W2                  locked  S3  begin a round if N.count has changed since
//!           S2  join the waiters                              the last one. Each waiter that has news is
//!           W3                                                awake (W6) and leaves. Each other waiter
//!           W4  is there news? then locked:                   that announced at an earlier count
//!               leave the waiters, W6                         announces again: W1, W2
//!           wake the sleeper, unless it                   W3  if any did; then another round
//!           listens to N already                  locked  S4  all of them have announced at count c
//!                                                         W5  sleep as long as N.count is c
//! ```
//!
//! # Why no wakeup is lost
//!
//! Let the sleeper sleep in W5 with the count c, and take a waiter that is not awake.
//!
//! - *It had joined before S4.* Then it announced at c. After that came a W3 and a W4 for it: its own, or the
//!   sleeper's, whose next round checks all waiters. By the proof in `eventcount`, the notifier changes the
//!   count c after the next news, and wakes all that sleep on it.
//! - *It joined after S4.* The lock orders S1 after S4, so it announced at c or at a later count. At c, the
//!   first case holds. At a later count, the count is not c any more. So the sleeper does not fall asleep, or
//!   is woken by the notification that changed it, and begins a round.
//!
//! *A waiter that has joined may wait for something else*, under the lock, and keep its announcement. It then
//! repeats W4. Either it finds the news, or the notifier has not passed N3 for them when the last W3 for this
//! waiter was executed. In the second case the notifier sees the announcement. It notifies, or it has notified
//! for this value before. Then the count has changed since the announcement, so a round is due.
//!
//! *A single waiter may turn to another notifier*: it leaves, and joins at the new one. To the new notifier, this is the
//! sleep of a new waiter. The sleeper is woken, because it does not listen to that notifier yet. What the old notifier
//! still does wakes a sleeper that finds nothing.
//!
//! A waiter announces *again*, with a new value, because the notifier notifies only once for each value. That
//! one notification may have been for the news of another waiter.

use crate::waiting::eventcount::{Announced, Eventcount};

/// The sleep of one thread on one notifier. Only accessed under the caller's lock.
#[derive(Debug)]
pub(crate) struct SharedSleep<'a> {
    notifier: &'a Eventcount,
    /// The notifier's count in the last complete round.
    count: u32,
    /// The last round has to be repeated.
    again: bool,
    /// The sleeper listens to this notifier, or will before it sleeps next.
    listens: bool,
}

impl<'a> SharedSleep<'a> {
    pub(crate) fn new(notifier: &'a Eventcount) -> Self {
        Self { notifier, count: notifier.count(), again: false, listens: false }
    }

    pub(crate) fn notifier(&self) -> &'a Eventcount {
        self.notifier
    }

    /// A waiter announces its sleep and joins (S1, S2). True: the sleeper does not listen yet, so the caller
    /// has to wake it. The caller continues with W3 and W4, without the lock.
    pub(crate) fn join(&mut self, waiter: &Eventcount) -> (Announced, bool) {
        let announced = waiter.announce(self.notifier);
        (announced, !core::mem::replace(&mut self.listens, true))
    }

    /// From now on, the sleeper sleeps on this notifier. There is one waiter at most. True: it is another notifier than
    /// before, so the waiter has to leave (W6) and to join again.
    pub(crate) fn turn_to(&mut self, notifier: &'a Eventcount) -> bool {
        let is_another = !core::ptr::eq(self.notifier, notifier);
        if is_another {
            *self = Self::new(notifier);
        }
        is_another
    }

    /// Whether a round is due: the notifier has notified, or the last round was not complete.
    pub(crate) fn is_due(&self) -> bool {
        self.again || self.notifier.count() != self.count
    }

    /// Begins a round (S3). The caller then [checks](Round::check) each waiter.
    pub(crate) fn round(&self) -> Round {
        Round { count: self.notifier.count(), is_complete: true, announced: None }
    }

    /// Ends a round. `waits`: there was a waiter at its beginning. If there was none, the sleeper no longer
    /// listens. Returns what the caller has to [order](Announced::order) without the lock (W3), before the
    /// next round.
    pub(crate) fn end(&mut self, round: Round, waits: bool) -> Option<Announced> {
        self.count = round.count;
        self.again = !round.is_complete || round.announced.is_some();
        self.listens &= waits;
        round.announced
    }

    /// Whether the sleeper listens to this notifier, or will before it sleeps next.
    pub(crate) fn listens(&self) -> bool {
        self.listens
    }

    /// The count with which the sleeper sleeps now (S4). Only if no round is due.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

/// One pass over all waiters of a notifier.
#[derive(Debug)]
pub(crate) struct Round {
    /// The notifier's count at the beginning.
    count: u32,
    is_complete: bool,
    /// The waiters that have announced again.
    announced: Option<Announced>,
}

impl Round {
    /// Checks a waiter. True: it has news, and is awake now. Otherwise it sleeps on.
    pub(crate) fn check(
        &mut self,
        notifier: &Eventcount,
        waiter: &Eventcount,
        announced: &mut Announced,
        has_news: impl FnOnce() -> bool,
    ) -> bool {
        if has_news() {
            waiter.wake_up();
            return true;
        }
        if announced.count != self.count {
            *announced = waiter.announce(notifier);
            self.announced = Some(announced.together(self.announced));
        }
        false
    }

    /// Not all waiters were checked, so the round is repeated.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn break_off(&mut self) {
        self.is_complete = false;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_waiter_wakes_the_sleeper_and_listening_ends_when_nobody_waits() {
        let (notifier, waiter) = (Eventcount::new(), Eventcount::new());
        let mut sleep = SharedSleep::new(&notifier);
        assert!(!sleep.listens() && !sleep.is_due() && sleep.count() == 0);
        assert!(sleep.join(&waiter).1, "the sleeper does not listen yet");
        assert!(sleep.listens());
        assert!(!sleep.join(&waiter).1);
        assert!(sleep.end(sleep.round(), true).is_none());
        assert!(sleep.listens());
        assert!(sleep.end(sleep.round(), false).is_none());
        assert!(!sleep.listens());
        assert!(sleep.end(sleep.round(), true).is_none());
        assert!(!sleep.listens(), "a round alone does not make the sleeper listen");
        assert!(sleep.join(&waiter).1);
    }

    #[test]
    fn a_round_is_due_after_each_notification_and_again_while_it_is_not_complete() {
        let (notifier, waiter) = (Eventcount::new(), Eventcount::new());
        let mut sleep = SharedSleep::new(&notifier);
        for count in 1..4 {
            notifier.notify();
            assert!(sleep.is_due());
            let mut round = sleep.round();
            round.break_off();
            sleep.end(round, true);
            assert!(sleep.is_due() && sleep.count() == count);
            sleep.end(sleep.round(), true);
            assert!(!sleep.is_due() && sleep.count() == count);
        }
        // The notifier notifies during the round. The next announcement is at a count that the round did not
        // begin with, so another round has to check it.
        let mut announced = sleep.join(&waiter).0;
        notifier.notify();
        let mut round = sleep.round();
        assert!(!round.check(&notifier, &waiter, &mut announced, || false));
        assert!(sleep.end(round, true).is_some());
        assert!(sleep.is_due() && sleep.count() == 4);
    }

    #[test]
    fn a_waiter_without_news_announces_again_after_a_notification_and_only_then() {
        let (notifier, waiter) = (Eventcount::new(), Eventcount::new());
        let mut sleep = SharedSleep::new(&notifier);
        let mut announced = sleep.join(&waiter).0;
        let first = waiter.asleep();
        let mut round = sleep.round();
        assert!(!round.check(&notifier, &waiter, &mut announced, || false));
        assert!(sleep.end(round, true).is_none() && !sleep.is_due());
        assert_eq!(waiter.asleep(), first);
        notifier.notify();
        let mut round = sleep.round();
        assert!(!round.check(&notifier, &waiter, &mut announced, || false));
        assert!(waiter.asleep() != first && waiter.asleep() % 2 == 1);
        assert_eq!((announced.count, sleep.end(round, true).unwrap().count), (1, 1));
        assert!(sleep.is_due(), "what was announced has to be checked");
        let mut round = sleep.round();
        assert!(round.check(&notifier, &waiter, &mut announced, || true));
        assert_eq!(waiter.asleep() % 2, 0);
        assert!(sleep.end(round, false).is_none() && !sleep.is_due());
    }
}
