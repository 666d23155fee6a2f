//! A reader that *follows* looks where the newest fragment is shown, and not in the ring: see [`hot_slot`](crate::ring::hot_slot).
//! When it begins to is in [`Consumer::pace_idle_look`] and [`Consumer::end_of_run`].

use super::{FOLLOW_MOST, FOLLOW_PROMPT, LOOKS_BEHIND_NEWEST, PACE_STEP, Pace};
use crate::consumer::Consumer;
use crate::credits::slot::Hints;
use crate::ring::hot_slot::HotSlot;
use crate::ring::line::LineState;
use crate::ring::seq;

/// Who has found `AWAY_MOST` fragments in a row announced only follows no more for `AWAY_FOR` fragments: the way there
/// costs it more than it saves. (An observer beside consumers that do not follow; or they come in batches of one.)
const AWAY_MOST: u32 = 4;
const AWAY_FOR: u64 = 1024;

impl Pace {
    /// A follower has found fragment `n`. Whether it should follow on.
    #[inline(always)]
    fn found_newest(&mut self, n: u64) -> bool {
        let is_prompt = n != self.idle_at || self.waited() <= FOLLOW_PROMPT;
        self.prompt = if is_prompt { self.prompt + 1 } else { 0 };
        self.prompt < FOLLOW_MOST
    }
}

impl<'a> Consumer<'a> {
    /// Looks for the newest fragment from now on.
    pub(super) fn follow(&mut self) {
        let helps = !seq::is_before(self.next, self.pace.follow_from);
        if helps && self.parts.head.hot_slot.is_used() {
            self.pace.follows = true;
            self.shown = self.where_shown();
            self.note_plain();
            self.tell(Hints { follows: true, ..self.pace.told });
        }
    }

    /// Where the newest fragment is shown: to this reader apart, or to all.
    pub(in crate::consumer) fn where_shown(&self) -> &'a HotSlot {
        let apart = self.mode.seat().and_then(|seat| seat.hot_slot(self.next));
        apart.unwrap_or(&self.parts.head.hot_slot)
    }

    /// Who has not followed for some time takes back that it does.
    pub(super) fn ask_whether_to_stop_telling(&mut self) {
        if !self.pace.follows && self.next.wrapping_sub(self.pace.in_ring_from) >= PACE_STEP {
            self.tell(Hints { follows: false, ..self.pace.told });
        }
    }

    /// Tells the producer what has changed. Not each time that this reader begins or ends to follow, for the producer would
    /// have to fetch the word.
    pub(super) fn tell(&mut self, hints: Hints) {
        if core::mem::replace(&mut self.pace.told, hints) != hints {
            if let Some(seat) = self.mode.seat() {
                seat.slot().hint(hints);
            }
        }
    }

    /// A producer that is stopped may have put a fragment into the ring and not shown it as the newest yet. Seldom, since
    /// it takes the line away from one that is about to write there.
    pub(in crate::consumer) fn look_behind_newest(&mut self) {
        // The look that has just found nothing is counted already.
        let is_due = self.pace.idle_looks % LOOKS_BEHIND_NEWEST == 1;
        if is_due
            && self.pace.follows
            && self.parts.ring.line(self.next).state(self.next) != LineState::NotYet
        {
            self.follow_no_more();
        }
    }

    /// Looks in the ring from now on.
    #[inline(always)]
    pub(in crate::consumer) fn stop_following(&mut self) {
        if self.pace.follows {
            self.follow_no_more();
        }
    }

    #[cold]
    fn follow_no_more(&mut self) {
        let pace = &mut self.pace;
        pace.follows = false;
        pace.in_ring_from = self.next;
        pace.prompt = 0;
        pace.gate = self.next.wrapping_add(pace.step);
        pace.paced_at = self.next;
        // What it has found where the newest is shown has not been touched in the ring.
        pace.uncleaned = self.next;
        self.note_plain();
    }

    /// A follower has found at least the metadata of the next fragment.
    #[inline(always)]
    pub(in crate::consumer) fn not_sent_away(&mut self) {
        self.pace.away = 0;
    }

    /// A follower has found that the next fragment was announced only.
    #[cold]
    pub(in crate::consumer) fn sent_away(&mut self) {
        self.pace.away += 1;
        if self.pace.away == AWAY_MOST {
            self.pace.away = 0;
            self.pace.follow_from = self.next.wrapping_add(AWAY_FOR);
            self.stop_following();
        }
    }

    /// Moves on to `next`, behind a fragment that was found where the newest is shown.
    #[inline(always)]
    pub(in crate::consumer) fn consumed_newest(&mut self, next: u64) {
        let follows_on = self.pace.found_newest(self.next);
        self.consumed(next);
        if !follows_on {
            self.follow_no_more();
        }
    }
}

