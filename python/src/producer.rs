//! [`Producer`]: publishes fragments into a link.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use rust_tango::{Link, TangoError, Wait};

use crate::bytes::Bytes;
use crate::errors;
use crate::lease::Free;
use crate::loan::{Held, Loan, Meta, Owner};
use crate::waiting::{wait, wait_until};

type Ours<'o> = Free<'o, rust_tango::Producer<'static>, Held>;

/// Publishes fragments into a link. ``Link.producer`` makes one; a link has one at a time.
///
/// Closing it (``close()``, the end of a ``with`` block, or the last reference) closes the link until there is another
/// producer: readers still get everything that was published.
///
/// Payloads are any contiguous buffer: ``bytes``, ``bytearray``, ``memoryview``, an array of numpy. ``sig``, ``ctl`` and
/// ``ts`` travel with the payload unchanged. Timeouts are in seconds; ``None`` waits without end.
#[pyclass(frozen, module = "rust_tango")]
pub(crate) struct Producer {
    owner: Arc<Owner>,
}

/// How long to sleep before a loan is tried again, at first and at most.
const NAPS: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];

impl Producer {
    pub(crate) fn join(py: Python<'_>, link: &Link, how: Wait, patience: Option<Duration>) -> PyResult<Self> {
        let mut producer = link.producer().map_err(|error| errors::link(py, &error))?.with_wait(how);
        if let Some(patience) = patience {
            producer = producer.with_patience(patience);
        }
        Ok(Self { owner: Owner::new(producer, ["producer", "loan"]) })
    }

    /// The end for a call that publishes.
    fn free<'o>(&'o self, py: Python<'_>) -> PyResult<Ours<'o>> {
        self.owner.enter(py)?.free().ok_or_else(|| {
            let text = "this producer has an open loan: commit or abandon it first, and release its buffers";
            errors::exception(py, "Busy", text, None)
        })
    }
}

/// The exception for an error of publishing.
fn failed(py: Python<'_>, producer: &rust_tango::Producer<'_>, error: TangoError) -> PyErr {
    let held_by = if error == TangoError::NoCredits { producer.held_by() } else { None };
    errors::publishing(py, error, held_by)
}

/// Publishes one payload, and waits for a credit.
fn publish_waiting(
    py: Python<'_>,
    free: &mut Ours<'_>,
    payload: &Bytes<'_, '_>,
    meta: Meta,
    timeout: Option<Duration>,
) -> PyResult<u64> {
    let Meta { sig, ctl, ts } = meta;
    let payload = payload.frozen();
    let payload: &[u8] = &payload;
    let producer = free.get_mut();
    let published = wait(py, producer, timeout, |producer, slice| {
        match producer.publish_timeout(payload, sig, ctl, ts, slice) {
            Err(TangoError::NoCredits) => None,
            done => Some(done),
        }
    })?;
    let published = published.unwrap_or(Err(TangoError::NoCredits));
    published.map(|meta| meta.seq).map_err(|error| failed(py, producer, error))
}

#[pymethods]
impl Producer {
    /// Publishes a payload, and returns its sequence number. Waits while there is no credit.
    ///
    /// Raises ``NoCredits`` if ``timeout`` is up, ``TooLarge`` if the payload is longer than the MTU, ``Closed`` if the link
    /// was stopped. In each case nothing was published.
    ///
    /// It waits without end if this thread holds a fragment of the same link, or is the one that should read it.
    ///
    /// >>> import rust_tango as tango
    /// >>> link = tango.Link(depth=2)
    /// >>> tx, rx = link.producer(), link.consumer()
    /// >>> tx.publish(b"one"), tx.publish(bytearray(b"two"), sig=7)
    /// (1, 2)
    /// >>> try:
    /// ...     tx.publish(b"three", timeout=0.01)
    /// ... except tango.NoCredits as error:
    /// ...     error.held_by
    /// 0
    #[pyo3(signature = (data, sig=0, ctl=0, ts=0, timeout=None))]
    fn publish(
        &self,
        data: &Bound<'_, PyAny>,
        sig: u64,
        ctl: u16,
        ts: u32,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let (py, timeout) = (data.py(), crate::waiting::timeout(timeout)?);
        let payload = Bytes::of(data)?;
        let mut free = self.free(py)?;
        match free.get().publish(payload.as_slice(), sig, ctl, ts) {
            Ok(meta) => Ok(meta.seq),
            Err(TangoError::NoCredits) => {
                publish_waiting(py, &mut free, &payload, Meta { sig, ctl, ts }, timeout)
            }
            Err(error) => Err(failed(py, free.get(), error)),
        }
    }

