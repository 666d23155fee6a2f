//! [`LinkBuilder`]: the sizes of a link, checked; and [`ChannelBuilder`], the borrowed API's.

use alloc::format;

use crate::dcache::{DCache, GRANULE};
use crate::error::{LinkError, LinkErrorKind};
use crate::fctl::Fctl;
use crate::fseq::Fseq;
use crate::link::Link;
use crate::mcache::{MCache, SLOT};
use crate::metrics::Metrics;
use crate::words::WORD;

/// The sizes of a link, fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Lines of the ring: how many fragments can be under way. A power of two, at least 2.
    pub depth: usize,
    /// The largest payload of one fragment, in bytes.
    pub mtu: usize,
    /// Size of a slot of the ring, in bytes: 32 of metadata, the rest for a small payload.
    pub slot: usize,
    /// Size of the region for payloads that do not fit a slot, in bytes, a multiple of 64. 0 if all do.
    pub region: usize,
    /// Slots for reliable consumers.
    pub consumers: usize,
    /// Whether observers may attach.
    pub observers: bool,
    /// How many fragments may be published and not yet consumed: 1 to `depth`.
    pub credits: u64,
    /// The first sequence number.
    pub start: u64,
}

/// Most lines of a ring.
pub(crate) const MAX_DEPTH: usize = 1 << 28;
/// Largest slot, in bytes.
pub(crate) const MAX_SLOT: usize = 1 << 20;
/// Most slots for reliable consumers.
pub(crate) const MAX_CONSUMERS: usize = 256;
/// Largest payload of one fragment, in bytes.
pub(crate) const MAX_MTU: usize = 1 << 31;
/// Largest region, in bytes: granules have 32-bit numbers, of which one is taken.
pub(crate) const MAX_REGION: usize = (u32::MAX as usize - 1) * GRANULE;

impl Geometry {
    /// Refuses sizes that make no link, naming the one that is wrong and what would be right.
    pub(crate) fn check(&self) -> Result<(), LinkError> {
        let Self { depth, mtu, slot, region, consumers, observers: _, credits, start: _ } = *self;
        let wrong = |what| Err(LinkError::new(LinkErrorKind::Invalid, what));
        if !depth.is_power_of_two() || !(2..=MAX_DEPTH).contains(&depth) {
            return wrong(format!("a depth of {depth} is not a power of two from 2 to {MAX_DEPTH}"));
        }
        if mtu > MAX_MTU {
            return wrong(format!("an MTU of {mtu} bytes is over the limit of {MAX_MTU}"));
        }
        if !slot.is_power_of_two() || !(SLOT..=MAX_SLOT).contains(&slot) {
            return wrong(format!("a slot of {slot} bytes is not a power of two from {SLOT} to {MAX_SLOT}"));
        }
        if consumers > MAX_CONSUMERS {
            return wrong(format!("{consumers} slots for consumers are over the limit of {MAX_CONSUMERS}"));
        }
        if credits == 0 || credits > depth as u64 {
            return wrong(format!("{credits} credits are not from 1 to the depth of {depth}"));
        }
        let largest = mtu.next_multiple_of(GRANULE);
        if !self.all_fit_slots() && (region < largest || region > MAX_REGION || region % GRANULE != 0) {
            return wrong(format!(
                "a region of {region} bytes is not a multiple of {GRANULE} from {largest} (one payload of the MTU) to {MAX_REGION}"
            ));
        }
        if self.all_fit_slots() && region != 0 {
            return wrong(format!("a region of {region} bytes is of no use: all payloads fit their slots"));
        }
        if depth
            .checked_mul(slot)
            .and_then(|ring| ring.checked_add(region))
            .is_none_or(|all| all > isize::MAX as usize)
        {
            return wrong(format!("a depth of {depth} with slots of {slot} bytes does not fit memory"));
        }
        Ok(())
    }

    /// Whether no payload needs the region.
    pub(crate) fn all_fit_slots(&self) -> bool {
        self.mtu <= self.slot - crate::line::META_WORDS * WORD
    }

