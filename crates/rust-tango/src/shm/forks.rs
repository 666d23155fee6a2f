//! What a forked child finds at the addresses of mapped link files: private memory in which the link looks
//! closed.
//!
//! A child does not inherit the mappings of link files. If it did, two processes would write as one. But
//! the child does inherit every pointer into them, and sooner or later it drops some of the owners (a
//! payload on the stack of the thread that forked, for example). So the first thing that a child does is to
//! map private memory at the same addresses. That memory is zero except for a few words, which make the
//! link look closed ([`ChildWords`]). Nothing that an inherited producer, consumer, payload or batch does
//! there reaches another process, and the inherited [`ShmLink`](super::link::ShmLink) returns errors.
//!
//! The mappings of a process form a list. Entries are reused, and never freed:
//!
//! ```text
//!   ENTRIES -> | taken, start, len, words | -> | taken, start, len, words | -> ...
//!
//!   len = 0    no mapping: the entry is free, or is being filled or cleared
//!   len > 0    `start` and `words` are valid, and a child maps memory there
//! ```
//!
//! The thread that maps or unmaps writes an entry. A child reads it, between its `fork` and its first own
//! instruction (`pthread_atfork`). The child has one thread; the other threads of its parent may
//! have been anywhere when it was forked. So there is no lock, and `len` is stored last when an entry is
//! filled and first when it is cleared.
//!
//! Not covered: a child that the C library's `fork` did not make (a bare `clone`, for example) finds
//! nothing at these addresses. It does know that it is another process ([`Process`]), so it may drop links,
//! producers and consumers that it has inherited.
#![allow(unsafe_code)]

use std::io;
use std::ptr;

use nix::libc;

use crate::sync::{AcqRel, Acquire, AtomicPtr, AtomicU64, Relaxed, Release, StaticU64};

/// The process to which a mapping or a thread belongs.
///
/// Process ids would not tell: a child in a new pid namespace may have the id of its parent. The mark of a
/// process ([`mark`]) differs from those of its ancestors, and of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    mark: u64,
}

impl Process {
    /// The calling process.
    pub(crate) fn this() -> Self {
        Self { mark: mark() }
    }

    /// Whether the calling process is this one. False in a forked child.
    pub(crate) fn is_this(self) -> bool {
        self == Self::this()
    }
}

/// A value that each process has of its own, made when it is first asked for, and then leaked.
///
/// A forked child gets a new one. That of its parent stays, because what the child has inherited refers to it. But
/// the child leaves it alone: another thread of the parent may have held a lock in it during the fork. For the same
/// reason there is no lock around the value itself.
pub(crate) struct PerProcess<T: 'static>(AtomicPtr<(Process, T)>);

impl<T: Default + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The value of the calling process.
    pub(crate) fn get(&self) -> &'static T {
        let mut found = self.0.load(Acquire);
        loop {
            if let Some(value) = Self::of_this_process(found) {
                return value;
            }
            // If another thread is faster, its value is used, and this one is lost.
            let new = Box::leak(Box::new((Process::this(), T::default())));
            match self.0.compare_exchange(found, new, AcqRel, Acquire) {
                Ok(_) => return &new.1,
                Err(now) => found = now,
            }
        }
    }

    /// The value of the calling process, if there is one already.
    #[cfg(feature = "async")]
    pub(crate) fn existing(&self) -> Option<&'static T> {
        Self::of_this_process(self.0.load(Acquire))
    }

    fn of_this_process(found: *mut (Process, T)) -> Option<&'static T> {
        // SAFETY: null, or a value that was leaked, so it is valid for ever, and only shared references to it
        // exist.
        let (process, value) = unsafe { found.as_ref() }?;
        process.is_this().then_some(value)
    }
}

/// The last mark that this process or an ancestor has taken.
static LAST: StaticU64 = StaticU64::new(0);

