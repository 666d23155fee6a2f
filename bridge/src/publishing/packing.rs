//! [`Packer`]: collects fragments into batches, and says when a batch has to go out.
//!
//! ```text
//!   push  --> batch --> full: its whole messages go out, the last one stays if it has not ended
//!                  '--> nothing more is there: the same, when the oldest fragment has waited for `delay`
//! ```
//!
//! A message that has not ended waits for its last fragment for [`UNFINISHED`], or `delay` if that is longer. Then it goes
//! out as it is: its producer may be slow, may have died, or may use `ctl` for something else.

use std::time::{Duration, Instant};

use rust_tango::{Control, FragmentMetadata};

use crate::wire::{Batch, Origin};

/// How long a message waits for its end, at least.
const UNFINISHED: Duration = Duration::from_millis(1);

/// A network message with fragments.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// The number of its first fragment, and how many it has.
    pub(super) first: u64,
    pub(super) count: u64,
    /// Bytes of their payloads.
    pub(super) payload: u64,
}

/// Collects fragments into batches.
#[derive(Debug)]
pub(super) struct Packer {
    /// The most bytes of a batch. A single fragment may be larger.
    limit: usize,
    delay: Duration,
    open: Option<Open>,
    /// How large the last batch was: the next one probably is, too.
    expected: usize,
}

/// A batch that is being filled. It has a fragment.
#[derive(Debug)]
struct Open {
    batch: Batch,
    /// When its first fragment came.
    begun: Instant,
    /// When the first fragment of its last message came, if that has more than one.
    message_begun: Instant,
}

