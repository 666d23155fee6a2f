//! Hidden folders: links in the making, removed links, and what remains of either when a process dies.
//!
//! ```text
//!   .tmp-UID/             the workspace of a user: exists while there are hidden folders in it
//!     .new-PID-RANDOM     a link in the making. Its creator is alive if a file in it is locked.
//!     .old-PID-RANDOM     a removed link. Any process may delete it at any time.
//! ```
//!
//! A process that dies while it creates or removes a link leaves a hidden folder behind. The next process
//! of that user that creates a link deletes it ([`clear_own_leftovers`]). It need not look at other links for
//! that, however many there are: nothing is left behind if there is no workspace. [`clear_leftovers`] also
//! deletes what other users have left, and hidden folders in the base folder itself, where they lie if the
//! workspace cannot be used, and where earlier versions of the library made them.
//!
//! A link in the making has no locked file for a moment at first. It may be deleted then although its
//! creator is alive; the creator notices and starts again.
//!
//! Files are deleted only under the names that files of links have, each through its open folder. So
//! neither a symbolic link nor a foreign file in a folder can direct a deletion elsewhere.

use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};

use super::base::{OWNER_ALONE, undo_umask};
use super::filesystem::rename_new;
use super::folder::{Folder, entries, is_link_file, open_folder};
use super::lock;

/// Prefix of the hidden folder of a link in the making.
pub(super) const NEW: &str = ".new";
/// Prefix of the hidden folder of a removed link.
pub(super) const OLD: &str = ".old";

/// Prefix of a workspace. The number of a user follows.
pub(super) const WORKSPACE: &str = ".tmp-";

/// The folder in which this user's hidden folders lie. Dropping this deletes it if it is empty.
///
/// It is a real folder of this user, and no other user can write there. If the name is taken by anything
/// else, or there is no space for it, hidden folders lie in the base folder itself.
#[derive(Debug)]
pub(super) struct Workspace {
    base: OwnedFd,
    /// Its name and itself. `None`: the base folder.
    below: Option<(String, OwnedFd)>,
}

impl Workspace {
    /// Opens the workspace in the open folder `base`, or makes it.
    ///
    /// Another process may delete it at any time while it is empty. Using it fails with `ENOENT` then, and
    /// the caller opens it again.
    pub(super) fn open(base: OwnedFd) -> nix::Result<Self> {
        let (user, name) = (Uid::effective(), own_workspace());
        loop {
            match mkdirat(&base, name.as_str(), Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                // Where there is no space, links can still be removed.
                Err(Errno::ENOSPC | Errno::EDQUOT) => return Ok(Self { base, below: None }),
                Err(error) => return Err(error),
            }
            let opened =
                undo_umask(&base, Path::new(&name), OWNER_ALONE).and_then(|()| open_folder(&base, &name));
            let below = match opened {
                Err(Errno::ENOENT) => continue, // deleted by another process
                Err(error @ (Errno::EMFILE | Errno::ENFILE)) => return Err(error),
                opened => opened.ok().filter(|dir| is_private(dir, user)).map(|dir| (name, dir)),
            };
            return Ok(Self { base, below });
        }
    }

    /// Where hidden folders are made.
    pub(super) fn dir(&self) -> &OwnedFd {
        self.below.as_ref().map_or(&self.base, |(_, dir)| dir)
    }

    /// The folder of links.
    pub(super) fn base(&self) -> &OwnedFd {
        &self.base
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Some((name, _)) = &self.below {
            // Fails if another process uses it, or has left something.
            let _ = unlinkat(&self.base, name.as_str(), UnlinkatFlags::RemoveDir);
        }
    }
}

fn own_workspace() -> String {
    format!("{WORKSPACE}{}", Uid::effective())
}

/// Whether this folder belongs to the user and no other user can write there.
fn is_private(dir: &OwnedFd, user: Uid) -> bool {
    let Ok(found) = fstat(dir) else { return false };
    let mode = Mode::from_bits_truncate(found.st_mode);
    Uid::from_raw(found.st_uid) == user && !mode.intersects(Mode::S_IWGRP | Mode::S_IWOTH)
}

