//! [`Consumer`]: reads the fragments of a link, in order.
#![allow(unsafe_code)]

use std::convert::Infallible;
use std::mem::transmute;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rust_tango::{Link, LinkError, RecvError, Start, Wait};

use crate::errors;
use crate::fragment::{Batch, End, Fragment, Held, Owner, Place};
use crate::lease::{Entered, Free};
use crate::waiting::{wait, wait_until};

/// Reads the fragments of a link, in order. ``Link.consumer``, ``evictable_consumer`` and ``observer`` make one.
///
/// It lends one fragment, or one batch, at a time: a call that reads releases the one before. One thread at a time may
/// use a consumer; a second one gets ``Busy``. Calls that wait let other threads run, and Ctrl-C interrupts them.
/// Timeouts are in seconds; ``None`` waits without end.
///
/// Iterating waits for fragments, ends when the link is closed, and raises ``ProducerGone`` if the producer has died:
///
/// >>> import rust_tango as tango
/// >>> link = tango.Link()
/// >>> rx = link.consumer()
/// >>> with link.producer() as tx:
/// ...     _ = tx.publish_batch([b"one", b"two"])
/// >>> for fragment in rx:
/// ...     print(bytes(fragment))
/// b'one'
/// b'two'
#[pyclass(frozen, module = "rust_tango")]
pub(crate) struct Consumer {
    owner: Arc<Owner>,
    lost: AtomicU64,
    /// Whether a gap is an exception, and not only counted.
    raise_lost: bool,
}

/// Which of the three readers of a link.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Reliable,
    Evictable,
    Observer,
}

/// What was read: something to keep, and what it consists of.
type Found<T> = (Held, T);

/// Forgets the lifetime of what a consumer has lent.
///
/// # Safety
///
/// The result is lent by `Free::lend`, with the `Free` whose end the consumer is, or dropped before that `Free`.
unsafe fn received(received: rust_tango::Received<'_>) -> Found<Place> {
    let place = Place::of(&received);
    // SAFETY: the two types differ in a lifetime only. That it does not end too early is what the caller promises.
    let _kept = unsafe { transmute::<rust_tango::Received<'_>, rust_tango::Received<'static>>(received) };
    (Held::Received { _kept }, place)
}

/// As [`received`]. `None`: the batch is empty.
///
/// # Safety
///
/// As [`received`].
unsafe fn batch(batch: rust_tango::Batch<'_>) -> Option<Found<Vec<Place>>> {
    if batch.is_empty() {
        return None;
    }
    let places = batch.iter().map(|fragment| Place::of(&fragment)).collect();
    // SAFETY: as in `received`.
    let _kept = unsafe { transmute::<rust_tango::Batch<'_>, rust_tango::Batch<'static>>(batch) };
    Some((Held::Batch { _kept }, places))
}

impl End {
    /// The next fragment that is there.
    ///
    /// # Safety
    ///
    /// As [`received`].
    unsafe fn try_recv(&mut self) -> Result<Found<Place>, RecvError> {
        match self {
            // SAFETY: as the caller promises.
            Self::Plain(consumer) => consumer.try_recv().map(|found| unsafe { received(found) }),
            Self::Watched(consumer) => {
                if let Some(fragment) = consumer.poll().map_err(errors::of_reading)? {
                    let place = Place::of(&fragment);
                    // SAFETY: as in `received`.
                    let _kept = unsafe {
                        transmute::<rust_tango::Fragment<'_>, rust_tango::Fragment<'static>>(fragment)
                    };
                    return Ok((Held::Fragment { _kept }, place));
                }
                Err(if consumer.is_closed() { RecvError::Closed } else { RecvError::Empty })
            }
        }
    }

    /// The next fragment. Waits for it, and is plain from then on.
    ///
    /// # Safety
    ///
    /// As [`received`].
    unsafe fn recv(&mut self, timeout: Duration) -> Result<Found<Place>, RecvError> {
        let Self::Plain(consumer) = self else { return Err(RecvError::Timeout) };
        // SAFETY: as the caller promises.
        consumer.recv_timeout(timeout).map(|found| unsafe { received(found) })
    }

    fn into_plain(self) -> Result<Self, Infallible> {
        Ok(match self {
            Self::Watched(consumer) => Self::Plain(consumer.into_inner()),
            plain => plain,
        })
    }

    fn into_watched(self) -> Result<Self, LinkError> {
        Ok(match self {
            Self::Plain(consumer) => Self::Watched(consumer.into_async()?),
            watched => watched,
        })
    }

