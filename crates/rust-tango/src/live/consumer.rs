//! [`AsyncConsumer`]: a consumer whose fragments are awaited.

use std::future::poll_fn;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, Waker};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::awaited::Watch;
use super::watcher::Reply;
use super::watchers::Registration;
use crate::consumer::payload::Fragment;
use crate::consumer::{Consumer, FoundIn, Next, Reader};
use crate::error::{LinkError, TangoError};
use crate::ring::line::Line;
use crate::sync::Arc;

/// After this many fragments in a row, other tasks of the executor get a turn.
pub(super) const YIELD_AFTER: u32 = 128;
/// A task that got a fragment looks so many times more, a turn of the other tasks apart, before it asks to be woken. To ask
/// takes the barrier of all threads, which takes as long as hundreds of looks: 16 microseconds on a virtual machine of two
/// cores (AMD Zen 5). A thousand tasks in turn, in million fragments a second: 3 without looks, 12 with 4, 13 with 8, 17 with
/// 16, 16 with 32 and with 64; tokio's `mpsc` 22 (`bench/`: workload `tasks`, windows of 100 ms).
const LOOKS: u32 = 16;

/// A [`Consumer`] whose fragments are awaited. [`Consumer::into_async`] makes one.
///
/// It reads like the consumer that it was made from: in place if that is reliable, otherwise by copy.
///
/// There are two ways to wait:
///
/// - With a task: [`recv`](Self::recv) and [`poll_next`](Self::poll_next) wake it. They work under any
///   executor, without its help.
/// - With the descriptor ([`AsFd`], [`AsRawFd`]): `epoll`, tokio's `AsyncFd`, or the event loop of another
///   language can watch it. **The protocol:** call [`poll`](Self::poll) until it returns `Ok(None)`. Then
///   wait until the descriptor is readable, and start again. Do not read from the descriptor, because `poll`
///   does that.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut rx = rust_tango::Link::open("quotes")?.consumer()?.into_async()?;
/// while let Some(fragment) = rx.recv().await? {
///     println!("{} bytes", fragment.payload.len()); // in place; the drop gives the credit back
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cost and latency
///
/// Fragments that are already there cost the same as with [`Consumer::poll`]. When no more are there, the task lets the
/// other tasks of its executor run, by waking itself, and looks again, up to 16 times: to ask to be woken takes longer.
/// After that, it waits. How a reader that waits is woken depends on where the producer is:
///
/// - *A producer of the same process* wakes the task itself, as a channel within one process does. It also finds readers
///   that have opened the link again by its name. [`Producer::with_direct_wake`](crate::Producer::with_direct_wake)
///   says more, and switches it off.
/// - *A producer of another process* wakes the thread `tango-watcher`, which waits in the place of all async readers of
///   this process, and which wakes the task. So it takes two wake-ups of threads, and longer than
///   [`Consumer::wait`]. The same holds for ends, for deaths, and for observers.
///
/// The thread waits for async [producers](crate::AsyncProducer), too. It starts with the first async end of the process
/// and ends with the last.
///
/// - The producer does not know of an observer, and cannot wake the thread for it. The thread polls for
///   fragments instead, at least every twenty milliseconds.
/// - The thread notices within 50 milliseconds that a producer has died or that a link was stopped.
/// - It sleeps on up to 127 links that have async consumers with a slot. For more of them, there are more
///   threads. Before Linux 5.16 (no `futex_waitv`, or a system call filter that forbids it), there is a thread
///   for each such link, and one for all observers.
/// - Where a system call filter forbids `membarrier(2)` to this process, but not to the producer's, it polls for
///   all readers of that producer, as for observers.
/// - Readers that wait take almost no processor time: for each link a system call every 50 milliseconds, and for
///   each reader a look at a word of the link; for each observer, such a look every twenty milliseconds.
///
/// Dropping an `AsyncConsumer` does not wait for the thread, and wakes no other reader. Only the last one of a
/// thread waits for the end of that thread, which takes some tens of microseconds. The memory of a link may be
/// freed a moment after its last reader was dropped, by the thread.
///
/// # The thread
///
/// Wakers are called on this thread, one after the other, or on the thread of the producer. A waker that blocks delays
/// all async readers of the process, or the producer. It must wait for neither. A panic of a waker is caught.
///
/// All signals are blocked in the thread, except those that a thread raises by a fault of its own, such as
/// `SIGSEGV`. It has the scheduling policy and the cores of the thread that made the first async reader or producer.
///
/// In a forked child, the thread does not exist, and a link in shared memory is closed (see [`Link`](crate::Link)). Of a
/// link on the heap, the child has a copy. There, awaiting ends as if it was closed, until [`Self::into_inner`] and
/// [`Consumer::into_async`] make another reader. Dropping the `AsyncConsumer` is harmless.
#[derive(Debug)]
pub struct AsyncConsumer {
    /// Declared before the consumer, so that it is dropped first.
    registration: Registration,
    /// An eventfd, for the event loops of others.
    descriptor: Arc<EventFd>,
    /// Not a [`Consumer`], whose blocking calls must not be in reach.
    reader: Reader<'static>,
    /// How many fragments the task got since other tasks last had a turn.
    streak: u32,
    /// How many times more it looks before it asks to be woken.
    looks: u32,
}

