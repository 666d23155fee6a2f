//! [`ConsumerSlot`]: the words in which a consumer publishes how far it is, and the consumer's side of
//! them. See [`floor`](crate::credits::floor).

use crate::ring::seq;
use crate::sync::{Acquire, AtomicU64, Own, Padded, Relaxed, Release, SeqCst, StaticU64, fence, ordering};
use crate::waiting::eventcount::{Barrier, Eventcount};

pub(crate) const ACTIVE: u64 = 1;
pub(crate) const EVICTABLE: u64 = 2;
/// How often a joiner that reads by copy reads the floor. The floor changes with a refresh only, so one or
/// two rounds are enough, unless the producer is broken.
pub(super) const ROUNDS_BY_COPY: usize = 64;
/// The unit of the epoch in the `state` word.
const EPOCH: u64 = 4;

/// The words of one reliable consumer. Only the consumer writes them. Zeroed memory is a slot that was
/// never claimed.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ConsumerSlot {
    progress: Padded<Progress>,
    counts: Padded<Counts>,
    /// The producer reads the sleep word with every fragment, and the hints now and then. So they are on another cache
    /// line than what the consumer writes with every fragment.
    signals: Padded<Signals>,
}

#[repr(C)]
#[derive(Debug)]
struct Signals {
    eventcount: Eventcount,
    /// Hints about time only, so models leave them out. Only [`timing`](crate::timing) knows their meaning.
    /// 0: none.
    hints: StaticU64,
}

#[repr(C)]
#[derive(Debug)]
struct Progress {
    /// Epoch, `EVICTABLE`, `ACTIVE`.
    state: AtomicU64,
    /// The first fragment that the consumer still needs.
    next: AtomicU64,
    /// The consumer has consumed `next - base` fragments. Lost fragments raise it.
    base: AtomicU64,
}

#[repr(C)]
#[derive(Debug)]
struct Counts {
    overruns: AtomicU64,
    lost: AtomicU64,
}

