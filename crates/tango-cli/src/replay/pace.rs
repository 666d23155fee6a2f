//! [`Pace`]: when each fragment of a recording is due.

use std::thread;
use std::time::{Duration, Instant};

/// What a sleep may be late by. The rest is waited out without one.
const SLACK: Duration = Duration::from_micros(200);

/// The pace of a replay.
#[derive(Debug)]
pub(super) struct Pace {
    speed: f64,
    is_fast: bool,
    /// The times of the first and of the last fragment, in nanoseconds since 1970.
    first: u64,
    last: u64,
    begun: Instant,
}

impl Pace {
    pub(super) fn new(speed: f64, is_fast: bool, first: u64, last: u64) -> Self {
        Self { speed, is_fast, first, last, begun: Instant::now() }
    }

    /// The first fragment is due now.
    pub(super) fn restart(&mut self) {
        self.begun = Instant::now();
    }

    /// The replay was paused for so long.
    pub(super) fn skip(&mut self, pause: Duration) {
        self.begun += pause;
    }

    pub(super) fn is_fast(&self) -> bool {
        self.is_fast
    }

    /// How long after the beginning a fragment of this time is due.
    fn offset(&self, time: u64) -> Duration {
        let seconds = time.saturating_sub(self.first) as f64 / 1e9 / self.speed;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    pub(super) fn is_due(&self, time: u64) -> bool {
        self.is_fast || self.begun.elapsed() >= self.offset(time)
    }

    /// Sleeps until a fragment of this time is due, or for `most`.
    pub(super) fn sleep(&self, time: u64, most: Duration) {
        let remaining = self.offset(time).saturating_sub(self.begun.elapsed());
        if remaining > SLACK {
            thread::sleep((remaining - SLACK).min(most));
        } else {
            thread::yield_now();
        }
    }

    /// The time that is left, for people. `published` of `total` fragments are.
    pub(super) fn left(&self, published: u64, total: u64) -> String {
        let elapsed = self.begun.elapsed();
        let all = if self.is_fast {
            elapsed.as_secs_f64() * total as f64 / published.max(1) as f64
        } else {
            self.offset(self.last).as_secs_f64()
        };
        let seconds = (all - elapsed.as_secs_f64()).max(0.0) as u64;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!(", {hours}:{minutes:02}:{seconds:02} left")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_to_the_first_and_scaled() {
        let pace = Pace::new(2.0, false, 1_000_000_000, 7_201_000_000_000);
        assert_eq!(pace.offset(1_000_000_000), Duration::ZERO);
        assert_eq!(pace.offset(0), Duration::ZERO);
        assert_eq!(pace.offset(5_000_000_000), Duration::from_secs(2));
        assert!(pace.is_due(1_000_000_000) && !pace.is_due(7_201_000_000_000));
        assert!(pace.left(0, 10).starts_with(", 0:59:5") || pace.left(0, 10) == ", 1:00:00 left");
        assert!(Pace::new(1.0, true, 0, 0).is_due(u64::MAX));
        assert!(!Pace::new(1e-300, false, 0, 0).is_due(u64::MAX));
    }
}