impl Consumer<'static> {
    /// Makes this an [`AsyncConsumer`], whose fragments are awaited. Its [`Wait`](crate::Wait) has no effect
    /// then.
    ///
    /// # Errors
    /// [`LinkErrorKind::System`](crate::LinkErrorKind::System) if the system refuses a descriptor or a
    /// thread. The consumer is dropped then.
    pub fn into_async(self) -> Result<AsyncConsumer, LinkError> {
        let reader = self.into_reader();
        let descriptor = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|error| LinkError::system("cannot make an eventfd", error))?;
        let descriptor = Arc::new(descriptor);
        let watch = Watch::Fragment(reader.watch());
        let registration = Registration::new(&watch, reader.memory(), Some(descriptor.clone()))?;
        Ok(AsyncConsumer { registration, descriptor, reader, streak: 0, looks: 0 })
    }
}

/// The result of [`AsyncConsumer::find`].
enum Found {
    Fragment(Line<'static>, FoundIn),
    /// The link is closed and drained.
    End,
    /// There is nothing yet. The task was woken to look again, or the watcher has a request now.
    Nothing,
}

impl AsyncConsumer {
    /// Waits for the next fragment. `Ok(None)`: the link is closed, and everything was read.
    ///
    /// Dropping the future before it is ready loses no fragment. After many fragments in a row that were
    /// already there, it gives other tasks a turn first.
    ///
    /// # Errors
    /// As [`Consumer::poll`]. After [`TangoError::ProducerGone`], each call returns this error at once until
    /// a new producer attaches. Wait a while before you call it again.
    ///
    /// # Examples
    /// See [`AsyncConsumer`].
    pub async fn recv(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        match poll_fn(|cx| self.poll_line(cx)).await? {
            Some((line, place)) => self.reader.take(line, place),
            None => Ok(None),
        }
    }

    /// [`AsyncConsumer::recv`] for hand-written futures. After `Pending`, the task is woken as soon as there
    /// is something. If several tasks call it, only the last is woken.
    ///
    /// # Errors
    /// Ready with the errors of [`AsyncConsumer::recv`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Fragment<'_>>, TangoError>> {
        match self.poll_line(cx) {
            Poll::Ready(Ok(Some((line, place)))) => Poll::Ready(self.reader.take(line, place)),
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(None)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Returns the next fragment if it is there. Never blocks.
    ///
    /// `Ok(None)` means one of two things. [`is_closed`](Self::is_closed) tells which:
    ///
    /// - There is nothing yet. The descriptor becomes readable when you should call again.
    /// - The link is closed, and everything was read. The descriptor then stays readable. It does not report
    ///   when another producer opens the link again.
    ///
    /// After a fragment or an error there may be more. The descriptor is meaningful only after `Ok(None)`.
    ///
    /// # Errors
    /// As [`AsyncConsumer::recv`].
    ///
    /// # Examples
    ///
    /// A loop that waits for the descriptor with `poll(2)` looks like this:
    ///
    /// ```no_run
    /// # fn wait_until_readable(_: impl std::os::fd::AsFd) {}
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut rx = rust_tango::Link::open("quotes")?.consumer()?.into_async()?;
    /// loop {
    ///     while let Some(fragment) = rx.poll()? {
    ///         println!("{} bytes", fragment.payload.len());
    ///     }
    ///     if rx.is_closed() {
    ///         return Ok(());
    ///     }
    ///     wait_until_readable(&rx);
    /// }
    /// # }
    /// ```
    pub fn poll(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        match self.find(None)? {
            Found::Fragment(line, place) => self.reader.take(line, place),
            Found::End | Found::Nothing => Ok(None),
        }
    }

    /// See [`Consumer::is_closed`]. [`poll`](Self::poll) has an example.
    pub fn is_closed(&self) -> bool {
        self.reader.is_closed()
    }

    /// The sequence number of the next fragment to read: see [`Consumer::next_seq`].
    pub fn next_seq(&self) -> u64 {
        self.reader.next
    }

    /// Returns the consumer, to continue without async. No fragment is lost.
    pub fn into_inner(self) -> Consumer<'static> {
        let Self { registration, reader, .. } = self;
        drop(registration);
        Consumer::of(reader)
    }

    fn poll_line(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(Line<'static>, FoundIn)>, TangoError>> {
        if self.streak >= YIELD_AFTER {
            self.streak = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.find(Some(cx.waker())) {
            Ok(Found::Fragment(line, place)) => {
                self.streak += 1;
                self.looks = LOOKS;
                Poll::Ready(Ok(Some((line, place))))
            }
            Ok(Found::End) => Poll::Ready(Ok(None)),
            Ok(Found::Nothing) => {
                self.streak = 0;
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Looks for the next fragment. If there is none, wakes `task` to look again soon, or requests that the watcher wake it,
    /// or, with `None`, make the descriptor readable.
    #[inline]
    fn find(&mut self, task: Option<&Waker>) -> Result<Found, TangoError> {
        loop {
            match self.reader.find_next_before_sleep()? {
                Next::Fragment(line, place) => return Ok(Found::Fragment(line, place)),
                Next::Closed => return Ok(Found::End),
                Next::Nothing => {}
            }
            if let (Some(task), 1..) = (task, self.looks) {
                self.looks -= 1;
                task.wake_by_ref();
                return Ok(Found::Nothing);
            }
            match self.registration.request(Watch::Fragment(self.reader.watch()), task) {
                Reply::Accepted => return Ok(Found::Nothing),
                Reply::PollAgain => {}
                Reply::CheckPeer => self.reader.check_producer_lives(),
                Reply::Forked => return Ok(Found::End),
            }
        }
    }
}

impl AsFd for AsyncConsumer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for AsyncConsumer {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
