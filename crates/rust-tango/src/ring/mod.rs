//! The memory that carries fragments, and the protocol on it.
//!
//! Nothing here knows who reads, when, or how fast. Reading order: `seq` (sequence arithmetic), `metadata`, `line` (the
//! protocol of one slot, with its proof), `slots` and `region` (views of the memory), `hot_slot` (the newest fragment once
//! more, for readers that wait, with its proof).

pub(crate) mod seq;

pub(crate) mod metadata;

pub(crate) mod line;

pub(crate) mod region;
pub(crate) mod slots;

pub(crate) mod hot_slot;
