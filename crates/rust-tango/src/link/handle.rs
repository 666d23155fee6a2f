//! [`Link`]: a handle for a link on the heap or in shared memory.
#![allow(unsafe_code)]

use super::heap::HeapLink;
use crate::consumer::payload::Scratch;
use crate::consumer::{Consumer, Mode, Start};
use crate::error::{LinkError, LinkErrorKind};
use crate::events::emit;
use crate::memory::counts::LinkMetrics;
use crate::memory::geometry::Geometry;
use crate::memory::hints::Hints;
use crate::memory::payload_type::PayloadType;
use crate::memory::status::LinkStatus;
use crate::producer::Producer;
#[cfg(all(feature = "shm", target_os = "linux"))]
use crate::shm::{Reservation, Settings, ShmLink};
use crate::sync::Arc;
use crate::timing::processor;

/// A link: one producer and any number of readers.
///
/// A `Link` is a handle that can be cloned and sent to other threads. It gives out the [`Producer`] and the
/// [`Consumer`]s, which own a share of the memory: they go on when the `Link` is dropped.
///
/// | made by | memory | for |
/// |---|---|---|
/// | [`LinkBuilder::build`](crate::LinkBuilder::build) | heap | threads of this process |
/// | `LinkBuilder::create`, `LinkBuilder::create_or_take_over` | shared, under a name | processes of this machine |
/// | `Link::open` | shared, made by another process or this one | |
///
/// | reader | gets | the producer |
/// |---|---|---|
/// | [`consumer`](Link::consumer) | every fragment, in place | waits for it |
/// | [`evictable_consumer`](Link::evictable_consumer) | every fragment while it keeps up, by copy | waits for it for a limited time |
/// | [`observer`](Link::observer) | what it can, by copy | does not know of it |
///
/// # Examples
///
/// ```
/// use rust_tango::Link;
///
/// let link = Link::builder().depth(1024).mtu(256).consumers(2).build()?;
/// let tx = link.producer()?;
/// let mut rx = link.consumer()?;
/// let reader = std::thread::spawn(move || {
///     let mut sum = 0;
///     while let Some(fragment) = rx.wait()? {
///         sum += fragment.payload.as_slice()[0];
///     }
///     Ok::<_, rust_tango::TangoError>(sum)
/// });
/// for byte in 1..=10 {
///     tx.send(&[byte])?;
/// }
/// drop(tx); // the reader drains the link, and then finds it closed
/// assert_eq!(reader.join().unwrap()?, 55);
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
///
/// # In a forked child
///
/// A link in shared memory stays with the process that opened it. A child that the C library's `fork` makes
/// finds every inherited link closed: readers get nothing, the bytes of a payload that was held are zeros,
/// and publishing returns [`TangoError::Closed`](crate::TangoError::Closed). Dropping inherited producers, consumers and payloads is
/// harmless. An inherited `Link` returns errors ([`LinkErrorKind::Invalid`]); a child that wants to use,
/// stop or remove the link opens it again.
///
/// A link on the heap is copied with all other memory, so the child has its own.
#[derive(Debug, Clone)]
pub struct Link {
    pub(super) memory: Memory,
}

/// The owner of the memory of a link.
#[derive(Debug, Clone)]
pub(super) enum Memory {
    Heap(Arc<HeapLink>),
    #[cfg(all(feature = "shm", target_os = "linux"))]
    Shared(Arc<ShmLink>, Arc<Reservation>),
}

