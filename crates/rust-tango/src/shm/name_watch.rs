//! The thread that ends the links of this process whose names are lost.
//!
//! A producer does not see that its link loses its name ([`name`](super::name)): its files stay open and mapped.
//! It would publish to a link that no reader can find. So one thread of the process compares, once a second, what
//! the name of each link leads to with what the producer holds. If they differ, it stops the link, with a
//! command of its own ([`NAME_LOST`](crate::memory::parts::NAME_LOST)). Publishing then returns `Closed`, and
//! readers drain the link and find it closed.
//!
//! The thread starts with the first link on the list. It ends when it finds the list empty, at one of its checks.
//!
//! A link is watched from when this process has its producer, or has reserved it. The exception is a link that
//! this process itself removes: it knows, and goes on ([`MappedLink::remove`]).
//!
//! The thread holds the lock of the list while it checks one link, so a link leaves the list only between two
//! checks. The thread has no share in a link: it is never the last owner.
//!
//! A forked child has neither the thread nor a use for the list, and the lock may be held there for ever. It
//! leaves both alone and begins with a list of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::thread::Builder;
use std::time::Duration;

use super::forks::{PerProcess, Process};
use super::link::MappedLink;
use super::thread;
use crate::error::LinkError;
use crate::events::emit_guarded;
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The stack of the thread, in bytes. What runs there is small, apart from subscribers of events, and a program may have
/// locked all its memory.
const STACK: usize = if cfg!(feature = "tracing") { 1 << 20 } else { 256 << 10 };

/// The time between two checks of a link.
const INTERVAL: Duration = Duration::from_secs(1);

/// The links of one process.
#[derive(Debug, Default)]
struct List(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<u64, Entry>,
    /// The key of the newest entry.
    newest: u64,
    has_thread: bool,
}

#[derive(Debug)]
struct Entry {
    /// Owned by the [`Watched`] that belongs to this entry.
    link: &'static MappedLink,
    /// Open for writing.
    ctl: File,
    /// This process removes the link, or has removed it.
    is_removed_here: bool,
}

static LIST: PerProcess<List> = PerProcess::new();

/// A link on the list. Dropping it takes the link from the list.
#[derive(Debug)]
pub(super) struct Watched {
    process: Process,
    key: u64,
    /// Dropped last.
    _link: Arc<MappedLink>,
}

impl Watched {
    /// Watches the name of a link, which has its name already. `ctl`: that file of the link, open for writing.
    ///
    /// # Errors
    ///
    /// `System` if the thread cannot be started.
    pub(super) fn new(link: &Arc<MappedLink>, ctl: File) -> Result<Self, LinkError> {
        let list = LIST.get();
        let mut state = list.lock();
        if !state.has_thread {
            // Not joined: it ends when it finds the list empty.
            let thread = Builder::new().stack_size(STACK);
            thread::spawn("tango-names", thread, || list.run())
                .map_err(|error| LinkError::system("cannot start a thread", error))?;
            state.has_thread = true;
        }
        state.newest += 1;
        let key = state.newest;
        let entry = Entry { link: MappedLink::kept(link), ctl, is_removed_here: false };
        state.links.insert(key, entry);
        Ok(Self { process: Process::this(), key, _link: link.clone() })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.process.is_this() {
            LIST.get().lock().links.remove(&self.key);
        }
    }
}

/// Says whether this process removes this link, or a handle of the same link: if so, its producer in this
/// process goes on without a name.
pub(super) fn set_removed_here(link: &MappedLink, is_removed: bool) {
    let mut state = LIST.get().lock();
    for entry in state.links.values_mut().filter(|entry| entry.link.is_same_link(link)) {
        entry.is_removed_here = is_removed;
    }
}

impl List {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic under the lock can leave the state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of the thread.
    fn run(&self) {
        loop {
            self.check_all();
            std::thread::sleep(INTERVAL);
            let mut state = self.lock();
            if state.links.is_empty() {
                state.has_thread = false;
                return;
            }
        }
    }

    /// Checks one link after the other. Others can take the lock in between.
    fn check_all(&self) {
        let mut last = 0;
        loop {
            let mut state = self.lock();
            let Some((key, entry)) = state.links.range_mut(last + 1..).next() else { return };
            last = *key;
            // If it cannot be ended, the next round tries again.
            let is_over = !entry.is_removed_here
                && !entry.link.is_named()
                && entry.link.end_without_name(&entry.ctl).is_ok();
            if is_over {
                #[cfg(feature = "tracing")]
                let name = entry.link.name().to_owned();
                state.links.remove(&last);
                drop(state);
                emit_guarded!(link_lost_its_name(&name));
            }
        }
    }
}
