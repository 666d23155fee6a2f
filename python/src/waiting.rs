//! How a call of Python waits: without the interpreter's lock, in slices, so that signals are handled (Ctrl-C).

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The longest time without a check for signals. As long as a reader of the library sleeps at most.
const SLICE: Duration = Duration::from_millis(50);

/// A timeout in seconds, as Python has it. `None`: without end.
pub(crate) fn timeout(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    match seconds {
        None => Ok(None),
        Some(seconds) if seconds.is_nan() => Err(PyValueError::new_err("a timeout cannot be NaN")),
        // What is too long for a Duration is without end for people.
        Some(seconds) => {
            let duration = Duration::try_from_secs_f64(seconds.max(0.0));
            Ok(duration.ok())
        }
    }
}

/// Calls `step` with `end` until it returns something, each time with a time after which it has to return `None`.
/// `None`: the time is up.
///
/// # Errors
///
/// What the handler of a signal has raised. What `step` would have returned is not lost: it has not run then.
pub(crate) fn wait<E: Send, T: Send>(
    py: Python<'_>,
    end: &mut E,
    timeout: Option<Duration>,
    mut step: impl FnMut(&mut E, Duration) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
        if let Some(found) = py.detach(|| step(end, left.min(SLICE))) {
            return Ok(Some(found));
        }
        py.check_signals()?;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(None);
        }
    }
}

/// [`wait`] for something that is true in the end. `step` returns false before its time is up if it never will be.
pub(crate) fn wait_until<E: Send>(
    py: Python<'_>,
    end: &mut E,
    timeout: Option<Duration>,
    mut step: impl FnMut(&mut E, Duration) -> bool + Send,
) -> PyResult<bool> {
    let found = wait(py, end, timeout, |end, slice| {
        let begin = Instant::now();
        match step(end, slice) {
            true => Some(true),
            false if begin.elapsed() < slice => Some(false),
            false => None,
        }
    })?;
    Ok(found.unwrap_or(false))
}
