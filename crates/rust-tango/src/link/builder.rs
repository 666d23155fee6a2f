//! [`LinkBuilder`]: the sizes of a new link, with defaults and checks.

use super::handle::Link;
use crate::cpu::words::WORD;
use crate::error::LinkError;
use crate::memory::geometry::{Geometry, MAX_MTU, MAX_REGION};
use crate::ring::line::META_WORDS;
use crate::ring::region::GRANULE;
use crate::ring::slots::SLOT;

/// The permissions that the files of a link always have.
#[cfg(feature = "shm")]
const OWNER_ONLY: u32 = 0o600;
/// The permissions that they may have in addition.
#[cfg(all(feature = "shm", target_os = "linux"))]
const OTHERS_READ: u32 = 0o044;

/// The sizes and other settings of a new link. Start with [`Link::builder`].
///
/// | setting | default | range |
/// |---|---|---|
/// | [`depth`](Self::depth) | 1024 | a power of two from 2 to 2^28 |
/// | [`mtu`](Self::mtu) | 256 bytes | 0 to 2 GiB |
/// | [`slot`](Self::slot) | smallest that fits the MTU, if at most 512 bytes; else 128 | a power of two from 128 bytes to 1 MiB |
/// | [`region`](Self::region) | see there; 0 if every payload fits a slot | `mtu` to just under 256 GiB |
/// | [`consumers`](Self::consumers) | 1 | 0 to 256 |
/// | [`observers`](Self::observers) | true | |
/// | [`credits`](Self::credits) | `depth` | 1 to `depth` |
/// | [`start`](Self::start) | 1 | any number |
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
    /// The group whose members can be consumers.
    #[cfg(feature = "shm")]
    consumer_group: Option<u32>,
    #[cfg(feature = "shm")]
    remove_on_drop: bool,
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
            #[cfg(feature = "shm")]
            consumer_group: None,
            #[cfg(feature = "shm")]
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

    /// The largest payload of one fragment, in bytes: 0 to 2 GiB. Default: 256.
    ///
    /// With 0, payloads are empty: fragments are notifications, of which `sig`, `ctl` and `ts` say everything. The
    /// command `tango send`, which carries bytes, makes links of at least 1; `tango recv`, `ls` and `rm` work with
    /// any.
    ///
    /// Longer messages are sent in several fragments
    /// ([`Producer::send_message`](crate::Producer::send_message)). See [`LinkBuilder`] for an example.
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = bytes;
        self
    }

    /// The size of a slot of the ring, in bytes: a power of two from 128 to 1 MiB.
    ///
    /// A slot has 32 bytes of metadata. A payload that fits the rest travels in the slot, which is faster.
    /// Each of the `depth` slots takes this much memory. Default: the smallest slot that fits the MTU, if
    /// that is at most 512 bytes and no [`region`](Self::region) is requested, otherwise 128.
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

    /// The folder of links in which `create` puts the link. Made, with mode 0o700 whatever the umask is, if
    /// it does not exist.
    ///
    /// Default: `TANGO_DIR` from the environment, otherwise `/dev/shm/tango-UID` with the number of the
    /// user. See `LinkBuilder::create` for an example.
    #[cfg(feature = "shm")]
    pub fn dir(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
        self.dir = Some(folder.into());
        self
    }

    /// The permissions of the files of the link, as for `chmod`. Default: 0o600, for this user alone.
    ///
    /// Add 0o040 to let the group read the link, and 0o004 to let every user read it. No other user can be
    /// allowed to write. The umask does not matter. The folder of the link gets a matching mode (0o750 for
    /// 0o640).
    ///
    /// A user that may read can be an observer, but not a consumer, because a consumer writes its progress
    /// into a file of the link (see [`consumer_group`](Self::consumer_group)). Such a user can do one kind of harm: take a lock that prevents other
    /// processes from *becoming* producer or consumer of the link.
    ///
    /// The folder of links has to let these users in as well. The default folder is for its owner alone
    /// (0o700), and so is one that `create` makes. So make one that the group can search (0o710, or 0o750
    /// to let it list the links, too), and choose it with [`LinkBuilder::dir`] or `TANGO_DIR`:
    ///
    /// ```sh
    /// install -d -m 2710 -g traders /dev/shm/quotes   # 2: links in this folder get its group
    /// ```
    ///
    /// Without the setgid bit (2), files get the group of the process that creates the link.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use rust_tango::Link;
    /// let link = Link::builder().dir("/dev/shm/quotes").mode(0o640).create("eurusd")?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(feature = "shm")]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Lets the members of a group be consumers of the link. `group` is its number (gid). Default: only the
    /// user that creates the link can.
    ///
    /// The group can read the files of the link, as with [`mode`](Self::mode) 0o640, and write to those in
    /// which consumers publish their progress. It can write to no file that payloads are in, stop the link
    /// or remove it. As other users can write to some of the files, [`Link::consumer`] reads by copy on such
    /// a link, also for the user that has created it. It is as reliable as any other consumer. The unsafe
    /// `Link::consumer_trusting` reads in place.
    ///
    /// The members and the user that creates the link trust each other not to disturb. A hostile member can
    /// neither forge a fragment nor make a process read or write outside of the link, but it can
    ///
    /// - hold the producer back, as every consumer can,
    /// - make other consumers lose fragments ([`TangoError::Overrun`](crate::TangoError::Overrun)) or wait
    ///   for ever, by writing into their files,
    /// - take all slots, and prevent others from becoming producer or consumer,
    /// - end every process that uses the link (SIGBUS), by truncating a file of a consumer.
    ///
    /// The members have to be able to enter the folder of links; see [`mode`](Self::mode) for how to make
    /// one. The link must allow [`observers`](Self::observers). `create` returns an error if this user is
    /// not a member of the group, or if only its owner can enter the folder of links.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use rust_tango::Link;
    /// let traders = 1500;
    /// let link = Link::builder().dir("/dev/shm/quotes").consumer_group(traders).create("eurusd")?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(feature = "shm")]
    pub fn consumer_group(mut self, group: u32) -> Self {
        self.consumer_group = Some(group);
        self
    }

    /// Whether `create` and `create_or_take_over` return a link that removes itself when this process has
    /// finished with it. Default: false. The link then stays until somebody removes it, or creates another one
    /// of its name.
    ///
    /// The link is removed when the last is dropped of the returned [`Link`], its clones, and the producers
    /// and readers that were made from them. Readers in other processes that are attached then drain it. Links
    /// on the heap have no name, so nothing changes for them.
    ///
    /// Exceptions:
    ///
    /// - A link whose producer another process has taken since is left to that process.
    /// - A later link of the same name is never removed.
    /// - A forked child removes nothing.
    /// - A process that is killed, calls [`exit`](std::process::exit) or leaks one of these values removes
    ///   nothing. The link stays, as one that is dead: `create` replaces it, and
    ///   [`Link::remove_all_dead`] removes it.
    /// - An error is ignored. Call [`Link::remove`] to see it.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-on-drop-{}", std::process::id()));
    ///
    /// let link = Link::builder().remove_on_drop(true).dir(&folder).create("quotes")?;
    /// let tx = link.producer()?;
    /// drop(link); // the producer still has a share
    /// assert_eq!(Link::list(Some(&folder))?, ["quotes"]);
    /// drop(tx);
    /// assert!(Link::list(Some(&folder))?.is_empty());
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(feature = "shm")]
    pub fn remove_on_drop(mut self, remove: bool) -> Self {
        self.remove_on_drop = remove;
        self
    }

    /// Makes a link on the heap, for threads of this process. All its memory is touched here. See
    /// [`LinkBuilder`] for an example.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::Invalid`](crate::LinkErrorKind::Invalid) if a setting is out of its range (the
    /// message names it); [`LinkErrorKind::System`](crate::LinkErrorKind::System) if there is not enough
    /// memory.
    pub fn build(self) -> Result<Link, LinkError> {
        Link::on_heap(self.geometry()?)
    }

    /// Creates a link in shared memory, for processes of this machine, under a name that [`Link::open`]
    /// finds.
    ///
    /// A name has 1 to 200 ASCII letters, digits, `-`, `_` and `.`, and does not begin with `-` or `.`.
    ///
    /// The link stays when all its processes have ended, in good order or not, until somebody removes it or
    /// creates another one of its name. So readers can drain it, and a later producer can continue it. See
    /// [`LinkBuilder::remove_on_drop`] and [`Link::remove`].
    ///
    /// If a link of that name exists and no process holds it, it is replaced. Its observers then read what
    /// is left there, and do not notice the new link. ([`LinkBuilder::create_or_take_over`] continues the
    /// old link instead.) A broken link is replaced, too, if its folder contains no files except those that
    /// links have (`tx`, `ctl`, `rx.0`, ...).
    ///
    /// The new link is reserved for this process: no other process can take its producer until this process
    /// has taken it, or has dropped the `Link` and its clones. All space is reserved here, so a full
    /// filesystem is an error now and not in the middle of a message. One thing cannot be prevented: if a
    /// process that may write to a file of the link truncates it later, every process that touches the
    /// missing memory gets SIGBUS.
    ///
    /// While this process has the producer of a link in shared memory, or has reserved it, one thread for all such
    /// links, `tango-names`, checks once a second whether their names still lead to them. It ends a link that has
    /// lost its name ([`LinkStatus::name_lost`](crate::LinkStatus)). All signals are blocked in the thread,
    /// except those that a thread raises by a fault of its own. It has the scheduling policy and the cores of the
    /// thread that made the first link.
    ///
    /// # Errors
    ///
    /// - [`LinkErrorKind::Invalid`](crate::LinkErrorKind::Invalid) if the name or a setting is out of its
    ///   range.
    /// - [`LinkErrorKind::InUse`](crate::LinkErrorKind::InUse) if the link of that name has holders (the
    ///   message names them): a producer, consumers, or a process that stops it.
    /// - [`LinkErrorKind::Incompatible`](crate::LinkErrorKind::Incompatible) if something of that name
    ///   exists that is not a link.
    /// - [`LinkErrorKind::System`](crate::LinkErrorKind::System) if there is no space, no permission, no
    ///   thread, and so on; also if something of that name exists and another process, perhaps a stopped one, has been
    ///   removing or replacing links for ten seconds.
    ///
    /// After an error, nothing of a new link is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-create-{}", std::process::id()));
    ///
    /// let tx = Link::builder().consumers(2).dir(&folder).create("quotes")?.producer()?;
    /// // In another process:
    /// let mut rx = Link::open_in(&folder, "quotes")?.consumer()?;
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub fn create(self, name: &str) -> Result<Link, LinkError> {
        self.in_shared_memory(name, crate::shm::Existing::Replace)
    }

    /// [`LinkBuilder::create`], except that an existing link without a producer is continued.
    ///
    /// Whether its producer has ended or died, the link stays as it is: sequence numbers go on, the
    /// fragments in the ring can be read, and attached readers stay attached. If there is no link of that
    /// name, one is created.
    ///
    /// The existing link must have the requested sizes and mode. ([`LinkBuilder::start`] does not matter:
    /// it is where a new link starts.) A link that was stopped has ended for good; it is replaced as by
    /// `create`.
    ///
    /// # Errors
    ///
    /// As [`LinkBuilder::create`], but consumers alone are no obstacle. Also
    /// [`LinkErrorKind::Incompatible`](crate::LinkErrorKind::Incompatible) if the existing link differs
    /// from what was requested (the message names each difference), or has another layout version, and
    /// [`LinkErrorKind::Damaged`](crate::LinkErrorKind::Damaged) if one of its files is missing. `create`
    /// replaces such links.
    ///
    /// # Examples
    ///
    /// A service that is restarted after any kind of death:
    ///
    /// ```no_run
    /// use rust_tango::Link;
    ///
    /// let tx = Link::builder().depth(1024).consumers(4).create_or_take_over("quotes")?.producer()?;
    /// println!("continues with fragment {}", tx.next_seq());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub fn create_or_take_over(self, name: &str) -> Result<Link, LinkError> {
        self.in_shared_memory(name, crate::shm::Existing::TakeOver)
    }

    #[cfg(all(feature = "shm", target_os = "linux"))]
    fn in_shared_memory(self, name: &str, existing: crate::shm::Existing) -> Result<Link, LinkError> {
        let geometry = self.geometry()?;
        let Self { mode, consumer_group: group, remove_on_drop, .. } = self;
        if mode & OWNER_ONLY != OWNER_ONLY || mode & !(OWNER_ONLY | OTHERS_READ) != 0 {
            let message = alloc::format!(
                "{mode:#o} is not a valid mode for a link: use 0o600, and add 0o040 (group) or 0o004 (every user) to let others read; only the owner may write"
            );
            return Err(LinkError::new(crate::error::LinkErrorKind::Invalid, message));
        }
        if group.is_some() && !geometry.observers {
            let message = "a link for a group must allow observers, because its consumers read by copy";
            return Err(LinkError::new(crate::error::LinkErrorKind::Invalid, message));
        }
        let access = crate::shm::Access::new(mode, group);
        Link::in_shared_memory(name, self.dir.as_deref(), &geometry, access, existing, remove_on_drop)
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
        // Checks the sizes from which the region is computed.
        Geometry { region: 0, mtu: 0, ..geometry }.check()?;
        if !geometry.all_fit_slots() {
            let largest = self.mtu.min(MAX_MTU).next_multiple_of(GRANULE);
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
    /// Settings for a new link: [`LinkBuilder::build`] makes it on the heap, `LinkBuilder::create` in
    /// shared memory. See [`LinkBuilder`] for an example.
    pub fn builder() -> LinkBuilder {
        LinkBuilder::new()
    }
}