/// A name for a hidden folder that was never used before and never will be: a creator recognises by the
/// name that its folder has been deleted. The process id is for people; it is not unique, because each pid
/// namespace has its own.
pub(super) fn hidden_name(prefix: &str) -> String {
    format!("{prefix}-{}-{}", process::id(), RandomState::new().build_hasher().finish())
}

/// Whether [`hidden_name`] makes such names from this prefix.
fn is_hidden(name: &str, prefix: &str) -> bool {
    let numbers = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.and_then(|rest| rest.split_once('-')).is_some_and(|(id, count)| is_number(id) && is_number(count))
}

/// Deletes what processes of this user have left that died while they created or removed a link. Takes no
/// longer if there are many links. Errors are ignored: what cannot be deleted does no harm.
pub(super) fn clear_own_leftovers(base: &OwnedFd) {
    clear_workspace(base, &own_workspace());
}

/// [`clear_own_leftovers`] for all users, and for the base folder itself, all of which is read.
pub(super) fn clear_leftovers(base: &OwnedFd) {
    for entry in clear_folder(base) {
        if entry.strip_prefix(WORKSPACE).is_some_and(|user| user.parse::<u32>().is_ok()) {
            clear_workspace(base, &entry);
        }
    }
}

fn clear_workspace(base: &OwnedFd, name: &str) {
    if let Ok(dir) = open_folder(base, name) {
        clear_folder(&dir);
        // Fails if another process uses it, or if something could not be deleted.
        let _ = unlinkat(base, name, UnlinkatFlags::RemoveDir);
    }
}

/// Deletes the removed links in this folder, and the links in the making whose creators have died. Returns
/// the names of all other entries.
fn clear_folder(parent: &OwnedFd) -> Vec<String> {
    let names = entries(parent).unwrap_or_default().into_iter().filter_map(|name| name.into_string().ok());
    let (hidden, others): (Vec<_>, Vec<_>) =
        names.partition(|name| is_hidden(name, OLD) || is_hidden(name, NEW));
    for name in hidden {
        // A removed link is deleted even while processes use its files.
        if is_hidden(&name, OLD) {
            let _ = delete_folder(parent, &name);
        } else if !has_locked_file(parent, &name) {
            // Its creator may be alive and have locked a file since. Under another name, the folder cannot
            // be published.
            let old = hidden_name(OLD);
            if rename_new(parent, &name, parent, &old).is_ok() {
                let _ = delete_folder(parent, &old);
            }
        }
    }
    others
}

/// Whether a living process owns a file in this folder. In doubt: true.
fn has_locked_file(parent: &OwnedFd, entry: &str) -> bool {
    let Ok(dir) = open_folder(parent, entry) else { return true };
    let Ok(entries) = entries(&dir) else { return true };
    let folder = Folder::of(dir, PathBuf::from(entry), entry);
    let is_locked = |file: &OsString| match file.to_str().map(|file| folder.open_file(file, false)) {
        Some(Ok(file)) => lock::is_held(&file),
        _ => true,
    };
    entries.iter().any(is_locked)
}

/// Whether the folder has an entry of this name.
pub(super) fn exists(parent: &OwnedFd, name: &str) -> bool {
    fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) != Err(Errno::ENOENT)
}

/// Whether the entry of this name is a folder. A symbolic link is not.
pub(super) fn is_folder(parent: &OwnedFd, name: &OsStr) -> bool {
    let found = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW);
    found.is_ok_and(|found| found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
}

/// Deletes the folder of a link. If it contains anything but files of a link, nothing is deleted and the
/// answer is `ENOTEMPTY`.
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

