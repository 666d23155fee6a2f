//! [`Mode`]: how a consumer reads. [`Attachment`]: what it keeps meanwhile.

use super::payload::{Credit, Scratch};
use crate::credits::seat::Seat;
use crate::memory::occupants::Occupants;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::memory::share::LinkMemory;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::sync::Arc;

/// How a consumer reads.
pub(crate) enum Mode<'a> {
    Reliable(Seat<'a>),
    Observing(Scratch<'a>),
    /// As reliable, but by copy.
    #[cfg(all(feature = "shm", target_os = "linux"))]
    Copying(Seat<'a>, Scratch<'a>),
    #[cfg(feature = "alloc")]
    Evictable(Seat<'a>, Scratch<'a>),
}

impl<'a> Mode<'a> {
    /// The consumer's slot, if the producer waits for this consumer.
    #[inline]
    pub(crate) fn seat(&self) -> Option<&Seat<'a>> {
        match self {
            Self::Reliable(seat) => Some(seat),
            Self::Observing(_) => None,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Self::Copying(seat, _) => Some(seat),
            #[cfg(feature = "alloc")]
            Self::Evictable(seat, _) => Some(seat),
        }
    }

    /// The credit of everything before `next`, if the payload has to return it.
    #[inline]
    pub(crate) fn credit(&self, next: u64) -> Option<Credit<'_>> {
        match self {
            Self::Reliable(seat) => Some(Credit::new(seat, next)),
            _ => None,
        }
    }

    /// The buffer for copies, if the consumer reads by copy.
    #[inline]
    pub(crate) fn scratch(&mut self) -> Option<&mut Scratch<'a>> {
        match self {
            Self::Reliable(_) => None,
            Self::Observing(scratch) => Some(scratch),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Self::Copying(_, scratch) => Some(scratch),
            #[cfg(feature = "alloc")]
            Self::Evictable(_, scratch) => Some(scratch),
        }
    }

    /// Whether the consumer reads in place.
    #[inline]
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self, Self::Reliable(_))
    }

    /// Whether the credit of a fragment is returned as soon as it was copied.
    #[inline]
    pub(crate) fn returns_credit_of_copy(&self) -> bool {
        match self {
            Self::Reliable(_) | Self::Observing(_) => false,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Self::Copying(..) => true,
            #[cfg(feature = "alloc")]
            Self::Evictable(..) => true,
        }
    }

    pub(crate) fn is_evictable(&self) -> bool {
        match self {
            Self::Reliable(_) | Self::Observing(_) => false,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Self::Copying(..) => false,
            #[cfg(feature = "alloc")]
            Self::Evictable(..) => true,
        }
    }
}

/// What a consumer keeps while it lives, and gives back when it is dropped.
pub(crate) enum Attachment<'a> {
    /// An observer on borrowed storage.
    None,
    /// The right to be the consumer of borrowed storage.
    Borrowed(&'a Occupants),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn ConsumerClaim>),
}

/// What a consumer of a `Link` keeps while it lives. Dropping it gives the slot back, if there is one.
#[cfg(feature = "alloc")]
pub(crate) trait ConsumerClaim: Send + Sync {
    /// Whether the producer lives. Returns false only with proof that it does not.
    fn producer_lives(&self) -> bool;

    /// The memory of the link, for a thread that waits in the consumer's place.
    #[cfg(all(feature = "async", target_os = "linux"))]
    fn memory(&self) -> Arc<dyn LinkMemory>;

    /// Whether another producer can find the link, and continue it. In shared memory, this takes some system
    /// calls.
    #[cfg(feature = "std")]
    fn is_named(&self) -> bool {
        true
    }

    /// False in a forked child: it has inherited the consumer, but the memory is not mapped there.
    fn is_of_this_process(&self) -> bool {
        true
    }

    /// The name of the link, for events. `None`: it has none.
    #[cfg(feature = "tracing")]
    fn link_name(&self) -> Option<&str> {
        None
    }

    /// The number of the consumer's slot, for events. `None`: it has none.
    #[cfg(feature = "tracing")]
    fn slot(&self) -> Option<usize> {
        None
    }
}

#[cfg(feature = "std")]
impl Attachment<'_> {
    /// See [`ConsumerClaim::is_named`].
    pub(super) fn is_named(&self) -> bool {
        match self {
            Self::None | Self::Borrowed(_) => true,
            Self::Owned(claim) => claim.is_named(),
        }
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        match self {
            Self::None => {}
            Self::Borrowed(occupants) => occupants.leave_consumer(),
            #[cfg(feature = "alloc")]
            Self::Owned(_) => {}
        }
    }
}
