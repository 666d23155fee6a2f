//! How links come and go. A folder gets its name, and loses it, whole: by one rename in the base folder.
//!
//! ```text
//!   Staging::new                    publish                  remove
//! (nothing) ---> .new-PID-RANDOM --------------> NAME --------------> .old-PID-RANDOM ---> (nothing)
//!                      |                                                 ^
//!                      +-------------------------------------------------+
//!                           clear_leftovers, if no file in it is locked
//! ```
//!
//! Who takes its name from a link does so within [`with_base_lock`], and may rely on it that the name leads to the same
//! link meanwhile. All that takes a while is done without that lock, because a process that is stopped (SIGSTOP) on the way
//! would keep all others waiting: who makes a link lets the rename decide between two who want one name, and what has lost
//! its name is deleted by whoever comes along.
//!
//! Who dies on the way leaves a hidden folder behind that stands in nobody's way; the next one who makes or takes away a
//! link clears it away. One in the making is known by its locked files. Before the first of them is locked it may be
//! cleared away, too: then its maker cannot publish it, and begins again.
//!
//! Files are only ever deleted by the names that links have, each from its open folder, so neither a
//! symbolic link nor a stranger's file in a folder can turn a removal against something else.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, process};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, posix_fallocate, renameat2};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::folder::{Folder, check_name, entries, is_link_file, not_found, open_base, open_folder};
use super::{holders, lock, map};
use crate::error::{LinkError, LinkErrorKind};

const LOCK_FILE: &str = ".lock";
const NEW: &str = ".new";
const OLD: &str = ".old";
/// How long to wait for the lock of the base folder. It is held for a few system calls, unless somebody fails to find room for
/// a link and tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A link in the making, hidden until [`publish`](Self::publish). Dropped before that, it deletes itself.
///
/// Until a file in it is locked, others may clear it away: see [`make`].
#[derive(Debug)]
pub(crate) struct Staging {
    base: PathBuf,
    name: String,
    parent: OwnedFd,
    /// `None` once it is published.
    dir: Option<OwnedFd>,
    hidden: String,
    /// Names of the files made so far.
    files: RefCell<Vec<String>>,
    /// Permissions of the files; those of the folder follow from it when it is published.
    mode: u32,
}

