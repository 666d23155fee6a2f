//! [`Padded`]: a value on a pair of cache lines of its own.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::Deref;

/// Keeps words that different threads write on different pairs of cache lines. The hardware fetches lines in
/// pairs, so one line of distance is not enough.
///
/// Every byte of it lies in an [`UnsafeCell`], including the padding. A reference that is passed to a
/// function, alone or as part of a producer or consumer, promises that all bytes outside such cells stay
/// allocated until the function returns. A function that takes a producer or consumer by value and drops it
/// can break that promise: if it was the last owner, the drop frees the link that the reference points into.
#[repr(transparent)]
pub(crate) struct Padded<T>(UnsafeCell<Pair<T>>);

/// The alignment is inside the cell, so that the padding is, too.
#[repr(C, align(128))]
struct Pair<T>(T);

// SAFETY: the only access to the cell is `deref`, which returns `&T`. Threads may share a `&T`, because `T`
// is `Sync`. No `&mut T` is ever made from a `&Padded<T>`.
unsafe impl<T: Sync> Sync for Padded<T> {}

impl<T> Padded<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(Pair(value)))
    }
}

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the pointer comes from the cell, so it is valid and initialised as long as `self` is
        // borrowed. Only this function makes references to the value, and only shared ones, so none conflicts
        // with this one.
        unsafe { &(*self.0.get()).0 }
    }
}

impl<T: fmt::Debug> fmt::Debug for Padded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