/// The state of a slot and its owner, for `Link::status`.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "alloc"), allow(dead_code))] // `Link` needs `alloc`
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

    /// See [`Eventcount::set_private`].
    #[cfg(feature = "alloc")]
    pub(crate) fn set_private(&self) {
        self.signals.eventcount.set_private();
    }

    /// The owner dies while it sleeps, so its sleep word stays odd.
    #[cfg(all(loom, test))]
    pub(crate) fn dies_asleep(&self) {
        self.fall_asleep();
    }

    /// As if the owner slept.
    #[cfg(all(test, any(loom, feature = "alloc")))]
    pub(super) fn fall_asleep(&self) {
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

    /// Claims the slot for a new owner. The caller has made sure that there is no other owner. The new
    /// owner calls [`Self::settle`] before it reads anything in place.
    pub(crate) fn claim(&self, start: u64, evictable: bool, barrier: Barrier) {
        self.counts.overruns.store(0, Relaxed);
        self.counts.lost.store(0, Relaxed);
        self.progress.base.store(start, Relaxed);
        self.signals.eventcount.take_over(barrier);
        self.hint(0);
        self.begin_epoch(start, evictable);
    }

    /// Begins a new epoch, with `start` as the demand (J1).
    pub(crate) fn begin_epoch(&self, start: u64, evictable: bool) {
        let Progress { state, next, .. } = &*self.progress;
        let epoch = state.own() & !(ACTIVE | EVICTABLE);
        // Release: a producer that still reads the previous state takes this for a returned credit.
        next.store(start, ordering("credits.claim_next", Release));
        let evictable = if evictable { EVICTABLE } else { 0 };
        // Release: a producer that reads the new state also reads its `next`. Pairs with the acquire fence
        // in `demand`.
        state.store(epoch.wrapping_add(EPOCH) | evictable | ACTIVE, ordering("credits.claim_state", Release));
    }

    /// Settles at `start`, or at the floor if that is after `start` (J2, J3). The fragments between the two
    /// are lost. Returns where the consumer has settled.
    ///
    /// A consumer that reads by copy need not settle correctly. It gives up after some `rounds`, so that a
    /// broken producer that raises the floor all the time does not keep it here.
    pub(crate) fn settle(&self, start: u64, floor: &AtomicU64, rounds: usize) -> u64 {
        let mut at = start;
        for _ in 0..rounds {
            // Release: as for any returned credit.
            self.progress.next.store(at, ordering("credits.settle_next", Release));
            // Pairs with the fence in `Credits::refresh`: the producer reads the `next` that is stored
            // above, or this consumer reads below the floor that the producer stored.
            fence(ordering("credits.settle_fence", SeqCst));
            let floor = floor.load(Relaxed);
            if !seq::is_before(at, floor) {
                return at;
            }
            at = floor;
        }
        // The consumer reads by copy, so its demand need not be right. Release: as for any returned credit.
        self.progress.next.store(at, ordering("credits.settle_last", Release));
        at
    }

    /// Returns the credits of all fragments before `next`.
    #[inline]
    pub(crate) fn release(&self, next: u64) {
        // Pairs with the acquire fence at the end of `Credits::refresh`.
        self.progress.next.store(next, ordering("credits.release", Release));
    }

    /// Counts consumed fragments from `start` on.
    pub(crate) fn count_from(&self, start: u64) {
        self.progress.base.store(start, Relaxed);
    }

    /// Counts `lost` fragments as missed.
    pub(crate) fn count_lost(&self, lost: u64) {
        let base = &self.progress.base;
        base.store(base.own().wrapping_add(lost), Relaxed);
        let Counts { overruns, lost: total } = &*self.counts;
        overruns.store(overruns.own().wrapping_add(1), Relaxed);
        total.store(total.own().wrapping_add(lost), Relaxed);
    }

    /// Stores the owner's hints for the producer.
    pub(crate) fn hint(&self, hints: u64) {
        self.signals.hints.store(hints, Relaxed);
    }

    /// The owner's sleep word.
    #[inline(always)]
    pub(super) fn asleep(&self) -> u64 {
        self.signals.eventcount.asleep()
    }

    /// Leaves: the slot no longer holds the producer back. (The consumer of an `Fctl` never leaves its
    /// slot.)
    #[cfg(feature = "alloc")]
    pub(crate) fn leave(&self) {
        self.hint(0);
        let state = &self.progress.state;
        // Release: the consumer's reads happen before the producer's writes. Pairs with the acquire fence
        // at the end of `Credits::refresh`.
        state.store(state.own() & !ACTIVE, ordering("credits.leave", Release));
    }

    /// Wakes a producer that waits for this consumer, for callers that are not the owner: see
    /// [`Eventcount::wake_all`].
    #[cfg(feature = "alloc")]
    pub(crate) fn wake_all(&self) {
        self.signals.eventcount.wake_all();
    }

    /// The state of the slot, for people and metrics. Any thread or process may call it. The values may
    /// come from different moments.
    pub(crate) fn report(&self) -> SlotReport {
        let state = self.progress.state.load(Relaxed);
        // Pairs with the Release store of the state in `begin_epoch`: the values read below belong to this
        // owner, or to a later one.
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

    /// The owner's eventcount.
    #[inline]
    pub(super) fn eventcount(&self) -> &Eventcount {
        &self.signals.eventcount
    }

    /// The owner's hints, as a word.
    #[inline]
    pub(super) fn hints(&self) -> u64 {
        self.signals.hints.load(Relaxed)
    }

    /// The word of the first fragment that the consumer still needs.
    pub(super) fn progress(&self) -> &AtomicU64 {
        &self.progress.next
    }

    /// The `state` word, and `next` if the slot is active. For the producer.
    #[inline]
    pub(super) fn demand(&self) -> (u64, Option<u64>) {
        let state = self.progress.state.load(Relaxed);
        // Pairs with the Release store of the state in `begin_epoch`.
        fence(ordering("credits.demand", Acquire));
        (state, (state & ACTIVE != 0).then(|| self.progress.next.load(Relaxed)))
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::*;

    /// The producer may evict a consumer only if that consumer itself reads by copy.
    #[test]
    fn an_owner_inherits_nothing_but_the_epoch() {
        let slot = ConsumerSlot::new();
        let mut before = slot.demand().0;
        for evictable in [false, true, true, false, false] {
            slot.claim(9, evictable, Barrier::Fence);
            let (state, demand) = slot.demand();
            assert_eq!(state & (ACTIVE | EVICTABLE), if evictable { ACTIVE | EVICTABLE } else { ACTIVE });
            assert_eq!((state / EPOCH, demand), (before / EPOCH + 1, Some(9)));
            let report = slot.report();
            assert_eq!(
                (report.active, report.evictable, report.consumed, report.lost),
                (true, evictable, 0, 0)
            );
            slot.hint(7);
            slot.count_lost(4);
            slot.leave();
            let (left, demand) = slot.demand();
            assert_eq!((left, demand, slot.hints()), (state & !ACTIVE, None, 0));
            before = left;
        }
    }
    /// A report may read one word of an older owner and one of a newer, and then the difference is negative.
    #[test]
    fn the_count_of_consumed_fragments_is_never_negative() {
        let slot = ConsumerSlot::new();
        slot.claim(9, false, Barrier::Fence);
        for (next, consumed) in [(9, 0), (10, 1), (300, 291), (8, 0), (1_u64.wrapping_sub(1 << 60), 0)] {
            slot.release(next);
            assert_eq!((slot.report().next, slot.report().consumed), (next, consumed));
        }
        slot.release(300);
        slot.count_from(299);
        assert_eq!(slot.report().consumed, 1);
    }
}
