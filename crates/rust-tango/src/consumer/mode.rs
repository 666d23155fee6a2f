//! [`Mode`]: how a consumer reads; and [`Attachment`]: what it holds on to meanwhile.

use crate::consumer::payload::{Credit, Scratch};
use crate::credits::seat::Seat;
use crate::memory::occupants::Occupants;

/// How a consumer reads.
pub(crate) enum Mode<'a> {
    Reliable(Seat<'a>),
    Observing(Scratch<'a>),
    #[cfg(feature = "alloc")]
    Evictable(Seat<'a>, Scratch<'a>),
}

impl<'a> Mode<'a> {
    /// The slot, if the producer waits for this reader.
    #[inline]
    pub(crate) fn seat(&self) -> Option<&Seat<'a>> {
        match self {
            Self::Reliable(seat) => Some(seat),
            Self::Observing(_) => None,
            #[cfg(feature = "alloc")]
            Self::Evictable(seat, _) => Some(seat),
        }
    }

    /// The credit for what is before `next`, if a payload has to give it back.
    #[inline]
    pub(crate) fn credit(&self, next: u64) -> Option<Credit<'_>> {
        match self {
            Self::Reliable(seat) => Some(Credit { seat, next }),
            _ => None,
        }
    }

    /// Where fragments are copied to, if they are.
    #[inline]
    pub(crate) fn scratch(&mut self) -> Option<&mut Scratch<'a>> {
        match self {
            Self::Reliable(_) => None,
            Self::Observing(scratch) => Some(scratch),
            #[cfg(feature = "alloc")]
            Self::Evictable(_, scratch) => Some(scratch),
        }
    }

    /// Whether what is read stays in the ring.
    #[inline]
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self, Self::Reliable(_))
    }

    pub(crate) fn is_evictable(&self) -> bool {
        match self {
            Self::Reliable(_) | Self::Observing(_) => false,
            #[cfg(feature = "alloc")]
            Self::Evictable(..) => true,
        }
    }
}

/// What a consumer holds on to, and gives up when dropped.
pub(crate) enum Attachment<'a> {
    /// An observer on borrowed storage.
    None,
    /// The right to be the consumer of borrowed storage.
    Borrowed(&'a Occupants),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn ConsumerClaim>),
}

/// What a consumer of a `Link` holds on to. Its drop gives up the slot, if there is one.
#[cfg(feature = "alloc")]
pub(crate) trait ConsumerClaim: Send + Sync {
    /// Whether the producer lives: `false` only with proof that it does not.
    fn producer_lives(&self) -> bool;

    /// What another thread asks instead of [`Self::producer_lives`]. `None`: it can only live.
    #[cfg(all(feature = "async", target_os = "linux"))]
    fn question(&self) -> Option<Question> {
        None
    }

    /// False in a forked child, which has got the consumer but not its memory.
    fn is_of_this_process(&self) -> bool {
        true
    }
}

/// Whether the producer lives, asked from any thread.
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) type Question = alloc::boxed::Box<dyn Fn() -> bool + Send>;

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