    /// ``publish`` without waiting.
    #[pyo3(signature = (data, sig=0, ctl=0, ts=0))]
    fn try_publish(&self, data: &Bound<'_, PyAny>, sig: u64, ctl: u16, ts: u32) -> PyResult<u64> {
        let payload = Bytes::of(data)?;
        let free = self.free(data.py())?;
        let published = free.get().publish(payload.as_slice(), sig, ctl, ts);
        published.map(|meta| meta.seq).map_err(|error| failed(data.py(), free.get(), error))
    }

    /// Publishes several payloads with one check for waiting readers. Returns how many: all of them.
    ///
    /// Raises as ``publish``. ``published`` of the exception says how many were published before. (Exceptions of other
    /// classes, such as ``KeyboardInterrupt``, have it, too.)
    #[pyo3(signature = (payloads, sig=0, ctl=0, ts=0, timeout=None))]
    fn publish_batch(
        &self,
        py: Python<'_>,
        payloads: Vec<Bound<'_, PyAny>>,
        sig: u64,
        ctl: u16,
        ts: u32,
        timeout: Option<f64>,
    ) -> PyResult<usize> {
        let timeout = crate::waiting::timeout(timeout)?;
        let deadline = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
        let payloads = payloads.iter().map(Bytes::of).collect::<PyResult<Vec<_>>>()?;
        let mut free = self.free(py)?;
        let mut published = 0;
        loop {
            {
                // Found again after each wait: a buffer that is not `bytes` may have changed meanwhile.
                let slices: Vec<&[u8]> = payloads[published..].iter().map(Bytes::as_slice).collect();
                published += free.get().publish_batch_at(&slices, sig, ctl, ts);
            }
            let Some(next) = payloads.get(published) else { return Ok(published) };
            let left = deadline.map(|end| end.saturating_duration_since(std::time::Instant::now()));
            match publish_waiting(py, &mut free, next, Meta { sig, ctl, ts }, left) {
                Ok(_) => published += 1,
                Err(error) => {
                    error.value(py).setattr("published", published)?;
                    return Err(error);
                }
            }
        }
    }

    /// Leaves out the next ``count`` sequence numbers, for a link that has to carry the numbers of another source. Waits while
    /// there is no credit.
    ///
    /// Every reader that comes to such numbers, a reliable consumer as well, gets ``Lost``. A number that is left out takes
    /// a credit until the consumers have come to it.
    ///
    /// Raises ``NoCredits`` if ``timeout`` is up, ``Closed`` if the link was stopped. In both cases, some may have been left
    /// out: see ``next_seq``.
    ///
    /// >>> import rust_tango as tango
    /// >>> link = tango.Link(start=1)
    /// >>> tx, rx = link.producer(), link.consumer()
    /// >>> tx.skip(4)
    /// >>> try:
    /// ...     rx.recv()
    /// ... except tango.Lost as error:
    /// ...     error.lost, error.next
    /// (4, 5)
    #[pyo3(signature = (count, timeout=None))]
    fn skip(&self, py: Python<'_>, count: u64, timeout: Option<f64>) -> PyResult<()> {
        let timeout = crate::waiting::timeout(timeout)?;
        let mut free = self.free(py)?;
        let (producer, mut left) = (free.get_mut(), count);
        let skipped =
            wait(py, producer, timeout, |producer, slice| match producer.skip_timeout(left, slice) {
                Ok(done) => {
                    left -= done;
                    (left == 0).then_some(Ok(()))
                }
                Err(error) => Some(Err(error)),
            })?;
        skipped.unwrap_or(Err(TangoError::NoCredits)).map_err(|error| failed(py, free.get(), error))
    }

