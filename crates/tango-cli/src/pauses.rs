//! [`Pauses`]: the time between two looks at what nobody reports, like the coming of a link.

use std::thread;
use std::time::Duration;

/// The first pause: too short to be noticed.
const FIRST: Duration = Duration::from_millis(1);
/// The longest: a look takes up to a tenth of a millisecond of processor time, so less than a hundredth of a core.
const LONGEST: Duration = Duration::from_millis(30);

/// Pauses that become longer: what comes soon is seen soon, and what does not costs next to nothing.
#[derive(Debug)]
pub(crate) struct Pauses(Duration);

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    /// Sleeps for the next one.
    pub(crate) fn pass(&mut self) {
        thread::sleep(self.0);
        self.0 = (self.0 * 2).min(LONGEST);
    }
}
