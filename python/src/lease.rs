//! What an end of a link has lent to Python: one thing at a time, for as long as it is alive, and no longer than buffers
//! of it are released.
//!
//! ```text
//!              lend                        release, the next call of the end, or the last object is dropped
//!   nothing ---------> lent, no buffers ------------------------------------------------------------------> nothing
//!                        |  ^                                                                                  ^
//!                    pin |  | the last Pin is dropped                                                          |
//!                        v  |                                                                                  |
//!                      lent, with buffers -- release_later --> dying, with buffers -- the last Pin is dropped --'
//! ```
//!
//! `E` is the end: a producer or a consumer. `H` is what it has lent: a fragment, a batch, or a loan. In truth, `H`
//! borrows `E`. Its lifetime was erased, so here is why it is sound:
//!
//! - *`E` outlives `H`, and does not move while there is one.* `E` lies in an `Owner`, which lies in an `Arc`. It leaves,
//!   or is accessed mutably, only through [`Free`], which exists only while nothing is lent: `Free` has the lock of
//!   `end`, and nothing is lent without a `Free`. The field `lent` is declared, and so dropped, before `end`.
//! - *The bytes of `H` are accessed only through a [`Pin`].* While there is one, `H` stays.
//! - *A `Pin` is made only while the thing is lent under whose number the lease was made.* An object that Python has
//!   kept for longer gets an exception.
//!
//! No code of Python runs while `lent` is locked, and no thread waits then. So threads take that lock without giving up
//! the interpreter's. The lock of `end` is kept while a call waits for the other side, and so it is only tried: a second
//! thread gets an exception.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::prelude::*;

use crate::errors;

/// An end of a link, and what it has lent.
pub(crate) struct Owner<E, H> {
    lent: Mutex<Lent<H>>,
    end: Mutex<Option<E>>,
    /// What people call the end, and what it lends.
    names: [&'static str; 2],
}

struct Lent<H> {
    held: Option<H>,
    /// The number of what is lent, or will be lent next.
    number: u64,
    /// How many pins there are.
    pins: usize,
    /// It goes with the last pin.
    dies: bool,
}

impl<H> Lent<H> {
    fn end(&mut self) {
        // The number first: an object of it is of no use from here on.
        self.number += 1;
        self.dies = false;
        self.held = None;
    }
}

/// An end that this thread has for itself. Something of it may be lent.
pub(crate) struct Entered<'o, E, H> {
    owner: &'o Arc<Owner<E, H>>,
    end: MutexGuard<'o, Option<E>>,
}

/// An end that this thread has for itself, and of which nothing is lent.
pub(crate) struct Free<'o, E, H> {
    owner: &'o Arc<Owner<E, H>>,
    end: MutexGuard<'o, Option<E>>,
}