/// The mark of the calling process. Never 0.
///
/// ```text
///   0 ---- first call of mark ----> LAST + 1 ---- fork, in the child ----> 0
/// ```
///
/// The kernel clears the word in every child that does not share its parent's memory, whichever system call
/// made it ([`marked`]).
fn mark() -> u64 {
    let word = marked();
    match word.load(Relaxed) {
        0 => {
            // Counted first: a child that is forked in between takes another mark.
            let next = LAST.fetch_add(1, Relaxed) + 1;
            // If another thread was faster, its mark counts.
            word.compare_exchange(0, next, Relaxed, Relaxed).map_or_else(|now| now, |_| next)
        }
        mark => mark,
    }
}

/// The word with the mark, or null before the first call of [`marked`].
static MARKED: AtomicPtr<StaticU64> = AtomicPtr::new(ptr::null_mut());

/// The word with the mark of the calling process: on a page that the kernel clears in a child. A kernel
/// before Linux 4.14 has no such pages. There, [`in_child`] clears a word in a static.
fn marked() -> &'static StaticU64 {
    static WITHOUT_PAGE: StaticU64 = StaticU64::new(0);
    if let Some(word) = marked_before() {
        return word;
    }
    let made = wiped_page().unwrap_or_else(|| {
        // An error is reported by the mapping for which the mark is needed: it registers the handler, too.
        let _ = register_handler();
        ptr::from_ref(&WITHOUT_PAGE).cast_mut()
    });
    // If another thread was faster, its word counts. The page of this one stays unused.
    let _ = MARKED.compare_exchange(ptr::null_mut(), made, AcqRel, Acquire);
    marked_before().unwrap_or(&WITHOUT_PAGE)
}

/// The word with the mark, if there is one already.
fn marked_before() -> Option<&'static StaticU64> {
    // SAFETY: null, or a word in a static or on a page that is never unmapped. Only shared references to it
    // exist.
    unsafe { MARKED.load(Acquire).as_ref() }
}

/// Maps a page that the kernel fills with zeros in every child. `None` if it has none to give.
fn wiped_page() -> Option<*mut StaticU64> {
    if cfg!(miri) {
        return None; // it has no such pages, and no fork
    }
    let len = size_of::<StaticU64>();
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: without an address, the kernel chooses a free range, so no memory in use is replaced.
    let page = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range is the page that was just mapped. The advice changes what a fork copies, and nothing
    // in this process.
    if unsafe { libc::madvise(page, len, libc::MADV_WIPEONFORK) } == 0 {
        return Some(page.cast());
    }
    // SAFETY: just mapped, and nothing refers to it.
    unsafe { libc::munmap(page, len) };
    None
}

/// Makes every child that is forked from now on run [`in_child`] first.
fn register_handler() -> io::Result<()> {
    // No lock, because another thread could hold it while this process forks. If two threads register at
    // once, the handler is registered twice. That does no harm: the second run finds the addresses taken.
    static REGISTERED: StaticU64 = StaticU64::new(0);
    // Miri has no fork.
    if !cfg!(miri) && REGISTERED.load(Relaxed) == 0 {
        // SAFETY: `in_child` may run at any time: it reads memory that is never freed, and makes system
        // calls.
        let error = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        REGISTERED.store(1, Relaxed);
    }
    Ok(())
}

/// The most words of a mapping that are not zero in a child.
const WORDS: usize = 2;

/// The words of a mapping that are not zero in a child: index and value of each.
pub(super) type ChildWords = [Option<(usize, u64)>; WORDS];

/// One mapping, as a forked child needs to know it.
#[derive(Debug)]
pub(super) struct Entry {
    /// 1 while the entry belongs to a mapping, otherwise 0.
    taken: StaticU64,
    /// The address of the mapping.
    start: StaticU64,
    /// Length of the mapping, in bytes. 0: a child skips this entry.
    len: StaticU64,
    /// 1 + the index of a word (0 for none), and its value.
    words: [(StaticU64, StaticU64); WORDS],
    /// The entry that was added before this one. Never changes once the entry is in the list.
    next: Option<&'static Self>,
}

