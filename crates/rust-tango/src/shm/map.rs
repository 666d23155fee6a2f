//! Files as memory: [`Mapping`], the only place where mapped memory becomes atomics.
//!
//! ```text
//! file      |<------------------- its length ------------------->|
//! mapping   |<---- words(): len bytes as AtomicU64 ---->| (rest of a huge page, never touched)
//! part             |<- words() of one page ->|
//! ```
//!
//! Invariants: a `Mapping` covers at least one word. The file was long enough when it was mapped. The
//! memory stays mapped until the `Mapping` is dropped. A forked child has private memory there
//! ([`forks`](super::forks)).
//!
//! | file | writer, through [`Mapping::read_write`] |
//! |---|---|
//! | `tx`, `rx.N` | the process that holds the lock of the file |
//! | `ctl` | any process that ends the link; each value that they store ends it |
//!
//! Readers of the same user may map the page of the hot slot in `tx` writable ([`Mapping::part_read_write`]), and
//! only load from it.
//!
//! Every process reads, and only with `Relaxed` loads, because its mapping is [`Mapping::read_only`] in most
//! cases. The standard library allows no more on read-only memory than a relaxed load
//! of at most one word; any other access may be compiled to an instruction that writes. Fences, which touch
//! no memory, provide the order. (The assembly in `cpu` writes to no memory that it reads, either.)
//!
//! Not covered: a process with write permission truncates the file while it is mapped. Touching the lost
//! pages raises SIGBUS. A full filesystem does not: all space is reserved when a link is created.

// Mapping and unmapping change the address space, and a slice is made from the address that the kernel
// returns. Neither can be written in safe code.
#![allow(unsafe_code)]

use std::fs::{File, Metadata};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::{io, slice};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{HUGETLBFS_MAGIC, fstatfs};

use super::forks::{ChildWords, Entry, Process};
use crate::sync::AtomicU64;

const WORD: usize = 8;
/// True of the standard atomics, not of those of the model checker.
const _: () = assert!(size_of::<AtomicU64>() == WORD && align_of::<AtomicU64>() == WORD);

/// When the pages of a file are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Before the call returns, so that the first access costs no page fault. For single pages, where that is cheaper
    /// than a fault, and for all of `tx` if its maker wishes it ([`LinkBuilder::prefault`](crate::LinkBuilder::prefault)).
    AtOnce,
    /// When they are touched.
    WhenTouched,
}

/// The first `len` bytes of a file, or a part of it, shared with every process that maps them.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Start of the mapping, page-aligned. Valid for reads until `drop`, and for writes if made by
    /// `read_write` or `part_read_write`.
    start: NonNull<AtomicU64>,
    /// How many words there are at `start`, at least 1.
    words: usize,
    /// Bytes really mapped, for `munmap`.
    mapped: NonZeroUsize,
    /// The process that made the mapping.
    process: Process,
    /// Tells forked children about the mapping.
    entry: &'static Entry,
}