impl<E, H> Owner<E, H> {
    pub(crate) fn new(end: E, names: [&'static str; 2]) -> Arc<Self> {
        let lent = Lent { held: None, number: 0, pins: 0, dies: false };
        Arc::new(Self { lent: Mutex::new(lent), end: Mutex::new(Some(end)), names })
    }

    fn lent(&self) -> MutexGuard<'_, Lent<H>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    ///
    /// `Busy` if another thread has the end, `Released` if the end is closed.
    pub(crate) fn enter<'o>(self: &'o Arc<Self>, py: Python<'_>) -> PyResult<Entered<'o, E, H>> {
        let end = match self.end.try_lock() {
            Ok(end) => end,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(errors::busy(py, self.names[0])),
        };
        if end.is_none() {
            return Err(errors::released(py, &format!("this {} is closed", self.names[0])));
        }
        Ok(Entered { owner: self, end })
    }

    /// Drops the end. It need not be open.
    ///
    /// # Errors
    ///
    /// `Busy` as above; `BufferError` if there are buffers. With `later`, the end then closes when the last object that
    /// keeps it is dropped, and what is lent ends with the last buffer.
    pub(crate) fn close(self: &Arc<Self>, py: Python<'_>, later: bool) -> PyResult<()> {
        if later && self.end_later(None) {
            return Ok(());
        }
        match self.enter(py) {
            Ok(entered) => {
                let mut free = entered.reclaim()?;
                let end = free.end.take();
                drop(free);
                drop(end);
                Ok(())
            }
            Err(error) if self.end.try_lock().is_ok_and(|end| end.is_none()) => {
                drop(error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Ends what is lent, if it is lent under this number, now or with its last pin. True: there are pins.
    fn end_later(&self, number: Option<u64>) -> bool {
        let mut lent = self.lent();
        if number.is_some_and(|number| number != lent.number) {
            return false;
        }
        if lent.pins == 0 {
            lent.end();
        }
        lent.dies = lent.pins != 0;
        lent.dies
    }
}

impl<'o, E, H> Entered<'o, E, H> {
    pub(crate) fn get(&self) -> &E {
        self.end.as_ref().expect("checked by `enter`")
    }

    /// Ends what is lent.
    ///
    /// # Errors
    ///
    /// `BufferError` if there are buffers.
    pub(crate) fn reclaim(self) -> PyResult<Free<'o, E, H>> {
        let mut lent = self.owner.lent();
        if lent.pins != 0 {
            return Err(errors::exported(self.owner.names[1], lent.pins));
        }
        lent.end();
        drop(lent);
        Ok(Free { owner: self.owner, end: self.end })
    }

    /// The end, if nothing is lent.
    pub(crate) fn free(self) -> Option<Free<'o, E, H>> {
        let is_free = self.owner.lent().held.is_none();
        is_free.then_some(Free { owner: self.owner, end: self.end })
    }

    /// Takes what is lent under this number out of its lease, to do with it what needs the end.
    ///
    /// # Errors
    ///
    /// `BufferError` if there are buffers.
    pub(crate) fn take(self, number: u64) -> PyResult<Option<(H, Free<'o, E, H>)>> {
        let mut lent = self.owner.lent();
        if lent.number != number {
            return Ok(None);
        }
        if lent.pins != 0 {
            return Err(errors::exported(self.owner.names[1], lent.pins));
        }
        let held = lent.held.take();
        lent.end();
        drop(lent);
        Ok(held.map(|held| (held, Free { owner: self.owner, end: self.end })))
    }
}

impl<E, H> Free<'_, E, H> {
    pub(crate) fn get(&self) -> &E {
        self.end.as_ref().expect("checked by `enter`")
    }

    pub(crate) fn get_mut(&mut self) -> &mut E {
        self.end.as_mut().expect("checked by `enter`")
    }

    /// Replaces the end. `with` gives it back, or drops it with an error: it is closed then.
    pub(crate) fn replace<F>(&mut self, with: impl FnOnce(E) -> Result<E, F>) -> Result<(), F> {
        if let Some(end) = self.end.take() {
            *self.end = Some(with(end)?);
        }
        Ok(())
    }

    /// Lends `held`. Nothing else is lent until it is reclaimed, or the last reference to the lease is dropped.
    ///
    /// # Safety
    ///
    /// What `held` borrows is the end that this `Free` has, or lives for ever.
    pub(crate) unsafe fn lend(self, held: H) -> Arc<Lease<E, H>> {
        let mut lent = self.owner.lent();
        let number = lent.number;
        lent.held = Some(held);
        Arc::new(Lease { owner: self.owner.clone(), number })
    }
}

/// A share of what is lent. The last one to be dropped ends it.
pub(crate) struct Lease<E, H> {
    owner: Arc<Owner<E, H>>,
    number: u64,
}

impl<E, H> Lease<E, H> {
    pub(crate) fn owner(&self) -> &Arc<Owner<E, H>> {
        &self.owner
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is still lent.
    pub(crate) fn is_alive(&self) -> bool {
        let lent = self.owner.lent();
        lent.number == self.number && lent.held.is_some() && !lent.dies
    }

    /// Keeps what is lent until the result is dropped.
    ///
    /// # Errors
    ///
    /// `Released` if it is not lent any more.
    pub(crate) fn pin(&self, py: Python<'_>) -> PyResult<Pin<'_, E, H>> {
        let mut lent = self.owner.lent();
        if lent.number != self.number || lent.held.is_none() || lent.dies {
            drop(lent);
            return Err(self.released(py));
        }
        lent.pins += 1;
        Ok(Pin(self))
    }

    /// Drops a pin that was forgotten.
    pub(crate) fn unpin(&self) {
        let mut lent = self.owner.lent();
        lent.pins -= 1;
        if lent.pins == 0 && lent.dies {
            lent.end();
        }
    }

    /// Ends it. It may have ended.
    ///
    /// # Errors
    ///
    /// `BufferError` if there are buffers.
    pub(crate) fn release(&self) -> PyResult<()> {
        let mut lent = self.owner.lent();
        if lent.number != self.number {
            return Ok(());
        }
        if lent.pins != 0 {
            return Err(errors::exported(self.owner.names[1], lent.pins));
        }
        lent.end();
        Ok(())
    }

    /// Ends it, with its last buffer if there are buffers.
    pub(crate) fn release_later(&self) {
        self.owner.end_later(Some(self.number));
    }

    pub(crate) fn released(&self, py: Python<'_>) -> PyErr {
        let what = self.owner.names[1];
        errors::released(py, &format!("this {what} was released: keep a copy of what is needed for longer"))
    }
}

impl<E, H> Drop for Lease<E, H> {
    fn drop(&mut self) {
        // A buffer keeps the object that exports it, and so its lease: there are none.
        self.release_later();
    }
}

/// Keeps what is lent.
pub(crate) struct Pin<'l, E, H>(&'l Lease<E, H>);

impl<'l, E, H> Pin<'l, E, H> {
    /// The bytes of `span`.
    ///
    /// # Safety
    ///
    /// They are initialised bytes of what was lent under the number of this lease, and nothing writes to them.
    pub(crate) unsafe fn bytes(&self, span: Span) -> &[u8] {
        // SAFETY: as the caller promises. What is lent lives as long as this pin.
        unsafe { std::slice::from_raw_parts(span.start.as_ptr(), span.len) }
    }
}

impl<E, H> Drop for Pin<'_, E, H> {
    fn drop(&mut self) {
        self.0.unpin();
    }
}

/// Bytes of what is lent: only where they are.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
}

// SAFETY: it is an address and a length. To access the bytes takes a pin.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Span {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { start: NonNull::from(bytes).cast(), len: bytes.len() }
    }

    /// The bytes of words.
    pub(crate) fn of_words(words: &mut [u64]) -> Self {
        Self { start: NonNull::from(&mut *words).cast(), len: size_of_val(words) }
    }

    pub(crate) fn of_mut(bytes: &mut [u8]) -> Self {
        Self { start: NonNull::from(&mut *bytes).cast(), len: bytes.len() }
    }
}

/// Fills in a buffer of the interpreter, which `pin` keeps. [`Lease::unpin`] ends that.
///
/// # Safety
///
/// `view` is what the interpreter has passed to `__getbuffer__` of `exporter`. Of the bytes in `span`, the caller knows
/// what [`Pin::bytes`] asks for, or, if they are not read-only, that only this buffer and its copies are used to access
/// them.
pub(crate) unsafe fn export<E, H>(
    pin: Pin<'_, E, H>,
    span: Span,
    is_readonly: bool,
    exporter: &Bound<'_, PyAny>,
    view: *mut pyo3::ffi::Py_buffer,
    flags: std::ffi::c_int,
) -> PyResult<()> {
    // SAFETY: the thread is attached; the bytes live as long as the pin, which is forgotten if the call succeeds. The
    // call takes a reference to the exporter.
    let result = unsafe {
        pyo3::ffi::PyBuffer_FillInfo(
            view,
            exporter.as_ptr(),
            span.start.as_ptr().cast(),
            span.len.cast_signed(),
            is_readonly.into(),
            flags,
        )
    };
    if result != 0 {
        return Err(PyErr::fetch(exporter.py()));
    }
    std::mem::forget(pin);
    Ok(())
}
