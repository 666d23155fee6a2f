//! [`Watch`]: what an end of a link waits for, as the watcher sees it.

use crate::consumer::{FragmentWatch, LinkEnd};
use crate::memory::share::LinkMemory;
use crate::waiting::eventcount::Eventcount;

/// Which ends of which link these are, for one process: the address of the eventcount on which readers sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(usize);

/// What an end of a link waits for after it has found nothing: a view of the link, and of where the end is.
#[derive(Clone, Copy)]
pub(super) enum Watch {
    /// A reader waits for a fragment, or for the end of the link.
    Fragment(FragmentWatch<'static>),
}

/// What is the same for all ends that wait together.
pub(super) enum Common {
    Fragment(LinkEnd),
}

/// The other side of the link, whose death ends the wait.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    Producer,
}

impl Watch {
    pub(super) fn id(&self) -> LinkId {
        let Self::Fragment(watch) = self;
        LinkId(std::ptr::from_ref(watch.notifier()).addr())
    }

    /// The eventcount in which the end announces its sleep. `None`: nobody can wake it.
    pub(super) fn own(&self) -> Option<&'static Eventcount> {
        let Self::Fragment(watch) = self;
        watch.own
    }

    /// The eventcount on which the end sleeps.
    pub(super) fn notifier(&self) -> &'static Eventcount {
        let Self::Fragment(watch) = self;
        watch.notifier()
    }

    /// Whether the link was stopped. A stop wakes sleepers, but does not change the notifier's count.
    pub(super) fn is_stopped(&self) -> bool {
        let Self::Fragment(watch) = self;
        watch.is_stopped()
    }

    /// Words of the link. As long as they are the same, an end that found nothing need not look again, except now and
    /// then: see [`FragmentWatch::signs`].
    pub(super) fn signs(&self) -> [u64; 5] {
        let Self::Fragment(watch) = self;
        watch.signs()
    }

    /// What is the same for all ends that wait with this one, to be read once for all of them.
    pub(super) fn common(&self) -> Common {
        let Self::Fragment(watch) = self;
        Common::Fragment(watch.end())
    }

    /// Whether the end would find more than nothing.
    pub(super) fn has_news(&self) -> bool {
        let Self::Fragment(watch) = self;
        watch.has_news()
    }

    /// [`has_news`](Self::has_news), with what is the same for all.
    pub(super) fn has_news_beside(&self, common: &Common) -> bool {
        let (Self::Fragment(watch), Common::Fragment(end)) = (self, common);
        watch.has_fragment() || watch.is_ended_by(end)
    }

    pub(super) fn peer(&self) -> Peer {
        let Self::Fragment(_) = self;
        Peer::Producer
    }
}

impl Peer {
    /// Returns false only with proof that the other side does not live.
    pub(super) fn lives(self, memory: &dyn LinkMemory) -> bool {
        match self {
            Self::Producer => memory.producer_lives(),
        }
    }
}
