//! [`Far`]: a link here into which fragments of another machine are published.
//!
//! Its heartbeat word, which no producer of it uses otherwise, has a *mark*: that a bridge has made it, and for which link at
//! the origin. So a bridge that is started again knows whether it may continue, and leaves alone what it has not made.

use std::path::Path;
use std::time::Duration;

use rust_tango::{Link, LinkError, Producer, TangoError};

use super::plan::Plan;
use crate::context::Stop;
use crate::wire::Fragment;

/// How long one call waits for the consumers before it looks whether the bridge ends.
const SLICE: Duration = Duration::from_millis(50);
/// How many numbers one call leaves out before it looks whether the bridge ends.
const PIECE: u64 = 1 << 16;

/// A far link with its producer.
#[derive(Debug)]
pub(super) struct Far {
    link: Link,
    producer: Producer<'static>,
}

/// What there is of the name of a far link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// No link, or one that has ended for good, or something that cannot be opened.
    Nothing,
    /// A link into which nothing was published.
    Unused,
    /// One that was made for the same link at the origin.
    Same,
    /// One that was made for another link at the origin.
    Another,
    /// One that no bridge has made.
    NotOurs,
}

/// Why a fragment was not published, or numbers were not left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bridge ends, and would have to wait.
    Stopping,
    /// The far link was stopped or removed here.
    Gone,
    /// The payload is larger than the far link takes.
    TooLarge,
}

/// The mark of a far link for the link with this identity.
fn mark(link: u64) -> u64 {
    const MADE_BY_A_BRIDGE: u64 = 0x7462 << 48;
    // A product with an odd number has all that its factor has. What is cut off below is mixed into the rest before.
    let mixed = (link ^ link >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    MADE_BY_A_BRIDGE | mixed >> 16
}

fn is_mark(word: u64) -> bool {
    word >> 48 == mark(0) >> 48
}

/// What there is of this name, for a link with this identity at the origin. It may change at once.
pub(super) fn find(folder: &Path, name: &str, link: u64) -> Found {
    let Ok(found) = Link::open_in(folder, name) else { return Found::Nothing };
    let status = found.status();
    match status.heartbeat {
        _ if status.stopped => Found::Nothing,
        word if word == mark(link) => Found::Same,
        word if is_mark(word) => Found::Another,
        0 if status.next == status.start => Found::Unused,
        _ => Found::NotOurs,
    }
}

/// Whether there is a link of this name that was made for the link with this identity at the origin, also if it was stopped.
pub(super) fn is_of(folder: &Path, name: &str, link: u64) -> bool {
    Link::open_in(folder, name).is_ok_and(|found| found.status().heartbeat == mark(link))
}

/// Ends the link of this name for good, whatever its sizes are, unless its producer lives. Removes it if `remove` is true. Then
/// one that is closed is not stopped: its readers would take that for an end before the last fragments.
pub(super) fn end(folder: &Path, name: &str, remove: bool) -> Result<(), LinkError> {
    let link = Link::open_in(folder, name)?;
    let status = link.status();
    if remove && (status.closed || status.stopped) {
        return removed(&link);
    }
    let producer = link.producer()?;
    Far { link, producer }.end(remove)
}

fn removed(link: &Link) -> Result<(), LinkError> {
    match link.remove() {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

impl Far {
    /// Makes the far link for a link with this identity at the origin, with `start` as its first number. Or continues the one
    /// that is there.
    ///
    /// # Errors
    ///
    /// See [`rust_tango::LinkBuilder::create_or_take_over`].
    pub(super) fn open(
        plan: &Plan,
        start: u64,
        link: u64,
        patience: Option<Duration>,
    ) -> Result<Self, LinkError> {
        let made = plan.builder(start).create_or_take_over(&plan.name)?;
        let mut producer = made.producer()?;
        producer.beat(mark(link));
        if let Some(patience) = patience {
            producer = producer.with_patience(patience);
        }
        Ok(Self { link: made, producer })
    }

    /// The number of the next fragment.
    pub(super) fn next(&self) -> u64 {
        self.producer.next_seq()
    }

    /// Publishes a fragment, which has the next number. Waits for the consumers of the far link.
    pub(super) fn publish(&self, fragment: &Fragment<'_>, stop: &Stop) -> Result<(), Fault> {
        let Fragment { payload, sig, ctl, ts, .. } = *fragment;
        let mut result = self.producer.publish(payload, sig, ctl, ts);
        while result == Err(TangoError::NoCredits) {
            if stop.is_set() {
                return Err(Fault::Stopping);
            }
            result = self.producer.publish_timeout(payload, sig, ctl, ts, SLICE);
        }
        match result {
            Ok(_) => Ok(()),
            Err(TangoError::TooLarge { .. }) => Err(Fault::TooLarge),
            Err(_) => Err(Fault::Gone),
        }
    }

    /// Leaves out the next `count` numbers. Waits for the consumers of the far link. Returns how many were left out, and why
    /// not all.
    pub(super) fn leave_out(&self, count: u64, stop: &Stop) -> (u64, Result<(), Fault>) {
        let mut done = 0;
        while done < count {
            match self.producer.skip_timeout((count - done).min(PIECE), SLICE) {
                Ok(now) => done += now,
                Err(_) => return (done, Err(Fault::Gone)),
            }
            if stop.is_set() && done < count {
                return (done, Err(Fault::Stopping));
            }
        }
        (done, Ok(()))
    }

    /// Ends the far link for good. Readers that are attached read what is there. Removes it if `remove` is true.
    ///
    /// # Errors
    ///
    /// See [`Link::stop`] and [`Link::remove`].
    pub(super) fn end(self, remove: bool) -> Result<(), LinkError> {
        let Self { link, producer } = self;
        link.stop()?;
        drop(producer);
        if remove { removed(&link) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_links_apart() {
        let links = [0, 1, 2, 1 << 31, 1 << 32, 1 << 63, u64::MAX, u64::MAX - 1];
        for (at, one) in links.iter().enumerate() {
            assert!(is_mark(mark(*one)));
            assert!(links[at + 1..].iter().all(|other| mark(*one) != mark(*other)), "{one}");
        }
        assert!(!is_mark(0) && !is_mark(1_800_000_000) && !is_mark(u64::MAX));
    }
}
