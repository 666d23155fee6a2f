//! The kernel calls that waiting needs: sleep on a word, wake the sleepers of a word, fence other threads, and
//! a cheap clock.
//!
//! - [`sleep`] and [`wake`] are a futex (`futex(2)`). The kernel compares the word and puts the thread to
//!   sleep in one step. A futex is identified by the memory and not by its address, so it works between
//!   processes and on read-only mappings. In memory of one process, the address is enough ([`Reach`]).
//! - [`barrier`] is `membarrier(2)`. Before it returns, every running thread of every process that called
//!   [`register`] has executed a full fence. So the side that acts often needs no fence: the side that acts
//!   rarely fences for both.
//! - [`milliseconds`] is the kernel's coarse clock. Reading it takes some nanoseconds and no system call.
//! - [`sleep_on_all`] is `futex_waitv(2)`: the same sleep on up to [`MOST_AT_ONCE`] words at once. Linux has it
//!   since 5.16; [`can_sleep_on_all`] says whether this kernel does.
//!
//! On systems other than Linux, and without the feature `shm`, none of this exists. A waiter then naps: it
//! sleeps for a fixed time and checks again. The clock stands still.
#![allow(unsafe_code)]

/// Whether a waiter can sleep until a notifier wakes it.
pub(crate) const CAN_SLEEP: bool = cfg!(any(loom, all(feature = "shm", target_os = "linux")));

/// Which threads sleep on a word and wake its sleepers. It has to be the same for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those of all processes that map the word.
    AnyProcess,
    /// Those of this process. The kernel need not find out which memory is behind the address, so a thread was awake
    /// 0.25 us sooner on an AMD EPYC (Zen 4) whose idle cores poll, of 4.5 us.
    ThisProcess,
}

#[cfg(all(feature = "shm", target_os = "linux", not(loom)))]
pub(crate) use linux::{barrier, milliseconds, register, sleep, wake};

#[cfg(all(feature = "async", target_os = "linux", not(loom)))]
pub(crate) use linux::{MOST_AT_ONCE, can_sleep_on_all, sleep_on_all};

#[cfg(loom)]
pub(crate) use crate::sync::kernel::{barrier, register};
#[cfg(loom)]
pub(crate) use modelled::{sleep, wake};

#[cfg(all(feature = "std", not(any(loom, all(feature = "shm", target_os = "linux")))))]
pub(crate) use nothing::{barrier, sleep};
#[cfg(not(any(loom, all(feature = "shm", target_os = "linux"))))]
pub(crate) use nothing::{register, wake};

/// There is no clock.
#[cfg(not(all(feature = "shm", target_os = "linux", not(loom))))]
pub(crate) fn milliseconds() -> u64 {
    0
}

#[cfg(all(feature = "shm", target_os = "linux", not(loom)))]
mod linux {
    use core::time::Duration;

    #[cfg(feature = "async")]
    use nix::errno::Errno;
    use nix::libc;

    use crate::sync::{AtomicU32, Relaxed, StaticU64};
    use crate::waiting::kernel::Reach;

    impl Reach {
        /// For both families of calls, `futex` and `futex_waitv`.
        fn flag(self) -> libc::c_int {
            match self {
                Self::AnyProcess => 0,
                Self::ThisProcess => libc::FUTEX_PRIVATE_FLAG,
            }
        }
    }