    /// Whether payloads never die in the region before their lines do; see `Placement::new`.
    pub(crate) fn is_ample(&self) -> bool {
        let largest = self.mtu.next_multiple_of(GRANULE);
        (self.depth + 1).checked_mul(largest).is_some_and(|need| self.region >= need)
    }
}

/// Sizes for a new link. Start with [`Link::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder makes a link only with `build` or `create`"]
pub struct LinkBuilder {
    depth: usize,
    mtu: usize,
    slot: usize,
    region: Option<usize>,
    consumers: usize,
    observers: bool,
    credits: Option<u64>,
    start: u64,
    #[cfg(feature = "shm")]
    dir: Option<std::path::PathBuf>,
}

impl LinkBuilder {
    pub(crate) fn new() -> Self {
        Self {
            depth: 1024,
            mtu: 256,
            slot: SLOT,
            region: None,
            consumers: 1,
            observers: true,
            credits: None,
            start: 1,
            #[cfg(feature = "shm")]
            dir: None,
        }
    }

    /// How many fragments can be under way: a power of two from 2. Default 1024.
    pub fn depth(mut self, lines: usize) -> Self {
        self.depth = lines;
        self
    }

    /// The largest payload of one fragment, in bytes, up to 2 GiB. Default 256.
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = bytes;
        self
    }

    /// Size of a slot, in bytes: a power of two from 128 (the default) to 1 MiB. A payload of up to 32
    /// bytes less travels beside its metadata, which is faster; each of `depth` slots takes this much.
    pub fn slot(mut self, bytes: usize) -> Self {
        self.slot = bytes;
        self
    }

    /// Size of the region for payloads that do not fit a slot, in bytes; rounded up to a multiple of 64.
    ///
    /// It bounds the bytes that are under way, whatever the depth: a link may carry many small messages
    /// and a few large ones without room for `depth` large ones. At least the MTU. The default has room
    /// for `depth + 1` payloads of the MTU, or for 1 MiB and four such payloads if that is less. Not used
    /// where every payload fits a slot.
    pub fn region(mut self, bytes: usize) -> Self {
        self.region = Some(bytes);
        self
    }

    /// How many reliable consumers can be attached at a time, 0 to 256. Default 1.
    pub fn consumers(mut self, slots: usize) -> Self {
        self.consumers = slots;
        self
    }

    /// Whether observers may attach. Default true. Without them, [`Loan::as_mut_slice`] lends the ring's
    /// memory itself.
    ///
    /// [`Loan::as_mut_slice`]: crate::Loan::as_mut_slice
    pub fn observers(mut self, allowed: bool) -> Self {
        self.observers = allowed;
        self
    }

    /// How many fragments may be published and not yet consumed, 1 to `depth` (the default).
    pub fn credits(mut self, fragments: u64) -> Self {
        self.credits = Some(fragments);
        self
    }

    /// The first sequence number. Default 1. Any number: sequences wrap.
    pub fn start(mut self, seq: u64) -> Self {
        self.start = seq;
        self
    }

    /// The folder in which [`LinkBuilder::create`] puts the link; otherwise `TANGO_DIR` from the
    /// environment, otherwise `/dev/shm/tango-UID`.
    #[cfg(feature = "shm")]
    pub fn dir(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
        self.dir = Some(folder.into());
        self
    }

    /// Makes a link on the heap, for threads of this process. All its memory is touched here.
    ///
    /// # Errors
    /// [`LinkErrorKind::Invalid`] names the size that is out of its range;
    /// [`LinkErrorKind::System`] if there is not enough memory.
    pub fn build(self) -> Result<Link, LinkError> {
        Link::on_heap(self.geometry()?)
    }

    /// Makes a link in shared memory, for processes of this machine, under a name that
    /// [`Link::open`] finds.
    ///
    /// A link of that name that nobody uses any more is replaced. Until it has taken the producer, or
    /// dropped the link and its clones, no other process can be its producer.
    ///
    /// # Errors
    /// [`LinkErrorKind::Invalid`] names what is out of its range; [`LinkErrorKind::InUse`] if a link of
    /// that name has a producer or a consumer; [`LinkErrorKind::System`] if there is no space, no
    /// permission, ...
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub fn create(self, name: &str) -> Result<Link, LinkError> {
        let geometry = self.geometry()?;
        Link::in_shared_memory(name, self.dir.as_deref(), geometry)
    }

    fn geometry(&self) -> Result<Geometry, LinkError> {
        let mut geometry = Geometry {
            depth: self.depth,
            mtu: self.mtu,
            slot: self.slot,
            region: 0,
            consumers: self.consumers,
            observers: self.observers,
            credits: self.credits.unwrap_or(self.depth as u64),
            start: self.start,
        };
        // The sizes that the region follows from have to be right first.
        Geometry { region: 0, mtu: 0, ..geometry }.check()?;
        if !geometry.all_fit_slots() {
            let largest = self.mtu.min(MAX_MTU).next_multiple_of(GRANULE);
            geometry.region = match self.region {
                Some(bytes) => bytes.checked_next_multiple_of(GRANULE).unwrap_or(usize::MAX),
                None => (self.depth + 1).saturating_mul(largest).min((1 << 20) + 4 * largest),
            };
        }
        geometry.check()?;
        Ok(geometry)
    }
}

