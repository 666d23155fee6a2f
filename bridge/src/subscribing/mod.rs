//! From the network to links here.
//!
//! ```text
//!   arrival, for each subscription     one thread for each key
//!   service: by key -> queue ->        worker -> source   which bridge counts, and what has changed at the origin?
//!                                             -> carrier -> order   publish, ask, leave out?
//!                                             -> ending             the origin, or this bridge, has ended
//!                                                        -> maker, far   the far link
//!                                                        <- asking   what the other bridge sends again
//! ```
//!
//! `order` and `source` decide, and do nothing: no threads, no network, no links. Their tests have all cases. `carrier` and
//! `worker` do what they say. No number is passed over in silence: each is published into the far link, or left out there and
//! counted under one cause.

mod order;

mod source;

mod arrived;

mod queue;

mod plan;

mod far;

mod shared;

mod report;

mod maker;

mod asking;

mod carrier;

mod ending;

mod worker;

mod service;

#[cfg(test)]
mod order_tests;

pub use service::Subscribing;
