//! [`Link`]: a link whose sizes are known at run time, and the halves that own their share of it.
#![allow(unsafe_code)]

pub(crate) mod builder;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use crate::consumer::payload::Scratch;
use crate::consumer::{Attachment, Consumer, ConsumerClaim, Mode, Start};
use crate::cpu::words::WORD;
use crate::credits::floor::Slots;
use crate::credits::seat::Seat;
use crate::credits::slot::ConsumerSlot;
use crate::error::{LinkError, LinkErrorKind, TangoError};
use crate::memory::geometry::Geometry;
use crate::memory::head::Head;
use crate::memory::parts::Parts;
use crate::memory::status::LinkStatus;
use crate::producer::{self, Claim, Producer, ProducerClaim};
use crate::ring::region::{GRANULE, Granules};
use crate::ring::slots::{Ring, SLOT};
use crate::sync::{AcqRel, Acquire, Arc, AtomicU64, Padded, Relaxed, Release, ordering};

/// A link: one producer, any number of readers.
///
/// A `Link` is a handle that can be cloned and sent around; so are the halves it gives out, which keep
/// the memory alive on their own.
///
/// ```
/// use rust_tango::Link;
///
/// let link = Link::builder().depth(1024).mtu(256).consumers(2).build()?;
/// let tx = link.producer()?;
/// let mut rx = link.consumer()?;
/// let reader = std::thread::spawn(move || {
///     let mut sum = 0;
///     while let Some(fragment) = rx.wait()? {
///         sum += fragment.payload.as_slice()[0];
///     }
///     Ok::<_, rust_tango::TangoError>(sum)
/// });
/// for byte in 1..=10 {
///     tx.send(&[byte])?;
/// }
/// drop(tx); // the reader drains the link, and then learns that it is closed
/// assert_eq!(reader.join().unwrap()?, 55);
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
///
/// # In a forked child
///
/// A link in shared memory stays with the process that opened it. In a child that was forked from that one, by the C
/// library's `fork`, everything that it has inherited finds the link closed: readers get nothing, the bytes of a payload
/// that was held are zeros, and what is published reaches nobody. Dropping it there is harmless. The inherited handle
/// returns errors; a child that wants to use the link, or to stop or remove it, opens it again. A link on the heap is copied with all other memory: the child has one of its own.
#[derive(Debug, Clone)]
pub struct Link {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Heap(Arc<HeapLink>),
    #[cfg(all(feature = "shm", target_os = "linux"))]
    Shared(Arc<crate::shm::ShmLink>, Arc<crate::shm::Reservation>),
}

