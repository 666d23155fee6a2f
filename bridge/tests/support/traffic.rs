//! Fragments whose content follows from their number, so that each can be checked by itself.

use std::thread;
use std::time::{Duration, Instant};

use rust_tango::{Consumer, FragmentMetadata, Producer, TangoError};

use super::Random;
use super::bridge::PATIENCE;

/// What fragments look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    /// Another one, another content.
    pub(crate) seed: u64,
    /// The largest payload, in bytes.
    pub(crate) largest: usize,
    /// Whether all payloads have that size.
    pub(crate) equal: bool,
}

/// One fragment. All of it but the number follows from the number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) sig: u64,
    pub(crate) ctl: u16,
    pub(crate) ts: u32,
    pub(crate) payload: Vec<u8>,
}

impl Traffic {
    /// The fragment with this number.
    pub(crate) fn content(&self, seq: u64) -> Content {
        let mut random = Random(self.seed ^ seq.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (sig, other, word) = (random.next(), random.next(), random.next());
        // Bits that say that a message goes on have a meaning for the bridge, and are here without one.
        let ctl = if other % 8 == 0 { (other >> 8) as u16 } else { 0 };
        let size = if self.equal { self.largest } else { random.below(self.largest as u64 + 1) as usize };
        let mut payload = Vec::with_capacity(size + 8);
        let mut at = word;
        while payload.len() < size {
            payload.extend_from_slice(&at.to_le_bytes());
            at = at.wrapping_add(1);
        }
        payload.truncate(size);
        Content { sig, ctl, ts: (other >> 32) as u32, payload }
    }

    /// Publishes the next `count` fragments.
    pub(crate) fn publish(&self, producer: &Producer<'_>, count: u64) {
        for _ in 0..count {
            let Content { sig, ctl, ts, payload } = self.content(producer.next_seq());
            producer.publish_blocking(&payload, sig, ctl, ts).unwrap();
        }
    }

    /// Publishes the next `count` fragments, so many each second.
    pub(crate) fn publish_at_rate(&self, producer: &Producer<'_>, count: u64, rate: f64) {
        let (begin, mut sent) = (Instant::now(), 0);
        while sent < count {
            let due = ((begin.elapsed().as_secs_f64() * rate) as u64).min(count);
            self.publish(producer, due - sent);
            sent = due;
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Fails if this is not the fragment of its number.
    pub(crate) fn check(&self, meta: &FragmentMetadata, payload: &[u8]) {
        let Content { sig, ctl, ts, payload: expected } = self.content(meta.seq);
        assert_eq!((meta.sig, meta.ctl, meta.ts), (sig, ctl, ts), "fragment {}", meta.seq);
        assert!(payload == expected, "payload of fragment {}", meta.seq);
    }
}

/// What a reader has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Fragments that were read and checked.
    pub(crate) read: u64,
    /// Gaps: the number of the first that is missing, and how many are.
    pub(crate) gaps: Vec<(u64, u64)>,
}

impl Found {
    /// Numbers that follow each other are one gap, in however many steps they were reported.
    pub(crate) fn add_gap(&mut self, first: u64, count: u64) {
        match self.gaps.last_mut() {
            Some((before, so_far)) if *before + *so_far == first => *so_far += count,
            _ => self.gaps.push((first, count)),
        }
    }

    /// How many fragments are missing.
    pub(crate) fn missing(&self) -> u64 {
        self.gaps.iter().map(|(_, count)| count).sum()
    }
}

/// Reads fragments, each of which must be the right one, in order, until the one before `end` was read or reported as
/// lost. What is reported as lost must be what is missing.
pub(crate) fn read_until(consumer: &mut Consumer<'_>, traffic: &Traffic, end: u64) -> Found {
    let (begin, mut next, mut found) = (Instant::now(), consumer.next_seq(), Found::default());
    while next < end {
        let error = match consumer.wait_timeout(Duration::from_millis(100)) {
            Ok(Some(fragment)) => {
                assert_eq!(fragment.meta.seq, next, "a fragment out of order, or a gap that nobody reported");
                traffic.check(&fragment.meta, &fragment.payload.read());
                found.read += 1;
                next += 1;
                continue;
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        match error {
            Some(TangoError::Overrun { lost, next: after } | TangoError::Evicted { lost, next: after }) => {
                assert_eq!(next + lost, after, "a gap from {next} on");
                found.add_gap(next, lost);
                next = after;
                continue;
            }
            // Another producer may come.
            None | Some(TangoError::ProducerGone) => {}
            // It has come. Whether it has left something out shows by the numbers.
            Some(TangoError::ProducerReplaced { .. }) => continue,
            Some(error) => panic!("fragment {next}: {error}"),
        }
        assert!(begin.elapsed() < PATIENCE, "no fragment {next} of {end}; {found:?}");
        if error.is_some() || consumer.is_closed() {
            thread::sleep(Duration::from_millis(5));
        }
    }
    found
}
