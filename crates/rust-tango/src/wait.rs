//! Waiting: what a party does while there is nothing for it to do.

use crate::sync::spin_loop;

/// How a blocking call passes the time until there is something for it.
///
/// Neither sleeps in the kernel: a waiting thread keeps its core busy, or at least runnable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Spin. The lowest latency; needs a core of its own.
    Spin,
    /// Spin for about a microsecond, then give the core to who else wants it between looks.
    #[cfg(feature = "std")]
    Yield,
}

impl Default for Wait {
    /// `Yield` where threads are known (feature `std`), otherwise `Spin`.
    fn default() -> Self {
        #[cfg(feature = "std")]
        return Self::Yield;
        #[cfg(not(feature = "std"))]
        return Self::Spin;
    }
}

/// Looks between two questions that cost a system call (is the other side alive? what time is it?).
const QUESTIONS: u32 = 1024;
#[cfg(feature = "std")]
const SPINS: u32 = 64;

/// One wait: counts its looks.
#[derive(Debug)]
pub(crate) struct Waiting {
    wait: Wait,
    looks: u32,
}

impl Waiting {
    pub(crate) fn new(wait: Wait) -> Self {
        Self { wait, looks: 0 }
    }

    /// Passes a moment. True now and then: when an expensive question is due.
    pub(crate) fn pause(&mut self) -> bool {
        self.looks = self.looks.wrapping_add(1);
        match self.wait {
            Wait::Spin => spin_loop(),
            #[cfg(feature = "std")]
            Wait::Yield if self.looks < SPINS => spin_loop(),
            #[cfg(feature = "std")]
            Wait::Yield => std::thread::yield_now(),
        }
        self.looks % QUESTIONS == 0
    }

    /// Whether the clock should be looked at now: seldom while spinning, at each turn after that.
    #[cfg(feature = "std")]
    pub(crate) fn clock_is_due(&self) -> bool {
        self.looks % 16 == 0 || (self.wait == Wait::Yield && self.looks >= SPINS)
    }
}
