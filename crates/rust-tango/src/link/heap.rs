//! [`HeapLink`]: a link on the heap, for threads of one process.
//!
//! The `Link` and everything that it gives out share the memory through an `Arc`. The last of them to be
//! dropped frees it.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use crate::consumer::{Attachment, Consumer, ConsumerClaim, Mode, Start};
use crate::cpu::words::WORD;
use crate::credits::seat::Seat;
use crate::credits::slot::ConsumerSlot;
use crate::credits::watched::Slots;
use crate::error::{LinkError, LinkErrorKind, TangoError};
use crate::memory::counts::LinkMetrics;
use crate::memory::geometry::Geometry;
use crate::memory::head::Head;
use crate::memory::hints::Hints;
use crate::memory::parts::Parts;
use crate::memory::payload_type::PayloadType;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::memory::share::LinkMemory;
use crate::memory::status::LinkStatus;
use crate::producer::{self, Begin, Claim, Producer, ProducerClaim};
use crate::ring::hot_slot::HotSlot;
use crate::ring::region::Granules;
use crate::ring::slots::Ring;
use crate::sync::{AcqRel, Acquire, Arc, AtomicU64, Padded, Relaxed, Release, ordering};

/// Words that are zero at first, beginning at a multiple of [`ALIGNMENT`]. The allocator gets most of them from the
/// system, which makes a page of them when it is first touched.
struct ZeroedWords {
    memory: Box<[AtomicU64]>,
    /// The words of `memory` that are used.
    used: core::ops::Range<usize>,
}

/// In bytes.
const ALIGNMENT: usize = 128;
/// No page is smaller, in bytes.
const PAGE: usize = 4096;

impl ZeroedWords {
    fn new(count: usize) -> Result<Self, LinkError> {
        // The allocator would write the zeros itself if it were asked for this alignment.
        let all = count.saturating_add(ALIGNMENT / WORD);
        let memory = zeroed(all)?;
        let begin = if cfg!(loom) { 0 } else { memory.as_ptr().addr().wrapping_neg() % ALIGNMENT / WORD };
        Ok(Self { memory, used: begin..begin + count })
    }

    fn words(&self) -> &[AtomicU64] {
        &self.memory[self.used.clone()]
    }

    /// Makes all pages exist.
    fn touch(&self) {
        let last = self.memory.last(); // the memory need not begin with a page
        self.memory.iter().step_by(PAGE / WORD).chain(last).for_each(|word| word.store(0, Relaxed));
    }
}

/// `count` words, at least one, none of which is written here.
#[cfg(not(loom))]
fn zeroed(count: usize) -> Result<Box<[AtomicU64]>, LinkError> {
    let layout = core::alloc::Layout::array::<AtomicU64>(count).map_err(|_| no_memory::<AtomicU64>(count))?;
    // SAFETY: the layout is that of at least one word, so its size is not 0.
    let start = unsafe { alloc::alloc::alloc_zeroed(layout) };
    if start.is_null() {
        return Err(no_memory::<AtomicU64>(count));
    }
    let words = core::ptr::slice_from_raw_parts_mut(start.cast(), count);
    // SAFETY: just allocated, by the allocator of `Box` and with the layout of this slice. Zero bytes are valid atomics.
    Ok(unsafe { Box::from_raw(words) })
}

/// A zero of the model checker is not made of zero bytes.
#[cfg(loom)]
fn zeroed(count: usize) -> Result<Box<[AtomicU64]>, LinkError> {
    filled(count, || AtomicU64::new(0))
}

fn no_memory<T>(count: usize) -> LinkError {
    let bytes = count.saturating_mul(size_of::<T>());
    LinkError::new(LinkErrorKind::System, format!("cannot allocate {bytes} bytes for a link"))
}

/// The memory of a link on the heap.
pub(super) struct HeapLink {
    pub(super) geometry: Geometry,
    pub(super) payload_type: Option<PayloadType>,
    pub(super) head: Head,
    pub(super) hot_slot: Padded<HotSlot>,
    stop: Padded<AtomicU64>,
    ring: ZeroedWords,
    region: ZeroedWords,
    consumers: Box<[ConsumerSlot]>,
    /// For each slot: 1 while a consumer has it, otherwise 0.
    taken: Box<[AtomicU64]>,
    /// 1 while there is a producer, otherwise 0.
    producer_taken: AtomicU64,
    hints: Hints,
}

impl core::fmt::Debug for HeapLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HeapLink").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

