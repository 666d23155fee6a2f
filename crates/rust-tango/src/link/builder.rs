//! [`LinkBuilder`]: the sizes of a new link, with defaults and checks.

use super::handle::Link;
use crate::cpu::words::WORD;
use crate::error::LinkError;
use crate::memory::geometry::{Geometry, MAX_MTU, MAX_REGION};
use crate::memory::hints::{Hints, MAX_PREFETCH};
use crate::memory::payload_type::PayloadType;
use crate::ring::line::META_WORDS;
use crate::ring::region::GRANULE;
use crate::ring::slots::{ROOMY, SMALLEST};

/// The permissions that the files of a link always have.
#[cfg(all(feature = "shm", target_os = "linux"))]
pub(super) const OWNER_ONLY: u32 = 0o600;

/// The sizes and other settings of a new link. Start with [`Link::builder`].
///
/// | setting | default | range |
/// |---|---|---|
/// | [`depth`](Self::depth) | 1024 | a power of two from 2 to 2^28 |
/// | [`mtu`](Self::mtu) | the size of the payload type, else 256 bytes | 0 to 2 GiB |
/// | [`slot`](Self::slot) | smallest that fits the MTU, if at most 512 bytes; else 128 | a multiple of 64 bytes, up to 1 MiB |
/// | [`region`](Self::region) | see there; 0 if every payload fits a slot | `mtu` to just under 256 GiB |
/// | [`consumers`](Self::consumers) | 1 | 0 to 256 |
/// | [`observers`](Self::observers) | true | |
/// | [`credits`](Self::credits) | `depth` | 1 to `depth` |
/// | [`start`](Self::start) | 1 | any number |
/// | [`payload_type`](Self::payload_type) | none | |
/// | [`hints`](Self::hints) | `$TANGO_HINTS`, else by the processor | |
/// | [`prefault`](Self::prefault) | false | |
/// | `dir` | `$TANGO_DIR`, else `/dev/shm/tango-UID` | |
/// | `mode` | 0o600 | 0o600, with 0o040 or 0o004 or both |
/// | `consumer_group` | none | a group of this user |
/// | `remove_on_drop` | false | |
///
/// Settings are checked by [`build`](Self::build), `create` and `create_or_take_over`. The result can be
/// asked with [`Link::geometry`].
///
/// # Examples
///
/// ```
/// use rust_tango::Link;
///
/// let link = Link::builder()
///     .depth(4096) // up to 4096 fragments under way
///     .mtu(64 << 10) // of up to 64 KiB each
///     .region(8 << 20) // but at most 8 MiB in total
///     .consumers(4)
///     .build()?;
/// assert_eq!(link.geometry().region, 8 << 20);
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder makes a link only with `build` or `create`"]
pub struct LinkBuilder {
    depth: usize,
    mtu: Option<usize>,
    slot: Option<usize>,
    region: Option<usize>,
    consumers: usize,
    observers: bool,
    credits: Option<u64>,
    start: u64,
    pub(super) payload_type: Option<PayloadType>,
    pub(super) hints: Option<Hints>,
    pub(super) prefault: bool,
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(super) dir: Option<std::path::PathBuf>,
    /// Of the files, without the kind of file.
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(super) mode: u32,
    /// The group whose members can be consumers.
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(super) consumer_group: Option<u32>,
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(super) remove_on_drop: bool,
}

impl LinkBuilder {
    pub(crate) fn new() -> Self {
        Self {
            depth: 1024,
            mtu: None,
            slot: None,
            region: None,
            consumers: 1,
            observers: true,
            credits: None,
            start: 1,
            payload_type: None,
            hints: None,
            prefault: false,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            dir: None,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            mode: OWNER_ONLY,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            consumer_group: None,
            #[cfg(all(feature = "shm", target_os = "linux"))]
            remove_on_drop: false,
        }
    }

    /// The number of slots of the ring: how many fragments can be under way. A power of two from 2 to 2^28.
    /// Default: 1024.
    ///
    /// See [`LinkBuilder`] for an example.
    pub fn depth(mut self, lines: usize) -> Self {
        self.depth = lines;
        self
    }

