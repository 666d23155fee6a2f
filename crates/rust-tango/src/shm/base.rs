//! The base folder: the folder that links are in.
//!
//! ```text
//! explicit, or $TANGO_DIR      made with its parents; may be reached through symbolic links
//! or /dev/shm/tango-UID        made in /dev/shm; a real folder of this user, because every user may
//!                              make entries next to it
//! ```
//!
//! UID is the number that this user has outside of its user namespace. Otherwise every user could make
//! `/dev/shm/tango-0`, as the root of a namespace of its own. The same user inside and outside of a
//! namespace finds the same folder.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat, fstatat};
use nix::unistd::Uid;

use crate::error::{LinkError, LinkErrorKind};

/// The permissions of a folder that the library makes, until it is published with others.
pub(super) const OWNER_ALONE: u32 = 0o700;
const SEARCH_FOLDER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The base folder: the explicit one, else `TANGO_DIR`, else `/dev/shm/tango-UID`. It is absolute, so that
/// a later change of the working directory does not matter.
pub(crate) fn base_dir(explicit: Option<&Path>) -> PathBuf {
    let from_environment = || env::var_os("TANGO_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let named = explicit.map(Path::to_path_buf).or_else(from_environment).unwrap_or_else(default_base);
    // This fails for an empty path or in a deleted working directory. Opening the folder returns the error
    // then.
    std::path::absolute(&named).unwrap_or(named)
}

/// Makes the base folder, with mode 0700, if it is missing. An existing one that lacks permissions of its
/// owner gets them.
///
/// Every user may make folders next to the default one, so that must be a real folder of this user.
pub(crate) fn ensure_base(base: &Path) -> Result<(), LinkError> {
    check_base(base)?;
    let is_default = is_default(base);
    make_folder(base, !is_default).map_err(|error| {
        let advice = if is_default { " (choose another one, for example with TANGO_DIR)" } else { "" };
        LinkError::system(format!("cannot make the folder {}{advice}", base.display()), error)
    })?;
    open_base_as(base, is_default).map(drop)
}

/// Makes a folder, and missing folders above it if `with_parents`, with mode 0700 whatever the umask is.
fn make_folder(path: &Path, with_parents: bool) -> io::Result<()> {
    match DirBuilder::new().mode(OWNER_ALONE).create(path) {
        Ok(()) => Ok(undo_umask(AT_FDCWD, path, OWNER_ALONE)?),
        // An earlier process may have made it.
        Err(_) if path.is_dir() => Ok(undo_umask(AT_FDCWD, path, OWNER_ALONE)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound && with_parents => {
            let parent = path.parent().ok_or(error)?;
            make_folder(parent, true)?;
            make_folder(path, false)
        }
        Err(error) => Err(error),
    }
}

/// Gives a file or folder of this user the permissions `mode` if it has only some of them, because the
/// umask of this process, or of an earlier one, has taken the others away. A symbolic link stays as it is.
pub(super) fn undo_umask(parent: impl AsFd, name: &Path, mode: u32) -> nix::Result<()> {
    let found = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let has = found.st_mode & 0o777;
    let is_restricted = has != mode && has & !mode == 0;
    if Uid::from_raw(found.st_uid) != Uid::effective() || !is_restricted {
        return Ok(());
    }
    let mode = Mode::from_bits_truncate(mode | found.st_mode & 0o7000);
    fchmodat(parent, name, mode, FchmodatFlags::NoFollowSymlink)
}

/// Refuses a base folder that only its owner can enter, for a link that a group may use.
pub(super) fn check_others_may_enter(base: &Path, group: u32) -> Result<(), LinkError> {
    let found = fstat(open_base(base)?)
        .map_err(|error| LinkError::system(format!("cannot examine {}", base.display()), error))?;
    // If an access control list lets other users in, its mask shows in the bits of the group.
    if found.st_mode & 0o011 != 0 {
        return Ok(());
    }
    let message = format!(
        "group {group} cannot enter the folder of links {}, whose mode is {:o}: make another one for it (install -d -m 2750 -g {group} {MEMORY}/NAME), and choose it, for example with TANGO_DIR",
        base.display(),
        found.st_mode & 0o7777
    );
    Err(LinkError::new(LinkErrorKind::Invalid, message))
}

/// Opens the base folder; the default one only if it is a real folder of this user.
///
/// Search permission is enough: a user that may not list the folder can open a link in it.
pub(super) fn open_base(base: &Path) -> Result<OwnedFd, LinkError> {
    open_base_as(base, is_default(base))
}

fn is_default(base: &Path) -> bool {
    let number = base.file_name().and_then(|name| name.to_str()?.strip_prefix("tango-"));
    // Most folders need no look at the map of users.
    let may_be = number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
    may_be && base.parent() == Some(Path::new(MEMORY)) && base == default_base()
}

const MEMORY: &str = "/dev/shm";

fn default_base() -> PathBuf {
    let user = Uid::effective().as_raw();
    let map = read_small("/proc/self/uid_map").unwrap_or_default();
    Path::new(MEMORY).join(format!("tango-{}", number_outside(user, &map)))
}

/// The content of a file of the kernel's, which is short as a rule: with three system calls then.
pub(super) fn read_small(path: &str) -> Option<String> {
    let mut bytes = [0; 1024];
    let read = fs::File::open(path).ok()?.read(&mut bytes).ok()?;
    if read > bytes.len() / 2 {
        return fs::read_to_string(path).ok();
    }
    std::str::from_utf8(&bytes[..read]).ok().map(str::to_owned)
}

/// The number of a user of this user namespace in the namespace around it. `map` is the content of
/// `/proc/self/uid_map`: lines of a first number inside, the first one outside, and how many there are.
fn number_outside(user: u32, map: &str) -> u32 {
    let outside = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = user.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    };
    map.lines().find_map(outside).unwrap_or(user)
}

/// Refuses an empty path.
fn check_base(base: &Path) -> Result<(), LinkError> {
    if base.as_os_str().is_empty() {
        let message = "the folder of links is an empty path: give a path, or none for the default folder";
        return Err(LinkError::new(LinkErrorKind::Invalid, message));
    }
    Ok(())
}

fn open_base_as(base: &Path, is_default: bool) -> Result<OwnedFd, LinkError> {
    check_base(base)?;
    let follow = if is_default { OFlag::O_NOFOLLOW } else { OFlag::empty() };
    let folder = match open(base, SEARCH_FOLDER | follow, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::ENOENT) => {
            let message = format!("there is no folder {}, and so no link in it", base.display());
            return Err(LinkError::new(LinkErrorKind::NotFound, message));
        }
        Err(error @ (Errno::ENOTDIR | Errno::ELOOP)) => {
            let what = format!("{} is not a folder that can hold links", base.display());
            return Err(LinkError::system(what, error));
        }
        Err(error) => return Err(LinkError::system(format!("cannot open {}", base.display()), error)),
    };
    if is_default {
        let owner = fstat(&folder)
            .map_err(|error| LinkError::system(format!("cannot examine {}", base.display()), error))?
            .st_uid;
        if Uid::from_raw(owner) != Uid::effective() {
            return Err(belongs_to(owner, base));
        }
    }
    Ok(folder)
}