impl Link {
    /// Takes the producer of the link. There is one at a time.
    ///
    /// A later producer continues with the sequence number behind the last published fragment. Another
    /// thread or process may take the producer at any time before this call does.
    ///
    /// # Errors
    ///
    /// - [`LinkErrorKind::Taken`] if the link has a producer.
    /// - In shared memory also [`LinkErrorKind::System`] if this user cannot write to the files,
    ///   [`LinkErrorKind::NotFound`] if the link was removed since it was opened,
    ///   [`LinkErrorKind::Damaged`] if one of its files is missing, and [`LinkErrorKind::Invalid`] in a forked
    ///   child (see [`Link`]). The process that has created the link or taken it over holds the producer
    ///   already, so it gets one even if the link was removed or is damaged.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, LinkErrorKind};
    ///
    /// let link = Link::builder().build()?;
    /// let tx = link.producer()?;
    /// assert_eq!(link.producer().unwrap_err().kind(), LinkErrorKind::Taken);
    ///
    /// tx.send(b"first")?;
    /// drop(tx);
    /// assert_eq!(link.producer()?.next_seq(), 2);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn producer(&self) -> Result<Producer<'static>, LinkError> {
        match &self.memory {
            Memory::Heap(link) => HeapLink::producer(link),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, reservation) => ShmLink::producer(link, reservation),
        }
    }

    /// A reliable consumer that starts with the next published fragment. See [`Link`] for an example.
    ///
    /// It reads every fragment in place, and the producer waits for it. (On a link that was made for a group,
    /// it reads by copy: see `LinkBuilder::consumer_group`.)
    ///
    /// # Errors
    ///
    /// - [`LinkErrorKind::Taken`] if every slot has a consumer.
    /// - In shared memory also [`LinkErrorKind::Untrusted`] if another user could write to the files of the
    ///   link (because another user has created it, for example), or if they are on a filesystem that is not
    ///   known to give all processes the same memory, [`LinkErrorKind::System`] if this user cannot write to
    ///   them, [`LinkErrorKind::NotFound`] if the link was removed since it was opened,
    ///   [`LinkErrorKind::Damaged`] if one of its files is missing, and [`LinkErrorKind::Invalid`] in a forked
    ///   child (see [`Link`]).
    pub fn consumer(&self) -> Result<Consumer<'static>, LinkError> {
        self.consumer_from(Start::Next)
    }

    /// [`Link::consumer`] with another start.
    ///
    /// Of older fragments it gets those that the producer may not overwrite yet. The first read reports how
    /// many of the requested ones were lost ([`TangoError::Overrun`](crate::TangoError::Overrun)).
    ///
    /// # Errors
    ///
    /// As [`Link::consumer`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Start};
    ///
    /// let link = Link::builder().build()?;
    /// let tx = link.producer()?;
    /// tx.send(b"before the consumer")?;
    ///
    /// let mut rx = link.consumer_from(Start::Oldest)?;
    /// assert_eq!(rx.poll()?.unwrap().payload.as_slice(), b"before the consumer");
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn consumer_from(&self, start: Start) -> Result<Consumer<'static>, LinkError> {
        match &self.memory {
            Memory::Heap(link) => HeapLink::seated(link, start, Mode::Reliable),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, _) => ShmLink::consumer(link, start),
        }
    }

    /// A consumer that the producer waits for, but only for a limited time.
    ///
    /// If it keeps the producer waiting for longer than [`Producer::with_patience`] allows, it is evicted:
    /// it loses what it has not read by then, gets [`TangoError::Evicted`](crate::TangoError::Evicted), and
    /// has then joined again. It reads by copy, and takes one of the slots.
    ///
    /// It suits readers that should get every fragment while they work, but must not stop the others when
    /// they do not: a logger, or a debugger that stops at a breakpoint.
    ///
    /// # Errors
    ///
    /// - [`LinkErrorKind::Taken`] if every slot has a consumer.
    /// - [`LinkErrorKind::Invalid`] if the link was built without observers.
    /// - In shared memory also [`LinkErrorKind::System`], [`LinkErrorKind::NotFound`],
    ///   [`LinkErrorKind::Damaged`] and [`LinkErrorKind::Invalid`] as for [`Link::consumer`]. Never [`LinkErrorKind::Untrusted`], because
    ///   every copy is validated.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::{Link, Start, TangoError};
    ///
    /// let link = Link::builder().depth(2).build()?;
    /// let tx = link.producer()?.with_patience(Duration::ZERO);
    /// let mut logger = link.evictable_consumer(Start::Next)?;
    /// for n in 1..=3 {
    ///     tx.send(&[n])?; // the third does not wait for the logger
    /// }
    /// assert!(matches!(logger.poll(), Err(TangoError::Evicted { .. })));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn evictable_consumer(&self, start: Start) -> Result<Consumer<'static>, LinkError> {
        self.check_observers()?;
        let scratch = Scratch::boxed(self.geometry().mtu);
        let mode = |seat| Mode::Evictable(seat, scratch);
        match &self.memory {
            Memory::Heap(link) => HeapLink::seated(link, start, mode),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, _) => {
                // SAFETY: such a consumer does not read in place.
                unsafe { ShmLink::seated(link, start, mode) }
            }
        }
    }

    /// [`Link::consumer_from`] without the check of which users can write to the files of the link.
    ///
    /// # Safety
    ///
    /// While the consumer or a slice from it exists, nothing writes to the files of the link except this
    /// library: neither another user nor a program of this user.
    ///
    /// # Errors
    ///
    /// As [`Link::consumer`], but never [`LinkErrorKind::Untrusted`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use rust_tango::{Link, Start};
    ///
    /// let link = Link::open("quotes")?;
    /// // SAFETY: all users of this machine run only our own programs.
    /// let mut rx = unsafe { link.consumer_trusting(Start::Next) }?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub unsafe fn consumer_trusting(&self, start: Start) -> Result<Consumer<'static>, LinkError> {
        match &self.memory {
            Memory::Heap(link) => HeapLink::seated(link, start, Mode::Reliable),
            // SAFETY: the caller promises what the check would have found.
            Memory::Shared(link, _) => unsafe { ShmLink::seated(link, start, Mode::Reliable) },
        }
    }

    /// An observer that starts with the next published fragment.
    ///
    /// It reads what it can, by validated copy, and the producer does not know of it. There can be any
    /// number of observers.
    ///
    /// An observer can read about the newest `depth - depth / 32` fragments, as long as their payloads are
    /// there: the producer gives up the fragments that it overwrites next by that much ahead, and before a
    /// batch by up to 32 fragments or `depth / 8`, whichever is less. An observer cannot be woken, so one
    /// that waits and parks looks at intervals ([`Wait::ParkAfter`](crate::Wait)).
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::Invalid`] if the link was built without observers, and in a forked child (see
    /// [`Link`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(4).consumers(0).build()?;
    /// let tx = link.producer()?;
    /// let mut observer = link.observer()?;
    /// tx.send(b"one")?;
    /// assert_eq!(observer.poll()?.unwrap().payload.as_slice(), b"one");
    ///
    /// for _ in 0..10 {
    ///     tx.send(b"more")?; // does not wait for the observer
    /// }
    /// assert!(matches!(observer.poll(), Err(TangoError::Overrun { .. })));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn observer(&self) -> Result<Consumer<'static>, LinkError> {
        self.observer_from(Start::Next)
    }

    /// [`Link::observer`] with another start. See [`Link::consumer_from`] for an example with a start.
    ///
    /// # Errors
    ///
    /// As [`Link::observer`].
    pub fn observer_from(&self, start: Start) -> Result<Consumer<'static>, LinkError> {
        self.check_observers()?;
        let mode = Mode::Observing(Scratch::boxed(self.geometry().mtu));
        match &self.memory {
            Memory::Heap(link) => Ok(HeapLink::observer(link, mode, start)),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, _) => ShmLink::observer(link, mode, start),
        }
    }

    /// Refuses a reader by copy on a link that was built without observers.
    fn check_observers(&self) -> Result<(), LinkError> {
        if self.geometry().observers {
            return Ok(());
        }
        let message =
            "this link was built without observers, so neither observers nor evictable consumers can attach";
        Err(LinkError::new(LinkErrorKind::Invalid, message))
    }

    /// For models: see `HeapLink::touch`. Slots are of the smallest size.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self, payload: usize) {
        match &self.memory {
            Memory::Heap(link) => link.touch(payload),
        }
    }

    /// For models: the producer repeats the newest fragment in the hot slot.
    #[cfg(all(loom, test))]
    pub(crate) fn uses_hot_slot(&self) {
        match &self.memory {
            Memory::Heap(link) => link.hot_slot.is_used_from_now_on(true),
        }
    }

    /// The sizes of the link. They never change.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let geometry = Link::builder().depth(8).mtu(200).build()?.geometry();
    /// assert_eq!((geometry.depth, geometry.mtu, geometry.slot), (8, 200, 256));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn geometry(&self) -> Geometry {
        match &self.memory {
            Memory::Heap(link) => link.geometry,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, _) => link.geometry(),
        }
    }

    /// The type of the payloads, if the link was made with one. It never changes. See [`PayloadType`] for an example.
    ///
    /// Nothing enforces it: a [`Producer`] publishes any bytes.
    pub fn payload_type(&self) -> Option<&PayloadType> {
        match &self.memory {
            Memory::Heap(link) => link.payload_type.as_ref(),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, _) => link.payload_type(),
        }
    }

    /// Ends the link for good.
    ///
    /// From now on, each call of the producer that publishes returns
    /// [`TangoError::Closed`](crate::TangoError::Closed) and publishes nothing; so do calls that wait for a
    /// credit ([`Producer::is_stopped`]). Readers drain what was published, and then find the link closed. Any
    /// thread or process may call this, any number of times. A link that was stopped cannot be used again.
    ///
    /// A publish that runs at the same time, in another thread or process, may still succeed. A reader that
    /// has not found the link closed by then gets its fragment; any other gets it if it reads once more. To
    /// end a link without this race, drop its producer.
    ///
    /// # Errors
    ///
    /// In shared memory, [`LinkErrorKind::System`] if this user cannot write to the control file, and
    /// [`LinkErrorKind::Invalid`] in a forked child (see [`Link`]).
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().build()?;
    /// let mut rx = link.consumer()?;
    /// link.stop()?;
    /// assert!(rx.wait()?.is_none() && rx.is_closed());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn stop(&self) -> Result<(), LinkError> {
        match &self.memory {
            Memory::Heap(link) => {
                link.stop();
                emit!(link_stopped(None));
            }
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, _) => {
                link.stop()?;
                emit!(link_stopped(Some(link.name())));
            }
        }
        Ok(())
    }

    /// The state of the link at one moment.
    ///
    /// The fields are read one after the other while other threads and processes change them, so they need
    /// not fit together exactly.
    ///
    /// In shared memory, a file is opened for each consumer that is found for the first time, and kept open as
    /// long as the link, to ask whether it lives. A consumer counts as alive if its file cannot be opened.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().build()?;
    /// let (tx, _rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"unread")?;
    /// let status = link.status();
    /// assert!(status.producer && !status.stopped);
    /// assert_eq!((status.next, status.consumers[0].lag), (2, 1));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn status(&self) -> LinkStatus {
        match &self.memory {
            Memory::Heap(link) => link.status(),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, _) => link.status(),
        }
    }

    /// What both ends of the link have counted in the link itself. Any process that has it open can ask, as often as it
    /// likes: it loads a few words for each slot, and makes no system call.
    ///
    /// [`LinkMetrics`] says what each count is, when it is out of date, and has an example. [`Link::status`] also tells
    /// which ends live.
    pub fn metrics(&self) -> LinkMetrics {
        match &self.memory {
            Memory::Heap(link) => link.metrics(),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Memory::Shared(link, _) => link.metrics(),
        }
    }

    pub(super) fn on_heap(
        geometry: Geometry,
        payload_type: Option<PayloadType>,
        hints: Option<Hints>,
        prefault: bool,
    ) -> Result<Self, LinkError> {
        let hints = hints.map_or_else(processor::hints_of_process, Ok)?;
        let link = HeapLink::new(geometry, payload_type, hints, prefault)?;
        emit!(link_created(None, geometry.depth, geometry.mtu, geometry.consumers));
        Ok(Self { memory: Memory::Heap(Arc::new(link)) })
    }
}

/// Links in shared memory.
#[cfg(all(feature = "shm", target_os = "linux"))]
impl Link {
    pub(super) fn shared(link: Arc<ShmLink>, reservation: Reservation) -> Self {
        Self { memory: Memory::Shared(link, Arc::new(reservation)) }
    }

    pub(super) fn in_shared_memory(
        name: &str,
        folder: Option<&std::path::Path>,
        geometry: &Geometry,
        settings: Settings,
    ) -> Result<Self, LinkError> {
        let (link, reservation) = crate::shm::create(folder, name, geometry, settings)?;
        Ok(Self::shared(link, reservation))
    }
}
