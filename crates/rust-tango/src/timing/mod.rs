//! Policy about time, and about nothing else: which cache lines to prefetch, when a reader polls the hot slot, how far
//! it stays behind, how long it spins.
//!
//! Everything here is a plain struct. The two ends ask it ("which lines next?", "what now, after an empty poll?") and act
//! on the answer. Nothing here owns shared memory, holds a reference to a producer or a consumer, or executes an
//! instruction for a cache: those are in [`cpu`](crate::cpu).
//!
//! No answer changes a result. `--cfg no_hints` switches the policy off, and all tests and models pass without it: then
//! nothing is prefetched or cleaned, readers poll the ring only and pause nowhere, and the producer announces fragments in
//! the hot slot without their payload.
//! What is cheaper on which processor is known from measurements: [`processor`].
//!
//! Reading order: `processor`, `hints` (what consumers tell the producer), `writing` (the producer's policy), then the
//! parts of the reader's policy (`idle`, `place`, `distance`, `cleaning`) and `reading`, which consists of them.

pub(crate) mod processor;

pub(crate) mod hints;

pub(crate) mod writing;

pub(crate) mod idle;

pub(crate) mod place;

mod distance;

pub(crate) mod cleaning;

pub(crate) mod reading;

use processor::ON;

/// How often the producer spins before it reads the consumers' progress again, after `failures` reads in a row that
/// found no credit: twice as often each time, up to about a microsecond. A producer that spins on a full ring would
/// otherwise pull the consumer's line away with every turn.
pub(crate) fn spins_before_refresh(failures: u32) -> u64 {
    if ON { (1 << failures.min(6)) >> 1 } else { 0 }
}