impl Link {
    /// The producer. A second one is refused while it lives; one that comes later goes on behind what
    /// was published.
    ///
    /// # Errors
    /// [`LinkErrorKind::Taken`] if there is one; in shared memory also [`LinkErrorKind::System`],
    /// [`LinkErrorKind::Invalid`] in a forked child (see [`Link`]), and [`LinkErrorKind::NotFound`] if the link has
    /// been removed since it was opened (the process that has made it or taken it over has the producer all the same).
    pub fn producer(&self) -> Result<Producer<'static>, LinkError> {
        match &self.place {
            Place::Heap(link) => HeapLink::producer(link),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Place::Shared(link, made) => crate::shm::ShmLink::producer(link, made),
        }
    }

    /// A reliable consumer, starting with the next fragment that is published.
    ///
    /// # Errors
    /// [`LinkErrorKind::Taken`] if every slot is; in shared memory also [`LinkErrorKind::Untrusted`] if
    /// somebody else could write to the link's files (another user who made it, say),
    /// [`LinkErrorKind::System`] if this user cannot, [`LinkErrorKind::Invalid`] in a forked child (see [`Link`]), and
    /// [`LinkErrorKind::NotFound`] if the link has been removed since it was opened.
    pub fn consumer(&self) -> Result<Consumer<'static>, LinkError> {
        self.consumer_from(Start::Next)
    }

    /// A reliable consumer. Of older fragments, it gets those that the producer has not been allowed to
    /// overwrite yet.
    ///
    /// # Errors
    /// As [`Link::consumer`].
    pub fn consumer_from(&self, start: Start) -> Result<Consumer<'static>, LinkError> {
        match &self.place {
            Place::Heap(link) => HeapLink::seated(link, start, Mode::Reliable),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Place::Shared(link, _) => crate::shm::ShmLink::consumer(link, start),
        }
    }

    /// A consumer that the producer waits for, but not for ever: one that keeps it waiting for longer than
    /// [`Producer::with_patience`] says is evicted, loses what it has not read by then, is told so
    /// ([`TangoError::Evicted`]), and has then joined again. It reads by copy.
    ///
    /// For readers that should get everything as long as they work, and must not stop the others when they
    /// do not: a logger, a debugger that is stopped at a breakpoint.
    ///
    /// # Errors
    /// [`LinkErrorKind::Taken`] if every slot is; [`LinkErrorKind::Invalid`] on a link that was built without
    /// observers; in shared memory also [`LinkErrorKind::System`]. (Not [`LinkErrorKind::Untrusted`]: copies are
    /// validated, whoever writes.)
    pub fn evictable_consumer(&self, start: Start) -> Result<Consumer<'static>, LinkError> {
        self.may_copy()?;
        let scratch = Scratch::boxed(self.geometry().mtu);
        match &self.place {
            Place::Heap(link) => HeapLink::seated(link, start, |seat| Mode::Evictable(seat, scratch)),
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Place::Shared(link, _) => {
                // SAFETY: such a consumer does not read in place.
                unsafe { crate::shm::ShmLink::seated(link, start, |seat| Mode::Evictable(seat, scratch)) }
            }
        }
    }

    /// [`Link::consumer_from`] without the check who can write to the link's files.
    ///
    /// # Safety
    /// While the consumer, or a slice from it, lives, nobody writes to the files of the link except
    /// through this library: neither another user nor a program of this one.
    ///
    /// # Errors
    /// As [`Link::consumer`], but never [`LinkErrorKind::Untrusted`].
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub unsafe fn consumer_trusting(&self, start: Start) -> Result<Consumer<'static>, LinkError> {
        match &self.place {
            Place::Heap(link) => HeapLink::seated(link, start, Mode::Reliable),
            // SAFETY: the caller promises what the check would have found.
            Place::Shared(link, _) => unsafe { crate::shm::ShmLink::seated(link, start, Mode::Reliable) },
        }
    }

    /// An observer, starting with the next fragment that is published: it reads what it can, by copy,
    /// and the producer does not know of it. Any number of them.
    ///
    /// It can read the newest `depth - depth / 32` fragments, as long as their payloads are there: what is overwritten
    /// next is given up by that much ahead (for a batch by up to 32 fragments, and up to `depth / 8`). Nobody can wake
    /// it, so one that waits and parks looks by a timer: see [`Wait::ParkAfter`](crate::Wait).
    ///
    /// # Errors
    /// [`LinkErrorKind::Invalid`] on a link that was built without observers, and in a forked child (see [`Link`]).
    pub fn observer(&self) -> Result<Consumer<'static>, LinkError> {
        self.observer_from(Start::Next)
    }

    /// [`Link::observer`] with another start.
    ///
    /// # Errors
    /// As [`Link::observer`].
    pub fn observer_from(&self, start: Start) -> Result<Consumer<'static>, LinkError> {
        self.may_copy()?;
        let mode = Mode::Observing(Scratch::boxed(self.geometry().mtu));
        match &self.place {
            Place::Heap(link) => {
                let claim = Attachment::Owned(Box::new(HeapConsumer { link: link.clone(), slot: None }));
                Ok(Consumer::attach(HeapLink::parts(link), mode, start, claim))
            }
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Place::Shared(link, _) => crate::shm::ShmLink::observer(link, mode, start),
        }
    }

    /// Refuses a reader that may look at memory while it is written.
    fn may_copy(&self) -> Result<(), LinkError> {
        if self.geometry().observers {
            return Ok(());
        }
        let message = "this link was built without observers, so nobody can read it by copy";
        Err(LinkError::new(LinkErrorKind::Invalid, message))
    }

    /// For models: see `HeapLink::touch`. Slots are of the smallest size.
    #[cfg(all(loom, test))]
    pub(crate) fn touch(&self, payload: usize) {
        match &self.place {
            Place::Heap(link) => link.touch(payload),
        }
    }

    /// For models: producers show the newest fragment where followers look.
    #[cfg(all(loom, test))]
    pub(crate) fn uses_hot_slot(&self) {
        match &self.place {
            Place::Heap(link) => link.head.hot_slot.is_used_from_now_on(true),
        }
    }

    /// The sizes of the link.
    pub fn geometry(&self) -> Geometry {
        match &self.place {
            Place::Heap(link) => link.geometry,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Place::Shared(link, _) => link.geometry(),
        }
    }

    /// Ends the link for good: the producer's blocking calls give up, readers drain what is there and
    /// then learn that it is closed.
    ///
    /// # Errors
    /// In shared memory, [`LinkErrorKind::System`] if its control file cannot be written, and
    /// [`LinkErrorKind::Invalid`] in a forked child (see [`Link`]).
    pub fn stop(&self) -> Result<(), LinkError> {
        match &self.place {
            Place::Heap(link) => {
                // Pairs with the acquire fence in `Parts::ending`.
                link.stop.store(1, ordering("link.stop", Release));
                link.head.eventcount.wake_all();
                link.consumers.iter().for_each(ConsumerSlot::wake_all);
                Ok(())
            }
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Place::Shared(link, _) => link.stop(),
        }
    }

    /// What the link looks like now.
    pub fn status(&self) -> LinkStatus {
        match &self.place {
            Place::Heap(link) => {
                let parts = HeapLink::parts(link);
                let producer = link.producer_taken.load(Relaxed) != 0;
                LinkStatus::of(&parts, producer, link.consumers.iter().map(|slot| (slot, true)))
            }
            #[cfg(all(feature = "shm", target_os = "linux"))]
            Place::Shared(link, _) => link.status(),
        }
    }

    pub(crate) fn on_heap(geometry: Geometry) -> Result<Self, LinkError> {
        Ok(Self { place: Place::Heap(Arc::new(HeapLink::new(geometry)?)) })
    }
}

