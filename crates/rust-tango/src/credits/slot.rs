//! The words by which a consumer tells how far it is, and the consumer's side of them: see [`floor`](crate::credits::floor).

use crate::ring::seq;
use crate::sync::{Acquire, AtomicU64, Own, Padded, Relaxed, Release, SeqCst, StaticU64, fence, ordering};
use crate::waiting::eventcount::{Barrier, Eventcount};

pub(crate) const ACTIVE: u64 = 1;
pub(crate) const EVICTABLE: u64 = 2;
/// How often a joiner that reads by copy looks at the floor. It moves with a refresh only, so once or twice
/// is enough, unless the producer is broken.
pub(super) const ROUNDS_BY_COPY: usize = 64;
/// What the epoch counts in.
const EPOCH: u64 = 4;

/// The words of one reliable consumer. All written by it, and by nobody else. All zero: never claimed.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ConsumerSlot {
    progress: Padded<Progress>,
    counts: Padded<Counts>,
    /// Read by the producer with every fragment, so away from what is written with every fragment.
    signals: Padded<Signals>,
}

#[repr(C)]
#[derive(Debug)]
struct Signals {
    eventcount: Eventcount,
    /// About time only, and so not in models. Only [`timing`](crate::timing) knows what it means. 0: nothing.
    hints: StaticU64,
}

#[repr(C)]
#[derive(Debug)]
struct Progress {
    /// Epoch, `EVICTABLE`, `ACTIVE`.
    state: AtomicU64,
    /// The first fragment that the consumer has not finished with.
    next: AtomicU64,
    /// `next - base` fragments have been consumed. Moves up with what is lost.
    base: AtomicU64,
}

#[repr(C)]
#[derive(Debug)]
struct Counts {
    overruns: AtomicU64,
    lost: AtomicU64,
}

/// What the slot says of its owner.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "alloc"), allow(dead_code))] // all of it is for `Link::status`
pub(crate) struct SlotReport {
    pub(crate) active: bool,
    pub(crate) evictable: bool,
    pub(crate) asleep: bool,
    pub(crate) next: u64,
    pub(crate) consumed: u64,
    pub(crate) overruns: u64,
    pub(crate) lost: u64,
}

impl ConsumerSlot {
    pub(crate) const fn new() -> Self {
        const fn zero() -> AtomicU64 {
            AtomicU64::new(0)
        }
        Self {
            progress: Padded::new(Progress { state: zero(), next: zero(), base: zero() }),
            counts: Padded::new(Counts { overruns: zero(), lost: zero() }),
            signals: Padded::new(Signals { eventcount: Eventcount::new(), hints: StaticU64::new(0) }),
        }
    }

    /// The owner dies while it sleeps: nobody says that it is awake again.
    #[cfg(all(loom, test))]
    pub(crate) fn dies_asleep(&self) {
        self.signals.eventcount.fall_asleep();
    }

