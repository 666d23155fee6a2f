//! Flow control: how far reliable consumers are, hence how far the producer may go.
//!
//! Each reliable consumer has a slot of its own, which it alone writes:
//!
//! ```text
//!   state = epoch | evictable | active   the epoch rises with each claim; two bits below it
//!   next                             the first fragment that it has not finished with
//! ```
//!
//! The producer keeps the *floor*: no fragment from the floor on is overwritten. So fragment `n` may be
//! published when `n - floor < depth` (its line held `n - depth`), and one whose granules kill fragment
//! `t` when `t` is before the floor. (The limit is `floor + credits`, and credits are `depth` or fewer. The producer
//! retires nothing from the floor on, and what is not retired has to wait too: see [`line`](crate::ring::line).) The floor is re-read from
//! the consumers' words only when it is reached. (What the producer does look at with each fragment are two words of
//! each slot that seldom change: whether its owner sleeps, and its hints.)
//!
//! # Returning a credit
//!
//! A consumer stores `next` with Release. The producer loads it relaxed and then runs an acquire fence,
//! so all that the consumer read happens before what the producer writes over it.
//!
//! # Refresh (producer), join (consumer)
//!
//! ```text
//!   refresh                                    join
//!   R1  read slots; would the floor rise?      J1  next = start, then state = (epoch + 1, active)
//!   R2  floor word = the candidate             J2  fence(SeqCst)
//!   R3  fence(SeqCst)                          J3  start before the floor word? move up, store next, J2
//!   R4  read slots; candidate down to the
//!       least of them; floor word = that
//! ```
//!
//! A demand that is before the last final floor is ignored. It comes from a joiner that has not got to the end of J3,
//! from a consumer that an earlier producer ignored as dead or evicted, or from one that reads by copy. (The consumer of
//! an `Fctl` is counted as standing at the floor then, and also while there is none.) All slots are in this: a floor also exists with no consumers, and is then `n`.
//!
//! *Why a joiner that has settled at `s` is safe.* Let F be a final floor, from refresh k. The fences of
//! refresh k and of the joiner's last J2 are ordered one way or the other.
//! If the joiner's comes first, R4 of refresh k reads its slot with some `t`, which is `s` or later, and all before
//! `t` has been given back. Either the slot is counted, and F <= t; or `t` is before the final floor F' of an earlier
//! refresh j < k. Take the first such j: the joiner's fence came after the one of refresh j (else j would have counted
//! it, and F' <= t), so at J3 the joiner saw the floor word of refresh j, tentative or final, or a newer one, all of
//! them >= F'. So s >= F' > t: a contradiction.
//! If the joiner's comes second, J3 sees what refresh k stored, tentative or final, or newer, which is
//! >= F: so s >= F.
//!
//! *Takeovers.* That proof is about the refreshes of one producer. The next producer begins with the floor `oldest`, so
//! the word may fall; but nothing from `oldest` on has been retired. A joiner that settles at `s` has seen a word that is
//! not over `s`. If an earlier producer stored that word, each later refresh of that producer counted the joiner, so
//! nothing that the joiner still wants was retired, and `oldest` is not over it: the next producer counts the joiner,
//! too. If the new producer stored it, the proof holds as it stands.
//!
//! *Why the epoch.* A slot of a dead owner is ignored by the value of its state word. The next claim
//! raises the epoch, so what was decided about the dead cannot hit the living (R1 and R4 read `state`
//! first: a `next` of another owner than `state` says is either safe, or of a joiner before J2).
//!
//! # Eviction
//!
//! An *evictable* consumer that the producer has waited for too long is ignored in the same way, alive. It
//! reads by validated copy, so nothing it holds can change under it, and it finds out: it is lapped, or sees
//! the count of evictions change. Either way it claims its slot anew, hence with a new epoch, and joins.

use crate::credits::slot::ConsumerSlot;
#[cfg(any(feature = "std", loom))]
use crate::credits::slot::{ACTIVE, EVICTABLE};
use crate::ring::seq;
use crate::sync::{Acquire, AtomicU64, Cell, Release, SeqCst, fence, ordering};
#[cfg(any(feature = "std", loom))]
use crate::waiting::eventcount::Eventcount;

/// A slot as the producer sees it.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    slot: &'a ConsumerSlot,
    /// The state word of an owner that is proven dead, or was evicted: ignored as long as the slot shows it.
    dead: Cell<u64>,
    /// What the owner's bell said when it was last looked at closely.
    seen: Cell<u64>,
    /// The owner's hints of then, as a word.
    hints: Cell<u64>,
}