// SAFETY: a mapping belongs to the process, not to the thread that made it, and any thread may unmap it.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` gives access to nothing but `&[AtomicU64]`, which is `Sync`, and to numbers.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes for loads only, and only `Relaxed` ones (see the module). `found` is what the
    /// system says of the file. `in_child`: the words that are not zero in a forked child.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: `len` is zero or not a multiple of 8. `UnexpectedEof`: the file is shorter than
    /// `len`. Otherwise the error of the system call that failed.
    pub(crate) fn read_only(
        file: &File,
        found: &Metadata,
        len: usize,
        pages: Pages,
        in_child: ChildWords,
    ) -> io::Result<Self> {
        Self::new((file, found), 0..len, ProtFlags::PROT_READ, pages, in_child)
    }

    /// Maps the first `len` bytes for loads and stores. The file must be open for both.
    ///
    /// # Errors
    ///
    /// As [`read_only`](Self::read_only).
    pub(crate) fn read_write(
        file: &File,
        found: &Metadata,
        len: usize,
        pages: Pages,
        in_child: ChildWords,
    ) -> io::Result<Self> {
        Self::new((file, found), 0..len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, pages, in_child)
    }

    /// The same for a few pages of the file, which begin at a multiple of the page size.
    ///
    /// # Errors
    ///
    /// As [`read_only`](Self::read_only).
    pub(crate) fn part_read_write(
        file: &File,
        found: &Metadata,
        part: Range<usize>,
        in_child: ChildWords,
    ) -> io::Result<Self> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Self::new((file, found), part, access, Pages::AtOnce, in_child)
    }

    /// The mapped bytes as words. The first word lies at the start of a page.
    ///
    /// Other processes store into them at any time. If the mapping is read-only, the caller may use
    /// `load(Relaxed)` and nothing else: a store ends the process, and on some machines so does a stronger
    /// load.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `self` is borrowed for as long as the slice.
        unsafe { self.words_for() }
    }

    /// [`words`](Self::words) for a lifetime that the caller chooses. The `Mapping` may be moved meanwhile.
    ///
    /// # Safety
    ///
    /// The slice, and everything that is made from it, is gone before the `Mapping` is dropped.
    pub(super) unsafe fn words_for<'a>(&self) -> &'a [AtomicU64] {
        // SAFETY: `start` is not null, aligned to a page and so to a word, and `words` words of one mapping
        // follow, less than `isize::MAX` bytes because the kernel has found room for them. They stay mapped
        // until the `Mapping` is dropped, by when the slice is gone, as the caller promises. Any eight
        // bytes are a valid `AtomicU64` (size and alignment are asserted above), and what other threads and
        // processes store meanwhile is within its interior mutability. That a read-only mapping is only
        // loaded from is the duty of the callers, all of which are in this crate.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Whether the calling process made the mapping. False in a forked child, which has private memory there.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process.is_this()
    }

    fn new(
        (file, found): (&File, &Metadata),
        part: Range<usize>,
        access: ProtFlags,
        pages: Pages,
        in_child: ChildWords,
    ) -> io::Result<Self> {
        let (offset, len) = (part.start, part.len());
        // No huge page is smaller than this.
        let may_be_huge = found.blksize() > 4096;
        let mapped = if may_be_huge { mapped_len(file, len)? } else { len };
        let mapped = match NonZeroUsize::new(mapped) {
            Some(mapped) if len % WORD == 0 => mapped,
            _ => {
                let message = format!("cannot map {len} bytes: the length must be a positive multiple of 8");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        };
        let size = found.len();
        let needed = offset.saturating_add(mapped.get()) as u64;
        if size < needed {
            let message = format!("the file has {size} bytes, but {needed} are needed");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        // A sparse file is not populated: filling the holes that another process left would cost memory without
        // bound.
        let whole = found.blocks().saturating_mul(512) >= size;
        let populate =
            if whole && pages == Pages::AtOnce { MapFlags::MAP_POPULATE } else { MapFlags::empty() };
        let flags = MapFlags::MAP_SHARED | populate;
        // SAFETY: without an address and without MAP_FIXED, the kernel chooses a free range, so no memory
        // in use is replaced. Nothing refers to the new range yet.
        let start = unsafe { mmap(None, mapped, access, flags, file, offset as _) }.map_err(map_error)?;
        // SAFETY: the range is exactly the new mapping. The advice changes what a fork copies, and nothing
        // in this process.
        let prepared = unsafe { madvise(start, mapped.get(), MmapAdvise::MADV_DONTFORK) }
            .map_err(io::Error::from)
            .and_then(|()| Entry::of(start.cast().as_ptr(), mapped.get(), in_child));
        match prepared {
            Ok(entry) => {
                let (start, process) = (start.cast(), Process::this());
                Ok(Self { start, words: len / WORD, mapped, process, entry })
            }
            Err(error) => {
                // SAFETY: just mapped, and nothing refers to it.
                let _ = unsafe { munmap(start, mapped.get()) };
                Err(error)
            }
        }
    }
}

/// The error of `mmap`. `EAGAIN` says only that something is used up for the moment, so name it.
fn map_error(error: Errno) -> io::Error {
    match (error, getrlimit(Resource::RLIMIT_MEMLOCK)) {
        (Errno::EAGAIN, Ok((limit, _))) => {
            let message = format!(
                "this process locks its memory (mlockall), and may lock only {limit} bytes (RLIMIT_MEMLOCK)"
            );
            io::Error::new(io::ErrorKind::OutOfMemory, message)
        }
        _ => error.into(),
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            return;
        }
        self.entry.forget();
        // SAFETY: `start` and `mapped` are the address and length of the mapping, which is unmapped here
        // and nowhere else. No slice of it is left: each was bound to a borrow of `self`, or is gone by the
        // promise of `words_for`.
        let result = unsafe { munmap(self.start.cast(), self.mapped.get()) };
        debug_assert!(result.is_ok(), "cannot unmap {} bytes: {result:?}", self.mapped);
    }
}