/// Deletes these files of an open folder, and then the folder, which is `entry` in `parent`.
pub(super) fn delete_files(
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

#[cfg(all(test, not(miri)))]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::super::access::OWNER;
    use super::super::base::open_base;
    use super::super::removal::remove;
    use super::super::scratch::{Scratch, mode, visible};
    use super::super::staging::Staging;
    use super::*;

    #[test]
    fn names_of_hidden_folders() {
        assert!(is_hidden(&hidden_name(OLD), OLD));
        for name in [".new", ".new-", ".new-1", ".new-1-", ".new-a-1", ".newest-1-1", "new-1-1"] {
            assert!(!is_hidden(name, NEW));
        }
    }

    /// Also where earlier versions of the library have left them: in the base folder itself.
    #[test]
    fn leftovers_are_deleted_unless_their_creator_is_alive() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let workspace = format!("{WORKSPACE}{}", Uid::effective());
        fs::create_dir(base.join(&workspace)).unwrap();
        let places = [base.to_path_buf(), base.join(&workspace)];
        for place in &places {
            for (hidden, file) in
                [(".new-1-0", "tx"), (".old-1-0", "rx.7"), (".new-1-1", "x"), (".new-x", "tx")]
            {
                fs::create_dir(place.join(hidden)).unwrap();
                fs::write(place.join(hidden).join(file), "").unwrap();
            }
        }
        let alive = Staging::new(base, "quotes", OWNER).unwrap();
        drop(alive.create_file("ctl", 8).unwrap());
        let _locked = alive.create_file("tx", 8).unwrap();
        clear_leftovers(&open_base(base).unwrap());
        let [left_above, left_below] = places.each_ref().map(|place| visible(place));
        // One holds a file that is not part of a link, and has lost its name.
        assert_eq!((left_above.len(), left_below.len()), (3, 3), "{left_above:?}, {left_below:?}");
        assert!(left_below.contains(&alive.hidden().to_owned()));
        assert!(alive.publish().unwrap());
    }

    #[test]
    fn the_next_creator_deletes_what_others_of_its_user_have_left() {
        let scratch = Scratch::new();
        let base = scratch.path();
        for hidden in [".new-1-0", ".old-1-0"] {
            let path = base.join(format!("{WORKSPACE}{}", Uid::effective())).join(hidden);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("tx"), "").unwrap();
        }
        drop(crate::Link::builder().depth(2).mtu(8).dir(base).create("quotes").unwrap());
        assert_eq!(visible(base), ["quotes"]);
    }

    /// For example one that another user has made, in a folder in which several users may create entries.
    #[test]
    fn a_workspace_of_others_is_not_used() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let workspace = base.join(format!("{WORKSPACE}{}", Uid::effective()));
        let check = || {
            let staging = Staging::new(base, "quotes", OWNER).unwrap();
            assert!(visible(base).contains(&staging.hidden().to_owned()));
            assert!(staging.publish().unwrap());
            let folder = Folder::open(base, "quotes").unwrap();
            remove(base, &folder).unwrap().delete().unwrap();
            assert_eq!(visible(base).len(), 1);
        };
        fs::create_dir(&workspace).unwrap();
        fs::set_permissions(&workspace, fs::Permissions::from_mode(0o770)).unwrap();
        check();
        if Uid::effective().is_root() {
            fs::set_permissions(&workspace, fs::Permissions::from_mode(0o700)).unwrap();
            chown(&workspace, Some(1), None).unwrap();
            check();
        }
        fs::remove_dir(&workspace).unwrap();
        symlink("/nowhere", &workspace).unwrap();
        check();
    }

    #[test]
    fn a_workspace_that_the_umask_has_closed_is_opened() {
        let scratch = Scratch::new();
        let workspace = scratch.path().join(format!("{WORKSPACE}{}", Uid::effective()));
        fs::create_dir(&workspace).unwrap();
        fs::set_permissions(&workspace, fs::Permissions::from_mode(0o500)).unwrap();
        let opened = Workspace::open(open_base(scratch.path()).unwrap()).unwrap();
        assert_eq!(mode(&workspace), 0o700);
        drop(opened);
        assert!(visible(scratch.path()).is_empty());
    }
}
