//! How a consumer begins.

use super::hot_reader::HotReader;
use super::losses::Losses;
use super::mode::{Attachment, Mode};
use super::poll::Consumer;
use super::producer_watch::ProducerWatch;
use crate::memory::parts::Parts;
use crate::ring::hot_slot::HotSlot;
use crate::sync::Relaxed;
use crate::timing::reading::{ReaderTiming, Shape};
use crate::waiting::wait::Wait;

/// Where a consumer that joins begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the next fragment that is published.
    #[default]
    Next,
    /// With the oldest fragment that is still there.
    Oldest,
    /// With this sequence number: if it is gone already, the first read says how many were lost; if it
    /// is yet to come, what is published before it is not read.
    At(u64),
}

impl<'a> Consumer<'a> {
    /// A consumer that reads `parts` from `start` on: reliable with a slot (which the caller has made
    /// sure is nobody else's), otherwise an observer with room in its scratch. `private` is the hot slot of its slot.
    pub(crate) fn attach(
        parts: Parts<'a>,
        mode: Mode<'a>,
        private: Option<&'a HotSlot>,
        start: Start,
        attachment: Attachment<'a>,
    ) -> Self {
        let (oldest, upcoming) = parts.extent();
        let next = match start {
            Start::Next => upcoming,
            Start::Oldest => oldest,
            Start::At(seq) => seq,
        };
        // Before the claim: an eviction of this reader comes behind that, so it is one that the reader does not know of.
        let evictions = parts.head.lifecycle.evicted.load(Relaxed);
        if let Some(seat) = mode.seat() {
            seat.claim(next, mode.is_evictable());
        }
        let shape = Shape {
            depth: parts.ring.depth(),
            bytes: parts.ring.bytes(),
            payloads_fit_slots: parts.mtu <= parts.in_slot(),
            holds_credits: mode.seat().is_some(),
        };
        let mut consumer = Self {
            next,
            in_place_until: next,
            parts,
            mode,
            timing: ReaderTiming::new(next, shape),
            hot: HotReader::new(&parts.head.hot_slot, private),
            joined: false,
            ready: false,
            missed: 0,
            missed_evicted: false,
            losses: Losses::new(next),
            producer: ProducerWatch::new(&parts),
            evictions,
            wait: Wait::default(),
            metrics: None,
            attachment,
        };
        if consumer.parts.head.is_bound() {
            consumer.settle(matches!(start, Start::At(_)));
            consumer.ready = consumer.missed == 0;
            consumer.update_fast_path();
        }
        consumer
    }
}
