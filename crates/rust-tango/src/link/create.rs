//! The settings of links in shared memory, and how such a link is created.

use std::path::Path;

use super::builder::{LinkBuilder, OWNER_ONLY};
use super::handle::Link;
use crate::error::{LinkError, LinkErrorKind};
use crate::shm::{Access, Existing, Settings};

/// The permissions that the files of a link may have in addition to [`OWNER_ONLY`].
const OTHERS_READ: u32 = 0o044;

/// Settings of links in shared memory.
impl LinkBuilder {
    /// The folder of links in which `create` puts the link. Made, with mode 0o700 whatever the umask is, if
    /// it does not exist.
    ///
    /// Default: [`Link::folder_of_links`]. See `LinkBuilder::create` for an example.
    pub fn dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.dir = Some(folder.as_ref().to_path_buf());
        self
    }

    /// The permissions of the files of the link, as for `chmod`. Default: 0o600, for this user alone.
    ///
    /// Add 0o040 to let the group read the link, and 0o004 to let every user read it. No other user can be
    /// allowed to write. The umask does not matter. The folder of the link gets a matching mode (0o750 for
    /// 0o640).
    ///
    /// A user that may read can be an observer, but not a consumer, because a consumer writes its progress
    /// into a file of the link (see [`consumer_group`](Self::consumer_group)). Such a user can do one kind of
    /// harm: take a lock that prevents other processes from *becoming* producer or consumer of the link.
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
    /// assert_eq!(Link::list(&folder)?, ["quotes"]);
    /// drop(tx);
    /// assert!(Link::list(&folder)?.is_empty());
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn remove_on_drop(mut self, remove: bool) -> Self {
        self.remove_on_drop = remove;
        self
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
    /// - [`LinkErrorKind::Invalid`] if the name or a setting is out of its
    ///   range.
    /// - [`LinkErrorKind::InUse`] if the link of that name has holders (the
    ///   message names them): a producer, consumers, or a process that stops it.
    /// - [`LinkErrorKind::Incompatible`] if something of that name
    ///   exists that is not a link.
    /// - [`LinkErrorKind::System`] if there is no space, no permission, no
    ///   thread, and so on; also if something of that name exists and another process, perhaps a stopped one,
    ///   has been removing or replacing links for ten seconds.
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
    pub fn create(self, name: &str) -> Result<Link, LinkError> {
        self.in_shared_memory(name, Existing::Replace)
    }

    /// [`LinkBuilder::create`], except that an existing link without a producer is continued.
    ///
    /// Whether its producer has ended or died, the link stays as it is: sequence numbers go on, the
    /// fragments in the ring can be read, and attached readers stay attached. If there is no link of that
    /// name, one is created.
    ///
    /// The existing link must have the requested sizes, payload type and mode. ([`LinkBuilder::start`] does not matter:
    /// it is where a new link starts.) A link that was stopped has ended for good; it is replaced as by
    /// `create`.
    ///
    /// # Errors
    ///
    /// As [`LinkBuilder::create`], but consumers alone are no obstacle. Also
    /// [`LinkErrorKind::Incompatible`] if the existing link differs
    /// from what was requested (the message names each difference), or has another layout version, and
    /// [`LinkErrorKind::Damaged`] if one of its files is missing. `create`
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
    pub fn create_or_take_over(self, name: &str) -> Result<Link, LinkError> {
        self.in_shared_memory(name, Existing::TakeOver)
    }

    fn in_shared_memory(self, name: &str, existing: Existing) -> Result<Link, LinkError> {
        let geometry = self.geometry()?;
        let Self { mode, consumer_group: group, remove_on_drop, hints, prefault, payload_type, .. } = self;
        if mode & OWNER_ONLY != OWNER_ONLY || mode & !(OWNER_ONLY | OTHERS_READ) != 0 {
            let message = format!(
                "{mode:#o} is not a valid mode for a link: use 0o600, and add 0o040 (group) or 0o004 (every user) to let others read; only the owner may write"
            );
            return Err(LinkError::new(LinkErrorKind::Invalid, message));
        }
        if group.is_some() && !geometry.observers {
            let message = "a link for a group must allow observers, because its consumers read by copy";
            return Err(LinkError::new(LinkErrorKind::Invalid, message));
        }
        let access = Access::new(mode, group);
        let settings = Settings { payload_type, access, existing, remove_on_drop, prefault, hints };
        Link::in_shared_memory(name, self.dir.as_deref(), &geometry, settings)
    }
}