    fn next_seq(&self) -> u64 {
        match self {
            Self::Plain(consumer) => consumer.next_seq(),
            Self::Watched(consumer) => consumer.next_seq(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Plain(consumer) => consumer.is_closed(),
            Self::Watched(consumer) => consumer.is_closed(),
        }
    }
}

impl Consumer {
    pub(crate) fn join(
        py: Python<'_>,
        link: &Link,
        kind: Kind,
        start: Start,
        how: Wait,
        raise_lost: bool,
    ) -> PyResult<Self> {
        let consumer = match kind {
            Kind::Reliable => link.consumer_from(start),
            Kind::Evictable => link.evictable_consumer(start),
            Kind::Observer => link.observer_from(start),
        };
        let consumer = consumer.map_err(|error| errors::link(py, &error))?.with_wait(how);
        let owner = Owner::new(End::Plain(consumer), ["consumer", "fragment"]);
        Ok(Self { owner, lost: AtomicU64::new(0), raise_lost })
    }

    fn enter<'o>(&'o self, py: Python<'_>) -> PyResult<Entered<'o, End, Held>> {
        self.owner.enter(py)
    }

    /// The end for a call that reads: what was lent before has ended.
    fn reader<'o>(&'o self, py: Python<'_>) -> PyResult<Free<'o, End, Held>> {
        self.enter(py)?.reclaim()
    }

    /// Whether to read on after this error.
    fn count_lost(&self, error: &RecvError) -> bool {
        let RecvError::Lost { lost, .. } = error else { return false };
        self.lost.fetch_add(*lost, Relaxed);
        !self.raise_lost
    }

    /// The result of a call that reads, with the errors that are only counted left out.
    fn counted<T>(&self, mut read: impl FnMut() -> Result<T, RecvError>) -> Result<T, RecvError> {
        loop {
            match read() {
                Err(error) if self.count_lost(&error) => {}
                done => return done,
            }
        }
    }

    fn try_next(&self, free: &mut Free<'_, End, Held>) -> Result<Found<Place>, RecvError> {
        // SAFETY: the callers lend it with this `free`.
        self.counted(|| unsafe { free.get_mut().try_recv() })
    }

    /// Waits for the next fragment. The outer error is that of a signal.
    fn wait_next(
        &self,
        py: Python<'_>,
        free: &mut Free<'_, End, Held>,
        timeout: Option<Duration>,
    ) -> PyResult<Result<Found<Place>, RecvError>> {
        match self.try_next(free) {
            Err(RecvError::Empty) => {}
            done => return Ok(done),
        }
        let Ok(()) = free.replace(End::into_plain);
        let found = wait(py, free.get_mut(), timeout, |end, slice| {
            // SAFETY: the callers lend it with this `free`.
            match self.counted(|| unsafe { end.recv(slice) }) {
                Err(RecvError::Timeout) => None,
                done => Some(done),
            }
        })?;
        Ok(found.unwrap_or(Err(RecvError::Timeout)))
    }

    fn lend(free: Free<'_, End, Held>, (held, place): Found<Place>) -> Fragment {
        // SAFETY: found with this `free`, and the place is part of it.
        unsafe { Fragment::new(free.lend(held), place, false) }
    }

    fn lend_batch(free: Free<'_, End, Held>, (held, places): Found<Vec<Place>>) -> Batch {
        // SAFETY: found with this `free`, and the places are parts of it.
        unsafe { Batch::new(free.lend(held), places) }
    }

    fn try_next_batch(
        &self,
        free: &mut Free<'_, End, Held>,
        max: usize,
    ) -> Result<Found<Vec<Place>>, RecvError> {
        if max == 1 || matches!(free.get(), End::Watched(_)) {
            return self.try_next(free).map(|(held, place)| (held, vec![place]));
        }
        let End::Plain(consumer) = free.get_mut() else { unreachable!("looked at above") };
        let found = self.counted(|| {
            // SAFETY: the callers lend it with this `free`.
            consumer.poll_batch(max).map(|found| unsafe { batch(found) }).map_err(errors::of_reading)
        })?;
        found.ok_or_else(|| if consumer.is_closed() { RecvError::Closed } else { RecvError::Empty })
    }
}

fn checked_max(max: usize) -> PyResult<usize> {
    if max == 0 { Err(PyValueError::new_err("a batch has at least one fragment")) } else { Ok(max) }
}

#[pymethods]
impl Consumer {
    /// The next fragment. Waits for it.
    ///
    /// Raises ``Timeout`` if the time is up; ``Closed`` if the link is closed and drained; ``ProducerGone`` if the producer has
    /// died and everything was read; ``BufferError`` if buffers of the last fragment are in use. After these, call again:
    /// ``Lost``, ``Evicted``, ``ProducerReplaced``, ``Corrupt``.
    ///
    /// >>> import rust_tango as tango
    /// >>> rx = tango.Link().consumer()
    /// >>> rx.recv(timeout=0.01)
    /// Traceback (most recent call last):
    ///     ...
    /// rust_tango.Timeout: no fragment came in time
    #[pyo3(signature = (timeout=None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Fragment> {
        let timeout = crate::waiting::timeout(timeout)?;
        let mut free = self.reader(py)?;
        let found = self.wait_next(py, &mut free, timeout)?.map_err(|error| errors::reading(py, error))?;
        Ok(Self::lend(free, found))
    }

