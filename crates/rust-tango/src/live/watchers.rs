//! [`Registration`]: a reader's place with one of the watchers of its process.
//!
//! A process has one watcher for all of its async readers. It has more if they read more links than one thread
//! can sleep on, or if the kernel lets a thread sleep on one word only. Then there is one for each link, and one
//! for all observers.
//!
//! Two locks: first that of the list, and then that of one watcher. The thread of a watcher takes only its own.

use std::task::Waker;

use nix::sys::eventfd::EventFd;

use super::awaited::Watch;
use super::watched::Waiter;
use super::watcher::{Place, Reply, Takes, Watcher};
use crate::error::LinkError;
use crate::memory::share::LinkMemory;
use crate::shm::{PerProcess, Process};
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The watchers of one process. A forked child has none of the threads.
#[derive(Default)]
struct Watchers(Mutex<Vec<Arc<Watcher>>>);

static WATCHERS: PerProcess<Watchers> = PerProcess::new();

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Watcher>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An end of a link for which a watcher waits, until this is dropped.
pub(super) struct Registration {
    process: Process,
    watcher: Arc<Watcher>,
    place: Place,
}

impl Registration {
    /// Registers an end with a watcher of this process. `memory` is what the link lies in; `None`: it is
    /// static. `descriptor` is an eventfd whose count is one; `None`: each request has a task.
    pub(super) fn new(
        watch: &Watch,
        memory: Option<Arc<dyn LinkMemory>>,
        descriptor: Option<Arc<EventFd>>,
    ) -> Result<Self, LinkError> {
        let (link, is_woken) = (watch.id(), watch.is_woken());
        let mut list = WATCHERS.get().lock();
        let of_link = list.iter().find(|watcher| is_woken && watcher.has_sleepers_of(link));
        let suitable = of_link.or_else(|| list.iter().find(|watcher| watcher.has_room(is_woken)));
        let watcher = match suitable {
            Some(watcher) => watcher.clone(),
            None => {
                let watcher = Watcher::start(Takes::for_end(is_woken))?;
                list.push(watcher.clone());
                watcher
            }
        };
        let place = watcher.add(watch, memory, Waiter::new(descriptor));
        drop(list);
        Ok(Self { process: Process::this(), watcher, place })
    }

    /// See [`Watcher::request`].
    pub(super) fn request(&self, watch: Watch, task: Option<&Waker>) -> Reply {
        self.watcher.request(self.place, watch, task)
    }

    /// See [`Watcher::cancel`].
    pub(super) fn cancel(&self) {
        // In a forked child, there is no thread, and another one of the parent may have held the lock.
        if self.process.is_this() {
            self.watcher.cancel(self.place);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // In a forked child, another thread of the parent may have held a lock during the fork.
        if !self.process.is_this() {
            return;
        }
        let mut list = WATCHERS.get().lock();
        let removed = self.watcher.remove(self.place);
        if removed.is_last {
            // Nobody can register with it any more.
            list.retain(|watcher| !Arc::ptr_eq(watcher, &self.watcher));
        }
        drop(list);
        self.watcher.clean_up(removed);
    }
}

impl core::fmt::Debug for Registration {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Registration").field("place", &self.place).finish_non_exhaustive()
    }
}
