//! What happens to a reader besides fragments: it joins, is lapped or evicted, and learns that its producer
//! has closed the link, died, or been replaced.

use super::pace::Pace;
use super::{Attachment, Consumer, Mode, Start};
use crate::error::TangoError;
use crate::memory::parts::{Ending, Parts};
use crate::ring::hot_slot::HotCopy;
#[cfg(any(feature = "std", loom))]
use crate::ring::line::LineState;
use crate::ring::seq;
use crate::sync::{Acquire, Relaxed, fence, intact, ordering};
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::waiting::eventcount::Eventcount;
use crate::waiting::wait::Wait;
#[cfg(feature = "std")]
use crate::waiting::wait::Waiting;

/// The `streak` of a reader that has been sent past every number there is. No link has carried so many: words that
/// were made up would send it round for ever.
pub(super) const ASTRAY: u32 = u32::MAX;

impl<'a> Consumer<'a> {
    /// A consumer that reads `parts` from `start` on: reliable with a slot (which the caller has made
    /// sure is nobody else's), otherwise an observer with room in its scratch.
    pub(crate) fn attach(parts: Parts<'a>, mode: Mode<'a>, start: Start, attachment: Attachment<'a>) -> Self {
        let (oldest, upcoming) = parts.extent();
        let next = match start {
            Start::Next => upcoming,
            Start::Oldest => oldest,
            Start::At(seq) => seq,
        };
        // Before the claim: an eviction of this reader comes behind that, so it is one that the reader does not know of.
        let evictions = parts.head.lifecycle.evicted.load(Relaxed);
        if let Some(seat) = mode.seat() {
            seat.claim(next, mode.is_evictable());
        }
        let evictions =
            if intact("consumer.evictions") { evictions } else { parts.head.lifecycle.evicted.load(Relaxed) };
        let pace = Pace::new(next, &parts, mode.seat().is_some());
        let mut consumer = Self {
            next,
            pace,
            shown: &parts.head.hot_slot,
            copied: HotCopy::new(),
            joined: false,
            ready: false,
            plain_until: next,
            missed: 0,
            missed_evicted: false,
            parts,
            mode,
            streak: 0,
            skipped: 0,
            // Far from any number that is read soon.
            resumed_at: next.wrapping_sub(1 << 62),
            dead_producer: None,
            takeovers: parts.head.lifecycle.takeovers.load(Relaxed),
            evictions,
            wait: Wait::default(),
            metrics: None,
            attachment,
        };
        if consumer.parts.head.is_bound() {
            consumer.join(matches!(start, Start::At(_)));
            consumer.ready = consumer.missed == 0;
            consumer.note_plain();
        }
        consumer
    }

    /// Settles a reliable consumer in its place, now that there are lines. What is gone of what it
    /// asked for is reported, or (`exact` false) was not asked for that exactly.
    pub(super) fn join(&mut self, exact: bool) {
        if let Some(seat) = self.mode.seat() {
            let start = self.next;
            self.next = seat.settle(start, &self.parts.head.credit.floor);
            seat.close_hot_slot(self.next);
            if exact {
                self.missed = self.next.wrapping_sub(start);
            } else {
                seat.slot().count_from(self.next);
            }
        }
        self.joined = true;
    }

    #[cold]
    pub(super) fn report_missed(&mut self) -> TangoError {
        let lost = core::mem::take(&mut self.missed);
        if let Some(seat) = self.mode.seat() {
            seat.slot().count_lost(lost);
        }
        if let Some(metrics) = &self.metrics {
            metrics.event();
        }
        if core::mem::take(&mut self.missed_evicted) {
            TangoError::Evicted { lost, next: self.next }
        } else {
            TangoError::Overrun { lost, next: self.next }
        }
    }

