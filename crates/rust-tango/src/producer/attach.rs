//! How a producer begins: on a fresh link, or where another one has ended.

use super::backpressure::Backpressure;
use super::claim::Claim;
use super::hot_slots::HotSlots;
use super::placement::Placement;
use super::publish::Producer;
use crate::credits::floor::Slots;
use crate::memory::cnc::CncState;
use crate::memory::parts::Parts;
use crate::ring::hot_slot::HotSlot;
use crate::ring::line::{self, LineState};
use crate::ring::seq;
use crate::sync::{Cell, Own, Relaxed, Release, ordering};
use crate::timing::writing::LinesAhead;
use crate::waiting::eventcount::Barrier;
use crate::waiting::wait::Wait;

/// One part in so many of the ring is retired at once, if not more for a batch.
const RETIRE_PART: u64 = 32;

/// How a producer begins.
pub(crate) struct Begin<'a> {
    /// How many fragments may be under way, 1 to the depth of the ring.
    pub(crate) credits: u64,
    /// As in [`Placement::new`].
    pub(crate) ample: bool,
    /// The first number, if the link is fresh.
    pub(crate) first: u64,
    /// The caller has made sure that there is no other producer.
    pub(crate) claim: Claim<'a>,
}

impl<'a> Producer<'a> {
    /// Begins to produce into `parts`: one that has been used goes on behind what its lines hold. `private` are the hot
    /// slots of the consumer slots, in their order.
    pub(crate) fn attach(
        parts: Parts<'a>,
        slots: Slots<'a>,
        private: impl Iterator<Item = Option<&'a HotSlot>>,
        begin: Begin<'a>,
    ) -> Self {
        let Begin { credits, ample, first, claim } = begin;
        let depth = parts.ring.depth();
        let placement = Placement::new(parts.granules.count(), depth, ample);
        let head = parts.head;
        let hot_slots = HotSlots::new(&head.hot_slot, private);
        let barrier = Barrier::of_this_process();
        head.eventcount.take_over(barrier);
        let (oldest, next) = if !head.is_bound() {
            prepare(&parts, first);
            head.lifecycle.incarnation.store(1, Relaxed);
            (first, first)
        } else {
            let (oldest, next) = survey(&parts);
            // Before anybody can see the takeover: a reader that waits for the predecessor's last fragment finds it.
            head.hot_slot.begin(next);
            hot_slots.close_private(next);
            placement.rebuild(&parts.ring, oldest, next);
            take_over(&parts, next);
            (oldest, next)
        };
        head.next.store(next, Relaxed);
        // Not lower than it was: `survey`. With the fence of this thread: what another producer has retired already is
        // overwritten without being retired again.
        line::retire(&head.oldest, oldest);
        let backpressure = Backpressure::new(slots, head, oldest, credits);
        head.credit.single_consumer.store(0, Relaxed);
        // A consumer that has slept since before this producer came knows nothing of its barrier.
        head.eventcount.notify();
        let producer = Self {
            next: Cell::new(next),
            limit: Cell::new(next),
            in_slot: parts.in_slot(),
            hot_slots,
            lines_ahead: LinesAhead::new(depth, parts.ring.bytes()),
            retire_ahead: depth / RETIRE_PART,
            parts,
            oldest: Cell::new(oldest),
            placement,
            backpressure,
            barrier,
            wait: Wait::default(),
            reports: None,
            claim,
        };
        producer.set_limit();
        producer.apply_hints();
        producer
    }
}

/// Counts this producer, whose first fragment is `next`, and says that one runs.
fn take_over(parts: &Parts<'_>, next: u64) {
    let lifecycle = &parts.head.lifecycle;
    let incarnation = lifecycle.incarnation.own();
    let died = incarnation != 0 && lifecycle.cnc.state() != CncState::Halt;
    // Before anybody sees that a producer runs: whoever does must not take this one for its predecessor.
    lifecycle.incarnation.store(incarnation.wrapping_add(1), Relaxed);
    lifecycle.cnc.set_state(CncState::Run);
    if died {
        lifecycle.taken_over_at.store(next, Relaxed);
        // Release: pairs with the fence in `ProducerWatch::check_replaced`.
        let takeovers = lifecycle.takeovers.own().wrapping_add(1);
        lifecycle.takeovers.store(takeovers, ordering("attach.takeover", Release));
    }
}

/// Makes a fresh link ready, whose first fragment is `first`: markers in all lines, and the words that
/// readers who come before the producer look at.
pub(crate) fn prepare(parts: &Parts<'_>, first: u64) {
    for offset in 0..parts.ring.depth() {
        let n = first.wrapping_add(offset);
        parts.ring.line(n).prepare(n);
    }
    parts.head.hot_slot.begin(first);
    parts.head.lifecycle.start.store(first, Relaxed);
    parts.head.next.store(first, Relaxed);
    parts.head.oldest.store(first, Relaxed);
    parts.head.credit.floor.store(first, Relaxed);
    // Who sees the lines as bound sees them prepared.
    parts.head.lifecycle.cnc.set_state(CncState::Run);
}

/// The oldest intact fragment and the next number of a link that has been used: from its lines, and from what
/// was retired. Only while nobody produces.
fn survey(parts: &Parts<'_>) -> (u64, u64) {
    let depth = parts.ring.depth();
    let mut newest = parts.head.lifecycle.start.load(Relaxed).wrapping_sub(1);
    for index in 0..depth {
        newest = seq::later(newest, parts.ring.line(index).proven(index, depth));
    }
    let next = newest.wrapping_add(1);
    // A producer that was killed may have overwritten a part of what it had retired. (A process dies between two
    // instructions, so its stores up to there are in memory in order.)
    let retired = parts.head.oldest.load(Relaxed);
    let mut oldest = next;
    // Ends after `depth` lines at the latest: the next holds another number.
    while seq::is_before(retired, oldest) {
        let before = oldest.wrapping_sub(1);
        if parts.ring.line(before).state(before) != LineState::Ready {
            break;
        }
        oldest = before;
    }
    (oldest, next)
}
