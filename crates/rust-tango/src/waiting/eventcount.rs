//! [`Eventcount`]: how a notifier wakes a waiter that sleeps, without a system call or a fence for each
//! fragment.
//!
//! The producer and each consumer with a slot have one eventcount each, in their own memory:
//!
//! | word | meaning | read by |
//! |---|---|---|
//! | `asleep` | odd while the owner sleeps or is about to; only rises, with each sleep and after it | notifiers |
//! | `relies_on_kernel` | 1: the owner, as notifier, has no fence; its process is registered for the kernel's barrier. 0: it fences each time | waiters |
//! | `count` | changes when the owner has news for a waiter | waiters, which sleep on it |
//! | `is_private` | 1: only threads of one process use this memory, which makes sleeping and waking cheaper. Never changes | both |
//!
//! Each owner is a notifier in one role and a waiter in the other. A producer notifies of fragments and waits
//! for credits. A consumer notifies of credits and waits for fragments.
//!
//! No process can write another's memory. So a waiter sleeps on the `count` of the *notifier*, and announces
//! its sleep in its *own* `asleep`:
//!
//! ```text
//!   waiter W sleeps until notifier N has news        notifier N has news
//!   W1  c = N.count; then N.relies_on_kernel         N1  store the news: a fragment, a credit
//!   W2  W.asleep = odd                               N2  fence; nothing if N relies on the kernel
//!   W3  fence; and the kernel's barrier if N         N3  load W.asleep: is it odd, and is the value new to N?
//!       relies on it                                 N4  N.count += 1; wake all that sleep on N.count
//!   W4  is there news? then do not sleep
//!   W5  sleep as long as N.count is c
//!   W6  W.asleep = even
//! ```
//!
//! # Why no wakeup is lost
//!
//! The waiter stores `asleep` (W2), and then loads the news (W4). The notifier stores the news (N1), and then
//! loads `asleep` (N3). On each side a full fence lies between the store and the load:
//!
//! - The waiter's is the fence in W3.
//! - If the notifier fences, its fence is N2.
//! - If the notifier relies on the kernel, the barrier in W3 is a full fence of the notifier's thread at some
//!   point of that thread. If the point is before N1, then N3 sees W2. If it is after N1, then W4 sees the
//!   news.
//!
//! So W4 finds the news, or N3 sees that the waiter sleeps. In the second case:
//!
//! 1. N4 changes `count` after W1 has read it, because W2 is a Release store and N3 acquires it.
//! 2. So the waiter does not fall asleep in W5, or N4 wakes it.
//!
//! A waiter that another thread has made awake before N3 needs no N4. The notifier itself may be that thread, where the
//! waiter is a task of its process: see [`direct`](crate::waiting::direct).
//!
//! # Why not one system call for each fragment
//!
//! A producer adds the words of all its consumers up, and looks at each word only if the sum has changed. The words only
//! rise, so an unchanged sum means that none has changed.
//!
//! The notifier remembers the value of `asleep` for which it has last notified. Only a new sleep has a new
//! value. So many fragments that arrive while a waiter wakes up cost one system call.
//!
//! # Why not one fence for each fragment
//!
//! A fence in N2, after the stores of a publish, waits until all of them have reached the cache. On a
//! virtual machine with two x86-64 cores, a publish of 64 bytes took 23 ns with the kernel's barrier and 224
//! ns with fences. In batches of 32 it took 24 ns and 30 ns per fragment (`what_a_fence_costs` in
//! `tests/parking.rs`).
//!
//! # When the owner changes
//!
//! A new owner continues `asleep` with a new, even value. It stores its `relies_on_kernel`, and then notifies
//! once: a producer at the end of `attach`, a consumer when it has settled. So no waiter sleeps on under the
//! previous owner's rule. W1 reads `count` first, so a waiter that falls asleep after that notification knows
//! the new rule.
//!
//! # What is not guaranteed
//!
//! A dead owner notifies nobody. A thread that stops a link from outside cannot change `count`, so it may
//! miss a waiter that is just falling asleep. A sleep therefore ends after a [`SLICE`] at the latest, and the
//! waiter then checks whether the other side lives.
//!
//! A waiter whose process may not call the kernel's barrier (a system call filter forbids it) has only its own
//! fence in W3. Beside a notifier that relies on the kernel, that is not enough: while W2 and the news are both on
//! their way between the cores, W4 may miss the news and N3 the sleep. This is rare, and a fragment that comes later
//! still wakes the waiter. So such a waiter sleeps, but only for an [`UNSURE_SLICE`] at a time.

