//! Arguments that are buffers: `bytes`, `bytearray`, `memoryview`, arrays of numpy, and all else that exports bytes.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The bytes of an argument, as long as it is borrowed.
pub(crate) enum Bytes<'a, 'py> {
    /// They never change.
    Fixed(&'a [u8]),
    Buffer(Buffer<'py>),
}

/// A buffer that an object exports. Releases it when it is dropped.
pub(crate) struct Buffer<'py> {
    /// Boxed, because the exporter may point into the structure itself.
    view: Box<ffi::Py_buffer>,
    /// The buffer is released by a thread that is attached to the interpreter.
    _py: Python<'py>,
}

impl<'a, 'py> Bytes<'a, 'py> {
    /// # Errors
    ///
    /// `TypeError` if the object exports no buffer, `BufferError` or `ValueError` (numpy) if that is not contiguous.
    pub(crate) fn of(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Fixed(bytes.as_bytes()));
        }
        let mut view = Box::new(MaybeUninit::<ffi::Py_buffer>::zeroed());
        // SAFETY: the thread is attached, the object lives, and the structure may be written. A simple buffer is
        // contiguous bytes.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_SIMPLE) } != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        // SAFETY: all zeros are a valid structure, and the call has filled it in.
        let view = unsafe { Box::from_raw(Box::into_raw(view).cast::<ffi::Py_buffer>()) };
        Ok(Self::Buffer(Buffer { view, _py: object.py() }))
    }

    /// The bytes. Python code that runs meanwhile, in this thread or another, may change them unless they are
    /// [`Fixed`](Self::Fixed): the caller runs none, and copies them before it detaches from the interpreter.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Buffer(Buffer { view, .. }) if view.buf.is_null() => &[],
            // SAFETY: the exporter keeps `len` initialised bytes at `buf` until the buffer is released, which is when
            // `self` is dropped. With the interpreter's lock, no code of Python changes them before the caller gives the
            // lock up. What native code or a free-threaded interpreter writes at the same time is a race that the
            // program has with every function that reads its buffers.
            Self::Buffer(Buffer { view, .. }) => unsafe {
                std::slice::from_raw_parts(view.buf.cast(), view.len.cast_unsigned())
            },
        }
    }

    /// The bytes as they are now, for a caller that detaches from the interpreter.
    pub(crate) fn frozen(&self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Fixed(bytes) => (*bytes).into(),
            Self::Buffer(_) => self.as_slice().to_vec().into(),
        }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: filled in by `PyObject_GetBuffer`, and released once. `_py` says that the thread is attached.
        unsafe { ffi::PyBuffer_Release(&raw mut *self.view) }
    }
}
