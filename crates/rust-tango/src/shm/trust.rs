//! Which users can write to a link: if any user other than this one and root can, a zero-copy reader is
//! refused.
//!
//! A reliable consumer hands out `&[u8]` into memory that another process writes. That is sound only if
//! nothing but this library writes there. The library assumes so of all programs of this user and of root,
//! and [`check`] makes sure that no other user can:
//!
//! ```text
//! /                     each folder: owned by root or this user, and writable by no other user.
//! /dev                  Exception: root's own, with the sticky bit: other users can neither rename
//! /dev/shm              nor delete entries that are not theirs.
//! /dev/shm/tango-1000
//! .../quotes            the link: as above, without the exception
//! .../quotes/tx         each file: owned by root or this user, writable by no other user,
//!                       regular, with one name, on a filesystem whose mappings are coherent
//! ```
//!
//! The mode is enough to check: an access control list that lets other users write also sets the group bits
//! of the mode.

use std::fmt::Display;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::fstat;
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, HUGETLBFS_MAGIC, TMPFS_MAGIC,
    XFS_SUPER_MAGIC, fstatfs,
};
use nix::unistd::Uid;

use super::folder::Folder;
use crate::error::{LinkError, LinkErrorKind};

const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
const ZFS_SUPER_MAGIC: FsType = FsType(0x2fc1_2fc1);
/// Local filesystems on which all mappings of a file are the same memory. EXT4 includes ext2 and ext3.
/// Overlayfs is not among them: opening a file of a lower layer for writing copies it, and earlier mappings
/// keep the old file.
const COHERENT: [FsType; 8] = [
    TMPFS_MAGIC,
    HUGETLBFS_MAGIC,
    RAMFS_MAGIC,
    EXT4_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
    BTRFS_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    ZFS_SUPER_MAGIC,
];

const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Checks that no user except this one and root can write to the link: see the module.
///
/// `files` are files that were opened from `folder`; the answer checks further ones ([`Checked::file`]). It
/// stays true until this user or root changes permissions.
///
/// # Errors
///
/// `Untrusted`, with the path, what is wrong with it, and what can be used instead; `NotFound` if the
/// folder has been removed or replaced since it was opened; `System`.
pub(crate) fn check(folder: &Folder, files: &[&File]) -> Result<Checked, LinkError> {
    let trusted = Trusted::now();
    let path = match fs::canonicalize(&folder.path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone(&folder.path)),
        Err(error) => return Err(cannot_examine(&folder.path, error)),
    };
    let opened = fstat(&folder.dir).map_err(|error| cannot_examine(&path, error))?;
    for (depth, ancestor) in path.ancestors().enumerate() {
        let found = match fs::symlink_metadata(ancestor) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone(&path)),
            found => found.map_err(|error| cannot_examine(ancestor, error))?,
        };
        if depth == 0 && (found.dev(), found.ino()) != (opened.st_dev, opened.st_ino) {
            return Err(gone(&path));
        }
        trusted.folder(ancestor, &found, depth > 0)?;
    }
    let checked = Checked { trusted, path };
    files.iter().try_for_each(|file| checked.file(file))?;
    Ok(checked)
}

/// A folder in which nobody but this user and root can write.
pub(crate) struct Checked {
    trusted: Trusted,
    path: PathBuf,
}

impl Checked {
    /// Checks one more file that was opened from the folder.
    pub(crate) fn file(&self, file: &File) -> Result<(), LinkError> {
        self.trusted.file(file, &self.path)
    }
}

/// The users that this process trusts.
struct Trusted {
    user: u32,
    /// Stands for every user that does not exist in this user namespace, so it identifies no user.
    overflow: u32,
}

impl Trusted {
    fn now() -> Self {
        let overflow = fs::read_to_string("/proc/sys/kernel/overflowuid");
        let overflow = overflow.ok().and_then(|id| id.trim().parse().ok()).unwrap_or(65534);
        Self { user: Uid::effective().as_raw(), overflow }
    }

    fn folder(&self, path: &Path, found: &Metadata, may_be_sticky: bool) -> Result<(), LinkError> {
        if !found.is_dir() {
            return Err(untrusted(path, "is not a folder"));
        }
        self.owner(path, found.uid())?;
        let sticky = found.mode() & STICKY != 0 && found.uid() == 0;
        if found.mode() & OTHERS_WRITE != 0 && !(may_be_sticky && sticky) {
            return Err(others_write(path, found.mode()));
        }
        Ok(())
    }

    fn file(&self, file: &File, folder: &Path) -> Result<(), LinkError> {
        let path = &path_of(file).unwrap_or_else(|| folder.join("?"));
        let found = file.metadata().map_err(|error| cannot_examine(path, error))?;
        if !found.is_file() {
            return Err(untrusted(path, "is not a regular file"));
        }
        if found.nlink() == 0 {
            return Err(gone(folder)); // removed since its path was checked
        }
        if found.nlink() != 1 {
            return Err(untrusted(path, format_args!("has {} names instead of one", found.nlink())));
        }
        self.owner(path, found.uid())?;
        if found.mode() & OTHERS_WRITE != 0 {
            return Err(others_write(path, found.mode()));
        }
        let filesystem = fstatfs(file).map_err(|error| cannot_examine(path, error))?.filesystem_type();
        if !COHERENT.contains(&filesystem) {
            return Err(untrusted(
                path,
                format_args!(
                    "is on a filesystem of type {:#x}, which is not known to give all processes that map a file the same memory",
                    filesystem.0
                ),
            ));
        }
        Ok(())
    }

