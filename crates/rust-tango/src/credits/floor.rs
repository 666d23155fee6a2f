//! [`Credits`]: how far the reliable consumers are, and so how far the producer may go.
//!
//! Each reliable consumer has a slot. Only the consumer writes it:
//!
//! ```text
//!   state = epoch | evictable | active   two flags in the low bits; above them the epoch, which rises with each claim
//!   next                                 the first fragment that the consumer still needs
//! ```
//!
//! The producer keeps the *floor*: it overwrites no fragment from the floor on. So it may publish fragment
//! `n`
//!
//! - if `n - floor < credits`. There are `depth` credits or fewer. The line of `n` held fragment
//!   `n - depth`, which is then before the floor.
//! - and if every fragment whose granules `n` overwrites is before the floor.
//!
//! It also retires no fragment from the floor on (see [`line`](crate::ring::line)).
//!
//! The producer reads the words above only when it reaches its limit. With each fragment, it reads one
//! other word of each slot, which seldom changes: does the consumer sleep?
//!
//! # Returning a credit
//!
//! A consumer stores `next` with Release. The producer loads it relaxed, and then executes an acquire
//! fence. So everything that the consumer has read happens before the producer overwrites it.
//!
//! # How the producer refreshes, and how a consumer joins
//!
//! ```text
//!   refresh (producer)                         join (consumer)
//!   R1  read all slots. The candidate is the   J1  next = start, then state = (new epoch, active)
//!       least demand. Stop if it is not        J2  fence(SeqCst)
//!       after the floor.                       J3  load the floor word. If it is after start:
//!   R2  floor word = candidate (tentative)         start = floor word, next = start, back to J2
//!   R3  fence(SeqCst)
//!   R4  read all slots again. The floor is the
//!       candidate, or a demand if one is
//!       before it. floor word = floor (final)
//! ```
//!
//! A slot's *demand* is its `next` while it is active. If there is no demand, the candidate is `n`, the
//! number that is published next.
//!
//! A demand before the last final floor is ignored. It belongs to one of these:
//!
//! - a joiner that has not reached the end of J3
//! - a consumer that an earlier producer ignored, because it was dead or evicted
//! - a consumer that reads by copy
//!
//! The consumer of an `Fctl` is an exception. While its demand is before the floor, or while there is no
//! consumer, it counts as if its demand were the floor.
//!
//! *A joiner that has settled at `s` is safe.* Let F be the final floor of refresh k. We show that F is not
//! after what the joiner still needs. The SeqCst fences of refresh k (R3) and of the joiner's last J2 have
//! an order.
//!
//! 1. *The joiner's fence comes first.* Then R4 of refresh k reads a demand `t` from the joiner's slot. It
//!    is `s` or later, and the joiner has returned everything before `t`. There are two cases:
//!    - Refresh k counts the demand. Then F <= t.
//!    - Refresh k ignores the demand, because `t` is before the final floor F' of an earlier refresh j < k.
//!      Take the first such j. The joiner's fence came after the fence of refresh j. Otherwise refresh j
//!      would have counted the joiner, and F' <= t. So in J3 the joiner loaded the floor word that refresh
//!      j stored, tentative or final, or a newer one. None of these is before F'. So s >= F' > t, which
//!      contradicts t >= s.
//! 2. *The joiner's fence comes second.* Then J3 loads a floor word that refresh k stored, tentative or
//!    final, or a newer one. None of these is before F. So s >= F.
//!
//! *Takeovers.* The proof above is about the refreshes of one producer. The next producer starts with
//! `oldest` as its floor, so the floor word may fall. But no fragment from `oldest` on was retired. A
//! joiner that settles at `s` has loaded a floor word that is not after `s`.
//!
//! - *An earlier producer stored that word.* Each later refresh of that producer counted the joiner. So
//!   that producer retired nothing that the joiner still needs, and `oldest` is not after it. So the next
//!   producer counts the joiner, too.
//! - *The new producer stored that word.* Then the proof above holds as it is.
//!
//! *Why there is an epoch.* The producer ignores the slot of a dead owner by the value of its `state` word.
//! The next claim raises the epoch, so the producer does not ignore the next owner. R1 and R4 read `state`
//! first. So they may combine an older `state` with the `next` of a later owner. That `next` is safe, or it
//! belongs to a joiner that has not reached J2.
//!
//! # Eviction
//!
//! A consumer that is *evictable* may make the producer wait for too long. The producer then ignores it in
//! the same way, although it lives. Such a consumer reads by validated copy, so nothing that it holds can
//! change. It finds out in one of two ways: the producer laps it, or it reads that the count of evictions
//! has changed. Then it claims its slot again, which raises the epoch, and joins.

