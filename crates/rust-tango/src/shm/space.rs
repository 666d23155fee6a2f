//! Reserving the space of a file, so that touching its mapping cannot fail later.
//!
//! A store into a hole of a mapped file ends the process with SIGBUS if the filesystem is full. Every file
//! of a link is therefore reserved completely when it is created, and again before a process maps it for
//! writing, in case another process has punched holes meanwhile. A lack of space is then an error.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::resource::{Resource, getrlimit};

use super::map;

/// The least that is reserved by one call, if signals interrupt longer ones.
const SMALLEST_PIECE: i64 = 4096;

/// Reserves the space for the first `len` bytes of a file, which grows to that length. On hugetlbfs the
/// length is rounded up to whole pages.
pub(super) fn reserve(file: &File, len: u64) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let len = map::mapped_len(file, usize::try_from(len).map_err(too_large)?)?;
    // Beyond this limit, the kernel not only returns an error but also sends SIGXFSZ.
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if len as u64 > limit {
        let message = format!("this process may not make files over {limit} bytes (RLIMIT_FSIZE)");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let len = i64::try_from(len).map_err(too_large)?;
    // In one call at first, because the kernel refuses too large a length before it takes any memory. Some
    // kernels interrupt the call when a signal arrives, and undo what it has reserved. Smaller pieces then
    // make progress, however often signals come.
    let (mut done, mut piece) = (0, len);
    while done < len {
        let next = piece.min(len - done);
        match posix_fallocate(file, done, next) {
            Ok(()) => done += next,
            Err(Errno::EINTR) => piece = (piece / 2).max(SMALLEST_PIECE),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reserves the space for the first `len` bytes of an existing file if it has holes. A file that is too
/// short stays as it is; mapping it returns the error. `found` is what the system says of the file.
pub(super) fn reserve_holes(file: &File, found: &Metadata, len: usize) -> io::Result<()> {
    let is_whole = found.blocks().saturating_mul(512) >= found.len();
    if is_whole || found.len() < len as u64 { Ok(()) } else { reserve(file, len as u64) }
}
