//! [`Padded`]: a value on a pair of cache lines of its own.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::Deref;

/// Keeps what different threads write on different pairs of cache lines: the hardware fetches them in pairs.
///
/// Every byte of it lies in an [`UnsafeCell`], the filling bytes too. A reference that is passed to a function,
/// alone or as part of a producer or a consumer, promises of all bytes outside of such cells that they live until
/// that function returns. But dropping a producer or a consumer, in a function that was passed it by value, may free
/// the link that the reference leads into: it may be the last owner.
#[repr(transparent)]
pub(crate) struct Padded<T>(UnsafeCell<Pair<T>>);

/// The alignment is inside of the cell, so that the filling bytes are.
#[repr(C, align(128))]
struct Pair<T>(T);

// SAFETY: the cell gives out nothing but `&T` (`deref`), which `T: Sync` may be shared as; nobody gets a `&mut T`
// from a `&Padded<T>`.
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
        // SAFETY: the pointer is that of the cell, valid and initialised as long as `self` is borrowed. Only shared
        // references to the value are made, here, so none conflicts with this one.
        unsafe { &(*self.0.get()).0 }
    }
}

impl<T: fmt::Debug> fmt::Debug for Padded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
