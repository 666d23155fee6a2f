//! From links here to the network.

mod service;

pub use service::Publishing;
