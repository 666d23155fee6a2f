//! What is done to links in shared memory by name: opening, listing, asking for the holders, removing.

use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

use super::handle::Link;
use crate::error::LinkError;
use crate::events::emit;
use crate::shm::{self, Holders, Inspection, Reservation, ShmLink};
use crate::sync::Arc;

#[cfg(doc)]
use crate::error::LinkErrorKind;

/// Links in shared memory, by name.
///
/// A folder of links is named by any path. [`Link::folder_of_links`] is the one that is used where none is named.
impl Link {
    /// Opens a link that [`LinkBuilder::create`](crate::LinkBuilder::create) made, in this process or
    /// another.
    ///
    /// The link is looked for in the default folder ([`Link::folder_of_links`]).
    ///
    /// Whatever bytes the files contain, they lead to an error here or later, or to fragments that are
    /// reported as lost. One thing cannot be survived: if a process that may write to a file *truncates* it
    /// while it is mapped, every process that touches the missing memory gets SIGBUS.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::NotFound`] if there is no such link, or not yet; [`LinkErrorKind::Damaged`] if one of
    /// its files is missing; [`LinkErrorKind::Incompatible`] if its files have another layout version or a
    /// content that cannot be right; [`LinkErrorKind::Invalid`] if the name is not
    /// valid; [`LinkErrorKind::Untrusted`] if the default folder belongs to another user or a file is a
    /// symbolic link or has a second name; [`LinkErrorKind::System`] if the operating system refuses.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use rust_tango::Link;
    ///
    /// let mut rx = Link::open("quotes")?.consumer()?;
    /// while let Some(fragment) = rx.wait()? {
    ///     println!("{} bytes", fragment.payload.len());
    /// }
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn open(name: &str) -> Result<Self, LinkError> {
        Self::opened(None, name)
    }

    /// [`Link::open`] in another folder of links.
    ///
    /// # Errors
    ///
    /// As [`Link::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-open-{}", std::process::id()));
    ///
    /// let tx = Link::builder().dir(&folder).create("quotes")?.producer()?;
    /// let mut rx = Link::open_in(&folder, "quotes")?.consumer()?;
    /// tx.send(b"bid 101.25")?;
    /// assert_eq!(rx.poll()?.unwrap().payload.as_slice(), b"bid 101.25");
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn open_in(folder: impl AsRef<Path>, name: &str) -> Result<Self, LinkError> {
        Self::opened(Some(folder.as_ref()), name)
    }

    fn opened(folder: Option<&Path>, name: &str) -> Result<Self, LinkError> {
        let link = ShmLink::open(folder, name)?;
        emit!(link_opened(name));
        Ok(Self::shared(Arc::new(link), Reservation::default()))
    }

    /// The path of the default folder of links. It may not exist yet.
    ///
    /// That is `TANGO_DIR` from the environment if it is set and not empty, otherwise `/dev/shm/tango-UID` with
    /// the number of the user. In a user namespace, that is the number that the user has outside of it. A
    /// relative path is made absolute.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let folder = Link::folder_of_links();
    /// assert!(folder.is_absolute());
    /// for name in Link::list(&folder)? {
    ///     println!("{name} in {}", folder.display());
    /// }
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn folder_of_links() -> PathBuf {
        shm::base_dir(None)
    }

    /// The names of the links in a folder of links, sorted. Dead links are included, and damaged ones unless
    /// both of the files `tx` and `ctl` are missing.
    ///
    /// Empty if there is no such folder. Other processes may create and remove links before the caller
    /// reads the answer.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::System`] if the folder cannot be read, [`LinkErrorKind::Untrusted`] if the default
    /// folder belongs to another user.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-list-{}", std::process::id()));
    ///
    /// let quotes = Link::builder().dir(&folder).create("quotes")?;
    /// let trades = Link::builder().dir(&folder).create("trades")?;
    /// assert_eq!(Link::list(&folder)?, ["quotes", "trades"]);
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn list(folder: impl AsRef<Path>) -> Result<Vec<String>, LinkError> {
        shm::list(folder.as_ref())
    }

    /// Removes the link of this name, whatever the state of its files. See [`Link::remove_dead`] for an
    /// example.
    ///
    /// If the link has a living producer, the link ends within about a second: publishing returns
    /// [`TangoError::Closed`](crate::TangoError::Closed), because no reader can find the link any more, and
    /// attached readers drain it. ([`Link::stop`] ends it at once.) Other readers drain the link, too. The
    /// memory is freed when the last process that has it open is gone.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::NotFound`] if there is no such link; [`LinkErrorKind::Incompatible`] if its folder
    /// contains anything that is not part of a link, and then nothing is removed; [`LinkErrorKind::System`]
    /// if it may not be removed, or if other processes, for example a stopped one, did not release the lock of
    /// the folder within ten seconds.
    pub fn remove_named(folder: impl AsRef<Path>, name: &str) -> Result<(), LinkError> {
        shm::remove(folder.as_ref(), name)
    }

