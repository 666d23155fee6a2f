//! [`Fragment`] and [`Batch`]: what a consumer has lent.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use pyo3::exceptions::PyIndexError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use rust_tango::{AsyncConsumer, FragmentMetadata};

use crate::errors;
use crate::lease::{self, Span};

/// A consumer that is waited for by a call, or by an event loop.
pub(crate) enum End {
    Plain(rust_tango::Consumer<'static>),
    Watched(AsyncConsumer),
}

/// What an [`End`] has lent. It is only kept: its drop returns the credits.
pub(crate) enum Held {
    Received { _kept: rust_tango::Received<'static> },
    Fragment { _kept: rust_tango::Fragment<'static> },
    Batch { _kept: rust_tango::Batch<'static> },
}

pub(crate) type Owner = lease::Owner<End, Held>;
pub(crate) type Lease = lease::Lease<End, Held>;

/// The metadata of a fragment, and where its payload is. That is not used before it is in a [`Fragment`], with the lease
/// of what it is part of.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    meta: FragmentMetadata,
    payload: Span,
}

impl Place {
    pub(crate) fn of(fragment: &rust_tango::Fragment<'_>) -> Self {
        Self { meta: fragment.meta, payload: Span::of(fragment.payload.as_slice()) }
    }
}

/// A published payload and its metadata, lent by a consumer.
///
/// The payload is a read-only buffer: ``memoryview(fragment)``, ``numpy.frombuffer(fragment, dtype)``. It is not copied.
/// It lasts until the fragment is released: by ``release()``, at the end of a ``with`` block, by the next call of the
/// consumer that reads, or when the last reference to the fragment is gone. A later use raises ``Released``. A fragment
/// whose buffers are in use cannot be released (``BufferError``).
///
/// >>> import rust_tango as tango
/// >>> link = tango.Link()
/// >>> tx, rx = link.producer(), link.consumer()
/// >>> _ = tx.publish(b"bid 101.25", sig=7)
/// >>> fragment = rx.recv()
/// >>> fragment.seq, fragment.sig, len(fragment), bytes(fragment)
/// (1, 7, 10, b'bid 101.25')
/// >>> with memoryview(fragment) as view:
/// ...     bytes(view[:3])
/// b'bid'
/// >>> fragment.release()
/// >>> bytes(fragment)
/// Traceback (most recent call last):
///     ...
/// rust_tango.Released: this fragment was released: keep a copy of what is needed for longer
#[pyclass(frozen, module = "rust_tango")]
pub(crate) struct Fragment {
    lease: Arc<Lease>,
    place: Place,
    /// The fragment shares the lease with others of a batch.
    in_batch: bool,
    /// Of a batch: it was released before the batch.
    is_released: AtomicBool,
    /// Buffers of this fragment.
    exports: AtomicUsize,
}

impl Fragment {
    /// # Safety
    ///
    /// `place` is part of what was lent under the number of `lease`.
    pub(crate) unsafe fn new(lease: Arc<Lease>, place: Place, in_batch: bool) -> Self {
        Self { lease, place, in_batch, is_released: AtomicBool::new(false), exports: AtomicUsize::new(0) }
    }

    fn pin(&self, py: Python<'_>) -> PyResult<lease::Pin<'_, End, Held>> {
        if self.is_released.load(Relaxed) {
            return Err(self.lease.released(py));
        }
        self.lease.pin(py)
    }
}

#[pymethods]
impl Fragment {
    /// The sequence number. Metadata can be read after the release, too.
    #[getter]
    fn seq(&self) -> u64 {
        self.place.meta.seq
    }

    /// The tag that the producer gave it: 0 to 2**64 - 1.
    #[getter]
    fn sig(&self) -> u64 {
        self.place.meta.sig
    }

    /// The control bits that the producer gave it: 0 to 2**16 - 1. 0: a whole message.
    #[getter]
    fn ctl(&self) -> u16 {
        self.place.meta.ctl
    }

    /// The timestamp that the producer gave it: 0 to 2**32 - 1.
    #[getter]
    fn ts(&self) -> u32 {
        self.place.meta.ts
    }

    fn __len__(&self) -> usize {
        self.place.payload.len
    }

    /// A fragment is true, also without payload.
    fn __bool__(&self) -> bool {
        true
    }

    /// ``memoryview(self)``: a new one each time.
    #[getter]
    fn payload<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// Whether it is not released yet.
    #[getter]
    fn is_alive(&self) -> bool {
        !self.is_released.load(Relaxed) && self.lease.is_alive()
    }

    /// The payload as ``bytes``, which last. ``bytes(fragment)`` is the same.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let pin = self.pin(py)?;
        // SAFETY: `new` was promised that the payload is part of what is lent. Payloads do not change.
        Ok(PyBytes::new(py, unsafe { pin.bytes(self.place.payload) }))
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.copy(py)
    }

    /// Gives the credit back: the producer may overwrite the payload. No effect if it is released.
    ///
    /// The credits of a batch are given back together, when the batch is released.
    ///
    /// Raises ``BufferError`` if buffers of it are in use.
    fn release(&self) -> PyResult<()> {
        if !self.in_batch {
            return self.lease.release();
        }
        match self.exports.load(Relaxed) {
            0 => {
                self.is_released.store(true, Relaxed);
                Ok(())
            }
            count => Err(errors::exported("fragment", count)),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (kind, _value, _traceback))]
    fn __exit__(
        &self,
        kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if kind.is_none() {
            return self.release();
        }
        // Variables that the traceback keeps may be buffers. The exception is more important.
        self.is_released.store(true, Relaxed);
        if !self.in_batch {
            self.lease.release_later();
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let FragmentMetadata { seq, sig, ctl, ts, .. } = self.place.meta;
        let state = if self.is_alive() { "" } else { ", released" };
        format!("<Fragment seq={seq} sig={sig} ctl={ctl} ts={ts}, {} bytes{state}>", self.__len__())
    }

    /// # Safety
    ///
    /// The interpreter calls it, with a buffer to fill in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let pin = this.pin(slf.py())?;
        // SAFETY: `view` comes from the interpreter. `new` was promised that the payload is part of what is lent, and
        // payloads do not change.
        unsafe { lease::export(pin, this.place.payload, true, slf.as_any(), view, flags)? };
        this.exports.fetch_add(1, Relaxed);
        Ok(())
    }

    /// # Safety
    ///
    /// The interpreter calls it, once for each buffer that `__getbuffer__` has filled in.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.exports.fetch_sub(1, Relaxed);
        self.lease.unpin();
    }
}

/// Fragments that were there at one moment: a sequence. Their credits are given back together.
///
/// A batch is released like a fragment, and then its fragments are, too. They count as read once the batch is returned.
///
/// >>> import rust_tango as tango
/// >>> link = tango.Link()
/// >>> tx, rx = link.producer(), link.consumer()
/// >>> tx.publish_batch([b"one", b"two", b"three"])
/// 3
/// >>> with rx.batch(32) as batch:
/// ...     [bytes(fragment) for fragment in batch]
/// [b'one', b'two', b'three']
#[pyclass(frozen, module = "rust_tango")]
pub(crate) struct Batch {
    lease: Arc<Lease>,
    places: Arc<[Place]>,
}

impl Batch {
    /// # Safety
    ///
    /// `places` are parts of what was lent under the number of `lease`.
    pub(crate) unsafe fn new(lease: Arc<Lease>, places: Vec<Place>) -> Self {
        Self { lease, places: places.into() }
    }
}

/// # Safety
///
/// As [`Batch::new`]: `place` is one of them.
unsafe fn fragment(lease: &Arc<Lease>, place: Place) -> Fragment {
    // SAFETY: as the caller promises.
    unsafe { Fragment::new(lease.clone(), place, true) }
}

#[pymethods]
impl Batch {
    fn __len__(&self) -> usize {
        self.places.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<Fragment> {
        let from_start = if index < 0 { index + self.places.len().cast_signed() } else { index };
        let place = usize::try_from(from_start).ok().and_then(|at| self.places.get(at));
        let place = place.ok_or_else(|| PyIndexError::new_err("the batch has fewer fragments"))?;
        // SAFETY: `new` was promised this.
        Ok(unsafe { fragment(&self.lease, *place) })
    }

    fn __iter__(&self) -> BatchIterator {
        BatchIterator { lease: self.lease.clone(), places: self.places.clone(), next: AtomicUsize::new(0) }
    }

    /// Whether it is not released yet.
    #[getter]
    fn is_alive(&self) -> bool {
        self.lease.is_alive()
    }

    /// Gives the credits back. Raises ``BufferError`` if buffers of its fragments are in use.
    fn release(&self) -> PyResult<()> {
        self.lease.release()
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (kind, _value, _traceback))]
    fn __exit__(
        &self,
        kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if kind.is_none() {
            return self.lease.release();
        }
        self.lease.release_later();
        Ok(())
    }

    fn __repr__(&self) -> String {
        let state = if self.is_alive() { "" } else { ", released" };
        format!("<Batch of {}{state}>", self.places.len())
    }
}

/// The fragments of a batch, in order.
#[pyclass(frozen, module = "rust_tango")]
pub(crate) struct BatchIterator {
    lease: Arc<Lease>,
    places: Arc<[Place]>,
    next: AtomicUsize,
}

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<Fragment> {
        let place = self.places.get(self.next.fetch_add(1, Relaxed))?;
        // SAFETY: `Batch::new` was promised this.
        Some(unsafe { fragment(&self.lease, *place) })
    }
}