    /// The next fragment, if it is there. Raises ``Empty`` if not, and otherwise as ``recv``.
    fn try_recv(&self, py: Python<'_>) -> PyResult<Fragment> {
        let mut free = self.reader(py)?;
        let found = self.try_next(&mut free).map_err(|error| errors::reading(py, error))?;
        Ok(Self::lend(free, found))
    }

    /// Up to ``max`` fragments that are there. Waits for the first one. Raises as ``recv``.
    ///
    /// All of them count as read. An observer or evictable consumer copies them, so a batch has at most 8 KiB of payloads,
    /// or one fragment.
    #[pyo3(signature = (max, timeout=None))]
    fn batch(&self, py: Python<'_>, max: usize, timeout: Option<f64>) -> PyResult<Batch> {
        let (max, timeout) = (checked_max(max)?, crate::waiting::timeout(timeout)?);
        let mut free = self.reader(py)?;
        let found = match self.try_next_batch(&mut free, max) {
            // The one that was waited for. More will mostly not have come since then.
            Err(RecvError::Empty) => {
                let next = self.wait_next(py, &mut free, timeout)?;
                next.map(|(held, place)| (held, vec![place]))
            }
            done => done,
        };
        let found = found.map_err(|error| errors::reading(py, error))?;
        Ok(Self::lend_batch(free, found))
    }

    /// ``batch`` without waiting. Raises ``Empty`` if there is nothing, and otherwise as ``recv``.
    fn try_batch(&self, py: Python<'_>, max: usize) -> PyResult<Batch> {
        let max = checked_max(max)?;
        let mut free = self.reader(py)?;
        let found = self.try_next_batch(&mut free, max).map_err(|error| errors::reading(py, error))?;
        Ok(Self::lend_batch(free, found))
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Fragment>> {
        let mut free = self.reader(py)?;
        match self.wait_next(py, &mut free, None)? {
            Ok(found) => Ok(Some(Self::lend(free, found))),
            Err(RecvError::Closed) => Ok(None),
            Err(error) => Err(errors::reading(py, error)),
        }
    }

    fn __aiter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("rust_tango._aio")?.getattr("Fragments")?.call1((slf,))
    }

    /// Awaits the next fragment, in an event loop of asyncio. Raises as ``recv``.
    ///
    /// ``async for fragment in rx`` awaits them until the link is closed. To cancel the task loses no fragment.
    ///
    /// >>> import asyncio, rust_tango as tango
    /// >>> async def main():
    /// ...     link = tango.Link()
    /// ...     rx = link.consumer()
    /// ...     with link.producer() as tx:
    /// ...         _ = tx.publish(b"one")
    /// ...     return [bytes(fragment) async for fragment in rx]
    /// >>> asyncio.run(main())
    /// [b'one']
    fn recv_async<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("rust_tango._aio")?.getattr("recv")?.call1((slf,))
    }

    /// A descriptor for event loops, which makes the consumer wait by it.
    ///
    /// Call ``try_recv`` until it raises ``Empty``, then wait until the descriptor is readable, and start again. Do not read
    /// from it. It lasts until a call that waits without the event loop: ``recv``, ``batch``, iteration.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        let entered = self.enter(py)?;
        if let End::Watched(consumer) = entered.get() {
            return Ok(consumer.as_raw_fd());
        }
        let mut free = entered.reclaim()?;
        free.replace(End::into_watched).map_err(|error| errors::link(py, &error))?;
        match free.get() {
            End::Watched(consumer) => Ok(consumer.as_raw_fd()),
            End::Plain(_) => unreachable!("replaced above"),
        }
    }

    /// After ``ProducerGone``: waits until another producer has taken the link over.
    ///
    /// False: ``timeout`` is up, or the link was stopped or removed.
    #[pyo3(signature = (timeout=None))]
    fn wait_for_producer(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = crate::waiting::timeout(timeout)?;
        let mut free = self.reader(py)?;
        let Ok(()) = free.replace(End::into_plain);
        let End::Plain(consumer) = free.get_mut() else { unreachable!("replaced above") };
        wait_until(py, consumer, timeout, |consumer, slice| consumer.wait_for_producer(Some(slice)))
    }

    /// How many fragments this reader has lost so far.
    #[getter]
    fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// The sequence number of the next fragment to read.
    #[getter]
    fn next_seq(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.enter(py)?.get().next_seq())
    }

    /// Whether the link is closed, and everything was read. Another producer may open it again.
    #[getter]
    fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.enter(py)?.get().is_closed())
    }

    /// Leaves the link. No effect if it was closed. Raises ``BufferError`` if buffers of a fragment are in use.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.owner.close(py, false)
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
        self.owner.close(py, !kind.is_none())
    }
}
