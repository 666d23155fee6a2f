//! The raw cache line, for comparison: two processes, a word for each way, and no protocol. One side stores a number, the
//! other side sees it and stores it into its own word.
//!
//! ```text
//!  byte  0           8 ...        4096        4104 ...
//!        | asked     | unused     | answered  | unused       a page each, so that the words share no cache line
//!
//!        written by the side    written by the side
//!        that asks              that answers
//! ```
//!
//! Both map the same file, writable: on some processors, reading through a read-only mapping takes longer. The side that asks
//! makes the file, in the folder of links. It deletes its name as soon as the other side has opened it.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hint::spin_loop;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::failure::Failure;

const PAGE: usize = 4096;
const SIZE: NonZeroUsize = NonZeroUsize::new(2 * PAGE).expect("two pages are more than nothing");
/// The number that ends the exchange.
const STOP: u64 = u64::MAX;
/// Looks in vain between two checks whether the other side lives.
const LOOKS_PER_CHECK: u32 = 1 << 14;

/// The two words.
pub(crate) struct Words {
    /// Start of a mapping of `SIZE` bytes, which lives as long as this.
    start: NonNull<c_void>,
    /// The name of the file, while it has one.
    path: Option<PathBuf>,
    /// Whether both sides run on one core, so that waiting has to yield it.
    yields: bool,
}

/// The words of this link, in its folder. No link has such a name.
fn path_of(folder: &Path, link: &str) -> PathBuf {
    folder.join(format!(".ping-{link}"))
}

impl Words {
    /// Makes the file of a link, for this user, or also for the members of a group.
    pub(crate) fn create(folder: &Path, link: &str, group: Option<u32>) -> io::Result<Self> {
        let path = path_of(folder, link);
        let make = || {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)
        };
        let file = match make() {
            // Left behind by a process that was killed: the link of this name is ours, so nobody uses it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&path)?;
                make()?
            }
            made => made?,
        };
        let made = file.set_len(SIZE.get() as u64).and_then(|()| {
            if let Some(group) = group {
                fchown(&file, None, Some(group))?;
                file.set_permissions(Permissions::from_mode(0o660))?;
            }
            Self::map(&file)
        });
        match made {
            Ok(mut words) => {
                words.path = Some(path);
                Ok(words)
            }
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Opens the file of a link.
    pub(crate) fn open(folder: &Path, link: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(path_of(folder, link))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() != SIZE.get() as u64 {
            return Err(io::Error::other("it is not the file of 'tango ping'"));
        }
        Self::map(&file)
    }

    fn map(file: &File) -> io::Result<Self> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: the kernel chooses an address that is not in use. The file has this size. If a process truncates it, an
        // access is a SIGBUS, which `signals` reports, and not undefined behaviour.
        let start = unsafe { mmap(None, SIZE, access, flags, file, 0) }?;
        Ok(Self { start, path: None, yields: false })
    }

    /// Deletes the name of the file, which both sides have open.
    pub(crate) fn unlink(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = fs::remove_file(path);
        }
    }

    /// The name of the file, while it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Says that both sides run on one core.
    pub(crate) fn yield_core(&mut self, yields: bool) {
        self.yields = yields;
    }

    fn word(&self, page: usize) -> &AtomicU64 {
        // SAFETY: both pages are within the mapping, which lives as long as `self`. The words are aligned, zeros are a value
        // of theirs, and every process accesses them as atomics only.
        unsafe { self.start.byte_add(page * PAGE).cast::<AtomicU64>().as_ref() }
    }

    /// Waits until the word of this page is not `old`, and returns it.
    #[inline]
    fn wait_for_change(
        &self,
        page: usize,
        old: u64,
        check: &mut impl FnMut() -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let mut looks = 0_u32;
        loop {
            // Pairs with the Release store of the other side.
            let found = self.word(page).load(Ordering::Acquire);
            if found != old {
                return Ok(found);
            }
            looks += 1;
            if looks.is_multiple_of(LOOKS_PER_CHECK) {
                check()?;
            }
            if self.yields { thread::yield_now() } else { spin_loop() }
        }
    }

    /// Asks with this number, the first of which is 1, and each next one the next, and waits for the answer. Returns whether it is that number.
    /// `check` fails if the other side has died.
    #[inline]
    pub(crate) fn ask(
        &self,
        number: u64,
        mut check: impl FnMut() -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        self.word(0).store(number, Ordering::Release);
        Ok(self.wait_for_change(1, number.wrapping_sub(1), &mut check)? == number)
    }

    /// Ends the exchange in which `next` would be the next number.
    pub(crate) fn stop(
        &self,
        next: u64,
        mut check: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.word(0).store(STOP, Ordering::Release);
        self.wait_for_change(1, next.wrapping_sub(1), &mut check)?;
        Ok(())
    }

    /// Answers every number with itself until the exchange is ended. `check` fails if the other side has died.
    pub(crate) fn answer(&self, mut check: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
        // An exchange begins with both words 0, and the side that asks may be ahead.
        let mut seen = 0;
        loop {
            seen = self.wait_for_change(0, seen, &mut check)?;
            if seen == STOP {
                // The other side does not ask again before it has seen the second store.
                self.word(0).store(0, Ordering::Relaxed);
                self.word(1).store(0, Ordering::Release);
                return Ok(());
            }
            self.word(1).store(seen, Ordering::Release);
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.unlink();
        // SAFETY: the mapping is ours, and no reference into it is left.
        let _ = unsafe { munmap(self.start, SIZE.get()) };
    }
}
