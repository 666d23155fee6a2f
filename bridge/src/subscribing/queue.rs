//! [`Queue`]: messages that wait for the thread of their far link, up to a number of bytes.
//!
//! When it is full, it drops the newest fragments. It keeps a *mark* in their place, with their numbers, so that they are
//! asked for later, or counted. Marks of numbers that follow each other become one.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::arrived::{Arrived, Body, OVERHEAD};
use super::order::{Content, Span};
use crate::context::Stop;
use crate::counts::Counts;
use crate::wire::{Description, EndCause};

/// Marks and messages without fragments may take so many bytes more than the limit.
const RESERVE: usize = 64 << 10;
/// A mark stands for messages that arrived within this time, so that it hides no silence.
const MARK: Duration = Duration::from_secs(1);
/// Messages that arrive within this time of each other are of a bridge that is connected all the time. It says once a second what
/// its link is.
const ALIVE: Duration = Duration::from_secs(2);
/// A thread that waits looks as often whether the bridge ends.
const SLICE: Duration = Duration::from_millis(50);

/// See the head of this file. One thread takes; any thread puts.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
    limit: usize,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Arrived>,
    bytes: usize,
    /// A thread that puts may wait for room.
    may_wait: bool,
    is_closed: bool,
    /// The first and the last of the messages that have arrived without a silence between them.
    alive: Option<(Instant, Instant)>,
    counts: Option<Arc<Counts>>,
}

impl Queue {
    /// An empty queue for up to `limit` bytes. One message is always taken, however large it is.
    pub(super) fn new(limit: usize) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No thread panics while it holds this.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, these counts say how many bytes there are.
    pub(super) fn count_in(&self, counts: Arc<Counts>) {
        let mut inner = self.lock();
        counts.backlog.store(inner.bytes as u64, Relaxed);
        inner.counts = Some(counts);
    }

    /// Whether a thread that puts may wait for room. Those that wait stop if not.
    pub(super) fn set_may_wait(&self, may_wait: bool) {
        self.lock().may_wait = may_wait;
        self.changed.notify_all();
    }

    /// Whether [`Self::put`] would wait now.
    pub(super) fn would_wait(&self, size: usize) -> bool {
        let inner = self.lock();
        inner.may_wait && !inner.is_closed && !self.has_room(&inner, size)
    }

    fn has_room(&self, inner: &Inner, size: usize) -> bool {
        inner.bytes == 0 || inner.bytes.saturating_add(size) <= self.limit
    }