impl Staging {
    /// Makes the hidden folder for the link `name` below `base`, which must exist. Its files get the
    /// permissions `mode`.
    pub(crate) fn new(base: &Path, name: &str, mode: u32) -> Result<Self, LinkError> {
        check_name(name)?;
        let parent = open_base(base)?;
        let cannot = |error: Errno| {
            LinkError::system(format!("cannot make a folder for a link in {}", base.display()), error)
        };
        let (hidden, dir) = loop {
            let hidden = hidden_name(NEW);
            match mkdirat(&parent, hidden.as_str(), Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) => continue,
                Err(error) => return Err(cannot(error)),
            }
            match open_folder(&parent, &hidden) {
                Ok(dir) => break (hidden, Some(dir)),
                Err(Errno::ENOENT) => {} // cleared away
                Err(error) => {
                    let _ = unlinkat(&parent, hidden.as_str(), UnlinkatFlags::RemoveDir);
                    return Err(cannot(error));
                }
            }
        };
        Ok(Self {
            base: base.to_path_buf(),
            name: name.to_owned(),
            parent,
            dir,
            hidden,
            files: RefCell::default(),
            mode,
        })
    }

    /// Makes a file of `len` zero bytes, locked, and reserves the space for all of them, so that touching them
    /// later cannot fail. On hugetlbfs the file is rounded up to whole pages.
    ///
    /// # Errors
    ///
    /// `System`, with the file, the size and the cause, above all when there is too little space.
    pub(crate) fn create_file(&self, file: &str, len: u64) -> Result<File, LinkError> {
        debug_assert!(is_link_file(OsStr::new(file)));
        let path = self.base.join(&self.name).join(file);
        let create = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let cannot = |error| LinkError::system(format!("cannot create {}", path.display()), error);
        let opened = openat(self.dir(), file, create, Mode::S_IRUSR | Mode::S_IWUSR).map_err(cannot)?;
        self.files.borrow_mut().push(file.to_owned());
        self.set_mode(&opened, self.mode).map_err(cannot)?;
        let opened = File::from(opened);
        // Reserving takes a while, in which nobody shall take this for a dead maker's.
        lock::try_lock(&opened)
            .map_err(|error| LinkError::system(format!("cannot lock {}", path.display()), error))?;
        reserve(&opened, len).map_err(|error| {
            LinkError::system(format!("cannot reserve {len} bytes for {}", path.display()), error)
        })?;
        Ok(opened)
    }

    /// The folder in the making as it will be seen, to have a look at it before others can.
    pub(crate) fn open(&self) -> Result<Folder, LinkError> {
        let path = self.base.join(&self.name);
        let dir = self
            .dir()
            .try_clone()
            .map_err(|error| LinkError::system(format!("cannot open {}", path.display()), error))?;
        Ok(Folder { dir, path, name: self.name.clone() })
    }

    /// Gives the folder its name. From then on others can open it. `false`, and the folder in the making is deleted: there
    /// is something of that name, or the folder has been cleared away.
    ///
    /// # Errors
    ///
    /// `System`.
    pub(crate) fn publish(mut self) -> Result<bool, LinkError> {
        let path = self.base.join(&self.name);
        let folder_mode = self.mode | ((self.mode & 0o444) >> 2); // who may read may also enter
        let named = self.set_mode(self.dir(), folder_mode).and_then(|()| {
            let (hidden, name) = (self.hidden.as_str(), self.name.as_str());
            renameat2(&self.parent, hidden, &self.parent, name, RenameFlags::RENAME_NOREPLACE)
        });
        match named {
            Ok(()) => {
                self.dir = None;
                Ok(true)
            }
            Err(Errno::EEXIST | Errno::ENOENT) => Ok(false),
            Err(error) => Err(LinkError::system(format!("cannot create {}", path.display()), error)),
        }
    }

    /// Whether somebody has taken this for the remains of a dead maker.
    fn is_cleared_away(&self) -> bool {
        !exists(&self.parent, &self.hidden)
    }

    fn dir(&self) -> &OwnedFd {
        self.dir.as_ref().expect("open until published")
    }

    /// Files and folder are made for the owner alone; other permissions are set against the umask.
    fn set_mode(&self, entry: &OwnedFd, mode: u32) -> nix::Result<()> {
        if self.mode == 0o600 { Ok(()) } else { fchmod(entry, Mode::from_bits_truncate(mode)) }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            // Without a new descriptor: there may be none left. The next maker tries again what fails.
            let _ = delete_files(&self.parent, &self.hidden, dir, &self.files.take());
        }
    }
}

/// Makes the link `name` below `base`, which must exist, of the files that `fill` makes and keeps open, hence locked.
/// `None`: somebody else has made one of that name meanwhile, or has taken this one for the remains of a dead maker before
/// its first file was locked. Nothing is left of it then: look again at what there is.
///
/// First clears away what makers and removers left behind that died half way.
///
/// # Errors
///
/// Those of `fill`; `System`. Nothing of the link is left.
pub(crate) fn make<T>(
    base: &Path,
    name: &str,
    mode: u32,
    fill: impl Fn(&Staging) -> Result<T, LinkError>,
) -> Result<Option<T>, LinkError> {
    clear_leftovers(&open_base(base)?);
    let attempt = || {
        let staging = Staging::new(base, name, mode)?;
        match fill(&staging) {
            Ok(made) => Ok(staging.publish()?.then_some(made)),
            Err(_) if staging.is_cleared_away() || exists(&staging.parent, name) => Ok(None),
            Err(error) => Err(error),
        }
    };
    match attempt() {
        // Perhaps there is room for one, and two have tried at once.
        Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull) => {
            with_base_lock(base, || Ok(attempt())).unwrap_or(Err(error))
        }
        result => result,
    }
}

/// Runs `work` while no other process takes its name from a link below `base`, which must exist.
///
/// First clears away what makers and removers left behind that died half way.
///
/// Never to be called from within itself: the inner call would wait for the outer one.
///
/// # Errors
///
/// Those of `work`; `System`, also if somebody else does not end such work within ten seconds.
pub(crate) fn with_base_lock<T>(
    base: &Path,
    work: impl FnOnce() -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    with_base_lock_within(base, PATIENCE, work)
}

fn with_base_lock_within<T>(
    base: &Path,
    patience: Duration,
    work: impl FnOnce() -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    let folder = open_base(base)?;
    clear_leftovers(&folder);
    let file = lock_base(&folder, base, patience)?;
    let result = work();
    let _ = lock::unlock(&file); // the close that follows unlocks too, though later if somebody forks
    result
}