    /// Sleeps until a [`wake`] on the same word, or until `longest` (at most an hour) has passed. Returns at
    /// once if `word` is not `expected`. May return early for no reason.
    pub(crate) fn sleep(word: &AtomicU32, expected: u32, longest: Duration, reach: Reach) {
        let operation = libc::FUTEX_WAIT | reach.flag();
        let longest = libc::timespec {
            tv_sec: longest.as_secs().min(3600) as _,
            tv_nsec: longest.subsec_nanos().into(),
        };
        // SAFETY: the word is valid for the whole call. The kernel only reads it, in one aligned 32-bit
        // access. The time is valid and only read. The result is ignored, because the caller checks again in
        // any case.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, &raw const longest);
        }
    }

    /// Wakes all threads that sleep on `word`.
    pub(crate) fn wake(word: &AtomicU32, reach: Reach) {
        let operation = libc::FUTEX_WAKE | reach.flag();
        // SAFETY: the kernel uses the address only to find the futex. It does not access the word.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, i32::MAX) };
    }

    /// On how many words a thread can sleep at once.
    #[cfg(feature = "async")]
    pub(crate) const MOST_AT_ONCE: usize = 128;

    /// `struct futex_waitv` of the kernel.
    #[cfg(feature = "async")]
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct WaitOn {
        expected: u64,
        word: u64,
        flags: u32,
        reserved: u32,
    }

    /// Sleeps until a [`wake`] on one of the words, or until `longest` has passed (`None`: without a limit).
    /// Returns at once if a word is not what is expected of it. May return early for no reason.
    ///
    /// False: the kernel refused. Takes the first [`MOST_AT_ONCE`] words.
    #[cfg(feature = "async")]
    pub(crate) fn sleep_on_all<'w>(
        words: impl Iterator<Item = (&'w AtomicU32, u32, Reach)>,
        longest: Option<Duration>,
    ) -> bool {
        // The word has 32 bits.
        const SIZE: u32 = 2;
        let mut list = [WaitOn { expected: 0, word: 0, flags: SIZE, reserved: 0 }; MOST_AT_ONCE];
        let mut count: libc::c_uint = 0;
        for (entry, (word, expected, reach)) in list.iter_mut().zip(words) {
            (entry.expected, entry.word) = (expected.into(), word.as_ptr().expose_provenance() as u64);
            entry.flags = SIZE | reach.flag() as u32;
            count += 1;
        }
        let until = longest.map(|longest| {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the call writes the time, and nothing else.
            unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
            // At most an hour, so nothing overflows.
            time.tv_sec += longest.as_secs().min(3600) as i64;
            time.tv_nsec += libc::c_long::from(longest.subsec_nanos());
            if time.tv_nsec >= 1_000_000_000 {
                (time.tv_sec, time.tv_nsec) = (time.tv_sec + 1, time.tv_nsec - 1_000_000_000);
            }
            time
        });
        let until = until.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        // SAFETY: the list has `count` entries. The words are valid for the whole call, and the kernel only
        // reads them, in aligned 32-bit accesses. The time is null or valid, and only read.
        let result = unsafe {
            libc::syscall(libc::SYS_futex_waitv, list.as_ptr(), count, 0, until, libc::CLOCK_MONOTONIC)
        };
        result >= 0 || matches!(Errno::last(), Errno::EAGAIN | Errno::EINTR | Errno::ETIMEDOUT)
    }

    /// Whether [`sleep_on_all`] works: the kernel is recent enough, and no filter forbids the call.
    #[cfg(feature = "async")]
    pub(crate) fn can_sleep_on_all() -> bool {
        // Miri does not know the call.
        if cfg!(miri) {
            return false;
        }
        // No lock, as in `register`.
        static ANSWER: StaticU64 = StaticU64::new(UNKNOWN);
        if ANSWER.load(Relaxed) == UNKNOWN {
            let word = AtomicU32::new(0);
            // The word is not 1, so it does not sleep.
            let works = sleep_on_all([(&word, 1, Reach::ThisProcess)].into_iter(), Some(Duration::ZERO));
            ANSWER.store(if works { YES } else { NO }, Relaxed);
        }
        ANSWER.load(Relaxed) == YES
    }

    const UNKNOWN: u64 = 0;
    const NO: u64 = 1;
    const YES: u64 = 2;

    /// Makes [`barrier`], called by any process, a fence of this process's threads from now on. False: the
    /// kernel does not offer it (before Linux 4.16, or a system call filter forbids it).
    pub(crate) fn register() -> bool {
        // Miri does not know the call. (Waiters call `barrier` only for notifiers that have registered.)
        if cfg!(miri) {
            return false;
        }
        // No lock: another thread could hold it while the process forks. Two threads may register at the same
        // time, which does no harm: the kernel gives the same answer.
        static ANSWER: StaticU64 = StaticU64::new(UNKNOWN);
        if ANSWER.load(Relaxed) == UNKNOWN {
            let is_registered = membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
            ANSWER.store(if is_registered { YES } else { NO }, Relaxed);
        }
        ANSWER.load(Relaxed) == YES
    }

    /// A full fence of this thread, and of all threads of the processes that have registered. False: the call
    /// failed, and nothing was fenced.
    pub(crate) fn barrier() -> bool {
        membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
    }

    /// Milliseconds of a clock that never goes back. It moves on every one to ten milliseconds.
    pub(crate) fn milliseconds() -> u64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes to `now` only, which is valid. (If it fails, the clock stands still.)
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
        now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
    }

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: the call accesses no memory of this process.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }
}

