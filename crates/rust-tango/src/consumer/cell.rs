//! [`ReaderCell`]: a [`Reader`] that can also be read through a shared reference, one fragment at a time.
//!
//! While a fragment lives that was [lent](ReaderCell::lend), nothing else is. The flag says so, and not the borrow
//! checker: its rules refuse a loop that returns a fragment from a `&mut` call.
//!
//! ```text
//!            lend: stores true                         Held::drop: stores false, after the credit has returned
//!   free ---------------------------> a fragment lives ---------------------------> free
//!                                       | forgotten, and then read with exclusive access
//!                                       '---> free: `next` is not what it was when the fragment was lent
//! ```
//!
//! Why it is sound:
//!
//! - The cell is not `Sync`, and `lend` runs no code of a caller while the reader reads. So no two calls of the cell run
//!   at once. (Subscribers of events run afterwards: see `told`.)
//! - An exclusive reference to the reader comes from exclusive access to the cell, or lives inside `lend`. In the
//!   second case, no fragment lives, as the flag and `next` prove. What is left when `lend` returns is the fragment.
//!   It only reads the reader: the seat, whose words are atomics, and a copied payload. So [`ReaderCell::get`] may make
//!   further shared references, also while another thread has the fragment.
//! - The fragment has no reference into the reader, but pointers. A reference that is an argument of a function stands
//!   for a promise until that function returns, also if it has dropped the fragment, and calls `lend` next.
//! - `next` moves only when a fragment is read or skipped. While a fragment lives, the cell is borrowed, so no call
//!   with exclusive access can have moved it, and `lend` has refused to.
//! - The cell is covariant in `'a`, as [`Reader`] is, although it has interior mutability. Covariance would be wrong
//!   if `lend` could store a reference that lives shorter than the cell's first lifetime. It stores none: it gets no
//!   reference but `&self`.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::mem::{ManuallyDrop, transmute};
use core::ops::Deref;

use super::payload::Fragment;
#[cfg(feature = "alloc")]
use super::payload::OwnedFragment;
use super::poll::Reader;
use crate::error::RecvError;
use crate::sync::{Acquire, Cell, Relaxed, Release, StaticBool, UnsafeCell};

pub(super) struct ReaderCell<'a> {
    /// In truth a `Reader<'a>`. The cell is invariant in what it is written with here. See above.
    reader: UnsafeCell<ManuallyDrop<Reader<'static>>>,
    /// Whether a fragment that was lent lives, or was forgotten. Another thread may drop it.
    is_held: StaticBool,
    /// `Reader::next` when that fragment was lent. Only the cell's owner accesses it.
    next_then: Cell<u64>,
    lifetime: PhantomData<Reader<'a>>,
}