impl Packer {
    pub(super) fn new(limit: usize, delay: Duration) -> Self {
        Self { limit, delay, open: None, expected: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// Whether fragments wait only while nothing can be sent.
    pub(super) fn has_no_delay(&self) -> bool {
        self.delay.is_zero()
    }

    /// A batch that has to go out before a fragment with so large a payload is pushed. Call this until there is none.
    #[inline]
    pub(super) fn take_before(&mut self, payload: usize) -> Option<Packed> {
        let open = self.open.as_ref()?;
        if open.batch.len() + Batch::bytes_of(payload) <= self.limit {
            return None;
        }
        self.take_whole().or_else(|| self.take_all())
    }

    /// Appends a fragment. It follows the last one, or there is none.
    #[inline]
    pub(super) fn push(&mut self, origin: Origin, meta: &FragmentMetadata, payload: &[u8]) {
        let control = Control::from_bits(meta.ctl);
        let open = match &mut self.open {
            Some(open) => {
                if control.more() && !control.continues() {
                    open.message_begun = Instant::now();
                }
                open
            }
            None => {
                let now = Instant::now();
                let batch = Batch::new(origin, meta.seq, self.expected);
                self.open.insert(Open { batch, begun: now, message_begun: now })
            }
        };
        open.batch.push(meta, payload);
    }

    /// A batch that has to go out when nothing more is there. Call this until there is none.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Packed> {
        if self.due()? > now {
            return None;
        }
        self.take_whole().or_else(|| self.take_all())
    }

    /// When [`Self::take_due`] has a batch, if nothing is pushed until then.
    pub(super) fn due(&self) -> Option<Instant> {
        let open = self.open.as_ref()?;
        // A message that is alone in its batch, and has not ended.
        let is_unfinished = open.batch.is_within_message() && !open.batch.has_whole_messages();
        Some(open.begun + if is_unfinished { self.delay.max(UNFINISHED) } else { self.delay })
    }

    /// What there is, although the last message may not have ended.
    pub(super) fn take_all(&mut self) -> Option<Packed> {
        self.open.take().map(|open| self.finish(open.batch))
    }

    /// The whole messages. Those that have not ended stay. `None` if there are no whole ones.
    fn take_whole(&mut self) -> Option<Packed> {
        let mut open = self.open.take()?;
        if open.batch.is_within_message() {
            let Some(rest) = open.batch.split_open() else {
                self.open = Some(open);
                return None;
            };
            let begun = open.message_begun;
            self.open = Some(Open { batch: rest, begun, message_begun: begun });
        }
        Some(self.finish(open.batch))
    }

    fn finish(&mut self, batch: Batch) -> Packed {
        let (first, count, payload) = (batch.first(), batch.count(), batch.payload());
        let mut bytes = batch.finish();
        self.expected = bytes.len();
        if bytes.capacity() / 2 > bytes.len() {
            // It may wait for long, and the queue is for bytes that are used.
            bytes.shrink_to_fit();
        }
        Packed { bytes, first, count, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { bridge: 1, link: 2, producer: 3 };
    const HOUR: Duration = Duration::from_secs(3600);
    const FIRST: u16 = Control::MORE;
    const MIDDLE: u16 = Control::MORE | Control::CONTINUES;
    const LAST: u16 = Control::CONTINUES;

    /// Pushes fragments with these `ctl`, and payloads of 80 bytes: 100 bytes each. What goes out, as numbers.
    fn pushed(packer: &mut Packer, first: u64, ctls: &[u16]) -> Vec<Vec<u64>> {
        let mut out = Vec::new();
        for (at, ctl) in ctls.iter().enumerate() {
            while let Some(packed) = packer.take_before(80) {
                out.push(numbers(&packed));
            }
            let seq = first.wrapping_add(at as u64);
            let meta = FragmentMetadata { seq, ctl: *ctl, ..FragmentMetadata::default() };
            packer.push(ORIGIN, &meta, &[7; 80]);
        }
        out
    }

    fn numbers(packed: &Packed) -> Vec<u64> {
        assert_eq!((packed.bytes.len() as u64, packed.payload), (48 + 100 * packed.count, 80 * packed.count));
        (0..packed.count).map(|at| packed.first.wrapping_add(at)).collect()
    }

    fn due(packer: &mut Packer, now: Instant) -> Vec<Vec<u64>> {
        std::iter::from_fn(|| packer.take_due(now)).map(|packed| numbers(&packed)).collect()
    }

    #[test]
    fn a_batch_goes_out_when_it_is_full_and_keeps_messages_together() {
        let mut packer = Packer::new(348, HOUR);
        assert_eq!(pushed(&mut packer, u64::MAX, &[0; 5]), [vec![u64::MAX, 0, 1]]);
        let out = pushed(&mut packer, 4, &[FIRST, LAST, 0]);
        assert_eq!(out, [vec![2, 3], vec![4, 5, 6]][..1], "the message of 4 and 5 is not divided");
        let out = pushed(&mut packer, 7, &[FIRST, MIDDLE, MIDDLE, MIDDLE, LAST]);
        assert_eq!(out, [vec![4, 5, 6], vec![7, 8, 9]], "a message that does not fit is divided");
        assert_eq!(packer.take_all().map(|packed| numbers(&packed)), Some(vec![10, 11]));
        assert!(packer.is_empty());
    }

    #[test]
    fn a_fragment_that_is_larger_than_a_batch_goes_out_alone() {
        let mut packer = Packer::new(100, Duration::ZERO);
        assert_eq!(pushed(&mut packer, 1, &[0; 3]), [[1], [2]]);
        assert_eq!(due(&mut packer, Instant::now()), [[3]]);
    }

    #[test]
    fn a_batch_is_due_when_its_oldest_fragment_has_waited() {
        let delay = Duration::from_secs(5);
        let mut packer = Packer::new(1000, delay);
        let before = Instant::now();
        pushed(&mut packer, 1, &[0]);
        let after = Instant::now();
        let at = packer.due().unwrap();
        assert!(before + delay <= at && at <= after + delay);
        pushed(&mut packer, 2, &[0, FIRST]);
        assert_eq!(packer.due(), Some(at), "later ones change nothing");
        assert!(due(&mut packer, before).is_empty());
        assert_eq!(due(&mut packer, at), [[1, 2]], "whole messages");
        let message = packer.due().unwrap();
        assert!(message >= at && message <= Instant::now() + delay);
        assert_eq!(due(&mut packer, message), [[3]], "a message does not wait for its end forever");
        assert_eq!((packer.due(), packer.is_empty()), (None, true));
    }

    #[test]
    fn without_a_delay_only_a_message_that_has_not_ended_waits() {
        let mut packer = Packer::new(1000, Duration::ZERO);
        pushed(&mut packer, 1, &[0, FIRST]);
        let now = Instant::now();
        assert_eq!(due(&mut packer, now), [[1]]);
        assert!(packer.due().unwrap() > now);
        pushed(&mut packer, 3, &[LAST]);
        assert_eq!(due(&mut packer, now), [[2, 3]]);
        // A program that uses `ctl` for something else.
        pushed(&mut packer, 4, &[FIRST, FIRST]);
        let now = Instant::now();
        assert_eq!(due(&mut packer, now), [[4]]);
        assert_eq!(due(&mut packer, now + UNFINISHED * 2), [[5]]);
    }

    #[test]
    fn what_waits_takes_no_more_memory_than_it_says() {
        let mut packer = Packer::new(1 << 20, Duration::ZERO);
        pushed(&mut packer, 1, &[0; 1000]);
        assert!(packer.take_all().is_some());
        pushed(&mut packer, 1001, &[0]);
        let packed = packer.take_all().unwrap();
        assert!(packed.bytes.capacity() <= 2 * packed.bytes.len() + 64, "{}", packed.bytes.capacity());
    }
}
