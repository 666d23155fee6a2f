//! [`Reading`]: one link, from joining it to its end.
//!
//! ```text
//!   poll --> fragment --> packer --(a batch is full)-----------------> outlet --> queue
//!     '----> nothing ---> packer --(due, and the sender has nothing)---'
//!                   '---> is it closed? removed? should the bridge end? --> wait
//! ```

use std::sync::Arc;
use std::task::{self, Poll, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rust_tango::{Consumer, Fragment, Link, LinkError, TangoError};

use super::about::About;
use super::changes::Changes;
use super::outlet::Outlet;
use super::packing::Packer;
use crate::context::Context;
use crate::counts::Counts;
use crate::numbers::is_before;
use crate::settings::{self, Publish};
use crate::wire::{EndCause, GapCause};

/// Time between two looks at [`Context::stop`] while no fragment comes.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// Time between two looks at what changes without a sign.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The clock is read once for so many fragments that were there at once, and the signs are checked once for so many of these.
const TIMED_TOGETHER: u32 = 16;
const CHECKED_TOGETHER: u32 = 256;
/// A consumer that has waited in vain for so long waits with the others from then on.
const DOZES_AFTER: Duration = Duration::from_secs(1);
/// How long a batch that is due waits for a sender that still has another one. It grows from the first to the last.
const HELD: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// Why reading has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The bridge should end.
    Stopped,
    /// The link has ended, for now or for good. Everything in it was read.
    Link(EndCause),
    /// The consumer was lost, because the system refuses what waiting without a thread takes.
    Unread,
}

