//! Waiting without fragments: how a thread passes the time, sleeps, and is woken.
//!
//! Reading order: `kernel` (futex and membarrier), `eventcount` (how a sleeper is woken without a system call per
//! fragment, with its proof), `wait` (spin, yield, park).

pub(crate) mod kernel;

pub(crate) mod eventcount;
pub(crate) mod wait;