    /// The next fragment is gone: goes on behind the gap. At the oldest fragment that is there, the first
    /// time; if that does not last, in the middle between it and the newest; then at the next to come.
    #[cold]
    pub(crate) fn overrun(&mut self) -> TangoError {
        let n = self.next;
        let (oldest, next) = self.parts.extent();
        let soon = seq::distance(self.resumed_at, n).unsigned_abs() < self.parts.ring.depth() / 2;
        self.streak = match self.streak {
            ASTRAY => ASTRAY,
            streak if soon => 2.min(streak + 1),
            _ => 0,
        };
        let ahead = seq::distance(oldest, next).max(0) as u64;
        let target = match self.streak {
            0 => oldest,
            1 => oldest.wrapping_add(ahead / 2),
            2.. => next,
        };
        // The producer's words are hints that may lag, but this much is sure: `n` is gone.
        let mut target = seq::later(target, n.wrapping_add(1));
        let evictable = self.mode.is_evictable();
        if evictable {
            self.evictions = self.parts.head.lifecycle.evicted.load(Relaxed);
            target = self.join_again(target);
        } else if let Some(seat) = self.mode.seat() {
            target = seat.settle(target, &self.parts.head.credit.floor);
        }
        let lost = target.wrapping_sub(n);
        if let Some(seat) = self.mode.seat() {
            seat.slot().count_lost(lost);
        }
        match self.skipped.checked_add(lost) {
            Some(skipped) => self.skipped = skipped,
            None => self.streak = ASTRAY,
        }
        self.next = target;
        self.resumed_at = target;
        if let Some(metrics) = &self.metrics {
            metrics.event();
        }
        if evictable {
            TangoError::Evicted { lost, next: target }
        } else {
            TangoError::Overrun { lost, next: target }
        }
    }

    /// Whether it has been told that a producer is dead.
    #[cfg(all(loom, test))]
    pub(crate) fn knows_of_a_death(&self) -> bool {
        self.dead_producer.is_some()
    }

    /// Looks for the newest fragment from now on, as if it had waited.
    #[cfg(all(loom, test))]
    pub(crate) fn following(mut self) -> Self {
        self.pace.follows = true;
        self.shown = self.where_shown();
        self.note_plain();
        self
    }

    /// Where it looks for the newest fragment, if it follows.
    #[cfg(all(test, not(loom), feature = "shm", target_os = "linux"))]
    pub(crate) fn shown_at(&self) -> usize {
        core::ptr::from_ref(self.shown).addr()
    }