fn filled<T>(count: usize, value: impl Fn() -> T) -> Result<Box<[T]>, LinkError> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| no_memory::<T>(count))?;
    values.resize_with(count, value);
    Ok(values.into_boxed_slice())
}

impl HeapLink {
    /// `prefault`: see `LinkBuilder::prefault`.
    pub(super) fn new(
        geometry: Geometry,
        payload_type: Option<PayloadType>,
        hints: Hints,
        prefault: bool,
    ) -> Result<Self, LinkError> {
        const fn zero() -> AtomicU64 {
            AtomicU64::new(0)
        }
        let link = Self {
            geometry,
            payload_type,
            head: Head::new(),
            hot_slot: Padded::new(HotSlot::new()),
            stop: Padded::new(zero()),
            ring: ZeroedWords::new(geometry.depth * geometry.slot / WORD)?,
            region: ZeroedWords::new(geometry.region / WORD)?,
            consumers: filled(geometry.consumers, ConsumerSlot::new)?,
            taken: filled(geometry.consumers, zero)?,
            producer_taken: zero(),
            hints,
        };
        link.head.eventcount.set_private();
        link.consumers.iter().for_each(ConsumerSlot::set_private);
        if prefault {
            link.ring.touch();
            link.region.touch();
        }
        producer::prepare_zeroed(&link.borrowed_parts(), geometry.start);
        Ok(link)
    }

    /// Makes the words exist for the model checker; of each slot, as many as metadata and `payload` words
    /// take.
    #[cfg(all(loom, test))]
    pub(super) fn touch(&self, payload: usize) {
        self.head.touch();
        self.hot_slot.touch();
        self.consumers.iter().for_each(ConsumerSlot::touch);
        for word in self.taken.iter().chain([&self.stop, &self.producer_taken]) {
            word.touch();
        }
        let used = crate::ring::line::META_WORDS + payload;
        let slots = self.ring.words().chunks(self.geometry.slot / WORD);
        slots.for_each(|slot| slot[..used].iter().for_each(AtomicU64::touch));
    }

    fn borrowed_parts(&self) -> Parts<'_> {
        Parts {
            ring: Ring::new(self.ring.words(), self.geometry.slot),
            granules: Granules::new(self.region.words()),
            head: &self.head,
            hot_slot: &self.hot_slot,
            stop: &self.stop,
            mtu: self.geometry.mtu,
            observers: self.geometry.observers,
            hints: self.hints,
        }
    }

    /// The link as long as an `Arc` of it is kept.
    ///
    /// `'static` stands for that. Everything that is built on the result keeps an `Arc` in the field that
    /// is dropped last, and hands out nothing that outlives a borrow of itself.
    fn kept(this: &Arc<Self>) -> &'static Self {
        // SAFETY: the memory of an `Arc` does not move, and lives until the last `Arc` is dropped: see above.
        unsafe { &*Arc::as_ptr(this) }
    }

    fn parts(this: &Arc<Self>) -> Parts<'static> {
        Self::kept(this).borrowed_parts()
    }

    pub(super) fn producer(this: &Arc<Self>) -> Result<Producer<'static>, LinkError> {
        // Acquire: sees everything that the producer before has done. Pairs with the Release store in `drop`.
        if this.producer_taken.compare_exchange(0, 1, ordering("link.enter", AcqRel), Relaxed).is_err() {
            return Err(TangoError::ProducerTaken.into());
        }
        let claim = Claim::Owned(Box::new(HeapProducer { link: this.clone() }));
        let Geometry { credits, start, .. } = this.geometry;
        let slots = Slots::watching(Self::kept(this).consumers.iter());
        let begin = Begin { credits, ample: this.geometry.is_ample(), first: start, claim };
        Ok(Producer::attach(Self::parts(this), slots, begin))
    }

    /// A consumer with a slot.
    pub(super) fn seated(
        this: &Arc<Self>,
        start: Start,
        mode: impl FnOnce(Seat<'static>) -> Mode<'static>,
    ) -> Result<Consumer<'static>, LinkError> {
        let free =
            |flag: &AtomicU64| flag.compare_exchange(0, 1, ordering("link.enter", Acquire), Relaxed).is_ok();
        let slot = this.taken.iter().position(free).ok_or(TangoError::ConsumerTaken)?;
        let claim = Attachment::Owned(Box::new(HeapConsumer { link: this.clone(), slot: Some(slot) }));
        let kept = Self::kept(this);
        let mode = mode(Seat::new(&kept.consumers[slot], &kept.head.eventcount));
        Ok(Consumer::attach(Self::parts(this), mode, start, claim))
    }

    pub(super) fn observer(this: &Arc<Self>, mode: Mode<'static>, start: Start) -> Consumer<'static> {
        let claim = Attachment::Owned(Box::new(HeapConsumer { link: this.clone(), slot: None }));
        Consumer::attach(Self::parts(this), mode, start, claim)
    }

    pub(super) fn stop(&self) {
        // Pairs with the acquire fence in `Parts::ending`.
        self.stop.store(1, ordering("link.stop", Release));
        self.head.eventcount.wake_all();
        self.consumers.iter().for_each(ConsumerSlot::wake_all);
    }

    pub(super) fn status(&self) -> LinkStatus {
        let producer = self.producer_taken.load(Relaxed) != 0;
        LinkStatus::of(&self.borrowed_parts(), producer, self.consumers.iter(), |_| true)
    }

    pub(super) fn metrics(&self) -> LinkMetrics {
        LinkMetrics::of(&self.borrowed_parts(), self.consumers.iter())
    }
}

