//! [`Claim`]: the exclusive right to be the producer of a link.

use crate::memory::occupants::Occupants;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::memory::share::LinkMemory;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::sync::Arc;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::waiting::direct::NotifierId;

/// The right to be the producer. Dropping it gives the right back.
pub(crate) enum Claim<'a> {
    /// On borrowed storage.
    Borrowed(&'a Occupants),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn ProducerClaim>),
}

/// What the producer of a `Link` keeps while it lives. Dropping it gives the right back.
#[cfg(feature = "alloc")]
pub(crate) trait ProducerClaim: Send {
    /// Whether the owner of this consumer slot lives. Returns false only with proof that it does not.
    fn consumer_lives(&self, slot: usize) -> bool;

    /// The memory of the link, for a thread that waits in the producer's place. `None`: it is static.
    #[cfg(all(feature = "async", target_os = "linux"))]
    fn memory(&self) -> Option<Arc<dyn LinkMemory>>;

    /// False in a forked child: it has inherited the producer, but the memory is not mapped there.
    fn is_of_this_process(&self) -> bool {
        true
    }

    /// The name of the link, for events. `None`: it has none.
    #[cfg(feature = "tracing")]
    fn link_name(&self) -> Option<&str> {
        None
    }

    /// The producer's eventcount, as the readers of this process know it. `None`: by its address.
    #[cfg(all(feature = "async", target_os = "linux"))]
    fn notifier(&self) -> Option<NotifierId> {
        None
    }
}

impl Claim<'_> {
    /// False: the credits are those of an `Fctl`, which has no consumer now. Its slot says what the next consumer
    /// may still read, so it looks as if it had an owner.
    pub(super) fn may_have_consumers(&self) -> bool {
        match self {
            Self::Borrowed(occupants) => occupants.has_consumer(),
            #[cfg(feature = "alloc")]
            Self::Owned(_) => true,
        }
    }

    /// See [`ProducerClaim::memory`].
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(super) fn memory(&self) -> Option<Arc<dyn LinkMemory>> {
        match self {
            Self::Borrowed(_) => None,
            Self::Owned(claim) => claim.memory(),
        }
    }

    /// See [`ProducerClaim::is_of_this_process`].
    pub(super) fn is_of_this_process(&self) -> bool {
        match self {
            Self::Borrowed(_) => true,
            #[cfg(feature = "alloc")]
            Self::Owned(claim) => claim.is_of_this_process(),
        }
    }

    /// See [`ProducerClaim::link_name`].
    #[cfg(feature = "tracing")]
    pub(super) fn link_name(&self) -> Option<&str> {
        match self {
            Self::Borrowed(_) => None,
            Self::Owned(claim) => claim.link_name(),
        }
    }

    /// See [`ProducerClaim::notifier`].
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(super) fn notifier(&self) -> Option<NotifierId> {
        match self {
            Self::Borrowed(_) => None,
            Self::Owned(claim) => claim.notifier(),
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        match self {
            Self::Borrowed(occupants) => occupants.leave_producer(),
            #[cfg(feature = "alloc")]
            Self::Owned(_) => {}
        }
    }
}
