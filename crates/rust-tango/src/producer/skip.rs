//! Leaving out sequence numbers: [`Producer::skip`].
//!
//! For each number that it leaves out, the producer publishes a placeholder: see "Numbers that the producer leaves out" in
//! [`line`](crate::ring::line). To everything but the code that would hand out its payload, it is a fragment.

use super::publish::Producer;
use crate::cpu::cache;
use crate::error::TangoError;
use crate::ring::metadata::FragmentMetadata;
use crate::ring::seq;
use crate::waiting::wait::{Due, Waiting};
#[cfg(feature = "std")]
use std::time::{Duration, Instant};

/// At most this many placeholders are published before the link's words say so, and before it is checked again whether the
/// link was stopped.
const PIECE: u64 = 32;

/// At most this many numbers are left out before the time is checked, where no consumer holds the producer back.
const AT_ONCE: u64 = 1 << 16;

impl Producer<'_> {
    /// Leaves out the next `count` sequence numbers, or as many of them as have credits now. Returns how many. Never
    /// blocks.
    ///
    /// This is for links that have to carry the numbers of another source, such as a link of another machine or a
    /// recording. Every reader that comes to such a number, a reliable consumer as well, gets [`TangoError::Overrun`], as
    /// if it had lost these fragments: once for each run of numbers that are left out, or for each part of it that is
    /// there when the reader comes to it.
    ///
    /// A number that is left out takes a line of the ring, and the credit for it, until the consumers have come to it. So
    /// it overwrites a fragment. 0 says that there are no credits, or that the link was stopped, which leaves out none any
    /// more: try again later as long as [`Producer::is_stopped`] is false, or call [`Producer::skip_blocking`], which waits
    /// and tells the two apart. Consumers that sleep are woken once, at the end. On a link without consumers, nothing holds
    /// the call back: it takes some nanoseconds for each number, until the link is stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).start(1).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"number 1")?;
    /// assert_eq!(tx.skip(4), 4); // 2 to 5
    /// tx.send(b"number 6")?;
    ///
    /// assert_eq!(rx.poll()?.unwrap().meta.seq, 1);
    /// assert_eq!(rx.poll().unwrap_err(), TangoError::Overrun { lost: 4, next: 6 });
    /// assert_eq!(rx.poll()?.unwrap().meta.seq, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "fewer may have been left out than were asked for"]
    pub fn skip(&self, count: u64) -> u64 {
        let mut done = 0;
        while done < count && self.check_stopped().is_ok() {
            match self.put_placeholders(count - done) {
                0 => break,
                put => done += put,
            }
        }
        if done != 0 {
            self.wake_waiters();
        }
        done
    }

    /// Leaves out the next `count` sequence numbers. Waits while there is no credit, as [`Producer::with_wait`] says. See
    /// [`Producer::skip`].
    ///
    /// # Errors
    ///
    /// [`TangoError::Closed`]: the link was stopped, before the call or while it waited for a credit. Some of the numbers
    /// may have been left out: see [`Producer::next_seq`].
    ///
    /// # Deadlocks
    ///
    /// See [`Producer::publish_blocking`].
    ///
    /// # Examples
    ///
    /// A link that repeats another one, with its numbers:
    ///
    /// ```
    /// use rust_tango::{Consumer, Producer, TangoError};
    ///
    /// fn repeat(rx: &mut Consumer<'_>, tx: &Producer<'_>) -> Result<(), TangoError> {
    ///     loop {
    ///         match rx.wait() {
    ///             Ok(Some(fragment)) => {
    ///                 let missing = fragment.meta.seq.wrapping_sub(tx.next_seq());
    ///                 tx.skip_blocking(missing)?;
    ///                 tx.send(fragment.payload.as_slice())?;
    ///             }
    ///             Ok(None) => return Ok(()),
    ///             Err(TangoError::Overrun { .. }) => {} // left out above, with the next fragment
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    /// }
    /// # let [from, to] = [(), ()].map(|()| rust_tango::Link::builder().depth(8).start(1).build().unwrap());
    /// # let (origin, mut rx, tx, mut far) = (from.producer()?, from.consumer()?, to.producer()?, to.consumer()?);
    /// # assert_eq!(origin.skip(3), 3);
    /// # origin.send(b"four")?;
    /// # drop(origin);
    /// # repeat(&mut rx, &tx)?;
    /// # assert_eq!(far.poll().unwrap_err(), TangoError::Overrun { lost: 3, next: 4 });
    /// # assert_eq!(far.poll()?.unwrap().meta.seq, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn skip_blocking(&self, count: u64) -> Result<(), TangoError> {
        self.skip_until_over(count, || Waiting::new(self.wait)).map(drop)
    }

    /// [`Producer::skip_blocking`] that waits for `timeout` at most, or a little longer. Returns how many numbers were left
    /// out: fewer than `count` if the time was up.
    ///
    /// # Errors
    ///
    /// See [`Producer::skip_blocking`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, _slow) = (link.producer()?, link.consumer()?);
    /// assert_eq!(tx.skip_timeout(100, Duration::from_millis(5))?, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "std")]
    pub fn skip_timeout(&self, count: u64, timeout: Duration) -> Result<u64, TangoError> {
        let deadline = Instant::now().checked_add(timeout);
        let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.skip_until_over(count, || Waiting::until(self.wait, left()))
    }

    /// Leaves out numbers until it has left out `count`, the link is stopped, or the wait is over. Returns how many. `begin`
    /// begins a wait, at first and after each progress.
    fn skip_until_over(&self, count: u64, begin: impl Fn() -> Waiting) -> Result<u64, TangoError> {
        let mut done = 0;
        let mut waiting = begin();
        loop {
            self.check_stopped()?;
            let put = self.skip((count - done).min(AT_ONCE));
            done += put;
            if done == count || waiting.is_over() {
                return Ok(done);
            }
            if put != 0 {
                waiting = begin();
                continue;
            }
            match waiting.pause() {
                Due::Look | Due::Question => {}
                #[cfg(feature = "std")]
                Due::Sleep => self.sleep_for_credit(0, &waiting),
            }
        }
    }

    /// Publishes placeholders for up to `most` numbers, as many as have credits, and [`PIECE`] at most. Returns how many.
    fn put_placeholders(&self, most: u64) -> u64 {
        let first = self.next.get();
        let most = most.min(PIECE);
        // Only here, before anything is committed, for the reason that `put_several` gives.
        if seq::is_before(self.limit.get(), first.wrapping_add(most))
            && self.make_room(first, None, most).is_err()
        {
            return 0;
        }
        let count = self.limit.get().wrapping_sub(first).min(most);
        let ring = self.parts.ring;
        for offset in 0..count {
            let n = first.wrapping_add(offset);
            if let Some(ahead) = self.lines_ahead.prefetched_in_batch(n) {
                ring.line(ahead).for_first_cache_lines(0, cache::prefetch_for_writing);
            }
            // Each is committed at once. A batch is written as a whole first, so that a reader that polls its first line
            // does not take that away before it is complete. But a placeholder is one cache line, with its `seq`.
            ring.line(n).publish(&FragmentMetadata::left_out(n));
        }
        let last = first.wrapping_add(count).wrapping_sub(1);
        // Announced and not mirrored, as a batch is: what a reader finds in the ring, it takes from there.
        self.hot_slot.announce(last);
        // As for metrics, nothing was published.
        self.advance(last, 0);
        if self.lines_ahead.touches_after_batch() {
            (0..count).for_each(|offset| self.touch_lines(first.wrapping_add(offset), 0));
        }
        count
    }
}
