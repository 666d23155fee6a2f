//! The reading end of a link.
//!
//! A [`Consumer`] does not know where the memory comes from. What reads is the `poll::Reader` inside it, in one of
//! three modes, which is chosen when it is made:
//!
//! - *reliable*: it reads every fragment. It holds credits, so the producer waits for it. It hands out
//!   slices of the ring itself. (If it has waited for a small fragment, it may hand out a copy: see
//!   [`hot_slot`](crate::ring::hot_slot).) It has finished with a fragment when the
//!   [`Payload`](crate::Payload) is dropped.
//! - *observing*: the producer does not know of it, and laps it. It copies a fragment, validates the copy,
//!   and hands out the copy.
//! - *evictable*: the producer waits for it, but not forever. So it reads by validated copy, like an
//!   observer. It returns the credit as soon as it has the copy.
//!
//! Reading order. `poll` has the path of a fragment, from top to bottom. It uses:
//!
//! - `payload`: what is handed out
//! - `mode`: how the consumer reads
//! - `losses`: where reading continues after a loss
//! - `standing`: whether the reader has joined, and what it has missed
//! - `producer_watch`: whether the producer lives
//! - `hot_reader`: the hot slot that the consumer polls, and copies of what it had
//! - `pacing`: what it does on the advice of `timing`
//! - `told`: what it has told a subscriber, and `telling`, below: how (feature `tracing`)
//!
//! These use it:
//!
//! - `slow_path`: when there is no fragment, or something has to be reported
//! - `cell`: one fragment at a time through a shared reference
//! - `handle`: [`Consumer`], which is a reader in such a cell
//! - `join`: how a consumer begins
//! - `filter`: reading only the fragments with certain tags
//! - `state`: questions, settings, and the end
//! - `wait`: calls that block
//! - `recv`: calls that read through a shared reference
//! - `batch`: several fragments at once
//! - `iter`: iteration

pub(crate) mod payload;

mod mode;

mod losses;

mod standing;

mod producer_watch;

mod hot_reader;

mod pacing;

#[cfg(feature = "tracing")]
mod told;

mod poll;

#[cfg(feature = "tracing")]
mod telling;

mod slow_path;

mod cell;

mod handle;

mod filter;

mod state;

mod join;

mod wait;

mod recv;

pub(crate) mod batch;

#[cfg(feature = "alloc")]
mod iter;

pub use cell::Received;
pub use handle::Consumer;
#[cfg(feature = "alloc")]
pub use iter::ConsumerIter;
pub use join::Start;
#[cfg(feature = "alloc")]
pub(crate) use mode::ConsumerClaim;
pub(crate) use mode::{Attachment, Mode};
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use poll::{FoundIn, Next, Reader};
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use wait::{FragmentWatch, LinkEnd};

#[cfg(all(test, not(loom), feature = "alloc"))]
mod poll_tests;
#[cfg(all(test, not(loom), feature = "alloc"))]
mod state_tests;
#[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
mod timing_tests;
