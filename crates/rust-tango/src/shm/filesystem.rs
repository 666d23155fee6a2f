//! What a filesystem must be able to do for a link, and its name for messages.
//!
//! | | needs |
//! |---|---|
//! | mappings | all processes that map a file see the same memory |
//! | `renameat2` | renaming without replacing: a link gets its name by it, and loses it |
//! | `fallocate` | reserving space, so that a store into a mapping cannot fail |
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::statfs::fstatfs;

use crate::error::LinkError;

/// Local filesystems on which all mappings of a file are the same memory: ext2 to ext4, tmpfs, hugetlbfs,
/// ramfs, XFS, Btrfs, F2FS, ZFS.
const COHERENT: [u32; 8] =
    [0xef53, TMPFS, 0x9584_58f6, 0x8584_58f6, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1];
const OVERLAY: u32 = 0x794c_7630;
const TMPFS: u32 = 0x0102_1994;

/// What to do if a filesystem is not suitable.
pub(super) const USE_ANOTHER: &str =
    "use a folder in memory, for example one in /dev/shm (environment variable TANGO_DIR)";

/// What is known about the mappings of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mappings {
    /// All mappings of a file are the same memory.
    Coherent,
    /// The same, once the file has been opened for writing. Opening a file of a lower layer for writing
    /// copies it, and earlier mappings keep the old file.
    CoherentOnceWritable,
    Unknown,
}

impl Mappings {
    pub(super) fn of(file: impl AsFd) -> nix::Result<Self> {
        // The type of the number depends on the C library. All numbers have 32 bits.
        let kind = fstatfs(file)?.filesystem_type().0 as u32;
        Ok(match kind {
            OVERLAY => Self::CoherentOnceWritable,
            kind if COHERENT.contains(&kind) => Self::Coherent,
            _ => Self::Unknown,
        })
    }
}

/// Whether the memory of a file consists of pages of the usual size, and nothing is written back to a disk. (On
/// a disk, the kernel maps a page read-only until the first store.)
pub(super) fn is_tmpfs(file: impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|found| found.filesystem_type().0 as u32 == TMPFS)
}

/// The kind of the filesystem that an open file or folder is on, for messages: "the filesystem (nfs4)".
pub(super) fn describe(file: impl AsFd) -> String {
    let file = file.as_fd();
    let name = || {
        let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
        let mount = about.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let line = mounts.lines().find(|line| line.split(' ').next() == Some(mount))?;
        Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())
    };
    let number = || fstatfs(file).map(|found| format!("type {:#x}", found.filesystem_type().0));
    match name().or_else(|| number().ok()) {
        Some(name) => format!("the filesystem ({name})"),
        None => "the filesystem".to_owned(),
    }
}

/// Moves an entry of a folder to a name in a folder of the same filesystem. If the new name is in use, the
/// answer is `EEXIST`, and nothing is replaced.
pub(super) fn rename_new(folder: impl AsFd, from: &str, to_folder: impl AsFd, to: &str) -> nix::Result<()> {
    let name = |name| CString::new(name).map_err(|_| Errno::EINVAL);
    let (from, to) = (name(from)?, name(to)?);
    let (folder, to_folder) = (folder.as_fd().as_raw_fd(), to_folder.as_fd().as_raw_fd());
    // Called by its number, because not every C library has a function for it.
    // SAFETY: both names end with a zero byte and live until the call returns, the kernel only reads them,
    // and the descriptors are borrowed.
    let result = unsafe {
        let (from, to) = (from.as_ptr(), to.as_ptr());
        libc::syscall(libc::SYS_renameat2, folder, from, to_folder, to, libc::RENAME_NOREPLACE)
    };
    Errno::result(result).map(drop)
}

/// The error of [`rename_new`]: `what` failed in `folder`.
pub(super) fn rename_error(what: String, folder: impl AsFd, error: Errno) -> LinkError {
    let reason = match error {
        Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP => {
            let filesystem = describe(folder);
            format!(
                "{what}: {filesystem} cannot rename without replacing, so it cannot hold links: {USE_ANOTHER}"
            )
        }
        Errno::EXDEV => {
            format!("{what}: it is in a lower layer of an overlay, and cannot be renamed: delete it (rm -r)")
        }
        _ => what,
    };
    LinkError::system(reason, error)
}

/// The error of reserving space: `what` failed for `file`.
pub(super) fn reserve_error(what: String, file: impl AsFd, error: std::io::Error) -> LinkError {
    let lacks = matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOSYS | Errno::EOPNOTSUPP));
    if !lacks {
        return LinkError::system(what, error);
    }
    let filesystem = describe(file);
    let reason = format!(
        "{what}: {filesystem} or the system cannot reserve space (fallocate), so it cannot hold links: {USE_ANOTHER}"
    );
    LinkError::system(reason, error)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    #[test]
    fn filesystems_have_names() {
        let scratch = Scratch::new();
        let proc = fs::File::open("/proc/self/status").unwrap();
        assert_eq!(describe(&proc), "the filesystem (proc)");
        assert_eq!(Mappings::of(&proc).unwrap(), Mappings::Unknown);
        if scratch.path().starts_with("/dev/shm") {
            let file = scratch.file("file", 0);
            assert_eq!(describe(&file), "the filesystem (tmpfs)");
            assert_eq!(Mappings::of(&file).unwrap(), Mappings::Coherent);
        }
    }
}
