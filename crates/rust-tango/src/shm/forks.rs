//! What a forked child finds in the place of mapped files.
//!
//! A child does not inherit mappings of link files: two processes would write as one. But it inherits everything
//! that points into them, and drops some of it sooner or later (a payload on the stack of the thread that forked). So
//! a child begins by putting memory of its own in their places, all zeros but for a few words that make the link look
//! closed there. Nothing that a producer, a consumer, a payload or a batch does there reaches another process, and the
//! handles of links ([`ShmLink`](super::ShmLink)) refuse.
//!
//! ```text
//!   PLACES -> | start, len, words | -> | start, len, words | -> ...      entries are used again, and never freed
//!                     len = 0: free, or about to be
//! ```
//!
//! Entries are written by threads that map and unmap, and read in a child between its `fork` and its first own
//! instruction (`pthread_atfork`). It has one thread, and the others may have been anywhere: so there is no lock,
//! and `len` is stored last and cleared first. A child that was not made by the C library's `fork` (by a bare `clone`,
//! say) has nothing in the place of the mappings.
#![allow(unsafe_code)]

use std::io;
use std::ptr;

use nix::libc;

use crate::sync::{AcqRel, Acquire, AtomicPtr, AtomicU64, Relaxed, Release, StaticU64};

/// How many forks lie between this process and the one that asked first: tells a child from its parent.
static FORKS: StaticU64 = StaticU64::new(0);

/// The process that something belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    id: u32,
    forks: u64,
}

impl Process {
    /// This one.
    pub(crate) fn this() -> Self {
        // Without it, a child in another namespace may have the id of its parent.
        let _ = notice_forks();
        Self { id: std::process::id(), forks: FORKS.load(Relaxed) }
    }

    /// False in a forked child.
    pub(crate) fn is_this(self) -> bool {
        self.id == std::process::id() && self.forks == FORKS.load(Relaxed)
    }
}

/// From now on, forked children run [`in_child`] first.
fn notice_forks() -> io::Result<()> {
    // No lock: it could be held by another thread of a process that forks. Asked for by two threads at once, it is done
    // twice: the count rises by two with each fork then, and the memory is there already the second time.
    static NOTICED: StaticU64 = StaticU64::new(0);
    // Miri knows no forks.
    if !cfg!(miri) && NOTICED.load(Relaxed) == 0 {
        // SAFETY: `in_child` can be called at any time: it only looks at what lives for ever, and makes system calls.
        let error = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        NOTICED.store(1, Relaxed);
    }
    Ok(())
}

/// Words of a mapping that are not zero in a child: index and value.
const WORDS: usize = 2;
pub(super) type ChildWords = [Option<(usize, u64)>; WORDS];

/// A mapping, as a forked child has to know it.
#[derive(Debug)]
pub(super) struct Place {
    /// Not zero: this entry belongs to a mapping.
    taken: StaticU64,
    /// The address where the mapping starts.
    start: StaticU64,
    /// Its bytes; 0: none that a child has to care about.
    len: StaticU64,
    /// 1 + the index of a word, or 0 for none, and its value.
    words: [(StaticU64, StaticU64); WORDS],
    /// The entry that was there before this one. Never changes.
    next: Option<&'static Self>,
}

static PLACES: AtomicPtr<Place> = AtomicPtr::new(ptr::null_mut());

/// How many entries are free, or about to be.
static FREE: StaticU64 = StaticU64::new(0);

fn places() -> impl Iterator<Item = &'static Place> {
    // SAFETY: null, or an entry that was leaked, hence valid for ever, and is only ever shared.
    let newest = unsafe { PLACES.load(Acquire).as_ref() };
    std::iter::successors(newest, |place| place.next)
}

impl Place {
    /// Notes a mapping that was just made, of `len` bytes at `start`, and not inherited by children.
    pub(super) fn of(start: *const AtomicU64, len: usize) -> io::Result<&'static Self> {
        notice_forks()?;
        let place = Self::free();
        place.start.store(start.addr() as u64, Relaxed);
        place.words.iter().for_each(|(index, _)| index.store(0, Relaxed));
        place.len.store(len as u64, Release);
        Ok(place)
    }

    /// An entry that nobody else has.
    fn free() -> &'static Self {
        let take = |place: &&Self| place.taken.compare_exchange(0, 1, Acquire, Relaxed).is_ok();
        // Not a walk through all that are taken, for each of many mappings.
        if FREE.load(Relaxed) != 0 {
            if let Some(place) = places().find(take) {
                FREE.fetch_sub(1, Relaxed);
                return place;
            }
        }
        const fn zero() -> StaticU64 {
            StaticU64::new(0)
        }
        let place = Box::leak(Box::new(Self {
            taken: StaticU64::new(1),
            start: zero(),
            len: zero(),
            words: [const { (zero(), zero()) }; WORDS],
            next: None,
        }));
        let mut newest = PLACES.load(Acquire);
        loop {
            // SAFETY: as in `places`.
            place.next = unsafe { newest.as_ref() };
            match PLACES.compare_exchange(newest, place, AcqRel, Acquire) {
                Ok(_) => return place,
                Err(now) => newest = now,
            }
        }
    }

    /// What is not zero in a child's memory.
    pub(super) fn child_finds(&self, found: ChildWords) {
        for ((index, value), found) in self.words.iter().zip(found) {
            let (at, word) = found.map_or((0, 0), |(at, word)| (at as u64 + 1, word));
            value.store(word, Relaxed);
            index.store(at, Release);
        }
    }

    /// The mapping is about to go. Before that: what comes to lie there later is nothing to children.
    pub(super) fn forget(&self) {
        self.len.store(0, Release);
        // Counted before it is free, so that the count is never below zero.
        FREE.fetch_add(1, Relaxed);
        self.taken.store(0, Release);
    }
}

/// The first that a forked child does: memory in the place of all mappings that it has not got.
extern "C" fn in_child() {
    FORKS.fetch_add(1, Relaxed);
    for place in places() {
        let (start, len) = (place.start.load(Relaxed) as usize, place.len.load(Acquire) as usize);
        if len == 0 {
            continue;
        }
        let wanted = ptr::without_provenance_mut(start);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: the kernel replaces nothing: where anything is, it says so, or (before Linux 4.17) maps
        // elsewhere.
        let got = unsafe { libc::mmap(wanted, len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if got != wanted {
            // There is memory already (this is a child of a child), or there is none to be had.
            if got != libc::MAP_FAILED {
                // SAFETY: just mapped, by nobody's wish.
                unsafe { libc::munmap(got, len) };
            }
            continue;
        }
        for (index, value) in &place.words {
            if let Some(at) = index.load(Acquire).checked_sub(1).filter(|at| (*at as usize) < len / 8) {
                // SAFETY: a word of the memory that was just mapped, which is aligned to a page, writable, and
                // not looked at by anybody yet.
                unsafe { got.cast::<u64>().add(at as usize).write(value.load(Relaxed)) };
            }
        }
    }
}
