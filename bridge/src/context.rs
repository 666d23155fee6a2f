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

/// So many links have counts of their own. Those of links that are gone become one sum if there are more.
const MOST: usize = 1 << 12;
/// The key of that sum.
const OTHERS: &str = "(others)";

/// The counts of all links.
#[derive(Debug, Clone, Default)]
pub struct Register(Arc<Mutex<Vec<Entry>>>);

impl Register {
    /// The counts of a link: the same ones when it comes back. When there are thousands of links, those of one that has been
    /// dropped here become part of a sum, and it begins at zero when it comes back.
    pub fn counts(&self, direction: Direction, link: &str, key: &str) -> Arc<Counts> {
        let mut entries = locked(&self.0);
        let is_same = |entry: &&Entry| (entry.direction, &*entry.link, &*entry.key) == (direction, link, key);
        if let Some(entry) = entries.iter().find(is_same) {
            return entry.counts.clone();
        }
        if entries.len() >= MOST {
            make_room(&mut entries);
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

/// Adds the counts of the oldest link that nobody counts for any more to the sum of its direction.
fn make_room(entries: &mut Vec<Entry>) {
    // Nobody else can get them while the register is locked.
    let is_gone = |entry: &Entry| entry.key != OTHERS && Arc::strong_count(&entry.counts) == 1;
    let Some(at) = entries.iter().position(is_gone) else { return };
    let direction = entries[at].direction;
    let is_sum = |entry: &&Entry| entry.direction == direction && entry.key == OTHERS;
    match entries.iter().find(is_sum) {
        Some(sum) => {
            sum.counts.add_all(&entries[at].counts);
            entries.remove(at);
        }
        None => (entries[at].link, entries[at].key) = (String::new(), OTHERS.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn what_was_counted_for_links_that_are_gone_is_kept_as_a_sum() {
        let register = Register::default();
        let held = register.counts(Direction::Subscribe, "held", "key");
        for n in 0..3 * MOST as u64 {
            let way = if n % 2 == 0 { Direction::Subscribe } else { Direction::Publish };
            let counts = register.counts(way, &n.to_string(), "key");
            Counts::add(&counts.fragments, 1);
            Counts::add(&counts.dropped, 1 << 62);
        }
        Counts::add(&held.fragments, 1);
        let all = register.all();
        assert!(all.len() <= MOST + 2, "{}", all.len());
        let sum = |count: fn(&Counts) -> u64| all.iter().map(|entry| count(&entry.counts)).sum::<u64>();
        assert_eq!(sum(|counts| counts.fragments.load(Relaxed)), 3 * MOST as u64 + 1);
        let others = all.iter().filter(|entry| entry.key == OTHERS).collect::<Vec<_>>();
        assert_eq!(others.len(), 2);
        assert_eq!(others[0].counts.dropped.load(Relaxed), u64::MAX, "it does not wrap around");
        assert!(all.iter().any(|entry| entry.link == "held"));
    }
}
