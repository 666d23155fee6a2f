//! [`Watcher`]: the thread that sleeps in the place of an [`AsyncConsumer`](super::AsyncConsumer).
//!
//! ```text
//!               order                    order (takes the place of the old one)
//!   no order  -------->  an order stands  ----.
//!      ^                        |  ^__________|
//!      |  news, or the producer |
//!      '--------- seems dead ---'  then: tell the task, or make the descriptor readable
//! ```
//!
//! All of that is under one lock, which nobody holds while it sleeps or calls foreign code. The watcher judges
//! an order without the lock; if another one has come meanwhile (`serial`), it judges that one. A new order
//! need not wake a watcher that sleeps for the old one: the old one's news is there by then, or the new
//! one waits for the same.

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

/// Between two attempts to wake the thread so that it ends: an attempt may come just before it falls asleep.
const SHAKES: Duration = Duration::from_micros(50);

/// A thread that waits for news. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    /// There until `drop`.
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread: a forked child has not.
    process: Process,
}

/// What the reader and its watcher share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is an order, or the end.
    called: Condvar,
    /// Its count is not zero exactly when `State::readable`.
    descriptor: EventFd,
}

#[derive(Debug)]
struct State {
    order: Option<Barrier>,
    /// Counts the orders.
    serial: u64,
    /// False only while an order stands that asks for the descriptor.
    readable: bool,
    /// The watcher has found the producer dead: the reader has to ask for itself.
    suspicion: bool,
    /// A waker is being called: it may take its time, or wait for what somebody else has.
    calling: bool,
    over: bool,
}

struct Barrier {
    watch: Watch<'static>,
    /// Who is told; `None`: who waits for the descriptor.
    task: Option<Waker>,
}

impl core::fmt::Debug for Barrier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Order").field("task", &self.task).finish_non_exhaustive()
    }
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receipt {
    Taken,
    /// Not taken: ask whether the producer lives, and look again.
    AskFirst,
}

impl Watcher {
    pub(super) fn start(question: Option<Question>) -> Result<Self, LinkError> {
        let descriptor = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|error| LinkError::system("cannot make an eventfd", error))?;
        let state =
            State { order: None, serial: 0, readable: true, suspicion: false, calling: false, over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), called: Condvar::new(), descriptor });
        let watching = shared.clone();
        let thread = thread::Builder::new()
            .name("tango-watcher".into())
            .spawn(move || watching.watch(question.as_ref()))
            .map_err(|error| LinkError::system("cannot start a thread", error))?;
        Ok(Self { shared, thread: Some(thread), process: Process::this() })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.descriptor.as_fd()
    }

    /// Looks out for news of `watch` from now on, and tells `task`, or (`None`) by the descriptor.
    ///
    /// The memory that the watch is a view of must outlive this watcher.
    pub(super) fn order(&self, watch: Watch<'static>, task: Option<&Waker>) -> Receipt {
        let order = Barrier { watch, task: task.cloned() };
        let mut state = self.shared.lock();
        if core::mem::take(&mut state.suspicion) {
            return Receipt::AskFirst;
        }
        self.shared.set_readable(&mut state, order.task.is_some());
        let old = state.order.replace(order);
        state.serial = state.serial.wrapping_add(1);
        drop(state);
        if old.is_none() {
            self.shared.called.notify_one();
        }
        Receipt::Taken // the old waker is dropped here, behind the lock
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if !self.process.is_this() {
            // A forked child: there is no thread, and perhaps a lock that it held.
            core::mem::forget(thread);
            return;
        }
        let (order, calling) = {
            let mut state = self.shared.lock();
            state.over = true;
            (state.order.take(), state.calling)
        };
        self.shared.called.notify_one();
        if calling {
            // A waker that drops the reader, or that waits for something which is held while the reader is dropped. The
            // thread ends as soon as that returns, and does not touch the link any more, for it has put its order away
            // before it called.
            return;
        }
        let producer = order.as_ref().and_then(|order| order.watch.eventcounts).map(|(_, producer)| producer);
        while !thread.is_finished() {
            producer.into_iter().for_each(Eventcount::wake_all);
            thread::sleep(SHAKES);
        }
        // It has caught what foreign code may have done to it.
        let _ = thread.join();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_readable(&self, state: &mut State, readable: bool) {
        if state.readable != readable {
            state.readable = readable;
            // Neither can fail: the count is 0 or 1, and is 1 when it is read, unless somebody else has read
            // from the descriptor, and then the count is what it has to be.
            let _ =
                if readable { self.descriptor.write(1).map(drop) } else { self.descriptor.read().map(drop) };
        }
    }

    /// What the thread does.
    fn watch(&self, question: Option<&Question>) {
        let mut naps = Naps::new();
        let mut state = self.lock();
        while !state.over {
            let Some(watch) = state.order.as_ref().map(|order| order.watch) else {
                state = self.called.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let serial = state.serial;
            drop(state);
            let outcome = self.look_out(&watch, &mut naps, question);
            state = self.lock();
            if outcome == Outcome::Nothing || state.serial != serial {
                continue;
            }
            // `None`: it is over.
            let Some(order) = state.order.take() else { continue };
            state.suspicion = outcome == Outcome::Dead;
            naps = Naps::new();
            match order.task {
                None => self.set_readable(&mut state, true),
                Some(task) => {
                    state.calling = true;
                    drop(state);
                    // A waker that panics has been told all the same.
                    let _ = catch_unwind(AssertUnwindSafe(|| task.wake()));
                    state = self.lock();
                    state.calling = false;
                }
            }
        }
    }

    /// Looks, sleeps once if there is nothing, and looks again.
    fn look_out(&self, watch: &Watch<'_>, naps: &mut Naps, question: Option<&Question>) -> Outcome {
        if watch.has_news() {
            return Outcome::News;
        }
        let slept = watch.eventcounts.is_some_and(|(own, producer)| {
            own.sleep_on(producer, SLICE, || self.lock().over || watch.has_news())
        });
        let is_due = slept || self.nap(naps);
        if watch.has_news() {
            Outcome::News
        } else if is_due && question.is_some_and(|lives| !lives()) {
            Outcome::Dead
        } else {
            Outcome::Nothing
        }
    }

    /// Naps; the end interrupts it. True when it is time to ask what costs a system call.
    fn nap(&self, naps: &mut Naps) -> bool {
        let state = self.lock();
        if !state.over {
            drop(self.called.wait_timeout(state, naps.next()).unwrap_or_else(PoisonError::into_inner));
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
