//! The only file (with those below it, in `sync/`) that names `core::sync`, `core::cell` or
//! loom.
//!
//! Everything else takes its atomics, cells and fences from here, so that the model checker sees the
//! very code that runs.
//!
//! [`ordering`] and [`intact`] mark what the proofs rely on. They do nothing, except that a run of the model
//! checker can take one of them away by its name, to show that a model fails without it: see `models`.

pub(crate) use core::cell::{Cell, UnsafeCell};
pub(crate) use core::sync::atomic::{
    Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst},
    compiler_fence,
};

#[cfg(not(loom))]
pub(crate) use core::hint::spin_loop;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::fence;
#[cfg(not(any(loom, tsan)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub(crate) use model::{AtomicU32, AtomicU64, Lent, fence, intact, kernel, ordering, pause, spin_loop};
#[cfg(all(loom, test))]
pub(crate) use model::{begin_execution, mutation};

mod padded;
pub(crate) use padded::Padded;

#[cfg(tsan)]
mod tsan;
#[cfg(tsan)]
pub(crate) use tsan::{AtomicU32, AtomicU64};

/// For words that models do not look at: statics, private words, hints, entries for forked children.
pub(crate) use core::sync::atomic::AtomicU64 as StaticU64;

#[cfg(feature = "alloc")]
pub(crate) use alloc::sync::Arc;
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(crate) use core::sync::atomic::AtomicPtr;
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) use std::sync::{Condvar, MutexGuard};
#[cfg(feature = "shm")]
pub(crate) use std::sync::{Mutex, PoisonError};

/// What the owner of a word, the only one that writes it, has stored last (or the owner before it). Relaxed;
/// the model checker makes sure that it is the owner.
pub(crate) trait Own {
    type Value;
    fn own(&self) -> Self::Value;
}

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

/// The ordering of an access or a fence that the proofs rely on by `name`.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn ordering(_name: &str, ordering: Ordering) -> Ordering {
    ordering
}

/// True: a step that the proofs rely on by `name` is done.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn intact(_name: &str) -> bool {
    true
}

/// Spins a little, only to be kind to the other side: nothing depends on it.
#[cfg(not(loom))]
#[inline]
pub(crate) fn pause(spins: u64) {
    for _ in 0..spins {
        spin_loop();
    }
}
