//! The lock of the base folder: one process at a time removes or replaces links.
//!
//! While a process holds the lock ([`with_base_lock`]), the name of a link that it has opened leads to the
//! same link. The lock is held for microseconds: to ask for the locks of a link's files, and for one rename.
//! Everything that takes longer is done before or afterwards (opening and mapping files, deleting them,
//! looking for processes), because all others wait meanwhile. A process that is stopped (SIGSTOP) while it
//! holds the lock blocks them; each of its takers changes the time of the file, by which the others see
//! whether one process has the lock all the time.
//!
//! A second lock ([`with_space_lock`]) is taken only by processes that did not find space for a link.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat, fstatat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::Uid;

use super::base::open_base;
use super::{lock, processes};
use crate::error::LinkError;

/// Name of the file whose lock it is.
pub(super) const LOCK_FILE: &str = ".lock";
/// Name of the file whose lock one process at a time holds that makes a link where there was no space.
pub(super) const SPACE_FILE: &str = ".space";
/// How long to wait for a lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `work` while no other process removes or replaces a link below `base`, which must exist.
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
    with_lock(base, LOCK_FILE, PATIENCE, work)
}

/// Runs `work` while no other process runs it here, too. May take as long as it takes to make a link.
///
/// # Errors
///
/// As [`with_base_lock`].
pub(super) fn with_space_lock<T>(
    base: &Path,
    work: impl FnOnce() -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    with_lock(base, SPACE_FILE, PATIENCE, || {
        let result = work();
        // Those that wait for the lock of this file notice, and make another.
        let _ = fs::remove_file(base.join(SPACE_FILE));
        result
    })
}

fn with_lock<T>(
    base: &Path,
    name: &str,
    patience: Duration,
    work: impl FnOnce() -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    let file = take(base, name, patience)?;
    let result = work();
    // Closing the file unlocks it too, but only after the exit or exec of a child that was forked meanwhile.
    let _ = lock::unlock(&file);
    result
}

