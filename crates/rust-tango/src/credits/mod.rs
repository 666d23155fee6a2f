//! Flow control: how far the reliable consumers are, and so how far the producer may go.
//!
//! Nothing here knows of producers or consumers as such. Reading order:
//!
//! - `slot`: the words of one consumer
//! - `seat`: that slot as its owner uses it
//! - `watched`: all slots as the producer watches them
//! - `hold`: a consumer that holds the producer back, as another thread can watch it
//! - `floor`: the producer's side, with the proof of joining and refreshing

pub(crate) mod slot;

pub(crate) mod seat;

pub(crate) mod watched;

#[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
pub(crate) mod hold;

pub(crate) mod floor;

#[cfg(test)]
mod floor_tests;
