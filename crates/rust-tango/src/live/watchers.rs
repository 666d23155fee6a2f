//! [`Registration`]: a reader's place with one of the watchers of its process.
//!
//! A process has one watcher for all of its async readers. It has more if they read more links than one thread
//! can sleep on, or if the kernel lets a thread sleep on one word only. Then there is one for each link, and one
//! for all observers.
//!
//! Two locks: first that of the list, and then that of one watcher. The thread of a watcher takes only its own.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::task::Waker;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::watched::{LinkId, Reader};
use super::watcher::{Place, Reply, Takes, Watcher};
use crate::consumer::{LinkMemory, Watch};
use crate::error::LinkError;
use crate::shm::Process;
use crate::sync::{AcqRel, Acquire, Arc, AtomicPtr, Mutex, MutexGuard, PoisonError};

/// The watchers of one process.
struct Watchers {
    /// A forked child has none of the threads, and makes a list of its own.
    process: Process,
    list: Mutex<Vec<Arc<Watcher>>>,
}

/// The watchers of this process, or of the process from which this one was forked. Null at first.
static WATCHERS: AtomicPtr<Watchers> = AtomicPtr::new(ptr::null_mut());

impl Watchers {
    /// The watchers of the calling process. There is no lock around the list itself, because another thread
    /// could hold it while the process forks.
    fn of_this_process() -> &'static Self {
        let mut found = WATCHERS.load(Acquire);
        loop {
            // SAFETY: null, or a list that was leaked, so it is valid for ever, and only shared references to
            // it exist.
            if let Some(watchers) = unsafe { found.as_ref() }.filter(|watchers| watchers.process.is_this()) {
                return watchers;
            }
            // The list of the parent stays: what the child has inherited refers to it.
            let new = Box::leak(Box::new(Self { process: Process::this(), list: Mutex::default() }));
            // If another thread is faster, its list is used, and this empty one is lost.
            match WATCHERS.compare_exchange(found, new, AcqRel, Acquire) {
                Ok(_) => return new,
                Err(now) => found = now,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Watcher>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader for which a watcher waits, until this is dropped.
pub(super) struct Registration {
    watchers: &'static Watchers,
    watcher: Arc<Watcher>,
    place: Place,
    descriptor: Arc<EventFd>,
}

impl Registration {
    /// Registers a reader with a watcher of this process. `memory` is what the link lies in; `None`: it is
    /// static.
    pub(super) fn new(
        watch: &Watch<'static>,
        memory: Option<Arc<dyn LinkMemory>>,
    ) -> Result<Self, LinkError> {
        let descriptor = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|error| LinkError::system("cannot make an eventfd", error))?;
        let descriptor = Arc::new(descriptor);
        let (link, has_slot) = (LinkId::of(watch), watch.own.is_some());
        let watchers = Watchers::of_this_process();
        let mut list = watchers.lock();
        let of_link = list.iter().find(|watcher| has_slot && watcher.has_seats_of(link));
        let suitable = of_link.or_else(|| list.iter().find(|watcher| watcher.has_room(has_slot)));
        let watcher = match suitable {
            Some(watcher) => watcher.clone(),
            None => {
                let watcher = Watcher::start(Takes::for_reader(has_slot))?;
                list.push(watcher.clone());
                watcher
            }
        };
        let place = watcher.add(watch, memory, Reader::new(descriptor.clone()));
        drop(list);
        Ok(Self { watchers, watcher, place, descriptor })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// See [`Watcher::request`].
    pub(super) fn request(&self, watch: Watch<'static>, task: Option<&Waker>) -> Reply {
        self.watcher.request(self.place, watch, task)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // In a forked child, another thread of the parent may have held a lock during the fork.
        if !self.watchers.process.is_this() {
            return;
        }
        let mut list = self.watchers.lock();
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
