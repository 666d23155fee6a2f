//! The memory of one link as both ends work on it, whoever owns it.
//!
//! Reading order: `cnc` (command and control), `head` (the producer's words beside the ring), `occupants` (who lives on
//! borrowed storage), `parts` (all of a link's memory as views), `geometry` (sizes), `status` (a link from outside).

pub(crate) mod cnc;

pub(crate) mod head;

pub(crate) mod occupants;

pub(crate) mod parts;

#[cfg(feature = "alloc")]
pub(crate) mod geometry;

#[cfg(feature = "alloc")]
pub(crate) mod status;
