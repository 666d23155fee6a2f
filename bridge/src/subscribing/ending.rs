//! What becomes of a far link when the origin, or this bridge, ends.

use std::time::Instant;

use super::arrived::Arrived;
use super::carrier::{Carrier, Removal};
use super::order::{Content, Loss, Order};
use crate::numbers::distance;
use crate::wire::EndCause;

/// So many ends are remembered. A bridge repeats one or two.
const MOST_ENDS: usize = 8;

impl Carrier {
    /// The link at the origin is another one now. The far link is removed.
    pub(super) fn link_made_anew(&mut self) {
        self.count_made_anew();
        self.give_up_far_link(true);
        (self.description, self.maker, self.refused_at, self.order) = (None, None, None, None);
        (self.is_fresh, self.follows, self.removal) = (false, true, Removal::Not);
        self.ends.clear();
    }

    /// Nothing follows for now. The bridge there repeats it every second.
    pub(super) fn end(&mut self, arrived: &Arrived, cause: EndCause) {
        let end = (arrived.origin, arrived.span.first, cause);
        // Before a removal, it may be said what was before that.
        let has_not_begun = self.order.is_none() && cause != EndCause::Removed;
        if has_not_begun || self.ends.contains(&end) {
            return;
        }
        if self.ends.len() == MOST_ENDS {
            self.ends.remove(0);
        }
        self.ends.push(end);
        let what = match cause {
            EndCause::Closed => "its producer has ended",
            EndCause::Stopped => "it was stopped",
            EndCause::Removed => "it was removed",
            EndCause::ProducerGone => "its producer died; the far link stays",
            EndCause::BridgeLeft => "the bridge there has ended; the far link stays",
            EndCause::Other => "for a reason that this version does not know; the far link stays",
        };
        self.report.note("ended", format!("at the origin: {what}"));
        match cause {
            // Its readers read what is there, and find the link closed.
            EndCause::Closed => self.far = None,
            EndCause::Stopped => self.give_up_far_link(false),
            EndCause::Removed => self.is_removed(arrived.origin.link),
            EndCause::ProducerGone | EndCause::BridgeLeft | EndCause::Other => {}
        }
    }

    /// The far link keeps its name for a while, so that programs that come a little later find what a short stream had.
    fn is_removed(&mut self, link: u64) {
        if self.far.is_some() {
            // It was removed while its producer was there.
            self.give_up_far_link(false);
        }
        self.removal = if self.order.is_some() {
            Removal::Due(Instant::now() + self.shared.settings.linger)
        } else {
            Removal::Done(link)
        };
    }

    /// Removes the far link if its time has come. Returns the identity of the link at the origin if nothing is left to be done for
    /// it.
    pub(super) fn remove_if_due(&mut self, now: Instant) -> Option<u64> {
        match (self.removal, &self.description) {
            (Removal::Due(at), Some((link, _))) if at <= now => {
                let link = *link;
                self.give_up_far_link(true);
                self.removal = Removal::Done(link);
                Some(link)
            }
            (Removal::Done(link), _) => Some(link),
            _ => None,
        }
    }

    /// This bridge ends, and nothing waits any more. What the origin has removed is not left behind.
    pub(super) fn leave(&mut self) {
        if matches!(self.removal, Removal::Due(_)) {
            self.give_up_far_link(true);
        }
    }

    /// This bridge ends, and does not take this message, or only a part of it. Counts its numbers.
    pub(super) fn leave_behind(&mut self, arrived: &Arrived) {
        // What is refused is no loss.
        if self.maker.is_none() {
            return;
        }
        let (link, span) = (arrived.origin.link, &arrived.span);
        let next = match (self.leaving, &self.order) {
            (Some((of, next)), _) if of == link => next,
            (None, Some(order)) if !self.is_fresh && self.is_of(link) => Order::next(order),
            // It would begin here.
            _ => span.first,
        };
        let missing = distance(next, span.first).max(0) as u64;
        if missing > 0 {
            self.report.lost(next, missing, Loss::NotAsked);
        }
        let from = next.wrapping_add(missing);
        let count = distance(from, span.first.wrapping_add(span.count)).max(0) as u64;
        if count > 0 {
            let loss = match span.content {
                Content::Fragments => Loss::Leaving,
                Content::Lost(cause) => Loss::Origin(cause),
                Content::Dropped => Loss::Queue,
            };
            self.report.lost(from, count, loss);
        }
        self.leaving = Some((link, from.wrapping_add(count)));
    }

    fn is_of(&self, link: u64) -> bool {
        self.description.as_ref().is_some_and(|(of, _)| *of == link)
    }
}
