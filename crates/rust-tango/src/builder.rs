//! [`LinkBuilder`]: the sizes of a link, checked; and [`ChannelBuilder`], the borrowed API's.

use crate::dcache::{DCache, GRANULE};
use crate::error::LinkError;
use crate::fctl::Fctl;
use crate::fseq::Fseq;
use crate::geometry::{Geometry, MAX_MTU};
use crate::link::Link;
use crate::mcache::{MCache, SLOT};
use crate::metrics::Metrics;

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
    /// [`LinkErrorKind::Invalid`](crate::LinkErrorKind::Invalid) names the size that is out of its range;
    /// [`LinkErrorKind::System`](crate::LinkErrorKind::System) if there is not enough memory.
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
    /// [`LinkErrorKind::Invalid`](crate::LinkErrorKind::Invalid) names what is out of its range; [`LinkErrorKind::InUse`](crate::LinkErrorKind::InUse) if a link of
    /// that name has a producer or a consumer; [`LinkErrorKind::System`](crate::LinkErrorKind::System) if there is no space, no
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

impl Link {
    /// Sizes for a new link: [`LinkBuilder::build`] makes it on the heap, `LinkBuilder::create` in shared
    /// memory.
    pub fn builder() -> LinkBuilder {
        LinkBuilder::new()
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
