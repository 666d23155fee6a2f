//! Atomics, cells and fences, or their stand-ins for the model checker and the thread sanitizer.
//!
//! This layer is the only one that names `core::sync`, `core::cell` or loom. All other layers import their
//! primitives from here, so the model checker runs the same code as everybody else.
//!
//! [`ordering`] gives a name to each ordering that a proof relies on. In normal builds it has no effect. A run
//! of the model checker can weaken one ordering by its name, to show that a model fails without it: see
//! `models`.
//!
//! Reading order: this file, `own` (how an owner reads its own words), `padded` (a value on cache lines of its
//! own); `model` (the primitives under loom) and `tsan` (under the thread sanitizer) only if you work on those
//! builds.

pub(crate) use core::cell::{Cell, UnsafeCell};
pub(crate) use core::sync::atomic::{
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    compiler_fence,
};

#[cfg(not(loom))]
pub(crate) use core::hint::spin_loop;
#[cfg(not(loom))]
use core::sync::atomic::Ordering;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::fence;
#[cfg(not(any(loom, tsan)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};

mod own;
pub(crate) use own::Own;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub(crate) use model::{AtomicU32, AtomicU64, Lent, fence, kernel, ordering, spin_loop};
#[cfg(all(loom, test))]
pub(crate) use model::{begin_execution, mutation};

mod padded;
pub(crate) use padded::Padded;

#[cfg(tsan)]
mod tsan;
#[cfg(tsan)]
pub(crate) use tsan::{AtomicU32, AtomicU64};

/// A flag that models leave out: it is no part of the protocol.
pub(crate) use core::sync::atomic::AtomicBool as StaticBool;
/// An atomic for words that models leave out: statics, private words, hints, entries for forked children.
pub(crate) use core::sync::atomic::AtomicU64 as StaticU64;

#[cfg(feature = "alloc")]
pub(crate) use alloc::sync::Arc;
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) use core::sync::atomic::AtomicPtr;
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) use std::sync::MutexGuard;
#[cfg(feature = "shm")]
pub(crate) use std::sync::{Mutex, PoisonError};
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use std::sync::{RwLock, RwLockWriteGuard, TryLockError};

#[cfg(not(loom))]
impl Own for AtomicU64 {
    type Value = u64;

    #[inline(always)]
    fn own(&self) -> u64 {
        self.load(Relaxed)
    }
}

#[cfg(not(loom))]
impl Own for AtomicU32 {
    type Value = u32;

    #[inline(always)]
    fn own(&self) -> u32 {
        self.load(Relaxed)
    }
}

/// The ordering of an access or a fence. The proofs rely on it by `name`.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn ordering(_name: &str, ordering: Ordering) -> Ordering {
    ordering
}