/// Links in shared memory.
#[cfg(all(feature = "shm", target_os = "linux"))]
impl Link {
    /// Opens a link that [`LinkBuilder::create`](crate::LinkBuilder::create) made, in this process or
    /// another. Looks where `TANGO_DIR` says, otherwise in `/dev/shm/tango-UID`.
    ///
    /// Any bytes in its files lead to an error here or later, or to fragments that are reported lost. What a library
    /// cannot survive is that somebody who may write to a file *truncates* it while it is mapped: who touches the
    /// memory that is gone is ended by the system (SIGBUS).
    ///
    /// # Errors
    /// [`LinkErrorKind::NotFound`] if there is none (yet), [`LinkErrorKind::Incompatible`] if its files
    /// are not what this version makes, [`LinkErrorKind::System`] for what the system refuses.
    pub fn open(name: &str) -> Result<Self, LinkError> {
        Self::opened(None, name)
    }

    /// [`Link::open`] in another folder of links.
    ///
    /// # Errors
    /// As [`Link::open`].
    pub fn open_in(folder: impl AsRef<std::path::Path>, name: &str) -> Result<Self, LinkError> {
        Self::opened(Some(folder.as_ref()), name)
    }

    fn opened(folder: Option<&std::path::Path>, name: &str) -> Result<Self, LinkError> {
        let link = crate::shm::ShmLink::open(folder, name)?;
        Ok(Self { place: Place::Shared(Arc::new(link), Arc::default()) })
    }

    pub(crate) fn in_shared_memory(
        name: &str,
        folder: Option<&std::path::Path>,
        geometry: &Geometry,
        mode: u32,
        existing: crate::shm::Existing,
    ) -> Result<Self, LinkError> {
        let (link, made) = crate::shm::create(folder, name, geometry, mode, existing)?;
        Ok(Self { place: Place::Shared(Arc::new(link), Arc::new(made)) })
    }