/// The slots of a link.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    /// Apart from the rest, because mostly there is one: it is looked at with every fragment.
    first: Option<Watched<'a>>,
    #[cfg(feature = "alloc")]
    rest: alloc::boxed::Box<[Watched<'a>]>,
    /// It is that of an `Fctl`, which holds the producer at the start until its first consumer comes, so that nothing
    /// is lost before. (An empty slot of a `Link` holds nobody back.)
    is_awaited: bool,
}

impl<'a> Watched<'a> {
    fn new(slot: &'a ConsumerSlot) -> Self {
        Self { slot, dead: Cell::new(0), seen: Cell::new(0), hints: Cell::new(0) }
    }

    /// The owner's hints of when its signals were last read; 0 if it is ignored by now.
    fn hints(&self) -> u64 {
        let dead = self.dead.get();
        let is_ignored = dead != 0 && self.slot.demand().0 == dead;
        if is_ignored { 0 } else { self.hints.get() }
    }

    /// Whether its owner's signals are not what they were when they were last looked at closely.
    #[inline(always)]
    fn has_changed(&self) -> bool {
        (self.slot.eventcount().asleep() != self.seen.get()) | (self.slot.hints() != self.hints.get())
    }
}

impl<'a> Slots<'a> {
    /// The one of an `Fctl`; without it, there is no flow control.
    pub(crate) fn awaiting(slot: Option<&'a ConsumerSlot>) -> Self {
        Self {
            first: slot.map(Watched::new),
            #[cfg(feature = "alloc")]
            rest: alloc::boxed::Box::default(),
            is_awaited: true,
        }
    }

    /// The slots of a `Link`.
    #[cfg(feature = "alloc")]
    pub(crate) fn watching(slots: impl Iterator<Item = &'a ConsumerSlot>) -> Self {
        let mut slots = slots.map(Watched::new);
        Self { first: slots.next(), rest: slots.collect(), is_awaited: false }
    }

    #[inline(always)]
    fn rest(&self) -> &[Watched<'a>] {
        #[cfg(feature = "alloc")]
        return &self.rest;
        #[cfg(not(feature = "alloc"))]
        &[]
    }

    fn iter(&self) -> impl Iterator<Item = &Watched<'a>> {
        self.first.iter().chain(self.rest())
    }
}

/// The producer's side of flow control.
#[derive(Debug)]
pub(crate) struct Credits<'a> {
    slots: Slots<'a>,
    /// The last final floor.
    floor: Cell<u64>,
    /// The floor as consumers see it; between R2 and R4 it may be tentative, that is higher.
    word: &'a AtomicU64,
    /// How many fragments may be under way: 1 to depth.
    credits: u64,
    /// Refreshes in a row that found nothing.
    failures: Cell<u32>,
    /// Index of the slot that held the last refresh back.
    held_by: Cell<Option<usize>>,
    /// How many consumers the last refresh has counted.
    counted: Cell<usize>,
}

impl<'a> Credits<'a> {
    /// Starts with `floor`: everything before it is dead already.
    pub(crate) fn new(slots: Slots<'a>, floor: u64, word: &'a AtomicU64, credits: u64) -> Self {
        // No fence: nothing from `floor` on has been given up. The word may fall here: see the module. Release: as in
        // `refresh`.
        word.store(floor, ordering("credits.first_order", Release));
        Self {
            slots,
            floor: Cell::new(floor),
            word,
            credits,
            failures: Cell::new(0),
            held_by: Cell::new(None),
            counted: Cell::new(0),
        }
    }

    /// The first number that may not be published without another refresh.
    #[inline]
    pub(crate) fn limit(&self) -> u64 {
        self.floor.get().wrapping_add(self.credits)
    }

    /// No fragment from here on may be overwritten without another refresh.
    #[inline]
    pub(crate) fn floor(&self) -> u64 {
        self.floor.get()
    }

    /// Whether fragment `n` may be published, which kills fragment `victim` and its line's old content.
    #[inline]
    pub(crate) fn allow(&self, n: u64, victim: Option<u64>) -> bool {
        seq::is_before(n, self.limit())
            && victim.is_none_or(|victim| seq::is_before(victim, self.floor.get()))
    }