    /// Makes the words exist for the model checker.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self) {
        let Progress { state, next, base } = &*self.progress;
        let Counts { overruns, lost } = &*self.counts;
        for word in [state, next, base, overruns, lost] {
            word.touch();
        }
        self.signals.eventcount.touch();
    }

    /// Takes the slot for a new owner, which owns it exclusively; [`Self::settle`] must follow before
    /// anything is read in place.
    pub(crate) fn claim(&self, start: u64, evictable: bool, order: Barrier) {
        self.counts.overruns.store(0, Relaxed);
        self.counts.lost.store(0, Relaxed);
        self.progress.base.store(start, Relaxed);
        self.signals.eventcount.take_over(order);
        self.hint(0);
        self.begin_epoch(start, evictable);
    }

    /// Stands at `start` with a new epoch (J1).
    pub(crate) fn begin_epoch(&self, start: u64, evictable: bool) {
        let Progress { state, next, .. } = &*self.progress;
        let epoch = state.own() & !(ACTIVE | EVICTABLE);
        // Release: a producer that still sees the epoch before takes this for a credit given back.
        next.store(start, ordering("credits.claim_next", Release));
        let evictable = if evictable { EVICTABLE } else { 0 };
        // Release: who sees the new epoch active sees its `next`; pairs with the fence in `demand`.
        state.store(epoch.wrapping_add(EPOCH) | evictable | ACTIVE, ordering("credits.claim_state", Release));
    }

    /// Moves to `start`, or up to the floor if that is behind it (J2, J3). The fragments between the
    /// two are lost. Returns where the consumer stands.
    ///
    /// Who reads by copy need not stand right: it gives up after some `rounds`, so that a floor that a
    /// broken producer moves all the time does not keep it here.
    pub(crate) fn settle(&self, start: u64, floor: &AtomicU64, rounds: usize) -> u64 {
        let mut at = start;
        for _ in 0..rounds {
            self.progress.next.store(at, ordering("credits.settle_next", Release));
            // Pairs with the fence in `Credits::refresh`: either the producer sees the line above, or
            // the floor that it stored is seen below.
            fence(ordering("credits.settle_fence", SeqCst));
            let floor = floor.load(Relaxed);
            if !seq::is_before(at, floor) {
                return at;
            }
            at = floor;
        }
        // By copy, so wherever it stands. Release: as any credit that is given back.
        self.progress.next.store(at, ordering("credits.settle_last", Release));
        at
    }

    /// Gives credits back: everything before `next` is finished with.
    #[inline]
    pub(crate) fn release(&self, next: u64) {
        // Pairs with the acquire fence at the end of `Credits::refresh`.
        self.progress.next.store(next, ordering("credits.release", Release));
    }

    /// Counts what is consumed from `start` on.
    pub(crate) fn count_from(&self, start: u64) {
        self.progress.base.store(start, Relaxed);
    }

    /// Notes that `lost` fragments were missed.
    pub(crate) fn count_lost(&self, lost: u64) {
        let base = &self.progress.base;
        base.store(base.own().wrapping_add(lost), Relaxed);
        let Counts { overruns, lost: total } = &*self.counts;
        overruns.store(overruns.own().wrapping_add(1), Relaxed);
        total.store(total.own().wrapping_add(lost), Relaxed);
    }

    /// Tells the producer about its owner.
    pub(crate) fn hint(&self, hints: u64) {
        self.signals.hints.store(hints, Relaxed);
    }

    /// Leaves: the slot no longer holds the producer back. (That of an `Fctl` is never left.)
    #[cfg(feature = "alloc")]
    pub(crate) fn leave(&self) {
        self.hint(0);
        let state = &self.progress.state;
        // Release: what was read happens before what the producer writes over it.
        state.store(state.own() & !ACTIVE, ordering("credits.leave", Release));
    }

    /// Whether the owner has claimed it as evictable.
    pub(super) fn is_evictable(&self) -> bool {
        self.progress.state.own() & EVICTABLE != 0
    }

    /// Wakes a producer that waits for this consumer, on behalf of somebody else; see [`Eventcount::wake_all`].
    #[cfg(feature = "alloc")]
    pub(crate) fn wake_all(&self) {
        self.signals.eventcount.wake_all();
    }

    /// For people and metrics: a look at the slot from any thread or process.
    pub(crate) fn report(&self) -> SlotReport {
        let state = self.progress.state.load(Relaxed);
        // Pairs with the Release store of the state in `begin_epoch`: what is told of an owner is not older than it.
        fence(ordering("credits.report", Acquire));
        let next = self.progress.next.load(Relaxed);
        let consumed = next.wrapping_sub(self.progress.base.load(Relaxed));
        SlotReport {
            active: state & ACTIVE != 0,
            evictable: state & EVICTABLE != 0,
            asleep: self.signals.eventcount.asleep() % 2 == 1,
            next,
            consumed: if seq::distance(0, consumed) < 0 { 0 } else { consumed },
            overruns: self.counts.overruns.load(Relaxed),
            lost: self.counts.lost.load(Relaxed),
        }
    }

    /// What the owner sleeps on.
    #[inline]
    pub(super) fn eventcount(&self) -> &Eventcount {
        &self.signals.eventcount
    }

    /// What the owner has told, as a word.
    #[inline]
    pub(super) fn hints(&self) -> u64 {
        self.signals.hints.load(Relaxed)
    }

    /// Producer's look: the state word, and `next` if it is active.
    #[inline]
    pub(super) fn demand(&self) -> (u64, Option<u64>) {
        let state = self.progress.state.load(Relaxed);
        // Pairs with the Release store in `claim`.
        fence(ordering("credits.demand", Acquire));
        (state, (state & ACTIVE != 0).then(|| self.progress.next.load(Relaxed)))
    }
}
