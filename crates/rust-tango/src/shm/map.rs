//! Files as memory: [`Mapping`], the only place where mapped memory becomes atomics.
//!
//! ```text
//! file      |<------------------- its length ------------------->|
//! mapping   |<---- words(): len bytes as AtomicU64 ---->| (rest of a huge page, never touched)
//! ```
//!
//! Invariants: a `Mapping` covers at least one word; the file was long enough when it was mapped; the
//! memory stays mapped until the `Mapping` is dropped; a forked child has memory of its own there ([`forks`](super::forks)).
//!
//! Who writes `tx` and `rx.N`: the process that holds the file's lock, through [`Mapping::read_write`]. `tx.N`: the
//! holder of `tx`, and the holder of `rx.N`. `ctl`: any process that stops the link, always the same value. Who reads:
//! everybody, but with `Relaxed` loads alone, whose mapping may be [`Mapping::read_only`], and is unless asked
//! otherwise. (The assembly in `words` and `cache` writes no memory that it reads either.) The
//! standard library promises of accesses to read-only memory only that of a relaxed load no wider than a word;
//! anything else may be compiled to an instruction that writes. Order is made with fences, which touch no memory.
//!
//! Not covered: somebody with write permission cuts the file short while it is mapped. Touching the lost
//! pages then ends in SIGBUS. (A full filesystem does not: all space is reserved when a link is made.)

// Mapping and unmapping are system calls that change the address space, and the slice is made from the
// address they give: there is no safe spelling for either. Each block says why it may.
#![allow(unsafe_code)]

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::{io, slice};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::statfs::{HUGETLBFS_MAGIC, fstatfs};

use super::forks::{ChildWords, Place, Process};
use crate::sync::AtomicU64;

const WORD: usize = 8;
/// Holds for the atomics of the language, not for those of a model checker.
const _: () = assert!(size_of::<AtomicU64>() == WORD && align_of::<AtomicU64>() == WORD);

/// The first `len` bytes of a file, shared with everybody who maps it.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Start of the mapping, aligned to a page. Valid for reads (and for writes after `read_write`)
    /// until `drop`.
    start: NonNull<AtomicU64>,
    /// How many words `start` leads to, at least 1.
    words: usize,
    /// Bytes really mapped, which is what the kernel wants to hear again at the end.
    mapped: NonZeroUsize,
    /// The process that made it.
    process: Process,
    /// Where a forked child puts memory of its own.
    place: &'static Place,
}

