//! How a producer begins: on a fresh link, or on one that an earlier producer has used.

use super::backpressure::Backpressure;
use super::claim::Claim;
use super::hot_writer::HotWriter;
use super::placement::Placement;
use super::publish::Producer;
use super::room::retire_ahead;
use super::state::is_panicking;
use crate::credits::watched::Slots;
use crate::events::emit;
use crate::memory::cnc::CncState;
use crate::memory::parts::Parts;
use crate::ring::line::{self, LineState};
use crate::ring::seq;
use crate::sync::{Cell, Own, Relaxed, Release, ordering};
use crate::timing::writing::LinesAhead;
use crate::waiting::eventcount::Barrier;
#[cfg(feature = "std")]
use crate::waiting::wait::KeptNaps;
use crate::waiting::wait::Wait;

/// How a producer begins.
pub(crate) struct Begin<'a> {
    /// How many fragments the producer may be ahead of the floor: 0 to the depth of the ring.
    pub(crate) credits: u64,
    /// See [`Placement::new`].
    pub(crate) ample: bool,
    /// The first sequence number, if the link is fresh.
    pub(crate) first: u64,
    /// The caller has made sure that there is no other producer.
    pub(crate) claim: Claim<'a>,
}

impl<'a> Producer<'a> {
    /// Begins to publish into `parts`. On a link that has been used, it continues after the newest fragment
    /// in the lines.
    pub(crate) fn attach(parts: Parts<'a>, slots: Slots<'a>, begin: Begin<'a>) -> Self {
        let Begin { credits, ample, first, claim } = begin;
        let depth = parts.ring.depth();
        let placement = Placement::new(parts.granules.count(), depth, ample);
        let head = parts.head;
        let barrier = Barrier::of_this_process();
        head.eventcount.take_over(barrier);
        #[cfg(feature = "tracing")]
        let takeovers = head.lifecycle.takeovers.own();
        let (oldest, next) = if !head.is_bound() {
            prepare(&parts, first);
            head.lifecycle.incarnation.store(1, Relaxed);
            (first, first)
        } else {
            let (oldest, next) = survey(&parts);
            // Before any reader can see the takeover. A reader that polls the hot slot for the predecessor's
            // last fragment then takes it from the ring.
            parts.hot_slot.begin(next);
            placement.rebuild(&parts.ring, oldest, next);
            take_over(&parts, next);
            (oldest, next)
        };
        head.next.store(next, Relaxed);
        // `survey` returns a number that is not before the old `oldest`. The fence has to be this thread's:
        // it overwrites what its predecessor has retired, without retiring it again.
        line::retire(&head.oldest, oldest);
        let backpressure = Backpressure::new(slots, head, oldest, credits);
        head.credit.single_consumer.store(0, Relaxed);
        // A consumer that has slept since before this producer came does not know this producer's barrier.
        // See "When the owner changes" in `waiting/eventcount.rs`.
        head.eventcount.notify();
        let producer = Self {
            next: Cell::new(next),
            limit: Cell::new(next),
            in_slot: parts.in_slot(),
            hot_slot: HotWriter::new(parts.hot_slot, parts.hints.hot_slot),
            lines_ahead: LinesAhead::new(parts.hints, depth, parts.ring.bytes()),
            is_plain: Cell::new(false),
            hints_read_at: Cell::new(next),
            retire_ahead: retire_ahead(depth),
            parts,
            oldest: Cell::new(oldest),
            placement,
            backpressure,
            barrier,
            wait: Wait::default(),
            #[cfg(feature = "std")]
            naps: Cell::new(KeptNaps::new()),
            #[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
            wakes_tasks: true,
            made_in_panic: is_panicking(),
            reports: None,
            claim,
        };
        producer.set_limit();
        producer.apply_hints();
        emit!(producer_attached(
            producer.claim.link_name(),
            next,
            head.lifecycle.takeovers.own() != takeovers
        ));
        producer
    }
}

/// Counts this producer, whose first fragment is `next`, and sets the link's state to `Run`.
fn take_over(parts: &Parts<'_>, next: u64) {
    let lifecycle = &parts.head.lifecycle;
    let incarnation = lifecycle.incarnation.own();
    let died = incarnation != 0 && lifecycle.cnc.state() != CncState::Halt;
    // Before any reader can see that a producer runs. Otherwise a reader might mistake this producer for
    // its predecessor.
    lifecycle.incarnation.store(incarnation.wrapping_add(1), Relaxed);
    lifecycle.cnc.set_state(CncState::Run);
    if died {
        lifecycle.taken_over_at.store(next, Relaxed);
        // Release: pairs with the acquire fence in `ProducerWatch::check_replaced`.
        let takeovers = lifecycle.takeovers.own().wrapping_add(1);
        lifecycle.takeovers.store(takeovers, ordering("attach.takeover", Release));
    }
}

/// Prepares a fresh link, whose first fragment is `first`: the markers in all lines, and the words that
/// readers read that come before the producer.
pub(crate) fn prepare(parts: &Parts<'_>, first: u64) {
    for offset in 0..parts.ring.depth() {
        let n = first.wrapping_add(offset);
        parts.ring.line(n).prepare(n);
    }
    open(parts, first);
}

/// [`prepare`] in zeroed memory. If the first fragment is 1, zeros are as good as markers in all lines but line 0 (see
/// [`line`](crate::ring::line)), so these lines are not touched.
#[cfg(feature = "alloc")]
pub(crate) fn prepare_zeroed(parts: &Parts<'_>, first: u64) {
    if first != 1 {
        return prepare(parts, first);
    }
    let depth = parts.ring.depth();
    parts.ring.line(depth).prepare(depth);
    open(parts, first);
}

/// Lets readers in. The lines have their markers.
fn open(parts: &Parts<'_>, first: u64) {
    parts.hot_slot.begin(first);
    parts.head.lifecycle.start.store(first, Relaxed);
    parts.head.next.store(first, Relaxed);
    parts.head.oldest.store(first, Relaxed);
    parts.head.credit.floor.store(first, Relaxed);
    // A reader that sees this state also sees the prepared lines. Pairs with the acquire fence in
    // `Cnc::state`.
    parts.head.lifecycle.cnc.set_state(CncState::Run);
}

/// The oldest intact fragment, and the next number, of a link that has been used. Derived from its lines
/// and from `oldest`. Only while there is no other producer.
fn survey(parts: &Parts<'_>) -> (u64, u64) {
    let (depth, lifecycle) = (parts.ring.depth(), &parts.head.lifecycle);
    let start = lifecycle.start.load(Relaxed);
    if lifecycle.incarnation.own() == 0 {
        // There was no producer, and the ring need not be touched to see that.
        return (start, start);
    }
    let mut newest = start.wrapping_sub(1);
    for index in 0..depth {
        newest = seq::later(newest, parts.ring.line(index).proven(index, depth));
    }
    let next = newest.wrapping_add(1);
    // A killed producer may have overwritten a part of what it had retired. (A process dies between two
    // instructions, so its stores up to there are in memory, in order.)
    let retired = parts.head.oldest.load(Relaxed);
    let mut oldest = next;
    // Ends after `depth` lines at the latest: the next line holds another number.
    while seq::is_before(retired, oldest) {
        let before = oldest.wrapping_sub(1);
        if parts.ring.line(before).state(before) != LineState::Ready {
            break;
        }
        oldest = before;
    }
    (oldest, next)
}
