//! Where a producer shows the newest fragment once more, to who waits for it: see [`latest`](crate::latest).

use super::Producer;
use crate::frag::FragmentMetadata;
use crate::latest::Latest;
use crate::line::Content;

/// To whom the newest fragment is shown whole. All others are told that it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// To nobody: in a stream, nobody follows, and it would cost half as many stores as the fragment itself.
    Nobody,
    All,
    /// To the owner of this slot, which is the only consumer.
    Alone(usize),
}

impl<'a> Producer<'a> {
    /// Shows fragment `meta.seq` as the newest: whole in this `place`.
    #[inline(always)] // out of line, the content would go through memory
    pub(super) fn show_newest(&self, place: Option<&Latest>, meta: &FragmentMetadata, content: Content<'_>) {
        let shared = &self.parts.head.latest.0;
        if let Some(place) = place {
            place.publish(meta, content);
            if core::ptr::eq(place, shared) {
                return;
            }
        }
        shared.announce(meta.seq);
    }

    /// Shows that fragment `n` is in the ring, and all before it.
    #[inline]
    pub(super) fn announce(&self, n: u64) {
        if let Some(place) = self.place_of_newest() {
            place.announce(n);
        }
        self.parts.head.latest.0.announce(n);
    }

    /// Where fragments are shown whole.
    #[inline(always)]
    pub(super) fn place_of_newest(&self) -> Option<&'a Latest> {
        match self.showing.get() {
            Showing::Nobody => None,
            Showing::All => Some(&self.parts.head.latest.0),
            Showing::Alone(slot) => self.credits.latest(slot),
        }
    }

    /// As the consumers are, and what they tell.
    pub(super) fn choose_where_to_show(&self) {
        let showing = match self.credits.sole_follower() {
            _ if !self.credits.is_followed() => Showing::Nobody,
            Some(slot) if self.credits.latest(slot).is_some() => Showing::Alone(slot),
            _ => Showing::All,
        };
        // Models choose themselves.
        if !cfg!(loom) {
            self.show_to(showing);
        }
    }

    /// Shows fragments to these from now on, and to no others.
    fn show_to(&self, showing: Showing) {
        let before = self.showing.replace(showing);
        if let Showing::Alone(slot) = before {
            if let Some(place) = self.credits.latest(slot).filter(|_| showing != before) {
                place.end(self.next.get());
            }
        }
    }

    /// Shows fragments to the consumer in slot 0 alone from now on, or to all.
    #[cfg(all(loom, test))]
    pub(crate) fn shows_apart(&self, apart: bool) {
        self.show_to(if apart { Showing::Alone(0) } else { Showing::All });
    }
}
