//! [`answer`]: a notifier wakes the tasks of its own process itself.
//!
//! A task does not sleep. Another thread of its process, the *sleeper* of
//! [`shared_sleep`](crate::waiting::shared_sleep), sleeps in its place, and wakes it. Where the notifier is a thread
//! of the same process, it need not wake the sleeper for that: it can answer for the sleeper.
//!
//! ```text
//!   notifier N has news                               locked, as the sleeper does it
//!   N1  store the news
//!   N2  fence
//!   D1  answer: try to get the sleeper's lock  ---->  each waiter that has news is awake (W6), and leaves
//!   N3  load the sleep words
//!   N4  if a waiter sleeps: count += 1; wake all
//!   D2  wake the tasks of those that were answered
//! ```
//!
//! The other steps are those of [`eventcount`](crate::waiting::eventcount).
//!
//! # Why no wakeup is lost
//!
//! D1 is what the sleeper does in S3 of its round, under the same lock: a waiter leaves only if it has news and its
//! task will be woken, in D2. For all other waiters nothing has changed, so the proofs of `eventcount` and of
//! `shared_sleep` hold for them as they are:
//!
//! - N3 comes after D1, and looks at every word. A waiter that D1 has not answered still has its odd value: the lock
//!   was not free, there were too many, the waiter has found this news itself and waits for the next, or it is a
//!   thread that sleeps, of any process. N4 follows if that value is new.
//! - A waiter that D1 has answered is awake. No notification is owed to it, so `count` may stay as it is, and the
//!   sleeper goes on sleeping. The next announcement of that waiter has a new value.
//! - A waiter that joins after D1 finds the news in W4, or N3 sees its announcement: D1 is no part of that argument.
//!
//! The sum of the sleep words by which the notifier remembers what it has seen is taken between D1 and N3, because D1
//! changes the words.
//!
//! # What runs where
//!
//! D2 is the last step, since wakers are foreign code: the notifier has notified everybody else by then, and its own
//! state is complete. A waker may use the notifier. What that publishes wakes tasks through the sleeper, so that
//! wakers do not nest.
//!
//! The layer that knows the tasks puts its function into a hook. In a program without tasks the hook is empty.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::waiting::eventcount::Eventcount;

/// A notifier wakes at most so many tasks at once. The sleeper wakes the others.
pub(crate) const MOST_TASKS: usize = 32;

/// Which notifier it is, for the threads of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NotifierId {
    /// The address of its eventcount, which lies in memory of this process.
    Memory(usize),
    /// The file in which its eventcount lies. A process can have mapped it several times.
    File { device: u64, inode: u64 },
}

impl NotifierId {
    pub(crate) fn of(notifier: &Eventcount) -> Self {
        Self::Memory(core::ptr::from_ref(notifier).addr())
    }
}

/// What was answered in D1: the tasks to wake in D2.
#[derive(Debug)]
pub(crate) struct Answered {
    /// In an array, because a publish allocates nothing. The first `count` are used; `None`: the waiter had no task.
    /// There is no array as long as no waiter was answered.
    tasks: Option<[Option<Waker>; MOST_TASKS]>,
    count: usize,
}

/// Calls a waker. One that panics has been called, which is all that was requested. What it panicked with is forgotten,
/// because to drop it may panic, too.
pub(crate) fn wake(task: Waker) {
    if cfg!(loom) {
        return task.wake();
    }
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| task.wake())) {
        core::mem::forget(cause);
    }
}

/// D1, by the notifier. `None`: no waiter was answered.
pub(crate) fn answer(notifier: impl FnOnce() -> NotifierId) -> Option<Answered> {
    let hook = hook::get()?;
    let mut answered = Answered { tasks: None, count: 0 };
    hook(notifier(), &mut answered);
    (answered.count != 0).then_some(answered)
}

impl Answered {
    /// Whether no more waiters can be answered.
    pub(crate) fn is_full(&self) -> bool {
        self.count == MOST_TASKS
    }

    /// Answers a waiter if it has news, under the sleeper's lock. `leave` removes it, and returns the task to wake.
    /// Only if it is not [full](Self::is_full).
    pub(crate) fn check(
        &mut self,
        waiter: &Eventcount,
        has_news: impl FnOnce() -> bool,
        leave: impl FnOnce() -> Option<Waker>,
    ) -> bool {
        if !has_news() {
            return false;
        }
        waiter.wake_up();
        let tasks = match &mut self.tasks {
            Some(tasks) => tasks,
            none => none.insert([const { None }; MOST_TASKS]),
        };
        tasks[self.count] = leave();
        self.count += 1;
        true
    }

    /// D2, without any lock.
    pub(crate) fn wake(self) {
        let _nested = hook::suspend();
        self.tasks.into_iter().flatten().take(self.count).flatten().for_each(wake);
    }
}

/// The function for D1, which a layer above installs.
#[cfg(not(loom))]
pub(crate) mod hook {
    use core::ptr;
    use std::cell::Cell;

    use super::{Answered, NotifierId};
    use crate::sync::{Acquire, AtomicPtr, Release};

    /// Answers those waiters of a notifier whose tasks can be woken at once.
    type Answer = fn(NotifierId, &mut Answered);

    #[derive(Debug)]
    pub(crate) struct Hook(pub(crate) Answer);

    // No lock, because another thread could hold it while the process forks.
    static HOOK: AtomicPtr<Hook> = AtomicPtr::new(ptr::null_mut());

    std::thread_local! {
        /// This thread calls wakers.
        static SUSPENDED: Cell<bool> = const { Cell::new(false) };
    }

    /// From now on, notifiers call this function.
    pub(crate) fn install(hook: &'static Hook) {
        // Pairs with the Acquire load in `get`.
        HOOK.store(ptr::from_ref(hook).cast_mut(), Release);
    }

    /// The function, unless this thread calls wakers just now.
    #[allow(unsafe_code)]
    pub(super) fn get() -> Option<Answer> {
        // SAFETY: null, or a shared reference for ever.
        let hook = unsafe { HOOK.load(Acquire).as_ref() }?;
        (!SUSPENDED.get()).then_some(hook.0)
    }

    /// [`get`] finds nothing on this thread until the result is dropped.
    pub(super) fn suspend() -> impl Drop {
        struct Resume;
        impl Drop for Resume {
            fn drop(&mut self) {
                SUSPENDED.set(false);
            }
        }
        SUSPENDED.set(true);
        Resume
    }
}

/// The function for D1, which a model installs.
#[cfg(loom)]
pub(crate) mod hook {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::{Answered, NotifierId};

    type Answer = Rc<dyn Fn(NotifierId, &mut Answered)>;

    std::thread_local! {
        /// That of the model that runs on this thread of the system.
        static HOOK: RefCell<Option<Answer>> = const { RefCell::new(None) };
    }

    /// Notifiers call this function until the result is dropped.
    pub(crate) fn begin(answer: impl Fn(NotifierId, &mut Answered) + 'static) -> impl Drop {
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                HOOK.with(|hook| hook.take());
            }
        }
        HOOK.with(|hook| hook.replace(Some(Rc::new(answer))));
        End
    }

    pub(super) fn get() -> Option<Answer> {
        HOOK.with(|hook| hook.borrow().clone())
    }

    /// Wakers of models publish nothing.
    pub(super) fn suspend() {}
}
