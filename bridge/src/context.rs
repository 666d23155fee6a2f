//! [`Context`]: what all threads of the bridge share.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::counts::Counts;
use crate::journal::Journal;

/// What all threads of the bridge share. Clones share it, too.
#[derive(Debug, Clone)]
pub struct Context {
    /// The network.
    pub session: zenoh::Session,
    /// A random number of this run: [`Origin::bridge`](crate::wire::Origin).
    pub bridge: u64,
    /// The folder of links.
    pub folder: PathBuf,
    /// Where events go.
    pub journal: Journal,
    /// The counts of all links.
    pub register: Register,
    /// Whether the bridge should end.
    pub stop: Stop,
}

/// Whether the bridge should end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No thread panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stop {
    /// The bridge should end.
    pub fn set(&self) {
        *locked(&self.0.0) = true;
        self.0.1.notify_all();
    }

    /// Whether it should.
    pub fn is_set(&self) -> bool {
        *locked(&self.0.0)
    }

    /// Sleeps for `time`, or until the bridge should end. Returns whether it should.
    pub fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut is_set = locked(&self.0.0);
        while !*is_set {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            is_set = self.0.1.wait_timeout(is_set, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_set
    }
}

/// Which way fragments go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From a link here to the network.
    Publish,
    /// From the network to a link here.
    Subscribe,
}

/// One link that the bridge has carried, also if it is gone by now.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which way.
    pub direction: Direction,
    /// The name of the link here.
    pub link: String,
    /// The key on the network.
    pub key: String,
    /// What was counted.
    pub counts: Arc<Counts>,
}

/// The counts of all links.
#[derive(Debug, Clone, Default)]
pub struct Register(Arc<Mutex<Vec<Entry>>>);

impl Register {
    /// The counts of a link: the same ones when it comes back.
    pub fn counts(&self, direction: Direction, link: &str, key: &str) -> Arc<Counts> {
        let mut entries = locked(&self.0);
        let is_same = |entry: &&Entry| (entry.direction, &*entry.link, &*entry.key) == (direction, link, key);
        if let Some(entry) = entries.iter().find(is_same) {
            return entry.counts.clone();
        }
        let counts = Arc::new(Counts::default());
        entries.push(Entry { direction, link: link.to_owned(), key: key.to_owned(), counts: counts.clone() });
        counts
    }

    /// All links so far.
    pub fn all(&self) -> Vec<Entry> {
        locked(&self.0).clone()
    }
}
