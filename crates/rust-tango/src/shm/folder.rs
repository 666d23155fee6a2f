//! How a link is opened: its name, its folder, its files.
//!
//! ```text
//! base folder                                                        base::open_base
//!   NAME          a real folder, whose name check_name allows        Folder::open
//!     tx, ...     regular files with one name                        Folder::open_file
//! ```
//!
//! Below the base folder, nothing here follows a symbolic link: each step goes from an open folder to a
//! name in it. Nothing here changes a link.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::Uid;

use super::base::open_base;
use super::filesystem::Mappings;
use crate::error::{LinkError, LinkErrorKind};

pub(super) const NAME_MAX: usize = 200;
const READ_FOLDER: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// A pipe in the place of a file must not block, and a terminal must not become the controlling one.
const CAREFUL: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// Checks the name of a link: 1 to 200 ASCII letters, digits, `-`, `_` and `.`, not beginning with `.` or
/// `-`. Such a name needs no quotes in a shell and leads to no other folder.
pub(crate) fn check_name(name: &str) -> Result<(), LinkError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    let message = format!(
        "{name:?} is not a valid name of a link: use 1 to {NAME_MAX} letters (a-z, A-Z), digits, '-', '_' and '.', and do not begin with '.' or '-'"
    );
    Err(LinkError::new(LinkErrorKind::Invalid, message))
}

/// The names of the links below `base`, sorted. Empty if there is no such folder.
pub(crate) fn list(base: &Path) -> Result<Vec<String>, LinkError> {
    let folder = match open_base(base) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        folder => folder?,
    };
    let entries = entries(&folder)
        .map_err(|error| LinkError::system(format!("cannot read the folder {}", base.display()), error))?;
    let is_link = |name: &String| {
        let no_follow = AtFlags::AT_SYMLINK_NOFOLLOW;
        let is_folder = fstatat(&folder, name.as_str(), no_follow)
            .is_ok_and(|found| found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits());
        // A folder that this user may not enter counts as a link. So does one that has lost one of these
        // files: it is damaged.
        let has = |file| fstatat(&folder, &Path::new(name).join(file), no_follow) != Err(Errno::ENOENT);
        check_name(name).is_ok() && is_folder && (has("tx") || has("ctl"))
    };
    let names = entries.into_iter().filter_map(|name| name.into_string().ok());
    let mut names: Vec<String> = names.filter(is_link).collect();
    names.sort_unstable();
    Ok(names)
}

/// The folder of an existing link, held open: files are reached through it even if its name changes.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) dir: OwnedFd,
    /// The path when the folder was opened, for messages and to check the folders above it.
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    /// Opening a file for writing can replace it by a copy: see [`Mappings::CoherentOnceWritable`].
    copies_up: bool,
}

impl Folder {
    pub(super) fn of(dir: OwnedFd, path: PathBuf, name: &str) -> Self {
        let copies_up = Mappings::of(&dir) == Ok(Mappings::CoherentOnceWritable);
        Self { dir, path, name: name.to_owned(), copies_up }
    }