/// A link that has lost its name.
#[derive(Debug)]
#[must_use]
pub(crate) struct Removed {
    base: PathBuf,
    parent: OwnedFd,
    folder: Folder,
    hidden: String,
    files: Vec<OsString>,
}

impl Removed {
    /// Deletes the files and the folder. Parties that have the files open keep them.
    ///
    /// # Errors
    ///
    /// `System`. The next maker or remover tries again.
    pub(crate) fn delete(self) -> Result<(), LinkError> {
        let Self { base, parent, folder, hidden, files } = self;
        delete_files(&parent, &hidden, &folder.dir, &files).map_err(|error| {
            LinkError::system(format!("cannot delete all of {}", base.join(hidden).display()), error)
        })
    }
}

/// Takes its name from the link. Within [`with_base_lock`]: otherwise another link of the same name may be hit instead, made
/// after somebody else has taken this one away.
///
/// # Errors
///
/// `NotFound`; `Incompatible` if something lies in the folder that is no file of a link (a folder is none,
/// whatever its name), and then nothing has been changed; `System`.
pub(crate) fn remove(base: &Path, name: &str) -> Result<Removed, LinkError> {
    let folder = Folder::open(base, name)?;
    let path = &folder.path;
    let cannot = |error: Errno| LinkError::system(format!("cannot remove {}", path.display()), error);
    let is_stranger = |entry: &&OsString| !is_link_file(entry) || is_folder(&folder.dir, entry);
    let files = entries(&folder.dir).map_err(cannot)?;
    let stranger = files.iter().find(is_stranger);
    if let Some(stranger) = stranger {
        let message = format!(
            "{} holds {stranger:?}, which is no file of a link: nothing was removed; move it away, or delete the folder by hand",
            path.display()
        );
        return Err(LinkError::new(LinkErrorKind::Incompatible, message));
    }
    let parent = open_base(base)?;
    let hidden = loop {
        let hidden = hidden_name(OLD);
        match renameat2(&parent, name, &parent, hidden.as_str(), RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => break hidden,
            Err(Errno::EEXIST) => {}
            Err(Errno::ENOENT) => return Err(not_found(name, base)),
            Err(error) => return Err(cannot(error)),
        }
    };
    Ok(Removed { base: base.to_path_buf(), parent, folder, hidden, files })
}

/// Opens the lock file of the base folder, makes it if it is missing, and takes its lock.
fn lock_base(folder: &OwnedFd, base: &Path, patience: Duration) -> Result<File, LinkError> {
    let cannot = |error: io::Error| {
        LinkError::system(format!("cannot lock {}", base.join(LOCK_FILE).display()), error)
    };
    let access = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    // In a base folder that several users share, the umask decides who may take links away in it. Nobody else
    // may read the file: a read lock would do to keep those from it who may.
    let mode = Mode::from_bits_truncate(0o622);
    loop {
        // First without making it: some systems refuse O_CREAT for a file of another user.
        let opened = match openat(folder, LOCK_FILE, access, Mode::empty()) {
            Err(Errno::ENOENT) => openat(folder, LOCK_FILE, access | OFlag::O_CREAT | OFlag::O_EXCL, mode),
            opened => opened,
        };
        let file = match opened {
            Err(Errno::EEXIST) => continue,
            opened => File::from(opened.map_err(|error| cannot(error.into()))?),
        };
        if !lock::lock_within(&file, patience).map_err(cannot)? {
            return Err(base_is_kept(folder, base, patience));
        }
        if file.metadata().map_err(cannot)?.nlink() > 0 {
            return Ok(file);
        } // else it was deleted while we waited, and does not exclude those who come later
    }
}

/// For a lock that somebody does not give back.
fn base_is_kept(folder: &OwnedFd, base: &Path, patience: Duration) -> LinkError {
    let found = fstatat(folder, LOCK_FILE, AtFlags::AT_SYMLINK_NOFOLLOW);
    let holders = found.map(|found| holders::that_lock(LOCK_FILE, (found.st_dev, found.st_ino)));
    let who = match holders.unwrap_or_default().as_slice() {
        [] => "somebody".to_owned(),
        [process, ..] => format!("process {process}"),
    };
    let what = format!(
        "cannot lock {}: {who} keeps it, as who replaces or removes a link does for a moment, for over {} s; let it go on if it is stopped, or end it",
        base.join(LOCK_FILE).display(),
        patience.as_secs_f32()
    );
    LinkError::system(what, io::Error::from(io::ErrorKind::TimedOut))
}

