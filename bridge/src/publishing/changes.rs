//! [`Changes`]: a sign for the threads that read links that a link was made or removed in their folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A sign that links may have come or gone. Each clone sees it once.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    count: Arc<AtomicU64>,
    seen: u64,
}

impl Changes {
    /// Links may have come or gone.
    pub(super) fn note(&self) {
        self.count.fetch_add(1, Relaxed);
    }

    /// Whether links may have come or gone since the last call.
    pub(super) fn are_new(&mut self) -> bool {
        let count = self.count.load(Relaxed);
        std::mem::replace(&mut self.seen, count) != count
    }
}
