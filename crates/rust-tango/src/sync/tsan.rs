//! Atomics for the thread sanitizer, which does not understand fences.
//!
//! The sanitizer sees an order between two threads only along a Release store and an Acquire load of the same
//! word. The protocols use relaxed accesses and fences for the same purpose. So here every load is Acquire
//! and every store is Release.
//!
//! - The sanitizer can find: plain accesses that no chain of atomic words orders with another thread's
//!   accesses. Plain memory is the `&[u8]` of a payload, and the private cells of a producer or consumer that
//!   moves to another thread. So it finds a credit that is returned too early, or a cell that two threads
//!   use.
//! - It cannot find: an ordering or a fence that is too weak. The models are for that. It also cannot find
//!   memory that an `Arc` frees too early, because of the fence inside `Arc` (`.ci/tsan.suppressions`).

use core::sync::atomic::{
    self,
    Ordering::{self, AcqRel, Acquire, Release, SeqCst},
};

macro_rules! words {
    ($($word:ident $value:ty),*) => {$(
        #[repr(transparent)]
        #[derive(Debug)]
        pub(crate) struct $word(atomic::$word);

        #[allow(dead_code)] // both widths have all methods, and each uses only some
        impl $word {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$word::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.0.load(if order == SeqCst { SeqCst } else { Acquire })
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, if order == SeqCst { SeqCst } else { Release });
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                _: Ordering,
                _: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, AcqRel, Acquire)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $value,
                new: $value,
                _: Ordering,
                _: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange_weak(current, new, AcqRel, Acquire)
            }

            pub(crate) fn fetch_or(&self, value: $value, _: Ordering) -> $value {
                self.0.fetch_or(value, AcqRel)
            }

            pub(crate) fn fetch_and(&self, value: $value, _: Ordering) -> $value {
                self.0.fetch_and(value, AcqRel)
            }

            pub(crate) fn fetch_add(&self, value: $value, _: Ordering) -> $value {
                self.0.fetch_add(value, AcqRel)
            }

            pub(crate) fn as_ptr(&self) -> *mut $value {
                self.0.as_ptr()
            }
        }
    )*};
}

words!(AtomicU32 u32, AtomicU64 u64);
