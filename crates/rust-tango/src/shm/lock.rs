//! Liveness: whoever holds the lock of a file lives.
//!
//! The lock belongs to an open file description, not to a process (`F_OFD_SETLK`). The kernel drops it
//! when the last descriptor of that description is closed, hence at any death of its owner, `kill -9`
//! included. It needs no process ids, so it means the same in every pid namespace, and two descriptions
//! of one file exclude each other also within a process. States of a file:
//!
//! ```text
//!       try_lock, lock_within
//!     free ---------------------------> locked by one description
//!          <---------------------------
//!            unlock, or the last close
//! ```
//!
//! An owner has a write lock. A read lock ([`keep_free`]) keeps everybody from becoming the owner and does
//! not pass for one: that is how a link is taken away without somebody joining it meanwhile.
//!
//! Who takes a lock opens the file anew for it and keeps the descriptor to itself. A child between fork
//! and exec shares the description for a moment, and one that never calls exec does so for ever: close
//! frees the lock only after the child's copy is closed too, [`unlock`] frees it at once. So who leaves
//! in good order calls `unlock` and does not rely on the close.

use std::fs::File;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Takes the lock of the file, which must be open for writing. `false`: somebody else holds it.
///
/// Taking it again by the same description succeeds and changes nothing.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the file without an owner until `file` is closed or [`unlock`]ed. `false`: somebody owns it.
///
/// A file that is open for reading only will do. Any number of descriptions can do it at a time.
pub(crate) fn keep_free(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_RDLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// [`try_lock`] again and again, for at most so long.
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

/// Whether another description holds the lock of the file. Takes nothing, and a file that is open for
/// reading only will do. The caller's own lock does not count.
///
/// The answer `false` is final for an owner whose lock was seen before; `true` may be out of date when it
/// arrives.
pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
    // Asks for what stands in the way of a read lock, which only a write lock does. A read lock can be
    // held by somebody who may not write to the file, and so must not pass for its owner.
    let mut answer = whole_file(libc::F_RDLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut answer))?;
    Ok(answer.l_type != libc::F_UNLCK as libc::c_short)
}

/// Gives the lock of this description back, at once and for all copies of the descriptor.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)))?;
    Ok(())
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0, // to the end, however far the file grows
        l_pid: 0, // must be zero for locks of descriptions
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::scratch::Scratch;
    use super::*;

    /// Closing frees the lock at once, unless another test is just between fork and exec.
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
        assert!(!is_locked(&holder).unwrap(), "one's own lock does not count");
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
        assert!(!try_lock(&file).unwrap(), "nobody becomes the owner meanwhile");
        assert!(keep_free(&another).unwrap());
        unlock(&another).unwrap();
        unlock(&reader).unwrap();
        assert!(try_lock(&file).unwrap());
        assert!(!keep_free(&reader).unwrap());
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
        // The child gets the description as its input and so keeps the lock when we close ours.
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(holder)).spawn().unwrap();
        assert!(is_locked(&reader).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(becomes_free(&reader));
    }
}
