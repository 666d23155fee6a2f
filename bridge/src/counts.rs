//! [`Counts`]: what was counted for one link. Metrics and the closing summary are made of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Counts of one link in one direction, since the bridge began with it. They only rise, but for `backlog` and `up`.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// Fragments that were sent, or published into the far link.
    pub fragments: AtomicU64,
    /// Bytes of their payloads.
    pub bytes: AtomicU64,
    /// Network messages with fragments.
    pub messages: AtomicU64,
    /// Fragments that the reader of the link has lost before they reached the network.
    pub lost_at_origin: AtomicU64,
    /// Fragments that were dropped because the network, or the far link, was too slow.
    pub dropped: AtomicU64,
    /// Fragments that got lost on the network, and could not be sent again.
    pub lost_in_network: AtomicU64,
    /// Fragments that were sent again after a gap, and arrived.
    pub recovered: AtomicU64,
    /// Times the connection to the other bridge was interrupted and came back.
    pub cuts: AtomicU64,
    /// Times the other bridge was started again.
    pub bridge_restarts: AtomicU64,
    /// Times another producer came to the link.
    pub producer_restarts: AtomicU64,
    /// Times the link was made anew.
    pub links_made_anew: AtomicU64,
    /// Messages that were no messages of a bridge, or came from a second bridge for the same key.
    pub rejected: AtomicU64,
    /// Bytes that wait: for the network, or for the far link.
    pub backlog: AtomicU64,
    /// 1 while the link is there and read, or while messages of the other bridge arrive; otherwise 0.
    pub up: AtomicU64,
}

impl Counts {
    /// Adds `n` to one of the counts. It stays at the largest number when it is there: numbers come from other machines.
    pub fn add(count: &AtomicU64, n: u64) {
        // It is never refused.
        _ = count.fetch_update(Relaxed, Relaxed, |before| Some(before.saturating_add(n)));
    }

    /// Adds all counts of a link that is gone.
    pub(crate) fn add_all(&self, of: &Self) {
        for ((_, count), (_, n)) in self.each().into_iter().zip(of.all()) {
            Self::add(count, n);
        }
    }

    /// All counts by name, in the order of their declaration.
    pub fn all(&self) -> [(&'static str, u64); 14] {
        self.each().map(|(name, count)| (name, count.load(Relaxed)))
    }

    fn each(&self) -> [(&'static str, &AtomicU64); 14] {
        [
            ("fragments", &self.fragments),
            ("bytes", &self.bytes),
            ("messages", &self.messages),
            ("lost_at_origin", &self.lost_at_origin),
            ("dropped", &self.dropped),
            ("lost_in_network", &self.lost_in_network),
            ("recovered", &self.recovered),
            ("cuts", &self.cuts),
            ("bridge_restarts", &self.bridge_restarts),
            ("producer_restarts", &self.producer_restarts),
            ("links_made_anew", &self.links_made_anew),
            ("rejected", &self.rejected),
            ("backlog", &self.backlog),
            ("up", &self.up),
        ]
    }
}
