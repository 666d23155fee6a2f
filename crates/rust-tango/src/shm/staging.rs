//! Creating a link: its files are made in a hidden folder, which then gets its name by one rename.
//!
//! ```text
//!   Staging::new                             publish          remove
//! (nothing) ---> .tmp-UID/.new-PID-RANDOM ----------> NAME ----------> .tmp-UID/.old-PID-RANDOM ---> (nothing)
//!                             |                                                   ^
//!                             +---------------------------------------------------+
//!                                  clear_leftovers, if no file in it is locked
//! ```
//!
//! So no process ever opens half a link. Creating one needs no lock: if two processes want the same name,
//! the rename decides between them. A process that dies on the way leaves a hidden folder behind, which
//! blocks no other process and is deleted later ([`leftovers`](super::leftovers)).

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::access::Access;
use super::base::{OWNER_ALONE, open_base, undo_umask};
use super::base_lock::with_space_lock;
use super::filesystem::{rename_error, rename_new, reserve_error};
use super::folder::{Folder, check_name, is_link_file, open_folder};
use super::leftovers::{NEW, Workspace, clear_leftovers, delete_files, exists, hidden_name};
use super::{lock, space};
use crate::error::LinkError;

/// A link in the making, hidden until [`publish`](Self::publish). Dropped before that, it deletes itself.
///
/// Until a file in it is locked, another process may delete it: see [`make`].
#[derive(Debug)]
pub(super) struct Staging {
    base: PathBuf,
    name: String,
    workspace: Workspace,
    /// `None` once it is published.
    dir: Option<OwnedFd>,
    hidden: String,
    /// Names of the files made so far.
    files: RefCell<Vec<String>>,
    access: Access,
}

impl Staging {
    /// Makes the hidden folder for the link `name` below `base`, which must exist.
    pub(super) fn new(base: &Path, name: &str, access: Access) -> Result<Self, LinkError> {
        check_name(name)?;
        let cannot = |error: Errno| {
            LinkError::system(format!("cannot make a folder for a link in {}", base.display()), error)
        };
        let (workspace, hidden, dir) = loop {
            let workspace = Workspace::open(open_base(base)?).map_err(cannot)?;
            let hidden = hidden_name(NEW);
            match mkdirat(workspace.dir(), hidden.as_str(), Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST | Errno::ENOENT) => continue, // another process has deleted the workspace
                Err(error) => return Err(cannot(error)),
            }
            let opened = undo_umask(workspace.dir(), Path::new(&hidden), OWNER_ALONE)
                .and_then(|()| open_folder(workspace.dir(), &hidden));
            match opened {
                Ok(dir) => break (workspace, hidden, Some(dir)),
                Err(Errno::ENOENT) => {} // deleted by another process
                Err(error) => {
                    let _ = unlinkat(workspace.dir(), hidden.as_str(), UnlinkatFlags::RemoveDir);
                    return Err(cannot(error));
                }
            }
        };
        Ok(Self {
            base: base.to_path_buf(),
            name: name.to_owned(),
            workspace,
            dir,
            hidden,
            files: RefCell::default(),
            access,
        })
    }

    /// Makes a file of `len` zero bytes, locks it, and reserves its space, so that touching it later cannot
    /// fail. On hugetlbfs the length is rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// `System`, with the file, the size and the cause; most often there is too little space.
    pub(super) fn create_file(&self, file: &str, len: u64) -> Result<File, LinkError> {
        debug_assert!(is_link_file(OsStr::new(file)));
        let path = self.base.join(&self.name).join(file);
        let create = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let cannot = |error| LinkError::system(format!("cannot create {}", path.display()), error);
        let opened = openat(self.dir(), file, create, Mode::S_IRUSR | Mode::S_IWUSR).map_err(cannot)?;
        self.files.borrow_mut().push(file.to_owned());
        let what = format!("create {}", path.display());
        self.access.give(&opened, self.access.of_file(file), &what)?;
        let opened = File::from(opened);
        // Locked before the space is reserved, which takes a while: other processes see that the creator is
        // alive.
        lock::try_lock(&opened)
            .map_err(|error| LinkError::system(format!("cannot lock {}", path.display()), error))?;
        space::reserve(&opened, len).map_err(|error| {
            reserve_error(format!("cannot reserve {len} bytes for {}", path.display()), &opened, error)
        })?;
        Ok(opened)
    }

    /// The folder under the name that it will have, to check it before other processes see it.
    pub(super) fn open(&self) -> Result<Folder, LinkError> {
        let path = self.base.join(&self.name);
        let dir = self
            .dir()
            .try_clone()
            .map_err(|error| LinkError::system(format!("cannot open {}", path.display()), error))?;
        Ok(Folder::of(dir, path, &self.name))
    }

    /// Gives the folder its name. From then on other processes can open it.
    ///
    /// `false`: the name is in use, or another process has deleted the folder. The link in the making is
    /// gone then.
    ///
    /// # Errors
    ///
    /// `System`.
    pub(super) fn publish(mut self) -> Result<bool, LinkError> {
        let path = self.base.join(&self.name);
        let what = format!("create {}", path.display());
        self.access.give(self.dir(), self.access.of_folder(), &what)?;
        match rename_new(self.workspace.dir(), &self.hidden, self.workspace.base(), &self.name) {
            Ok(()) => {
                self.dir = None;
                Ok(true)
            }
            Err(Errno::EEXIST | Errno::ENOENT) => Ok(false),
            Err(error) => Err(rename_error(format!("cannot {what}"), self.workspace.base(), error)),
        }
    }

    /// Whether another process has deleted the folder because no file in it was locked.
    fn is_deleted(&self) -> bool {
        !exists(self.workspace.dir(), &self.hidden)
    }

    #[cfg(all(test, not(miri)))]
    pub(super) fn hidden(&self) -> &str {
        &self.hidden
    }

    fn dir(&self) -> &OwnedFd {
        self.dir.as_ref().expect("the folder is open until it is published")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            // Needs no new descriptor, because there may be none left. What fails here is left to the next
            // creator.
            let _ = delete_files(self.workspace.dir(), &self.hidden, dir, &self.files.take());
        }
    }
}

