//! [`Eventcount`]: how one party of a link wakes another that sleeps, without a system call or a fence for each
//! fragment.
//!
//! Each party that can sleep, the producer and each consumer with a slot, has a bell in memory of its own:
//!
//! ```text
//!   asleep   odd while it sleeps, or is about to; changes with each sleep      read by those who wake
//!   relies   1: it does not fence, its process is registered for the           read by those who sleep
//!            kernel's barrier; 0: it fences each time
//!   strokes  changes when it has news for sleepers                             slept on by those who wait
//! ```
//!
//! Who waits for news from a party sleeps on *that party's* `count`, because nobody can write another's
//! memory, and says so in its *own* `asleep`:
//!
//! ```text
//!   to sleep (waits for P)                           to bring news (P)
//!   W1  s = P.strokes; then P.relies                 N1  the news: a fragment, a credit
//!   W2  own.asleep = odd                             N2  fence, or nothing if P relies
//!   W3  fence; and the kernel's barrier if P relies  N3  the other's asleep: odd, and not seen before?
//!   W4  is there news? then do not sleep             N4  P.strokes += 1; wake those who sleep on it
//!   W5  sleep while P.strokes is s
//!   W6  own.asleep = even
//! ```
//!
//! *Why no wakeup is lost.* W2, W3, W4 and N1, N2, N3 are stores and loads crosswise with a full fence
//! between them on both sides (where P relies on it, the kernel's barrier in W3 is a full fence of P's
//! thread at some point: either before N1's store, and then N3 sees W2, or after it, and then W4 sees the
//! news). So W4 finds the news, or N3 finds the sleeper. In the second case N4 changes `count` after W1
//! read it (W2 is a Release store that N3 acquires), so W5 does not fall asleep, or is woken.
//!
//! *Why not one system call for each fragment.* Who brings news remembers the value of `asleep` for which
//! it has rung. Only a new sleep has a new value, so many fragments while a sleeper gets up cost one call.
//!
//! *Why not a fence for each fragment.* Behind the stores of a publish, N2 waits until they are all in the cache. On
//! a virtual machine of two x86-64 cores, a publish of 64 bytes took 23 ns by the kernel's barrier and 224 ns by
//! fences; in batches of 32, 24 ns and 30 ns a fragment (`what_a_fence_costs` in `tests/parking.rs`).
//!
//! *When parties change.* A new owner of the memory keeps `asleep` going (an even, new value), and rings once after it has
//! stored `relies_on_kernel` (a producer at the end of `attach`, a consumer when it has settled), so that nobody sleeps on under the
//! rule of the old one: W1 reads `count` first, hence who slept since then knows the new rule.
//!
//! Nobody rings for the dead, nor for who stops a link from outside: a sleep therefore lasts a [`SLICE`] at
//! most, and then the sleeper looks at the locks.

#[cfg(any(feature = "std", loom))]
use core::time::Duration;

use crate::sync::{
    Acquire, AtomicU32, AtomicU64, Own, Relaxed, Release, SeqCst, compiler_fence, fence, intact, ordering,
};
use crate::waiting::kernel;

/// The longest sleep without a look at who lives. (With `--cfg long_slice`, so long that a test fails in which somebody
/// was not woken. `.ci/run` runs those of waiting so, too.)
#[cfg(any(feature = "std", loom))]
pub(crate) const SLICE: Duration = Duration::from_millis(if cfg!(long_slice) { 600_000 } else { 50 });

/// Words by which a party sleeps and wakes others: see the module. All written by that party alone. All
/// zero: awake, and fences each time.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Eventcount {
    asleep: AtomicU64,
    relies_on_kernel: AtomicU64,
    count: AtomicU32,
    /// Fills it, so that it has no byte that is not in a cell: see [`Padded`](crate::sync::Padded).
    _rest: AtomicU32,
}

impl Eventcount {
    pub(crate) const fn new() -> Self {
        Self {
            asleep: AtomicU64::new(0),
            relies_on_kernel: AtomicU64::new(0),
            count: AtomicU32::new(0),
            _rest: AtomicU32::new(0),
        }
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        self.asleep.touch();
        self.relies_on_kernel.touch();
        self.count.touch();
    }

