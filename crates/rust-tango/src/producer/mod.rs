//! The publishing end of a link.
//!
//! A [`Producer`] keeps private what it knows: the number of the next fragment, how far it may go, and
//! where payloads lie. For each fragment it only writes shared memory, by the steps of
//! [`line`](crate::ring::line), and reads one word of each consumer slot, which seldom changes: does the consumer
//! sleep? Now and then, it reads the consumers' hints. When its credits run out, it reads how far the consumers are.
//! It does not know where the memory comes from.
//!
//! Reading order. `publish` has the path of a fragment, from top to bottom. It uses:
//!
//! - `meta`: metadata, named field by field
//! - `claim`: the right to be the producer
//! - `placement`: where large payloads go
//! - `hot_writer`: whether fragments are mirrored into the hot slot, or announced there
//! - `backpressure`: what the producer does without credits
//!
//! These use it:
//!
//! - `notify`: waking consumers, and tasks that await fragments
//! - `room`: credits, retiring what is overwritten, and hints
//! - `batch`: several fragments at once
//! - `state`: questions, settings, and the end
//! - `attach`: how a producer begins
//! - `loan`: writing a payload in place
//! - `wait`: calls that block
//! - `skip`: numbers that are left out
//! - `credit_watch`: what a producer waits for, for a thread that waits in its place

mod meta;

mod claim;

mod placement;

mod hot_writer;

mod backpressure;

mod publish;

mod notify;

mod room;

mod batch;

mod state;

mod attach;

mod loan;

mod wait;

mod skip;

#[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
mod credit_watch;

pub(crate) use attach::Begin;
#[cfg(feature = "alloc")]
pub(crate) use attach::prepare_zeroed;
pub(crate) use claim::Claim;
#[cfg(feature = "alloc")]
pub(crate) use claim::ProducerClaim;
#[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
pub(crate) use credit_watch::CreditWatch;
pub use loan::Loan;
pub use meta::Meta;
pub use publish::Producer;
#[cfg(all(loom, test))]
pub(crate) use publish::store_published;

#[cfg(all(test, not(loom), not(no_hints), feature = "alloc"))]
mod timing_tests;