    /// Reads how far the consumers are, up to `n`, which is published next; true if the floor rose.
    #[cold]
    pub(crate) fn refresh(&self, n: u64) -> bool {
        let failures = self.failures.get();
        let old = self.floor.get();
        // R1
        let candidate = self.least_demand(n);
        if !seq::is_before(old, candidate) {
            self.failures.set(failures.wrapping_add(1));
            return false;
        }
        // R2. Release: a joiner that moves up to this floor, and so fences once more, sees all that was published before it
        // was stored. (Without it, such a fragment may read as not there yet for a moment.)
        self.word.store(candidate, ordering("credits.tentative_order", Release));
        // R3: pairs with the fence in `ConsumerSlot::settle`.
        fence(ordering("credits.refresh_fence", SeqCst));
        // R4: not below the last final floor, for `least_demand` ignores who is; and not over the candidate, for
        // a joiner that has seen that one may stand there.
        let floor = seq::earlier(candidate, self.least_demand(n));
        self.word.store(floor, ordering("credits.final_order", Release));
        // Pairs with the Release stores in `ConsumerSlot::release` and `leave`: their reads happen
        // before our writes.
        fence(ordering("credits.credits", Acquire));
        self.floor.set(floor);
        let rose = seq::is_before(old, floor);
        self.failures.set(if rose { 0 } else { failures.wrapping_add(1) });
        rose
    }

    /// The least `next` of all consumers that are at or after the floor, at most `n`.
    fn least_demand(&self, n: u64) -> u64 {
        let floor = self.floor.get();
        let (mut least, mut counted) = (n, 0);
        self.held_by.set(None);
        for (index, watched) in self.slots.iter().enumerate() {
            let (state, demand) = watched.slot.demand();
            let next = match demand {
                Some(_) if state == watched.dead.get() => continue,
                // The consumer of an `Fctl` is waited for also while there is none.
                Some(next) if self.slots.is_awaited => seq::later(next, floor),
                None if self.slots.is_awaited => floor,
                Some(next) => next,
                None => continue,
            };
            counted += 1;
            let settled = !seq::is_before(next, floor);
            if settled && seq::is_before(next, least) {
                least = next;
                self.held_by.set(Some(index));
            }
        }
        self.counted.set(counted);
        least
    }

    /// How many consumers the last refresh has counted.
    pub(crate) fn counted(&self) -> usize {
        self.counted.get()
    }