    fn owner(&self, path: &Path, owner: u32) -> Result<(), LinkError> {
        if owner == self.overflow {
            return Err(untrusted(
                path,
                format_args!(
                    "belongs to user {owner}, which stands for any user outside of this user namespace"
                ),
            ));
        }
        if owner != 0 && owner != self.user {
            return Err(untrusted(
                path,
                format_args!("belongs to user {owner}, neither root nor you (user {})", self.user),
            ));
        }
        Ok(())
    }
}

fn others_write(path: &Path, mode: u32) -> LinkError {
    untrusted(
        path,
        format_args!("can be written by others, not only by its owner (mode {:o})", mode & 0o7777),
    )
}

fn untrusted(path: &Path, what: impl Display) -> LinkError {
    let message = format!(
        "{} {what}, so a zero-copy consumer is refused: use an observer, or the unsafe consumer_trusting if you know which programs write there",
        path.display()
    );
    LinkError::new(LinkErrorKind::Untrusted, message)
}

fn gone(path: &Path) -> LinkError {
    let message = format!("{} has been removed or replaced since it was opened", path.display());
    LinkError::new(LinkErrorKind::NotFound, message)
}

fn cannot_examine(path: &Path, error: impl Into<io::Error>) -> LinkError {
    LinkError::system(format!("cannot examine {}", path.display()), error)
}

/// The path of an open file for messages, if the kernel knows it.
fn path_of(file: &File) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::super::removal::remove;
    use super::super::scratch::Scratch;
    use super::super::staging::Staging;
    use super::*;

    struct Made {
        scratch: Scratch,
        folder: Folder,
        tx: File,
    }

    /// A link named `quotes` in a base folder `base`.
    fn made() -> Made {
        let scratch = Scratch::new();
        let base = scratch.path().join("base");
        fs::create_dir(&base).unwrap();
        let staging = Staging::new(&base, "quotes", 0o600).unwrap();
        let tx = staging.create_file("tx", 64).unwrap();
        let folder = staging.open().unwrap();
        assert!(staging.publish().unwrap());
        let made = Made { scratch, folder, tx };
        made.check().unwrap();
        made
    }

    impl Made {
        fn check(&self) -> Result<(), LinkError> {
            check(&self.folder, &[&self.tx]).map(drop)
        }

        /// Asserts that the link is refused and that the message names this path.
        fn refused(&self, path: &Path, what: &str) {
            let error = self.check().unwrap_err();
            let message = error.to_string();
            assert_eq!(error.kind(), LinkErrorKind::Untrusted, "{message}");
            assert!(message.starts_with(&format!("{} {what}", path.display())), "{message}");
            assert!(message.contains("observer") && message.contains("consumer_trusting"), "{message}");
        }

        fn base(&self) -> PathBuf {
            self.scratch.path().join("base")
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn others_may_write_nowhere_on_the_way() {
        let made = made();
        let (base, link, tx) = (made.base(), made.folder.path.clone(), made.folder.path.join("tx"));
        for path in [&base, &link, &tx] {
            let before = fs::metadata(path).unwrap().mode();
            for mode in [0o770, 0o707, 0o720] {
                set_mode(path, mode);
                made.refused(path, "can be written by others");
            }
            set_mode(path, 0o755);
            made.check().unwrap();
            set_mode(path, before);
        }
        set_mode(&link, 0o1777);
        made.refused(&link, "can be written by others");
    }

    #[test]
    fn sticky_is_enough_only_for_folders_of_root() {
        let made = made();
        set_mode(&made.base(), 0o1777);
        if Uid::effective().is_root() {
            made.check().unwrap();
        } else {
            made.refused(&made.base(), "can be written by others");
        }
    }

    #[test]
    fn files_have_one_name() {
        let made = made();
        let tx = made.folder.path.join("tx");
        fs::hard_link(&tx, made.scratch.path().join("second")).unwrap();
        made.refused(&tx, "has 2 names");
        fs::remove_file(made.scratch.path().join("second")).unwrap();
        made.check().unwrap();
    }

    #[test]
    fn other_owners_are_refused() {
        if !Uid::effective().is_root() {
            return; // only root can give files away
        }
        let made = made();
        let overflow = Trusted::now().overflow;
        for path in [made.base(), made.folder.path.clone(), made.folder.path.join("tx")] {
            for owner in [1, overflow] {
                chown(&path, Some(owner), None).unwrap();
                made.refused(&path, &format!("belongs to user {owner}"));
            }
            chown(&path, Some(0), None).unwrap();
            made.check().unwrap();
        }
    }

    #[test]
    fn the_way_is_followed_through_links_above() {
        let made = made();
        let alias = made.scratch.path().join("alias");
        symlink("base", &alias).unwrap();
        let folder = Folder::open(&alias, "quotes").unwrap();
        check(&folder, &[]).unwrap();
        set_mode(&made.base(), 0o770);
        assert_eq!(check(&folder, &[]).map(drop).unwrap_err().kind(), LinkErrorKind::Untrusted);
    }

    #[test]
    fn other_filesystems_are_refused() {
        let made = made();
        let proc = File::open("/proc/self/status").unwrap();
        let message = check(&made.folder, &[&proc]).map(drop).unwrap_err().to_string();
        assert!(message.contains("0x9fa0"), "{message}");
    }

    #[test]
    fn a_removed_link_is_not_found() {
        let made = made();
        remove(&made.base(), &made.folder).unwrap().delete().unwrap();
        assert!(made.check().unwrap_err().is_not_found());
        Staging::new(&made.base(), "quotes", 0o600).unwrap().publish().unwrap();
        assert!(made.check().unwrap_err().is_not_found());
    }
}