    /// How the newest fragment is shown where this reader looks for it.
    #[cfg(all(loom, test))]
    pub(crate) fn shown(&self) -> &'static str {
        match self.pace.follows {
            true if core::ptr::eq(self.shown, &*self.parts.head.hot_slot) => "to all",
            true => "apart",
            false => "in the ring",
        }
    }

    pub(crate) fn ask_whether_producer_lives(&mut self) {
        #[cfg(feature = "alloc")]
        if let Attachment::Owned(claim) = &self.attachment {
            let incarnation = || self.parts.head.lifecycle.incarnation.load(Relaxed);
            // Read before asking: who does not live afterwards is that one, or one before it.
            let before = incarnation();
            // So that the word is not read behind the question, which no access to memory orders.
            fence(ordering("producer_watch.asked", Acquire));
            if !claim.producer_lives() {
                self.dead_producer =
                    Some(if intact("producer_watch.incarnation") { before } else { incarnation() });
            }
        }
    }

    /// An error, once, if a producer has come after one that had died.
    pub(super) fn ask_whether_replaced(&mut self) -> Result<(), TangoError> {
        let lifecycle = &self.parts.head.lifecycle;
        let takeovers = lifecycle.takeovers.load(Relaxed);
        // The count never falls, but for the memory of a forked child.
        if !seq::is_before(self.takeovers, takeovers) {
            return Ok(());
        }
        self.takeovers = takeovers;
        // Pairs with the Release store in `Producer::attach`.
        fence(ordering("producer_watch.replaced", Acquire));
        Err(TangoError::ProducerReplaced { first: lifecycle.taken_over_at.load(Relaxed) })
    }

    /// Joins again if the producer does not wait for this reader any more. What was lost by it is in
    /// `missed` then.
    pub(super) fn ask_whether_evicted(&mut self) {
        // Not bound: in a forked child nobody evicts.
        if !self.mode.is_evictable() || self.parts.head.lifecycle.cnc.is_fresh() {
            return;
        }
        let evictions = self.parts.head.lifecycle.evicted.load(Relaxed);
        if self.evictions != evictions {
            // Perhaps it was somebody else. Joining again is harmless then.
            self.evictions = evictions;
            let next = self.next;
            self.next = self.join_again(next);
            self.missed = self.next.wrapping_sub(next);
            self.missed_evicted = true;
            self.ready &= self.missed == 0;
        }
    }

    /// Claims the slot once more, at `start` or behind what is gone; says where it stands.
    fn join_again(&self, start: u64) -> u64 {
        self.mode.seat().map_or(start, |seat| {
            seat.claim_again(start);
            seat.settle(start, &self.parts.head.credit.floor)
        })
    }

    /// Whether nothing more will come, unless a new producer opens the link again. What was published
    /// before is visible to who asks this and then looks at the lines.
    pub(super) fn ending(&self) -> Option<Ending> {
        ending(&self.parts, self.dead_producer)
    }

    /// Sleeps until the producer has something to tell; at most for a slice.
    #[cfg(feature = "std")]
    pub(super) fn sleep(&mut self, waiting: &mut Waiting) {
        let slept =
            self.mode.seat().is_some_and(|seat| seat.sleep(waiting.longest_sleep(), || self.has_news()));
        let is_due = if slept { !self.has_news() } else { waiting.nap() };
        if is_due {
            self.ask_whether_producer_lives();
        }
    }

    /// Whether `look` would find more than nothing. (Evictions can wait: who was evicted is told when it reads.)
    #[cfg(any(feature = "std", loom))]
    fn has_news(&self) -> bool {
        self.watch().has_news()
    }

    /// What this reader waits for once it has found nothing.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn watch(&self) -> Watch<'a> {
        Watch {
            parts: self.parts,
            next: self.next,
            joined: self.joined,
            streak: self.streak,
            dead_producer: self.dead_producer,
            takeovers: self.takeovers,
            #[cfg(all(feature = "async", target_os = "linux"))]
            eventcounts: self.mode.seat().map(crate::credits::seat::Seat::eventcounts),
        }
    }

    /// What another thread asks about the producer's life; `None`: it can only live.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn question(&self) -> Option<super::Question> {
        match &self.attachment {
            Attachment::Owned(claim) => claim.question(),
            Attachment::None | Attachment::Borrowed(_) => None,
        }
    }
}

/// What a reader that has found nothing waits for: a view of the link and of where the reader stands, which
/// another thread can have.
#[cfg(any(feature = "std", loom))]
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    parts: Parts<'a>,
    next: u64,
    joined: bool,
    streak: u32,
    dead_producer: Option<u64>,
    takeovers: u64,
    /// The reader's bell and the producer's, if it has one.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) eventcounts: Option<(&'a Eventcount, &'a Eventcount)>,
}

#[cfg(any(feature = "std", loom))]
impl Watch<'_> {
    /// Whether the reader would find more than nothing.
    pub(crate) fn has_news(&self) -> bool {
        if !self.joined {
            return self.parts.head.is_bound() || self.parts.is_stopped();
        }
        let found = self.parts.ring.line(self.next).state(self.next);
        super::steps::believable(found, self.streak, self.next, &self.parts) != LineState::NotYet
            || ending(&self.parts, self.dead_producer).is_some()
            || seq::is_before(self.takeovers, self.parts.head.lifecycle.takeovers.load(Relaxed))
    }
}

/// See [`Consumer::ending`].
fn ending(parts: &Parts<'_>, dead_producer: Option<u64>) -> Option<Ending> {
    // What a producer published last was stored before it died, and the kernel said so after that;
    // `Parts::ending` has the fence.
    let ending = parts.ending();
    // Behind the state, with that fence between: who sees that a producer runs counts it, and so does not
    // take it for the one before.
    let incarnation = parts.head.lifecycle.incarnation.load(Relaxed);
    let is_dead = dead_producer == Some(incarnation);
    ending.or_else(|| is_dead.then_some(Ending::Died))
}
