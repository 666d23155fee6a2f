//! [`LinkBuilder`]: the sizes of a link, checked.

use crate::cpu::words::WORD;
use crate::error::LinkError;
use crate::link::Link;
use crate::memory::geometry::{Geometry, MAX_MTU, MAX_REGION};
use crate::ring::line::META_WORDS;
use crate::ring::region::GRANULE;
use crate::ring::slots::SLOT;

/// Permissions of the files of a link: those it needs, and those it may have besides.
#[cfg(feature = "shm")]
const OWNER_ONLY: u32 = 0o600;
#[cfg(all(feature = "shm", target_os = "linux"))]
const OTHERS_READ: u32 = 0o044;

/// Sizes for a new link. Start with [`Link::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder makes a link only with `build` or `create`"]
pub struct LinkBuilder {
    depth: usize,
    mtu: usize,
    slot: Option<usize>,
    region: Option<usize>,
    consumers: usize,
    observers: bool,
    credits: Option<u64>,
    start: u64,
    #[cfg(feature = "shm")]
    dir: Option<std::path::PathBuf>,
    /// Of the files, without the kind of file.
    #[cfg(feature = "shm")]
    mode: u32,
}

impl LinkBuilder {
    pub(crate) fn new() -> Self {
        Self {
            depth: 1024,
            mtu: 256,
            slot: None,
            region: None,
            consumers: 1,
            observers: true,
            credits: None,
            start: 1,
            #[cfg(feature = "shm")]
            dir: None,
            #[cfg(feature = "shm")]
            mode: OWNER_ONLY,
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

    /// Size of a slot, in bytes: a power of two from 128 to 1 MiB. A payload of up to 32 bytes less travels beside
    /// its metadata, which is faster; each of `depth` slots takes this much. The default is the smallest that the
    /// MTU fits, if that is at most 512 and no [`Self::region`] is asked for, and otherwise 128.
    pub fn slot(mut self, bytes: usize) -> Self {
        self.slot = Some(bytes);
        self
    }

    /// Size of the region for payloads that do not fit a slot, in bytes; rounded up to a multiple of 64.
    ///
    /// It bounds the bytes that are under way, whatever the depth: a link may carry many small messages
    /// and a few large ones without room for `depth` large ones. At least the MTU. The default has room
    /// for `depth + 1` payloads of the MTU, or for 16 MiB and four such payloads if that is less. Where it would be
    /// over 512 KiB, it is 4 MiB at least: what is written next has then left the second level of the caches,
    /// from which taking it back is slow (`bench/`: workload `throughput`, 1 KiB). Not used where every payload fits a slot.
    pub fn region(mut self, bytes: usize) -> Self {
        self.region = Some(bytes);
        self
    }

    /// How many reliable consumers can be attached at a time, 0 to 256. Default 1.
    pub fn consumers(mut self, slots: usize) -> Self {
        self.consumers = slots;
        self
    }

    /// Whether observers, and evictable consumers, may attach. Default true. Without them,
    /// [`Loan::as_mut_slice`] lends the ring's memory itself.
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

    /// The permissions of the link's files, as for `chmod`: 0o600 (the default) for this user alone, with
    /// 0o040 so that its group can read the link too, with 0o004 so that everybody can. Nobody else can be
    /// allowed to write, and the umask does not matter. The folder of the link gets a matching mode (0o750
    /// for 0o640).
    ///
    /// Who may read can be an observer, of a link of any user. It cannot be a consumer, which writes its
    /// progress into a file of the link. It can do no harm but one: hold a lock that keeps others from
    /// *becoming* producer or consumer of this link.
    ///
    /// The folder of links has to let them in as well. The default one, and one that is made for the first
    /// link in it, is for its owner alone (0o700). So make one for the purpose, which the group can search
    /// (0o710; 0o750 so that it can list the links, too), and name it with [`LinkBuilder::dir`] or
    /// `TANGO_DIR`:
    ///
    /// ```sh
    /// install -d -m 2710 -g traders /dev/shm/quotes   # the 2: links in it get its group
    /// ```
    ///
    /// Without the setgid bit (2), files get the group of the process that makes the link.
    #[cfg(feature = "shm")]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
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
    /// A link of that name that nobody uses any more is replaced: observers that are still on it read what
    /// is there, and learn nothing of the new one. To go on with it instead:
    /// [`LinkBuilder::create_or_take_over`]. So is one that is broken: a folder with no other files in it than links
    /// have (`tx`, `ctl`, `rx.0`, ...), whatever they hold.
    ///
    /// Until it has taken the producer, or dropped the link and its clones, no other process can be its
    /// producer. All its space is reserved here: a filesystem that is full says so now, and not in the
    /// middle of a message. (That somebody with the right to write truncates a file of the link later
    /// cannot be prevented: whoever then touches the memory gets SIGBUS.)
    ///
    /// # Errors
    /// [`LinkErrorKind::Invalid`](crate::LinkErrorKind::Invalid) names what is out of its range;
    /// [`LinkErrorKind::InUse`](crate::LinkErrorKind::InUse) names those who hold a link of that name, be it
    /// its producer, consumers, or somebody who stops it;
    /// [`LinkErrorKind::Incompatible`](crate::LinkErrorKind::Incompatible) if there is something of that
    /// name that is no link; [`LinkErrorKind::System`](crate::LinkErrorKind::System) if there is no space,
    /// no permission, ..., or if there is something of that name and another process, perhaps a stopped one, has
    /// been taking links away for ten seconds. After an error, nothing of a new link is left.
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub fn create(self, name: &str) -> Result<Link, LinkError> {
        self.in_shared_memory(name, crate::shm::Existing::Replace)
    }

    /// Like [`LinkBuilder::create`], but a link of that name that has no producer, because it has ended or
    /// died, is taken over as it is: sequence numbers go on, what is in the ring can be read, and readers
    /// that are attached stay so. Without one, a link is made.
    ///
    /// It must be what the builder asks for: the same sizes and the same mode. (Only
    /// [`LinkBuilder::start`] does not matter: it is where a fresh link starts.) A link that somebody has
    /// stopped has ended for good; it is replaced as by `create`.
    ///
    /// ```no_run
    /// use rust_tango::Link;
    ///
    /// // A service that is restarted after any kind of death.
    /// let tx = Link::builder().depth(1024).consumers(4).create_or_take_over("quotes")?.producer()?;
    /// println!("goes on with fragment {}", tx.next_seq());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    ///
    /// # Errors
    /// As [`LinkBuilder::create`], though consumers alone are no hindrance; and
    /// [`LinkErrorKind::Incompatible`](crate::LinkErrorKind::Incompatible) if the link is not what was asked
    /// for, naming each difference, or not what this version of the library makes. `create` replaces it
    /// then.
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub fn create_or_take_over(self, name: &str) -> Result<Link, LinkError> {
        self.in_shared_memory(name, crate::shm::Existing::TakeOver)
    }

    #[cfg(all(feature = "shm", target_os = "linux"))]
    fn in_shared_memory(self, name: &str, existing: crate::shm::Existing) -> Result<Link, LinkError> {
        let geometry = self.geometry()?;
        let Self { mode, .. } = self;
        if mode & OWNER_ONLY != OWNER_ONLY || mode & !(OWNER_ONLY | OTHERS_READ) != 0 {
            let message = alloc::format!(
                "a mode of {mode:#o} is none for a link: 0o600, with 0o040 or 0o004 or both for others who may read; only the owner may write"
            );
            return Err(LinkError::new(crate::error::LinkErrorKind::Invalid, message));
        }
        Link::in_shared_memory(name, self.dir.as_deref(), &geometry, mode, existing)
    }

    fn geometry(&self) -> Result<Geometry, LinkError> {
        let mut geometry = Geometry {
            depth: self.depth,
            mtu: self.mtu,
            slot: self.slot.unwrap_or(if self.region.is_some() { SLOT } else { default_slot(self.mtu) }),
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
                // Where it will not do, as it was asked for: for the error.
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
    let slot = mtu.saturating_add(META_WORDS * WORD).max(SLOT);
    if slot <= LARGEST { slot.next_power_of_two() } else { SLOT }
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
    /// Sizes for a new link: [`LinkBuilder::build`] makes it on the heap, `LinkBuilder::create` in shared
    /// memory.
    pub fn builder() -> LinkBuilder {
        LinkBuilder::new()
    }
}
