//! From links here to the network.
//!
//! ```text
//!   service   watches the folder; for each name that matches, one thread:
//!   carrying    joins the link of that name, and the next one after it
//!   reading       reads one link: fragments -> packing -> batches -> outlet -> queue   (waits or drops, says gaps)
//!   sending     a second thread: queue -> zenoh; once a second what the link is
//!   removed     one thread for all links that were removed: once a second their last number and their end, for a minute
//!   history     answers queries with what the ring still has, in up to 8 threads of its own; more queries wait in a line
//! ```
//!
//! What is in memory is bounded by the queue, one batch that is being filled, and one that is being sent.

mod about;
mod packing;
mod queue;

mod sending;

mod line;

mod history;
mod outlet;
mod removed;

mod changes;
mod reading;

mod carrying;

mod service;

pub use service::Publishing;
