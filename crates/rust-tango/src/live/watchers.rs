//! [`Registration`]: a reader's place with one of the watchers of its process.
//!
//! A process has one watcher for all of its async readers. It has more if they read more links than one thread
//! can sleep on, or if the kernel lets a thread sleep on one word only. Then there is one for each link, and one
//! for all observers.
//!
//! Three locks, in this order: that of the list, that of what notifiers find, and that of one watcher. The thread of a
//! watcher takes only its own. A notifier waits for none of them.

use std::collections::BTreeMap;
use std::task::Waker;

use nix::sys::eventfd::EventFd;

use super::awaited::{LinkId, Watch};
use super::watched::Waiter;
use super::watcher::{Place, Reply, Takes, Watcher};
use crate::error::LinkError;
use crate::memory::share::LinkMemory;
use crate::shm::{PerProcess, Process};
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, TryLockError};
use crate::waiting::direct::{Answered, NotifierId, hook, hook::Hook};

/// The watchers of one process. A forked child has none of the threads.
#[derive(Default)]
struct Watchers {
    list: Mutex<Vec<Arc<Watcher>>>,
    /// For notifiers of this process: which ends wait for them. One entry for each mapping of the notifier.
    of_notifiers: RwLock<BTreeMap<NotifierId, Vec<Waiting>>>,
}

/// The ends that wait for a notifier in one mapping.
struct Waiting {
    watcher: Arc<Watcher>,
    link: LinkId,
    ends: usize,
}

static WATCHERS: PerProcess<Watchers> = PerProcess::new();

static HOOK: Hook = Hook(answer);

/// Answers those that wait for a notifier, on its thread: see [`direct`](crate::waiting::direct). Waits for no lock.
fn answer(notifier: NotifierId, answered: &mut Answered) {
    let Some(watchers) = WATCHERS.existing() else { return };
    let notifiers = match watchers.of_notifiers.try_read() {
        Ok(notifiers) => notifiers,
        Err(TryLockError::Poisoned(notifiers)) => notifiers.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    for Waiting { watcher, link, .. } in notifiers.get(&notifier).into_iter().flatten() {
        watcher.answer(*link, answered);
    }
}

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Watcher>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_notifiers(&self) -> RwLockWriteGuard<'_, BTreeMap<NotifierId, Vec<Waiting>>> {
        self.of_notifiers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The notifier finds one more end from now on.
    fn enter(&self, (notifier, link): (NotifierId, LinkId), watcher: &Arc<Watcher>) {
        hook::install(&HOOK);
        let mut notifiers = self.of_notifiers();
        let all = notifiers.entry(notifier).or_default();
        match all.iter_mut().find(|waiting| waiting.link == link) {
            Some(waiting) => waiting.ends += 1,
            None => all.push(Waiting { watcher: watcher.clone(), link, ends: 1 }),
        }
    }

    /// An end is gone.
    fn leave(&self, (notifier, link): (NotifierId, LinkId)) {
        let mut notifiers = self.of_notifiers();
        let Some(all) = notifiers.get_mut(&notifier) else { return };
        if let Some(waiting) = all.iter_mut().find(|waiting| waiting.link == link) {
            waiting.ends -= 1;
        }
        all.retain(|waiting| waiting.ends != 0);
        if all.is_empty() {
            notifiers.remove(&notifier);
        }
    }
}

/// An end of a link for which a watcher waits, until this is dropped.
pub(super) struct Registration {
    process: Process,
    watcher: Arc<Watcher>,
    place: Place,
    /// How a producer of this process finds the reader. `None`: it has no slot, or is no reader.
    found_by: Option<(NotifierId, LinkId)>,
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
        let watchers = WATCHERS.get();
        let mut list = watchers.lock();
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
        let found_by = match link {
            LinkId::Readers(_) if is_woken => {
                let notifier = memory.as_ref().and_then(|memory| memory.notifier());
                Some((notifier.unwrap_or_else(|| NotifierId::of(watch.notifier())), link))
            }
            _ => None,
        };
        let place = watcher.add(watch, memory, Waiter::new(descriptor));
        found_by.inspect(|reader| watchers.enter(*reader, &watcher));
        drop(list);
        Ok(Self { process: Process::this(), watcher, place, found_by })
    }

    /// See [`Watcher::request`].
    pub(super) fn request(&self, watch: Watch, task: Option<&Waker>) -> Reply {
        // Another thread of the parent may have held the lock during the fork.
        if self.process.is_this() { self.watcher.request(self.place, watch, task) } else { Reply::Forked }
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
        let watchers = WATCHERS.get();
        let mut list = watchers.lock();
        self.found_by.inspect(|end| watchers.leave(*end));
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
