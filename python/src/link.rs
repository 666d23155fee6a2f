//! [`Link`]: makes links, opens them, and gives out their ends.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyType};
use rust_tango::{ConsumerMetrics, ConsumerStatus};

use crate::consumer::{Consumer, Kind};
use crate::errors;
use crate::options;
use crate::producer::Producer;
use crate::waiting;

/// A link: one producer and any number of readers.
///
/// ``Link(...)`` makes one on the heap, for the threads of this process. ``Link.create`` makes one in shared memory, under
/// a name. Its producer and consumers go on when the ``Link`` is closed.
///
/// Options, all optional: ``depth`` (slots of the ring, a power of two, 1024), ``mtu`` (largest payload in bytes, 256),
/// ``consumers`` (slots for them, 1), ``observers`` (whether they may attach, true), ``slot`` and ``region`` (sizes in
/// bytes), ``credits``, ``start`` (first sequence number), ``prefault``, ``payload_type``. Links with a name also:
/// ``dir`` (folder of links, ``$TANGO_DIR`` or ``/dev/shm/tango-UID``), ``mode`` (of the files, 0o600), ``consumer_group``
/// (a group id), ``remove_on_drop``. The documentation of the library in Rust (``LinkBuilder``) has the ranges.
///
/// >>> import rust_tango as tango
/// >>> tango.Link(depth=8, mtu=64, consumers=2).geometry.depth
/// 8
/// >>> tango.Link(depth=9)
/// Traceback (most recent call last):
///     ...
/// rust_tango.InvalidArgument: a depth of 9 is not a power of two from 2 to 268435456
#[pyclass(frozen, module = "rust_tango")]
pub(crate) struct Link {
    /// `None`: closed. The lock is only held for a moment.
    link: Mutex<Option<rust_tango::Link>>,
}

impl Link {
    fn of(py: Python<'_>, made: Result<rust_tango::Link, rust_tango::LinkError>) -> PyResult<Self> {
        let link = made.map_err(|error| errors::link(py, &error))?;
        Ok(Self { link: Mutex::new(Some(link)) })
    }

    fn get(&self, py: Python<'_>) -> PyResult<rust_tango::Link> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).clone();
        link.ok_or_else(|| errors::released(py, "this link is closed"))
    }

    fn join(
        &self,
        py: Python<'_>,
        kind: Kind,
        start: Option<&Bound<'_, PyAny>>,
        wait: &str,
        raise_lost: bool,
    ) -> PyResult<Consumer> {
        let (start, wait) = (options::start(start)?, options::wait(wait)?);
        Consumer::join(py, &self.get(py)?, kind, start, wait, raise_lost)
    }
}

/// The folder of links that is meant by the argument `dir`.
fn folder(dir: Option<PathBuf>) -> PathBuf {
    dir.unwrap_or_else(rust_tango::Link::folder_of_links)
}

/// An object of the class `name` of `rust_tango/_status.py`.
fn report<'py>(py: Python<'py>, name: &str, fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    py.import("rust_tango._status")?.getattr(name)?.call((), Some(fields))
}

