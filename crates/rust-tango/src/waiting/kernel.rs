//! What parking asks of the kernel: to sleep on a word, to wake who sleeps on one, and to be the fence
//! for others.
//!
//! - [`sleep`] and [`wake`] are a futex (Linux, `futex(2)`): it compares the word and falls asleep in one
//!   step. Keyed by the memory, not the address, so it works between processes, and on read-only mappings.
//! - [`barrier`] is `membarrier(2)`: every running thread of every process that has called [`register`]
//!   passes a full fence before it returns. So who is called often need not fence, because who is called
//!   seldom does it for both.
//!
//! Elsewhere than on Linux, and without the feature `shm`, there is none of it: who wants to sleep naps.
#![allow(unsafe_code)]

/// Whether parties of a link can sleep until another one wakes them.
pub(crate) const CAN_SLEEP: bool = cfg!(any(loom, all(feature = "shm", target_os = "linux")));

#[cfg(all(feature = "shm", target_os = "linux", not(loom)))]
pub(crate) use linux::{barrier, register, sleep, wake};

#[cfg(loom)]
pub(crate) use crate::sync::kernel::{barrier, register, sleep, wake};

#[cfg(all(feature = "std", not(any(loom, all(feature = "shm", target_os = "linux")))))]
pub(crate) use nothing::{barrier, sleep};
#[cfg(not(any(loom, all(feature = "shm", target_os = "linux"))))]
pub(crate) use nothing::{register, wake};

#[cfg(all(feature = "shm", target_os = "linux", not(loom)))]
mod linux {
    use core::time::Duration;

    use nix::libc;

    use crate::sync::{AtomicU32, Relaxed, StaticU64};

    /// Sleeps while `word` is `expected`, at most for `longest`, until a [`wake`] on the same word. May
    /// return early for no reason.
    pub(crate) fn sleep(word: &AtomicU32, expected: u32, longest: Duration) {
        let longest = libc::timespec {
            tv_sec: longest.as_secs().min(3600) as libc::time_t,
            tv_nsec: longest.subsec_nanos().into(),
        };
        // SAFETY: the word is valid for the whole call, and only read, as one aligned 32-bit access; the
        // time is valid and only read. Any result means: look again.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const longest);
        }
    }

    /// Wakes all that sleep on `word`, in any process.
    pub(crate) fn wake(word: &AtomicU32) {
        // SAFETY: the kernel uses the address as a name; it does not touch the word.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }

    const UNKNOWN: u64 = 0;
    const NO: u64 = 1;
    const YES: u64 = 2;

    /// From now on, [`barrier`] of any process fences this one's threads. False: the kernel does not
    /// offer it (before Linux 4.16, or a filter forbids it).
    pub(crate) fn register() -> bool {
        // Miri does not know the call. (And nobody calls `barrier` for the sake of those who have not registered.)
        if cfg!(miri) {
            return false;
        }
        // No lock: it could be held by another thread of a process that forks. Asked for twice, the kernel says the same.
        static ANSWER: StaticU64 = StaticU64::new(UNKNOWN);
        if ANSWER.load(Relaxed) == UNKNOWN {
            let is_registered = membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
            ANSWER.store(if is_registered { YES } else { NO }, Relaxed);
        }
        ANSWER.load(Relaxed) == YES
    }

    /// A full fence of this thread and of all threads of the processes that have registered. False: there
    /// was none.
    pub(crate) fn barrier() -> bool {
        membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
    }

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: the call takes no memory.
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
