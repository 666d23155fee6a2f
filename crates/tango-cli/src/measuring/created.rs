//! [`Created`]: what a measuring process has made, and removes however it ends, but for `SIGKILL`.

use std::fs;
use std::path::PathBuf;
use std::process::{self, Child};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rust_tango::{Link, LinkBuilder, LinkError};

use crate::failure::Failure;
use crate::measuring::raw::Words;
use crate::signals::{self, GRACE, TerminationSignals};

/// Time between two looks whether a child has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Links, the file of the raw cache line and a child process. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Created(Arc<Shared>);

#[derive(Default)]
struct Shared {
    things: Mutex<Things>,
    /// A signal ends this process.
    signal_arrived: AtomicBool,
}

#[derive(Default)]
struct Things {
    links: Vec<Link>,
    file: Option<PathBuf>,
    child: Option<Child>,
}

impl Created {
    /// Nothing yet. From now on, a termination signal removes what there is, and ends this process.
    pub(crate) fn until_signal() -> Result<Self, Failure> {
        let created = Self::default();
        let clone = created.clone();
        let on_arrival = |signals: TerminationSignals| {
            signals.on_arrival(move |signal| {
                clone.0.signal_arrived.store(true, Ordering::SeqCst);
                // What is in the making is waited for: its maker holds the lock.
                signals::try_within_grace(move || drop(clone.lock_anyway().remove()));
                process::exit(128 + signal);
            })
        };
        TerminationSignals::block().and_then(on_arrival).map_err(Failure::signals)?;
        Ok(created)
    }

    fn lock_anyway(&self) -> MutexGuard<'_, Things> {
        self.0.things.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does not return after a signal: what fails then fails because everything is removed, and is not to be reported.
    fn lock(&self) -> MutexGuard<'_, Things> {
        let things = self.lock_anyway();
        if self.0.signal_arrived.load(Ordering::SeqCst) {
            drop(things);
            loop {
                thread::park();
            }
        }
        things
    }

    /// Makes a link.
    pub(crate) fn link(&self, builder: LinkBuilder, name: &str) -> Result<Link, LinkError> {
        let mut things = self.lock();
        let link = builder.create(name)?;
        things.links.push(link.clone());
        Ok(link)
    }

    /// Removes a link that this has made.
    pub(crate) fn remove_link(&self, link: &Link) {
        let mut things = self.lock();
        things.links.retain(|made| made.path() != link.path());
        let _ = link.remove();
    }

    /// Removes a link that another process has made, too.
    pub(crate) fn adopt(&self, link: Link) {
        self.lock().links.push(link);
    }

    /// Makes the file of the raw cache line.
    pub(crate) fn words<E>(&self, make: impl FnOnce() -> Result<Words, E>) -> Result<Words, E> {
        let mut things = self.lock();
        let words = make()?;
        things.file = words.path().map(ToOwned::to_owned);
        Ok(words)
    }

    /// Deletes the name of the file of the raw cache line.
    pub(crate) fn unlink(&self, words: &mut Words) {
        let mut things = self.lock();
        words.unlink();
        things.file = None;
    }

    /// Starts a child process.
    pub(crate) fn child<E>(&self, start: impl FnOnce() -> Result<Child, E>) -> Result<(), E> {
        let mut things = self.lock();
        things.child = Some(start()?);
        Ok(())
    }

    /// Calls `look` with the child, if there is one.
    pub(crate) fn with_child<T>(&self, look: impl FnOnce(&mut Child) -> T) -> Option<T> {
        self.lock().child.as_mut().map(look)
    }

    /// Removes everything, and ends the child. Fails if a link is left.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        self.lock().remove()
    }
}

impl Things {
    fn remove(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
        if let Some(file) = self.file.take() {
            // It has no name any more if the other side has opened it.
            let _ = fs::remove_file(file);
        }
        let mut removed = Ok(());
        for link in self.links.drain(..) {
            match link.remove() {
                // Another process has removed it already.
                Err(error) if !error.is_not_found() => {
                    let name = link.name().unwrap_or_default().to_owned();
                    removed = Err(Failure::new(format!("link {name} could not be removed: {error}")));
                }
                _ => {}
            }
        }
        removed
    }
}

/// Asks a child to end, so that it removes its link, and kills it if it does not.
fn end(child: &mut Child) {
    let has_ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
    if has_ended(child) {
        return;
    }
    // Its id is not reused before it was waited for.
    let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
    let begin = Instant::now();
    while !has_ended(child) {
        if begin.elapsed() > GRACE {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}
