//! [`Turns`]: short pauses of about the same time on every processor.
//!
//! The instruction for a pause takes 40 cycles on one processor and 140 on another, so it is no measure of time. The
//! time-stamp counter is: it counts 2 to 4 ticks a nanosecond on x86-64. Other processors count pauses.
#![allow(unsafe_code)]

use crate::sync::spin_loop;

/// Ticks of a turn: 20 to 40 ns.
#[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
const TICKS: u64 = 80;

/// Counts turns while a thread spins.
#[derive(Debug)]
pub(crate) struct Turns {
    /// In ticks. Elsewhere, the number of pauses.
    begun: u64,
}

impl Turns {
    pub(crate) fn begin() -> Self {
        Self { begun: ticks() }
    }

    /// Pauses shortly. Returns how many turns have passed since the beginning.
    pub(crate) fn pause(&mut self) -> u64 {
        spin_loop();
        #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
        return ticks().wrapping_sub(self.begun) / TICKS;
        #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
        {
            self.begun += 1;
            self.begun
        }
    }
}

/// Spins for this many turns. In models, no time passes.
pub(crate) fn pause(turns: u64) {
    if turns != 0 && !cfg!(loom) {
        let mut passed = Turns::begin();
        while passed.pause() < turns {}
    }
}

#[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
fn ticks() -> u64 {
    #[allow(unused_unsafe)] // a safe function in newer compilers
    // SAFETY: every x86-64 processor has the instruction. (A kernel can forbid it to user programs. Linux does so only if
    // the program asks for it.)
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
fn ticks() -> u64 {
    0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn turns_pass() {
        let mut turns = Turns::begin();
        let first = turns.pause();
        let last = (0..1000).fold(first, |before, _| {
            let now = turns.pause();
            assert!(now >= before, "time goes back");
            now
        });
        assert!(last > first, "no time passes");
        pause(3);
    }
}
