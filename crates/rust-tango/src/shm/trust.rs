//! Which users can write to a link: if any user other than this one and root can, a zero-copy reader is
//! refused.
//!
//! A reliable consumer hands out `&[u8]` into memory that another process writes. That is sound only if
//! nothing but this library writes there. The library assumes so of all programs of this user and of root,
//! and [`check`] makes sure that no other user can:
//!
//! ```text
//! /dev/shm/tango-1000   not checked, nor what is above it
//! .../quotes            the link's folder: owned by root or this user, and writable by no other user
//! .../quotes/tx         each file: the same; and regular, with one name, on a filesystem whose mappings
//!                       are coherent
//! ```
//!
//! # Why it is enough to check the link
//!
//! What is checked are the open folder and the open files, not what their paths lead to, and they are what
//! is used afterwards. (A file of a slot is asked by its name in the open folder, and has to be the one that was opened.)
//! A user that can rename entries in a folder above, such as a `/dev/shm` with mode
//! 0777, decides which folder a name leads to. It can make a name lead nowhere, to a folder of its own,
//! which is refused, or to another folder that only this user and root can write. It cannot change what is
//! in such a folder, and it cannot put a file there. So it can hide a link, which ends it
//! ([`name_watch`](super::name_watch)), and it cannot write to one. For
//! the same reason it does not matter which user owns the folders above, such as the `/` of a user
//! namespace, whose owner has no number there.
//!
//! # A link for a group
//!
//! The members of a group can write to `rx.N` if the maker allows it
//! ([`LinkBuilder::consumer_group`](crate::LinkBuilder::consumer_group)). A reliable consumer then reads by
//! validated copy, as an observer does: whatever is written to its `rx.N` can make it lose fragments, or
//! wait, and nothing else.
//!
//! The mode is enough to check: an access control list that lets other users write also sets the group bits
//! of the mode.

use std::fmt::Display;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, SFlag, fstat, fstatat};
use nix::unistd::Uid;

use super::base::read_small;
use super::filesystem::{Mappings, USE_ANOTHER, describe};
use super::folder::{Folder, Identity};
use crate::error::{LinkError, LinkErrorKind};
use crate::sync::{Relaxed, StaticU64};

const OTHERS_WRITE: u32 = 0o022;

/// Checks that no user except this one and root can write to the link: see the module.
///
/// `files` are files that were opened from `folder`; the answer checks further ones ([`Checked::file`]). It
/// stays true until this user or root changes permissions.
///
/// # Errors
///
/// `Untrusted`, with the path, what is wrong with it, and what mends it; `NotFound` if the folder has been
/// removed or replaced since it was opened; `System`.
pub(crate) fn check<'a>(folder: &'a Folder, files: &[&File]) -> Result<Checked<'a>, LinkError> {
    let (trusted, path) = (Trusted::now(), &folder.path);
    let opened = fstat(&folder.dir).map_err(|error| cannot_examine(path, error))?;
    match fs::symlink_metadata(path) {
        Ok(found) if (found.dev(), found.ino()) == (opened.st_dev, opened.st_ino) => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_examine(path, error)),
        _ => return Err(gone(path)),
    }
    let mut beside = None;
    // First what keeps out readers by copy, too.
    for file in files {
        let (found, mappings) = (examine(file, path)?, mappings_of(file, path)?);
        trusted.mappings(found.st_uid, mappings, file, || path_of(file, path))?;
        beside.get_or_insert((Identity::of(&found), mappings));
    }
    trusted.writers(path, opened.st_uid, opened.st_mode)?;
    for file in files {
        trusted.file(&examine(file, path)?, path, || path_of(file, path))?;
    }
    Ok(Checked { trusted, folder, beside })
}

/// A folder in which nobody but this user and root can write.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    trusted: Trusted,
    folder: &'a Folder,
    /// One of the files that were checked, and what is known of the mappings on its filesystem.
    beside: Option<(Identity, Mappings)>,
}

