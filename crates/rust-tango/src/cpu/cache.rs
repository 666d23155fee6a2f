//! Cache instructions: prefetch, write back, evict. They are hints, and change no value.
//!
//! Most of the time between two cores is spent moving cache lines from one to the other. How long a move
//! takes depends on the state in which each core left the line. Which hint pays on which processor is policy:
//! see `timing::processor`. On other processors than x86-64 these
//! functions do nothing, except that 64-bit Arm has a prefetch for writing, too.
#![allow(unsafe_code)]

use crate::sync::{AtomicU64, Relaxed, StaticU64};

/// What matters of a processor for hints to its caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processor {
    pub(crate) maker: Maker,
    /// It has [`evict`].
    pub(crate) evicts: bool,
    /// It has [`write_back`].
    pub(crate) writes_back: bool,
}

/// The makers whose processors have been measured, and all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    Amd,
    Intel,
    Unknown,
}

impl Processor {
    /// Of which nothing is known, and which is asked for nothing but prefetching.
    #[cfg(any(test, not(target_arch = "x86_64"), miri, loom, portable))]
    pub(crate) const UNKNOWN: Self = Self { maker: Maker::Unknown, evicts: false, writes_back: false };

    /// The one that this program runs on.
    pub(crate) fn this() -> Self {
        // Cached, because `cpuid` takes microseconds in a virtual machine. 0: not detected yet.
        static KNOWN: StaticU64 = StaticU64::new(0);
        let mut known = KNOWN.load(Relaxed);
        if known == 0 {
            known = Self::detect().pack();
            KNOWN.store(known, Relaxed);
        }
        Self::unpack(known)
    }

    const fn pack(self) -> u64 {
        1 | (self.evicts as u64) << 1 | (self.writes_back as u64) << 2 | (self.maker as u64) << 3
    }

    const fn unpack(word: u64) -> Self {
        let maker = match word >> 3 {
            0 => Maker::Amd,
            1 => Maker::Intel,
            _ => Maker::Unknown,
        };
        Self { maker, evicts: word & 2 != 0, writes_back: word & 4 != 0 }
    }

    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    fn detect() -> Self {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        #[allow(unused_unsafe)] // safe functions in newer compilers
        // SAFETY: every x86-64 processor has the instruction. Leaf 7 is read only if it exists.
        let (vendor, features) = unsafe {
            let vendor = __cpuid(0);
            let features = if vendor.eax >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
            ([vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes), features)
        };
        const CLFLUSHOPT: u32 = 1 << 23;
        const CLWB: u32 = 1 << 24;
        let maker = match vendor.as_flattened() {
            b"AuthenticAMD" => Maker::Amd,
            b"GenuineIntel" => Maker::Intel,
            _ => Maker::Unknown,
        };
        Self { maker, evicts: features & CLFLUSHOPT != 0, writes_back: features & CLWB != 0 }
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    fn detect() -> Self {
        Self::UNKNOWN
    }
}

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
/// Only if [`Processor::writes_back`] is true: otherwise the instruction may not exist.
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
/// Only if [`Processor::evicts`] is true: otherwise the instruction may not exist.
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_processor_passes_through_a_word_that_is_not_zero() {
        for maker in [Maker::Amd, Maker::Intel, Maker::Unknown] {
            for (evicts, writes_back) in [(false, false), (true, false), (false, true), (true, true)] {
                let processor = Processor { maker, evicts, writes_back };
                assert!(processor.pack() != 0);
                assert_eq!(Processor::unpack(processor.pack()), processor);
            }
        }
        assert_eq!(Processor::this(), Processor::this(), "the second is from the cache");
    }
}