    /// Opens the folder of the link `name` below `base`.
    ///
    /// # Errors
    ///
    /// `Invalid` name; `NotFound`; `Incompatible` if the name is not that of a folder; `Untrusted` if the
    /// default base folder belongs to another user; `System`.
    pub(crate) fn open(base: &Path, name: &str) -> Result<Self, LinkError> {
        check_name(name)?;
        let parent = open_base(base)?;
        let path = base.join(name);
        match open_folder(&parent, name) {
            Ok(dir) => Ok(Self::of(dir, path, name)),
            Err(Errno::ENOENT) => Err(not_found(name, base)),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let message = format!("{} is not a link: it is not a folder", path.display());
                Err(LinkError::new(LinkErrorKind::Incompatible, message))
            }
            Err(error @ Errno::EACCES) => {
                let nothing_there_can_be_reached =
                    fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) == Err(Errno::EACCES);
                Err(if nothing_there_can_be_reached {
                    no_way_in(base, error)
                } else {
                    no_permission(&path, error)
                })
            }
            Err(error) => Err(LinkError::system(format!("cannot open {}", path.display()), error)),
        }
    }

    /// Opens a file of the link for reading, and also for writing if `write`, with an open file description
    /// of its own.
    ///
    /// # Errors
    ///
    /// `NotFound` if the link was removed; `Damaged` if the link is there, but not this file; `Incompatible`
    /// if it is not a regular file; `Untrusted` if it is a symbolic link or has a second name; `System`.
    pub(crate) fn open_file(&self, file: &str, write: bool) -> Result<File, LinkError> {
        self.open_and_examine(file, write).map(|(opened, _)| opened)
    }

    /// [`open_file`](Self::open_file). Also returns what the system says of the file.
    pub(super) fn open_and_examine(&self, file: &str, write: bool) -> Result<(File, Metadata), LinkError> {
        let path = self.path.join(file);
        let refused = |kind, what| Err(LinkError::new(kind, format!("{} {what}", path.display())));
        let access = if write { OFlag::O_RDWR } else { OFlag::O_RDONLY };
        if !write && self.copies_up {
            // So that all processes that may write to the link map the copy. An error means that this
            // process may not.
            let _ = openat(&self.dir, file, OFlag::O_RDWR | CAREFUL, Mode::empty());
        }
        let opened = match openat(&self.dir, file, access | CAREFUL, Mode::empty()) {
            Ok(opened) => File::from(opened),
            Err(Errno::ENOENT) => return Err(self.missing(&path)),
            Err(Errno::ELOOP) => return refused(LinkErrorKind::Untrusted, "is a symbolic link"),
            Err(Errno::EISDIR | Errno::ENXIO) => {
                return refused(LinkErrorKind::Incompatible, "is not a regular file");
            }
            Err(error @ (Errno::EACCES | Errno::EROFS)) if write => {
                let what = format!(
                    "cannot open {} for writing, which every role except that of an observer needs",
                    path.display()
                );
                return Err(LinkError::system(what, error).but_observer_may_join());
            }
            Err(error @ Errno::EACCES) => return Err(no_permission(&path, error)),
            Err(error) => return Err(LinkError::system(format!("cannot open {}", path.display()), error)),
        };
        let metadata = opened
            .metadata()
            .map_err(|error| LinkError::system(format!("cannot examine {}", path.display()), error))?;
        match metadata.nlink() {
            _ if !metadata.is_file() => refused(LinkErrorKind::Incompatible, "is not a regular file"),
            1 => Ok((opened, metadata)),
            0 => Err(self.missing(&path)),
            _ => refused(LinkErrorKind::Untrusted, "has a second name (a hard link)"),
        }
    }

    /// The error for a file of the link that does not exist.
    ///
    /// A link gets its name when it has all its files, and loses its name before the first of them is
    /// deleted. So a folder that has its name lacks none, unless something else has deleted it.
    fn missing(&self, file: &Path) -> LinkError {
        let (file, name) = (file.display(), &self.name);
        // The parent of the open folder is asked, which is the base folder even if that has been moved.
        let its_name = Path::new("..").join(name);
        let own = Identity::of_file(&self.dir);
        if own.is_ok_and(|own| find(&self.dir, &its_name, own) == Found::Same) {
            let message = format!(
                "link {name} is damaged: {file} is missing (something other than this library has deleted it); remove the link, and create it again"
            );
            return LinkError::new(LinkErrorKind::Damaged, message);
        }
        LinkError::new(
            LinkErrorKind::NotFound,
            format!("{file} does not exist any more: the link was removed"),
        )
    }

    /// The names of all files in the folder that are those of lockable files of a link.
    ///
    /// # Errors
    ///
    /// `System`.
    pub(crate) fn lockable_files(&self) -> Result<Vec<String>, LinkError> {
        let names = entries(&self.dir).map_err(|error| cannot_tell(&self.path, error))?;
        // `has_owner` accepts ASCII only.
        let names =
            names.into_iter().filter(|name| has_owner(name)).filter_map(|name| name.into_string().ok());
        Ok(names.collect())
    }

    /// Opens a lockable file for reading, whatever its content. `None` if it is not a regular file, because
    /// no process can hold that.
    ///
    /// # Errors
    ///
    /// `System`.
    pub(crate) fn open_lockable(&self, name: &str) -> Result<Option<File>, LinkError> {
        let found = fstatat(&self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if !found.is_ok_and(|found| found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()) {
            return Ok(None);
        }
        match openat(&self.dir, name, OFlag::O_RDONLY | CAREFUL, Mode::empty()) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => Ok(None), // replaced meanwhile
            Err(error) => Err(cannot_tell(&self.path.join(name), error)),
        }
    }

    /// The length of a file of the link, and the memory that it takes, in bytes. `None` if it does not exist.
    pub(super) fn sizes(&self, file: &str) -> Option<(u64, u64)> {
        let found = fstatat(&self.dir, file, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some((found.st_size.try_into().ok()?, u64::try_from(found.st_blocks).ok()?.saturating_mul(512)))
    }

    pub(super) fn try_clone(&self) -> Result<Self, LinkError> {
        let dir = self
            .dir
            .try_clone()
            .map_err(|error| LinkError::system(format!("cannot open {}", self.path.display()), error))?;
        Ok(Self { dir, path: self.path.clone(), name: self.name.clone(), copies_up: self.copies_up })
    }

    /// Makes sure that the name still leads to this folder, which is below the open folder `parent`.
    ///
    /// # Errors
    ///
    /// `NotFound` if the link has been removed, or another one has its name; `System`.
    pub(super) fn check_has_name(&self, parent: &OwnedFd) -> Result<(), LinkError> {
        let cannot = |error| LinkError::system(format!("cannot examine {}", self.path.display()), error);
        let there = match fstatat(parent, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {
                return Err(not_found(&self.name, self.path.parent().unwrap_or(&self.path)));
            }
            found => found.map_err(cannot)?,
        };
        if Identity::of(&there) == Identity::of_file(&self.dir).map_err(cannot)? {
            return Ok(());
        }
        let message = format!("link {} has been removed, and another one has its name now", self.name);
        Err(LinkError::new(LinkErrorKind::NotFound, message))
    }
}

