//! How a consumer begins.

use super::handle::Consumer;
use super::hot_reader::HotReader;
use super::mode::{Attachment, Mode};
use super::pacing::Pacing;
use super::poll::Reader;
use super::producer_watch::ProducerWatch;
use super::standing::Standing;
#[cfg(feature = "tracing")]
use super::told::Told;
use crate::events::emit;
use crate::memory::parts::Parts;
use crate::sync::Relaxed;
use crate::timing::reading::{ReaderTiming, Shape};
#[cfg(feature = "std")]
use crate::waiting::wait::KeptNaps;
use crate::waiting::wait::Wait;

/// Where a consumer that joins begins to read. Default: [`Start::Next`].
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, Start};
///
/// let link = Link::builder().depth(8).mtu(64).consumers(2).build()?;
/// let tx = link.producer()?;
/// tx.send(b"before")?;
/// let mut late = link.consumer_from(Start::Next)?;
/// let mut full = link.consumer_from(Start::Oldest)?;
/// assert!(late.poll()?.is_none());
/// assert_eq!(full.poll()?.unwrap().payload.as_slice(), b"before");
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the next fragment that is published.
    #[default]
    Next,
    /// With the oldest fragment that is still there.
    Oldest,
    /// With this sequence number. If that fragment is already gone, the first read returns
    /// [`TangoError::Overrun`](crate::TangoError::Overrun), with the number of lost fragments. If it is yet
    /// to come, the consumer skips what is published before it.
    At(u64),
}

impl<'a> Consumer<'a> {
    /// A consumer that reads `parts` from `start` on. If `mode` has a slot, the caller has made sure that
    /// the slot has no other owner. Otherwise the scratch buffer has room for one fragment.
    pub(crate) fn attach(parts: Parts<'a>, mode: Mode<'a>, start: Start, attachment: Attachment<'a>) -> Self {
        Self::of(Reader::attach(parts, mode, start, attachment))
    }
}

impl<'a> Reader<'a> {
    fn attach(parts: Parts<'a>, mode: Mode<'a>, start: Start, attachment: Attachment<'a>) -> Self {
        let (oldest, upcoming) = parts.extent();
        let next = match start {
            Start::Next => upcoming,
            Start::Oldest => oldest,
            Start::At(seq) => seq,
        };
        // Read before the claim. An eviction of this reader comes after the claim, so the count differs
        // from this one then.
        let evictions = parts.head.lifecycle.evicted.load(Relaxed);
        if let Some(seat) = mode.seat() {
            seat.claim(next, mode.is_evictable());
        }
        let shape = Shape {
            depth: parts.ring.depth(),
            bytes: parts.ring.bytes(),
            payloads_fit_slots: parts.mtu <= parts.in_slot(),
            holds_credits: mode.seat().is_some(),
            hints: parts.hints,
        };
        let mut reader = Self {
            next,
            unchecked: 0,
            in_slot: parts.in_slot(),
            parts,
            mode,
            pacing: Pacing { timing: ReaderTiming::new(next, shape), hot: HotReader::new(parts.hot_slot) },
            ready: false,
            standing: Standing::new(next, evictions),
            producer: ProducerWatch::new(&parts),
            wait: Wait::default(),
            #[cfg(feature = "std")]
            naps: KeptNaps::new(),
            metrics: None,
            #[cfg(feature = "tracing")]
            told: Told::default(),
            attachment,
        };
        if reader.parts.head.is_bound() {
            reader.settle(matches!(start, Start::At(_)));
            reader.ready = !reader.standing.has_missed();
            reader.update_fast_path();
        }
        emit!(consumer_attached(reader.who(), reader.next));
        reader
    }
}
