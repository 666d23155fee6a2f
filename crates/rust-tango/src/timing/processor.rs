//! Which hints pay on which processor: a table of measurements.
//!
//! | | AMD (Zen 4) | Intel (Sapphire Rapids) | unknown |
//! |---|---|---|---|
//! | prefetch for reading and for writing | yes | yes | yes, where there is an instruction |
//! | write back what was read | yes, if the producer is near | no: the producer alone falls from 109 to 34 million a second | no |
//! | evict what was read | yes, if the producer is far | no | no |
//! | stay behind the producer in a stream | yes | yes: 41 instead of 31 million a second, but bursts of 256 arrive 8 % later | yes |
//! | poll the hot slot | yes | yes: 340 instead of 430 ns for each of 100 thousand calls a second | yes |
//! | map the hot slot writable, and load from it | yes: 100 to 140 instead of 170 to 210 ns for a round trip | no | no |
//!
//! On AMD's processors, a writer that takes back a line that a reader has taken over unwritten pays a full round trip for
//! each line, one after the other, while fetches of other lines overlap with other work. Writing lines back, or evicting
//! them, brings a stream of 64 bytes from 27 to 140 million a second (`bench/`: workload `throughput`; Zen 4). It does not
//! pay in small rings, which stay in the nearest caches, nor in large ones, whose lines leave the caches anyway before
//! their next use (workload `deep`).

use crate::cpu::cache::{Maker, Processor, ticks_to_load};
use crate::sync::AtomicU64;

/// Whether there is a policy: see [`timing`](super).
pub(crate) const ON: bool = !cfg!(no_hints);

/// The sizes of rings whose lines are evicted: at least so many slots, and at most so many bytes of them.
const EVICT_FROM_DEPTH: u64 = 256;
const EVICT_TO_BYTES: usize = 1 << 20;
/// The same for writing back. Smaller rings than those that are evicted gain, too.
const WRITE_BACK_FROM_DEPTH: u64 = 32;
const WRITE_BACK_TO_BYTES: usize = 2 << 20;
/// A load that takes less ticks than this comes from a near core. Measured on a processor with 2.6 ticks per nanosecond:
/// cores that share a cache need 80 to 200 ticks, with round trips of 30 to 110 ns in `bench/`; other cores need 340 ticks
/// and more, with round trips of 430 ns.
const NEAR_TICKS: u64 = 240;

/// Whether readers map the hot slot of a link in shared memory writable: see
/// [`hot_slot`](crate::ring::hot_slot).
///
/// On Zen 4, round trips of 8 and 64 bytes take 100 to 140 ns with it, and 170 to 210 without.
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) fn hot_page_is_writable() -> bool {
    ON && Processor::this().maker == Maker::Amd
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
    pub(super) fn here(depth: u64, bytes: usize) -> Self {
        let processor = if ON { Processor::this() } else { Processor::UNKNOWN };
        Self::on(processor, depth, bytes)
    }

    fn on(processor: Processor, depth: u64, bytes: usize) -> Self {
        let Processor { maker, evicts, writes_back } = processor;
        match maker {
            Maker::Amd => Self {
                evicting: evicts && depth >= EVICT_FROM_DEPTH && bytes <= EVICT_TO_BYTES,
                writing_back: evicts
                    && writes_back
                    && depth >= WRITE_BACK_FROM_DEPTH
                    && bytes <= WRITE_BACK_TO_BYTES,
            },
            Maker::Intel | Maker::Unknown => Self { evicting: false, writing_back: false },
        }
    }
}

/// Whether the producer runs on a near core, measured by a load of `word`, which the producer has just written.
///
/// A line that was written back stays in the reader's cache, and a near producer takes it from there quickly. An evicted
/// line comes from memory, which is faster only for a far producer.
pub(crate) fn is_near(word: &AtomicU64) -> bool {
    ticks_to_load(word) < NEAR_TICKS
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_pays_depends_on_the_processor_and_on_the_ring() {
        let amd = Processor { maker: Maker::Amd, evicts: true, writes_back: true };
        let pays = |processor, depth: u64| {
            let Pays { evicting, writing_back } = Pays::on(processor, depth, depth as usize * 128);
            (evicting, writing_back)
        };
        for (depth, expected) in [
            (16, (false, false)),
            (32, (false, true)),
            (256, (true, true)),
            (8192, (true, true)),
            (16384, (false, true)),
            (32768, (false, false)),
        ] {
            assert_eq!(pays(amd, depth), expected, "{depth}");
            for maker in [Maker::Intel, Maker::Unknown] {
                assert_eq!(pays(Processor { maker, ..amd }, depth), (false, false), "{depth}");
            }
        }
        assert_eq!(pays(Processor { writes_back: false, ..amd }, 256), (true, false));
        assert_eq!(pays(Processor { evicts: false, ..amd }, 256), (false, false));
    }
}
