//! [`Processor`]: what matters of the processor that the program runs on.
#![allow(unsafe_code)]

use crate::sync::{Relaxed, StaticU64};

/// What matters of a processor: which hints to its caches it has, and how wide it copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processor {
    pub(crate) maker: Maker,
    /// As its maker counts. AMD: 23 is Zen 1 and 2, 25 is Zen 3 and 4, 26 is Zen 5. 0 if nothing is known.
    pub(crate) family: u8,
    /// It has [`cache::evict`](super::cache::evict).
    pub(crate) evicts: bool,
    /// It has [`cache::write_back`](super::cache::write_back).
    pub(crate) writes_back: bool,
    pub(crate) width: Width,
}

/// How many bytes at a time payloads are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Width {
    /// Every x86-64 processor has that. Other processors copy word by word.
    Bytes16,
    /// With AVX. Not measured on Intel's processors.
    Bytes32,
    /// With AVX-512, on AMD's processors. Some of Intel's run slower for a while after they have used it.
    Bytes64,
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
    pub(crate) const UNKNOWN: Self =
        Self { maker: Maker::Unknown, family: 0, evicts: false, writes_back: false, width: Width::Bytes16 };

    /// The one that this program runs on.
    #[inline(always)] // each copy of a large payload asks
    pub(crate) fn this() -> Self {
        // Cached, because `cpuid` takes microseconds in a virtual machine. 0: not detected yet.
        static KNOWN: StaticU64 = StaticU64::new(0);
        #[cold]
        fn find_out() -> u64 {
            let known = Processor::detect().pack();
            KNOWN.store(known, Relaxed);
            known
        }
        let known = KNOWN.load(Relaxed);
        Self::unpack(if known == 0 { find_out() } else { known })
    }

    const fn pack(self) -> u64 {
        let (maker, width, family) = (self.maker as u64, self.width as u64, self.family as u64);
        1 | (self.evicts as u64) << 1 | (self.writes_back as u64) << 2 | maker << 3 | width << 5 | family << 8
    }

    const fn unpack(word: u64) -> Self {
        let maker = match word >> 3 & 3 {
            0 => Maker::Amd,
            1 => Maker::Intel,
            _ => Maker::Unknown,
        };
        let width = match word >> 5 & 7 {
            0 => Width::Bytes16,
            1 => Width::Bytes32,
            _ => Width::Bytes64,
        };
        let family = (word >> 8) as u8;
        Self { maker, family, evicts: word & 2 != 0, writes_back: word & 4 != 0, width }
    }

    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    fn detect() -> Self {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        #[allow(unused_unsafe)] // safe functions in newer compilers
        // SAFETY: every x86-64 processor has the instruction. Leaf 7 is read only if it exists.
        let (vendor, basic, features) = unsafe {
            let vendor = __cpuid(0);
            let features = if vendor.eax >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
            let basic = __cpuid(1);
            ([vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes), basic, features)
        };
        const CLFLUSHOPT: u32 = 1 << 23;
        const CLWB: u32 = 1 << 24;
        let maker = match vendor.as_flattened() {
            b"AuthenticAMD" => Maker::Amd,
            b"GenuineIntel" => Maker::Intel,
            _ => Maker::Unknown,
        };
        let width = Self::width(maker, basic.ecx, features);
        // The sum of two numbers, of which the second counts only if the first is the largest possible.
        let family = match basic.eax >> 8 & 0xf {
            0xf => 0xf + (basic.eax >> 20 & 0xff),
            family => family,
        };
        let family = family.try_into().unwrap_or(u8::MAX);
        Self { maker, family, evicts: features & CLFLUSHOPT != 0, writes_back: features & CLWB != 0, width }
    }

    /// `basic` and `features` are the bits of the leaves 1 (ECX) and 7 (EBX).
    #[cfg(all(target_arch = "x86_64", not(miri), not(loom), not(portable)))]
    fn width(maker: Maker, basic: u32, features: u32) -> Width {
        const OSXSAVE: u32 = 1 << 27;
        const AVX: u32 = 1 << 28;
        const AVX512F: u32 = 1 << 16;
        /// What the system saves of a thread: the registers of AVX, and those of AVX-512.
        const SAVES_AVX: u32 = 0b110;
        const SAVES_AVX512: u32 = 0b1110_0110;
        if basic & (OSXSAVE | AVX) != OSXSAVE | AVX {
            return Width::Bytes16;
        }
        let saved: u32;
        // SAFETY: the bit OSXSAVE says that the instruction exists and is allowed. It reads a register.
        unsafe {
            core::arch::asm!(
                "xgetbv",
                in("ecx") 0,
                out("eax") saved,
                out("edx") _,
                options(nomem, nostack, preserves_flags),
            );
        }
        if maker == Maker::Amd && features & AVX512F != 0 && saved & SAVES_AVX512 == SAVES_AVX512 {
            Width::Bytes64
        } else if saved & SAVES_AVX == SAVES_AVX {
            Width::Bytes32
        } else {
            Width::Bytes16
        }
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri), not(loom), not(portable))))]
    fn detect() -> Self {
        Self::UNKNOWN
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_processor_passes_through_a_word_that_is_not_zero() {
        let widths = [Width::Bytes16, Width::Bytes32, Width::Bytes64];
        for (maker, width) in [Maker::Amd, Maker::Intel, Maker::Unknown].into_iter().zip(widths) {
            for (evicts, writes_back) in [(false, false), (true, false), (false, true), (true, true)] {
                let processor = Processor { maker, family: 26, evicts, writes_back, width };
                assert!(processor.pack() != 0);
                assert_eq!(Processor::unpack(processor.pack()), processor);
            }
        }
        assert_eq!(Processor::this(), Processor::this(), "the second is from the cache");
    }
}
