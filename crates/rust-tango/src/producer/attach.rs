//! How a producer begins: on a fresh link, or where another one has ended.

use super::cleaning::Cleaning;
use super::showing::Showing;
use super::{Claim, Producer};
use crate::cpu::cache;
use crate::credits::floor::{Credits, Slots};
use crate::memory::cnc::CncState;
use crate::memory::parts::Parts;
use crate::producer::placement::Placement;
use crate::ring::line;
use crate::ring::seq;
use crate::sync::{Cell, Own, Relaxed, Release, intact, ordering};
use crate::waiting::eventcount::Barrier;
use crate::waiting::wait::Wait;

/// One part in so many of the ring is retired at once, if not more for a batch.
const RETIRE_PART: u64 = 32;

impl<'a> Producer<'a> {
    /// Begins to produce into `parts`: a fresh link starts with `first`, one that has been used goes on
    /// behind what its lines hold. `ample` as in [`Placement::new`].
    ///
    /// The caller has made sure that there is no other producer: `claim`.
    pub(crate) fn attach(
        parts: Parts<'a>,
        slots: Slots<'a>,
        credits: u64,
        ample: bool,
        first: u64,
        claim: Claim<'a>,
    ) -> Self {
        let depth = parts.ring.depth();
        let placement = Placement::new(parts.granules.count(), depth, ample);
        let head = parts.head;
        let order = Barrier::of_this_process();
        head.eventcount.take_over(order);
        let lifecycle = &head.lifecycle;
        let (oldest, next) = if !head.is_bound() {
            prepare(&parts, first);
            lifecycle.incarnation.store(1, Relaxed);
            (first, first)
        } else {
            let (oldest, next) = survey(&parts);
            // Before anybody is told of the takeover: who waits for the last fragment of the dead finds it.
            head.hot_slot.begin(next);
            if intact("attach.close_private") {
                slots.hot_slots().for_each(|hot_slot| hot_slot.close(next));
            }
            placement.rebuild(&parts.ring, oldest, next);
            let incarnation = lifecycle.incarnation.own();
            let died = incarnation != 0 && lifecycle.cnc.state() != CncState::Halt;
            // Before anybody sees that a producer runs: who does must not take this one for the dead one.
            if intact("attach.incarnation") {
                lifecycle.incarnation.store(incarnation.wrapping_add(1), Relaxed);
            }
            lifecycle.cnc.set_state(CncState::Run);
            if !intact("attach.incarnation") {
                lifecycle.incarnation.store(incarnation.wrapping_add(1), Relaxed);
            }
            if died {
                lifecycle.taken_over_at.store(next, Relaxed);
                // Release: pairs with the fence in `Consumer::ask_whether_replaced`.
                lifecycle
                    .takeovers
                    .store(lifecycle.takeovers.own().wrapping_add(1), ordering("attach.takeover", Release));
            }
            (oldest, next)
        };
        head.next.store(next, Relaxed);
        // Not lower than it was: `survey`. With the fence of this thread: what was retired by another producer
        // already is overwritten without being retired again.
        if intact("attach.retire") {
            line::retire(&head.oldest, oldest);
        }
        let credits = Credits::new(slots, oldest, &head.credit.floor, credits);
        head.credit.held_by.store(0, Relaxed);
        head.credit.single_consumer.store(0, Relaxed);
        // Who has slept since before this producer was there knows nothing of its `order`.
        if intact("attach.ring") {
            head.eventcount.notify();
        }
        let producer = Self {
            next: Cell::new(next),
            limit: Cell::new(next),
            in_slot: parts.in_slot(),
            clean_ahead: if cache::evicting_helps(depth, parts.ring.bytes()) { depth / 32 } else { 0 },
            retire_ahead: depth / RETIRE_PART,
            parts,
            oldest: Cell::new(oldest),
            cleaning: Cell::new(Cleaning::None),
            showing: Cell::new(Showing::All),
            stalled: Cell::new(None),
            placement,
            credits,
            order,
            wait: Wait::default(),
            #[cfg(feature = "std")]
            patience: super::backpressure::PATIENCE,
            #[cfg(feature = "std")]
            held_since: Cell::new(None),
            followers: None,
            claim,
        };
        producer.set_limit();
        producer.heed_consumers();
        producer
    }
}

/// Makes a fresh link ready, whose first fragment is `first`: markers in all lines, and the words that
/// readers who come before the producer look at.
pub(crate) fn prepare(parts: &Parts<'_>, first: u64) {
    for offset in 0..parts.ring.depth() {
        let n = first.wrapping_add(offset);
        if intact("line.empty") {
            parts.ring.line(n).prepare(n);
        }
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
    while seq::is_before(retired, oldest) || !intact("attach.retired") {
        let before = oldest.wrapping_sub(1);
        if parts.ring.line(before).state(before) != line::LineState::Ready {
            break;
        }
        oldest = before;
    }
    (oldest, next)
}