#[cfg(any(feature = "std", loom))]
use core::time::Duration;

use crate::sync::{
    Acquire, AtomicU32, AtomicU64, Own, Relaxed, Release, SeqCst, compiler_fence, fence, ordering,
};
use crate::waiting::kernel::{self, Reach};

/// The longest sleep before a waiter checks whether the other side lives.
///
/// With `--cfg long_slice` it is so long that a test fails if a waiter is not woken. `.ci/run` runs the tests
/// of waiting in both ways.
#[cfg(any(feature = "std", loom))]
pub(crate) const SLICE: Duration = Duration::from_millis(if cfg!(long_slice) { 600_000 } else { 50 });

/// The longest sleep of a waiter that may miss a wakeup, because the kernel's barrier failed.
#[cfg(any(feature = "std", loom))]
const UNSURE_SLICE: Duration = Duration::from_millis(10);

/// The words with which their owner sleeps and wakes waiters: see the head of this file. Only the owner
/// writes them. Zeroed memory is an owner that is awake and fences each time, in memory that processes may share.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Eventcount {
    asleep: AtomicU64,
    relies_on_kernel: AtomicU64,
    count: AtomicU32,
    is_private: AtomicU32,
}

impl Eventcount {
    pub(crate) const fn new() -> Self {
        Self {
            asleep: AtomicU64::new(0),
            relies_on_kernel: AtomicU64::new(0),
            count: AtomicU32::new(0),
            is_private: AtomicU32::new(0),
        }
    }

    /// Only threads of this process will use this memory. To be called before any other thread does.
    #[cfg(feature = "alloc")]
    pub(crate) fn set_private(&self) {
        self.is_private.store(1, Relaxed);
    }

    /// Which threads use this memory.
    fn reach(&self) -> Reach {
        // Not a question for models, which know no processes.
        if cfg!(loom) || self.is_private.load(Relaxed) == 0 { Reach::AnyProcess } else { Reach::ThisProcess }
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        self.is_private.touch();
        self.asleep.touch();
        self.relies_on_kernel.touch();
        self.count.touch();
    }

    /// A new owner takes over. It is awake, and orders its news by `barrier` from now on.
    pub(crate) fn take_over(&self, barrier: Barrier) {
        self.relies_on_kernel.store(u64::from(barrier == Barrier::Kernel), Relaxed);
        let asleep = self.asleep.own();
        // A new value, also if the previous owner died asleep: notifiers do not notify twice for one value.
        let awake = (asleep | 1).wrapping_add(1);
        self.asleep.store(awake, ordering("eventcount.take_over_order", Release));
    }

    /// W2 by an owner that dies in its sleep.
    #[cfg(all(test, any(loom, feature = "alloc")))]
    pub(crate) fn fall_asleep(&self) {
        self.asleep.store(self.asleep.own() | 1, Release);
    }

    /// The owner's sleep word. Notifiers compare it with the value that they last saw.
    #[inline]
    pub(crate) fn asleep(&self) -> u64 {
        self.asleep.load(Relaxed)
    }

    /// Wakes all waiters that sleep on this eventcount (N4). Owner only.
    pub(crate) fn notify(&self) {
        self.advance();
        kernel::wake(&self.count, self.reach());
    }

    /// Changes the count, the first half of [`notify`](Self::notify): no waiter falls asleep on the old one.
    pub(crate) fn advance(&self) {
        // Release: a waiter that sees the new count also sees the news, and `relies_on_kernel`. Pairs with
        // the acquire fence in `announce`.
        self.count.store(self.count.own().wrapping_add(1), ordering("eventcount.notify", Release));
    }

    /// Wakes all waiters that sleep on this eventcount, for callers that may not write its words. It may miss
    /// a waiter that is just falling asleep. That one wakes after a [`SLICE`].
    #[cfg(feature = "alloc")]
    pub(crate) fn wake_all(&self) {
        kernel::wake(&self.count, self.reach());
    }

