//! Cache instructions: prefetch, write back, evict. They are hints, and change no value.
//!
//! Most of the time between two cores is spent moving cache lines from one to the other. How long a move
//! takes depends on the state in which each core left the line. Prefetching is used on all x86-64 processors.
//! Writing back and evicting are used only on AMD's, where measurements showed a benefit.
#![allow(unsafe_code)]

use crate::sync::{AtomicU64, Relaxed, StaticU64};

/// Whether the lines of a ring should leave the caches between two uses: [`evict`] after they are read, and
/// [`prefetch_for_writing`] before they are written again. The ring has `depth` lines in `bytes`.
///
/// It helps on AMD's processors. There, a writer that takes back a modified line from a reader's cache pays a
/// full round trip for each line, one after the other, while fetches of other lines overlap with other work
/// (`bench/`: workload `throughput`). It does not help in smaller rings, which stay in the nearest caches,
/// nor in larger ones, whose lines leave the caches anyway before their next use (workload `deep`).
pub(crate) fn evicting_helps(depth: u64, bytes: usize) -> bool {
    depth >= EVICT_FROM_DEPTH && bytes <= EVICT_TO_BYTES && support() != Support::None
}

/// Whether a reader should [`write_back`] the lines that it has read, if the producer [`is_near`]. This helps
/// in small rings, too, and in somewhat larger ones. `bytes` is the size of the ring.
pub(crate) fn writing_back_helps(bytes: usize) -> bool {
    bytes <= WRITE_BACK_TO_BYTES && support() == Support::EvictAndWriteBack
}

const EVICT_FROM_DEPTH: u64 = 256;
/// The limits are in bytes of slots, used or not.
const EVICT_TO_BYTES: usize = 1 << 20;
const WRITE_BACK_TO_BYTES: usize = 2 << 20;

/// The instructions that this processor has and that help on it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))), allow(dead_code))]
enum Support {
    None = 1,
    Evict = 2,
    EvictAndWriteBack = 3,
}

fn support() -> Support {
    // Cached, because `cpuid` takes microseconds in a virtual machine. 0: not detected yet.
    static KNOWN: StaticU64 = StaticU64::new(0);
    let known = [Support::None, Support::Evict, Support::EvictAndWriteBack]
        .into_iter()
        .find(|support| *support as u64 == KNOWN.load(Relaxed));
    known.unwrap_or_else(|| {
        let support = detect_support();
        KNOWN.store(support as u64, Relaxed);
        support
    })
}

fn detect_support() -> Support {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        #[allow(unused_unsafe)] // safe functions in newer compilers
        // SAFETY: every x86-64 processor has the instruction. Leaf 7 is read only if it exists.
        let (vendor, features) = unsafe {
            let vendor = __cpuid(0);
            let features = if vendor.eax >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
            ([vendor.ebx, vendor.edx, vendor.ecx], features)
        };
        const CLFLUSHOPT: u32 = 1 << 23;
        const CLWB: u32 = 1 << 24;
        let is_amd = vendor == [0x6874_7541, 0x6974_6e65, 0x444d_4163];
        match (is_amd && features & CLFLUSHOPT != 0, features & CLWB != 0) {
            (false, _) => Support::None,
            (true, false) => Support::Evict,
            (true, true) => Support::EvictAndWriteBack,
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    Support::None
}

/// Whether the producer runs on a near core, measured by a load of `word`, which the producer has just
/// written.
///
/// A reader should [`write_back`] its lines if the producer is near, and [`evict`] them if it is far. A line
/// that was written back stays in the reader's cache, and a near producer takes it from there quickly. An
/// evicted line comes from memory, which is faster only for a far producer.
pub(crate) fn is_near(word: &AtomicU64) -> bool {
    ticks_to_load(word) < NEAR_TICKS
}

/// Measured on a processor with 2.6 ticks per nanosecond. Cores that share a cache need 80 to 200 ticks, with
/// round trips of 30 to 110 ns in `bench/`. Other cores need 340 ticks and more, with round trips of 430 ns.
const NEAR_TICKS: u64 = 240;

/// How long a load takes, in ticks of the time-stamp counter.
fn ticks_to_load(word: &AtomicU64) -> u64 {
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
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
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
/// Only if [`writing_back_helps`] returned true: otherwise the instruction may not exist.
#[inline]
pub(crate) fn write_back(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: as in `evict`. The caller has checked `writing_back_helps`, so the instruction exists.
    unsafe {
        core::arch::asm!("clwb [{}]", in(reg) word, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}

/// Asks the processor to write the cache line of `word` back to memory, and to drop it from all caches.
///
/// Only if [`evicting_helps`] returned true: otherwise the instruction may not exist.
#[inline]
pub(crate) fn evict(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: to the memory model a flush is no access: it changes no value and returns none. `word` is a
    // valid reference, so the flush cannot fault. The caller has checked `evicting_helps`, so the instruction
    // exists.
    unsafe {
        core::arch::asm!("clflushopt [{}]", in(reg) word, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}