    /// Readers that this handle and its clones make from now on map the producer's memory writable. They load from
    /// it all the same, and nothing else; those that are there already keep the mapping that they have.
    ///
    /// It is for the speed of AMD's processors. There, a load through a writable mapping takes over a cache line that
    /// another core has written, and a load through a read-only one leaves it shared, so that the producer waits when it
    /// writes there again. Measured on one of them (Zen 4): the round trip of a bare word takes 1.4 to
    /// 1.8 times as long through a read-only mapping, that of a fragment to an observer, or to one of several consumers that
    /// wait, 1.1 to 1.6 times. A consumer with a slot that is the only one to wait has next to nothing from it: what it
    /// waits for is shown to it in a page of its own, and the fragments of a stream take hardly longer. It has an effect where
    /// links lie in memory, as they do by default (tmpfs, hugetlbfs): of a file on a disk, the kernel maps a page writable
    /// only once it is written to.
    ///
    /// What is given up: the page tables keep a stray store of the reader's process (of foreign code in it, say)
    /// from damaging the link for everybody. Call it in processes that you trust as you trust the producer's.
    ///
    /// On the heap, there is nothing to do.
    ///
    /// # Errors
    /// [`LinkErrorKind::System`] if this user cannot write to the producer's file, [`LinkErrorKind::NotFound`] if the
    /// link has been removed, or its file replaced, since it was opened, [`LinkErrorKind::Invalid`] in a forked child (see
    /// [`Link`]). Then readers map it read-only, as before.
    pub fn map_writable(&self) -> Result<(), LinkError> {
        match &self.place {
            Place::Heap(_) => Ok(()),
            Place::Shared(link, _) => link.map_writable(),
        }
    }

    /// The folder of links that is meant by `folder`: that one, or for `None` the default one, which is
    /// `TANGO_DIR` from the environment if that is not empty, otherwise `/dev/shm/tango-UID` with the number
    /// of the user. It may not exist yet.
    pub fn folder_of_links(folder: Option<&std::path::Path>) -> std::path::PathBuf {
        crate::shm::folder_of_links(folder)
    }

    /// The names of the links in a folder of links (`None`: the default one), sorted. Dead ones
    /// included, hidden ones and other things left out.
    ///
    /// # Errors
    /// [`LinkErrorKind::System`] if the folder cannot be read.
    pub fn list(folder: Option<&std::path::Path>) -> Result<Vec<std::string::String>, LinkError> {
        crate::shm::list(folder)
    }

    /// Takes the link of this name away, whatever state its files are in. Whoever is attached goes on
    /// undisturbed; the memory is freed when the last one has gone.
    ///
    /// # Errors
    /// [`LinkErrorKind::NotFound`] if there is none; [`LinkErrorKind::Incompatible`] if the folder
    /// holds something that is not part of a link; [`LinkErrorKind::System`] if it may not be removed, or if another
    /// process, perhaps a stopped one, has been taking links away for ten seconds.
    pub fn remove_named(folder: Option<&std::path::Path>, name: &str) -> Result<(), LinkError> {
        crate::shm::remove(folder, name)
    }

    /// Who holds the link of this name at this moment, whatever state its files are in: its producer, its
    /// consumers, or somebody who stops it. Nobody: it is dead. Observers hold nothing.
    ///
    /// Others may join or leave before the caller looks at the answer; [`Link::remove_dead`] asks and
    /// removes in one.
    ///
    /// # Errors
    /// [`LinkErrorKind::NotFound`] if there is none; [`LinkErrorKind::Incompatible`] if it is no folder;
    /// [`LinkErrorKind::System`] if this user cannot tell.
    pub fn holders(folder: Option<&std::path::Path>, name: &str) -> Result<crate::Holders, LinkError> {
        crate::shm::holders(folder, name)
    }

