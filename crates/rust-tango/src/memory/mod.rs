//! The memory of one link, as the view that both ends work on.
//!
//! This layer does not know who owns the memory: a `static`, the heap, or a mapped file. It promises that
//! each word has one writer, and that readers only load, so they may map the producer's memory read-only.
//! (The exception is `occupants`, which the ends on borrowed storage share.)
//!
//! Reading order: `cnc` (state and heartbeat), `head` (the producer's words outside the ring), `occupants`
//! (which ends are attached to borrowed storage), `hints` (what a link does for speed), `parts` (all memory of a link,
//! as views), `geometry` (sizes), `payload_type` (what the payloads are), `status` (a report on a link),
//! `counts` (only its counts),
//! `share` (a share of the memory, for a thread that waits in the place of an end).

pub(crate) mod cnc;

pub(crate) mod head;

pub(crate) mod occupants;

pub(crate) mod hints;

pub(crate) mod parts;

#[cfg(feature = "alloc")]
pub(crate) mod geometry;

#[cfg(feature = "alloc")]
pub(crate) mod payload_type;

#[cfg(feature = "alloc")]
pub(crate) mod status;

#[cfg(feature = "alloc")]
pub(crate) mod counts;

#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) mod share;
