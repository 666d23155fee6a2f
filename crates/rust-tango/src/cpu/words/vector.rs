//! [`copy`]: many words at once, in inline assembly for x86-64.
//!
//! The head of [`words`](super) says what the assembly has to do, and why it may use wide accesses.
//!
//! Every store waits in a queue of the processor until its cache line has come from another core. Few wide stores leave room
//! there for the next message. Measured on AMD Zen 5, payloads of 1 KiB, ring of 1024: 18 GiB/s through accesses of 16 bytes, 28
//! to 37 of 32 bytes, 37 of 64 bytes; in batches 21, 28 and 34.
#![allow(unsafe_code)]

use crate::cpu::processor::{Processor, Width};
use core::arch::asm;

/// Stores of at least this many words use the vector form.
pub(super) const FROM_WORDS: usize = 17;
/// Loads of at least this many words do. Shorter ones, too, because code that reads the copy 16 bytes at
/// a time would have to wait until narrower stores reach the cache.
pub(super) const LOAD_FROM_WORDS: usize = 2;
/// Copies of at least this many words use the widest registers.
pub(super) const WIDE_FROM_WORDS: usize = 16;

/// Copies `words` words of eight bytes. Each word is accessed once on either side.
///
/// # Safety
/// Both sides are valid for `words * 8` bytes and do not overlap. The atomic side is aligned to eight
/// bytes.
#[inline(always)]
pub(super) unsafe fn copy(to: *mut u8, from: *const u8, words: usize) {
    // SAFETY: as promised by the caller. Every x86-64 processor has registers of 16 bytes, and this one of the other widths.
    unsafe {
        if words < WIDE_FROM_WORDS {
            by_16(to, from, words);
        } else {
            copy_by(Processor::this().width, to, from, words);
        }
    }
}

/// [`copy`] out of line, so that callers that mostly copy few words stay short.
///
/// # Safety
/// As [`copy`].
#[inline(never)]
pub(super) unsafe fn copy_many(to: *mut u8, from: *const u8, words: usize) {
    // SAFETY: as promised by the caller.
    unsafe { copy(to, from, words) };
}

/// [`copy`] with registers of this width.
///
/// # Safety
/// As [`copy`]. The processor has these registers, and the system saves them.
#[inline(always)]
pub(super) unsafe fn copy_by(width: Width, to: *mut u8, from: *const u8, words: usize) {
    // SAFETY: as promised by the caller.
    unsafe {
        match width {
            Width::Bytes16 => by_16(to, from, words),
            Width::Bytes32 => by_32(to, from, words),
            Width::Bytes64 => by_64(to, from, words),
        }
    }
}

/// Defines a function that copies 64 bytes at a time by the instructions given, then 16, then 8. After the 64 bytes comes an
/// instruction that ends the use of wide registers, or none. It clears the upper parts of registers, which are named, too.
macro_rules! copies {
    (wide $name:ident, $($of_64:literal)+) => {
        copies!(
            $name,
            $($of_64)+,
            "vzeroupper"
            "xmm4" "xmm5" "xmm6" "xmm7" "xmm8" "xmm9" "xmm10" "xmm11" "xmm12" "xmm13" "xmm14" "xmm15"
        );
    };
    ($name:ident, $($of_64:literal)+, $end:literal $($cleared:tt)*) => {
        /// [`copy`].
        ///
        /// # Safety
        /// As [`copy_by`] with registers of this width.
        #[inline(always)] // a call costs a tenth of the time for 1 KiB
        pub(super) unsafe fn $name(to: *mut u8, from: *const u8, words: usize) {
            // SAFETY: the loops cover exactly `words * 8` bytes. The direction flag is not used, and the flags count as
            // clobbered by default. So does each register of which the upper part changes: `xmm0` names its lowest part, and
            // the compiler keeps nothing in a register of which a part is clobbered.
            unsafe {
                asm!(
                    "mov {left}, {words}",
                    "shr {left}, 3",
                    "jz 3f",
                    "2:",
                    $($of_64,)+
                    "add {from}, 64",
                    "add {to}, 64",
                    "dec {left}",
                    "jnz 2b",
                    $end,
                    "3:",
                    "mov {left:e}, {words:e}",
                    "and {left:e}, 7",
                    "shr {left:e}, 1",
                    "jz 5f",
                    "4:",
                    "movups xmm0, [{from}]",
                    "movups [{to}], xmm0",
                    "add {from}, 16",
                    "add {to}, 16",
                    "dec {left:e}",
                    "jnz 4b",
                    "5:",
                    "test {words:e}, 1",
                    "jz 6f",
                    "mov {left}, [{from}]",
                    "mov [{to}], {left}",
                    "6:",
                    to = inout(reg) to => _,
                    from = inout(reg) from => _,
                    words = in(reg) words,
                    left = out(reg) _,
                    out("xmm0") _,
                    out("xmm1") _,
                    out("xmm2") _,
                    out("xmm3") _,
                    $(out($cleared) _,)*
                    options(nostack),
                );
            }
        }
    };
}

copies!(
    by_16,
    "movups xmm0, [{from}]"
    "movups xmm1, [{from} + 16]"
    "movups xmm2, [{from} + 32]"
    "movups xmm3, [{from} + 48]"
    "movups [{to}], xmm0"
    "movups [{to} + 16], xmm1"
    "movups [{to} + 32], xmm2"
    "movups [{to} + 48], xmm3",
    ""
);
copies!(
    wide by_32,
    "vmovups ymm0, [{from}]"
    "vmovups ymm1, [{from} + 32]"
    "vmovups [{to}], ymm0"
    "vmovups [{to} + 32], ymm1"
);
copies!(wide by_64, "vmovups zmm0, [{from}]" "vmovups [{to}], zmm0");