    /// [`Link::remove_named`] for a link that nobody holds. Nobody can join it meanwhile: who tries is told
    /// that it is taken, or gone.
    ///
    /// # Errors
    /// [`LinkErrorKind::InUse`] names those who hold it; otherwise as [`Link::remove_named`].
    pub fn remove_dead(folder: Option<&std::path::Path>, name: &str) -> Result<(), LinkError> {
        crate::shm::remove_dead(folder, name)
    }

    /// [`Link::remove_dead`] for every link in a folder of links (`None`: the default one): their names,
    /// sorted, and what became of each. Also frees the space of links whose makers or removers died half
    /// way.
    ///
    /// # Errors
    /// [`LinkErrorKind::System`] if the folder cannot be read or locked (see [`Link::remove_named`]). No such folder: no
    /// links.
    #[allow(clippy::type_complexity)]
    pub fn remove_all_dead(
        folder: Option<&std::path::Path>,
    ) -> Result<Vec<(std::string::String, Result<(), LinkError>)>, LinkError> {
        crate::shm::remove_all_dead(folder)
    }

    /// [`Link::remove_named`] for this very link: one of the same name that was made later is left alone.
    /// On the heap, there is nothing to do.
    ///
    /// # Errors
    /// [`LinkErrorKind::NotFound`] if it has been removed already; [`LinkErrorKind::Invalid`] in a forked child (see
    /// [`Link`]); otherwise as [`Link::remove_named`].
    pub fn remove(&self) -> Result<(), LinkError> {
        match &self.place {
            Place::Heap(_) => Ok(()),
            Place::Shared(link, _) => link.remove(),
        }
    }

    /// Its name, in shared memory.
    pub fn name(&self) -> Option<&str> {
        match &self.place {
            Place::Heap(_) => None,
            Place::Shared(link, _) => Some(link.name()),
        }
    }

    /// Its folder, in shared memory.
    pub fn path(&self) -> Option<&std::path::Path> {
        match &self.place {
            Place::Heap(_) => None,
            Place::Shared(link, _) => Some(link.path()),
        }
    }
}

#[repr(C, align(128))]
struct RingBlock([AtomicU64; SLOT / WORD]);

#[repr(C, align(64))]
struct Granule([AtomicU64; GRANULE / WORD]);

/// The memory of a link on the heap.
struct HeapLink {
    geometry: Geometry,
    head: Head,
    stop: Padded<AtomicU64>,
    ring: Box<[RingBlock]>,
    region: Box<[Granule]>,
    consumers: Box<[ConsumerSlot]>,
    /// For each slot, and for the producer: not zero while somebody has it.
    taken: Box<[AtomicU64]>,
    producer_taken: AtomicU64,
}

impl core::fmt::Debug for HeapLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HeapLink").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

/// `count` values, touched one by one where they will stay.
fn filled<T>(count: usize, value: impl Fn() -> T) -> Result<Box<[T]>, LinkError> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| {
        let bytes = count.saturating_mul(size_of::<T>());
        LinkError::new(LinkErrorKind::System, format!("no memory for {bytes} bytes of a link"))
    })?;
    values.resize_with(count, value);
    Ok(values.into_boxed_slice())
}

impl HeapLink {
    fn new(geometry: Geometry) -> Result<Self, LinkError> {
        const fn zero() -> AtomicU64 {
            AtomicU64::new(0)
        }
        let blocks = geometry.depth * geometry.slot / SLOT;
        let link = Self {
            geometry,
            head: Head::new(),
            stop: Padded::new(zero()),
            ring: filled(blocks, || RingBlock([const { zero() }; SLOT / WORD]))?,
            region: filled(geometry.region / GRANULE, || Granule([const { zero() }; GRANULE / WORD]))?,
            consumers: filled(geometry.consumers, ConsumerSlot::new)?,
            taken: filled(geometry.consumers, zero)?,
            producer_taken: zero(),
        };
        producer::prepare(&link.borrowed_parts(), geometry.start);
        Ok(link)
    }

