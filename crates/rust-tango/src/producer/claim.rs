//! The exclusive right to be the producer of a link.

use crate::memory::occupants::Occupants;

/// The right itself. Dropping it gives the right back.
pub(crate) enum Claim<'a> {
    /// To borrowed storage.
    Borrowed(&'a Occupants),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn ProducerClaim>),
}

/// What the producer of a `Link` holds on to. Its drop gives the right back.
#[cfg(feature = "alloc")]
pub(crate) trait ProducerClaim: Send {
    /// Whether the owner of this consumer slot lives: `false` only with proof that it does not.
    fn consumer_lives(&self, slot: usize) -> bool;

    /// False in a forked child, which has inherited the producer but not its memory.
    fn is_of_this_process(&self) -> bool {
        true
    }
}

impl Claim<'_> {
    /// See [`ProducerClaim::is_of_this_process`].
    pub(super) fn is_of_this_process(&self) -> bool {
        match self {
            Self::Borrowed(_) => true,
            #[cfg(feature = "alloc")]
            Self::Owned(claim) => claim.is_of_this_process(),
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