/// The newest entry.
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

/// How many entries are free, or about to be.
static FREE: StaticU64 = StaticU64::new(0);

fn entries() -> impl Iterator<Item = &'static Entry> {
    // SAFETY: null, or an entry that was leaked, so it is valid for ever, and only shared references to it
    // exist.
    let newest = unsafe { ENTRIES.load(Acquire).as_ref() };
    std::iter::successors(newest, |entry| entry.next)
}

impl Entry {
    /// Adds a mapping of `len` bytes at `start`, which children do not inherit, and the words of their
    /// replacement for it that are not zero.
    pub(super) fn of(start: *const AtomicU64, len: usize, in_child: ChildWords) -> io::Result<&'static Self> {
        register_handler()?;
        let entry = Self::free();
        entry.start.store(start.addr() as u64, Relaxed);
        for ((index, value), in_child) in entry.words.iter().zip(in_child) {
            let (at, word) = in_child.map_or((0, 0), |(at, word)| (at as u64 + 1, word));
            index.store(at, Relaxed);
            value.store(word, Relaxed);
        }
        // Last: from here on a child uses what is stored above.
        entry.len.store(len as u64, Release);
        Ok(entry)
    }

    /// Takes an entry that no mapping uses.
    fn free() -> &'static Self {
        let take = |entry: &&Self| entry.taken.compare_exchange(0, 1, Acquire, Relaxed).is_ok();
        // Without the count, each of many mappings would search the whole list in vain.
        if FREE.load(Relaxed) != 0 {
            if let Some(entry) = entries().find(take) {
                FREE.fetch_sub(1, Relaxed);
                return entry;
            }
        }
        const fn zero() -> StaticU64 {
            StaticU64::new(0)
        }
        let entry = Box::leak(Box::new(Self {
            taken: StaticU64::new(1),
            start: zero(),
            len: zero(),
            words: [const { (zero(), zero()) }; WORDS],
            next: None,
        }));
        let mut newest = ENTRIES.load(Acquire);
        loop {
            // SAFETY: as in `entries`.
            entry.next = unsafe { newest.as_ref() };
            match ENTRIES.compare_exchange(newest, entry, AcqRel, Acquire) {
                Ok(_) => return entry,
                Err(now) => newest = now,
            }
        }
    }

    /// Gives the entry back. The caller unmaps afterwards: children must not touch what may be mapped there
    /// next.
    pub(super) fn forget(&self) {
        self.len.store(0, Release);
        // Counted before it is free, so that the count never falls below zero.
        FREE.fetch_add(1, Relaxed);
        self.taken.store(0, Release);
    }
}

/// Runs first in each forked child: maps private memory at the addresses of all mappings that it did not
/// inherit.
extern "C" fn in_child() {
    // Done already, except on a kernel without pages that a fork clears.
    if let Some(word) = marked_before() {
        word.store(0, Relaxed);
    }
    for entry in entries() {
        let (len, start) = (entry.len.load(Acquire) as usize, entry.start.load(Relaxed) as usize);
        if len == 0 {
            continue;
        }
        let wanted = ptr::without_provenance_mut(start);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: the kernel replaces no mapping. Where there is one, it returns an error or, before Linux
        // 4.17, another address.
        let got = unsafe { libc::mmap(wanted, len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if got != wanted {
            // There is memory already (this is a child of a child), or the kernel has none to give.
            if got != libc::MAP_FAILED {
                // SAFETY: just mapped, and nothing refers to it.
                unsafe { libc::munmap(got, len) };
            }
            continue;
        }
        for (index, value) in &entry.words {
            if let Some(at) = index.load(Relaxed).checked_sub(1).filter(|at| (*at as usize) < len / 8) {
                // SAFETY: a word inside of the memory that was just mapped, which is page-aligned and
                // writable. This is the only thread of the process.
                unsafe { got.cast::<u64>().add(at as usize).write(value.load(Relaxed)) };
            }
        }
    }
}
