//! What a reader tells a subscriber. Feature `tracing` only. See [`told`](super::told).

use super::mode::{Attachment, Mode};
use super::poll::Reader;
use crate::error::TangoError;
use crate::events::emitted::{self, Who};
use crate::sync::Relaxed;

impl Reader<'_> {
    /// The reader, as its events name it.
    pub(super) fn who(&self) -> Who<'_> {
        let (link, slot) = match &self.attachment {
            Attachment::None | Attachment::Borrowed(_) => (None, None),
            Attachment::Owned(claim) => (claim.link_name(), claim.slot()),
        };
        let kind = match &self.mode {
            Mode::Observing(_) => "observer",
            mode if mode.is_evictable() => "evictable",
            _ => "reliable",
        };
        Who { link, slot, kind }
    }

    /// Tells of this error, which the caller returns.
    #[cold]
    pub(super) fn tell(&mut self, error: TangoError) {
        let incarnation = self.parts.head.lifecycle.incarnation.load(Relaxed);
        if let Some(event) = self.told.note(error, self.next, incarnation) {
            event.emit(self.who());
        }
    }

    pub(super) fn tell_end(&self) {
        let (lost, losses) = self.told.losses();
        emitted::consumer_detached(self.who(), self.next, lost, losses);
    }
}