    /// Lends the place for a payload of ``size`` bytes. Waits while there is no credit. See ``Loan``.
    ///
    /// Until the loan is committed or abandoned, the producer publishes nothing else (``Busy``). Observers can no longer
    /// read the fragments that it overwrites.
    ///
    /// Raises as ``publish``.
    #[pyo3(signature = (size, sig=0, ctl=0, ts=0, timeout=None))]
    fn loan(
        &self,
        py: Python<'_>,
        size: usize,
        sig: u64,
        ctl: u16,
        ts: u32,
        timeout: Option<f64>,
    ) -> PyResult<Loan> {
        let timeout = crate::waiting::timeout(timeout)?;
        let mut free = self.free(py)?;
        let lend = |producer: &mut rust_tango::Producer<'_>| {
            // SAFETY: lent below, with this `free`.
            producer.loan(size).map(|loan| unsafe { Held::new(loan) })
        };
        let lent = match lend(free.get_mut()) {
            Err(TangoError::NoCredits) => {
                let mut nap = NAPS[0];
                let found = wait(py, free.get_mut(), timeout, |producer, slice| {
                    std::thread::sleep(nap.min(slice));
                    nap = (nap * 2).min(NAPS[1]);
                    match lend(producer) {
                        Err(TangoError::NoCredits) => None,
                        done => Some(done),
                    }
                })?;
                found.unwrap_or(Err(TangoError::NoCredits))
            }
            done => done,
        };
        let (held, span) = lent.map_err(|error| failed(py, free.get(), error))?;
        // SAFETY: lent by the producer of this `free`, and `span` came with it.
        Ok(unsafe { Loan::new(free.lend(held), span, Meta { sig, ctl, ts }) })
    }

    /// Stores ``now``, in a unit of the caller's, as ``Status.heartbeat``. The library decides nothing by it.
    fn beat(&self, py: Python<'_>, now: u64) -> PyResult<()> {
        self.owner.enter(py)?.get().beat(now);
        Ok(())
    }

    /// The sequence number of the next fragment.
    #[getter]
    fn next_seq(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.owner.enter(py)?.get().next_seq())
    }

    /// The largest payload of one fragment, in bytes.
    #[getter]
    fn mtu(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.owner.enter(py)?.get().mtu())
    }

    /// How many reliable and evictable consumers are attached and alive. It takes a system call for each.
    #[getter]
    fn consumers(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.free(py)?.get().consumers())
    }

    /// The slot of the consumer that the producer last waited for. It may have moved on.
    #[getter]
    fn held_by(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        Ok(self.owner.enter(py)?.get().held_by())
    }

    /// Whether the link was stopped, so that nothing can be published any more.
    #[getter]
    fn is_stopped(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.owner.enter(py)?.get().is_stopped())
    }

    /// Whether every attached reliable or evictable consumer has finished with everything.
    #[getter]
    fn is_drained(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.free(py)?.get().is_drained())
    }

    /// Waits until at least so many reliable or evictable consumers are attached.
    ///
    /// False: ``timeout`` is up, the link was stopped, or it has fewer slots.
    #[pyo3(signature = (consumers=1, timeout=None))]
    fn wait_for_consumers(&self, py: Python<'_>, consumers: usize, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = crate::waiting::timeout(timeout)?;
        let mut free = self.free(py)?;
        let producer = free.get_mut();
        wait_until(py, producer, timeout, |producer, slice| {
            producer.wait_for_consumers(consumers, Some(slice))
        })
    }

    /// Waits until ``is_drained``. False: ``timeout`` is up, or the link was stopped.
    #[pyo3(signature = (timeout=None))]
    fn wait_until_drained(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = crate::waiting::timeout(timeout)?;
        let mut free = self.free(py)?;
        let producer = free.get_mut();
        wait_until(py, producer, timeout, |producer, slice| producer.wait_until_drained(Some(slice)))
    }

    /// Closes the link. No effect if it was closed. Raises ``BufferError`` if buffers of a loan are in use.
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