/// Makes the parts of a link of the borrowed API.
///
/// ```
/// use rust_tango::{ChannelBuilder, Consumer, Producer};
///
/// let (mcache, dcache, fseq, fctl, metrics) =
///     ChannelBuilder::<64, 64, 256>::new().with_flow_control().with_metrics().build();
/// let (fctl, metrics) = (fctl.unwrap(), metrics.unwrap());
/// let producer = Producer::with_flow_control(&mcache, &dcache, &fseq, &fctl).with_metrics(&metrics);
/// let mut consumer = Consumer::with_flow_control(&mcache, &dcache, &fctl, 1).with_metrics(&metrics);
/// producer.publish(b"hello", 0, 0, 0)?;
/// assert_eq!(consumer.poll()?.unwrap().payload.as_slice(), b"hello");
/// # Ok::<(), rust_tango::TangoError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChannelBuilder<const DEPTH: usize, const COUNT: usize, const SIZE: usize> {
    initial_seq: u64,
    flow_control: bool,
    metrics: bool,
}

/// What [`ChannelBuilder::build`] makes.
pub type Channel<const DEPTH: usize, const COUNT: usize, const SIZE: usize> =
    (MCache<DEPTH>, DCache<COUNT, SIZE>, Fseq, Option<Fctl>, Option<Metrics>);

impl<const DEPTH: usize, const COUNT: usize, const SIZE: usize> Default
    for ChannelBuilder<DEPTH, COUNT, SIZE>
{
    fn default() -> Self {
        Self::new()
    }
}

impl<const DEPTH: usize, const COUNT: usize, const SIZE: usize> ChannelBuilder<DEPTH, COUNT, SIZE> {
    /// No flow control, no metrics, sequence numbers from 1.
    pub const fn new() -> Self {
        Self { initial_seq: 1, flow_control: false, metrics: false }
    }

    /// The first sequence number.
    #[must_use]
    pub const fn initial_seq(mut self, seq: u64) -> Self {
        self.initial_seq = seq;
        self
    }

    /// With an [`Fctl`] of `DEPTH` credits.
    #[must_use]
    pub const fn with_flow_control(mut self) -> Self {
        self.flow_control = true;
        self
    }

    /// With [`Metrics`].
    #[must_use]
    pub const fn with_metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// The parts. By value, so through the stack: for a large ring use [`MCache::boxed`] and
    /// [`DCache::boxed`], or a [`Link`].
    pub const fn build(self) -> Channel<DEPTH, COUNT, SIZE> {
        let fctl = if self.flow_control { Some(Fctl::new(DEPTH as u64)) } else { None };
        let metrics = if self.metrics { Some(Metrics::new()) } else { None };
        (MCache::new(), DCache::new(), Fseq::new(self.initial_seq), fctl, metrics)
    }
}
