//! The publishing end of a link.
//!
//! A [`Producer`] knows where it is, how far it may go, and where payloads lie; all of that is private to it. For each
//! fragment it only writes shared memory, by the steps of [`line`](crate::ring::line), and reads two words of each
//! consumer slot, which seldom change: does the consumer sleep, and how does it read? How far the consumers are, it reads
//! when its credits run out. It knows nothing of where the memory comes from.
//!
//! Reading order: `publish` is the way of a fragment, from top to bottom. Below it lie `claim` (the right to be the
//! producer), `placement` (where large payloads go), `hot_slots` (which hot slots are written) and `backpressure` (what
//! happens without credits). On top of it are `attach` (how a producer begins), `loan` (writing in place) and `wait`
//! (calls that block).

mod claim;

mod placement;

mod hot_slots;

mod backpressure;

mod publish;

mod attach;

mod loan;

mod wait;

pub(crate) use attach::Begin;
#[cfg(feature = "alloc")]
pub(crate) use attach::prepare;
pub(crate) use claim::Claim;
#[cfg(feature = "alloc")]
pub(crate) use claim::ProducerClaim;
pub use loan::Loan;
pub use publish::Producer;
#[cfg(all(loom, test))]
pub(crate) use publish::store_published;

#[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
mod timing_tests;
