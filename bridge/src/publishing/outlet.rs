//! [`Outlet`]: where the thread that reads a link puts network messages. It waits or drops when the network takes no more,
//! and says what is left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::about::About;
use super::packing::Packed;
use super::queue::{Kind, Outgoing};
use super::sending::Shared;
use crate::context::Context;
use crate::counts::Counts;
use crate::settings::Congestion;
use crate::wire::{EndCause, GapCause, Origin, encode_end, encode_gap};

/// Time between two events of one kind.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// Fragments that follow each other and are not sent, for one reason.
#[derive(Debug, Clone, Copy)]
struct Gap {
    origin: Origin,
    first: u64,
    count: u64,
    cause: GapCause,
}

/// Where network messages of one link go.
pub(super) struct Outlet {
    pub(super) shared: Arc<Shared>,
    context: Context,
    congestion: Congestion,
    /// What has to be said before anything else is sent.
    gap: Option<Gap>,
    lost: Said,
    dropped: Said,
}

impl Outlet {
    pub(super) fn new(shared: Arc<Shared>, context: &Context, congestion: Congestion) -> Self {
        let context = context.clone();
        Self { shared, context, congestion, gap: None, lost: Said::default(), dropped: Said::default() }
    }

    /// Fragments. Waits if the queue is full, or drops them.
    pub(super) fn send(&mut self, origin: Origin, packed: Packed) {
        let Packed { bytes, first, count, payload } = packed;
        let message =
            Outgoing { bytes, next: first.wrapping_add(count), kind: Kind::Fragments(count, payload) };
        if self.congestion == Congestion::Block {
            self.shared.queue.push(message, &self.context.stop);
        } else if !self.say_gap() || self.shared.queue.try_push(message).is_err() {
            Counts::add(&self.shared.counts.dropped, count);
            self.dropped.add(first, count);
            self.leave_out(Gap { origin, first, count, cause: GapCause::Congestion });
        }
    }

    /// Fragments that the link does not have any more. What was read before them was sent.
    pub(super) fn lose(&mut self, origin: Origin, first: u64, count: u64, cause: GapCause) {
        Counts::add(&self.shared.counts.lost_at_origin, count);
        self.lost.add(first, count);
        self.leave_out(Gap { origin, first, count, cause });
        self.say_gap();
    }

    /// The number of the next fragment is `next`. What the link is may have changed.
    pub(super) fn state(&mut self, about: &Arc<About>, next: u64) {
        self.insist(Outgoing { bytes: about.state(next), next, kind: Kind::State(about.clone()) });
    }

    /// Nothing follows for now.
    pub(super) fn end(&mut self, origin: Origin, next: u64, cause: EndCause) {
        let why = match cause {
            EndCause::Closed => Some("the producer has ended"),
            EndCause::Stopped => Some("the link was stopped"),
            EndCause::Removed => Some("the link was removed"),
            EndCause::ProducerGone => Some("the producer died"),
            EndCause::BridgeLeft | EndCause::Other => None,
        };
        if let Some(why) = why {
            self.context.journal.note(self.shared.event("ended", why));
        }
        self.insist(Outgoing { bytes: encode_end(origin, next, cause), next, kind: Kind::End(cause) });
        self.report(true);
    }

    /// Whether nothing was left out that was not said.
    pub(super) fn has_said_all(&self) -> bool {
        self.gap.is_none()
    }

    /// To be called often, also while nothing comes: says what could not be said before.
    pub(super) fn catch_up(&mut self) {
        self.say_gap();
        self.report(false);
    }

    /// Appends the gap before, and then the message. Waits if the queue is full, however congestion is treated: such
    /// messages are few.
    fn insist(&mut self, message: Outgoing) {
        if let Some(gap) = self.gap.take() {
            self.shared.queue.push(gap.message(), &self.context.stop);
        }
        self.shared.queue.push(message, &self.context.stop);
    }

    fn leave_out(&mut self, gap: Gap) {
        match &mut self.gap {
            // They follow each other. Whatever was the reason, they are not told one by one because of congestion.
            Some(before) if before.origin == gap.origin => {
                if before.cause != gap.cause {
                    before.cause = GapCause::Congestion;
                }
                before.count = before.count.wrapping_add(gap.count);
            }
            Some(_) => {
                if let Some(before) = self.gap.replace(gap) {
                    self.shared.queue.push(before.message(), &self.context.stop);
                }
            }
            None => self.gap = Some(gap),
        }
    }

    /// Whether there is no gap to be said any more.
    fn say_gap(&mut self) -> bool {
        let Some(gap) = self.gap.take() else { return true };
        let message = gap.message();
        if self.congestion == Congestion::Block {
            self.shared.queue.push(message, &self.context.stop);
        } else if self.shared.queue.try_push(message).is_err() {
            self.gap = Some(gap);
            return false;
        }
        true
    }

    /// Writes events of what was lost and dropped: those that are due, or `all`.
    fn report(&mut self, all: bool) {
        let shared = &self.shared;
        if let Some((first, count)) = self.lost.take(all) {
            let message = format!("the bridge was too slow for the link, and lost {count} fragments");
            self.context.journal.note(shared.event("gap", message).of_fragments(first, count));
        }
        if let Some((first, count)) = self.dropped.take(all) {
            let message = format!("the network was too slow, and {count} fragments were dropped");
            self.context.journal.note(shared.event("dropped", message).of_fragments(first, count));
        }
    }
}

impl Gap {
    fn message(self) -> Outgoing {
        let Self { origin, first, count, cause } = self;
        let bytes = encode_gap(origin, first, count, cause);
        Outgoing { bytes, next: first.wrapping_add(count), kind: Kind::Gap }
    }
}

/// Fragments that an event will tell of.
#[derive(Debug, Default)]
struct Said {
    /// The first of them, and how many there are.
    due: Option<(u64, u64)>,
    last: Option<Instant>,
}

impl Said {
    fn add(&mut self, first: u64, count: u64) {
        let due = self.due.get_or_insert((first, 0));
        due.1 = due.1.saturating_add(count);
    }

    fn take(&mut self, all: bool) -> Option<(u64, u64)> {
        self.due?;
        let now = Instant::now();
        if !all && self.last.is_some_and(|last| now - last < SAID_EVERY) {
            return None;
        }
        self.last = Some(now);
        self.due.take()
    }
}