    /// Makes the words exist for the model checker; of each slot, as many as metadata and `payload` words take.
    #[cfg(all(loom, test))]
    fn touch(&self, payload: usize) {
        self.head.touch();
        self.consumers.iter().for_each(ConsumerSlot::touch);
        for word in self.taken.iter().chain([&self.stop, &self.producer_taken]) {
            word.touch();
        }
        let used = crate::ring::line::META_WORDS + payload;
        self.ring.iter().for_each(|block| block.0[..used].iter().for_each(AtomicU64::touch));
    }

    fn borrowed_parts(&self) -> Parts<'_> {
        // SAFETY: both are arrays of atomics without padding (their size is their alignment), borrowed
        // from `self` like the result.
        let (ring, region) = unsafe {
            (
                core::slice::from_raw_parts(self.ring.as_ptr().cast(), self.ring.len() * (SLOT / WORD)),
                core::slice::from_raw_parts(
                    self.region.as_ptr().cast(),
                    self.region.len() * (GRANULE / WORD),
                ),
            )
        };
        Parts {
            ring: Ring::new(ring, self.geometry.slot),
            granules: Granules::new(region),
            head: &self.head,
            stop: &self.stop,
            mtu: self.geometry.mtu,
            observers: self.geometry.observers,
        }
    }

    /// The link for as long as an `Arc` of it is kept: everything that is built on this keeps one, in the
    /// field that is dropped last, and hands out nothing that outlives a borrow of itself.
    fn kept(this: &Arc<Self>) -> &'static Self {
        // SAFETY: the memory of an `Arc` does not move, and lives until the last one is dropped; see above.
        unsafe { &*Arc::as_ptr(this) }
    }

    fn parts(this: &Arc<Self>) -> Parts<'static> {
        Self::kept(this).borrowed_parts()
    }

    fn producer(this: &Arc<Self>) -> Result<Producer<'static>, LinkError> {
        // Acquire: sees all that the producer before has done. Pairs with the Release in `drop`.
        if this.producer_taken.compare_exchange(0, 1, ordering("link.enter", AcqRel), Relaxed).is_err() {
            return Err(TangoError::ProducerTaken.into());
        }
        let claim = Claim::Owned(Box::new(HeapProducer { link: this.clone() }));
        let Geometry { credits, start, .. } = this.geometry;
        let slots = Slots::watching(Self::kept(this).consumers.iter().map(|slot| (slot, None)));
        Ok(Producer::attach(Self::parts(this), slots, credits, this.geometry.is_ample(), start, claim))
    }

    /// A consumer with a slot.
    fn seated(
        this: &Arc<Self>,
        start: Start,
        mode: impl FnOnce(Seat<'static>) -> Mode<'static>,
    ) -> Result<Consumer<'static>, LinkError> {
        let free =
            |flag: &AtomicU64| flag.compare_exchange(0, 1, ordering("link.enter", Acquire), Relaxed).is_ok();
        let slot = this.taken.iter().position(free).ok_or(TangoError::ConsumerTaken)?;
        let claim = Attachment::Owned(Box::new(HeapConsumer { link: this.clone(), slot: Some(slot) }));
        let kept = Self::kept(this);
        let mode = mode(Seat::new(&kept.consumers[slot], None, &kept.head.eventcount));
        Ok(Consumer::attach(Self::parts(this), mode, start, claim))
    }
}

struct HeapProducer {
    link: Arc<HeapLink>,
}

impl ProducerClaim for HeapProducer {
    fn consumer_lives(&self, _slot: usize) -> bool {
        // A consumer on the heap leaves when it is dropped; one that is leaked holds its slot for ever.
        true
    }
}

impl Drop for HeapProducer {
    fn drop(&mut self) {
        self.link.producer_taken.store(0, ordering("link.leave", Release));
    }
}

struct HeapConsumer {
    link: Arc<HeapLink>,
    slot: Option<usize>,
}

impl ConsumerClaim for HeapConsumer {
    fn producer_lives(&self) -> bool {
        true
    }
}

impl Drop for HeapConsumer {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.link.taken[slot].store(0, ordering("link.leave", Release));
        }
    }
}
