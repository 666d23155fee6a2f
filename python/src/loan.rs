//! [`Loan`]: a payload that Python writes, before it is published.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use crate::errors;
use crate::lease::{self, Span};

pub(crate) type Owner = lease::Owner<rust_tango::Producer<'static>, Held>;
pub(crate) type Lease = lease::Lease<rust_tango::Producer<'static>, Held>;

/// What a producer has lent.
pub(crate) struct Held {
    loan: rust_tango::Loan<'static>,
    /// Where Python writes if it may not write into the link, because observers may read there.
    apart: Option<Vec<u64>>,
}

// SAFETY: a loan is not `Send`, because it refers to its producer. It uses that when it is committed, which takes the
// lock of the producer, and at no other time: it has nothing to drop. Its other parts may be sent.
unsafe impl Send for Held {}

impl Held {
    /// Also returns where Python writes.
    ///
    /// # Safety
    ///
    /// The result is lent by `Free::lend`, with the `Free` whose end the producer is, or dropped before that `Free`.
    pub(crate) unsafe fn new(loan: rust_tango::Loan<'_>) -> (Self, Span) {
        // SAFETY: the two types differ in a lifetime only. That it does not end too early is what the caller promises.
        let mut loan =
            unsafe { std::mem::transmute::<rust_tango::Loan<'_>, rust_tango::Loan<'static>>(loan) };
        if let Some(bytes) = loan.as_mut_slice() {
            let span = Span::of_mut(bytes);
            return (Self { loan, apart: None }, span);
        }
        let mut apart = vec![0_u64; loan.len().div_ceil(size_of::<u64>())];
        let mut span = Span::of_words(&mut apart);
        span.len = loan.len();
        (Self { loan, apart: Some(apart) }, span)
    }

    /// Publishes the first `size` bytes.
    fn commit(mut self, span: Span, size: usize, meta: Meta) -> Result<u64, rust_tango::TangoError> {
        self.loan.truncate(size);
        if self.apart.is_some() {
            // SAFETY: the bytes of `apart`, which are initialised. There are no buffers, as `Entered::take` has checked.
            let bytes = unsafe { std::slice::from_raw_parts(span.start.as_ptr(), self.loan.len()) };
            self.loan.write_at(0, bytes);
        }
        self.loan.commit(meta.sig, meta.ctl, meta.ts).map(|meta| meta.seq)
    }
}

/// What travels with a payload.
#[derive(Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) sig: u64,
    pub(crate) ctl: u16,
    pub(crate) ts: u32,
}

/// A payload to be written, and then published: a writable buffer. ``Producer.loan`` makes one.
///
/// On a link without observers it is the memory of the link itself, with what was there before. On others it is a buffer
/// of zeros, which ``commit`` copies. Leaving the ``with`` block commits it, or abandons it if there is an exception.
///
/// >>> import rust_tango as tango
/// >>> link = tango.Link(observers=False)
/// >>> tx, rx = link.producer(), link.consumer()
/// >>> with tx.loan(10, sig=7) as loan:
/// ...     with memoryview(loan) as view:
/// ...         view[:] = b"bid 101.25"
/// >>> loan.seq, bytes(rx.recv())
/// (1, b'bid 101.25')
#[pyclass(frozen, module = "rust_tango")]
pub(crate) struct Loan {
    lease: Arc<Lease>,
    span: Span,
    meta: Meta,
    /// The number of the fragment, once it is published.
    seq: OnceLock<u64>,
}

impl Loan {
    /// # Safety
    ///
    /// `span` is what [`Held::new`] has returned with what was lent under the number of `lease`.
    pub(crate) unsafe fn new(lease: Arc<Lease>, span: Span, meta: Meta) -> Self {
        Self { lease, span, meta, seq: OnceLock::new() }
    }
}

#[pymethods]
impl Loan {
    fn __len__(&self) -> usize {
        self.span.len
    }

    fn __bool__(&self) -> bool {
        true
    }

    /// ``memoryview(self)``: a new one each time.
    #[getter]
    fn payload<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// Whether it is neither committed nor abandoned.
    #[getter]
    fn is_alive(&self) -> bool {
        self.lease.is_alive()
    }

    /// The sequence number of the published fragment. ``None`` as long as it is not published.
    #[getter]
    fn seq(&self) -> Option<u64> {
        self.seq.get().copied()
    }

    /// Publishes the first ``size`` bytes, by default all, and returns the sequence number.
    ///
    /// ``sig``, ``ctl`` and ``ts`` replace those that the loan was made with.
    ///
    /// Raises ``BufferError`` if buffers of it are in use, ``Closed`` if the link was stopped, ``Released`` if it was
    /// committed or abandoned before.
    #[pyo3(signature = (size=None, *, sig=None, ctl=None, ts=None))]
    fn commit(
        &self,
        py: Python<'_>,
        size: Option<usize>,
        sig: Option<u64>,
        ctl: Option<u16>,
        ts: Option<u32>,
    ) -> PyResult<u64> {
        let size = size.unwrap_or(self.span.len);
        if size > self.span.len {
            let len = self.span.len;
            return Err(PyValueError::new_err(format!("a loan of {len} bytes cannot be {size} bytes long")));
        }
        let meta = Meta {
            sig: sig.unwrap_or(self.meta.sig),
            ctl: ctl.unwrap_or(self.meta.ctl),
            ts: ts.unwrap_or(self.meta.ts),
        };
        let taken = self.lease.owner().enter(py)?.take(self.lease.number())?;
        let (held, free) = taken.ok_or_else(|| self.lease.released(py))?;
        let published = held.commit(self.span, size, meta);
        drop(free);
        let seq = published.map_err(|error| errors::publishing(py, error, None))?;
        // A loan is taken once, so it has no number yet.
        let _ = self.seq.set(seq);
        Ok(seq)
    }

    /// Publishes nothing. No effect if it was committed. Raises ``BufferError`` if buffers of it are in use.
    fn abandon(&self) -> PyResult<()> {
        self.lease.release()
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (kind, _value, _traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let mut result = Ok(());
        // The body may have committed it, or abandoned it.
        if kind.is_none() && self.is_alive() {
            result = self.commit(py, None, None, None, None).map(|_| ());
        }
        // If there are buffers, the producer is free again when they are gone.
        self.lease.release_later();
        result
    }

    fn __repr__(&self) -> String {
        let state = match (self.seq(), self.is_alive()) {
            (Some(seq), _) => format!("published as {seq}"),
            (None, true) => "not published yet".into(),
            (None, false) => "abandoned".into(),
        };
        format!("<Loan of {} bytes, {state}>", self.span.len)
    }

    /// # Safety
    ///
    /// The interpreter calls it, with a buffer to fill in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let pin = this.lease.pin(slf.py())?;
        // SAFETY: `view` comes from the interpreter. The bytes are those of the loan, or of its vector. Nothing but
        // buffers of this object accesses them before it is committed, which takes that there are none.
        unsafe { lease::export(pin, this.span, false, slf.as_any(), view, flags) }
    }

    /// # Safety
    ///
    /// The interpreter calls it, once for each buffer that `__getbuffer__` has filled in.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.lease.unpin();
    }
}