/// Deletes hidden folders whose makers are dead, and what is to be deleted anyway. What cannot be deleted stays: it is in
/// nobody's way.
fn clear_leftovers(base: &OwnedFd) {
    for entry in entries(base).unwrap_or_default() {
        let Some(entry) = entry.to_str() else { continue };
        // A removed link goes even if somebody still uses its files.
        if is_hidden(entry, OLD) {
            let _ = delete_folder(base, entry);
        } else if is_hidden(entry, NEW) && !has_locked_file(base, entry) {
            // Its maker may live, and have locked a file since. Once it has another name, it will not be published.
            let old = hidden_name(OLD);
            if renameat2(base, entry, base, old.as_str(), RenameFlags::RENAME_NOREPLACE).is_ok() {
                let _ = delete_folder(base, &old);
            }
        }
    }
}

/// Whether a file in this folder has a living owner. If in doubt: yes.
fn has_locked_file(parent: &OwnedFd, entry: &str) -> bool {
    let Ok(dir) = open_folder(parent, entry) else { return true };
    let Ok(entries) = entries(&dir) else { return true };
    let folder = Folder { dir, path: PathBuf::from(entry), name: entry.to_owned() };
    let is_locked = |file: &OsString| match file.to_str().map(|file| folder.open_file(file, false)) {
        Some(Ok(file)) => lock::is_locked(&file).unwrap_or(true),
        _ => true,
    };
    entries.iter().any(is_locked)
}

/// Whether this name leads to a real folder.
fn is_folder(parent: &OwnedFd, name: &OsStr) -> bool {
    let found = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
}

/// Deletes a folder of a link. If anything else lies in it than files of a link, nothing is deleted
/// and the answer is `ENOTEMPTY`.
fn delete_folder(parent: &OwnedFd, entry: &str) -> nix::Result<()> {
    let dir = match open_folder(parent, entry) {
        Err(Errno::ENOENT) => return Ok(()),
        dir => dir?,
    };
    let files = entries(&dir)?;
    if !files.iter().all(|file| is_link_file(file) && !is_folder(&dir, file)) {
        return Err(Errno::ENOTEMPTY);
    }
    delete_files(parent, entry, &dir, &files)
}

/// Deletes these files in an open folder, and then the folder, which is `entry` in `parent`.
fn delete_files(
    parent: &OwnedFd,
    entry: &str,
    dir: &OwnedFd,
    files: &[impl AsRef<OsStr>],
) -> nix::Result<()> {
    let gone = |result| if result == Err(Errno::ENOENT) { Ok(()) } else { result };
    for file in files {
        gone(unlinkat(dir, file.as_ref(), UnlinkatFlags::NoRemoveDir))?;
    }
    gone(unlinkat(parent, entry, UnlinkatFlags::RemoveDir))
}

/// A name for a hidden folder that nobody has used before, nor will: who has lost its folder knows by the name. (Process
/// ids, here for people, would not do: each namespace has its own.)
fn hidden_name(prefix: &str) -> String {
    format!("{prefix}-{}-{}", process::id(), RandomState::new().build_hasher().finish())
}

/// Whether there is anything of this name.
fn exists(parent: &OwnedFd, name: &str) -> bool {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) != Err(Errno::ENOENT)
}

/// Whether [`hidden_name`] makes such names from this prefix.
fn is_hidden(name: &str, prefix: &str) -> bool {
    let numbers = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.and_then(|rest| rest.split_once('-')).is_some_and(|(id, count)| is_number(id) && is_number(count))
}

/// Reserves the space for the first `len` bytes of a file of a link, if it is long enough and has holes.
pub(crate) fn reserve_holes(file: &File, len: usize) -> io::Result<()> {
    let metadata = file.metadata()?;
    let is_whole = metadata.blocks().saturating_mul(512) >= metadata.len();
    // Too short is for who maps it to tell.
    if is_whole || metadata.len() < len as u64 { Ok(()) } else { reserve(file, len as u64) }
}

