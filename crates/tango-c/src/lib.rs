//! The C interface of rust-tango: `libtango.so`, `libtango.a`, and the header `include/tango.h`, which
//! `header/` generates from this crate. `docs/c.md` is for users.
//!
//! ```text
//!   C program --- handle (a number) ---> table ---> entry: Producer or Consumer, and what it has lent
//!             <-- code, and the text of the last error of the thread
//! ```
//!
//! Invariants:
//!
//! - *No panic crosses the border.* Every function that can panic runs inside [`error::guard`]. That needs panics that
//!   unwind, so a build in which they end the process is refused.
//! - *A handle is a number and not an address.* What is looked up with it is the table's own memory, so a handle that was
//!   closed, or never opened, reads nothing that was freed. See [`table`].
//! - *An entry is accessed field by field, through a raw pointer.* What it has lent borrows from its `Producer` or
//!   `Consumer`, and a reference to the whole entry would end that borrow. See [`consumer`].
//! - *Memory of the caller is accessed in [`memory`] only*, after a check for null.
//!
//! Modules are `pub` because the header exports what is in them. Doc comments of what is exported are the comments of the header, so they speak C.
//!
//! Reading order: `status` (codes), `error` (the last error, panics), `memory` (pointers of the caller), `table`
//! (handles), `options`, `link`, `report` and `metrics` (what a link says of itself), `producer`, `publish`, `loan`,
//! `consumer`, `read`, `batch`, `descriptor`.
#![allow(non_camel_case_types)] // the names are C's
#![deny(unsafe_code)]

#[cfg(panic = "abort")]
compile_error!("a panic of libtango becomes TANGO_PANIC, which needs `panic = \"unwind\"` in the profile");

pub mod status;

pub mod error;

mod memory;

mod table;

pub mod options;

pub mod link;

pub mod report;

pub mod metrics;

pub mod producer;

pub mod publish;

pub mod loan;

pub mod consumer;

pub mod read;

pub mod batch;

pub mod descriptor;

#[cfg(test)]
mod lent;

#[cfg(test)]
mod guarded;