/// Creates the link `name` below `base`, which must exist, from the files that `fill` makes and keeps open,
/// and so locked.
///
/// `None`: another process has created a link of that name meanwhile, or has deleted the folder before its
/// first file was locked. Nothing of the new link is left, and the caller looks again at what exists.
///
/// # Errors
///
/// Those of `fill`; `System`. Nothing of the link is left.
pub(super) fn make<T>(
    base: &Path,
    name: &str,
    access: Access,
    fill: impl Fn(&Staging) -> Result<T, LinkError>,
) -> Result<Option<T>, LinkError> {
    let attempt = || {
        let staging = Staging::new(base, name, access)?;
        match fill(&staging) {
            Ok(made) => Ok(staging.publish()?.then_some(made)),
            Err(_) if staging.is_deleted() || exists(staging.workspace.base(), name) => Ok(None),
            Err(error) => Err(error),
        }
    };
    match attempt() {
        // Other users may have left something. And there may be space for one link, and two processes have
        // tried at once. Under the lock, one tries at a time.
        Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) => {
            clear_leftovers(&open_base(base)?);
            with_space_lock(base, || Ok(attempt())).unwrap_or(Err(error))
        }
        result => result,
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::Ordering;

    use super::super::access::OWNER;
    use super::super::folder::list;
    use super::super::removal::remove;
    use super::super::scratch::{Scratch, make_link, mode, visible};
    use super::*;
    use crate::error::LinkErrorKind;

    #[test]
    fn a_link_comes_and_goes_whole() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let staging = Staging::new(base, "quotes", OWNER).unwrap();
        staging.create_file("tx", 12_345).unwrap();
        assert!(list(base).unwrap().is_empty());
        assert!(Folder::open(base, "quotes").unwrap_err().is_not_found());
        let made = staging.open().unwrap();
        made.open_file("tx", false).unwrap();
        assert!(staging.publish().unwrap());
        let folder = Folder::open(base, "quotes").unwrap();
        assert_eq!((made.path.as_path(), made.name.as_str()), (base.join("quotes").as_path(), "quotes"));
        assert_eq!(list(base).unwrap(), ["quotes"]);
        assert_eq!((mode(&folder.path), mode(folder.path.join("tx"))), (0o700, 0o600));
        let metadata = folder.open_file("tx", false).unwrap().metadata().unwrap();
        assert_eq!(metadata.len(), 12_345);
        assert!(metadata.blocks() * 512 >= 12_345, "the space is reserved");
        assert_eq!(folder.open_file("ctl", false).unwrap_err().kind(), LinkErrorKind::Damaged);
        let removed = remove(base, &folder).unwrap();
        assert_eq!((list(base).unwrap().len(), visible(base).len()), (0, 1));
        removed.delete().unwrap();
        assert!(visible(base).is_empty());
        assert!(folder.open_file("tx", false).unwrap_err().is_not_found());
        assert!(remove(base, &folder).unwrap_err().is_not_found());
    }

    #[test]
    fn publishing_replaces_nothing() {
        let scratch = Scratch::new();
        let first = make_link(scratch.path(), "quotes").unwrap();
        assert!(make_link(scratch.path(), "quotes").is_none());
        fs::create_dir(scratch.path().join("empty")).unwrap();
        assert!(make_link(scratch.path(), "empty").is_none());
        first.open_file("tx", true).unwrap();
        assert_eq!(visible(scratch.path()).len(), 2, "the failed ones are gone");
    }

    #[test]
    fn other_permissions() {
        let scratch = Scratch::new();
        for (files, folder) in [(0o600, 0o700), (0o640, 0o750), (0o644, 0o755), (0o604, 0o705)] {
            let name = format!("{files:o}");
            let staging = Staging::new(scratch.path(), &name, Access::new(files, None)).unwrap();
            staging.create_file("tx", 64).unwrap();
            assert!(staging.publish().unwrap());
            let path = scratch.path().join(name);
            assert_eq!((mode(&path), mode(path.join("tx"))), (folder, files));
        }
    }

    #[test]
    fn too_little_space_is_an_error_at_once() {
        let scratch = Scratch::new();
        let staging = Staging::new(scratch.path(), "quotes", OWNER).unwrap();
        for (file, len) in [("tx", 1 << 60), ("ctl", u64::MAX), ("rx.0", i64::MAX as u64 - 4096)] {
            let error = staging.create_file(file, len).unwrap_err();
            assert_eq!(error.kind(), LinkErrorKind::System);
            let message = error.to_string();
            assert!(message.contains(&len.to_string()) && message.contains(file), "{message}");
        }
        assert_eq!(staging.create_file("tx", 64).unwrap_err().kind(), LinkErrorKind::System, "made before");
        drop(staging);
        assert!(visible(scratch.path()).is_empty());
    }

    /// Before it has locked a file, the folder of a living creator looks like that of one that has died.
    #[test]
    fn a_creator_whose_folder_is_deleted_starts_again() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let clear = || clear_leftovers(&open_base(base).unwrap());
        let early = make(base, "quotes", OWNER, |staging| {
            clear();
            staging.create_file("tx", 8)
        });
        assert!(early.unwrap().is_none());
        let late = make(base, "quotes", OWNER, |staging| {
            let file = staging.create_file("tx", 8)?;
            lock::unlock(&file).unwrap();
            clear();
            Ok(file)
        });
        assert!(late.unwrap().is_none());
        let locked = make(base, "quotes", OWNER, |staging| {
            let file = staging.create_file("tx", 8)?;
            clear();
            Ok(file)
        });
        locked.unwrap().unwrap();
        let failed = make(base, "other", OWNER, |staging| staging.create_file("tx", 1 << 60));
        assert_eq!(failed.unwrap_err().kind(), LinkErrorKind::System);
        assert_eq!(visible(base), ["quotes"]);
    }

    #[test]
    fn a_creator_that_reserves_space_counts_as_alive() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let is_done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    clear_leftovers(&open_base(base).unwrap());
                }
            });
            // A few attempts may fail before the file is locked, which takes microseconds. Reserving takes
            // milliseconds.
            let made = (0..10).find_map(|_| {
                let made = make(base, "large", OWNER, |staging| staging.create_file("tx", 128 << 20));
                made.unwrap()
            });
            is_done.store(true, Ordering::Relaxed);
            assert!(made.is_some());
        });
    }
}