    /// The largest payload of one fragment, in bytes: 0 to 2 GiB. Default: 256, or the size of the
    /// [`payload_type`](Self::payload_type), which is also the least.
    ///
    /// With 0, payloads are empty: fragments are notifications, of which `sig`, `ctl` and `ts` say everything. The
    /// command `tango send`, which carries bytes, makes links of at least 1; `tango recv`, `ls` and `rm` work with
    /// any.
    ///
    /// Longer messages are sent in several fragments
    /// ([`Producer::send_message`](crate::Producer::send_message)). See [`LinkBuilder`] for an example.
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = Some(bytes);
        self
    }

    /// The size of a slot of the ring, in bytes: a multiple of 64, up to 1 MiB.
    ///
    /// A slot has 32 bytes of metadata. A payload that fits the rest travels in the slot, which is faster.
    /// Each of the `depth` slots takes this much memory. Default: the smallest slot that fits the MTU, if
    /// that is at most 512 bytes and no [`region`](Self::region) is requested, otherwise 128.
    ///
    /// A larger slot pays if most messages are long. Measured on Intel Emerald Rapids between two threads, in a ring of
    /// 1024: payloads of 512 bytes are 1.27 times as fast in slots of 576 bytes as in the region, those of 1024 bytes 1.2
    /// times; those of 2048 bytes are slower (0.9). Payloads of 64 bytes are slower in large slots: 0.9 in a ring of 1024
    /// with slots of 1088 bytes, 0.3 in a ring of 16384.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let geometry = Link::builder().mtu(480).build()?.geometry();
    /// assert_eq!((geometry.slot, geometry.region), (512, 0)); // every payload fits a slot
    ///
    /// let geometry = Link::builder().mtu(480).slot(128).build()?.geometry();
    /// assert!(geometry.region > 0); // payloads over 96 bytes go to the region
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn slot(mut self, bytes: usize) -> Self {
        self.slot = Some(bytes);
        self
    }

    /// The size of the region for payloads that do not fit a slot, in bytes. Rounded up to a multiple of 64.
    ///
    /// It limits the bytes that are under way, whatever the depth: a link can carry many small messages and
    /// a few large ones without room for `depth` large ones. At least the MTU, and less than 256 GiB.
    /// Ignored if every payload fits a slot.
    ///
    /// Default: room for `depth + 1` payloads of the MTU, or for 16 MiB and four such payloads if that is
    /// less. If that is over 512 KiB, the default is at least 4 MiB: the memory that is written next has
    /// then left the second-level cache of the reader, from which taking it back is slow (`bench/`:
    /// workload `throughput`, 1 KiB).
    ///
    /// See [`LinkBuilder`] for an example.
    pub fn region(mut self, bytes: usize) -> Self {
        self.region = Some(bytes);
        self
    }

    /// How many consumers (reliable or evictable) can be attached at a time: 0 to 256. Default: 1.
    ///
    /// Observers need no slot. See [`LinkBuilder`] for an example.
    pub fn consumers(mut self, slots: usize) -> Self {
        self.consumers = slots;
        self
    }

    /// Whether observers and evictable consumers may attach. Default: true.
    ///
    /// Without them, [`Loan::as_mut_slice`](crate::Loan::as_mut_slice) lends the memory of the ring itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::{Link, LinkErrorKind};
    /// let link = Link::builder().observers(false).build()?;
    /// assert_eq!(link.observer().unwrap_err().kind(), LinkErrorKind::Invalid);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn observers(mut self, allowed: bool) -> Self {
        self.observers = allowed;
        self
    }

    /// How many fragments may be published and not yet consumed: 1 to `depth`. Default: `depth`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().depth(1024).credits(2).build()?;
    /// let (tx, _rx) = (link.producer()?, link.consumer()?);
    /// assert_eq!(tx.publish_batch(&[b"1", b"2", b"3"], 0, 0), 2);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn credits(mut self, fragments: u64) -> Self {
        self.credits = Some(fragments);
        self
    }

    /// The first sequence number: any number, because sequence numbers wrap. Default: 1.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().start(1000).build()?;
    /// assert_eq!(link.producer()?.next_seq(), 1000);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn start(mut self, seq: u64) -> Self {
        self.start = seq;
        self
    }

    /// The type of the payloads, which the link then remembers: see [`PayloadType`], which has an example. The MTU is at
    /// least the size of the type. Default: none; the link carries bytes.
    pub fn payload_type(mut self, payload_type: PayloadType) -> Self {
        self.payload_type = Some(payload_type);
        self
    }

    /// What the ends that this handle and its clones make do for speed, for people who measure: see [`Hints`]. Default:
    /// the environment variable `TANGO_HINTS`, otherwise what was measured to pay on this processor.
    ///
    /// A handle of a link that was opened by name takes the default.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::{Hints, Link};
    /// let mut hints = Hints::NONE;
    /// hints.hot_slot = true;
    /// let link = Link::builder().hints(hints).build()?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn hints(mut self, hints: Hints) -> Self {
        let at_most = |ahead: u8| ahead.min(MAX_PREFETCH);
        self.hints = Some(Hints {
            prefetch: at_most(hints.prefetch),
            prefetch_batches: at_most(hints.prefetch_batches),
            prefetch_large: at_most(hints.prefetch_large),
            ..hints
        });
        self
    }

    /// Whether the memory of the link is touched before it is used. Default: false.
    ///
    /// The system gives a process each page of memory when the process first touches it. So the first fragments, once
    /// around the ring and through the region, take a page fault for each page that they are the first to touch: up
    /// to a microsecond or two for every 4 KiB. With `true`, [`build`](Self::build) and `create` touch all pages
    /// instead, and take as much longer: about 0.3 milliseconds for each MiB on a virtual machine. In shared memory,
    /// each process that opens the link then maps all pages at once, too.
    ///
    /// For programs whose first messages count as much as the later ones. Where the link continues an existing one
    /// (`create_or_take_over`), the setting of that one remains.
    ///
    /// In shared memory, the space is reserved when the link is made, with either setting: a full filesystem is an
    /// error then, and never the end of a process that touches the memory later.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().depth(4096).mtu(1024).prefault(true).build()?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn prefault(mut self, touch: bool) -> Self {
        self.prefault = touch;
        self
    }

    /// Makes a link on the heap, for threads of this process. See [`LinkBuilder`] for an example.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::Invalid`](crate::LinkErrorKind::Invalid) if a setting is out of its range, or `TANGO_HINTS` is
    /// not valid (the message names it); [`LinkErrorKind::System`](crate::LinkErrorKind::System) if there is not enough
    /// memory.
    pub fn build(self) -> Result<Link, LinkError> {
        Link::on_heap(self.geometry()?, self.payload_type, self.hints, self.prefault)
    }

    /// The sizes, after a check of all settings that every link has.
    pub(super) fn geometry(&self) -> Result<Geometry, LinkError> {
        const MTU: usize = 256;
        let mtu = match &self.payload_type {
            None => self.mtu.unwrap_or(MTU),
            Some(payload_type) => {
                payload_type.check()?;
                self.mtu.unwrap_or_default().max(payload_type.size())
            }
        };
        let mut geometry = Geometry {
            depth: self.depth,
            mtu,
            slot: self.slot.unwrap_or(if self.region.is_some() { ROOMY } else { default_slot(mtu) }),
            region: 0,
            consumers: self.consumers,
            observers: self.observers,
            credits: self.credits.unwrap_or(self.depth as u64),
            start: self.start,
        };
        // Checks the sizes from which the region is computed.
        Geometry { region: 0, mtu: 0, ..geometry }.check()?;
        if !geometry.all_fit_slots() {
            let largest = mtu.min(MAX_MTU).next_multiple_of(GRANULE);
            geometry.region = match self.region {
                // If it is out of range, the check below reports the number that was requested.
                Some(bytes) => bytes
                    .checked_next_multiple_of(GRANULE)
                    .filter(|region| (largest..=MAX_REGION).contains(region))
                    .unwrap_or(bytes),
                None => default_region(self.depth, largest),
            };
        }
        geometry.check()?;
        Ok(geometry)
    }
}

/// See [`LinkBuilder::slot`].
fn default_slot(mtu: usize) -> usize {
    const LARGEST: usize = 512;
    let need = mtu.saturating_add(META_WORDS * WORD);
    if need <= LARGEST { need.next_multiple_of(SMALLEST) } else { ROOMY }
}

/// See [`LinkBuilder::region`].
fn default_region(depth: usize, largest: usize) -> usize {
    const SMALL: usize = 512 << 10;
    const LEAST: usize = 4 << 20;
    const MOST: usize = 16 << 20;
    let all = (depth + 1).saturating_mul(largest).min(MOST + 4 * largest);
    if all <= SMALL { all } else { all.max(LEAST) }
}

impl Link {
    /// Settings for a new link: [`LinkBuilder::build`] makes it on the heap, `LinkBuilder::create` in
    /// shared memory. See [`LinkBuilder`] for an example.
    pub fn builder() -> LinkBuilder {
        LinkBuilder::new()
    }
}
