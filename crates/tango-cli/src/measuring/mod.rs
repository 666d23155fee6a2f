//! Measuring a link between two processes: what `tango bench`, `tango ping` and the demonstration share.
//!
//! ```text
//!  side that asks       LINK, messages and questions -->      side that answers
//!  ask.rs                                                     answer.rs
//!                       <-- answers, results, LINK.back
//!                       two words, no protocol: raw.rs
//! ```
//!
//! Each side is a process with a link of its own, so that neither needs permission to write to what the other made. What is
//! measured takes turns (raw cache line, round trips, one way, throughput, and again), so that a figure and what it is
//! compared with come from the same time. A figure is the median over the turns. Every byte of every message is checked.
//!
//! The benchmarks of the project (`bench/`) compare channels, and this measures one machine. They share no code: a command
//! that is installed can neither depend on them nor on a crate that is never published (`crates/measure`).
//!
//! From the bottom up: `payload` (bytes that can be checked), `cores` (where the sides run), `figures` (percentiles and
//! medians), `machine` (what makes figures worse), `raw`, `wire` (what the sides say), `exchange` (the timed loops), `created`
//! (what is removed at the end), `ask`, `answer`, `options`, `report`, `role` (a process that answers), `progress`.

pub(crate) mod payload;

pub(crate) mod cores;
pub(crate) mod figures;
pub(crate) mod machine;
pub(crate) mod raw;
pub(crate) mod wire;

pub(crate) mod created;
pub(crate) mod exchange;

pub(crate) mod ask;

pub(crate) mod answer;
pub(crate) mod options;
pub(crate) mod report;

pub(crate) mod progress;
pub(crate) mod role;
