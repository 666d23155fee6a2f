//! What the processor's caches should do with lines: hints, without effect on any value.
//!
//! What takes the time between two cores is the way of a cache line from one to the other, and it takes longer or shorter
//! by the state that each has left the line in. What is cleaned, and how, is by measurement on one maker's processors, and
//! nothing is on others; lines are fetched ahead on all of x86-64.
#![allow(unsafe_code)]

use crate::sync::{AtomicU64, Relaxed, StaticU64};

/// Whether the lines of a ring, `depth` of them in `bytes`, should leave the caches between two uses: by [`evict`] when
/// they have been read, and [`prefetch_for_writing`] before they are written. It pays off on AMD's processors, where
/// taking a line back that a reader has taken over as it was, unwritten to memory, costs the writer a full round trip
/// each, one after the other, while fetching others overlaps with other work (`bench/`: workload `throughput`). Smaller
/// rings stay in the caches that are nearest; larger ones leave them before their lines come round again (workload
/// `deep`).
pub(crate) fn evicting_helps(depth: u64, bytes: usize) -> bool {
    depth >= EVICT_FROM_DEPTH && bytes <= EVICT_TO_BYTES && means_to_clean() != Means::None
}

/// The same of [`write_back`], if the producer [`is_near`]: that pays off in small rings, too, and in larger ones.
pub(crate) fn writing_back_helps(bytes: usize) -> bool {
    bytes <= WRITE_BACK_TO_BYTES && means_to_clean() == Means::Both
}

const EVICT_FROM_DEPTH: u64 = 256;
/// Of slots, whatever they hold.
const EVICT_TO_BYTES: usize = 1 << 20;
const WRITE_BACK_TO_BYTES: usize = 2 << 20;

/// What the processor has to clean lines with, if that helps.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))), allow(dead_code))]
enum Means {
    None = 1,
    /// [`evict`].
    Evict = 2,
    /// [`write_back`], too.
    Both = 3,
}

fn means_to_clean() -> Means {
    // Asking the processor takes microseconds in a virtual machine.
    static KNOWN: StaticU64 = StaticU64::new(0);
    let known = [Means::None, Means::Evict, Means::Both]
        .into_iter()
        .find(|means| *means as u64 == KNOWN.load(Relaxed));
    known.unwrap_or_else(|| {
        let means = ask_for_means_to_clean();
        KNOWN.store(means as u64, Relaxed);
        means
    })
}

fn ask_for_means_to_clean() -> Means {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        #[allow(unused_unsafe)] // safe in newer compilers
        // SAFETY: every x86-64 processor has the instruction; leaf 7 is asked only if it exists.
        let (vendor, features) = unsafe {
            let vendor = __cpuid(0);
            let features = if vendor.eax >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
            ([vendor.ebx, vendor.edx, vendor.ecx], features)
        };
        const CLFLUSHOPT: u32 = 1 << 23;
        const CLWB: u32 = 1 << 24;
        let is_amd = vendor == [0x6874_7541, 0x6974_6e65, 0x444d_4163];
        match (is_amd && features & CLFLUSHOPT != 0, features & CLWB != 0) {
            (false, _) => Means::None,
            (true, false) => Means::Evict,
            (true, true) => Means::Both,
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    Means::None
}

/// Whether who has read a line should [`write_back`] it and not [`evict`] it, by how long it takes to load `word`, which
/// the producer has just written: if that is near. The line then stays where it is, and the producer takes it over from
/// there, as it is in memory; one that was evicted has to come from there. Where the producer is far, that is sooner.
pub(crate) fn is_near(word: &AtomicU64) -> bool {
    ticks_to_load(word) < NEAR_TICKS
}

/// Found on a processor of 2.6 ticks a nanosecond: 80 to 200 between cores that share a cache, 340 and more between others
/// (whose distances, as `bench/` has them, that is there and back, were 30 to 110 and 430 ns).
const NEAR_TICKS: u64 = 240;

/// How long a load takes, in ticks of the processor's clock.
fn ticks_to_load(word: &AtomicU64) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: a relaxed load of `word`, whose value is not used, between two looks at the clock, which every x86-64
    // processor has. (A kernel can forbid user programs to look: Linux does not, unless a program asks for that.)
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

/// Has the processor fetch the cache line of `word` to be written. A hint without effect on values.
#[inline]
pub(crate) fn prefetch_for_writing(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: a prefetch cannot fault and changes no value. (To Intel's processors before Broadwell, it is a no-op.)
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}

/// Has the processor fetch the cache line of `word` to be read. A hint without effect on values.
#[inline]
pub(crate) fn prefetch(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: a prefetch cannot fault and changes no value; SSE is part of x86-64.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}

/// Has the processor write the cache line of `word` back to memory, and keep it. No effect on values.
#[inline]
pub(crate) fn write_back(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: as in `evict`; who calls this has asked `writing_back_helps`.
    unsafe {
        core::arch::asm!("clwb [{}]", in(reg) word, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}

/// Has the processor write the cache line of `word` back to memory and drop it from all caches. No effect
/// on values.
#[inline]
pub(crate) fn evict(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    // SAFETY: to the memory model a flush accesses nothing: it changes no value, and has none for a result. `word`
    // is a valid reference, so it cannot fault; who calls this has asked `evicting_helps` whether the instruction
    // exists.
    unsafe {
        core::arch::asm!("clflushopt [{}]", in(reg) word, options(nostack, preserves_flags));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    let _ = word;
}