/// How many bytes a mapping of `len` bytes of this file covers, which is also how long the file must be.
///
/// On hugetlbfs: `len` rounded up to whole huge pages, because files and mappings there consist of whole
/// pages. Elsewhere: `len`.
pub(crate) fn mapped_len(file: &File, len: usize) -> io::Result<usize> {
    let filesystem = fstatfs(file)?;
    if filesystem.filesystem_type() != HUGETLBFS_MAGIC {
        return Ok(len);
    }
    len.checked_next_multiple_of(filesystem.block_size() as usize)
        .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;
    use crate::sync::Relaxed;

    const NONE: ChildWords = [None; 2];

    fn read_only(file: &File, len: usize) -> io::Result<Mapping> {
        Mapping::read_only(file, &file.metadata()?, len, Pages::WhenTouched, NONE)
    }

    fn read_write(file: &File, len: usize) -> io::Result<Mapping> {
        Mapping::read_write(file, &file.metadata()?, len, Pages::AtOnce, NONE)
    }

    #[test]
    fn two_mappings_see_each_others_stores() {
        let scratch = Scratch::new();
        let file = scratch.file("tx", 3 * 4096);
        let writer = read_write(&file, 3 * 4096).unwrap();
        let other = read_write(&file, 3 * 4096).unwrap();
        let reader = read_only(&scratch.open("tx", false), 3 * 4096).unwrap();
        drop(file);
        writer.words()[0].store(7, Relaxed);
        other.words()[3 * 512 - 1].store(8, Relaxed);
        assert_eq!(reader.words().len(), 3 * 512);
        assert_eq!(reader.words()[0].load(Relaxed), 7);
        assert_eq!(other.words()[0].load(Relaxed), 7);
        assert_eq!(reader.words()[3 * 512 - 1].load(Relaxed), 8);
        assert_eq!(writer.words().as_ptr().addr() % 4096, 0);
    }

    #[test]
    fn a_part_of_the_file_can_be_mapped() {
        let scratch = Scratch::new();
        let mapping = read_only(&scratch.file("tx", 4096), 64).unwrap();
        assert_eq!(mapping.words().len(), 8);
    }

    #[test]
    fn lengths_are_checked() {
        let scratch = Scratch::new();
        let file = scratch.file("tx", 4096);
        let kind = |len| read_only(&file, len).unwrap_err().kind();
        assert_eq!(kind(4104), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(1 << 40), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(0), io::ErrorKind::InvalidInput);
        assert_eq!(kind(12), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn writing_needs_a_file_open_for_it() {
        let scratch = Scratch::new();
        drop(scratch.file("tx", 4096));
        let file = scratch.open("tx", false);
        assert_eq!(read_write(&file, 4096).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_fork_does_not_inherit_it() {
        let scratch = Scratch::new();
        let mapping = read_only(&scratch.file("tx", 4096), 4096).unwrap();
        let start = format!("{:x}-", mapping.words().as_ptr().addr());
        let regions = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = regions.lines().skip_while(|line| !line.starts_with(&start));
        let flags = lines.find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split(' ').any(|flag| flag == "dc"), "{flags}");
    }
}
