//! The only file that names `core::sync`, `core::cell` or loom.
//!
//! Everything else takes its atomics, cells and fences from here, so that the model checker sees the
//! very code that runs.

pub(crate) use core::cell::{Cell, UnsafeCell};
pub(crate) use core::hint::spin_loop;
pub(crate) use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    compiler_fence, fence,
};

/// For counters that live in a `static` and are not part of the protocol.
pub(crate) use core::sync::atomic::AtomicU64 as StaticU64;

#[cfg(feature = "alloc")]
pub(crate) use alloc::sync::Arc;
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use std::sync::{Condvar, MutexGuard};
#[cfg(feature = "shm")]
pub(crate) use std::sync::{Mutex, PoisonError};
