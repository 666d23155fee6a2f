//! The kernel calls that waiting needs: sleep on a word, wake the sleepers of a word, fence other threads, and
//! a cheap clock.
//!
//! - [`sleep`] and [`wake`] are a futex (`futex(2)`). The kernel compares the word and puts the thread to
//!   sleep in one step. A futex is identified by the memory and not by its address, so it works between
//!   processes and on read-only mappings.
//! - [`barrier`] is `membarrier(2)`. Before it returns, every running thread of every process that called
//!   [`register`] has executed a full fence. So the side that acts often needs no fence: the side that acts
//!   rarely fences for both.
//!
//! - [`milliseconds`] is the kernel's coarse clock. Reading it takes some nanoseconds and no system call.
//!
//! On systems other than Linux, and without the feature `shm`, none of this exists. A waiter then naps: it
//! sleeps for a fixed time and checks again. The clock stands still.
#![allow(unsafe_code)]

/// Whether a waiter can sleep until a notifier wakes it.
pub(crate) const CAN_SLEEP: bool = cfg!(any(loom, all(feature = "shm", target_os = "linux")));

#[cfg(all(feature = "shm", target_os = "linux", not(loom)))]
pub(crate) use linux::{barrier, milliseconds, register, sleep, wake};

#[cfg(loom)]
pub(crate) use crate::sync::kernel::{barrier, register, sleep, wake};

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

    use nix::libc;

    use crate::sync::{AtomicU32, Relaxed, StaticU64};

    /// Sleeps until a [`wake`] on the same word, or until `longest` (at most an hour) has passed. Returns at
    /// once if `word` is not `expected`. May return early for no reason.
    pub(crate) fn sleep(word: &AtomicU32, expected: u32, longest: Duration) {
        let longest = libc::timespec {
            tv_sec: longest.as_secs().min(3600) as _,
            tv_nsec: longest.subsec_nanos().into(),
        };
        // SAFETY: the word is valid for the whole call. The kernel only reads it, in one aligned 32-bit
        // access. The time is valid and only read. The result is ignored, because the caller checks again in
        // any case.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const longest);
        }
    }

    /// Wakes all threads that sleep on `word`, in any process.
    pub(crate) fn wake(word: &AtomicU32) {
        // SAFETY: the kernel uses the address only to find the futex. It does not access the word.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
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

    #[cfg(feature = "std")]
    pub(crate) fn sleep(_: &AtomicU32, _: u32, _: core::time::Duration) {}

    pub(crate) fn wake(_: &AtomicU32) {}

    pub(crate) fn register() -> bool {
        false
    }

    #[cfg(feature = "std")]
    pub(crate) fn barrier() -> bool {
        false
    }
}
