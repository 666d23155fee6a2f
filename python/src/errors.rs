//! Errors of the library as exceptions. The classes are in `rust_tango/_errors.py`.

use std::io::ErrorKind;

use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{IntoPyDict, PyDict};
use rust_tango::{LinkError, LinkErrorKind, RecvError, TangoError};

/// An exception of the class `name`. If it cannot be made, the reason for that.
pub(crate) fn exception<'py>(
    py: Python<'py>,
    name: &str,
    message: impl Into<String>,
    fields: Option<Bound<'py, PyDict>>,
) -> PyErr {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let made = MODULE
        .get_or_try_init(py, || py.import("rust_tango._errors").map(Bound::unbind))
        .and_then(|module| module.bind(py).getattr(name))
        .and_then(|class| class.call((message.into(),), fields.as_ref()));
    match made {
        Ok(value) => PyErr::from_value(value),
        Err(error) => error,
    }
}

/// An exception with numbers.
fn with_fields<'py, const N: usize>(
    py: Python<'py>,
    name: &str,
    message: String,
    fields: [(&str, u64); N],
) -> PyErr {
    match fields.into_py_dict(py) {
        Ok(fields) => exception(py, name, message, Some(fields)),
        Err(error) => error,
    }
}

/// Of a call that reads.
pub(crate) fn reading(py: Python<'_>, error: RecvError) -> PyErr {
    let text = error.to_string();
    match error {
        RecvError::Empty => exception(py, "Empty", text, None),
        RecvError::Timeout => exception(py, "Timeout", text, None),
        RecvError::Closed => exception(py, "Closed", text, None),
        RecvError::ProducerGone => exception(py, "ProducerGone", text, None),
        RecvError::ProducerReplaced { first } => {
            with_fields(py, "ProducerReplaced", text, [("first", first)])
        }
        RecvError::Lost { lost, next, evicted: false } => {
            with_fields(py, "Lost", text, [("lost", lost), ("next", next)])
        }
        RecvError::Lost { lost, next, evicted: true } => {
            with_fields(py, "Evicted", text, [("lost", lost), ("next", next)])
        }
        RecvError::Corrupt { seq } => with_fields(py, "Corrupt", text, [("seq", seq)]),
        _ => exception(py, "TangoError", text, None),
    }
}

/// What a reading call that returns a [`TangoError`] reports, in the words of [`RecvError`].
pub(crate) fn of_reading(error: TangoError) -> RecvError {
    match error {
        TangoError::Overrun { lost, next } => RecvError::Lost { lost, next, evicted: false },
        TangoError::Evicted { lost, next } => RecvError::Lost { lost, next, evicted: true },
        TangoError::Corrupt { seq } => RecvError::Corrupt { seq },
        TangoError::ProducerGone => RecvError::ProducerGone,
        TangoError::ProducerReplaced { first } => RecvError::ProducerReplaced { first },
        _ => RecvError::Closed,
    }
}

/// Of a call that publishes.
pub(crate) fn publishing(py: Python<'_>, error: TangoError, held_by: Option<usize>) -> PyErr {
    let text = error.to_string();
    match error {
        TangoError::NoCredits => match held_by {
            Some(slot) => with_fields(py, "NoCredits", text, [("held_by", slot as u64)]),
            None => exception(py, "NoCredits", text, None),
        },
        TangoError::TooLarge { size, max } => {
            with_fields(py, "TooLarge", text, [("size", size as u64), ("max", max as u64)])
        }
        TangoError::Closed => exception(py, "Closed", text, None),
        _ => exception(py, "TangoError", text, None),
    }
}

/// Of a call that makes, opens, joins or removes a link.
pub(crate) fn link(py: Python<'_>, error: &LinkError) -> PyErr {
    let system = error.io_error();
    let name = match error.kind() {
        LinkErrorKind::Invalid => return exception(py, "InvalidArgument", error.to_string(), None),
        LinkErrorKind::NotFound => "LinkNotFound",
        LinkErrorKind::InUse => "LinkInUse",
        LinkErrorKind::Taken => "Taken",
        LinkErrorKind::Incompatible => "Incompatible",
        LinkErrorKind::Damaged => "Damaged",
        LinkErrorKind::Untrusted => "Untrusted",
        LinkErrorKind::System if system.is_some_and(|e| e.kind() == ErrorKind::PermissionDenied) => {
            "AccessDenied"
        }
        _ => "LinkError",
    };
    let number = system.and_then(std::io::Error::raw_os_error);
    let fields = PyDict::new(py);
    if let Err(failed) = fields.set_item("number", number) {
        return failed;
    }
    exception(py, name, error.to_string(), Some(fields))
}

/// Somebody calls an object that another thread is using.
pub(crate) fn busy(py: Python<'_>, what: &str) -> PyErr {
    exception(py, "Busy", format!("another thread is using this {what}: one thread at a time may"), None)
}

/// Somebody uses what was released or closed.
pub(crate) fn released(py: Python<'_>, what: &str) -> PyErr {
    exception(py, "Released", what, None)
}

/// A buffer is exported that would have to go.
pub(crate) fn exported(what: &str, count: usize) -> PyErr {
    PyBufferError::new_err(format!(
        "this {what} still has {count} exported buffer(s), such as a memoryview or a numpy array: `del` them or call \
         their release() first, or keep a copy instead (bytes(fragment), array.copy())"
    ))
}