/// The error for a default folder that another user has made.
fn belongs_to(owner: u32, base: &Path) -> LinkError {
    let (user, path) = (Uid::effective(), base.display());
    let who = if user.is_root() { "" } else { "have root " };
    let message = format!(
        "{path} belongs to user {owner}, not to you (user {user}): {who}delete it (rm -r {path}), or choose another folder, for example with TANGO_DIR"
    );
    LinkError::new(LinkErrorKind::Untrusted, message)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::super::folder::{Folder, list};
    use super::super::scratch::{Scratch, mode};
    use super::*;

    #[test]
    fn base_folders() {
        let scratch = Scratch::new();
        let base = scratch.path().join("a/b");
        assert_eq!(base_dir(Some(&base)), base);
        assert_eq!(base_dir(Some(Path::new("links"))), env::current_dir().unwrap().join("links"));
        assert!(Folder::open(&base, "quotes").unwrap_err().is_not_found());
        assert!(list(&base).unwrap().is_empty());
        ensure_base(&base).unwrap();
        ensure_base(&base).unwrap();
        assert_eq!(mode(&base), 0o700);
        assert!(Folder::open(&base, "quotes").unwrap_err().is_not_found());
        drop(scratch.file("c", 0));
        let error = ensure_base(&scratch.path().join("c")).unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::System);
        assert!(error.io_error().is_some());
        let nameless = base_dir(Some(Path::new("")));
        for error in
            [ensure_base(&nameless), Folder::open(&nameless, "quotes").map(drop), list(&nameless).map(drop)]
        {
            let error = error.unwrap_err();
            assert!(error.kind() == LinkErrorKind::Invalid && error.io_error().is_none(), "{error}");
        }
    }

    #[test]
    fn only_what_a_umask_may_have_done_is_undone() {
        let scratch = Scratch::new();
        let base = scratch.path().join("base");
        fs::create_dir(&base).unwrap();
        for (before, after) in
            [(0o000, 0o700), (0o600, 0o700), (0o500, 0o700), (0o555, 0o555), (0o755, 0o755)]
        {
            fs::set_permissions(&base, fs::Permissions::from_mode(before)).unwrap();
            ensure_base(&base).unwrap();
            assert_eq!(mode(&base), after, "{before:o}");
        }
    }

    #[test]
    fn the_default_base_folder_is_a_real_one_of_this_user() {
        let scratch = Scratch::new();
        let (base, alias) = (scratch.path().join("base"), scratch.path().join("alias"));
        fs::create_dir(&base).unwrap();
        symlink("base", &alias).unwrap();
        open_base_as(&base, true).unwrap();
        open_base_as(&alias, false).unwrap();
        assert_eq!(open_base_as(&alias, true).unwrap_err().kind(), LinkErrorKind::System);
        if Uid::effective().is_root() {
            chown(&base, Some(1), None).unwrap();
            open_base_as(&base, false).unwrap();
            let error = open_base_as(&base, true).unwrap_err();
            assert_eq!(error.kind(), LinkErrorKind::Untrusted);
            assert!(error.to_string().contains(&format!("rm -r {}", base.display())), "{error}");
        }
    }

    #[test]
    fn the_default_base_folder_is_named_by_the_user_outside_of_the_namespace() {
        let whole = "         0          0 4294967295\n";
        assert_eq!((number_outside(0, whole), number_outside(1000, whole)), (0, 1000));
        let mapped = "0 1000 1\n1 100000 65536\n";
        assert_eq!((number_outside(0, mapped), number_outside(5, mapped)), (1000, 100_004));
        for (user, map) in [(7, "0 1000 1"), (3, ""), (3, "0 x 9"), (9, "0 4294967290 65536")] {
            assert_eq!(number_outside(user, map), user, "{map}");
        }
    }
}
