//! [`Removed`]: links that were removed. The network is told so again for a minute, for those that were cut off when it
//! happened: they learn which number was the last, and that the link has ended.
//!
//! One thread tells it of all of these links. It is there while there are any.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use zenoh::query::Queryable;

use super::sending::Sender;
use crate::context::Stop;

/// How long it is told.
const KEPT: Duration = Duration::from_secs(60);
/// Time between two messages of one link.
const EVERY: Duration = Duration::from_secs(1);
/// It is told of so many links, of those that were removed last.
const MOST: usize = 1024;
/// How long the end of the bridge waits for the network.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// What tells the network of a link, and answers its queries.
pub(super) struct Voice {
    pub(super) sender: Sender,
    pub(super) queryable: Queryable<()>,
}

/// See the head of this file. Clones are the same.
#[derive(Clone)]
pub(super) struct Removed(Arc<Inner>);

struct Inner {
    stop: Stop,
    kept: Mutex<Kept<Voice>>,
    /// One was told, or the thread has ended.
    changed: Condvar,
}

impl fmt::Debug for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Removed").field("kept", &self.0.lock().entries.len()).finish()
    }
}

impl Removed {
    pub(super) fn new(stop: &Stop) -> Self {
        let (kept, changed) = (Mutex::new(Kept::new()), Condvar::new());
        Self(Arc::new(Inner { stop: stop.clone(), kept, changed }))
    }

    /// The link of this key was removed, and its sender has sent everything.
    pub(super) fn keep(&self, key: &str, voice: Voice) {
        let mut kept = self.0.lock();
        let oldest = kept.add(key, voice, Instant::now());
        if !std::mem::replace(&mut kept.has_thread, true) {
            let inner = self.0.clone();
            let thread = thread::Builder::new().name("bridge-removed".to_owned());
            // Without a thread, queries are answered all the same.
            kept.has_thread = thread.spawn(move || inner.run()).is_ok();
        }
        drop(kept);
        drop(oldest);
    }

    /// A link of this key may come again. Nothing is told of the one before when this returns.
    pub(super) fn take(&self, key: &str) -> Option<Voice> {
        let mut kept = self.0.lock();
        loop {
            if !kept.is_being_told(key) {
                return kept.take(key);
            }
            if self.0.stop.is_set() {
                return None;
            }
            let pause = Duration::from_millis(50);
            kept = self.0.changed.wait_timeout(kept, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the thread, after the bridge was told to end.
    pub(super) fn end(&self) {
        let begun = Instant::now();
        let mut kept = self.0.lock();
        while kept.has_thread && begun.elapsed() < ENDS_WITHIN {
            kept = self.0.changed.wait_timeout(kept, ENDS_WITHIN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Kept<Voice>> {
        // No thread panics while it holds it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while !self.stop.is_set() {
            let next = self.lock().next(Instant::now());
            match next {
                Next::Tell(mut entry) => {
                    entry.value.sender.repeat();
                    self.lock().put_back(entry, Instant::now());
                    self.changed.notify_all();
                }
                // Dropping it may wait for the network.
                Next::Over(voice) => drop(voice),
                Next::In(time) => _ = self.stop.wait(time),
                Next::Nothing => return,
            }
        }
        let entries = std::mem::take(&mut self.lock().entries);
        drop(entries);
        self.lock().has_thread = false;
        self.changed.notify_all();
    }
}

/// What is told, of which links, until when.
struct Kept<T> {
    /// The one that is told next is in front.
    entries: VecDeque<Entry<T>>,
    /// The key of the one that is being told, which is not among the entries.
    being_told: Option<String>,
    has_thread: bool,
}

struct Entry<T> {
    key: String,
    value: T,
    until: Instant,
    told: Instant,
}

/// What the thread has to do.
enum Next<T> {
    Tell(Entry<T>),
    /// It was told for long enough.
    Over(T),
    /// Nothing for so long.
    In(Duration),
    /// To end.
    Nothing,
}

impl<T> Kept<T> {
    fn new() -> Self {
        Self { entries: VecDeque::new(), being_told: None, has_thread: false }
    }

    /// Returns the oldest one if there are too many.
    fn add(&mut self, key: &str, value: T, now: Instant) -> Option<T> {
        let is_full = self.entries.len() + usize::from(self.being_told.is_some()) >= MOST;
        let oldest = (0..self.entries.len()).min_by_key(|at| self.entries[*at].until);
        let oldest = oldest.filter(|_| is_full).and_then(|at| self.entries.remove(at));
        self.entries.push_back(Entry { key: key.to_owned(), value, until: now + KEPT, told: now });
        oldest.map(|oldest| oldest.value)
    }

    fn next(&mut self, now: Instant) -> Next<T> {
        let Some(first) = self.entries.front() else {
            self.has_thread = false;
            return Next::Nothing;
        };
        let (is_over, due) = (first.until <= now, first.told + EVERY);
        if !is_over && due > now {
            return Next::In(due - now);
        }
        match self.entries.pop_front() {
            Some(first) if is_over => Next::Over(first.value),
            Some(first) => {
                self.being_told = Some(first.key.clone());
                Next::Tell(first)
            }
            None => Next::Nothing,
        }
    }

    fn put_back(&mut self, entry: Entry<T>, now: Instant) {
        self.being_told = None;
        self.entries.push_back(Entry { told: now, ..entry });
    }

    fn is_being_told(&self, key: &str) -> bool {
        self.being_told.as_deref() == Some(key)
    }

    fn take(&mut self, key: &str) -> Option<T> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        self.entries.remove(at).map(|entry| entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does what is due. Returns what was told.
    fn tell(kept: &mut Kept<usize>, now: Instant) -> Vec<usize> {
        let mut told = Vec::new();
        loop {
            match kept.next(now) {
                Next::Tell(entry) => {
                    assert!(kept.is_being_told(&entry.key) && kept.take(&entry.key).is_none());
                    told.push(entry.value);
                    kept.put_back(entry, now);
                }
                Next::Over(_) => {}
                Next::In(_) | Next::Nothing => return told,
            }
        }
    }

    #[test]
    fn each_is_told_every_second_for_a_minute_unless_it_comes_again() {
        let (mut kept, begun) = (Kept::new(), Instant::now());
        for at in 0..3 {
            assert_eq!(kept.add(&at.to_string(), at, begun), None);
        }
        assert!(tell(&mut kept, begun).is_empty(), "its sender has told it just now");
        assert_eq!(tell(&mut kept, begun + EVERY), [0, 1, 2]);
        assert!(tell(&mut kept, begun + EVERY).is_empty());
        assert_eq!((kept.take("1"), kept.take("1")), (Some(1), None));
        for second in 2..60 {
            assert_eq!(tell(&mut kept, begun + second * EVERY), [0, 2]);
        }
        assert!(tell(&mut kept, begun + KEPT).is_empty());
        kept.has_thread = true;
        assert!(matches!(kept.next(begun + KEPT), Next::Nothing) && !kept.has_thread);
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let (mut kept, begun) = (Kept::new(), Instant::now());
        let at = |at: usize| begun + Duration::from_millis(at as u64);
        for number in 0..MOST {
            assert_eq!(kept.add(&number.to_string(), number, at(number)), None);
        }
        // The order in which they are told next is another one than that of their age.
        let Next::Tell(first) = kept.next(at(1000)) else { panic!("nothing is due") };
        assert_eq!(kept.add("while one is told", MOST, at(1030)), Some(1));
        kept.put_back(first, at(1031));
        assert_eq!(kept.add("new", MOST + 1, at(1032)), Some(0));
        assert_eq!(kept.entries.len(), MOST);
    }
}
