//! Publishing several fragments at once.

use super::publish::Producer;
use crate::cpu::{cache, words};
use crate::ring::line::Content;
use crate::ring::metadata::FragmentMetadata;
use crate::ring::seq;

/// At most this many fragments of a batch are written before they are committed.
const BATCH: usize = 32;

impl Producer<'_> {
    /// Publishes payloads in order, until all are published or one fails. Returns how many were published.
    /// Never blocks. Into a link that was stopped, it publishes none.
    ///
    /// All fragments get this `sig` and `ctl`, and `ts` 0: see the table on [`FragmentMetadata`]. To learn
    /// why the call stopped early, publish the next payload, which returns the error.
    ///
    /// A reader may see the first fragments of the batch before the last are published. Consumers that
    /// sleep are woken once, at the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(2).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let payloads: [&[u8]; 3] = [b"one", b"two", b"three"];
    ///
    /// let mut published = tx.publish_batch(&payloads, 7, 0);
    /// assert_eq!(published, 2); // the ring is full
    /// drop(rx.poll_batch(2)?); // the consumer returns the credits
    /// published += tx.publish_batch(&payloads[published..], 7, 0);
    /// assert_eq!(published, 3);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use = "fewer may have been published than were given"]
    pub fn publish_batch(&self, payloads: &[&[u8]], sig: u64, ctl: u16) -> usize {
        self.publish_batch_at(payloads, sig, ctl, 0)
    }

    /// [`Producer::publish_batch`] with the timestamp `ts` for the whole batch.
    ///
    /// # Examples
    ///
    /// See [`Producer::publish_batch`].
    #[must_use = "fewer may have been published than were given"]
    pub fn publish_batch_at(&self, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        let mut count = 0;
        while let Some(payload) = payloads.get(count) {
            if self.check_stopped().is_err() {
                break;
            }
            let put = if payload.len() > self.in_slot {
                usize::from(self.put_in_region(payload, sig, ctl, ts).is_ok())
            } else {
                self.put_several(&payloads[count..], sig, ctl, ts)
            };
            if put == 0 {
                break;
            }
            count += put;
        }
        self.wake_waiters();
        count
    }

    /// Publishes payloads from the start of `payloads`, as many as have credits and fit their slots,
    /// [`BATCH`] at most. Returns how many.
    ///
    /// First it writes all of them, and then it commits all, in order. So a reader that waits for the first
    /// does not take each line away while the next one is written (`bench/`: rows of batches).
    #[inline]
    fn put_several(&self, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        let first = self.next.get();
        let most = payloads.len().min(BATCH) as u64;
        // Make room only here, before anything is written. A refresh raises the floor up to the next
        // number, and a consumer that joins must not find a floor that is after what is committed. And make
        // room for all of them at once. If a batch were written in two parts, the reader would take the
        // lines of the second part away while they are written.
        if seq::is_before(self.limit.get(), first.wrapping_add(most)) {
            let small =
                || payloads.iter().take(BATCH).take_while(|payload| payload.len() <= self.in_slot).count();
            // Do not retire more than will be overwritten. A large ring retires at least as many ahead
            // anyway.
            let count = if self.retire_ahead < most { small() as u64 } else { most };
            if self.make_room(first, None, count).is_err() {
                return 0;
            }
        }
        let room = self.limit.get().wrapping_sub(first).min(most) as usize;
        let ring = self.parts.ring;
        let blocks = self.write_blocks(first, &payloads[..room], sig, ctl, ts);
        let mut n = first.wrapping_add(blocks as u64);
        for payload in &payloads[blocks..room] {
            if payload.len() > self.in_slot {
                break;
            }
            if let Some(ahead) = self.lines_ahead.prefetched_after(n) {
                ring.line(ahead).for_cache_lines(payload.len(), cache::prefetch_for_writing);
            }
            let line = ring.line(n);
            let fits = line.write_payload(Content::of(payload));
            debug_assert!(fits, "as in `publish`");
            line.write_metadata(&FragmentMetadata::in_slot(n, payload.len(), sig, ctl, ts));
            n = n.wrapping_add(1);
        }
        let count = n.wrapping_sub(first);
        for offset in 0..count {
            let n = first.wrapping_add(offset);
            ring.line(n).commit(n);
        }
        if count != 0 {
            self.hot_slot.announce(n.wrapping_sub(1));
            self.advance(n.wrapping_sub(1), count);
        }
        if self.lines_ahead.touches_after_batch() {
            for (payload, offset) in payloads.iter().zip(0..count) {
                self.touch_lines(first.wrapping_add(offset), payload.len());
            }
        }
        count as usize
    }

    /// Writes payloads from the start of `payloads`, for `first` and the fragments after it, as long as
    /// they have 64 bytes. Returns how many. This is by far the most frequent size, so it has a loop of its
    /// own, without calls. The caller knows that the first payload fits its slot, so each of these does.
    #[inline]
    fn write_blocks(&self, first: u64, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        // A copy, because a copy stays in registers.
        let ring = self.parts.ring;
        for (at, payload) in payloads.iter().enumerate() {
            let Ok(block) = <&[u8; 64]>::try_from(*payload) else { return at };
            let n = first.wrapping_add(at as u64);
            if let Some(ahead) = self.lines_ahead.prefetched_after(n) {
                ring.line(ahead).for_first_cache_lines(words::BLOCK, cache::prefetch_for_writing);
            }
            let line = ring.line(n);
            let fits = line.write_payload(Content::Block(words::Block::load(block)));
            debug_assert!(fits, "it has the size of the first, which fits");
            line.write_metadata(&FragmentMetadata::in_slot(n, 64, sig, ctl, ts));
        }
        payloads.len()
    }
}
