//! [`Line`]: queries that wait for a thread that answers them, oldest first. Bounded.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many are answered at a time.
const AT_ONCE: usize = 8;
/// So many wait.
pub(super) const MOST_WAITING: usize = 256;
/// So many of those that are refused wait until they are told so.
const MOST_REFUSED: usize = 1024;
/// A bridge whose query waits is told so as often. A bridge that hears nothing gives up after 5 seconds.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// See the head of this file. `Q` is a query.
#[derive(Debug)]
pub(super) struct Line<Q> {
    inner: Mutex<Inner<Q>>,
    refused: Condvar,
}

#[derive(Debug)]
struct Inner<Q> {
    waiting: VecDeque<Waiting<Q>>,
    refused: VecDeque<Q>,
    /// So many threads answer.
    answering: usize,
    /// A thread tells those that wait and those that are refused.
    has_teller: bool,
}

#[derive(Debug)]
struct Waiting<Q> {
    query: Q,
    told: Instant,
}

/// What has to be done with a query that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered<Q> {
    /// Start a thread that answers it, and then what [`Line::next`] returns.
    Answer(Q),
    /// Start the thread that does what [`Line::tell`] returns. The query waits, or is refused.
    StartTeller,
    /// Nothing. It waits, or is refused.
    Waits,
    /// There is no room for it anywhere.
    Full(Q),
}

/// What somebody has to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told<Q> {
    /// That it still waits.
    Waits(Q),
    /// That it will not be answered.
    Refused(Q),
}

impl<Q: Clone> Line<Q> {
    pub(super) fn new() -> Self {
        let inner =
            Inner { waiting: VecDeque::new(), refused: VecDeque::new(), answering: 0, has_teller: false };
        Self { inner: Mutex::new(inner), refused: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<Q>> {
        // No thread panics while it holds it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A query has come. Never waits.
    pub(super) fn enter(&self, query: Q) -> Entered<Q> {
        let mut inner = self.lock();
        if inner.answering < AT_ONCE {
            inner.answering += 1;
            return Entered::Answer(query);
        }
        if inner.waiting.len() < MOST_WAITING {
            inner.waiting.push_back(Waiting { query, told: Instant::now() });
        } else if inner.refused.len() < MOST_REFUSED {
            inner.refused.push_back(query);
            self.refused.notify_one();
        } else {
            return Entered::Full(query);
        }
        if std::mem::replace(&mut inner.has_teller, true) { Entered::Waits } else { Entered::StartTeller }
    }

    /// The query that an answering thread answers next. `None`: it ends.
    pub(super) fn next(&self) -> Option<Q> {
        let mut inner = self.lock();
        let next = inner.waiting.pop_front().map(|waiting| waiting.query);
        if next.is_none() {
            inner.answering -= 1;
        }
        next
    }

    /// Whom the teller has to tell what. Waits until then. `None`: nobody waits, and the teller ends.
    pub(super) fn tell(&self) -> Option<Told<Q>> {
        let mut inner = self.lock();
        loop {
            if let Some(query) = inner.refused.pop_front() {
                return Some(Told::Refused(query));
            }
            let now = Instant::now();
            let longest = inner.waiting.iter_mut().min_by_key(|waiting| waiting.told);
            let Some(longest) = longest else {
                inner.has_teller = false;
                return None;
            };
            let left = TOLD_EVERY.saturating_sub(now - longest.told);
            if left.is_zero() {
                longest.told = now;
                return Some(Told::Waits(longest.query.clone()));
            }
            inner = self.refused.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The thread that should answer, or tell, cannot be started.
    pub(super) fn not_started(&self, entered: &Entered<()>) {
        let mut inner = self.lock();
        match entered {
            Entered::Answer(()) => inner.answering -= 1,
            _ => inner.has_teller = false,
        }
    }

    /// Everybody leaves who waits. They should be dropped by a thread that may wait.
    pub(super) fn clear(&self) -> Vec<Q> {
        let mut inner = self.lock();
        let refused = std::mem::take(&mut inner.refused);
        inner.waiting.drain(..).map(|waiting| waiting.query).chain(refused).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_wait_in_order_and_those_beyond_the_bound_are_refused() {
        let line = Line::new();
        for at in 0..AT_ONCE {
            assert_eq!(line.enter(at), Entered::Answer(at));
        }
        assert_eq!(line.enter(AT_ONCE), Entered::StartTeller);
        let mut all = AT_ONCE + 1..;
        for at in all.by_ref().take(MOST_WAITING - 1 + MOST_REFUSED) {
            assert_eq!(line.enter(at), Entered::Waits);
        }
        let beyond = all.next().unwrap();
        assert_eq!(line.enter(beyond), Entered::Full(beyond));
        for at in AT_ONCE + MOST_WAITING..beyond {
            assert_eq!(line.tell(), Some(Told::Refused(at)));
        }
        // In the order in which they have come, each once.
        for at in AT_ONCE..AT_ONCE + MOST_WAITING {
            assert_eq!(line.next(), Some(at));
        }
        assert_eq!(line.tell(), None);
        for _ in 0..AT_ONCE {
            assert_eq!(line.next(), None);
        }
        assert_eq!(line.enter(1), Entered::Answer(1));
    }

    #[test]
    fn those_that_wait_are_told_so_in_turns() {
        let line = Line::new();
        (0..AT_ONCE + 2).for_each(|at| _ = line.enter(at));
        let begun = Instant::now();
        let told = [(); 3].map(|()| line.tell());
        assert_eq!(told, [AT_ONCE, AT_ONCE + 1, AT_ONCE].map(|at| Some(Told::Waits(at))));
        assert!(begun.elapsed() >= 2 * TOLD_EVERY);
        assert_eq!(line.clear(), [AT_ONCE, AT_ONCE + 1]);
        assert_eq!(line.tell(), None);
    }
}
