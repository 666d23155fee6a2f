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
    /// Adds `n` to one of the counts.
    pub fn add(count: &AtomicU64, n: u64) {
        count.fetch_add(n, Relaxed);
    }

    /// All counts by name, in the order of their declaration.
    pub fn all(&self) -> [(&'static str, u64); 14] {
        let value = |count: &AtomicU64| count.load(Relaxed);
        [
            ("fragments", value(&self.fragments)),
            ("bytes", value(&self.bytes)),
            ("messages", value(&self.messages)),
            ("lost_at_origin", value(&self.lost_at_origin)),
            ("dropped", value(&self.dropped)),
            ("lost_in_network", value(&self.lost_in_network)),
            ("recovered", value(&self.recovered)),
            ("cuts", value(&self.cuts)),
            ("bridge_restarts", value(&self.bridge_restarts)),
            ("producer_restarts", value(&self.producer_restarts)),
            ("links_made_anew", value(&self.links_made_anew)),
            ("rejected", value(&self.rejected)),
            ("backlog", value(&self.backlog)),
            ("up", value(&self.up)),
        ]
    }
}