    /// A new owner takes over: awake, and fencing by `order` from now on.
    pub(crate) fn take_over(&self, order: Barrier) {
        self.relies_on_kernel.store(u64::from(order == Barrier::Kernel), Relaxed);
        let asleep = self.asleep.own();
        // Also where the owner before died asleep: what has been rung for once is not rung for again.
        let awake = if intact("eventcount.take_over") { (asleep | 1).wrapping_add(1) } else { asleep & !1 };
        self.asleep.store(awake, ordering("eventcount.take_over_order", Release));
    }

    /// W2, by an owner that is never heard of again.
    #[cfg(all(loom, test))]
    pub(crate) fn fall_asleep(&self) {
        self.asleep.store(self.asleep.own() | 1, Release);
    }

    /// What the owner says about its sleep: compare with the value seen before.
    #[inline]
    pub(crate) fn asleep(&self) -> u64 {
        self.asleep.load(Relaxed)
    }

    /// Rings: all that sleep on this bell wake up (N4).
    pub(crate) fn notify(&self) {
        // Release: who sees the new count sees the news, and `relies_on_kernel`.
        let stroke = u32::from(intact("eventcount.count"));
        self.count.store(self.count.own().wrapping_add(stroke), ordering("eventcount.notify", Release));
        kernel::wake(&self.count);
    }

    /// Wakes those who sleep on this bell, on behalf of somebody who may not write it. One that is just
    /// falling asleep may be missed: it wakes by itself after a [`SLICE`].
    #[cfg(feature = "alloc")]
    pub(crate) fn wake_all(&self) {
        kernel::wake(&self.count);
    }

    /// Whether the owner has fallen asleep since `seen` was noted, so that it has to be rung for; notes it.
    /// Who brings news asks this behind [`Barrier::before_check`] (N3).
    #[cold]
    pub(crate) fn needs_notify(&self, seen: &mut u64) -> bool {
        *seen = self.asleep.load(Relaxed);
        // Pairs with the Release store in `sleep_on`: the strokes that the sleeper has noted are older
        // than those that follow.
        fence(ordering("eventcount.needs_notify", Acquire));
        *seen % 2 == 1
    }

    /// Sleeps until `other` rings, or `longest` has passed, unless `news` is true already (W1 to W6).
    /// False: it cannot be done without the danger that nobody rings.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn sleep_on(&self, other: &Self, longest: Duration, news: impl FnOnce() -> bool) -> bool {
        let count = other.count.load(Relaxed);
        // Pairs with the Release store in `ring`.
        fence(ordering("eventcount.count_read", Acquire));
        let relies_on_kernel = other.relies_on_kernel.load(Relaxed) != 0;
        let asleep = self.asleep.own() | 1;
        // Release: pairs with the fence in `needs_notify`.
        self.asleep.store(asleep, ordering("eventcount.asleep", Release));
        // Pairs with `Barrier::before_check`.
        fence(ordering("eventcount.sleep", SeqCst));
        let ordered = kernel::CAN_SLEEP && (!relies_on_kernel || kernel::barrier());
        if ordered && !(intact("eventcount.news") && news()) {
            kernel::sleep(&other.count, count, longest.min(SLICE));
        }
        // W6: the next sleep has another number, so that it is rung for.
        self.asleep.store(asleep.wrapping_add(u64::from(intact("eventcount.awake"))), Relaxed);
        ordered
    }
}

/// How a party orders its news before its look at who sleeps (N2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// By a fence of its own, each time.
    Fence,
    /// By the barrier of who goes to sleep.
    Kernel,
}

impl Barrier {
    /// What this process can do.
    pub(crate) fn of_this_process() -> Self {
        if kernel::register() { Self::Kernel } else { Self::Fence }
    }

    /// Between the store of the news and the look at who sleeps.
    #[inline]
    pub(crate) fn before_check(self) {
        if !kernel::CAN_SLEEP {
            return;
        }
        // Both pair with the fence and the barrier in `Eventcount::sleep_on`.
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

    /// However long it may be, and though nobody rings: it looks at the locks in between. (The bound is far from what is
    /// promised, because a machine may be busy, and farther from what a slice that is forgotten would take.)
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