#[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
use crate::credits::hold::Hold;
#[cfg(any(feature = "std", loom))]
use crate::credits::slot::{ACTIVE, EVICTABLE};
use crate::credits::watched::{Slots, Watched};
use crate::ring::seq;
use crate::sync::{Acquire, AtomicU64, Cell, Release, SeqCst, fence, ordering};
#[cfg(any(feature = "std", loom))]
use crate::waiting::eventcount::Eventcount;

/// The producer's side of flow control.
#[derive(Debug)]
pub(crate) struct Credits<'a> {
    slots: Slots<'a>,
    /// The last final floor.
    floor: Cell<u64>,
    /// The floor as consumers read it. Between R2 and R4 it may be tentative, that is, higher than the
    /// final floor.
    word: &'a AtomicU64,
    /// How many fragments the producer may be ahead of the floor: 0 to `depth`.
    credits: u64,
    /// Refreshes in a row that did not raise the floor.
    failures: Cell<u32>,
    /// Index of the slot that kept the last refresh from raising the floor further.
    held_by: Cell<Option<usize>>,
    /// How many consumers the last refresh counted.
    counted: Cell<usize>,
    /// [`Slots::asleep`] before the words were last read.
    seen: Cell<u64>,
}

impl<'a> Credits<'a> {
    /// Starts with `floor`. Everything before it may already be overwritten.
    pub(crate) fn new(slots: Slots<'a>, floor: u64, word: &'a AtomicU64, credits: u64) -> Self {
        // No fence: no fragment from `floor` on was retired. The floor word may fall here: see "Takeovers"
        // in the head of this file. Release: as in `refresh`.
        word.store(floor, ordering("credits.first_order", Release));
        Self {
            slots,
            floor: Cell::new(floor),
            word,
            credits,
            failures: Cell::new(0),
            held_by: Cell::new(None),
            counted: Cell::new(0),
            seen: Cell::new(0),
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

    /// Whether fragment `n` may be published. It overwrites the previous fragment of its line, and every
    /// fragment up to `victim`.
    #[inline]
    pub(crate) fn allow(&self, n: u64, victim: Option<u64>) -> bool {
        seq::is_before(n, self.limit())
            && victim.is_none_or(|victim| seq::is_before(victim, self.floor.get()))
    }

    /// Reads how far the consumers are (R1 to R4), up to `n`, which is published next. True: the floor
    /// rose.
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
        // R2. Release: a joiner that moves up to this floor executes another fence. It then sees everything
        // that was published before this store. Without Release, such a fragment might read as not there
        // yet for a moment.
        self.word.store(candidate, ordering("credits.tentative_order", Release));
        // R3. Pairs with the fence in `ConsumerSlot::settle`.
        fence(ordering("credits.refresh_fence", SeqCst));
        // R4. Not before the last final floor, because `least_demand` ignores such demands. Not after the
        // candidate, because a joiner that has loaded the candidate may have settled there.
        let floor = seq::earlier(candidate, self.least_demand(n));
        self.word.store(floor, ordering("credits.final_order", Release));
        // Pairs with the Release stores in `ConsumerSlot::release` and `leave`: the consumers' reads happen
        // before the producer's writes.
        fence(ordering("credits.credits", Acquire));
        self.floor.set(floor);
        let rose = seq::is_before(old, floor);
        self.failures.set(if rose { 0 } else { failures.wrapping_add(1) });
        rose
    }

    /// The least demand that is not before the floor. `n` if there is none before `n`.
    fn least_demand(&self, n: u64) -> u64 {
        let floor = self.floor.get();
        let (mut least, mut counted) = (n, 0);
        self.held_by.set(None);
        for (index, watched) in self.slots.iter().enumerate() {
            let (state, demand) = watched.slot.demand();
            if let Some(next) = demand {
                watched.progress.set(next);
            }
            let next = match demand {
                Some(_) if state == watched.ignored.get() => None,
                // The producer waits for the consumer of an `Fctl` also while there is none.
                Some(next) if self.slots.is_awaited => Some(seq::later(next, floor)),
                None if self.slots.is_awaited => Some(floor),
                demand => demand,
            };
            watched.count(next.is_some());
            let Some(next) = next else { continue };
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

    /// How many consumers the last refresh counted.
    pub(crate) fn counted(&self) -> usize {
        self.counted.get()
    }

    /// Whether all consumers that the last refresh counted are near. `measure` says it of the word of a consumer's progress.
    /// `None`: some have not moved since they are counted, and no other is far.
    pub(crate) fn are_near(&self, measure: impl Fn(&AtomicU64) -> bool) -> Option<bool> {
        let mut all_known = true;
        for watched in self.slots.iter().filter(|watched| watched.is_counted.get()) {
            match watched.is_near(&measure) {
                Some(false) => return Some(false),
                known => all_known &= known.is_some(),
            }
        }
        all_known.then_some(true)
    }

    /// How many refreshes in a row did not raise the floor.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.get()
    }

    /// The slot that kept the last refresh from raising the floor further.
    pub(crate) fn held_by(&self) -> Option<usize> {
        self.held_by.get()
    }

    /// The sum of the sleep words: see [`Slots::asleep`].
    #[inline(always)]
    pub(crate) fn asleep(&self) -> u64 {
        self.slots.asleep()
    }

    /// Whether a sleep word has changed since `read_sleep`, now that their sum is `asleep`: an owner fell asleep, or
    /// woke up.
    #[inline(always)]
    pub(crate) fn sleep_changed(&self, asleep: u64) -> bool {
        asleep != self.seen.get()
    }

    /// Reads the sleep words of all slots, after their sum was `asleep`. True: a consumer sleeps, and the producer has
    /// not notified it yet. (A word that has changed since then is read once more, after the next publish.)
    #[cold]
    pub(crate) fn read_sleep(&self, asleep: u64) -> bool {
        let mut needs_notify = false;
        for watched in self.slots.iter() {
            let mut seen = watched.seen.get();
            if watched.slot.eventcount().asleep() != seen {
                needs_notify |= watched.slot.eventcount().needs_notify(&mut seen);
                watched.seen.set(seen);
            }
        }
        self.seen.set(asleep);
        needs_notify
    }

    /// Reads the hints of all slots. True: some have changed since they were last read.
    pub(crate) fn read_hints(&self) -> bool {
        self.slots.iter().fold(false, |changed, watched| {
            let hints = watched.slot.hints();
            changed | (watched.hints.replace(hints) != hints)
        })
    }

    /// The hints of each slot's owner, in the order of the slots, as they were last read.
    pub(crate) fn hints(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().map(Watched::hints)
    }

    /// The eventcount of a slot's owner.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn eventcount(&self, slot: usize) -> Option<&'a Eventcount> {
        self.slots.iter().nth(slot).map(|watched| watched.slot.eventcount())
    }

    /// The consumer that kept the last refresh from raising the floor further, until fragment `n` has a credit. It
    /// overwrites every fragment up to `victim`. Another refresh has to show afterwards that the same slot still does.
    #[cfg(any(all(feature = "async", target_os = "linux"), all(loom, test)))]
    pub(crate) fn hold(&self, n: u64, victim: Option<u64>) -> Option<Hold<'a>> {
        let index = self.held_by.get()?;
        let slot = self.slots.iter().nth(index)?.slot;
        let by_credits = n.wrapping_sub(self.credits).wrapping_add(1);
        let until = victim.map_or(by_credits, |victim| seq::later(by_credits, victim.wrapping_add(1)));
        Some(Hold::new(index, slot, until))
    }