// SAFETY: a mapping belongs to the process, not to the thread that made it, and any thread may unmap it.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` gives out nothing but `&[AtomicU64]`, which is `Sync`, and a number.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes for loads only, and only `Relaxed` ones: see the module.
    ///
    /// The pages are mapped before the call returns, so that the first access costs no page fault.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: `len` is zero or not a multiple of 8. `UnexpectedEof`: the file is shorter. Otherwise
    /// what the system says.
    pub(crate) fn read_only(file: &File, len: usize) -> io::Result<Self> {
        Self::new(file, len, ProtFlags::PROT_READ)
    }

    /// Maps the first `len` bytes for loads and stores. The file must be open for both.
    ///
    /// # Errors
    ///
    /// As [`read_only`](Self::read_only).
    pub(crate) fn read_write(file: &File, len: usize) -> io::Result<Self> {
        Self::new(file, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    /// All of it as words; the first lies at the start of a page.
    ///
    /// Other processes store into them at any time. If the mapping is read-only, the caller may use
    /// `load(Relaxed)` and nothing else: a store ends the process, and so may any stronger load on some
    /// machines.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is not null, aligned to a page and so to a word, and leads to `words` words
        // of one mapping, less than `isize::MAX` bytes because the kernel has found room for them. They
        // stay mapped as long as `self`, to which the slice is bound. Any bytes are a valid `AtomicU64`
        // (eight of them, asserted above), and what other threads and processes store meanwhile is
        // within its interior mutability. Loads only, where the mapping is read-only, is the caller's
        // part, and callers are in this crate.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// What a forked child finds there instead, but for zeros.
    pub(crate) fn child_finds(&self, words: ChildWords) {
        self.place.child_finds(words);
    }

    /// False in a child that was forked from the process that made the mapping: what it has there is its own
    /// ([`forks`](super::forks)).
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process.is_this()
    }

    fn new(file: &File, len: usize, access: ProtFlags) -> io::Result<Self> {
        let mapped = match NonZeroUsize::new(mapped_len(file, len)?) {
            Some(mapped) if len % WORD == 0 => mapped,
            _ => {
                let message =
                    format!("a mapping of {len} bytes: the length must be a multiple of 8, above 0");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        };
        let metadata = file.metadata()?;
        let size = metadata.len();
        if size < mapped.get() as u64 {
            let message = format!("the file has {size} bytes, {mapped} are needed");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        // Touching all of it now spares page faults later. Not where it would fill the holes of a file
        // that somebody else has left sparse: that costs memory, without bound.
        let whole = metadata.blocks().saturating_mul(512) >= size;
        let populate = if whole { MapFlags::MAP_POPULATE } else { MapFlags::empty() };
        let flags = MapFlags::MAP_SHARED | populate;
        // SAFETY: without a wanted address and without MAP_FIXED the kernel picks a free range, so no
        // memory that anybody uses is replaced. Nothing refers to the new range yet.
        let start = unsafe { mmap(None, mapped, access, flags, file, 0) }?;
        // SAFETY: the range is exactly the mapping just made. The advice changes what a fork copies and
        // nothing in this process.
        let prepared = unsafe { madvise(start, mapped.get(), MmapAdvise::MADV_DONTFORK) }
            .map_err(io::Error::from)
            .and_then(|()| Place::of(start.cast().as_ptr(), mapped.get()));
        match prepared {
            Ok(place) => {
                let (start, process) = (start.cast(), Process::this());
                Ok(Self { start, words: len / WORD, mapped, process, place })
            }
            Err(error) => {
                // SAFETY: just mapped, and nothing refers to it.
                let _ = unsafe { munmap(start, mapped.get()) };
                Err(error)
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            return;
        }
        self.place.forget();
        // SAFETY: `start` and `mapped` are what `mmap` was given and gave, unmapped here for the first
        // time. Every slice into it was bound to a borrow of `self`, so none is left.
        let result = unsafe { munmap(self.start.cast(), self.mapped.get()) };
        debug_assert!(result.is_ok(), "cannot unmap {} bytes: {result:?}", self.mapped);
    }
}

/// How many bytes a mapping of `len` bytes of this file covers, and so how long the file must be.
///
/// That is `len` itself, but whole huge pages on hugetlbfs: its files end with a page, and it unmaps
/// nothing smaller.
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

    #[test]
    fn two_mappings_see_each_others_stores() {
        let scratch = Scratch::new();
        let file = scratch.file("tx", 3 * 4096);
        let writer = Mapping::read_write(&file, 3 * 4096).unwrap();
        let other = Mapping::read_write(&file, 3 * 4096).unwrap();
        let reader = Mapping::read_only(&scratch.open("tx", false), 3 * 4096).unwrap();
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
        let mapping = Mapping::read_only(&scratch.file("tx", 4096), 64).unwrap();
        assert_eq!(mapping.words().len(), 8);
    }

    #[test]
    fn lengths_are_checked() {
        let scratch = Scratch::new();
        let file = scratch.file("tx", 4096);
        let kind = |len| Mapping::read_only(&file, len).unwrap_err().kind();
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
        assert_eq!(Mapping::read_write(&file, 4096).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_fork_does_not_inherit_it() {
        let scratch = Scratch::new();
        let mapping = Mapping::read_only(&scratch.file("tx", 4096), 4096).unwrap();
        let start = format!("{:x}-", mapping.words().as_ptr().addr());
        let regions = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = regions.lines().skip_while(|line| !line.starts_with(&start));
        let flags = lines.find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.split(' ').any(|flag| flag == "dc"), "{flags}");
    }
}
