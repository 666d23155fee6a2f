//! [`Backoff`]: growing pauses for loops that poll for an event without a notification, such as a new link.

use std::thread;
use std::time::Duration;

/// The first pause: an event that comes soon is noticed without a visible delay.
const FIRST: Duration = Duration::from_millis(1);
/// The longest pause. One poll takes up to 0.1 ms of processor time, so a waiting command uses less than
/// 1 % of a core.
const LONGEST: Duration = Duration::from_millis(30);

/// Pauses that double from 1 ms to 30 ms.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// Sleeps for the next pause.
    pub(crate) fn sleep(&mut self) {
        thread::sleep(self.next);
        self.next = (self.next * 2).min(LONGEST);
    }
}
