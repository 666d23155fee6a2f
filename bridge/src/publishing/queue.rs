//! [`Queue`]: network messages on their way from the thread that reads a link to the thread that sends them. Bounded.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::about::About;
use crate::context::Stop;
use crate::counts::Counts;
use crate::wire::EndCause;

/// Time between two looks at [`Stop`] while the queue is full.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// What a message takes beside its bytes, with reserve.
const OVERHEAD: usize = 128;

/// A network message, and what the sender has to know of it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    /// The number of the fragment that follows.
    pub(super) next: u64,
    pub(super) kind: Kind,
}

/// What a message is.
#[derive(Debug)]
pub(super) enum Kind {
    /// So many fragments, with so many bytes of payload.
    Fragments(u64, u64),
    Gap,
    State(Arc<About>),
    End(EndCause),
}

impl Outgoing {
    fn size(&self) -> usize {
        self.bytes.capacity() + OVERHEAD
    }
}

/// What [`Queue::pop`] has found.
#[derive(Debug)]
pub(super) enum Popped {
    Message(Outgoing),
    /// Nothing came in time.
    Nothing,
    /// Nothing will come.
    Closed,
}

/// A queue between two threads.
#[derive(Debug)]
pub(super) struct Queue {
    /// How many bytes may wait. One message may always.
    capacity: usize,
    counts: Arc<Counts>,
    inner: Mutex<Inner>,
    /// A message has come, or none will.
    filled: Condvar,
    /// There may be room.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    messages: VecDeque<Outgoing>,
    /// Of all messages, and of the one that is being sent.
    bytes: usize,
    sending: usize,
    is_closed: bool,
    /// Whether the other thread sleeps on the condition.
    awaits_message: bool,
    awaits_room: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize, counts: Arc<Counts>) -> Self {
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        Self { capacity, counts, inner: Mutex::default(), filled, emptied }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No thread panics while it holds it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no message waits. One may be being sent.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    /// Appends a message if there is room for it, or nothing waits or is sent.
    ///
    /// # Errors
    ///
    /// There is no room: the message.
    pub(super) fn try_push(&self, message: Outgoing) -> Result<(), Outgoing> {
        let inner = self.lock();
        if inner.bytes > 0 && inner.bytes + message.size() > self.capacity {
            return Err(message);
        }
        self.append(inner, message);
        Ok(())
    }

    /// Appends a message. Waits until there is room for it, or the bridge should end: then it is appended all the same.
    pub(super) fn push(&self, message: Outgoing, stop: &Stop) {
        let mut inner = self.lock();
        while inner.bytes > 0 && inner.bytes + message.size() > self.capacity {
            inner.awaits_room = true;
            inner = self.emptied.wait_timeout(inner, CHECK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
            inner.awaits_room = false;
            if stop.is_set() {
                break;
            }
        }
        self.append(inner, message);
    }

    fn append(&self, mut inner: MutexGuard<'_, Inner>, message: Outgoing) {
        inner.bytes += message.size();
        inner.messages.push_back(message);
        self.counts.backlog.store(inner.bytes as u64, Relaxed);
        let wakes = inner.awaits_message;
        drop(inner);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// Nothing will be appended any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_one();
    }

    /// Messages may be appended again.
    pub(super) fn open(&self) {
        self.lock().is_closed = false;
    }

    /// The oldest message. The one before it was sent. Waits until then.
    pub(super) fn pop(&self, until: Instant) -> Popped {
        let mut inner = self.lock();
        inner.bytes -= std::mem::take(&mut inner.sending);
        loop {
            if let Some(message) = inner.messages.pop_front() {
                inner.sending = message.size();
                self.counts.backlog.store(inner.bytes as u64, Relaxed);
                if inner.awaits_room {
                    self.emptied.notify_one();
                }
                return Popped::Message(message);
            }
            self.counts.backlog.store(0, Relaxed);
            if inner.awaits_room {
                self.emptied.notify_one();
            }
            let left = until.saturating_duration_since(Instant::now());
            match (inner.is_closed, left.is_zero()) {
                (true, _) => return Popped::Closed,
                (false, true) => return Popped::Nothing,
                (false, false) => {}
            }
            inner.awaits_message = true;
            inner = self.filled.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
            inner.awaits_message = false;
        }
    }

    /// Drops what waits. Returns how many fragments that were.
    pub(super) fn clear(&self) -> u64 {
        let mut inner = self.lock();
        let dropped = inner.messages.drain(..).map(|message| match message.kind {
            Kind::Fragments(count, _) => count,
            Kind::Gap | Kind::State(_) | Kind::End(_) => 0,
        });
        let dropped = dropped.sum();
        inner.bytes = inner.sending;
        self.counts.backlog.store(inner.bytes as u64, Relaxed);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn message(next: u64, bytes: usize) -> Outgoing {
        Outgoing { bytes: vec![0; bytes], next, kind: Kind::Fragments(1, bytes as u64) }
    }

    fn queue(capacity: usize) -> (Queue, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        (Queue::new(capacity, counts.clone()), counts)
    }

    fn next(queue: &Queue) -> Option<u64> {
        match queue.pop(Instant::now()) {
            Popped::Message(message) => Some(message.next),
            Popped::Nothing | Popped::Closed => None,
        }
    }

    #[test]
    fn it_is_bounded_in_bytes_and_keeps_the_order() {
        let (queue, counts) = queue(3000);
        assert!(queue.try_push(message(1, 9000)).is_ok(), "one is always possible");
        assert!(queue.try_push(message(2, 1)).is_err());
        assert_eq!(next(&queue), Some(1));
        assert!(queue.try_push(message(2, 1)).is_err(), "it is being sent");
        assert_eq!((next(&queue), counts.backlog.load(Relaxed)), (None, 0));
        assert!((2..4).all(|at| queue.try_push(message(at, 1000)).is_ok()));
        assert!(queue.try_push(message(4, 1000)).is_err() && counts.backlog.load(Relaxed) > 2000);
        assert_eq!([(); 3].map(|()| next(&queue)), [Some(2), Some(3), None]);
        queue.close();
        assert!(matches!(queue.pop(Instant::now() + Duration::from_secs(60)), Popped::Closed));
    }

    #[test]
    fn a_push_waits_for_room_or_the_end() {
        let (queue, _) = queue(1000);
        let stop = Stop::default();
        thread::scope(|scope| {
            scope.spawn(|| (0..100).for_each(|at| queue.push(message(at, 600), &stop)));
            let found = std::iter::from_fn(|| match queue.pop(Instant::now() + Duration::from_secs(60)) {
                Popped::Message(message) => Some(message.next),
                Popped::Nothing | Popped::Closed => None,
            });
            assert!(found.take(100).eq(0..100));
            assert_eq!(next(&queue), None);
            queue.push(message(100, 600), &stop);
            let blocked = scope.spawn(|| queue.push(message(101, 600), &stop));
            thread::sleep(Duration::from_millis(20));
            assert!(!blocked.is_finished());
            stop.set();
        });
        assert_eq!([(); 3].map(|()| next(&queue)), [Some(100), Some(101), None]);
        queue.push(message(102, 600), &stop);
        queue.push(message(103, 600), &stop);
        assert_eq!((queue.clear(), next(&queue)), (2, None));
    }
}
