//! The memory that carries fragments, and the protocol on it.
//!
//! This layer promises that a reader gets whole fragments, and that a lapped reader notices. It does not know
//! how many readers there are, when they read, or how fast.
//!
//! Reading order: `seq` (sequence arithmetic), `metadata` (what travels with a payload), `line` (the protocol
//! of one slot, with its proof), `region` and `slots` (views of the memory), `hot_slot` (a mirror of the
//! newest fragment for waiting readers, with its proof).

pub(crate) mod seq;

pub(crate) mod metadata;

pub(crate) mod line;

pub(crate) mod region;
pub(crate) mod slots;

pub(crate) mod hot_slot;