    /// How many refreshes in a row found nothing new.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.get()
    }

    /// The slot that held the last refresh back.
    pub(crate) fn held_by(&self) -> Option<usize> {
        self.held_by.get()
    }

    /// Whether somebody has fallen asleep, or woken up, or given other hints, since that was last looked at closely.
    #[inline(always)]
    pub(crate) fn signals_changed(&self) -> bool {
        let Some(first) = &self.slots.first else { return false };
        self.slots.rest().iter().fold(first.has_changed(), |changed, watched| changed | watched.has_changed())
    }

    /// Looks closely: true if there is a sleeper that has not been rung for.
    #[cold]
    pub(crate) fn read_signals(&self) -> bool {
        let mut needs_notify = false;
        for watched in self.slots.iter() {
            watched.hints.set(watched.slot.hints());
            let mut seen = watched.seen.get();
            if watched.slot.eventcount().asleep() != seen {
                needs_notify |= watched.slot.eventcount().needs_notify(&mut seen);
                watched.seen.set(seen);
            }
        }
        needs_notify
    }

    /// The hints of each slot's owner, in order, as they were when its signals were last read.
    pub(crate) fn hints(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().map(Watched::hints)
    }

    /// The bell of the owner of a slot.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn eventcount(&self, slot: usize) -> Option<&'a Eventcount> {
        self.slots.iter().nth(slot).map(|watched| watched.slot.eventcount())
    }

    /// The state word of the consumer that held the last refresh back, if it may be evicted.
    #[cfg(feature = "std")]
    pub(crate) fn held_by_evictable(&self) -> Option<u64> {
        let watched = self.slots.iter().nth(self.held_by.get()?)?;
        let (state, _) = watched.slot.demand();
        (state & (ACTIVE | EVICTABLE) == ACTIVE | EVICTABLE).then_some(state)
    }

    /// Ignores the consumer that held the last refresh back from now on, as long as its slot shows `state`.
    #[cfg(feature = "std")]
    pub(crate) fn evict(&self, state: u64) {
        if let Some(watched) = self.held_by.get().and_then(|slot| self.slots.iter().nth(slot)) {
            watched.dead.set(state);
        }
    }

    /// How many slots there are.
    #[cfg(feature = "std")]
    pub(crate) fn slots(&self) -> usize {
        self.slots.iter().count()
    }

    /// Asks `lives` about the owners of all slots, and ignores those that do not live from now on.
    /// `lives` must be certain: it frees memory that the owner may have slices of. Says how many died.
    #[cfg(feature = "alloc")]
    pub(crate) fn reap_dead(&self, lives: impl Fn(usize) -> bool) -> u64 {
        let mut dead = 0;
        for (index, watched) in self.slots.iter().enumerate() {
            // The state is read first: an owner that is dead afterwards was the owner of this state, or
            // an earlier one.
            let (state, demand) = watched.slot.demand();
            if demand.is_some() && state != watched.dead.get() && !lives(index) {
                watched.dead.set(state);
                dead += 1;
            }
        }
        dead
    }

    /// The consumers that are attached now: index of the slot, and how far each is.
    pub(crate) fn attached(&self) -> impl Iterator<Item = (usize, u64)> {
        self.slots.iter().enumerate().filter_map(|(index, watched)| {
            let (state, demand) = watched.slot.demand();
            demand.filter(|_| state != watched.dead.get()).map(|next| (index, next))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting::eventcount::Barrier;

    #[test]
    fn the_floor_follows_the_slowest_and_never_falls() {
        let (a, word) = (ConsumerSlot::new(), AtomicU64::new(0));
        let slots = Slots::awaiting(Some(&a));
        let credits = Credits::new(slots, 10, &word, 8);
        assert!(!credits.refresh(14), "before its first consumer, an Fctl holds the producer");
        a.claim(10, false, Barrier::Fence);
        assert_eq!(a.settle(3, &word, usize::MAX), 10, "a start before the floor moves up");
        a.release(12);
        assert!(credits.refresh(14));
        assert_eq!((credits.limit(), credits.held_by()), (20, Some(0)));
        a.release(99);
        assert!(credits.refresh(14));
        assert_eq!(credits.limit(), 22, "a word ahead of the producer counts as the producer's place");
        a.release(3);
        assert!(!credits.refresh(15), "the consumer of an Fctl is waited for, wherever it was left");
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn hints_of_the_dead_do_not_count() {
        let (a, b, word) = (ConsumerSlot::new(), ConsumerSlot::new(), AtomicU64::new(0));
        let credits = Credits::new(Slots::watching([&a, &b].into_iter()), 0, &word, 8);
        let read = || {
            let changed = credits.signals_changed();
            credits.read_signals();
            (changed, credits.hints().collect::<Vec<_>>())
        };
        for slot in [&a, &b] {
            slot.claim(0, false, Barrier::Fence);
            slot.hint(7);
        }
        assert_eq!(read(), (true, vec![7, 7]));
        assert_eq!(read(), (false, vec![7, 7]));
        assert_eq!(credits.reap_dead(|slot| slot != 0), 1);
        assert_eq!(credits.hints().collect::<Vec<_>>(), [0, 7]);
        b.release(1);
        assert!(credits.refresh(8));
        assert_eq!(credits.counted(), 1);
        b.hint(0);
        assert_eq!(read(), (true, vec![0, 0]));
        // Its slot has another owner: known by that one's hints, before credits are asked for.
        a.claim(1, false, Barrier::Fence);
        assert_eq!(read(), (true, vec![0, 0]));
        a.hint(3);
        assert_eq!(read(), (true, vec![3, 0]));
        a.leave();
        assert_eq!(read(), (true, vec![0, 0]));
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn a_dead_owner_is_ignored_until_the_next_claim() {
        let (a, b, word) = (ConsumerSlot::new(), ConsumerSlot::new(), AtomicU64::new(0));
        let slots = Slots::watching([&a, &b].into_iter());
        let credits = Credits::new(slots, 0, &word, 8);
        a.claim(2, false, Barrier::Fence);
        b.claim(5, false, Barrier::Fence);
        assert!(credits.refresh(8));
        assert_eq!(credits.limit(), 10);
        assert!(!credits.refresh(8));
        assert_eq!(credits.held_by(), Some(0));
        credits.reap_dead(|slot| slot != 0);
        assert!(credits.refresh(8));
        assert_eq!(credits.limit(), 13);
        a.claim(6, false, Barrier::Fence);
        a.settle(6, &word, usize::MAX);
        b.leave();
        assert!(credits.refresh(8));
        assert_eq!((credits.limit(), credits.held_by()), (14, Some(0)));
        assert_eq!(credits.attached().collect::<Vec<_>>(), [(0, 6)]);
        a.release(1);
        assert!(credits.refresh(9));
        assert_eq!(credits.limit(), 17, "a demand before the floor is ignored");
    }
}
