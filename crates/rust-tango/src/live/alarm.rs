//! [`Alarm`]: wakes a task after a while, under any executor.
//!
//! One thread of the process, `tango-timer`, sleeps until the first alarm is due. It runs while there are alarms, and is
//! apart from the watcher, which sleeps on eventcounts, and which a program without async readers does not have.
//!
//! One lock. No waker is called, cloned or dropped under it.

use std::collections::BTreeMap;
use std::sync::Condvar;
use std::task::Waker;
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::error::LinkError;
use crate::shm::{PerProcess, Process, thread};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::waiting::direct;

/// The alarms of one process. A forked child has its own, because it does not have the thread.
#[derive(Default)]
struct Timer {
    state: Mutex<State>,
    /// An alarm was set or dropped.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Tells alarms of the same instant apart.
    last: u64,
    /// The tasks to wake, in the order in which they are due.
    due: BTreeMap<Key, Waker>,
    /// How many [`Alarm`]s there are.
    alarms: usize,
    /// Whether there is a thread.
    runs: bool,
}

type Key = (Instant, u64);

static TIMER: PerProcess<Timer> = PerProcess::new();

impl Timer {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an alarm, and starts the thread if there is none.
    fn enter(&'static self) -> Result<(), LinkError> {
        let mut state = self.lock();
        if !state.runs {
            thread::spawn("tango-timer", Builder::new(), || self.run())
                .map_err(|error| LinkError::system("cannot start a thread", error))?;
            state.runs = true;
        }
        state.alarms += 1;
        Ok(())
    }

    fn run(&self) {
        let mut state = self.lock();
        while state.alarms > 0 {
            let now = Instant::now();
            let next = state.due.first_key_value().map(|(key, _)| key.0.saturating_duration_since(now));
            state = match next {
                Some(Duration::ZERO) => {
                    let task = state.due.pop_first();
                    drop(state);
                    task.into_iter().for_each(|(_, task)| direct::wake(task));
                    self.lock()
                }
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.runs = false;
    }
}

/// A request to wake a task, until this is dropped.
pub(crate) struct Alarm {
    process: Process,
    timer: &'static Timer,
    key: Key,
}

impl Alarm {
    /// Wakes the task in `pause`, once. `before` is an alarm that is over, to take the place of: the thread goes on then.
    pub(crate) fn after(pause: Duration, task: &Waker, before: Option<Self>) -> Result<Self, LinkError> {
        let task = task.clone();
        let timer = TIMER.get();
        timer.enter()?;
        drop(before);
        let mut state = timer.lock();
        state.last += 1;
        let key = (Instant::now() + pause, state.last);
        state.due.insert(key, task);
        drop(state);
        timer.changed.notify_one();
        Ok(Self { process: Process::this(), timer, key })
    }

    /// Whether the time has not come. If so, this task is the one to wake from now on.
    pub(crate) fn is_pending(&mut self, task: &Waker) -> bool {
        // In a forked child, no thread would wake it.
        if !self.process.is_this() {
            return false;
        }
        let mut task = task.clone();
        let mut state = self.timer.lock();
        let waker = state.due.get_mut(&self.key);
        let is_pending = waker.is_some();
        if let Some(waker) = waker {
            std::mem::swap(waker, &mut task);
        }
        drop(state);
        is_pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // In a forked child, another thread of the parent may have held the lock during the fork.
        if !self.process.is_this() {
            return;
        }
        let mut state = self.timer.lock();
        let task = state.due.remove(&self.key);
        state.alarms -= 1;
        let is_last = state.alarms == 0;
        drop(state);
        drop(task);
        if is_last {
            self.timer.changed.notify_one();
        }
    }
}

impl core::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Alarm").field("at", &self.key.0).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::task::Wake;

    use super::*;
    use crate::sync::Arc;

    struct Task(std::sync::mpsc::Sender<()>);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
            panic!("a waker that panics");
        }
    }

    fn task() -> (Waker, Receiver<()>) {
        let (sender, woken) = channel();
        (Waker::from(Arc::new(Task(sender))), woken)
    }

    #[test]
    fn the_last_task_is_woken_once_when_it_is_time() {
        let ((first, never), (second, woken), (third, later)) = (task(), task(), task());
        let mut alarm = Alarm::after(Duration::from_millis(20), &first, None).unwrap();
        let far = Alarm::after(Duration::from_secs(3600), &third, None).unwrap();
        if alarm.is_pending(&second) {
            drop(first);
            woken.recv().unwrap();
            assert!(!alarm.is_pending(&second));
            assert!(never.try_recv().is_err());
        }
        assert!(later.try_recv().is_err());
        drop(far);
        // It was dropped with its waker, and the panic of the other waker has not ended the thread.
        drop(third);
        assert!(later.recv().is_err());
        let (fourth, woken) = task();
        let _alarm = Alarm::after(Duration::ZERO, &fourth, Some(alarm)).unwrap();
        woken.recv().unwrap();
    }
}