    /// The processes that hold the link of this name at this moment, whatever the state of its files. See
    /// [`Holders`] for an example.
    ///
    /// Holders are the producer, the consumers, and a process that is just stopping the link. Observers
    /// hold nothing. A link without holders is dead. Others may join or leave before the caller reads the
    /// answer; [`Link::remove_dead`] asks and removes in one step.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::NotFound`] if there is no such link; [`LinkErrorKind::Incompatible`] if the name is
    /// not that of a folder; [`LinkErrorKind::System`] if this user may not ask.
    pub fn holders(folder: impl AsRef<Path>, name: &str) -> Result<Holders, LinkError> {
        shm::holders(folder.as_ref(), name)
    }

    /// [`Link::inspect`] for every link in a folder of links. Returns the names, sorted, and what was found.
    ///
    /// It looks at all processes once, and not again for each link. Empty if there is no such folder.
    ///
    /// # Errors
    ///
    /// As [`Link::list`]. Every other error is about one link, is returned with its name, and does not keep the others: those
    /// of [`Link::open`] and [`Link::inspect`]. A link that is removed meanwhile is left out.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-inspect-all-{}", std::process::id()));
    ///
    /// let link = Link::builder().dir(&folder).create("quotes")?;
    /// for (name, found) in Link::inspect_all(&folder)? {
    ///     let found = found?;
    ///     println!("{name}: {} bytes, held by {}", found.bytes, found.holders);
    /// }
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[allow(clippy::type_complexity)]
    pub fn inspect_all(
        folder: impl AsRef<Path>,
    ) -> Result<Vec<(String, Result<Inspection, LinkError>)>, LinkError> {
        shm::inspect_all(folder.as_ref())
    }

    /// [`Link::remove_named`] for a link without holders.
    ///
    /// No process can join the link meanwhile: one that tries gets [`LinkErrorKind::Taken`] or
    /// [`LinkErrorKind::NotFound`].
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::InUse`], with the holders, if there are any; otherwise as [`Link::remove_named`].
    ///
    /// The processes that hold the link are looked for when the message of that error is shown for the first
    /// time, because that takes longer than the rest: up to a second on a machine with many open files. Roles
    /// in the message are as of the call, process ids as of that moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, LinkErrorKind};
    /// # let folder = std::env::temp_dir().join(format!("tango-dead-{}", std::process::id()));
    ///
    /// let link = Link::builder().dir(&folder).create("quotes")?;
    /// let refused = Link::remove_dead(&folder, "quotes").unwrap_err();
    /// assert_eq!(refused.kind(), LinkErrorKind::InUse);
    ///
    /// drop(link); // no process holds the link now, but its files are still there
    /// Link::remove_dead(&folder, "quotes")?;
    /// assert!(Link::list(&folder)?.is_empty());
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn remove_dead(folder: impl AsRef<Path>, name: &str) -> Result<(), LinkError> {
        shm::remove_dead(folder.as_ref(), name)
    }

    /// [`Link::remove_dead`] for every link in a folder of links. Returns the names, sorted, and what
    /// became of each.
    ///
    /// Also does what [`Link::remove_leftovers`] does. Empty if there is no such folder.
    ///
    /// # Errors
    ///
    /// As [`Link::list`]. Also [`LinkErrorKind::System`] if the folder cannot be locked (see
    /// [`Link::remove_named`]); its [`io_error`](LinkError::io_error) is
    /// [`TimedOut`](std::io::ErrorKind::TimedOut) then, and links that come before in the order of names may
    /// have been removed. Every other error is about one link, is returned with its name, and does not keep
    /// the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-all-dead-{}", std::process::id()));
    ///
    /// drop(Link::builder().dir(&folder).create("dead")?);
    /// let alive = Link::builder().dir(&folder).create("alive")?;
    /// for (name, removed) in Link::remove_all_dead(&folder)? {
    ///     assert_eq!(removed.is_ok(), name == "dead");
    /// }
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[allow(clippy::type_complexity)]
    pub fn remove_all_dead(
        folder: impl AsRef<Path>,
    ) -> Result<Vec<(String, Result<(), LinkError>)>, LinkError> {
        shm::remove_all_dead(folder.as_ref())
    }

    /// Frees the space of links whose processes died while they created or removed them. Links stay, dead
    /// ones included.
    ///
    /// [`LinkBuilder::create`](crate::LinkBuilder::create) does the same for what this user has left in this
    /// folder, so few programs need this call. It reads the whole folder, and also deletes what other users
    /// have left, as far as this user may.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::System`] if the folder cannot be opened, [`LinkErrorKind::Untrusted`] if the default
    /// folder belongs to another user. What cannot be deleted stays, and is not an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-leftovers-{}", std::process::id()));
    ///
    /// drop(Link::builder().dir(&folder).create("dead")?);
    /// Link::remove_leftovers(&folder)?;
    /// assert_eq!(Link::list(&folder)?, ["dead"]);
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn remove_leftovers(folder: impl AsRef<Path>) -> Result<(), LinkError> {
        shm::remove_leftovers(folder.as_ref())
    }
}
