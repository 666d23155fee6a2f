//! The command `tango-bridge`: links of `rust_tango` on other machines, over zenoh.
//!
//! ```text
//!   link -> publishing: reader -> batches -> queue -> sender -> network -> subscribing: arrival -> queue -> far link
//!              ^                                                                 |
//!              '---------------- history: what the ring still has <-- query -----'  after a gap
//! ```
//!
//! A link is carried by one bridge on each side. The far link has the same sequence numbers as the link at the origin.
//! Numbers whose fragments are lost are left out there, so that its readers see an overrun.
//!
//! This crate has a library target for its tests. Programs depend on `rust_tango` instead.
#![deny(unsafe_code)]

pub mod failure;

mod numbers;

pub mod wire;

pub mod counts;
pub mod journal;
pub mod pattern;
pub mod settings;

pub mod network;

pub mod context;

pub mod connections;

pub mod metrics;

pub mod publishing;

pub mod subscribing;

pub mod run;
