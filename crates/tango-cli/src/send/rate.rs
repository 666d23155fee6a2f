//! [`Rate`]: messages at a steady rate.

use std::thread;
use std::time::{Duration, Instant};

/// Messages that are late by no more than this are made up for, so that what a sleep is late by does not add up. What was
/// missed before, in a stall, is not: a receiver would get it as a burst.
const MADE_UP: Duration = Duration::from_millis(10);
/// The longest time between two messages. A clock can count so far.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// When the next message may be sent.
#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    /// `None`: no message was sent so far.
    due: Option<Instant>,
}

impl Rate {
    /// So many messages a second, over 0.
    pub(super) fn new(messages: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / messages).unwrap_or(LONGEST);
        Self { interval: interval.min(LONGEST), due: None }
    }

    /// Waits until the next message is due.
    pub(super) fn wait(&mut self) {
        loop {
            let left = self.left(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left);
        }
    }

    /// How long it is until the next message is due. If it is due now, it counts as sent.
    fn left(&mut self, now: Instant) -> Duration {
        let due = self.due.unwrap_or(now);
        if due > now {
            return due - now;
        }
        let earliest = now.checked_sub(MADE_UP).unwrap_or(now);
        self.due = Some(due.max(earliest) + self.interval);
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as many messages as may be sent at this moment.
    fn burst(rate: &mut Rate, now: Instant) -> usize {
        (0..10_000).take_while(|_| rate.left(now).is_zero()).count()
    }

    #[test]
    fn messages_are_evenly_spaced_and_late_ones_are_made_up_for() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut rate = Rate::new(1000.0);
        assert_eq!(burst(&mut rate, at(0)), 1);
        assert_eq!(rate.left(at(0)), Duration::from_millis(1));
        assert_eq!(burst(&mut rate, at(1)), 1);
        assert_eq!(burst(&mut rate, at(5)), 4, "a sleep was too long");
        assert_eq!(burst(&mut rate, at(6)), 1);
    }

    #[test]
    fn a_stall_is_not_made_up_for() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut rate = Rate::new(1000.0);
        assert_eq!(burst(&mut rate, at(0)), 1);
        assert_eq!(burst(&mut rate, at(60)), 11, "those of 10 ms, and the one that is due");
        let mut slow = Rate::new(1.0);
        assert_eq!([0, 60, 60, 61].map(|seconds| burst(&mut slow, at(seconds))), [1, 1, 0, 1]);
    }

    #[test]
    fn extreme_rates_are_possible() {
        let now = Instant::now();
        let mut fast = Rate::new(f64::MAX);
        assert_eq!(burst(&mut fast, now), 10_000);
        let mut slow = Rate::new(f64::MIN_POSITIVE);
        assert_eq!((burst(&mut slow, now), slow.left(now)), (1, LONGEST));
    }
}
