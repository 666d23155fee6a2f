//! The reading end of a link.
//!
//! A [`Consumer`] reads every fragment in place, or whatever it can by copy. It knows nothing of where the memory comes
//! from. One type reads in three modes, chosen when it is made:
//!
//! - *reliable*: it holds credits, so the producer waits for it, and what it hands out is a slice of
//!   the ring itself (of a small fragment that it has waited for, a copy: see [`hot_slot`](crate::ring::hot_slot)). It
//!   finishes with a fragment when the [`Payload`](crate::Payload) is dropped.
//! - *observing*: the producer does not know of it and laps it. It copies, validates the copy, and
//!   hands that out.
//! - *evictable*: the producer waits for it, but not for ever. So it reads like an observer, and gives
//!   its credit back with the copy.
//!
//! Reading order: `poll` is the way of a fragment, from top to bottom. Below it lie `payload` (what is handed out),
//! `mode` (how it reads), `losses` (what was lost, and where to go on), `producer_watch` (does the producer live?) and
//! `hot_reader` (the hot slots that it polls). On top of it are `join` (how a consumer begins), `wait` (calls that block),
//! `batch` (several fragments at once) and `iter`.

pub(crate) mod payload;

mod mode;

mod losses;

mod producer_watch;

mod hot_reader;

mod poll;

mod join;

mod wait;

pub(crate) mod batch;

#[cfg(feature = "alloc")]
mod iter;

#[cfg(feature = "alloc")]
pub use iter::ConsumerIter;
pub use join::Start;
#[cfg(feature = "alloc")]
pub(crate) use mode::ConsumerClaim;
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use mode::Question;
pub(crate) use mode::{Attachment, Mode};
pub use poll::Consumer;
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use poll::{Next, Place};
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use wait::Watch;

#[cfg(all(test, not(loom), feature = "alloc"))]
mod poll_tests;
#[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
mod timing_tests;