    /// The `state` word of the consumer that kept the last refresh from raising the floor further, if it is
    /// evictable.
    #[cfg(feature = "std")]
    pub(crate) fn held_by_evictable(&self) -> Option<u64> {
        let watched = self.slots.iter().nth(self.held_by.get()?)?;
        let (state, _) = watched.slot.demand();
        (state & (ACTIVE | EVICTABLE) == ACTIVE | EVICTABLE).then_some(state)
    }

    /// From now on, ignores the consumer that kept the last refresh from raising the floor further, while
    /// its slot has this `state`.
    #[cfg(feature = "std")]
    pub(crate) fn evict(&self, state: u64) {
        if let Some(watched) = self.held_by.get().and_then(|slot| self.slots.iter().nth(slot)) {
            watched.ignored.set(state);
        }
    }

    /// How many slots there are.
    #[cfg(feature = "std")]
    pub(crate) fn slots(&self) -> usize {
        self.slots.iter().count()
    }

    /// Calls `lives` for the owner of each slot. From now on, ignores the owners that do not live. Returns
    /// how many these were.
    ///
    /// `lives` must be certain: the memory that a dead owner had slices of is overwritten.
    #[cfg(feature = "alloc")]
    pub(crate) fn reap_dead(&self, lives: impl Fn(usize) -> bool) -> u64 {
        let mut reaped = 0;
        for (index, watched) in self.slots.iter().enumerate() {
            // Read the state first. If the owner is dead after that, then the dead owner is the one of this
            // state, or an earlier one.
            let (state, demand) = watched.slot.demand();
            if demand.is_some() && state != watched.ignored.get() && !lives(index) {
                watched.ignored.set(state);
                reaped += 1;
            }
        }
        reaped
    }

    /// The consumers that are attached now: the index of the slot, and the consumer's `next`.
    pub(crate) fn attached(&self) -> impl Iterator<Item = (usize, u64)> {
        self.slots.iter().enumerate().filter_map(|(index, watched)| {
            let (state, demand) = watched.slot.demand();
            demand.filter(|_| state != watched.ignored.get()).map(|next| (index, next))
        })
    }
}
