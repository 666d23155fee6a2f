//! The only file (with `sync/tsan.rs` below it) that names `core::sync`, `core::cell` or loom.
//!
//! Everything else takes its atomics, cells and fences from here, so that the model checker sees the
//! very code that runs.

pub(crate) use core::cell::{Cell, UnsafeCell};
pub(crate) use core::hint::spin_loop;
#[cfg(not(tsan))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};
pub(crate) use core::sync::atomic::{
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    compiler_fence, fence,
};

#[cfg(tsan)]
mod tsan;
#[cfg(tsan)]
pub(crate) use tsan::{AtomicU32, AtomicU64};

/// For counters that live in a `static` and are not part of the protocol.
pub(crate) use core::sync::atomic::AtomicU64 as StaticU64;

#[cfg(feature = "alloc")]
pub(crate) use alloc::sync::Arc;
#[cfg(feature = "shm")]
pub(crate) use std::sync::{Mutex, PoisonError};
