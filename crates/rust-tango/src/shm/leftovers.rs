//! Hidden folders: links in the making, removed links, and what remains of either when a process dies.
//!
//! ```text
//!   .new-PID-RANDOM    a link in the making. Its creator is alive if a file in it is locked.
//!   .old-PID-RANDOM    a removed link. Any process may delete it at any time.
//! ```
//!
//! A process that dies while it creates or removes a link leaves a hidden folder behind. The next process
//! that creates or removes a link deletes it ([`clear_leftovers`]). A link in the making has no locked file
//! for a moment at first. It may be deleted then although its creator is alive; the creator notices and
//! starts again.
//!
//! Files are deleted only under the names that files of links have, each through its open folder. So
//! neither a symbolic link nor a foreign file in a folder can direct a deletion elsewhere.

use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::filesystem::rename_new;
use super::folder::{Folder, entries, is_link_file, open_folder};
use super::lock;

/// Prefix of the hidden folder of a link in the making.
pub(super) const NEW: &str = ".new";
/// Prefix of the hidden folder of a removed link.
pub(super) const OLD: &str = ".old";

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

/// Deletes removed links, and links in the making whose creators have died. Errors are ignored: what cannot
/// be deleted does no harm.
pub(super) fn clear_leftovers(base: &OwnedFd) {
    for entry in entries(base).unwrap_or_default() {
        let Some(entry) = entry.to_str() else { continue };
        // A removed link is deleted even while processes use its files.
        if is_hidden(entry, OLD) {
            let _ = delete_folder(base, entry);
        } else if is_hidden(entry, NEW) && !has_locked_file(base, entry) {
            // Its creator may be alive and have locked a file since. Under another name, the folder cannot
            // be published.
            let old = hidden_name(OLD);
            if rename_new(base, entry, &old).is_ok() {
                let _ = delete_folder(base, &old);
            }
        }
    }
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

    use super::super::access::OWNER;
    use super::super::base_lock::with_base_lock;
    use super::super::scratch::{Scratch, visible};
    use super::super::staging::Staging;
    use super::*;

    #[test]
    fn names_of_hidden_folders() {
        assert!(is_hidden(&hidden_name(OLD), OLD));
        for name in [".new", ".new-", ".new-1", ".new-1-", ".new-a-1", ".newest-1-1", "new-1-1"] {
            assert!(!is_hidden(name, NEW));
        }
    }

    #[test]
    fn leftovers_are_deleted_unless_their_creator_is_alive() {
        let scratch = Scratch::new();
        let base = scratch.path();
        for (hidden, file) in [(".new-1-0", "tx"), (".old-1-0", "rx.7"), (".new-1-1", "x"), (".new-x", "tx")]
        {
            fs::create_dir(base.join(hidden)).unwrap();
            fs::write(base.join(hidden).join(file), "").unwrap();
        }
        let alive = Staging::new(base, "quotes", OWNER).unwrap();
        drop(alive.create_file("ctl", 8).unwrap());
        let _locked = alive.create_file("tx", 8).unwrap();
        let left = with_base_lock(base, || Ok(visible(base))).unwrap();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.contains(&alive.hidden().to_owned()));
        assert!(alive.publish().unwrap());
    }
}
