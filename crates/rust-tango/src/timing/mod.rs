//! Policy about time, and about nothing else: which cache lines to prefetch, when a reader polls the hot
//! slot, whether it stays behind the producer, how long it spins.
//!
//! Everything here is a plain struct. The producer and the consumer ask it ("which lines next?", "what now,
//! after an empty poll?") and act on the answer. Nothing here owns shared memory, holds a reference to a
//! producer or a consumer, or executes a cache instruction: those are in [`cpu`](crate::cpu).
//!
//! An answer decides when something is found, and never what. `--cfg no_hints` switches the policy off, and all
//! tests and models that are not about it pass without it. Nothing is prefetched for writing, written back or
//! evicted then. (The lines of a batch are still prefetched while it is gathered.) Readers poll the ring only, and
//! do not pause. The producer only announces fragments in the hot slot.
//!
//! [`processor`] knows, from measurements, what pays on which processor.
//!
//! Reading order:
//!
//! - `processor`
//! - `hints`: what consumers hint to the producer
//! - `writing`: the producer's policy
//! - `idle`, `place`, `distance`, `cleaning`: the parts of the reader's policy
//! - `reading`: the reader's policy, which consists of these parts

pub(crate) mod processor;

pub(crate) mod hints;

pub(crate) mod writing;

pub(crate) mod idle;

pub(crate) mod place;

pub(crate) mod distance;

pub(crate) mod cleaning;

pub(crate) mod reading;

/// How many [turns](crate::cpu::clock) the producer spins before it reads the consumers' progress again, after `failures` reads in a
/// row that found no credit. The number doubles each time, up to about a microsecond. Otherwise a producer
/// that spins on a full ring would take the consumer's cache line away with every turn.
pub(crate) fn turns_before_refresh(failures: u32) -> u64 {
    if cfg!(no_hints) { 0 } else { (1 << failures.min(6)) >> 1 }
}