impl<'a> ReaderCell<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        // SAFETY: the two types differ in a lifetime only. The reader is never used with the longer one: all
        // methods cast it back to 'a.
        let reader = unsafe { transmute::<Reader<'a>, Reader<'static>>(reader) };
        Self {
            reader: UnsafeCell::new(ManuallyDrop::new(reader)),
            is_held: StaticBool::new(false),
            next_then: Cell::new(0),
            lifetime: PhantomData,
        }
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self) -> &mut Reader<'a> {
        // SAFETY: this cell is borrowed mutably, so no reference to the reader lives. `ManuallyDrop` has the layout
        // of what is in it.
        unsafe { &mut *self.reader.get().cast::<Reader<'a>>() }
    }

    #[inline(always)]
    pub(super) fn get(&self) -> &Reader<'a> {
        // SAFETY: no exclusive reference lives: see the head of this file.
        unsafe { &*self.reader.get().cast::<Reader<'a>>() }
    }

    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(super) fn into_inner(self) -> Reader<'a> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used or dropped after this.
        unsafe { this.reader.get().cast::<Reader<'a>>().read() }
    }

    /// Lends the fragment that `read` returns, until it is dropped.
    ///
    /// # Errors
    ///
    /// [`RecvError::Held`] if the last one still lives, or was forgotten and nothing was read since. Otherwise those
    /// of `read`, which does nothing but read.
    #[inline(always)]
    pub(super) fn lend<'c>(
        &'c self,
        read: impl FnOnce(&'c mut Reader<'a>) -> Result<Fragment<'c>, RecvError>,
    ) -> Result<Received<'c>, RecvError> {
        // Pairs with the Release store in `Held::drop`: what the thread that has dropped the fragment has read of a
        // copy comes before what is written there next.
        if self.is_held.load(Acquire) && self.next_then.get() == self.get().next {
            return Err(RecvError::Held);
        }
        // SAFETY: no fragment lives, and this reference is not used after the call of `read`: see the head of this file.
        let reader = unsafe { &mut *self.reader.get().cast::<Reader<'a>>() };
        #[cfg(feature = "tracing")]
        reader.told.set_lent(true);
        let fragment = match read(reader) {
            Ok(fragment) => fragment,
            Err(error) => {
                #[cfg(feature = "tracing")]
                self.emit_pending();
                return Err(error);
            }
        };
        #[cfg(feature = "tracing")]
        self.get().told.set_lent(false);
        self.next_then.set(self.get().next);
        self.is_held.store(true, Relaxed);
        Ok(Received { fragment, _held: Held(&self.is_held) })
    }

    /// Emits what the reader had to tell in a call of `lend` that has lent nothing.
    #[cfg(feature = "tracing")]
    #[cold]
    fn emit_pending(&self) {
        self.get().told.set_lent(false);
        // SAFETY: no fragment was lent, and this reference ends with the statement, before any subscriber runs.
        let pending = unsafe { &mut *self.reader.get().cast::<Reader<'a>>() }.told.take_pending();
        if let Some(event) = pending {
            event.emit(self.get().who());
        }
    }
}

impl Drop for ReaderCell<'_> {
    fn drop(&mut self) {
        // SAFETY: it is not used after this.
        unsafe { core::ptr::drop_in_place(self.get_mut()) }
    }
}

/// A fragment from [`Consumer::recv`], [`Consumer::try_recv`] or [`Consumer::recv_timeout`]. It derefs to
/// [`Fragment`].
///
/// Dropping it returns the credit: the producer may then overwrite the bytes, and the consumer can receive the next
/// fragment. It may be dropped by another thread. If it is forgotten ([`core::mem::forget`]), these calls return
/// [`RecvError::Held`] until a call that takes `&mut self`, such as [`Consumer::wait`], has read a fragment.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, Meta, OwnedFragment};
///
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let (tx, rx) = (link.producer()?, link.consumer()?);
/// tx.publish_with(b"bid 101.25", Meta::new().sig(7))?;
/// let fragment = rx.recv()?;
/// assert_eq!((fragment.meta.sig, fragment.payload.as_slice()), (7, &b"bid 101.25"[..]));
/// let kept = OwnedFragment::from(fragment); // the credit is returned here
/// assert_eq!(kept.payload, b"bid 101.25");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Consumer::recv`]: crate::Consumer::recv
/// [`Consumer::try_recv`]: crate::Consumer::try_recv
/// [`Consumer::recv_timeout`]: crate::Consumer::recv_timeout
/// [`Consumer::wait`]: crate::Consumer::wait
pub struct Received<'c> {
    /// Dropped first, so that the credit has returned before the consumer reads on.
    fragment: Fragment<'c>,
    /// Kept only for its drop.
    _held: Held<'c>,
}

impl<'c> Deref for Received<'c> {
    type Target = Fragment<'c>;

    #[inline]
    fn deref(&self) -> &Fragment<'c> {
        &self.fragment
    }
}

impl core::fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Received").field(&self.fragment).finish()
    }
}

#[cfg(feature = "alloc")]
impl From<Received<'_>> for OwnedFragment {
    fn from(received: Received<'_>) -> Self {
        Self { meta: received.meta, payload: received.payload.read() }
    }
}

/// The flag of a [`ReaderCell`], which is cleared when this is dropped.
struct Held<'c>(&'c StaticBool);

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // Pairs with the Acquire load in `ReaderCell::lend`.
        self.0.store(false, Release);
    }
}