fn reserve(file: &File, len: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let len = map::mapped_len(file, usize::try_from(len).map_err(too_large)?)?;
    // Beyond the limit, the system would not only refuse but end the process (SIGXFSZ).
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if len as u64 > limit {
        let message = format!("this process may not make files over {limit} bytes (RLIMIT_FSIZE)");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let len = i64::try_from(len).map_err(too_large)?;
    // All at once: what is more than there is room for is refused then before anything is taken. In pieces, it would
    // first take all the memory of the machine.
    loop {
        match posix_fallocate(file, 0, len) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::folder::list;
    use super::super::scratch::{Scratch, make_link, mode};
    use super::*;

    fn visible(base: &Path) -> Vec<String> {
        let names =
            fs::read_dir(base).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != LOCK_FILE).collect()
    }

    #[test]
    fn a_link_comes_and_goes_whole() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let staging = Staging::new(base, "quotes", 0o600).unwrap();
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
        assert!(folder.open_file("ctl", false).unwrap_err().is_not_found());
        let removed = remove(base, "quotes").unwrap();
        assert_eq!((list(base).unwrap().len(), visible(base).len()), (0, 1));
        removed.delete().unwrap();
        assert!(visible(base).is_empty());
        assert!(folder.open_file("tx", false).unwrap_err().is_not_found());
        assert!(remove(base, "quotes").unwrap_err().is_not_found());
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
            let staging = Staging::new(scratch.path(), &name, files).unwrap();
            staging.create_file("tx", 64).unwrap();
            assert!(staging.publish().unwrap());
            let path = scratch.path().join(name);
            assert_eq!((mode(&path), mode(path.join("tx"))), (folder, files));
        }
    }

    #[test]
    fn too_little_space_is_an_error_at_once() {
        let scratch = Scratch::new();
        let staging = Staging::new(scratch.path(), "quotes", 0o600).unwrap();
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

    #[test]
    fn strangers_are_not_deleted() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        fs::write(folder.path.join("notes.txt"), "mine").unwrap();
        let error = remove(scratch.path(), "quotes").unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Incompatible);
        assert!(error.to_string().contains("notes.txt"));
        assert_eq!(list(scratch.path()).unwrap(), ["quotes"]);
        folder.open_file("tx", false).unwrap();
        fs::remove_file(folder.path.join("notes.txt")).unwrap();
        // A folder is none of a link's files, even under such a name.
        fs::create_dir(folder.path.join("rx.1")).unwrap();
        let error = remove(scratch.path(), "quotes").unwrap_err();
        assert!(error.kind() == LinkErrorKind::Incompatible && error.to_string().contains("rx.1"), "{error}");
        folder.open_file("tx", false).unwrap();
        fs::remove_dir(folder.path.join("rx.1")).unwrap();
        remove(scratch.path(), "quotes").unwrap().delete().unwrap();
    }

    #[test]
    fn nothing_is_deleted_through_a_symbolic_link() {
        let scratch = Scratch::new();
        let (base, elsewhere) = (scratch.path().join("base"), scratch.path().join("elsewhere"));
        fs::create_dir(&base).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("tx"), "precious").unwrap();
        for name in ["quotes", ".new-1-0", ".old-1-0"] {
            symlink("../elsewhere", base.join(name)).unwrap();
        }
        assert_eq!(remove(&base, "quotes").unwrap_err().kind(), LinkErrorKind::Incompatible);
        with_base_lock(&base, || Ok(())).unwrap();
        // A file that is a symbolic link goes; what it leads to stays.
        let folder = make_link(&base, "other").unwrap();
        symlink("../../elsewhere/tx", folder.path.join("rx.1")).unwrap();
        remove(&base, "other").unwrap().delete().unwrap();
        assert_eq!(fs::read(elsewhere.join("tx")).unwrap(), b"precious");
        assert_eq!(visible(&base).len(), 3, "{:?}", visible(&base));
        // Nor is anything locked through one.
        fs::remove_file(base.join(LOCK_FILE)).unwrap();
        symlink("../elsewhere/tx", base.join(LOCK_FILE)).unwrap();
        let error = with_base_lock(&base, || Ok(())).unwrap_err();
        assert!(error.kind() == LinkErrorKind::System && error.to_string().contains(LOCK_FILE), "{error}");
    }

    #[test]
    fn names_of_hidden_folders() {
        assert!(is_hidden(&hidden_name(OLD), OLD));
        for name in [".new", ".new-", ".new-1", ".new-1-", ".new-a-1", ".newest-1-1", "new-1-1"] {
            assert!(!is_hidden(name, NEW));
        }
    }

    #[test]
    fn leftovers_are_cleared_away_unless_somebody_lives() {
        let scratch = Scratch::new();
        let base = scratch.path();
        for (hidden, file) in [(".new-1-0", "tx"), (".old-1-0", "rx.7"), (".new-1-1", "x"), (".new-x", "tx")]
        {
            fs::create_dir(base.join(hidden)).unwrap();
            fs::write(base.join(hidden).join(file), "").unwrap();
        }
        let alive = Staging::new(base, "quotes", 0o600).unwrap();
        drop(alive.create_file("ctl", 8).unwrap());
        let _locked = alive.create_file("tx", 8).unwrap();
        let left = with_base_lock(base, || Ok(visible(base))).unwrap();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.contains(&alive.hidden));
        assert!(alive.publish().unwrap());
    }

    /// Before it has locked a file, the folder of a maker that lives cannot be told from that of a dead one.
    #[test]
    fn who_is_taken_for_dead_begins_again() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let clear = || with_base_lock(base, || Ok(())).unwrap();
        let early = make(base, "quotes", 0o600, |staging| {
            clear();
            staging.create_file("tx", 8)
        });
        assert!(early.unwrap().is_none());
        let late = make(base, "quotes", 0o600, |staging| {
            let file = staging.create_file("tx", 8)?;
            lock::unlock(&file).unwrap();
            clear();
            Ok(file)
        });
        assert!(late.unwrap().is_none());
        let locked = make(base, "quotes", 0o600, |staging| {
            let file = staging.create_file("tx", 8)?;
            clear();
            Ok(file)
        });
        locked.unwrap().unwrap();
        let failed = make(base, "other", 0o600, |staging| staging.create_file("tx", 1 << 60));
        assert_eq!(failed.unwrap_err().kind(), LinkErrorKind::System);
        assert_eq!(visible(base), ["quotes"]);
    }

    #[test]
    fn who_reserves_space_is_not_taken_for_dead() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let is_done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    with_base_lock(base, || Ok(())).unwrap();
                }
            });
            // A few may be caught before the file is locked, which takes microseconds; reserving takes many milliseconds.
            let made = (0..10).find_map(|_| {
                let made = make(base, "large", 0o600, |staging| staging.create_file("tx", 128 << 20));
                made.unwrap()
            });
            is_done.store(true, Ordering::Relaxed);
            assert!(made.is_some());
        });
    }

    /// As if somebody were stopped while replacing a link.
    #[test]
    fn a_lock_that_is_kept_stops_who_replaces_but_not_who_makes() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let keeper = lock_base(&open_base(base).unwrap(), base, Duration::ZERO).unwrap();
        let made = make(base, "quotes", 0o600, |staging| staging.create_file("tx", 8)).unwrap();
        assert!(made.is_some());
        let patience = Duration::from_millis(20);
        let error = with_base_lock_within(base, patience, || Ok(())).unwrap_err();
        assert_eq!(error.io_error().unwrap().kind(), io::ErrorKind::TimedOut);
        let message = error.to_string();
        for part in [&format!("process {}", process::id()), LOCK_FILE, "0.02 s"] {
            assert!(message.contains(part), "no {part} in {message}");
        }
        lock::unlock(&keeper).unwrap();
        with_base_lock(base, || Ok(())).unwrap();
        assert_eq!(visible(base), ["quotes"]);
    }

    #[test]
    fn the_base_lock_lets_one_in_at_a_time() {
        let scratch = Scratch::new();
        let inside = AtomicU32::new(0);
        let work = || {
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            std::thread::sleep(std::time::Duration::from_millis(2));
            inside.fetch_sub(1, Ordering::Relaxed);
            // Others, on their way to the lock, may take it for the remains of a dead maker.
            while make_link(scratch.path(), "quotes").is_none() {}
            remove(scratch.path(), "quotes")?.delete()
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| with_base_lock(scratch.path(), work).unwrap());
            }
        });
        let missing = scratch.path().join("missing");
        assert!(with_base_lock(&missing, || Ok(())).unwrap_err().is_not_found());
        let failed = with_base_lock(scratch.path(), || remove(scratch.path(), "-"));
        assert_eq!(failed.unwrap_err().kind(), LinkErrorKind::Invalid);
        assert_eq!(mode(scratch.path().join(LOCK_FILE)) & 0o644, 0o600, "nobody else can read-lock it");
        with_base_lock(scratch.path(), || Ok(())).unwrap();
    }
}
