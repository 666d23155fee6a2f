//! Publishing several fragments at once.

use super::publish::Producer;
use crate::cpu::{cache, words};
use crate::ring::line::{Content, Line, NEAR};
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
        let like_first = self.write_like_first(first, &payloads[..room], sig, ctl, ts);
        let mut n = first.wrapping_add(like_first as u64);
        for payload in &payloads[like_first..room] {
            if payload.len() > self.in_slot {
                break;
            }
            if let Some(ahead) = self.lines_ahead.prefetched_in_batch(n) {
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

    /// Writes payloads from the start of `payloads`, for `first` and the fragments after it, as long as each is of the
    /// same kind as the first: 64 bytes, or few words. Returns how many. These are the most frequent sizes, so each has a
    /// loop of its own, without calls. The caller knows that the first payload fits its slot.
    #[inline]
    fn write_like_first(&self, first: u64, payloads: &[&[u8]], sig: u64, ctl: u16, ts: u32) -> usize {
        let in_slot = self.in_slot;
        let len = payloads.first().map_or(0, |payload| payload.len());
        if len == words::BLOCK {
            self.write_each(first, payloads, sig, ctl, ts, |line, payload| {
                let block = <&[u8; words::BLOCK]>::try_from(payload);
                block.is_ok_and(|block| line.write_payload(Content::Block(words::Block::load(block))))
            })
        } else if len <= NEAR && len % words::WORD == 0 {
            self.write_each(first, payloads, sig, ctl, ts, |line, payload| {
                payload.len() <= in_slot
                    && Content::near(payload).is_some_and(|near| line.write_payload(near))
            })
        } else {
            0
        }
    }

    /// Writes payloads as long as `write` does.
    #[inline(always)]
    fn write_each(
        &self,
        first: u64,
        payloads: &[&[u8]],
        sig: u64,
        ctl: u16,
        ts: u32,
        write: impl Fn(Line<'_>, &[u8]) -> bool,
    ) -> usize {
        // A copy, because a copy stays in registers.
        let ring = self.parts.ring;
        for (at, payload) in payloads.iter().enumerate() {
            let n = first.wrapping_add(at as u64);
            if let Some(ahead) = self.lines_ahead.prefetched_in_batch(n) {
                ring.line(ahead).for_first_cache_lines(payload.len(), cache::prefetch_for_writing);
            }
            let line = ring.line(n);
            if !write(line, payload) {
                return at;
            }
            line.write_metadata(&FragmentMetadata::in_slot(n, payload.len(), sig, ctl, ts));
        }
        payloads.len()
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use crate::Link;
    use std::vec::Vec;

    /// Payloads of each kind in every order, also over the MTU, in slots of several sizes.
    #[test]
    fn a_batch_is_published_up_to_the_first_payload_over_the_mtu() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1024).collect();
        let mtus = [0, 7, 8, 20, 24, 31, 32, 33, 63, 64, 65, 96, 97, 160, 480, 481];
        // Under Miri, all of them take minutes.
        for mtu in mtus.into_iter().step_by(if cfg!(miri) { 4 } else { 1 }) {
            let link = Link::builder().depth(64).mtu(mtu).build().unwrap();
            let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
            let all = [mtu, mtu + 1, 64, 0, 5, 8, 24, 32, 100];
            let lens = if cfg!(miri) { &all[..3] } else { &all };
            let pairs = lens.iter().flat_map(|a| lens.iter().map(move |b| (*a, *b)));
            for (a, b, c) in pairs.flat_map(|(a, b)| lens.iter().map(move |c| (a, b, *c))) {
                let batch = [a, a, b, b, c].map(|len| &bytes[len % 7..len % 7 + len]);
                let fitting = batch.iter().take_while(|payload| payload.len() <= mtu).count();
                assert_eq!(tx.publish_batch(&batch, 9, 3), fitting, "MTU {mtu}: {a}, {b}, {c}");
                let read = rx.poll_batch(8).unwrap();
                let found: Vec<_> =
                    read.iter().map(|fragment| fragment.payload.as_slice().to_vec()).collect();
                assert_eq!(found, batch[..fitting], "MTU {mtu}: {a}, {b}, {c}");
                assert!(read.iter().all(|fragment| (fragment.meta.sig, fragment.meta.ctl) == (9, 3)));
            }
        }
    }
}