    /// Whether the owner sleeps, so the notifier has to notify (N3). Stores the owner's sleep word in `seen`.
    ///
    /// The notifier calls this after [`Barrier::before_check`], and only if [`Self::asleep`] differs from
    /// the value that it has seen before.
    #[cold]
    pub(crate) fn needs_notify(&self, seen: &mut u64) -> bool {
        *seen = self.asleep.load(Relaxed);
        // Pairs with the Release store of `asleep` in `announce`: the count that the waiter has read is older
        // than the one that the notifier stores next.
        fence(ordering("eventcount.needs_notify", Acquire));
        *seen % 2 == 1
    }

    /// Announces that the owner sleeps until `notifier` notifies (W1 and W2). Each announcement has a value of
    /// its own. The owner still has to [order](Announced::order) it, and then to check for news (W3 and W4).
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn announce(&self, notifier: &Self) -> Announced {
        let count = notifier.count.load(Relaxed);
        // Pairs with the Release store in `advance`.
        fence(ordering("eventcount.count_read", Acquire));
        let relies_on_kernel = notifier.relies_on_kernel.load(Relaxed) != 0;
        let asleep = self.asleep.own().wrapping_add(1) | 1;
        // Release: pairs with the acquire fence in `needs_notify`.
        self.asleep.store(asleep, ordering("eventcount.asleep", Release));
        Announced { count, relies_on_kernel }
    }

    /// The owner is awake (W6). The next announcement has a new value, so notifiers notify for it again.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn wake_up(&self) {
        self.asleep.store((self.asleep.own() | 1).wrapping_add(1), Relaxed);
    }

    /// What [`advance`](Self::advance) changes. Orders nothing.
    #[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// Sleeps as long as the count is `count`, and for `longest` at most (W5). May wake early for no reason.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn sleep_while(&self, count: u32, longest: Duration) {
        kernel::sleep(&self.count, count, longest, self.reach());
    }

    /// [`sleep_while`](Self::sleep_while) on several eventcounts at once: sleeps as long as each has its count.
    /// At most [`MOST_AT_ONCE`](kernel::MOST_AT_ONCE). False: it did not sleep, because the kernel refused.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn sleep_while_all<'e>(
        all: impl Iterator<Item = (&'e Self, u32)>,
        longest: Option<Duration>,
    ) -> bool {
        kernel::sleep_on_all(all.map(|(each, count)| (&each.count, count, each.reach())), longest)
    }

    /// Sleeps until `notifier` notifies, or `longest` or a [`SLICE`] has passed (an [`UNSURE_SLICE`] if the
    /// kernel's barrier failed), unless `has_news` returns true (W1 to W6). May wake early for no reason.
    ///
    /// False: it did not sleep, because this system cannot.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn sleep_on(
        &self,
        notifier: &Self,
        longest: Duration,
        has_news: impl FnOnce() -> bool,
    ) -> bool {
        let announced = self.announce(notifier);
        let slice = if announced.order() { SLICE } else { UNSURE_SLICE };
        if kernel::CAN_SLEEP && !has_news() {
            notifier.sleep_while(announced.count, longest.min(slice));
        }
        self.wake_up();
        kernel::CAN_SLEEP
    }
}

/// A sleep that its owner has announced, and what the owner has read of the notifier before (W1).
#[cfg(any(feature = "std", loom))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced {
    /// The notifier's count. The owner may sleep as long as it does not change.
    pub(crate) count: u32,
    relies_on_kernel: bool,
}

#[cfg(any(feature = "std", loom))]
impl Announced {
    /// W3: between the announcement and the check for news. False: the kernel's barrier failed, so a wakeup
    /// could be lost.
    pub(crate) fn order(self) -> bool {
        // Pairs with `Barrier::before_check`.
        fence(ordering("eventcount.sleep", SeqCst));
        !self.relies_on_kernel || kernel::barrier()
    }

    /// This announcement, so that to order it orders `others`, too.
    #[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
    pub(crate) fn together(self, others: Option<Self>) -> Self {
        let relies_on_kernel = self.relies_on_kernel || others.is_some_and(|others| others.relies_on_kernel);
        Self { relies_on_kernel, ..self }
    }
}

/// How a notifier orders its news before it checks for sleeping waiters (N2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// By a fence of its own, each time.
    Fence,
    /// By the kernel's barrier, which a waiter calls before it sleeps.
    Kernel,
}