impl Checked<'_> {
    /// Checks one more file that was opened from the folder.
    pub(crate) fn file(&self, file: &File) -> Result<(), LinkError> {
        let path = &self.folder.path;
        let found = examine(file, path)?;
        let name = || path_of(file, path);
        self.trusted.mappings(found.st_uid, mappings_of(file, path)?, file, name)?;
        self.trusted.file(&found, path, name)
    }

    /// Whether the name in the folder still leads to the file with this identity, and that file is as [`file`](Self::file)
    /// wishes. One system call. False also if that cannot be said without opening the file.
    pub(crate) fn named(&self, name: &str, wanted: Identity) -> bool {
        let Some((beside, mappings)) = self.beside else { return false };
        let Ok(found) = fstatat(&self.folder.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return false };
        let (dir, path) = (&self.folder.dir, || self.folder.path.join(name));
        let is_same = Identity::of(&found) == wanted && wanted.is_beside(&beside);
        is_same
            && self.trusted.mappings(found.st_uid, mappings, dir, path).is_ok()
            && self.trusted.file(&found, &self.folder.path, path).is_ok()
    }
}

/// The users that this process trusts.
#[derive(Debug)]
struct Trusted {
    user: u32,
    /// Stands for every user that does not exist in this user namespace, so it identifies no user.
    overflow: u32,
}

impl Trusted {
    fn now() -> Self {
        Self { user: Uid::effective().as_raw(), overflow: overflow() }
    }

    fn file(&self, found: &FileStat, folder: &Path, path: impl Fn() -> PathBuf) -> Result<(), LinkError> {
        if found.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
            return Err(untrusted(&path(), "is not a regular file"));
        }
        if found.st_nlink == 0 {
            return Err(gone(folder)); // removed since its path was checked
        }
        if found.st_nlink != 1 {
            return Err(untrusted(&path(), format_args!("has {} names instead of one", found.st_nlink)));
        }
        self.writers_of(path, found.st_uid, found.st_mode)
    }

    /// Refuses a file of this owner of which this process may not map the memory that others map. `on`: something on
    /// its filesystem.
    fn mappings(
        &self,
        owner: u32,
        mappings: Mappings,
        on: impl AsFd,
        path: impl Fn() -> PathBuf,
    ) -> Result<(), LinkError> {
        // `Folder` opens files for writing first where that matters. Other users may not.
        let may_write = self.user == 0 || self.user == owner;
        let fault = match mappings {
            Mappings::Coherent => return Ok(()),
            Mappings::CoherentOnceWritable if may_write => return Ok(()),
            Mappings::CoherentOnceWritable => "on which only users that may write to a file are sure to map",
            Mappings::Unknown => "which is not known to give all processes that map a file",
        };
        let (path, filesystem) = (path(), describe(on));
        let path = path.display();
        let message = format!("{path} is on {filesystem}, {fault} the same memory: {USE_ANOTHER}");
        Err(LinkError::new(LinkErrorKind::Untrusted, message))
    }

    /// Refuses a folder or file of another user, or one that other users can write.
    fn writers(&self, path: &Path, owner: u32, mode: u32) -> Result<(), LinkError> {
        self.writers_of(|| path.to_owned(), owner, mode)
    }

    fn writers_of(&self, path: impl Fn() -> PathBuf, owner: u32, mode: u32) -> Result<(), LinkError> {
        let may_be_this_user = owner == 0 || owner == self.user;
        if may_be_this_user && owner != self.overflow && mode & OTHERS_WRITE == 0 {
            return Ok(());
        }
        let path = &path();
        if owner == self.overflow {
            return Err(untrusted(
                path,
                format_args!(
                    "belongs to user {owner}, which stands for any user outside of this user namespace: run both ends in one user namespace"
                ),
            ));
        }
        if owner != 0 && owner != self.user {
            return Err(untrusted(
                path,
                format_args!(
                    "belongs to user {owner}, neither root nor you (user {}): run both ends as one user",
                    self.user
                ),
            ));
        }
        Err(untrusted(
            path,
            format_args!(
                "can be written by others, not only by its owner (mode {:o}): run chmod go-w {}",
                mode & 0o7777,
                path.display()
            ),
        ))
    }
}

