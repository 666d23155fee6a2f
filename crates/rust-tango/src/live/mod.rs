//! [`AsyncConsumer`]: a consumer whose fragments are awaited, under any executor.
//!
//! A producer in another process can wake a thread that sleeps on its eventcount. It can do nothing else for
//! a reader: it cannot call a [`Waker`], or write to a descriptor, of the reader's process. So each
//! `AsyncConsumer` has a thread that sleeps in its place, the *watcher* (`watcher.rs`):
//!
//! ```text
//!   task                                     watcher thread                          producer
//!   poll: nothing there
//!   request: watch for n, wake me  ------->  sleep on the producer's eventcount
//!   Pending                                  :                                       publish n
//!                                            awake, n is in the ring  <------------  notify
//!   woken, or descriptor readable  <-------  answer; sleep until the next request
//!   poll: n is there, read it in place
//! ```
//!
//! Invariants:
//!
//! - *No wakeup is lost.* A request says what the reader has polled for in vain. Before the watcher sleeps,
//!   it checks for the same itself, by the rules of [`eventcount`](crate::waiting::eventcount). A request
//!   stays pending until it is answered, or replaced by a later one of the same reader.
//! - *The descriptor is readable unless a request is pending that asks for it.* So a program that has polled
//!   until there was nothing can wait for the descriptor, whatever happened before.
//! - *Each word of a consumer's slot has one writer.* The task notifies the producer of credits, and so
//!   writes `count`. Only the watcher sleeps, and so writes `asleep`: while an `AsyncConsumer` exists, no
//!   blocking call of its consumer is possible.
//! - *The watcher never reads a fragment, and accesses the link's memory only while a request is pending.*
//!   Before the consumer is dropped, the watcher has ended, or is calling a waker. In the second case it has
//!   removed the request, and no longer accesses the link.
//!
//! Reading order: this file, then `watcher`.

mod watcher;

use std::future::poll_fn;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, Waker};

use crate::consumer::payload::Fragment;
use crate::consumer::{Consumer, FoundIn, Next};
use crate::error::{LinkError, TangoError};
use crate::ring::line::Line;
use watcher::{Reply, Watcher};

/// After this many fragments in a row, other tasks of the executor get a turn.
const YIELD_AFTER: u32 = 128;

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
/// Each `AsyncConsumer` has a thread of its own, which sleeps most of the time. A wake-up passes through this
/// thread, so it takes longer than in [`Consumer::wait`]. Fragments that are already there cost the same as
/// with [`Consumer::poll`].
///
/// The producer does not know of an observer, and cannot wake its thread. That thread polls for fragments
/// instead, at least every ten milliseconds. The death of the producer is noticed within 50 milliseconds.
///
/// Dropping an `AsyncConsumer` ends the thread and waits for its end, which takes some microseconds.
///
/// In a forked child, the thread does not exist, and the link is closed (see [`Link`](crate::Link)). Dropping
/// the `AsyncConsumer` there is harmless.
#[derive(Debug)]
pub struct AsyncConsumer {
    /// Declared before the consumer, so that it is dropped first.
    watcher: Watcher,
    consumer: Consumer<'static>,
    /// How many fragments the task got since other tasks last had a turn.
    streak: u32,
}

impl Consumer<'static> {
    /// Makes this an [`AsyncConsumer`], whose fragments are awaited. Its [`Wait`](crate::Wait) has no effect
    /// then.
    ///
    /// # Errors
    /// [`LinkErrorKind::System`](crate::LinkErrorKind::System) if the system refuses a descriptor or a
    /// thread. The consumer is dropped then.
    pub fn into_async(self) -> Result<AsyncConsumer, LinkError> {
        let watcher = Watcher::start(self.question())?;
        Ok(AsyncConsumer { watcher, consumer: self, streak: 0 })
    }
}

/// The result of [`AsyncConsumer::find`].
enum Found {
    Fragment(Line<'static>, FoundIn),
    /// The link is closed and drained.
    End,
    /// There is nothing yet. The watcher has a request now.
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
            Some((line, place)) => self.consumer.take(line, place),
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
            Poll::Ready(Ok(Some((line, place)))) => Poll::Ready(self.consumer.take(line, place)),
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(None)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Returns the next fragment if it is there. Never blocks.
    ///
    /// `Ok(None)` means one of two things. [`Consumer::is_closed`] of [`get_ref`](Self::get_ref) tells which:
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
    ///     if rx.get_ref().is_closed() {
    ///         return Ok(());
    ///     }
    ///     wait_until_readable(&rx);
    /// }
    /// # }
    /// ```
    pub fn poll(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        match self.find(None)? {
            Found::Fragment(line, place) => self.consumer.take(line, place),
            Found::End | Found::Nothing => Ok(None),
        }
    }

    /// The consumer inside, for calls that do not read, such as [`Consumer::is_closed`] and
    /// [`Consumer::next_seq`].
    pub fn get_ref(&self) -> &Consumer<'static> {
        &self.consumer
    }

    /// Ends the thread, and returns the consumer to continue without async. No fragment is lost.
    pub fn into_inner(self) -> Consumer<'static> {
        let Self { watcher, consumer, .. } = self;
        drop(watcher);
        consumer
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

    /// Looks for the next fragment. If there is none, requests that the watcher wake `task`, or, with `None`,
    /// make the descriptor readable.
    #[inline]
    fn find(&mut self, task: Option<&Waker>) -> Result<Found, TangoError> {
        loop {
            match self.consumer.find_next_before_sleep()? {
                Next::Fragment(line, place) => return Ok(Found::Fragment(line, place)),
                Next::Closed => return Ok(Found::End),
                Next::Nothing => {}
            }
            match self.watcher.request(self.consumer.watch(), task) {
                Reply::Accepted => return Ok(Found::Nothing),
                Reply::CheckProducer => self.consumer.check_producer_lives(),
            }
        }
    }
}

impl AsFd for AsyncConsumer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watcher.descriptor()
    }
}

impl AsRawFd for AsyncConsumer {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
