//! Liveness: a process that holds the lock of a file is alive.
//!
//! The lock belongs to an open file description, not to a process (`F_OFD_SETLK`). The kernel releases it
//! when the last descriptor of that description is closed, so whenever its owner dies, even by `kill -9`.
//! It involves no process ids, so it means the same in every pid namespace, and two descriptions of one
//! file exclude each other within a process, too. States of a file:
//!
//! ```text
//!       try_lock, lock_within
//!     free ---------------------------> locked by one description
//!          <---------------------------
//!            unlock, or the last close
//! ```
//!
//! An owner has a write lock. A read lock ([`keep_free`]) prevents others from becoming the owner, and does
//! not count as one. It keeps processes from joining a link while it is removed.
//!
//! A process opens the file again for each lock, and keeps the descriptor to itself. A child shares the
//! description between fork and exec, or for ever if it never calls exec. Closing the file releases the
//! lock only after the copy of the child is closed, too, whereas [`unlock`] releases it at once. So an
//! owner that ends in good order calls `unlock`.
//!
//! In some sandboxes, every request for a lock succeeds, and locks nothing. The first lock of a process is
//! therefore preceded by a test on a file of its own ([`check_that_locks_exclude`]). Asking needs no test.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::sync::{Relaxed, StaticU64};

/// Takes the lock of the file, which must be open for writing. `false`: another description holds it.
///
/// If this description holds the lock already, the answer is `true` and nothing changes.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    check_that_locks_exclude()?;
    set(file, libc::F_WRLCK)
}

/// Keeps the file without an owner until `file` is closed or [`unlock`]ed. `false`: the file has an owner.
///
/// The file may be open for reading only. Any number of descriptions can keep it free at a time.
pub(crate) fn keep_free(file: &File) -> io::Result<bool> {
    check_that_locks_exclude()?;
    set(file, libc::F_RDLCK)
}

/// Takes a read lock of a folder, which cannot have a write lock. [`is_shared`] finds it.
pub(super) fn share(folder: impl AsFd) -> io::Result<bool> {
    set(folder, libc::F_RDLCK)
}

/// Whether another description has a read lock of this folder ([`share`]).
pub(super) fn is_shared(folder: impl AsFd) -> io::Result<bool> {
    is_blocked(folder, libc::F_WRLCK)
}

/// `false`: the lock of another description is in the way.
fn set(file: impl AsFd, kind: libc::c_int) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(kind))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes sure, once in each process, that two descriptions of one file exclude each other.
///
/// Where this process cannot have such a file (no `memfd_create`), or a second description of it (no
/// `/proc`), locks are trusted.
///
/// # Errors
///
/// `Unsupported` if they do not exclude each other; those of `fcntl`.
pub(super) fn check_that_locks_exclude() -> io::Result<()> {
    static DO: StaticU64 = StaticU64::new(0);
    if cfg!(miri) || DO.load(Relaxed) != 0 {
        return Ok(());
    }
    let Ok(file) = memfd_create("tango-lock-test", MFdFlags::MFD_CLOEXEC) else { return Ok(()) };
    if let Ok(second) = File::options().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        if !set(&file, libc::F_WRLCK)? || set(&second, libc::F_WRLCK)? {
            let what = "locks of files lock nothing here, as in some sandboxes, so nothing would keep two processes from writing the same link: run the program where file locks work";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
    }
    DO.store(1, Relaxed);
    Ok(())
}

/// Repeats [`try_lock`] every millisecond until it succeeds or `patience` has passed.
pub(crate) fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    let begin = Instant::now();
    loop {
        let is_ours = try_lock(file)?;
        if is_ours || begin.elapsed() >= patience {
            return Ok(is_ours);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether another description holds the lock of the file. Takes no lock. The file may be open for reading
/// only, and the caller's own lock does not count.
///
/// `false` proves that an owner whose lock was seen before has gone. `true` may be out of date when it is
/// returned.
pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
    // Asks which lock would block a read lock: only a write lock does. A process that may not write to the
    // file can hold a read lock, so that must not count as an owner.
    is_blocked(file, libc::F_RDLCK)
}

/// Whether the lock of another description is in the way of such a lock.
fn is_blocked(file: impl AsFd, kind: libc::c_int) -> io::Result<bool> {
    let mut answer = whole_file(kind);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut answer))?;
    Ok(answer.l_type != libc::F_UNLCK as libc::c_short)
}

