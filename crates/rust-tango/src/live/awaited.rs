//! [`Watch`]: what an end of a link waits for, as the watcher sees it.

use std::time::Instant;

use crate::consumer::{FragmentWatch, LinkEnd};
use crate::memory::share::LinkMemory;
use crate::producer::CreditWatch;
use crate::waiting::eventcount::Eventcount;
use crate::waiting::kernel;

/// Which ends of which link these are, for one process: its readers, or its producer. And the address of the producer's
/// eventcount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LinkId {
    Readers(usize),
    Producer(usize),
}

/// What an end of a link waits for after it has found nothing: a view of the link, and of where the end is.
#[derive(Clone, Copy)]
pub(super) enum Watch {
    /// A reader waits for a fragment, or for the end of the link.
    Fragment(FragmentWatch<'static>),
    /// A producer waits for credits, or for a time. It waits alone: a link has one producer.
    Credit(CreditWatch<'static>),
}

/// What is the same for all ends that wait together.
pub(super) enum Common {
    OfReaders(LinkEnd),
    /// There is one producer.
    Nothing,
}

/// The other side of a link, whose death ends the wait.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    Producer,
    /// The consumer in this slot.
    Consumer(usize),
}

impl Watch {
    pub(super) fn id(&self) -> LinkId {
        let at = |producer: &Eventcount| std::ptr::from_ref(producer).addr();
        match self {
            Self::Fragment(watch) => LinkId::Readers(at(watch.notifier())),
            Self::Credit(watch) => LinkId::Producer(at(watch.own())),
        }
    }

    /// Whether somebody can wake the watcher for this end, whatever it waits for.
    ///
    /// The watcher sleeps on the eventcount of the consumer that holds the producer back, and this may soon be another
    /// one. So it has to listen to `control` as well, which is a second word.
    pub(super) fn is_woken(&self) -> bool {
        match self {
            Self::Fragment(watch) => watch.own.is_some(),
            Self::Credit(_) => kernel::can_sleep_on_all(),
        }
    }

    /// The eventcount in which the end announces its sleep. `None`: nobody can wake the watcher for this.
    pub(super) fn own(&self) -> Option<&'static Eventcount> {
        match self {
            Self::Fragment(watch) => watch.own,
            Self::Credit(watch) => watch.hold().filter(|_| self.is_woken()).map(|_| watch.own()),
        }
    }

    /// The eventcount on which the end sleeps. If it does not, any that lives as long as the link.
    pub(super) fn notifier(&self) -> &'static Eventcount {
        match self {
            Self::Fragment(watch) => watch.notifier(),
            Self::Credit(watch) => watch.hold().map_or(watch.own(), |hold| hold.eventcount()),
        }
    }

    /// Whether the link was stopped. A stop wakes sleepers, but does not change the notifier's count.
    pub(super) fn is_stopped(&self) -> bool {
        match self {
            Self::Fragment(watch) => watch.is_stopped(),
            Self::Credit(watch) => watch.is_stopped(),
        }
    }

    /// Words of the link. As long as they are the same, an end that found nothing need not look again, except now and
    /// then: see [`FragmentWatch::signs`].
    pub(super) fn signs(&self) -> [u64; 5] {
        match self {
            Self::Fragment(watch) => watch.signs(),
            Self::Credit(watch) => watch.signs(),
        }
    }

    /// When the end has to look in any case.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Fragment(_) => None,
            Self::Credit(watch) => watch.due(),
        }
    }

    /// What is the same for all ends that wait with this one, to be read once for all of them.
    pub(super) fn common(&self) -> Common {
        match self {
            Self::Fragment(watch) => Common::OfReaders(watch.end()),
            Self::Credit(_) => Common::Nothing,
        }
    }

    /// Whether the end would find more than nothing.
    pub(super) fn has_news(&self) -> bool {
        self.has_news_beside(&self.common())
    }

    /// [`has_news`](Self::has_news), with what is the same for all.
    pub(super) fn has_news_beside(&self, common: &Common) -> bool {
        match (self, common) {
            (Self::Fragment(watch), Common::OfReaders(end)) => watch.has_fragment() || watch.is_ended_by(end),
            (Self::Fragment(watch), Common::Nothing) => watch.has_news(),
            (Self::Credit(watch), _) => watch.has_news(),
        }
    }

    /// Whose death ends the wait.
    pub(super) fn peer(&self) -> Option<Peer> {
        match self {
            Self::Fragment(_) => Some(Peer::Producer),
            Self::Credit(watch) => watch.hold().map(|hold| Peer::Consumer(hold.slot())),
        }
    }
}

impl Peer {
    /// Returns false only with proof that the other side does not live.
    pub(super) fn lives(self, memory: &dyn LinkMemory) -> bool {
        match self {
            Self::Producer => memory.producer_lives(),
            Self::Consumer(slot) => memory.consumer_lives(slot),
        }
    }
}
