//! Which [`Hints`] pay on which processor: a table of measurements.
//!
//! | | AMD (Zen 3 to 5) | Intel (Sapphire Rapids) | unknown |
//! |---|---|---|---|
//! | prefetch lines for writing, some fragments before their use | no: no gain, and 24 instead of 31 million a second to a slow reader | 4 ahead: 18 to 55 million a second. 3 to 6 do; more than 8 costs with work between fragments | 4 ahead |
//! | the same in batches only, and do not write back what is read in batches | on Zen 5, 4 ahead: in batches of 32, 160 instead of 135 million a second of 64 bytes, 87 instead of 52 of 256 bytes (near). Not measured on Zen 3 and 4 | see above | see above |
//! | the same in rings of more than 2 MiB only | on Zen 5, 32 ahead: 136 to 164 instead of 17 million a second of 64 bytes, ring of 8 MiB (far), 78 instead of 85 (near). 16 and 48 do, too, 4 are too few. Not measured on Zen 3 and 4 | not measured | not measured |
//! | write back what was read | yes, if the producer is near, except small slots that are read in batches: in a ring of 1024, 89 instead of 52 million a second (Zen 3) | no: the producer alone falls from 109 to 34 million a second | no |
//! | evict what was read | yes, if the other side is far: 6 to 31 million a second to a slow reader, 6 to 43 through shared memory, 24 to 50 to two consumers, 13 to 53 to an observer. Not if all of several consumers are near: 69 instead of 118 to two (Zen 5) | no | no |
//! | poll the hot slot | yes | yes: 340 instead of 430 ns for each of 100 thousand calls a second | yes |
//! | map the hot slot writable, and load from it | yes: 100 to 140 instead of 170 to 210 ns for a round trip | no | no |
//!
//! On AMD's processors, a writer that takes back a line that a reader has taken over unwritten pays a full round trip for
//! each line, one after the other, while fetches of other lines overlap with other work. So the reader cleans lines. That
//! does not pay in small rings, which stay in the nearest caches, nor in large ones, whose lines leave the caches anyway
//! before their next use (`bench/`: workload `deep`).
//!
//! On Intel's processors, the writer waits for its own stores to reach each line. A prefetch for writing lets these waits
//! overlap. A reader's own prefetchers take lines back that were fetched much earlier than they are written.
//!
//! Not in this table, because a program decides it: whether a reader stays behind the producer
//! ([`Pace`](crate::Pace)).

use crate::cpu::cache::ticks_to_load;
use crate::cpu::processor::{Maker, Processor};
#[cfg(feature = "alloc")]
use crate::error::LinkError;
#[cfg(feature = "std")]
use crate::error::LinkErrorKind;
use crate::memory::hints::Hints;
#[cfg(feature = "std")]
use crate::memory::hints::HintsError;
use crate::sync::AtomicU64;

/// The sizes of rings whose lines are evicted: at least so many slots, and at most so many bytes of them.
const EVICT_FROM_DEPTH: u64 = 256;
const EVICT_TO_BYTES: usize = 1 << 20;
/// The same for writing back: rings that take more than half of the nearest cache of 32 KiB, and less than the outer one.
/// Measured on AMD Zen 3 with near cores, one call for each fragment, in million fragments a second without and with writing
/// back. 64 bytes: ring of 4 KiB 54 and 41, 8 KiB 87 and 50, 16 KiB 83 and 61, 32 KiB 42 and 89, 64 KiB 41 and 96. 256 bytes:
/// 10 KiB 27 and 32, 20 KiB 23 and 40.
const WRITE_BACK_ABOVE_BYTES: usize = 16 << 10;
/// Fewer slots leave no room for the steps in which lines are written back.
const WRITE_BACK_FROM_DEPTH: u64 = 32;
/// Larger rings leave the caches before a line is used again.
const LARGE: usize = 2 << 20;
/// A load that takes less ticks than this comes from a near core. Measured on a processor with 2.6 ticks per nanosecond:
/// cores that share a cache need 80 to 200 ticks, with round trips of 30 to 110 ns in `bench/`; other cores need 340 ticks
/// and more, with round trips of 430 ns.
const NEAR_TICKS: u64 = 240;
/// See [`Nearness`].
pub(super) const MEASURE_EVERY: u64 = 1024;
/// See the table.
const PREFETCH: u8 = 4;
const PREFETCH_LARGE: u8 = 32;
/// AMD's family of Zen 5. Later ones are taken to be like it.
const ZEN_5: u8 = 26;

impl Hints {
    /// What was measured to pay on the processor that this program runs on.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Hints, Link};
    ///
    /// let mut hints = Hints::of_this_processor();
    /// hints.hot_slot = false;
    /// let link = Link::builder().hints(hints).build()?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn of_this_processor() -> Self {
        // With `--cfg no_hints`, tests and models run without any.
        if cfg!(no_hints) { Self::NONE } else { hints_on(Processor::this()) }
    }
}

