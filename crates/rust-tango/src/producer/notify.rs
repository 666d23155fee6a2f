//! What a publish does if a consumer has fallen asleep, or woken up, since the last one.

use super::publish::Producer;
#[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
use crate::waiting::direct::{self, NotifierId};

impl Producer<'_> {
    /// Sets whether calls that publish wake tasks of this process themselves. Default: true, as channels within one
    /// process do.
    ///
    /// It concerns an [`AsyncConsumer`](crate::AsyncConsumer) of this process that is no observer:
    ///
    /// - `true`: the call that publishes calls the waker of the task, or writes to the descriptor. The task is woken
    ///   without a detour, so sooner. Wakers are foreign code: the call takes as long as they do.
    /// - `false`: the call that publishes makes one system call at most, and the thread of the async readers calls the
    ///   wakers. No foreign code runs on the thread of the producer. This is for threads that must not be held up, such
    ///   as those of audio, and for publishing while the caller holds a lock that a waker takes.
    ///
    /// # Wakers
    ///
    /// - One call wakes 32 tasks at most. The thread wakes the others. It also wakes all of them if another thread just
    ///   then changes what it waits for: the producer waits for no lock.
    /// - Wakers are called last: the fragment is published, and all other sleeping readers are notified. A panic of a
    ///   waker is caught.
    /// - A waker may read, and may even publish by the same producer. What it publishes wakes tasks through the
    ///   thread. During [`send_message`](Self::send_message), its fragment comes in the middle of the message.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let tx = link.producer()?.with_direct_wake(false);
    /// tx.send(b"from a thread that calls no wakers")?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(all(feature = "async", target_os = "linux"))]
    #[must_use]
    pub fn with_direct_wake(mut self, direct: bool) -> Self {
        self.wakes_tasks = direct;
        self
    }

    /// Notifies the consumers that sleep, and wakes tasks. `asleep`: the sum of the sleep words is this now. The last
    /// step of a publish, because wakers are foreign code that may use this producer.
    #[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
    #[cold]
    pub(super) fn notify_sleepers(&self, asleep: u64) {
        // The steps are those of `waiting/direct`.
        let answered = if self.wakes_tasks { direct::answer(|| self.notifier_id()) } else { None };
        let credits = self.backpressure.credits();
        // Those that were answered are awake, so the words have changed.
        let asleep = if answered.is_some() { credits.asleep() } else { asleep };
        if credits.read_sleep(asleep) {
            self.parts.head.eventcount.notify();
        }
        if let Some(answered) = answered {
            answered.wake();
        }
    }

    #[cfg(not(any(all(feature = "async", target_os = "linux"), all(loom, test))))]
    #[cold]
    pub(super) fn notify_sleepers(&self, asleep: u64) {
        if self.backpressure.credits().read_sleep(asleep) {
            self.parts.head.eventcount.notify();
        }
    }

    #[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
    fn notifier_id(&self) -> NotifierId {
        #[cfg(not(loom))]
        if let Some(id) = self.claim.notifier() {
            return id;
        }
        NotifierId::of(&self.parts.head.eventcount)
    }
}