/// Whether this is the error for a lock that another process does not release.
pub(super) fn is_timeout(error: &LinkError) -> bool {
    error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Opens this file of the base folder, creates it if it is missing, and takes its lock.
fn take(base: &Path, name: &str, patience: Duration) -> Result<File, LinkError> {
    let folder = open_base(base)?;
    let path = base.join(name);
    let cannot = |error: io::Error| LinkError::system(format!("cannot lock {}", path.display()), error);
    let access = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    loop {
        // First without O_CREAT: some systems refuse that flag for a file of another user.
        let opened = match openat(&folder, name, access, Mode::empty()) {
            Err(Errno::ENOENT) => make_lock_file(&folder, name, access),
            // An earlier process may have made it with a umask that leaves its owner no permission.
            Err(Errno::EACCES) => {
                mend_lock_file(&folder, name).and_then(|()| openat(&folder, name, access, Mode::empty()))
            }
            opened => opened,
        };
        let file = match opened {
            Err(Errno::EEXIST) => continue,
            opened => File::from(opened.map_err(|error| cannot(error.into()))?),
        };
        let before = file.metadata().map_err(cannot)?;
        let is_ours = lock::lock_within(&file, patience).map_err(cannot)?;
        let now = file.metadata().map_err(cannot)?;
        if !is_ours {
            let in_turn = before.modified().ok() != now.modified().ok();
            return Err(is_locked(&path, &now, in_turn, patience));
        }
        // A file that was deleted while we waited excludes no later process.
        if now.nlink() > 0 {
            // Tells those that wait that the lock has a new owner. An error costs a word in a message.
            let _ = futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
            return Ok(file);
        }
    }
}

/// Makes the lock file, with its mode whatever the umask is.
fn make_lock_file(folder: &OwnedFd, name: &str, access: OFlag) -> nix::Result<OwnedFd> {
    let file = openat(folder, name, access | OFlag::O_CREAT | OFlag::O_EXCL, Mode::S_IWUSR)?;
    fchmod(&file, Mode::from_bits_truncate(lock_mode(folder)))?;
    Ok(file)
}

/// Sets the mode of a lock file that belongs to this user.
fn mend_lock_file(folder: &OwnedFd, name: &str) -> nix::Result<()> {
    if Uid::from_raw(fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_uid) != Uid::effective() {
        return Err(Errno::EACCES);
    }
    let mode = Mode::from_bits_truncate(lock_mode(folder));
    fchmodat(folder, name, mode, FchmodatFlags::NoFollowSymlink)
}

/// The permissions of the lock file: users that may make entries in the base folder may lock it. The others
/// may not even read it, because a read lock would be enough to keep out those that may write.
fn lock_mode(folder: &OwnedFd) -> u32 {
    0o600 | fstat(folder).map_or(0, |found| found.st_mode & 0o022)
}

/// The error for a lock that was held by others for as long as this process was ready to wait. `in_turn`:
/// not by one and the same.
fn is_locked(path: &Path, found: &Metadata, in_turn: bool, patience: Duration) -> LinkError {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let holder = processes::that_lock(name, (found.dev(), found.ino())).first().copied();
    let seconds = patience.as_secs_f32();
    let who = match holder {
        Some(process) if processes::is_stopped(process) => format!(
            "process {process} is stopped while it holds the lock: continue it (kill -CONT {process}) or end it"
        ),
        _ if in_turn => format!(
            "other processes have taken the lock in turn for over {seconds} s: try again when fewer of them create or remove links"
        ),
        Some(process) => format!(
            "process {process} has held the lock for over {seconds} s, although it is needed only for a moment: if it hangs, end it"
        ),
        None => format!(
            "a process that cannot be seen from here has held the lock for over {seconds} s, although it is needed only for a moment: if it is stopped, continue or end it"
        ),
    };
    LinkError::system(
        format!("cannot lock {}: {who}", path.display()),
        io::Error::from(io::ErrorKind::TimedOut),
    )
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::process::{self, Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::super::access::OWNER;
    use super::super::scratch::{Scratch, mode, visible};
    use super::super::staging::make;
    use super::*;
    use crate::error::LinkErrorKind;

    /// As if a process were stopped while it replaces a link.
    #[test]
    fn a_held_lock_blocks_replacing_but_not_creating() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let holder = take(base, LOCK_FILE, Duration::ZERO).unwrap();
        let made = make(base, "quotes", OWNER, |staging| staging.create_file("tx", 8)).unwrap();
        assert!(made.is_some());
        let patience = Duration::from_millis(20);
        let error = with_lock(base, LOCK_FILE, patience, || Ok(())).unwrap_err();
        assert_eq!(error.io_error().unwrap().kind(), io::ErrorKind::TimedOut);
        let message = error.to_string();
        for part in [&format!("process {} has held", process::id()), LOCK_FILE, "0.02 s", "end it"] {
            assert!(message.contains(part), "no {part} in {message}");
        }
        lock::unlock(&holder).unwrap();
        with_base_lock(base, || Ok(())).unwrap();
        assert_eq!(visible(base), ["quotes"]);
    }

    #[test]
    fn a_stopped_process_is_named() {
        let scratch = Scratch::new();
        let base = scratch.path();
        // Its standard input is the locked file, so it has the lock when this process has closed it.
        let file = take(base, LOCK_FILE, Duration::ZERO).unwrap();
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(file)).spawn().unwrap();
        let id = child.id();
        kill(Pid::from_raw(id as i32), Signal::SIGSTOP).unwrap();
        while !processes::is_stopped(id) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let refused = with_lock(base, LOCK_FILE, Duration::from_millis(20), || Ok(()));
        child.kill().unwrap();
        child.wait().unwrap();
        let message = refused.unwrap_err().to_string();
        let wanted =
            format!("process {id} is stopped while it holds the lock: continue it (kill -CONT {id})");
        assert!(message.contains(&wanted), "{message}");
    }

    /// Nobody is advised to end a process that only happened to have the lock.
    #[test]
    fn a_process_is_blamed_only_if_it_has_had_the_lock_all_the_time() {
        let scratch = Scratch::new();
        let base = scratch.path();
        let _holder = take(base, LOCK_FILE, Duration::ZERO).unwrap();
        let error = std::thread::scope(|scope| {
            let refused =
                scope.spawn(|| with_lock(base, LOCK_FILE, Duration::from_secs(1), || Ok(())).unwrap_err());
            // As if another process took it meanwhile.
            while !refused.is_finished() {
                let file = scratch.open(LOCK_FILE, true);
                futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            refused.join().unwrap()
        });
        let message = error.to_string();
        assert!(message.contains("in turn") && !message.contains("end it"), "{message}");
    }

    #[test]
    fn the_base_lock_lets_one_in_at_a_time() {
        let scratch = Scratch::new();
        let inside = AtomicU32::new(0);
        let work = || {
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            std::thread::sleep(Duration::from_millis(2));
            inside.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| with_base_lock(scratch.path(), work).unwrap());
            }
        });
        let missing = scratch.path().join("missing");
        assert!(with_base_lock(&missing, || Ok(())).unwrap_err().is_not_found());
        let invalid = || Err::<(), _>(LinkError::new(LinkErrorKind::Invalid, "-"));
        assert_eq!(with_base_lock(scratch.path(), invalid).unwrap_err().kind(), LinkErrorKind::Invalid);
        assert_eq!(mode(scratch.path().join(LOCK_FILE)) & 0o644, 0o600, "other users cannot read-lock it");
        with_base_lock(scratch.path(), || Ok(())).unwrap();
    }
}
