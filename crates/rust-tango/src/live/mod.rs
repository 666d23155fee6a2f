//! [`AsyncConsumer`]: a consumer whose fragments are awaited, under any executor.
//!
//! A producer in another process can wake who sleeps on its bell, and do nothing else for a reader: not call
//! its [`Waker`], not write to a descriptor of its process. So each `AsyncConsumer` has a thread that sleeps
//! in its place (`watcher.rs`):
//!
//! ```text
//!   task                                watcher (a thread)                  producer
//!   look: nothing
//!   order: watch for n, tell me  ---->  sleep on the producer's bell
//!   Pending                             :                                   publish n
//!                                       awake, n is there  <--------------  ring
//!   woken, or descriptor readable  <--  tell; sleep until the next order
//!   look: n, read in place
//! ```
//!
//! Invariants:
//! - *No wakeup is lost.* An order says for what the reader has looked in vain. The watcher looks for just
//!   that itself before it sleeps, by the rules of [`eventcount`](crate::waiting::eventcount). An order stays until its news has
//!   been told, or a later one of the same reader takes its place.
//! - *The descriptor is readable unless an order stands that asks for it.* Who has polled until there is
//!   nothing can wait for it, whatever happened before.
//! - The words of a consumer's slot have one writer each. Of its bell, the task rings (credits that a
//!   producer waits for), and only the watcher sleeps: nothing that blocks can be called meanwhile.
//! - The watcher never touches a fragment, and the memory of the link only while an order stands. Before the consumer is
//!   dropped it has ended, or is calling a waker: its order is put away then, and it does not touch the link any more.

mod watcher;

use std::future::poll_fn;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, Waker};

use crate::consumer::payload::Fragment;
use crate::consumer::{Consumer, Next};
use crate::error::{LinkError, TangoError};
use crate::ring::line::Line;
use watcher::{Receipt, Watcher};

/// Fragments in a row before other tasks of the executor get a turn.
const TURN: u32 = 128;

/// A [`Consumer`] whose fragments are awaited. It reads as before, in place if it is reliable; see
/// [`Consumer::into_async`].
///
/// There are two ways to wait, for two kinds of programs:
///
/// - [`recv`](Self::recv) and [`poll_next`](Self::poll_next) wake the task. They need nothing from the executor.
/// - The descriptor ([`AsFd`], [`AsRawFd`]) can be watched by anything that watches descriptors: `epoll`,
///   tokio's `AsyncFd`, another language's event loop. **The protocol:** call [`poll`](Self::poll) until it
///   returns `Ok(None)`; then wait until the descriptor is readable; then again. Do not read from the
///   descriptor: `poll` does that.
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
/// Each `AsyncConsumer` has a thread, which sleeps while there is nothing to wait for, and while there is
/// nothing to tell. A wake-up passes through it, so it takes longer than that of a thread in
/// [`Consumer::wait`]; fragments that are there already cost the same as with [`Consumer::poll`]. The watcher of
/// an observer, which the producer does not know of, looks for fragments itself, every ten milliseconds at
/// the latest. The death of the producer is noticed after 50 milliseconds at the latest.
///
/// Dropping it ends the thread and waits for that, which takes some microseconds.
///
/// In a forked child, that thread does not exist, and the link is closed (see [`Link`](crate::Link)). To drop it there
/// is harmless.
#[derive(Debug)]
pub struct AsyncConsumer {
    /// Before the consumer, so that it is dropped before it.
    watcher: Watcher,
    consumer: Consumer<'static>,
    /// Fragments since the task last gave others a turn.
    streak: u32,
}

impl Consumer<'static> {
    /// Makes it one whose fragments are awaited. Its [`Wait`](crate::Wait) does not matter then: nothing spins.
    ///
    /// # Errors
    /// [`LinkErrorKind::System`](crate::LinkErrorKind::System) if there is no descriptor or no thread to be had.
    /// The consumer is dropped then.
    pub fn into_async(self) -> Result<AsyncConsumer, LinkError> {
        let watcher = Watcher::start(self.question())?;
        Ok(AsyncConsumer { watcher, consumer: self, streak: 0 })
    }
}

/// What a look has found.
enum Found {
    Fragment(Line<'static>),
    /// The link is closed and drained.
    End,
    /// There is an order now.
    Nothing,
}

impl AsyncConsumer {
    /// The next fragment, once it is there. `Ok(None)`: the link is closed and drained.
    ///
    /// Dropping the future before it is done loses nothing. After many fragments in a row that were there
    /// already, it gives other tasks a turn first.
    ///
    /// # Errors
    /// As [`Consumer::poll`]. After [`TangoError::ProducerGone`], each call returns that at once until another
    /// producer has come: look again after a while.
    pub async fn recv(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        match poll_fn(|cx| self.poll_line(cx)).await? {
            Some(line) => self.consumer.take(line),
            None => Ok(None),
        }
    }

    /// [`AsyncConsumer::recv`] for hand-written futures. When it is pending, the task is woken as soon as
    /// there is something; of several tasks, the last that called.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Fragment<'_>>, TangoError>> {
        match self.poll_line(cx) {
            Poll::Ready(Ok(Some(line))) => Poll::Ready(self.consumer.take(line)),
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(None)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The next fragment, if it is there. Never blocks.
    ///
    /// `Ok(None)` says that there is nothing yet, or nothing any more ([`Consumer::is_closed`] of
    /// [`get_ref`](Self::get_ref) tells). Only after that, the descriptor tells when to call again: after a
    /// fragment or an error, there may be more. Nor does it behind the end: it stays readable, and does not tell when
    /// another producer opens the link again. So ask `is_closed` first.
    ///
    /// # Errors
    /// As [`AsyncConsumer::recv`].
    pub fn poll(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        match self.find(None)? {
            Found::Fragment(line) => self.consumer.take(line),
            Found::End | Found::Nothing => Ok(None),
        }
    }

    /// The consumer, to ask it things.
    pub fn get_ref(&self) -> &Consumer<'static> {
        &self.consumer
    }

    /// The consumer, to go on without async.
    pub fn into_inner(self) -> Consumer<'static> {
        let Self { watcher, consumer, .. } = self;
        drop(watcher);
        consumer
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Line<'static>>, TangoError>> {
        if self.streak >= TURN {
            self.streak = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.find(Some(cx.waker())) {
            Ok(Found::Fragment(line)) => {
                self.streak += 1;
                Poll::Ready(Ok(Some(line)))
            }
            Ok(Found::End) => Poll::Ready(Ok(None)),
            Ok(Found::Nothing) => {
                self.streak = 0;
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Looks for the next fragment. If there is none, has the watcher look out for it, and tell the task of
    /// that waker, or (`None`) by the descriptor.
    #[inline]
    fn find(&mut self, task: Option<&Waker>) -> Result<Found, TangoError> {
        loop {
            match self.consumer.look_closely()? {
                Next::Fragment(line) => return Ok(Found::Fragment(line)),
                Next::Closed => return Ok(Found::End),
                Next::Nothing => {}
            }
            match self.watcher.order(self.consumer.watch(), task) {
                Receipt::Taken => return Ok(Found::Nothing),
                Receipt::AskFirst => self.consumer.ask_whether_producer_lives(),
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
