//! Cache instructions: prefetch, write back, evict. They are hints, and change no value.
//!
//! Most of the time between two cores is spent moving cache lines from one to the other. How long a move
//! takes depends on the state in which each core left the line. Which hint pays on which processor is policy:
//! see `timing::processor`. On other processors than x86-64 these
//! functions do nothing, except that 64-bit Arm has a prefetch for writing, too.
#![allow(unsafe_code)]

use crate::sync::AtomicU64;

/// How long a load takes, in ticks of the time-stamp counter.
pub(crate) fn ticks_to_load(word: &AtomicU64) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: the assembly loads `word` once, as a relaxed load would, and discards the value. It reads the
    // time-stamp counter before and after, which every x86-64 processor has. (A kernel can forbid that to
    // user programs. Linux does so only if the program asks for it.)
    unsafe {
        let ticks: u64;
        core::arch::asm!(
            "lfence",
            "rdtsc",
            "lfence",
            "mov {ticks:e}, eax",
            "mov {loaded}, [{word}]",
            "lfence",
            "rdtsc",
            "sub eax, {ticks:e}",
            "mov {ticks:e}, eax",
            word = in(reg) word,
            ticks = out(reg) ticks,
            loaded = out(reg) _,
            out("eax") _,
            out("edx") _,
            options(nostack, readonly),
        );
        ticks
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    {
        let _ = word;
        0
    }
}

/// Asks the processor to fetch the cache line of `word`, in order to write it.
#[inline]
pub(crate) fn prefetch_for_writing(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: a prefetch cannot fault and changes no value. (Intel's processors before Broadwell ignore it.)
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(miri), not(loom), not(portable)))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), miri, loom, portable))]
    let _ = word;
}

/// Asks the processor to fetch the cache line of `word`, in order to read it.
#[inline]
pub(crate) fn prefetch(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: a prefetch cannot fault and changes no value. SSE is part of x86-64.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}

/// Asks the processor to write the cache line of `word` back to memory, and to keep it in the cache.
///
/// Only if [`Processor::writes_back`](super::processor::Processor::writes_back) is true: otherwise the instruction may not exist.
#[inline]
pub(crate) fn write_back(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: as in `evict`. The caller has checked `Processor::writes_back`, so the instruction exists.
    unsafe {
        core::arch::asm!("clwb [{}]", in(reg) word, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}

/// Asks the processor to write the cache line of `word` back to memory, and to drop it from all caches.
///
/// Only if [`Processor::evicts`](super::processor::Processor::evicts) is true: otherwise the instruction may not exist.
#[inline]
pub(crate) fn evict(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: to the memory model a flush is no access: it changes no value and returns none. `word` is a
    // valid reference, so the flush cannot fault. The caller has checked `Processor::evicts`, so the
    // instruction exists.
    unsafe {
        core::arch::asm!("clflushopt [{}]", in(reg) word, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}
