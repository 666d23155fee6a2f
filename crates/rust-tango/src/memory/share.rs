//! [`LinkMemory`]: a share of the memory of a link, for a thread that waits in the place of an end.

use crate::waiting::direct::NotifierId;

/// The memory in which a link lies. It lives as long as a share of it.
///
/// The last share may be dropped by any thread, and later than the program drops what it owns of the link. So
/// that drop only frees memory and closes files.
pub(crate) trait LinkMemory: Send + Sync {
    /// Whether the producer lives. Returns false only with proof that it does not.
    fn producer_lives(&self) -> bool;

    /// Whether the owner of this consumer slot lives. Returns false only with proof that it does not.
    fn consumer_lives(&self, slot: usize) -> bool;

    /// The producer's eventcount, as a producer of this process knows it. `None`: by its address.
    fn notifier(&self) -> Option<NotifierId> {
        None
    }
}