#[pymethods]
impl Link {
    #[new]
    #[pyo3(signature = (**options))]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let builder = options::builder(options, false)?;
        Self::of(py, py.detach(|| builder.build()))
    }

    /// Makes a link in shared memory. Raises ``LinkInUse`` if one of that name is in use; replaces a dead one.
    ///
    /// >>> import rust_tango as tango, tempfile
    /// >>> folder = tempfile.TemporaryDirectory()
    /// >>> with tango.Link.create("quotes", dir=folder.name, mtu=64) as link:
    /// ...     tango.Link.list(folder.name), tango.Link.open("quotes", folder.name).geometry.mtu
    /// (['quotes'], 64)
    /// >>> folder.cleanup()
    #[classmethod]
    #[pyo3(signature = (name, **options))]
    fn create(class: &Bound<'_, PyType>, name: &str, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let builder = options::builder(options, true)?;
        Self::of(class.py(), class.py().detach(|| builder.create(name)))
    }

    /// As ``create``, but continues a link of that name whose producer has died, with its readers.
    #[classmethod]
    #[pyo3(signature = (name, **options))]
    fn create_or_take_over(
        class: &Bound<'_, PyType>,
        name: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let builder = options::builder(options, true)?;
        Self::of(class.py(), class.py().detach(|| builder.create_or_take_over(name)))
    }

    /// Opens a link. Raises ``LinkNotFound`` if there is none (yet).
    #[classmethod]
    #[pyo3(signature = (name, dir=None))]
    fn open(class: &Bound<'_, PyType>, name: &str, dir: Option<PathBuf>) -> PyResult<Self> {
        Self::of(class.py(), class.py().detach(|| rust_tango::Link::open_in(folder(dir), name)))
    }

    /// Opens a link as soon as there is one. Raises ``LinkNotFound`` if ``timeout`` is up before, in seconds.
    #[classmethod]
    #[pyo3(signature = (name, timeout=None, dir=None))]
    fn open_wait(
        class: &Bound<'_, PyType>,
        name: &str,
        timeout: Option<f64>,
        dir: Option<PathBuf>,
    ) -> PyResult<Self> {
        let (py, timeout) = (class.py(), waiting::timeout(timeout)?);
        let mut dir = folder(dir);
        let made = waiting::wait(py, &mut dir, timeout, |dir, slice| {
            match rust_tango::Link::open_wait_in(dir, name, Some(slice)) {
                Err(error) if error.is_not_found() => None,
                made => Some(made),
            }
        })?;
        // If the time is up, the error is that of the last try.
        Self::of(py, made.unwrap_or_else(|| rust_tango::Link::open_in(dir, name)))
    }

    /// Removes a link. One that is in use ends within about a second. With ``dead_only``, raises ``LinkInUse`` for it instead.
    #[staticmethod]
    #[pyo3(signature = (name, dir=None, dead_only=false))]
    fn remove(py: Python<'_>, name: &str, dir: Option<PathBuf>, dead_only: bool) -> PyResult<()> {
        let dir = folder(dir);
        let removed = py.detach(|| match dead_only {
            true => rust_tango::Link::remove_dead(dir, name),
            false => rust_tango::Link::remove_named(dir, name),
        });
        removed.map_err(|error| errors::link(py, &error))
    }

    /// The names of the links in a folder, in order.
    #[staticmethod]
    #[pyo3(signature = (dir=None))]
    fn list(py: Python<'_>, dir: Option<PathBuf>) -> PyResult<Vec<String>> {
        let names = py.detach(|| rust_tango::Link::list(folder(dir)));
        names.map_err(|error| errors::link(py, &error))
    }

    /// Takes the producer. Raises ``Taken`` if there is one.
    ///
    /// ``wait``: how it waits for credits: "park" sleeps after 20 microseconds, "yield" and "spin" keep a core busy.
    /// ``patience``: how many seconds an evictable consumer may keep it waiting.
    #[pyo3(signature = (*, wait="park", patience=None))]
    fn producer(&self, py: Python<'_>, wait: &str, patience: Option<f64>) -> PyResult<Producer> {
        let (wait, patience) = (options::wait(wait)?, waiting::timeout(patience)?);
        Producer::join(py, &self.get(py)?, wait, patience)
    }

    /// A reliable consumer: gets every fragment, in place. The producer waits for it.
    ///
    /// ``start``: "next", "oldest", or a sequence number. ``wait``: as for ``producer``. Raises ``Taken`` if all slots have
    /// consumers, ``Untrusted`` if another user could write to the files.
    #[pyo3(signature = (start=None, *, wait="park"))]
    fn consumer(&self, py: Python<'_>, start: Option<&Bound<'_, PyAny>>, wait: &str) -> PyResult<Consumer> {
        self.join(py, Kind::Reliable, start, wait, true)
    }

    /// A consumer for which the producer waits for a limited time. Reads by copy.
    ///
    /// With ``raise_lost=False``, what is lost is only counted (``Consumer.lost``), and ``Evicted`` is not raised.
    #[pyo3(signature = (start=None, *, wait="park", raise_lost=true))]
    fn evictable_consumer(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        wait: &str,
        raise_lost: bool,
    ) -> PyResult<Consumer> {
        self.join(py, Kind::Evictable, start, wait, raise_lost)
    }

    /// A reader of which the producer does not know. Reads what it can, by copy.
    ///
    /// With ``raise_lost=False``, what is lost is only counted (``Consumer.lost``), and ``Lost`` is not raised.
    #[pyo3(signature = (start=None, *, wait="park", raise_lost=true))]
    fn observer(
        &self,
        py: Python<'_>,
        start: Option<&Bound<'_, PyAny>>,
        wait: &str,
        raise_lost: bool,
    ) -> PyResult<Consumer> {
        self.join(py, Kind::Observer, start, wait, raise_lost)
    }

    /// A report on the link, its producer and its consumers.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let link = self.get(py)?;
        let status = py.detach(|| link.status());
        let consumer = |consumer: &ConsumerStatus| -> PyResult<_> {
            let fields = [
                ("slot", consumer.slot as u64),
                ("next", consumer.next),
                ("lag", consumer.lag),
                ("consumed", consumer.consumed),
                ("overruns", consumer.overruns),
                ("lost", consumer.lost),
            ]
            .into_py_dict(py)?;
            fields.set_item("evictable", consumer.evictable)?;
            fields.set_item("asleep", consumer.asleep)?;
            fields.set_item("alive", consumer.alive)?;
            report(py, "ConsumerStatus", &fields)
        };
        let consumers = status.consumers.iter().map(consumer).collect::<PyResult<Vec<_>>>()?;
        let fields = [
            ("heartbeat", status.heartbeat),
            ("start", status.start),
            ("next", status.next),
            ("oldest", status.oldest),
            ("backpressure", status.backpressure),
            ("reaped", status.reaped),
            ("evicted", status.evicted),
            ("producers", status.producers),
            ("takeovers", status.takeovers),
        ]
        .into_py_dict(py)?;
        fields.set_item("producer", status.producer)?;
        fields.set_item("closed", status.closed)?;
        fields.set_item("stopped", status.stopped)?;
        fields.set_item("name_lost", status.name_lost)?;
        fields.set_item("held_by", status.held_by)?;
        fields.set_item("consumers", consumers)?;
        report(py, "Status", &fields)
    }

    /// What both ends of the link have counted in it, in all processes. A few loads, and no system call.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let metrics = self.get(py)?.metrics();
        let consumer = |consumer: &ConsumerMetrics| -> PyResult<_> {
            let fields = [
                ("slot", consumer.slot as u64),
                ("consumed", consumer.consumed),
                ("lag", consumer.lag),
                ("overruns", consumer.overruns),
                ("lost", consumer.lost),
            ];
            report(py, "ConsumerMetrics", &fields.into_py_dict(py)?)
        };
        let consumers = metrics.consumers.iter().map(consumer).collect::<PyResult<Vec<_>>>()?;
        let fields = [
            ("published", metrics.published),
            ("backpressure_events", metrics.backpressure_events),
            ("evicted", metrics.evicted),
            ("reaped", metrics.reaped),
            ("producers", metrics.producers),
            ("takeovers", metrics.takeovers),
        ]
        .into_py_dict(py)?;
        fields.set_item("consumers", consumers)?;
        report(py, "Metrics", &fields)
    }

    /// The sizes of the link.
    #[getter]
    fn geometry<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let geometry = self.get(py)?.geometry();
        let fields = [
            ("depth", geometry.depth as u64),
            ("mtu", geometry.mtu as u64),
            ("slot", geometry.slot as u64),
            ("region", geometry.region as u64),
            ("consumers", geometry.consumers as u64),
            ("credits", geometry.credits),
            ("start", geometry.start),
        ]
        .into_py_dict(py)?;
        fields.set_item("observers", geometry.observers)?;
        report(py, "Geometry", &fields)
    }

    /// The type of the payloads that the link remembers, or ``None``.
    #[getter]
    fn payload_type<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let link = self.get(py)?;
        let Some(found) = link.payload_type() else { return Ok(None) };
        let fields = [("size", found.size()), ("align", found.align())].into_py_dict(py)?;
        fields.set_item("name", found.name())?;
        report(py, "PayloadType", &fields).map(Some)
    }

    /// The name. ``None`` on the heap.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.get(py)?.name().map(str::to_owned))
    }

    /// The folder of the link's files. ``None`` on the heap.
    #[getter]
    fn path(&self, py: Python<'_>) -> PyResult<Option<PathBuf>> {
        Ok(self.get(py)?.path().map(PathBuf::from))
    }

    /// Stops the link for good, in all processes. Readers still get what was published.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let link = self.get(py)?;
        py.detach(|| link.stop()).map_err(|error| errors::link(py, &error))
    }

    /// Removes the link's name and files. It goes on for those that use it. No effect on the heap.
    fn unlink(&self, py: Python<'_>) -> PyResult<()> {
        let link = self.get(py)?;
        py.detach(|| link.remove()).map_err(|error| errors::link(py, &error))
    }

    /// Gives this handle up. Its producer and consumers go on.
    fn close(&self, py: Python<'_>) {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(link));
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (_kind, _value, _traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.close(py);
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match self.get(py) {
            Err(_) => "<Link, closed>".into(),
            Ok(link) => match link.name() {
                Some(name) => format!("<Link {name:?}>"),
                None => "<Link on the heap>".into(),
            },
        }
    }
}