    /// Waits until there is room for a message of this size, or waiting is no use.
    pub(super) fn wait_for_room(&self, size: usize, stop: &Stop) {
        let mut inner = self.lock();
        while inner.may_wait && !inner.is_closed && !self.has_room(&inner, size) && !stop.is_set() {
            inner = self.changed.wait_timeout(inner, SLICE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Puts a message at the end, or a mark in its place. Never waits.
    ///
    /// # Errors
    ///
    /// The queue is closed: the message comes back.
    pub(super) fn put(&self, arrived: Arrived) -> Result<(), Arrived> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(arrived);
        }
        let at = arrived.at;
        let begun = inner.alive.filter(|(_, last)| at.saturating_duration_since(*last) < ALIVE);
        inner.alive = Some((begun.map_or(at, |(begun, _)| begun), at));
        if self.has_room(&inner, arrived.size) {
            inner.push(arrived);
        } else {
            let has_room = inner.bytes.saturating_add(arrived.size) <= self.limit.saturating_add(RESERVE);
            let is_small = arrived.size <= 4 * OVERHEAD;
            match arrived.body {
                Body::Fragments(_) => {
                    let mark = Arrived {
                        span: Span { content: Content::Dropped, ..arrived.span },
                        body: Body::Nothing,
                        size: OVERHEAD,
                        ..arrived
                    };
                    // Without room for a mark, the numbers are missing when the next message comes.
                    if !inner.extends_mark(&mark) && has_room_for_mark(&inner, self.limit) {
                        inner.push(mark);
                    }
                }
                _ if has_room && is_small => inner.push(arrived),
                _ => {}
            }
        }
        if let Some(counts) = &inner.counts {
            counts.backlog.store(inner.bytes as u64, Relaxed);
        }
        drop(inner);
        self.changed.notify_all();
        Ok(())
    }

    /// Takes the oldest message. Waits for one for up to `timeout`, if the queue is not closed.
    pub(super) fn take(&self, timeout: Duration) -> Option<Arrived> {
        let until = Instant::now() + timeout;
        let mut inner = self.lock();
        while inner.entries.is_empty() && !inner.is_closed {
            let left = until.checked_duration_since(Instant::now())?;
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let arrived = inner.entries.pop_front()?;
        inner.bytes = inner.bytes.saturating_sub(arrived.size);
        if let Some(counts) = &inner.counts {
            counts.backlog.store(inner.bytes as u64, Relaxed);
        }
        drop(inner);
        self.changed.notify_all();
        Some(arrived)
    }

    /// Whether nothing more will come.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// From now on, the queue takes nothing more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// [`Self::close`] if it is empty. Returns whether it is closed.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut inner = self.lock();
        inner.is_closed |= inner.entries.is_empty();
        inner.is_closed
    }

    /// Whether a state waits of a link with another identity.
    pub(super) fn has_state_of_another(&self, link: u64) -> bool {
        let is_of_another =
            |arrived: &Arrived| matches!(arrived.body, Body::State(_)) && arrived.origin.link != link;
        self.lock().entries.iter().any(is_of_another)
    }

    /// How long messages have been arriving without a silence, up to now.
    pub(super) fn alive_for(&self, now: Instant) -> Duration {
        match self.lock().alive {
            Some((begun, last)) if now.saturating_duration_since(last) < ALIVE => {
                now.saturating_duration_since(begun)
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether a message waits that says that the link at the origin was removed.
    pub(super) fn has_removal(&self) -> bool {
        let is_removal = |arrived: &Arrived| matches!(arrived.body, Body::End(EndCause::Removed));
        self.lock().entries.iter().any(is_removal)
    }

    /// What the first state that waits says of the link with this identity.
    pub(super) fn description(&self, link: u64) -> Option<Description> {
        self.lock().entries.iter().find_map(|arrived| match &arrived.body {
            Body::State(description) if arrived.origin.link == link => Some((**description).clone()),
            _ => None,
        })
    }
}

fn has_room_for_mark(inner: &Inner, limit: usize) -> bool {
    inner.bytes.saturating_add(OVERHEAD) <= limit.saturating_add(RESERVE)
}

impl Inner {
    fn push(&mut self, arrived: Arrived) {
        self.bytes = self.bytes.saturating_add(arrived.size);
        self.entries.push_back(arrived);
    }

    /// Makes the last mark longer, if this one continues it.
    fn extends_mark(&mut self, mark: &Arrived) -> bool {
        let Some(last) = self.entries.back_mut() else { return false };
        let span = &mut last.span;
        let continues = span.content == Content::Dropped
            && last.origin == mark.origin
            && span.first.wrapping_add(span.count) == mark.span.first
            && span.count.saturating_add(mark.span.count) < 1 << 62
            && mark.at.saturating_duration_since(last.at) < MARK;
        if continues {
            span.count += mark.span.count;
        }
        continues
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Batch, GapCause, Origin, encode_end, encode_gap};
    use rust_tango::FragmentMetadata;

    const ORIGIN: Origin = Origin { bridge: 1, link: 2, producer: 3 };

    fn fragments(first: u64, count: u64, payload: usize) -> Arrived {
        let mut batch = Batch::new(ORIGIN, first, 0);
        for seq in first..first + count {
            batch.push(&FragmentMetadata { seq, ..FragmentMetadata::default() }, &vec![0; payload]);
        }
        Arrived::new(batch.finish(), Instant::now()).unwrap()
    }

    fn put(queue: &Queue, arrived: Arrived) {
        queue.put(arrived).unwrap();
    }

    fn spans(queue: &Queue) -> Vec<(u64, u64, bool)> {
        std::iter::from_fn(|| queue.take(Duration::ZERO))
            .map(|arrived| {
                let Span { first, count, content } = arrived.span;
                (first, count, content == Content::Dropped)
            })
            .collect()
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_leaves_one_mark() {
        let queue = Queue::new(10_000);
        let counts = Arc::new(Counts::default());
        queue.count_in(counts.clone());
        put(&queue, fragments(1, 2, 2_000));
        put(&queue, fragments(3, 2, 2_000));
        for first in [5, 7, 9] {
            put(&queue, fragments(first, 2, 2_000));
        }
        // Others are few bytes, and are kept.
        let gap = encode_gap(ORIGIN, 11, 5, GapCause::Evicted);
        put(&queue, Arrived::new(gap, Instant::now()).unwrap());
        put(&queue, fragments(16, 1, 3_000));
        put(&queue, fragments(18, 1, 3_000));
        assert!(counts.backlog.load(Relaxed) > 8_000);
        let found = spans(&queue);
        let expected =
            [(1, 2, false), (3, 2, false), (5, 6, true), (11, 5, false), (16, 1, true), (18, 1, true)];
        assert_eq!(found, expected);
        assert_eq!(counts.backlog.load(Relaxed), 0);
    }

    #[test]
    fn a_silence_begins_anew() {
        let queue = Queue::new(1_000);
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(queue.alive_for(begun), Duration::ZERO);
        for at in [0, 1, 2, 6, 7] {
            let mut message = fragments(1 + at, 1, 10);
            message.at = begun + second * at as u32;
            put(&queue, message);
            let expected = if at < 6 { at } else { at - 6 };
            assert_eq!(queue.alive_for(begun + second * at as u32), second * expected as u32);
        }
        assert_eq!(queue.alive_for(begun + second * 9), Duration::ZERO);
        assert!(!queue.has_removal());
        put(&queue, Arrived::new(encode_end(ORIGIN, 9, EndCause::Removed), begun).unwrap());
        assert!(queue.has_removal());
    }

    #[test]
    fn a_mark_hides_no_silence() {
        let queue = Queue::new(1_000);
        put(&queue, fragments(1, 1, 500));
        put(&queue, fragments(2, 1, 500));
        let mut late = fragments(3, 1, 500);
        late.at += MARK;
        put(&queue, late);
        assert_eq!(spans(&queue), [(1, 1, false), (2, 1, true), (3, 1, true)]);
    }

    #[test]
    fn it_is_bounded_whatever_arrives() {
        let queue = Queue::new(1_000);
        for n in 0..10_000 {
            put(&queue, fragments(2 * n, 1, 500));
            put(&queue, Arrived::new(encode_end(ORIGIN, n, EndCause::Closed), Instant::now()).unwrap());
        }
        assert!(queue.lock().bytes <= 1_000 + RESERVE && queue.lock().entries.len() < 600);
        // One message is always taken.
        let queue = Queue::new(0);
        put(&queue, fragments(1, 1, 5_000));
        assert_eq!(spans(&queue), [(1, 1, false)]);
    }

    #[test]
    fn a_thread_waits_for_room_until_it_may_not() {
        let queue = Arc::new(Queue::new(1_000));
        queue.set_may_wait(true);
        assert!(!queue.would_wait(900));
        put(&queue, fragments(1, 1, 900));
        let wait = |stop: Stop| {
            let queue = queue.clone();
            std::thread::spawn(move || queue.wait_for_room(900, &stop))
        };
        assert!(queue.would_wait(900));
        let waits = wait(Stop::default());
        queue.take(Duration::ZERO).unwrap();
        waits.join().unwrap();
        put(&queue, fragments(2, 1, 900));
        let waits = wait(Stop::default());
        queue.set_may_wait(false);
        waits.join().unwrap();
        queue.set_may_wait(true);
        let stop = Stop::default();
        let waits = wait(stop.clone());
        stop.set();
        waits.join().unwrap();
        assert!(!queue.close_if_empty());
        queue.close();
        queue.wait_for_room(900, &Stop::default());
        assert!(queue.put(fragments(3, 1, 1)).is_err());
        assert_eq!(spans(&queue), [(2, 1, false)]);
    }
}