/// [`is_locked`], with `true` if the kernel does not say: `false` is proof.
pub(super) fn is_held(file: &File) -> bool {
    is_locked(file).unwrap_or(true)
}

/// Releases the lock of this description, at once and for all copies of the descriptor.
pub(crate) fn unlock(file: impl AsFd) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)))?;
    Ok(())
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0, // to the end of the file, even if it grows
        l_pid: 0, // required for locks of descriptions
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::scratch::Scratch;
    use super::*;

    /// Closing releases the lock at once, unless another test is between fork and exec.
    fn becomes_free(file: &File) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while is_locked(file).unwrap() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    #[test]
    fn descriptions_exclude_each_other() {
        let scratch = Scratch::new();
        let holder = scratch.file("tx", 8);
        let other = scratch.open("tx", true);
        assert!(try_lock(&holder).unwrap());
        assert!(try_lock(&holder).unwrap());
        assert!(!try_lock(&other).unwrap());
        unlock(&holder).unwrap();
        assert!(try_lock(&other).unwrap());
    }

    #[test]
    fn a_reader_sees_the_lock_and_its_end() {
        let scratch = Scratch::new();
        let holder = scratch.file("tx", 8);
        let reader = scratch.open("tx", false);
        assert!(!is_locked(&reader).unwrap());
        assert!(try_lock(&holder).unwrap());
        assert!(is_locked(&reader).unwrap());
        assert!(!is_locked(&holder).unwrap(), "the own lock does not count");
        drop(holder);
        assert!(becomes_free(&reader));
    }

    #[test]
    fn a_read_lock_does_not_pass_for_an_owner() {
        let scratch = Scratch::new();
        let file = scratch.file("tx", 8);
        let (reader, another) = (scratch.open("tx", false), scratch.open("tx", false));
        assert!(keep_free(&reader).unwrap());
        assert!(!is_locked(&file).unwrap());
        assert!(!try_lock(&file).unwrap(), "no description becomes the owner meanwhile");
        assert!(keep_free(&another).unwrap());
        unlock(&another).unwrap();
        unlock(&reader).unwrap();
        assert!(try_lock(&file).unwrap());
        assert!(!keep_free(&reader).unwrap());
    }

    #[test]
    fn a_shared_folder_is_seen() {
        let scratch = Scratch::new();
        let [one, other, third] = [(); 3].map(|()| File::open(scratch.path()).unwrap());
        assert!(!is_shared(&third).unwrap());
        assert!(share(&one).unwrap() && share(&other).unwrap());
        assert!(is_shared(&third).unwrap());
        unlock(&one).unwrap();
        assert!(is_shared(&third).unwrap() && !is_shared(&other).unwrap(), "the own lock does not count");
        unlock(&other).unwrap();
        assert!(!is_shared(&third).unwrap());
    }

    #[test]
    fn a_reader_cannot_lock() {
        let scratch = Scratch::new();
        drop(scratch.file("tx", 8));
        assert!(try_lock(&scratch.open("tx", false)).is_err());
    }

    #[test]
    fn it_waits_for_the_other_but_not_for_ever() {
        let scratch = Scratch::new();
        let holder = scratch.file("lock", 0);
        assert!(lock_within(&holder, Duration::ZERO).unwrap());
        let other = scratch.open("lock", true);
        assert!(!lock_within(&other, Duration::from_millis(20)).unwrap());
        let waiter = thread::spawn(move || lock_within(&other, Duration::from_secs(60)));
        thread::sleep(Duration::from_millis(20));
        assert!(!waiter.is_finished());
        unlock(&holder).unwrap();
        assert!(waiter.join().unwrap().unwrap());
    }

    #[test]
    fn the_lock_dies_with_a_killed_process() {
        let scratch = Scratch::new();
        let holder = scratch.file("tx", 8);
        let reader = scratch.open("tx", false);
        assert!(try_lock(&holder).unwrap());
        // The child has the description as its standard input, so the lock stays when this process closes
        // its copy.
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(holder)).spawn().unwrap();
        assert!(is_locked(&reader).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(becomes_free(&reader));
    }
}