/// The error for a link that other users can write: a reader by copy can still join.
fn untrusted(path: &Path, what: impl Display) -> LinkError {
    let message = format!("no zero-copy consumer can join: {} {what}", path.display());
    LinkError::new(LinkErrorKind::Untrusted, message).but_observer_may_join().with_advice(
        "an observer can join; so can the unsafe consumer_trusting, if you know which programs write there",
    )
}

fn gone(path: &Path) -> LinkError {
    let message = format!("{} has been removed or replaced since it was opened", path.display());
    LinkError::new(LinkErrorKind::NotFound, message)
}

fn cannot_examine(path: &Path, error: impl Into<io::Error>) -> LinkError {
    LinkError::system(format!("cannot examine {}", path.display()), error)
}

fn examine(file: &File, folder: &Path) -> Result<FileStat, LinkError> {
    fstat(file).map_err(|error| cannot_examine(&path_of(file, folder), error))
}

fn mappings_of(file: &File, folder: &Path) -> Result<Mappings, LinkError> {
    Mappings::of(file).map_err(|error| cannot_examine(&path_of(file, folder), error))
}

/// The path of an open file in this folder, for messages: as far as the kernel knows it.
fn path_of(file: &File, folder: &Path) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_else(|_| folder.join("?"))
}

/// The user that stands for every user that does not exist in a user namespace. Read once: it is a setting of the
/// kernel, the same for all namespaces.
fn overflow() -> u32 {
    static READ: StaticU64 = StaticU64::new(0);
    // One more than the number, which has 32 bits.
    match READ.load(Relaxed).checked_sub(1) {
        Some(known) => known as u32,
        None => {
            let read = read_small("/proc/sys/kernel/overflowuid");
            let overflow = read.and_then(|id| id.trim().parse().ok()).unwrap_or(65534);
            READ.store(u64::from(overflow) + 1, Relaxed);
            overflow
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::super::access::OWNER;
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
        let staging = Staging::new(&base, "quotes", OWNER).unwrap();
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
            assert!(message.contains(&format!(": {} {what}", path.display())), "{message}");
            assert!(error.observer_may_join() && !error.reason().contains("consumer_trusting"), "{message}");
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
    fn others_may_write_neither_the_folder_nor_a_file() {
        let made = made();
        let (link, tx) = (made.folder.path.clone(), made.folder.path.join("tx"));
        for path in [&link, &tx] {
            let before = fs::metadata(path).unwrap().mode();
            for mode in [0o770, 0o707, 0o720, 0o1777] {
                set_mode(path, mode);
                made.refused(path, "can be written by others");
            }
            set_mode(path, 0o755);
            made.check().unwrap();
            set_mode(path, before);
        }
    }

    #[test]
    fn what_is_above_the_link_does_not_matter() {
        let made = made();
        for mode in [0o777, 0o1777, 0o770] {
            set_mode(&made.base(), mode);
            made.check().unwrap();
        }
        if Uid::effective().is_root() {
            chown(made.base(), Some(1), None).unwrap();
            made.check().unwrap();
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
        for path in [made.folder.path.clone(), made.folder.path.join("tx")] {
            for owner in [1, overflow] {
                chown(&path, Some(owner), None).unwrap();
                made.refused(&path, &format!("belongs to user {owner}"));
            }
            chown(&path, Some(0), None).unwrap();
            made.check().unwrap();
        }
    }

    #[test]
    fn the_base_folder_may_be_reached_through_a_symbolic_link() {
        let made = made();
        let alias = made.scratch.path().join("alias");
        symlink("base", &alias).unwrap();
        check(&Folder::open(&alias, "quotes").unwrap(), &[]).unwrap();
    }

    #[test]
    fn other_filesystems_are_refused() {
        let made = made();
        let proc = File::open("/proc/self/status").unwrap();
        let error = check(&made.folder, &[&proc]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("(proc)") && message.contains("/dev/shm"), "{message}");
        assert!(!error.observer_may_join());
    }

    #[test]
    fn a_removed_link_is_not_found() {
        let made = made();
        remove(&made.base(), &made.folder).unwrap().delete().unwrap();
        assert!(made.check().unwrap_err().is_not_found());
        Staging::new(&made.base(), "quotes", OWNER).unwrap().publish().unwrap();
        assert!(made.check().unwrap_err().is_not_found());
    }
}
