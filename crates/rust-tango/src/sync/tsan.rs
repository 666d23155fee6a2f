//! Atomics for the thread sanitizer, which does not understand fences.
//!
//! It follows an order between threads only along a Release store and an Acquire load of the same word. Here
//! the protocols say the same by relaxed accesses and fences, so every load is made Acquire and every store
//! Release. What the sanitizer then finds are plain accesses (the `&[u8]` of a payload, the private cells of a
//! producer or consumer that moves to another thread) that no chain of atomic words puts in order with what
//! others do there: a credit that goes back too early, a cell that two threads use. Whether an ordering or a fence
//! is strong enough it cannot find: that is what the models are for. Nor what an `Arc` frees too early, because of
//! the fence in it (`.ci/tsan.suppressions`).

use core::sync::atomic::{
    self,
    Ordering::{self, AcqRel, Acquire, Release, SeqCst},
};

macro_rules! words {
    ($($word:ident $value:ty),*) => {$(
        #[repr(transparent)]
        #[derive(Debug)]
        pub(crate) struct $word(atomic::$word);

        #[allow(dead_code)] // each width uses its part
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
