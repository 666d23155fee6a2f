//! What only links in shared memory have: a name and a folder.

use std::path::Path;

use super::handle::{Link, Memory};
use crate::error::{LinkError, LinkErrorKind};
use crate::shm::Inspection;

/// Links in shared memory.
impl Link {
    /// Whether a reliable consumer of this user can join: the check that [`Link::consumer`] makes before it
    /// looks for a slot.
    ///
    /// A program that creates a link can call it before it waits for consumers, which would never come. On
    /// the heap, the answer is always `Ok`.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::Untrusted`], with what is wrong and what mends it; otherwise as [`Link::consumer`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-trust-{}", std::process::id()));
    /// let link = Link::builder().dir(&folder).create("quotes")?;
    /// if let Err(error) = link.check_trust() {
    ///     eprintln!("no consumer can join: {error}");
    /// }
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn check_trust(&self) -> Result<(), LinkError> {
        match &self.memory {
            Memory::Heap(_) => Ok(()),
            Memory::Shared(link, _) => {
                link.check_process()?;
                link.check_trust().map(drop)
            }
        }
    }

    /// All that is known of the link, for its operator: its sizes, what both ends do and have counted, how
    /// many credits are left, its files, and the processes that hold them. See [`Inspection`] for an example.
    ///
    /// It writes to no file of the link, takes no lock, and delays neither end. It works for every user that may open
    /// the link, but a process of another user is named only if this process may read its open files in `/proc`. It reads
    /// the descriptors of each process of the machine, so it can take up to a second. [`Link::status`] takes microseconds.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::Invalid`] for a link on the heap, which has no files, and in a forked child (see [`Link`]);
    /// [`LinkErrorKind::System`] if a file of the link cannot be opened to ask whether it is held.
    pub fn inspect(&self) -> Result<Inspection, LinkError> {
        match &self.memory {
            Memory::Heap(_) => {
                let message = "this link is on the heap of its process: it has no files to inspect";
                Err(LinkError::new(LinkErrorKind::Invalid, message))
            }
            Memory::Shared(link, _) => link.inspect(),
        }
    }

    /// Removes this link, as [`Link::remove_named`] does, but never a later link of the same name.
    ///
    /// If the producer is in this process, it and all attached readers go on undisturbed, without a name: call
    /// this, for example, when everybody has attached. Otherwise the link ends, as with
    /// [`Link::remove_named`]. The memory is freed when the last process that has it open is gone. On the heap,
    /// nothing happens.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::NotFound`] if the link has been removed already; [`LinkErrorKind::Invalid`] in a
    /// forked child (see [`Link`]); otherwise as [`Link::remove_named`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-remove-{}", std::process::id()));
    /// let link = Link::builder().dir(&folder).create("quotes")?;
    /// link.remove()?;
    /// assert!(Link::open_in(&folder, "quotes").unwrap_err().is_not_found());
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn remove(&self) -> Result<(), LinkError> {
        match &self.memory {
            Memory::Heap(_) => Ok(()),
            Memory::Shared(link, _) => link.remove(),
        }
    }

    /// Whether the name of this link still leads to it, so that other processes can find it. True on the heap.
    ///
    /// False if the link was removed, or another one has its name. Also false if something other than this
    /// library has deleted, renamed or replaced the link's folder, the folder of links, or a file of the link.
    /// A process that may not follow the path any more gets true, unless the folder is deleted.
    ///
    /// Call this as often as once a second: it makes a system call for each file of the link. The process of
    /// the producer does the same. If the name is lost, it stops the link within about a second: publishing
    /// returns [`TangoError::Closed`](crate::TangoError::Closed), readers drain the link and find it closed,
    /// and [`LinkStatus::name_lost`](crate::LinkStatus::name_lost) is set. The exception is [`Link::remove`] in
    /// the process of the producer.
    ///
    /// The name may be lost before the caller reads the answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-named-{}", std::process::id()));
    /// let link = Link::builder().dir(&folder).create("quotes")?;
    /// assert!(link.is_named());
    /// std::fs::remove_dir_all(link.path().unwrap()).unwrap(); // what a program that cleans up may do
    /// assert!(!link.is_named());
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn is_named(&self) -> bool {
        match &self.memory {
            Memory::Heap(_) => true,
            Memory::Shared(link, _) => link.is_named(),
        }
    }

    /// The name of a link in shared memory; `None` on the heap. See [`Link::path`] for an example.
    pub fn name(&self) -> Option<&str> {
        match &self.memory {
            Memory::Heap(_) => None,
            Memory::Shared(link, _) => Some(link.name()),
        }
    }

    /// The folder of a link in shared memory; `None` on the heap.
    ///
    /// This is where the folder was when the link was opened. It may have been removed since.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-path-{}", std::process::id()));
    /// let link = Link::builder().dir(&folder).create("quotes")?;
    /// assert_eq!(link.name(), Some("quotes"));
    /// assert_eq!(link.path(), Some(folder.join("quotes").as_path()));
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn path(&self) -> Option<&Path> {
        match &self.memory {
            Memory::Heap(_) => None,
            Memory::Shared(link, _) => Some(link.path()),
        }
    }
}