fn cannot_tell(what: &Path, error: Errno) -> LinkError {
    LinkError::system(format!("cannot tell whether {} is in use", what.display()), error)
}

/// Device and inode, which tell a file or folder from another one that has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(found: &FileStat) -> Self {
        Self { device: found.st_dev, inode: found.st_ino }
    }

    pub(super) fn of_metadata(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }

    /// The two numbers.
    #[cfg(feature = "async")]
    pub(super) fn numbers(&self) -> [u64; 2] {
        [self.device, self.inode]
    }

    /// Whether both are on the same filesystem.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.device == other.device
    }

    pub(super) fn of_file(file: impl AsFd) -> nix::Result<Self> {
        Ok(Self::of(&fstat(file)?))
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Same,
    /// Something else, or nothing.
    Other,
    /// The system does not say: this user may not follow the path, for example.
    Unknown,
}

/// Whether the path, from this folder on, leads to the file or folder with this identity.
pub(super) fn find(folder: impl AsFd, path: &Path, wanted: Identity) -> Found {
    match fstatat(folder, path, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(found) if Identity::of(&found) == wanted => Found::Same,
        Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => Found::Other,
        Err(_) => Found::Unknown,
    }
}

/// The error for a link, or a file of one, that this user may not even read.
fn no_permission(path: &Path, error: Errno) -> LinkError {
    let user = Uid::effective();
    let what = format!("cannot open {}: its mode does not let user {user} read it", path.display());
    LinkError::system(what, error).with_advice("its maker can let others read it with LinkBuilder::mode")
}

/// The error for a base folder that this user may not enter.
fn no_way_in(base: &Path, error: Errno) -> LinkError {
    let (user, base) = (Uid::effective(), base.display());
    let what = format!(
        "cannot enter the folder of links {base}: its mode does not let user {user} in (its owner can change that: chmod o+x {base}, or g+x for its group)"
    );
    LinkError::system(what, error)
}

pub(super) fn not_found(name: &str, base: &Path) -> LinkError {
    LinkError::new(LinkErrorKind::NotFound, format!("there is no link named {name} in {}", base.display()))
}

/// Opens a folder in an open folder. A symbolic link is refused.
pub(super) fn open_folder(parent: &OwnedFd, name: &str) -> nix::Result<OwnedFd> {
    openat(parent, name, READ_FOLDER | OFlag::O_NOFOLLOW, Mode::empty())
}