/// The hints of links that set none: those of `TANGO_HINTS`, otherwise [`Hints::of_this_processor`].
#[cfg(feature = "std")]
pub(crate) fn hints_of_process() -> Result<Hints, LinkError> {
    const NAME: &str = "TANGO_HINTS";
    let Some(text) = std::env::var_os(NAME).filter(|text| !text.is_empty()) else {
        return Ok(Hints::of_this_processor());
    };
    let parsed = text.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        let message = std::format!("{NAME} is {text:?}: {HintsError}");
        LinkError::new(LinkErrorKind::Invalid, message)
    })
}

#[cfg(all(feature = "alloc", not(feature = "std")))]
pub(crate) fn hints_of_process() -> Result<Hints, LinkError> {
    Ok(Hints::of_this_processor())
}

fn hints_on(processor: Processor) -> Hints {
    match processor.maker {
        Maker::Amd => {
            let (prefetch_batches, prefetch_large) =
                if processor.family >= ZEN_5 { (PREFETCH, PREFETCH_LARGE) } else { (0, 0) };
            Hints {
                prefetch: 0,
                prefetch_batches,
                prefetch_large,
                write_back: true,
                evict: true,
                hot_slot: true,
                hot_page: true,
            }
        }
        Maker::Intel | Maker::Unknown => Hints { prefetch: PREFETCH, hot_slot: true, ..Hints::NONE },
    }
}

/// What pays for a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pays {
    /// To evict lines that were read, or will be written some time later.
    pub(super) evicting: bool,
    /// To write lines back that were read, if the producer is near.
    pub(super) writing_back: bool,
}

impl Pays {
    /// For a ring of `depth` slots, `bytes` in all, on this processor.
    pub(super) fn here(hints: Hints, depth: u64, bytes: usize) -> Self {
        Self::on(Processor::this(), hints, depth, bytes)
    }

    fn on(processor: Processor, hints: Hints, depth: u64, bytes: usize) -> Self {
        let evicting = hints.evict && processor.evicts;
        let writing_back = hints.write_back && processor.writes_back;
        Self {
            evicting: evicting && depth >= EVICT_FROM_DEPTH && bytes <= EVICT_TO_BYTES,
            writing_back: writing_back
                && depth >= WRITE_BACK_FROM_DEPTH
                && bytes > WRITE_BACK_ABOVE_BYTES
                && !is_large(bytes),
        }
    }
}

/// Whether a ring of so many bytes leaves the caches before its lines are used again.
pub(super) fn is_large(bytes: usize) -> bool {
    bytes > LARGE
}

/// Whether the other side is near, as it was measured before fragment `measured_at`. `MEASURE_EVERY` fragments later it is
/// measured again: threads move to other cores, and virtual machines to other hosts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nearness {
    pub(super) is_near: bool,
    measured_at: u64,
}

impl Nearness {
    /// Not measured yet before fragment `n`. Counts as far.
    pub(super) fn unknown(n: u64) -> Self {
        Self::measured(n.wrapping_sub(MEASURE_EVERY), false)
    }

    pub(super) fn measured(n: u64, is_near: bool) -> Self {
        Self { is_near, measured_at: n }
    }

    /// Whether it should be measured before fragment `n`.
    pub(super) fn is_due(self, n: u64) -> bool {
        n.wrapping_sub(self.measured_at) >= MEASURE_EVERY
    }
}

/// Whether the thread that has just written `word` runs on a near core, measured by a load of it.
///
/// A near writer takes a line quickly from the cache of its reader, also after it was written back. An evicted line comes from
/// memory, which is faster only for a far writer.
pub(crate) fn is_near(word: &AtomicU64) -> bool {
    ticks_to_load(word) < NEAR_TICKS
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_pays_depends_on_the_processor_and_on_the_ring() {
        let amd = Processor { maker: Maker::Amd, evicts: true, writes_back: true, ..Processor::UNKNOWN };
        let pays = |processor, depth: u64| {
            let pays = Pays::on(processor, hints_on(processor), depth, depth as usize * 128);
            (pays.evicting, pays.writing_back)
        };
        for (depth, expected) in [
            (128, (false, false)),
            (129, (false, true)),
            (256, (true, true)),
            (8192, (true, true)),
            (16384, (false, true)),
            (32768, (false, false)),
        ] {
            assert_eq!(pays(amd, depth), expected, "{depth}");
            assert_eq!(hints_on(Processor { family: 25, ..amd }).prefetch_batches, 0);
            assert_eq!(hints_on(Processor { family: 26, ..amd }).prefetch_batches, PREFETCH);
            for maker in [Maker::Intel, Maker::Unknown] {
                assert_eq!(pays(Processor { maker, ..amd }, depth), (false, false), "{depth}");
            }
        }
        for (depth, expected) in [(16, false), (32, true)] {
            let pays = Pays::on(amd, hints_on(amd), depth, depth as usize * 8192);
            assert_eq!(pays.writing_back, expected, "{depth} large slots");
        }
        assert_eq!(pays(Processor { writes_back: false, ..amd }, 256), (true, false));
        assert_eq!(pays(Processor { evicts: false, ..amd }, 256), (false, true));
        assert_eq!(hints_on(Processor::UNKNOWN).prefetch, PREFETCH);
    }
}
