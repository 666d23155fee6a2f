//! [`Source`]: which bridge a far link listens to, and what has changed at the origin. It decides, and does nothing itself.
//!
//! ```text
//!   a message of              the same bridge              another bridge
//!   less than 3 s after       taken                        rejected, but if the first has left
//!   later                     taken: the connection is     taken: the bridge was started again,
//!                             back, after a cut            or another one has taken its place
//! ```
//!
//! A bridge sends a state each second. So one that is silent for 3 seconds has ended, or cannot be reached.

use std::time::{Duration, Instant};

use crate::wire::{EndCause, Origin};

/// A bridge that is silent for so long is cut off, or gone.
pub(super) const SILENCE: Duration = Duration::from_secs(3);

/// What has changed with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Changes {
    /// It is the first message of all.
    pub(super) is_first: bool,
    /// It is of another bridge than the last one. The time is how long nothing had come.
    pub(super) bridge_restarted: Option<Duration>,
    /// The same bridge is heard again after a cut of this time.
    pub(super) reconnected: Option<Duration>,
    /// The link has another producer than at the last message.
    pub(super) is_other_producer: bool,
    /// And it had one before.
    pub(super) producer_restarted: bool,
    /// The link is another one.
    pub(super) link_made_anew: bool,
    /// There is a second bridge on this key, and this is said for the first time of this one. So many messages of it were
    /// rejected.
    pub(super) second_bridge: Option<u64>,
}

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts.
    Take(Changes),
    /// It is of a second bridge, of which nothing is known yet: perhaps the first one is dead, and that shows soon.
    Wait,
    /// It is of a second bridge, while the first one is alive.
    Reject,
    /// It is of a link that was there before this one.
    Late,
}

/// A bridge that is not listened to.
#[derive(Debug, Clone, Copy)]
struct Other {
    bridge: u64,
    rejected: u64,
    /// The first one was heard after this one.
    is_second: bool,
}

#[derive(Debug, Clone)]
struct Current {
    origin: Origin,
    heard: Instant,
    is_cut: bool,
    /// It has said that nothing follows. Silence is no cut then.
    has_left: bool,
    /// The identity of the link before, and when it was found to be gone.
    before: Option<(u64, Instant)>,
    other: Option<Other>,
}

/// See the head of this file.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    current: Option<Current>,
}

impl Source {
    /// Whether messages come.
    pub(super) fn is_up(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !current.is_cut && !current.has_left)
    }

    /// Nothing has come until `now`. True if that is a cut, once for each.
    pub(super) fn is_newly_cut(&mut self, now: Instant) -> bool {
        match &mut self.current {
            Some(current) if !current.is_cut && !current.has_left && is_silent(current.heard, now) => {
                current.is_cut = true;
                true
            }
            _ => false,
        }
    }

    /// A message has arrived, at the time `at`.
    pub(super) fn hear(&mut self, origin: Origin, at: Instant) -> Verdict {
        let Some(current) = &mut self.current else {
            self.current = Some(Current {
                origin,
                heard: at,
                is_cut: false,
                has_left: false,
                before: None,
                other: None,
            });
            return Verdict::Take(Changes { is_first: true, ..Changes::default() });
        };
        let silence = at.saturating_duration_since(current.heard);
        let is_same_bridge = origin.bridge == current.origin.bridge;
        if !is_same_bridge && !current.has_left && silence < SILENCE {
            return current.reject(origin.bridge);
        }
        let link_made_anew = origin.link != current.origin.link;
        if link_made_anew
            && current.before.is_some_and(|(link, since)| link == origin.link && !is_silent(since, at))
        {
            return Verdict::Late;
        }
        let mut changes = Changes { link_made_anew, ..Changes::default() };
        if !is_same_bridge {
            changes.bridge_restarted = Some(silence);
            current.other = None;
        } else if current.is_cut || !current.has_left && silence >= SILENCE {
            changes.reconnected = Some(silence);
        }
        if link_made_anew {
            current.before = Some((current.origin.link, at));
        } else {
            changes.is_other_producer = origin.producer > current.origin.producer;
            changes.producer_restarted = changes.is_other_producer && current.origin.producer != 0;
        }
        if let Some(other) = &mut current.other
            && !other.is_second
        {
            other.is_second = true;
            changes.second_bridge = Some(other.rejected);
        }
        // A late message can be of the producer before.
        let producer =
            if link_made_anew { origin.producer } else { origin.producer.max(current.origin.producer) };
        current.origin = Origin { producer, ..origin };
        (current.heard, current.is_cut, current.has_left) = (at, false, false);
        Verdict::Take(changes)
    }

    /// The message that was heard last is an end.
    pub(super) fn ended(&mut self, cause: EndCause) {
        if let Some(current) = &mut self.current {
            current.has_left = matches!(cause, EndCause::BridgeLeft | EndCause::Removed | EndCause::Stopped);
        }
    }
}

impl Current {
    fn reject(&mut self, bridge: u64) -> Verdict {
        match &mut self.other {
            Some(other) if other.bridge == bridge => {
                other.rejected += 1;
                if other.is_second { Verdict::Reject } else { Verdict::Wait }
            }
            _ => {
                self.other = Some(Other { bridge, rejected: 1, is_second: false });
                Verdict::Wait
            }
        }
    }
}

