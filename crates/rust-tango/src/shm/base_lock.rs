//! The lock of the base folder: one process at a time removes or replaces links.
//!
//! While a process holds the lock ([`with_base_lock`]), the name of a link that it has opened leads to the
//! same link. The lock is held for a few system calls. Everything that takes longer is done without it,
//! because a process that is stopped (SIGSTOP) while it holds the lock blocks all others.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat, fstatat};
use nix::unistd::Uid;

use super::base::open_base;
use super::leftovers::clear_leftovers;
use super::{holders, lock};
use crate::error::LinkError;

/// Name of the file whose lock it is.
pub(super) const LOCK_FILE: &str = ".lock";
/// How long to wait for the lock. It is held longer than a few system calls only by a process that did not
/// find space for a link and tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `work` while no other process removes or replaces a link below `base`, which must exist.
///
/// First deletes what remains of processes that died while they created or removed a link.
///
/// `work` must not call this function: the inner call would wait for the outer one.
///
/// # Errors
///
/// Those of `work`; `System`, also if another process does not release the lock within ten seconds.
pub(super) fn with_base_lock<T>(
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
    // Closing the file unlocks it too, but only after the exit or exec of a child that was forked meanwhile.
    let _ = lock::unlock(&file);
    result
}

/// Opens the lock file of the base folder, creates it if it is missing, and takes its lock.
fn lock_base(folder: &OwnedFd, base: &Path, patience: Duration) -> Result<File, LinkError> {
    let cannot = |error: io::Error| {
        LinkError::system(format!("cannot lock {}", base.join(LOCK_FILE).display()), error)
    };
    let access = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    loop {
        // First without O_CREAT: some systems refuse that flag for a file of another user.
        let opened = match openat(folder, LOCK_FILE, access, Mode::empty()) {
            Err(Errno::ENOENT) => make_lock_file(folder, access),
            // An earlier process may have made it with a umask that leaves its owner no permission.
            Err(Errno::EACCES) => {
                mend_lock_file(folder).and_then(|()| openat(folder, LOCK_FILE, access, Mode::empty()))
            }
            opened => opened,
        };
        let file = match opened {
            Err(Errno::EEXIST) => continue,
            opened => File::from(opened.map_err(|error| cannot(error.into()))?),
        };
        if !lock::lock_within(&file, patience).map_err(cannot)? {
            return Err(base_is_locked(folder, base, patience));
        }
        // A file that was deleted while we waited excludes no later process.
        if file.metadata().map_err(cannot)?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Makes the lock file, with its mode whatever the umask is.
fn make_lock_file(folder: &OwnedFd, access: OFlag) -> nix::Result<OwnedFd> {
    let file = openat(folder, LOCK_FILE, access | OFlag::O_CREAT | OFlag::O_EXCL, Mode::S_IWUSR)?;
    fchmod(&file, Mode::from_bits_truncate(lock_mode(folder)))?;
    Ok(file)
}

/// Sets the mode of a lock file that belongs to this user.
fn mend_lock_file(folder: &OwnedFd) -> nix::Result<()> {
    if Uid::from_raw(fstatat(folder, LOCK_FILE, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_uid) != Uid::effective() {
        return Err(Errno::EACCES);
    }
    let mode = Mode::from_bits_truncate(lock_mode(folder));
    fchmodat(folder, LOCK_FILE, mode, FchmodatFlags::NoFollowSymlink)
}

/// The permissions of the lock file: users that may make entries in the base folder may lock it. The others
/// may not even read it, because a read lock would be enough to keep out those that may write.
fn lock_mode(folder: &OwnedFd) -> u32 {
    0o600 | fstat(folder).map_or(0, |found| found.st_mode & 0o022)
}

/// The error for a lock that another process does not release.
fn base_is_locked(folder: &OwnedFd, base: &Path, patience: Duration) -> LinkError {
    let found = fstatat(folder, LOCK_FILE, AtFlags::AT_SYMLINK_NOFOLLOW);
    let holders = found.map(|found| holders::that_lock(LOCK_FILE, (found.st_dev, found.st_ino)));
    let holder = match holders.unwrap_or_default().as_slice() {
        [] => "another process".to_owned(),
        [process, ..] => format!("process {process}"),
    };
    let what = format!(
        "cannot lock {}: {holder} has held the lock for over {} s (it is needed only for a moment, to replace or remove a link); if that process is stopped, continue or end it",
        base.join(LOCK_FILE).display(),
        patience.as_secs_f32()
    );
    LinkError::system(what, io::Error::from(io::ErrorKind::TimedOut))
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::process;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::access::OWNER;
    use super::super::removal::remove;
    use super::super::scratch::{Scratch, make_link, mode, visible};
    use super::super::staging::make;
    use super::*;
    use crate::error::LinkErrorKind;

    /// As if a process were stopped while it replaces a link.
    #[test]
    fn a_held_lock_blocks_replacing_but_not_creating() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let holder = lock_base(&open_base(base).unwrap(), base, Duration::ZERO).unwrap();
        let made = make(base, "quotes", OWNER, |staging| staging.create_file("tx", 8)).unwrap();
        assert!(made.is_some());
        let patience = Duration::from_millis(20);
        let error = with_base_lock_within(base, patience, || Ok(())).unwrap_err();
        assert_eq!(error.io_error().unwrap().kind(), io::ErrorKind::TimedOut);
        let message = error.to_string();
        for part in [&format!("process {}", process::id()), LOCK_FILE, "0.02 s"] {
            assert!(message.contains(part), "no {part} in {message}");
        }
        lock::unlock(&holder).unwrap();
        with_base_lock(base, || Ok(())).unwrap();
        assert_eq!(visible(base), ["quotes"]);
    }

    #[test]
    fn the_base_lock_lets_one_in_at_a_time() {
        let scratch = Scratch::new();
        let inside = AtomicU32::new(0);
        let work = || {
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            std::thread::sleep(Duration::from_millis(2));
            inside.fetch_sub(1, Ordering::Relaxed);
            // The other threads, on their way to the lock, may delete the folder before a file in it is
            // locked.
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
        assert_eq!(mode(scratch.path().join(LOCK_FILE)) & 0o644, 0o600, "other users cannot read-lock it");
        with_base_lock(scratch.path(), || Ok(())).unwrap();
    }
}
