//! What a producer or a consumer is given to work with, whoever owns the memory.

use crate::cpu::words::WORD;
use crate::memory::cnc::CncState;
use crate::memory::head::Head;
use crate::ring::line::{self, Line};
use crate::ring::metadata::{FragmentMetadata, Place};
use crate::ring::region::Granules;
use crate::ring::seq;
use crate::ring::slots::Ring;
use crate::sync::{Acquire, AtomicU64, Relaxed, fence, ordering};

/// Why nothing more will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Stopped, or closed by its producer.
    Closed,
    /// The producer has ended without meaning to.
    Died,
}

/// The memory of one link, as views: static, on the heap, or mapped.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) ring: Ring<'a>,
    pub(crate) granules: Granules<'a>,
    pub(crate) head: &'a Head,
    /// Not zero: somebody has stopped the link.
    pub(crate) stop: &'a AtomicU64,
    /// The largest payload, in bytes.
    pub(crate) mtu: usize,
    /// Somebody may read without credits.
    pub(crate) observers: bool,
}

impl<'a> Parts<'a> {
    /// The largest payload that travels in its slot, in bytes.
    #[inline]
    pub(crate) fn in_slot(&self) -> usize {
        self.ring.room().min(self.mtu)
    }

    /// The words of a payload, if its place is in the link.
    #[inline]
    pub(crate) fn payload(&self, line: &Line<'a>, place: Place) -> Option<&'a [AtomicU64]> {
        let size = place.size as usize;
        if size > self.mtu {
            None
        } else if place.chunk == FragmentMetadata::IN_SLOT {
            line.room.get(..size.div_ceil(WORD))
        } else {
            self.granules.payload(place.chunk, size)
        }
    }

    /// Somebody has stopped the link.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed) != 0
    }

    /// Whether nothing more will come: stopped, or its producer has ended. What was published before is
    /// visible to who asks this and then looks at the lines.
    pub(crate) fn ending(&self) -> Option<Ending> {
        let stopped = self.is_stopped();
        // Pairs with the Release store of the stop word.
        fence(ordering("parts.ending", Acquire));
        match self.head.lifecycle.cnc.state() {
            _ if stopped => Some(Ending::Closed),
            CncState::Halt => Some(Ending::Closed),
            CncState::Fail => Some(Ending::Died),
            CncState::Boot | CncState::Run => None,
        }
    }

    /// Where readers can go on: the oldest fragment that may still be there, and the next to come.
    pub(crate) fn extent(&self) -> (u64, u64) {
        let next = self.head.next.load(Relaxed);
        let by_lines = next.wrapping_sub(self.ring.depth());
        (seq::later(by_lines, self.head.oldest.load(Relaxed)), next)
    }

    /// See [`line::is_valid`].
    #[inline]
    pub(crate) fn is_valid(&self, n: u64) -> bool {
        line::is_valid(&self.head.oldest, n)
    }
}