/// Reading one link.
pub(super) struct Reading<'a> {
    context: &'a Context,
    link: &'a Link,
    outlet: &'a mut Outlet,
    changes: &'a mut Changes,
    pub(super) about: Arc<About>,
    packer: Packer,
    /// Stay when the producer dies: the consumer is reliable.
    stays: bool,
    /// Whether [`Self::doze`] works here.
    dozes: bool,
    /// The number of the next fragment.
    pub(super) next: u64,
    /// The first fragment of another producer, to come.
    replaced_at: Option<u64>,
    looked: Instant,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        context: &'a Context,
        settings: &Publish,
        link: &'a Link,
        about: Arc<About>,
        outlet: &'a mut Outlet,
        changes: &'a mut Changes,
        dozes: bool,
    ) -> Self {
        Self {
            context,
            link,
            outlet,
            changes,
            about,
            packer: Packer::new(settings.batch, settings.delay),
            stays: settings.read == settings::Reading::Reliable,
            next: 0,
            dozes,
            replaced_at: None,
            looked: Instant::now(),
        }
    }

    /// Reads until the link has ended, or the bridge should. `missed` fragments were gone before the consumer joined.
    pub(super) fn run(&mut self, mut rx: Consumer<'static>, missed: u64) -> Ended {
        self.next = rx.next_seq();
        self.outlet.state(&self.about, self.next.wrapping_sub(missed));
        if missed > 0 {
            let first = self.next.wrapping_sub(missed);
            self.outlet.lose(self.about.origin, first, missed, GapCause::Overrun);
        }
        let mut held = HELD.0;
        // The next fragment that has not come, and since when.
        let mut awaited = (self.next, Instant::now());
        loop {
            let ended = self.drain(&mut rx).or_else(|| self.end_of(&rx));
            if let Some(ended) = ended.filter(|ended| !self.goes_on_after(*ended, &rx)) {
                return ended;
            }
            let now = Instant::now();
            // A batch that is due need not be small while the sender is busy with another one.
            let is_held = self.packer.has_no_delay()
                && self.packer.due().is_some_and(|due| due <= now)
                && !self.outlet.shared.queue.is_empty();
            let wait = if is_held {
                held = (held * 2).min(HELD.1);
                held
            } else {
                held = HELD.0;
                self.send_due(now);
                self.outlet.catch_up();
                let due = self.packer.due().map(|due| due.saturating_duration_since(now));
                due.map_or(CHECK_EVERY, |due| due.min(CHECK_EVERY))
            };
            if awaited.0 != self.next {
                awaited = (self.next, now);
            }
            let is_idle = self.packer.is_empty() && self.outlet.has_said_all();
            let ended = if self.dozes && is_idle && now - awaited.1 > DOZES_AFTER {
                match self.doze(rx) {
                    Ok((back, ended)) => {
                        rx = back;
                        ended
                    }
                    Err(_) => return Ended::Unread,
                }
            } else {
                let found = rx.wait_timeout(wait).map(|found| found.map(|fragment| self.push(&fragment)));
                found.err().and_then(|error| self.handle(error))
            };
            if let Some(ended) = ended.filter(|ended| !self.goes_on_after(*ended, &rx)) {
                return ended;
            }
        }
    }

    /// Waits for a fragment for as long as none comes. One thread of the process waits for all consumers that do so, so
    /// that links on which nothing happens take almost no processor time.
    ///
    /// # Errors
    ///
    /// The system refuses what that takes. The consumer has left the link.
    fn doze(&mut self, rx: Consumer<'static>) -> Result<(Consumer<'static>, Option<Ended>), LinkError> {
        let mut rx = rx.into_async()?;
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut task = task::Context::from_waker(&waker);
        let ended = loop {
            match rx.poll_next(&mut task) {
                Poll::Ready(Ok(found)) => {
                    if let Some(fragment) = found {
                        self.push(&fragment);
                    }
                    break None;
                }
                Poll::Ready(Err(error)) => break self.handle(error),
                Poll::Pending => {}
            }
            if self.context.stop.is_set() {
                break None;
            }
            if let Some(ended) = self.look() {
                break Some(ended);
            }
            self.outlet.catch_up();
            thread::park_timeout(LOOK_EVERY);
        };
        Ok((rx.into_inner(), ended))
    }

    /// Reads what is there. `Some`: the link has ended.
    fn drain(&mut self, rx: &mut Consumer<'static>) -> Option<Ended> {
        let mut polled = 0_u32;
        loop {
            let error = match rx.poll() {
                Ok(Some(fragment)) => {
                    self.push(&fragment);
                    None
                }
                Ok(None) => return None,
                Err(error) => Some(error),
            };
            if let Some(ended) = error.and_then(|error| self.handle(error)) {
                return Some(ended);
            }
            polled = polled.wrapping_add(1);
            if polled.is_multiple_of(TIMED_TOGETHER) && !self.packer.has_no_delay() {
                self.send_due(Instant::now());
            }
            if polled.is_multiple_of(CHECKED_TOGETHER) {
                self.outlet.catch_up();
                if self.context.stop.is_set() {
                    return None;
                }
            }
        }
    }

    /// Nothing is there now. Whether nothing more will come.
    fn end_of(&mut self, rx: &Consumer<'static>) -> Option<Ended> {
        if self.context.stop.is_set() {
            self.send_all();
            self.outlet.end(self.about.origin, self.next, EndCause::BridgeLeft);
            return Some(Ended::Stopped);
        }
        if rx.is_closed() {
            let status = self.link.status();
            let cause = match status.stopped {
                // It may have been removed since, which is told next.
                false => EndCause::Closed,
                true if !self.link.is_named() => EndCause::Removed,
                true => EndCause::Stopped,
            };
            return Some(self.ended(cause));
        }
        self.look()
    }

    /// Looks for what changes without a sign, when that is due. `Some`: another link has the name.
    fn look(&mut self) -> Option<Ended> {
        if !self.changes.are_new() && self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        if self.is_followed_by_another() {
            return Some(self.ended(EndCause::Removed));
        }
        // One that died is reported by the consumer, with the number of the first fragment of the next.
        if self.replaced_at.is_none() {
            self.note_producer();
        }
        None
    }

    /// Whether the name of the link leads to another one. A link whose name is only gone is read to its end.
    fn is_followed_by_another(&self) -> bool {
        let name = self.link.name().unwrap_or_default();
        !self.link.is_named() && Link::open_in(&self.context.folder, name).is_ok()
    }

    fn ended(&mut self, cause: EndCause) -> Ended {
        self.send_all();
        if self.about.origin.producer == 0 {
            // The first producer came and ended since the last look. Otherwise it would come again, as the next one.
            self.note_producer();
        }
        self.outlet.end(self.about.origin, self.next, cause);
        Ended::Link(cause)
    }

    #[inline]
    fn push(&mut self, fragment: &Fragment<'_>) {
        let seq = fragment.meta.seq;
        if seq != self.next {
            self.note_jump(seq);
        }
        if self.replaced_at.is_some_and(|first| !is_before(seq, first)) {
            self.note_producer();
        }
        let payload = fragment.payload.as_slice();
        while let Some(packed) = self.packer.take_before(payload.len()) {
            self.outlet.send(self.about.origin, packed);
        }
        self.packer.push(self.about.origin, &fragment.meta, payload);
        self.next = seq.wrapping_add(1);
    }

    /// What the consumer says always fits the fragment that follows. If it ever does not, nothing is lost in silence.
    #[cold]
    fn note_jump(&mut self, seq: u64) {
        self.send_all();
        if is_before(self.next, seq) {
            let count = seq.wrapping_sub(self.next);
            self.outlet.lose(self.about.origin, self.next, count, GapCause::Overrun);
        }
    }

    fn send_due(&mut self, now: Instant) {
        while let Some(packed) = self.packer.take_due(now) {
            self.outlet.send(self.about.origin, packed);
        }
    }

    fn send_all(&mut self) {
        if let Some(packed) = self.packer.take_all() {
            self.outlet.send(self.about.origin, packed);
        }
    }

    /// Handles an error of reading. `Some`: nothing more will come.
    fn handle(&mut self, error: TangoError) -> Option<Ended> {
        let (lost, cause) = match error {
            TangoError::Overrun { lost, .. } => (lost, GapCause::Overrun),
            TangoError::Evicted { lost, .. } => (lost, GapCause::Evicted),
            TangoError::Corrupt { .. } => (1, GapCause::Corrupt),
            TangoError::ProducerReplaced { first } => {
                self.replaced_at = Some(first);
                if !is_before(self.next, first) {
                    self.note_producer();
                }
                return None;
            }
            TangoError::ProducerGone => {
                let is_named = self.link.is_named();
                return Some(self.ended(if is_named { EndCause::ProducerGone } else { EndCause::Removed }));
            }
            // Reading returns no other.
            _ => return None,
        };
        self.send_all();
        self.outlet.lose(self.about.origin, self.next, lost, cause);
        self.next = self.next.wrapping_add(lost);
        None
    }

    /// Whether to read on after that. A reliable consumer stays when the producer dies, so that the next producer waits for it
    /// from its first fragment on. (Others leave: a consumer that is attached keeps others from making the link anew.)
    fn goes_on_after(&mut self, ended: Ended, rx: &Consumer<'static>) -> bool {
        if !self.stays || ended != Ended::Link(EndCause::ProducerGone) {
            return false;
        }
        while !self.context.stop.is_set() && self.link.is_named() {
            if rx.wait_for_producer(Some(CHECK_EVERY)) || rx.is_closed() {
                return true;
            }
            self.outlet.catch_up();
        }
        false
    }

    /// Another producer may have come. Its fragments begin with the next one.
    fn note_producer(&mut self) {
        self.replaced_at = None;
        let producer = self.link.metrics().producers;
        if producer == self.about.origin.producer {
            return;
        }
        // The first producer of a link replaces nobody.
        if self.about.origin.producer != 0 {
            Counts::add(&self.outlet.shared.counts.producer_restarts, 1);
            let event =
                self.outlet.shared.event("producer_restarted", "another producer has come to the link");
            self.context.journal.note(event);
        }
        self.send_all();
        let mut about = About::clone(&self.about);
        about.origin.producer = producer;
        self.about = Arc::new(about);
        self.outlet.shared.set_link(self.link.clone(), self.about.clone());
        self.outlet.state(&self.about, self.next);
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
