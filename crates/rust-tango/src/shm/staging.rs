//! How links come and go. A folder gets its name, and loses it, whole: by one rename in the base folder.
//!
//! ```text
//!   Staging::new                    publish                  remove
//! (nothing) ---> .new-PID-COUNT ---------------> NAME ---------------> .old-PID-COUNT ---> (nothing)
//! ```
//!
//! Who makes, remakes or removes a link does so within [`with_base_lock`]. Who dies on the way leaves a
//! hidden folder behind that stands in nobody's way; the next one to take that lock clears it away.
//!
//! Files are only ever deleted by the names that links have, each from its open folder, so neither a
//! symbolic link nor a stranger's file in a folder can turn a removal against something else.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, process};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, posix_fallocate, renameat2};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::folder::{Folder, check_name, entries, is_link_file, not_found, open_base, open_folder};
use super::{lock, map};
use crate::error::{LinkError, LinkErrorKind};

const LOCK_FILE: &str = ".lock";
const NEW: &str = ".new";
const OLD: &str = ".old";

/// A link in the making, hidden until [`publish`](Self::publish). Dropped before that, it deletes itself.
///
/// The caller's duty: everything from `new` to `publish` runs within [`with_base_lock`], because whoever
/// holds that lock may clear hidden folders away.
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
        let hidden = loop {
            let hidden = hidden_name(NEW);
            match mkdirat(&parent, hidden.as_str(), Mode::S_IRWXU) {
                Ok(()) => break hidden,
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(cannot(error)),
            }
        };
        let dir = match open_folder(&parent, &hidden) {
            Ok(dir) => Some(dir),
            Err(error) => {
                let _ = unlinkat(&parent, hidden.as_str(), UnlinkatFlags::RemoveDir);
                return Err(cannot(error));
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

    /// Makes a file of `len` zero bytes and reserves the space for all of them, so that touching them
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

    /// Gives the folder its name. From then on others can open it.
    ///
    /// # Errors
    ///
    /// `InUse` if there is something of that name, and then the folder in the making is deleted; `System`.
    pub(crate) fn publish(mut self) -> Result<(), LinkError> {
        let path = self.base.join(&self.name);
        let folder_mode = self.mode | ((self.mode & 0o444) >> 2); // who may read may also enter
        let named = self.set_mode(self.dir(), folder_mode).and_then(|()| {
            let (hidden, name) = (self.hidden.as_str(), self.name.as_str());
            renameat2(&self.parent, hidden, &self.parent, name, RenameFlags::RENAME_NOREPLACE)
        });
        match named {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                let message = format!("a link named {} exists already: {}", self.name, path.display());
                return Err(LinkError::new(LinkErrorKind::InUse, message));
            }
            Err(error) => return Err(LinkError::system(format!("cannot create {}", path.display()), error)),
        }
        self.dir = None;
        Ok(())
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

/// Runs `work` while no other process makes, remakes or removes a link below `base`, which must exist.
///
/// First clears away what makers and removers left behind that died half way.
///
/// Never to be called from within itself: the inner call would wait for the outer one for ever.
pub(crate) fn with_base_lock<T>(
    base: &Path,
    work: impl FnOnce() -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    let folder = open_base(base)?;
    let file = lock_base(&folder, base)?;
    clear_leftovers(&folder);
    let result = work();
    let _ = lock::unlock(&file); // the close that follows unlocks too, though later if somebody forks
    result
}

/// Takes the link away: hides its folder, then deletes the files in it and the folder itself.
///
/// Parties that have the files open keep them. Call it within [`with_base_lock`]: otherwise a link that
/// is made under the same name at this moment may be hit instead.
///
/// # Errors
///
/// `NotFound`; `Incompatible` if something lies in the folder that is no file of a link (a folder is none,
/// whatever its name), and then nothing has been changed; `System`.
pub(crate) fn remove(base: &Path, name: &str) -> Result<(), LinkError> {
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
    delete_files(&parent, &hidden, &folder.dir, &files).map_err(|error| {
        LinkError::system(format!("cannot delete all of {}", base.join(hidden).display()), error)
    })
}

/// Opens the lock file of the base folder, makes it if it is missing, and takes its lock.
fn lock_base(folder: &OwnedFd, base: &Path) -> Result<File, LinkError> {
    let cannot = |error: io::Error| {
        LinkError::system(format!("cannot lock {}", base.join(LOCK_FILE).display()), error)
    };
    let access = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    // In a base folder that several users share, the umask decides who may make links in it. Nobody else
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
        lock::lock_blocking(&file).map_err(cannot)?;
        if file.metadata().map_err(cannot)?.nlink() > 0 {
            return Ok(file);
        } // else it was deleted while we waited, and does not exclude those who come later
    }
}

/// Deletes hidden folders whose makers or removers are dead. The caller holds the lock of the base folder.
/// What cannot be deleted stays: it is in nobody's way.
fn clear_leftovers(base: &OwnedFd) {
    for entry in entries(base).unwrap_or_default() {
        let Some(entry) = entry.to_str() else { continue };
        // A removed link goes even if somebody still uses its files. One in the making cannot be alive
        // now that the lock is ours; looking at its locks too costs nothing.
        if is_hidden(entry, OLD) || (is_hidden(entry, NEW) && !has_locked_file(base, entry)) {
            let _ = delete_folder(base, entry);
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

/// A name for a hidden folder that this process has not used before. Another process id namespace may
/// have: whoever takes the name is prepared for that.
fn hidden_name(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

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
        staging.publish().unwrap();
        let folder = Folder::open(base, "quotes").unwrap();
        assert_eq!((made.path.as_path(), made.name.as_str()), (base.join("quotes").as_path(), "quotes"));
        assert_eq!(list(base).unwrap(), ["quotes"]);
        assert_eq!((mode(&folder.path), mode(folder.path.join("tx"))), (0o700, 0o600));
        let metadata = folder.open_file("tx", false).unwrap().metadata().unwrap();
        assert_eq!(metadata.len(), 12_345);
        assert!(metadata.blocks() * 512 >= 12_345, "the space is reserved");
        assert!(folder.open_file("ctl", false).unwrap_err().is_not_found());
        remove(base, "quotes").unwrap();
        assert!(visible(base).is_empty());
        assert!(folder.open_file("tx", false).unwrap_err().is_not_found());
        assert!(remove(base, "quotes").unwrap_err().is_not_found());
    }

    #[test]
    fn publishing_replaces_nothing() {
        let scratch = Scratch::new();
        let first = make_link(scratch.path(), "quotes").unwrap();
        assert_eq!(make_link(scratch.path(), "quotes").unwrap_err().kind(), LinkErrorKind::InUse);
        fs::create_dir(scratch.path().join("empty")).unwrap();
        assert_eq!(make_link(scratch.path(), "empty").unwrap_err().kind(), LinkErrorKind::InUse);
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
            staging.publish().unwrap();
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
        remove(scratch.path(), "quotes").unwrap();
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
        remove(&base, "other").unwrap();
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
        let alive = Staging::new(base, "quotes", 0o600).unwrap(); // not under the lock, as it should be
        assert!(lock::try_lock(&alive.create_file("ctl", 8).unwrap()).unwrap());
        let locked = alive.create_file("tx", 8).unwrap();
        assert!(lock::try_lock(&locked).unwrap());
        let left = with_base_lock(base, || Ok(visible(base))).unwrap();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.contains(&alive.hidden));
        alive.publish().unwrap();
    }

    #[test]
    fn the_base_lock_lets_one_in_at_a_time() {
        let scratch = Scratch::new();
        let inside = AtomicU32::new(0);
        let work = || {
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            std::thread::sleep(std::time::Duration::from_millis(2));
            inside.fetch_sub(1, Ordering::Relaxed);
            make_link(scratch.path(), "quotes")?;
            remove(scratch.path(), "quotes")
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| with_base_lock(scratch.path(), work).unwrap());
            }
        });
        let missing = scratch.path().join("missing");
        assert!(with_base_lock(&missing, || Ok(())).unwrap_err().is_not_found());
        let failed: Result<(), _> =
            with_base_lock(scratch.path(), || make_link(scratch.path(), "-").map(drop));
        assert_eq!(failed.unwrap_err().kind(), LinkErrorKind::Invalid);
        assert_eq!(mode(scratch.path().join(LOCK_FILE)) & 0o644, 0o600, "nobody else can read-lock it");
        with_base_lock(scratch.path(), || Ok(())).unwrap();
    }
}