impl Barrier {
    /// The better of the two that this process can use: [`Self::Kernel`] if the kernel offers it.
    pub(crate) fn of_this_process() -> Self {
        if kernel::register() { Self::Kernel } else { Self::Fence }
    }

    /// Whether [`Self::before_check`] executes a fence. It does nothing otherwise.
    pub(crate) fn fences(self) -> bool {
        kernel::CAN_SLEEP && self == Self::Fence
    }

    /// N2: between the store of the news (N1) and the check for sleeping waiters (N3).
    #[inline(always)]
    pub(crate) fn before_check(self) {
        if !kernel::CAN_SLEEP {
            return;
        }
        // Both pair with the fence and the kernel's barrier in `Announced::order`.
        match self {
            Self::Fence => fence(ordering("eventcount.before_check", SeqCst)),
            Self::Kernel => compiler_fence(SeqCst),
        }
    }
}

#[cfg(all(test, not(loom), feature = "shm", target_os = "linux"))]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_new_owner_is_awake_under_a_new_value_and_by_its_own_rule() {
        for (barrier, relies_on_kernel) in [(Barrier::Kernel, true), (Barrier::Fence, false)] {
            let (own, other) = (Eventcount::new(), Eventcount::new());
            for asleep in [0, 1, 2, 7, u64::MAX - 1, u64::MAX] {
                own.asleep.store(asleep, Relaxed);
                own.take_over(barrier);
                assert!(own.asleep() % 2 == 0 && own.asleep() != asleep, "{asleep} to {}", own.asleep());
                assert_eq!(other.announce(&own).relies_on_kernel, relies_on_kernel);
            }
        }
    }

    #[test]
    fn each_announcement_has_a_value_of_its_own_and_the_count_of_its_notifier() {
        let (own, other) = (Eventcount::new(), Eventcount::new());
        let mut seen = own.asleep();
        for round in 0..4 {
            assert_eq!(own.announce(&other).count, round);
            assert!(own.asleep() % 2 == 1 && own.asleep() > seen);
            let before = seen;
            assert!(own.needs_notify(&mut seen));
            assert!(seen == own.asleep() && seen != before);
            own.wake_up();
            assert!(!own.needs_notify(&mut seen));
            assert_eq!(seen, own.asleep());
            other.notify();
        }
    }

    #[test]
    #[cfg(feature = "async")]
    fn one_that_relies_on_the_kernel_is_enough_to_call_its_barrier() {
        let announced = |relies_on_kernel| Announced { count: 3, relies_on_kernel };
        for (one, others, together) in [
            (false, None, false),
            (true, None, true),
            (false, Some(announced(false)), false),
            (false, Some(announced(true)), true),
            (true, Some(announced(false)), true),
        ] {
            let announced = announced(one).together(others);
            assert_eq!((announced.count, announced.relies_on_kernel), (3, together));
        }
    }

    #[test]
    fn a_waiter_that_finds_news_does_not_sleep() {
        let (own, other) = (Eventcount::new(), Eventcount::new());
        let (mut checked, begin) = (0, Instant::now());
        // Many times, because one sleep by mistake may be short.
        for _ in 0..1000 {
            own.sleep_on(&other, Duration::MAX, || {
                checked += 1;
                true
            });
        }
        let slept = begin.elapsed();
        assert!(checked == 1000 && slept < SLICE * 100, "{checked} checks, {slept:?}");
    }

    /// Even if `longest` is unbounded and nobody notifies, so that the waiter can check whether the other
    /// side lives. (The bound is far above a slice, because a machine may be busy, and far below a sleep
    /// without slices.)
    #[test]
    #[cfg(not(long_slice))]
    fn a_sleep_ends_after_a_slice() {
        let (own, other) = (Eventcount::new(), Eventcount::new());
        own.take_over(Barrier::of_this_process());
        other.take_over(Barrier::of_this_process());
        let begin = Instant::now();
        for _ in 0..3 {
            assert!(own.sleep_on(&other, Duration::MAX, || false));
            assert_eq!(own.asleep() % 2, 0);
        }
        let slept = begin.elapsed();
        assert!(SLICE == Duration::from_millis(50) && slept < Duration::from_secs(10), "{slept:?}");
    }
}