/// The names in an open folder, without `.` and `..`.
pub(super) fn entries(folder: impl AsFd) -> nix::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::openat(folder, ".", READ_FOLDER, Mode::empty())?.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_os_string());
        }
    }
    Ok(names)
}

/// Whether files of a link have such names: `tx`, `ctl`, `rx.N`, and `tx.N` in layout versions before 9.
pub(super) fn is_link_file(name: &OsStr) -> bool {
    has_owner(name) || is_of_slot(name, b"tx.")
}

/// Whether the holder of the lock of such a file has a role on the link: `tx`, `ctl`, `rx.N`.
fn has_owner(name: &OsStr) -> bool {
    matches!(name.as_bytes(), b"tx" | b"ctl") || is_of_slot(name, b"rx.")
}

/// Whether the name is `prefix` and the number of a slot.
fn is_of_slot(name: &OsStr, prefix: &[u8]) -> bool {
    let slot = name.as_bytes().strip_prefix(prefix);
    slot.is_some_and(|slot| (1..=5).contains(&slot.len()) && slot.iter().all(u8::is_ascii_digit))
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::{makedev, mknod};
    use nix::unistd::mkfifo;

    use super::super::scratch::{Scratch, make_link};
    use super::*;

    #[test]
    fn names() {
        let longest = "x".repeat(NAME_MAX);
        for name in ["q", "quotes", "Quotes_2.a-b", "0", "_", "tx", &longest] {
            check_name(name).unwrap();
        }
        let too_long = "x".repeat(NAME_MAX + 1);
        for name in ["", ".", "..", ".new-1", "-x", "a/b", "../x", "a b", "a\0", "h\u{e4}", &too_long] {
            let error = check_name(name).unwrap_err();
            assert_eq!(error.kind(), LinkErrorKind::Invalid);
            assert!(error.to_string().contains(&format!("{name:?}")));
        }
        assert!(is_link_file(OsStr::new("rx.255")));
        assert!(is_link_file(OsStr::new("tx.0")));
        for name in ["rx.", "rx.+1", "rx.x", "rx", "tx.", "tx.x", "TX"] {
            assert!(!is_link_file(OsStr::new(name)));
        }
    }

    #[test]
    fn only_plain_files_are_opened() {
        let scratch = Scratch::new();
        let folder = make_link(scratch.path(), "quotes").unwrap();
        let kind = |file: &str, write| folder.open_file(file, write).unwrap_err().kind();
        let path = |file: &str| folder.path.join(file);
        symlink("tx", path("rx.1")).unwrap();
        fs::hard_link(path("tx"), path("rx.2")).unwrap();
        fs::create_dir(path("rx.3")).unwrap();
        mkfifo(&path("rx.4"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(path("rx.5")).unwrap();
        // Only root may make a device, and not in every container.
        let device = mknod(&path("rx.6"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).is_ok();
        for write in [false, true] {
            assert_eq!(kind("rx.1", write), LinkErrorKind::Untrusted);
            assert_eq!(kind("rx.2", write), LinkErrorKind::Untrusted);
            assert_eq!(kind("tx", write), LinkErrorKind::Untrusted);
            assert_eq!(kind("rx.3", write), LinkErrorKind::Incompatible);
            assert_eq!(kind("rx.4", write), LinkErrorKind::Incompatible);
            assert_eq!(kind("rx.5", write), LinkErrorKind::Incompatible);
            assert!(
                !device || matches!(kind("rx.6", write), LinkErrorKind::Incompatible | LinkErrorKind::System)
            );
            folder.open_file("ctl", write).unwrap();
        }
    }

    #[test]
    fn only_folders_are_links() {
        let scratch = Scratch::new();
        let base = scratch.path();
        drop(scratch.file("file", 0));
        make_link(base, "quotes").unwrap();
        symlink("quotes", base.join("alias")).unwrap();
        fs::create_dir(base.join("empty")).unwrap();
        make_link(base, "a").unwrap();
        assert_eq!(Folder::open(base, "file").unwrap_err().kind(), LinkErrorKind::Incompatible);
        assert_eq!(Folder::open(base, "alias").unwrap_err().kind(), LinkErrorKind::Incompatible);
        assert_eq!(Folder::open(base, "../x").unwrap_err().kind(), LinkErrorKind::Invalid);
        assert_eq!(list(base).unwrap(), ["a", "quotes"]);
    }
}
