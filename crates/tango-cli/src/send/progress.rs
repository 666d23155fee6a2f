//! [`Progress`]: what a sender has done so far. The thread that ends the process says it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rust_tango::LinkStatus;

use crate::summary::{Tally, many};
use crate::{format, standard};

/// What was sent, and since when.
pub(super) struct Progress {
    pub(super) tally: Tally,
    verbose: bool,
    begun: Instant,
    /// The awaited receivers have joined.
    started: OnceLock<Instant>,
    reported: AtomicBool,
}

impl Progress {
    pub(super) fn new(verbose: bool) -> Self {
        Self {
            tally: Tally::default(),
            verbose,
            begun: Instant::now(),
            started: OnceLock::new(),
            reported: AtomicBool::new(false),
        }
    }

    /// The awaited receivers have joined.
    pub(super) fn start(&self) {
        self.started.get_or_init(Instant::now);
    }

    /// Says what was sent and why no more is, if the user wants to know. Only the first call does.
    pub(super) fn report(&self, status: &LinkStatus, why: &str) {
        if !self.verbose || self.reported.swap(true, Ordering::SeqCst) {
            return;
        }
        let now = Instant::now();
        let started = self.started.get().copied();
        let time = started.map_or(Duration::ZERO, |started| now - started);
        let waited = started.unwrap_or(now) - self.begun;
        let blocked = many(status.backpressure, "fragment");
        standard::write_error(&format!(
            "tango: {}\ntango: waited {} for receivers to join; {blocked} had to wait for a receiver\ntango: ended because {why}\n",
            self.tally.text("sent", time),
            format::duration(waited),
        ));
    }
}