fn is_silent(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= SILENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hears messages of bridge, link and producer at a time in tenths of a second.
    struct Hearing {
        source: Source,
        begin: Instant,
    }

    impl Hearing {
        fn new() -> Self {
            Self { source: Source::default(), begin: Instant::now() }
        }

        fn at(&self, tenths: u64) -> Instant {
            self.begin + Duration::from_millis(100 * tenths)
        }

        fn hear(&mut self, tenths: u64, bridge: u64, link: u64, producer: u64) -> Verdict {
            let at = self.at(tenths);
            self.source.hear(Origin { bridge, link, producer }, at)
        }

        fn changes(&mut self, tenths: u64, bridge: u64, link: u64, producer: u64) -> Changes {
            match self.hear(tenths, bridge, link, producer) {
                Verdict::Take(changes) => changes,
                other => panic!("{other:?}"),
            }
        }
    }

    const NOTHING: Changes = Changes {
        is_first: false,
        bridge_restarted: None,
        reconnected: None,
        is_other_producer: false,
        producer_restarted: false,
        link_made_anew: false,
        second_bridge: None,
    };

    const ANOTHER: Changes = Changes { is_other_producer: true, producer_restarted: true, ..NOTHING };

    fn tenths(count: u64) -> Option<Duration> {
        Some(Duration::from_millis(100 * count))
    }

    #[test]
    fn a_cut_a_restart_of_the_bridge_and_one_of_the_producer_are_told_apart() {
        let mut hearing = Hearing::new();
        assert_eq!(hearing.changes(0, 1, 7, 1), Changes { is_first: true, ..NOTHING });
        assert_eq!(hearing.changes(10, 1, 7, 1), NOTHING);
        assert_eq!(hearing.changes(20, 1, 7, 2), ANOTHER);
        assert_eq!(hearing.changes(20, 1, 7, 1), NOTHING, "late");
        assert_eq!(hearing.changes(20, 1, 7, 2), NOTHING);
        let (early, due) = (hearing.at(49), hearing.at(50));
        assert!(!hearing.source.is_newly_cut(early) && hearing.source.is_up());
        assert!(hearing.source.is_newly_cut(due) && !hearing.source.is_newly_cut(due));
        assert!(!hearing.source.is_up());
        assert_eq!(hearing.changes(60, 1, 7, 2), Changes { reconnected: tenths(40), ..NOTHING });
        assert!(hearing.source.is_up());
        // Nobody looked meanwhile.
        assert_eq!(hearing.changes(90, 1, 7, 2), Changes { reconnected: tenths(30), ..NOTHING });
        assert_eq!(hearing.changes(120, 2, 7, 3), Changes { bridge_restarted: tenths(30), ..ANOTHER });
    }

    #[test]
    fn the_first_producer_follows_no_other() {
        let mut hearing = Hearing::new();
        hearing.changes(0, 1, 7, 0);
        assert_eq!(hearing.changes(1, 1, 7, 1), Changes { is_other_producer: true, ..NOTHING });
        assert_eq!(hearing.changes(2, 1, 7, 2), ANOTHER);
    }

    #[test]
    fn the_first_of_two_bridges_stays_until_it_is_silent() {
        let mut hearing = Hearing::new();
        hearing.changes(0, 1, 7, 1);
        assert_eq!(hearing.hear(1, 2, 7, 1), Verdict::Wait);
        assert_eq!(hearing.hear(2, 2, 7, 1), Verdict::Wait);
        assert_eq!(hearing.changes(3, 1, 7, 1), Changes { second_bridge: Some(2), ..NOTHING });
        assert_eq!(hearing.hear(4, 2, 7, 1), Verdict::Reject);
        assert_eq!(hearing.changes(5, 1, 7, 1), NOTHING, "said once");
        assert_eq!(hearing.hear(34, 2, 7, 1), Verdict::Reject);
        assert_eq!(hearing.changes(35, 2, 7, 1), Changes { bridge_restarted: tenths(30), ..NOTHING });
        assert_eq!(hearing.hear(36, 1, 7, 1), Verdict::Wait, "it is the second one now");
    }

    #[test]
    fn a_bridge_that_has_left_is_not_waited_for() {
        let mut hearing = Hearing::new();
        hearing.changes(0, 1, 7, 1);
        hearing.source.ended(EndCause::BridgeLeft);
        assert!(!hearing.source.is_up());
        let later = hearing.at(100);
        assert!(!hearing.source.is_newly_cut(later));
        assert_eq!(hearing.changes(101, 1, 7, 1), NOTHING, "no cut, as it had left");
        hearing.source.ended(EndCause::BridgeLeft);
        assert_eq!(hearing.changes(102, 2, 7, 1), Changes { bridge_restarted: tenths(1), ..NOTHING });
        hearing.source.ended(EndCause::ProducerGone);
        assert!(hearing.source.is_up(), "the bridge is there, and another producer may come");
    }

    #[test]
    fn another_link_is_found_and_late_messages_of_the_one_before_are_not_taken_for_it() {
        let mut hearing = Hearing::new();
        hearing.changes(0, 1, 7, 5);
        assert_eq!(hearing.changes(1, 1, 8, 1), Changes { link_made_anew: true, ..NOTHING });
        assert_eq!(hearing.hear(2, 1, 7, 5), Verdict::Late);
        assert_eq!(hearing.changes(30, 1, 8, 1), NOTHING);
        // Identities may come again.
        assert_eq!(hearing.changes(31, 1, 7, 1), Changes { link_made_anew: true, ..NOTHING });
        assert_eq!(
            hearing.changes(70, 3, 9, 1),
            Changes { link_made_anew: true, bridge_restarted: tenths(39), ..NOTHING }
        );
    }
}
