//! [`Watcher`]: the thread that sleeps in the place of an [`AsyncConsumer`](super::AsyncConsumer).
//!
//! ```text
//!             request                      request (replaces the old one)
//!   idle  --------------->  request pending  ----.
//!    ^                          |      ^_________|
//!    |  news, or the producer   |
//!    '------- seems dead  ------'   answer: wake the task, or make the descriptor readable
//! ```
//!
//! One lock protects this state. No thread holds it while it sleeps in the kernel or calls a waker.
//!
//! The watcher checks for news without the lock. If a new request has come meanwhile (`serial` has changed),
//! it drops the result and starts again with the new request. A new request need not wake a watcher that
//! sleeps for the old one: either the news of the old one is there by then, which wakes the watcher, or the
//! new request waits for the same news.

use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::consumer::{Question, Watch};
use crate::error::LinkError;
use crate::shm::Process;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use crate::waiting::eventcount::{Eventcount, SLICE};
use crate::waiting::wait::Naps;

/// Time between two attempts to wake the thread so that it ends. One attempt is not enough, because it may
/// come just before the thread falls asleep.
const WAKE_AGAIN_AFTER: Duration = Duration::from_micros(50);

/// A thread that waits for news. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    /// `Some` until `drop`.
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread. A forked child does not have it.
    process: Process,
}

/// What the reader and its watcher share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there is a request, or when the thread has to end.
    changed: Condvar,
    /// An eventfd. Its count is not zero exactly if `State::readable`.
    descriptor: EventFd,
}

#[derive(Debug)]
struct State {
    request: Option<Request>,
    /// Counts the requests.
    serial: u64,
    /// False only while a request is pending that asks for the descriptor.
    readable: bool,
    /// The watcher has found the producer dead. The reader has to check that itself.
    seems_dead: bool,
    /// The thread is calling a waker, which may take long, or wait for something that another thread holds.
    calls_waker: bool,
    /// The thread has to end.
    ends: bool,
}

/// What a reader waits for, and how to answer it.
struct Request {
    watch: Watch<'static>,
    /// The task to wake. `None`: make the descriptor readable.
    task: Option<Waker>,
}

impl core::fmt::Debug for Request {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Request").field("task", &self.task).finish_non_exhaustive()
    }
}

/// The watcher's reply to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The request is pending.
    Accepted,
    /// Not accepted: check first whether the producer lives, and then poll again.
    CheckProducer,
}

impl Watcher {
    /// Starts the thread. `producer_lives` checks with the kernel whether the producer lives. `None`: it
    /// cannot die.
    pub(super) fn start(producer_lives: Option<Question>) -> Result<Self, LinkError> {
        let descriptor = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|error| LinkError::system("cannot make an eventfd", error))?;
        let state = State {
            request: None,
            serial: 0,
            readable: true,
            seems_dead: false,
            calls_waker: false,
            ends: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), descriptor });
        let watching = shared.clone();
        let thread = thread::Builder::new()
            .name("tango-watcher".into())
            .spawn(move || watching.run(producer_lives.as_ref()))
            .map_err(|error| LinkError::system("cannot start a thread", error))?;
        Ok(Self { shared, thread: Some(thread), process: Process::this() })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.descriptor.as_fd()
    }

    /// Requests an answer when `watch` has news: wakes `task`, or, with `None`, makes the descriptor
    /// readable. Replaces the pending request.
    ///
    /// The memory that `watch` is a view of must outlive this watcher.
    pub(super) fn request(&self, watch: Watch<'static>, task: Option<&Waker>) -> Reply {
        let request = Request { watch, task: task.cloned() };
        let mut state = self.shared.lock();
        if core::mem::take(&mut state.seems_dead) {
            return Reply::CheckProducer;
        }
        self.shared.set_readable(&mut state, request.task.is_some());
        let old = state.request.replace(request);
        state.serial = state.serial.wrapping_add(1);
        drop(state);
        if old.is_none() {
            self.shared.changed.notify_one();
        }
        Reply::Accepted // the old waker is dropped here, without the lock
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if !self.process.is_this() {
            // A forked child. The thread does not exist here, but it may have held the lock during the fork.
            core::mem::forget(thread);
            return;
        }
        let (request, calls_waker) = {
            let mut state = self.shared.lock();
            state.ends = true;
            (state.request.take(), state.calls_waker)
        };
        self.shared.changed.notify_one();
        if calls_waker {
            // Joining the thread here could deadlock: the waker itself may be dropping the reader, or may
            // wait for something that the caller of this drop holds. The thread ends as soon as the waker
            // returns. It does not access the link any more, because it removed the request before it called
            // the waker.
            return;
        }
        let producer =
            request.as_ref().and_then(|request| request.watch.eventcounts).map(|(_, producer)| producer);
        while !thread.is_finished() {
            producer.into_iter().for_each(Eventcount::wake_all);
            thread::sleep(WAKE_AGAIN_AFTER);
        }
        // The thread catches panics of wakers, so it does not panic.
        let _ = thread.join();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_readable(&self, state: &mut State, readable: bool) {
        if state.readable != readable {
            state.readable = readable;
            // A write cannot fail, because the count is 0 or 1. A read fails only if the count is 0, because
            // the program itself has read from the descriptor. Then the count is already what it has to be.
            let _ =
                if readable { self.descriptor.write(1).map(drop) } else { self.descriptor.read().map(drop) };
        }
    }

    /// The body of the thread.
    fn run(&self, producer_lives: Option<&Question>) {
        let mut naps = Naps::new();
        let mut state = self.lock();
        while !state.ends {
            let Some(watch) = state.request.as_ref().map(|request| request.watch) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let serial = state.serial;
            drop(state);
            let outcome = self.wait_once(&watch, &mut naps, producer_lives);
            state = self.lock();
            if outcome == Outcome::Nothing || state.serial != serial {
                continue;
            }
            // `None`: the thread has to end.
            let Some(request) = state.request.take() else { continue };
            state.seems_dead = outcome == Outcome::Dead;
            naps = Naps::new();
            match request.task {
                None => self.set_readable(&mut state, true),
                Some(task) => {
                    state.calls_waker = true;
                    drop(state);
                    // A waker that panics has been called, which is all that was requested.
                    let _ = catch_unwind(AssertUnwindSafe(|| task.wake()));
                    state = self.lock();
                    state.calls_waker = false;
                }
            }
        }
    }

    /// Checks for news. If there is none, sleeps once and checks again.
    fn wait_once(&self, watch: &Watch<'_>, naps: &mut Naps, producer_lives: Option<&Question>) -> Outcome {
        if watch.has_news() {
            return Outcome::News;
        }
        let slept = watch.eventcounts.is_some_and(|(own, producer)| {
            own.sleep_on(producer, SLICE, || self.lock().ends || watch.has_news())
        });
        let is_due = slept || self.nap(naps);
        if watch.has_news() {
            Outcome::News
        } else if is_due && producer_lives.is_some_and(|lives| !lives()) {
            Outcome::Dead
        } else {
            Outcome::Nothing
        }
    }

    /// Naps, unless the thread has to end. True if it is time for the check that costs a system call.
    fn nap(&self, naps: &mut Naps) -> bool {
        let state = self.lock();
        if !state.ends {
            drop(self.changed.wait_timeout(state, naps.next()).unwrap_or_else(PoisonError::into_inner));
        }
        naps.passed()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    News,
    /// The producer seems to be dead.
    Dead,
    Nothing,
}