#[cfg(all(test, not(loom), feature = "alloc"))]
mod tests {
    use super::super::tests::link;
    use super::super::{FOLLOW_STEADY, FOLLOW_STEADY_WAITED};
    use super::*;
    use crate::Link;

    #[test]
    fn an_observer_beside_others_does_not_follow_for_nothing() {
        let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
        let (tx, mut rx, mut observer) =
            (link.producer().unwrap(), link.consumer().unwrap(), link.observer().unwrap());
        let mut publish = |observer: &mut Consumer<'_>| {
            tx.send(b"to both").unwrap();
            assert!(rx.poll().unwrap().is_some());
            assert_eq!(observer.poll().unwrap().unwrap().payload.as_slice(), b"to both");
        };
        // After some laps the producer knows that it has a consumer.
        (0..32).for_each(|_| publish(&mut observer));
        let follows = |observer: &mut Consumer<'_>| {
            (0..32).for_each(|_| assert!(observer.poll().unwrap().is_none()));
            observer.pace.follows
        };
        for _ in 0..AWAY_MOST {
            assert!(follows(&mut observer));
            publish(&mut observer);
        }
        assert!(!follows(&mut observer));
        (0..AWAY_FOR).for_each(|_| publish(&mut observer));
        assert!(follows(&mut observer));
    }

    /// As a stopped process leaves it: in the ring, and not where the newest is shown.
    #[test]
    fn a_follower_finds_what_is_in_the_ring_only() {
        let (tx, mut rx) = link();
        tx.send(b"whole").unwrap();
        assert!(rx.poll().unwrap().is_some());
        (0..32).for_each(|_| assert!(rx.poll().unwrap().is_none()));
        assert!(rx.pace.follows);
        let meta = crate::FragmentMetadata::in_slot(rx.next, 0, 7, 0, 0);
        rx.parts.ring.line(rx.next).publish(&meta);
        let looks = LOOKS_BEHIND_NEWEST + 1;
        if cfg!(miri) {
            rx.pace.idle_looks = looks - 64;
        }
        let found = (0..looks).find_map(|_| rx.poll().unwrap().map(|found| found.meta.sig));
        assert_eq!(found, Some(7));
    }

    #[test]
    fn who_waits_a_little_for_each_follows_soon() {
        let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let mut one = |looks: u32| {
            (0..looks).for_each(|_| assert!(rx.poll().unwrap().is_none()));
            tx.send(b"one by one").unwrap();
            assert!(rx.poll().unwrap().is_some());
            rx.pace.follows
        };
        assert!((0..100).all(|_| !one(FOLLOW_STEADY_WAITED - 1)));
        let unsteady = |at: u32| if at % FOLLOW_STEADY == 0 { 0 } else { FOLLOW_STEADY_WAITED };
        assert!((0..100).all(|at| !one(unsteady(at))));
        let steady = (0..100).position(|_| one(FOLLOW_STEADY_WAITED)).unwrap();
        assert!((1..=FOLLOW_STEADY as usize + 1).contains(&steady), "{steady}");
        assert!((0..100).all(|_| one(FOLLOW_STEADY_WAITED)), "and goes on");
    }

    #[test]
    fn who_does_not_follow_any_more_says_so() {
        let link = Link::builder().depth(8).mtu(64).consumers(1).build().unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        (0..32).for_each(|_| assert!(rx.poll().unwrap().is_none()));
        assert!(rx.pace.follows && rx.pace.told.follows);
        let mut read = |fragments: u64| {
            for _ in 0..fragments {
                tx.send(b"one by one").unwrap();
                assert!(rx.poll().unwrap().is_some());
            }
            assert!(rx.poll().unwrap().is_none());
            (rx.pace.follows, rx.pace.told.follows)
        };
        assert_eq!(read(1), (true, true));
        assert_eq!(read(u64::from(FOLLOW_MOST)), (false, true));
        assert_eq!(read(PACE_STEP), (false, false));
    }
}