struct HeapProducer {
    link: Arc<HeapLink>,
}

impl ProducerClaim for HeapProducer {
    fn consumer_lives(&self, _slot: usize) -> bool {
        // A consumer on the heap leaves when it is dropped. One that is leaked keeps its slot for ever.
        true
    }

    #[cfg(all(feature = "async", target_os = "linux"))]
    fn memory(&self) -> Option<Arc<dyn LinkMemory>> {
        Some(self.link.clone())
    }
}

impl Drop for HeapProducer {
    fn drop(&mut self) {
        // Pairs with the Acquire load of the next producer.
        self.link.producer_taken.store(0, ordering("link.leave", Release));
    }
}

struct HeapConsumer {
    link: Arc<HeapLink>,
    /// `None`: an observer.
    slot: Option<usize>,
}

impl ConsumerClaim for HeapConsumer {
    fn producer_lives(&self) -> bool {
        true
    }

    #[cfg(feature = "tracing")]
    fn slot(&self) -> Option<usize> {
        self.slot
    }

    #[cfg(all(feature = "async", target_os = "linux"))]
    fn memory(&self) -> Arc<dyn LinkMemory> {
        self.link.clone()
    }
}

#[cfg(all(feature = "async", target_os = "linux"))]
impl LinkMemory for HeapLink {
    fn producer_lives(&self) -> bool {
        true
    }

    fn consumer_lives(&self, _slot: usize) -> bool {
        true
    }
}

impl Drop for HeapConsumer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            // Pairs with the Acquire load of the next consumer in this slot.
            self.link.taken[slot].store(0, ordering("link.leave", Release));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::consumer::Start;
    use crate::error::TangoError;
    use crate::link::Link;
    use crate::ring::line::LineState;

    /// A link that begins with 1 has zeros for markers, and others have markers. Nobody can tell the difference.
    #[test]
    fn a_ring_of_zeros_is_empty() {
        for (depth, start) in [(2, 1), (8, 1), (8, 2), (8, 0), (8, u64::MAX)] {
            let link = Link::builder().depth(depth).mtu(8).start(start).build().unwrap();
            let before = start.wrapping_sub(1);
            let mut observer = link.observer_from(Start::At(before)).unwrap();
            let mut consumer = link.consumer_from(Start::At(before)).unwrap();
            let ring = observer.reader().parts.ring;
            for n in (0..depth as u64).map(|offset| start.wrapping_add(offset)) {
                assert_eq!(ring.line(n).state(n), LineState::NotYet);
            }
            // The second one looks for what the first has published.
            for _ in 0..2 {
                assert_eq!(link.producer().unwrap().next_seq(), start);
            }
            let lost = Err(TangoError::Overrun { lost: 1, next: start });
            assert_eq!(observer.poll().map(drop), lost, "an observer, depth {depth}, start {start}");
            let tx = link.producer().unwrap();
            for n in 0..3 * depth as u64 {
                tx.publish(&n.to_ne_bytes(), 0, 0, 0).unwrap();
                if n == 0 && consumer.poll().is_err() {
                    // It was told of the fragment before the first.
                    assert_eq!(consumer.next_seq(), start);
                    assert_eq!(consumer.poll().unwrap().unwrap().meta.seq, start);
                }
                for rx in [&mut observer, &mut consumer].into_iter().skip(usize::from(n == 0)) {
                    while rx.poll().unwrap().is_some() {}
                }
            }
            assert_eq!(consumer.next_seq(), start.wrapping_add(3 * depth as u64));
        }
    }
}
