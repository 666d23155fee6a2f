//! [`Parts`]: the memory of a link, as a producer or a consumer gets it.

use crate::cpu::words::WORD;
use crate::memory::cnc::CncState;
use crate::memory::head::Head;
use crate::memory::hints::Hints;
use crate::ring::hot_slot::HotSlot;
use crate::ring::line::{self, Line};
use crate::ring::metadata::{FragmentMetadata, Place};
use crate::ring::region::Granules;
use crate::ring::seq;
use crate::ring::slots::Ring;
use crate::sync::{Acquire, AtomicU64, Relaxed, fence, ordering};

/// Why no more fragments will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Stopped, or closed by its producer.
    Closed,
    /// The producer died.
    Died,
}

/// The stop word of a link whose owner has found that its name leads to it no longer. (1: it was stopped.)
#[cfg(feature = "alloc")]
pub(crate) const NAME_LOST: u64 = 2;

/// Views of the memory of one link, which may be static, on the heap, or mapped.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) ring: Ring<'a>,
    pub(crate) granules: Granules<'a>,
    pub(crate) head: &'a Head,
    /// Mirrors the newest fragment for readers that wait. Written with every fragment.
    pub(crate) hot_slot: &'a HotSlot,
    /// Not zero: the link was stopped, or has lost its name. It has ended for good.
    pub(crate) stop: &'a AtomicU64,
    /// The largest payload, in bytes.
    pub(crate) mtu: usize,
    /// Whether readers without credits may attach.
    pub(crate) observers: bool,
    pub(crate) hints: Hints,
}

impl<'a> Parts<'a> {
    /// The largest payload that travels in its slot, in bytes.
    #[inline]
    pub(crate) fn in_slot(&self) -> usize {
        self.ring.room().min(self.mtu)
    }

    /// The words of a payload. `None` if its size is over the MTU, or its place is not inside the link.
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

    /// Whether the link was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed) != 0
    }

    /// Whether no more fragments will come, because the link was stopped or its producer has ended. If so,
    /// everything that was published before is visible to the caller, which can now check the ring for the
    /// last time.
    pub(crate) fn ending(&self) -> Option<Ending> {
        let stopped = self.is_stopped();
        // Pairs with the Release store of the stop word. `Cnc::state` has an acquire fence of its own.
        fence(ordering("parts.ending", Acquire));
        match self.head.lifecycle.cnc.state() {
            _ if stopped => Some(Ending::Closed),
            CncState::Halt => Some(Ending::Closed),
            CncState::Fail => Some(Ending::Died),
            CncState::Boot | CncState::Run => None,
        }
    }

    /// The range in which readers can continue: the oldest fragment that may still be there, and the next one
    /// to come.
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
