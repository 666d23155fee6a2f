//! Which parts of borrowed storage belong together.

use crate::error::TangoError;
use crate::sync::{AtomicU64, Relaxed, StaticU64};

/// The number of a part, or the number of the part to which it is bound. 0: not assigned yet, or not bound.
///
/// It is a number and not an address, because storage can be moved while it is not borrowed.
#[derive(Debug)]
pub(crate) struct Identity(AtomicU64);

impl Identity {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The number of this part. Assigned by the first call.
    pub(super) fn number(&self) -> u64 {
        static NEXT: StaticU64 = StaticU64::new(1);
        let fresh = NEXT.fetch_add(1, Relaxed);
        match self.0.compare_exchange(0, fresh, Relaxed, Relaxed) {
            Ok(_) => fresh,
            Err(given) => given,
        }
    }

    /// Whether this is bound to `partner`, or not bound.
    pub(super) fn accepts(&self, partner: u64) -> bool {
        [0, partner].contains(&self.0.load(Relaxed))
    }

    /// Binds this to `partner`, for good.
    pub(super) fn bind(&self, partner: u64) -> Result<(), TangoError> {
        match self.0.compare_exchange(0, partner, Relaxed, Relaxed) {
            Ok(_) => Ok(()),
            Err(bound) if bound == partner => Ok(()),
            Err(_) => Err(TangoError::BoundElsewhere),
        }
    }
}

/// The number of a part, and that of the `MCache` to which it is bound.
#[derive(Debug)]
pub(crate) struct PartIdentity {
    pub(super) own: Identity,
    pub(super) mcache: Identity,
}

impl PartIdentity {
    pub(crate) const fn new() -> Self {
        Self { own: Identity::new(), mcache: Identity::new() }
    }
}
