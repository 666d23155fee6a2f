//! From links here to the network.
//!
//! ```text
//!   service   watches the folder; for each name that matches, one thread:
//!   carrying    joins the link of that name, and the next one after it
//!   reading       reads one link: fragments -> packing -> batches -> outlet -> queue   (waits or drops, says gaps)
//!   sending     a second thread: queue -> zenoh; once a second what the link is
//!   history     answers queries with what the ring still has, each in a thread of its own
//! ```
//!
//! What is in memory is bounded by the queue, one batch that is being filled, and one that is being sent.

mod about;
mod packing;
mod queue;

mod sending;

mod history;
mod outlet;

mod changes;
mod reading;

mod carrying;

mod service;

pub use service::Publishing;