#[cfg(not(any(loom, all(feature = "shm", target_os = "linux"))))]
mod nothing {
    use crate::sync::AtomicU32;
    use crate::waiting::kernel::Reach;

    #[cfg(feature = "std")]
    pub(crate) fn sleep(_: &AtomicU32, _: u32, _: core::time::Duration, _: Reach) {}

    pub(crate) fn wake(_: &AtomicU32, _: Reach) {}

    pub(crate) fn register() -> bool {
        false
    }

    #[cfg(feature = "std")]
    pub(crate) fn barrier() -> bool {
        false
    }
}

/// The model of the kernel knows no processes.
#[cfg(loom)]
mod modelled {
    use crate::sync::{AtomicU32, kernel};
    use crate::waiting::kernel::Reach;

    pub(crate) fn sleep(word: &AtomicU32, expected: u32, longest: core::time::Duration, _: Reach) {
        kernel::sleep(word, expected, longest);
    }

    pub(crate) fn wake(word: &AtomicU32, _: Reach) {
        kernel::wake(word);
    }
}

#[cfg(all(test, not(any(loom, miri)), feature = "async", target_os = "linux"))]
mod tests {
    use super::Reach;
    use super::linux::{can_sleep_on_all, milliseconds, sleep_on_all};
    use crate::sync::AtomicU32;
    use nix::time::{ClockId, clock_gettime};
    use std::time::{Duration, Instant};

    /// The clock is that of the system, only coarser.
    #[test]
    fn milliseconds_are_those_of_the_clock_that_never_goes_back() {
        let exact = || {
            let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
            u64::try_from(now.tv_sec()).unwrap() * 1000 + u64::try_from(now.tv_nsec()).unwrap() / 1_000_000
        };
        let begin = exact();
        while exact() < begin + 50 {
            let (before, coarse, after) = (exact(), milliseconds(), exact());
            assert!(before.saturating_sub(20) <= coarse && coarse <= after, "{before}, {coarse}, {after}");
        }
    }

    /// The end of the sleep is computed, and nanoseconds carry over into seconds.
    #[test]
    fn a_sleep_on_several_words_ends_when_its_time_is_over() {
        let words = [AtomicU32::new(1), AtomicU32::new(2)];
        let all = |counts: [u32; 2]| {
            words.iter().zip(counts).map(|(word, count)| (word, count, Reach::ThisProcess))
        };
        if !sleep_on_all(all([1, 2]), Some(Duration::ZERO)) {
            return; // an old kernel
        }
        // From wherever in a second this begins, some of them carry over.
        for longest in [0, 1, 200, 400, 600, 800, 999, 1001].map(Duration::from_millis) {
            let begin = Instant::now();
            assert!(sleep_on_all(all([1, 2]), Some(longest)), "{longest:?}");
            let slept = begin.elapsed();
            assert!(longest <= slept && slept < longest + Duration::from_secs(30), "{longest:?}: {slept:?}");
        }
        assert!(sleep_on_all(all([1, 1]), None), "a word has changed, so it did not sleep");
    }

    /// What is asked of the kernel once is what it answers each time.
    #[test]
    fn the_kernel_is_asked_what_it_can() {
        let word = AtomicU32::new(0);
        let all = || [(&word, 1, Reach::AnyProcess)].into_iter();
        for _ in 0..2 {
            assert_eq!(can_sleep_on_all(), sleep_on_all(all(), Some(Duration::ZERO)));
        }
    }
}
