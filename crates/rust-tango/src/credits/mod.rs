//! Flow control: how far the reliable consumers are, and so how far the producer may go.
//!
//! Nothing here knows of producers or consumers as such. Reading order:
//!
//! - `slot`: the words of one consumer
//! - `seat`: that slot as its owner uses it
//! - `watched`: all slots as the producer watches them
//! - `floor`: the producer's side, with the proof of joining and refreshing

pub(crate) mod slot;

pub(crate) mod seat;

pub(crate) mod watched;

pub(crate) mod floor;
