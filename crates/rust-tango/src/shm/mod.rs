//! Links between processes, in shared memory. Linux only.
//!
//! A link is a folder below a base folder, and each file in it has one writer:
//!
//! ```text
//! base/              /dev/shm/tango-UID, $TANGO_DIR, or what the builder was told
//!   .lock            held while a link is taken over or away; its content means nothing
//!   .new-1-8/        a link in the making, unless its maker died: the next maker clears it away
//!   .old-1-7/        a link that is being taken away
//!   quotes/          file    written by               others
//!     tx             header, rings, counters   the producer        map it read-only
//!     rx.0           progress of one reader    consumer slot 0     map it read-only
//!     tx.0           what it is shown apart    the producer        look at its header; consumer slot 0 maps it, too
//!     rx.1, tx.1     ...                       ... consumer slot 1
//!     ctl            command word              whoever operates    map it read-only
//! ```
//!
//! Invariants:
//!
//! - Each byte has one writing process: the one that holds the lock of its file (of `tx.N`: of `tx`). Everybody else
//!   maps the file read-only, so the page tables enforce it. Two exceptions, both because it is faster on AMD's
//!   processors: the consumer that `tx.N` is for has that writable, stores one word there when it takes its slot, and can
//!   mislead nobody but itself there ([`hot_slot`](crate::ring::hot_slot)); and readers who asked to map `tx` writable
//!   ([`Link::map_writable`](crate::Link::map_writable)). And who stops a link goes on without the lock of `ctl` if somebody
//!   who may only read keeps it: all store the same word there.
//! - A folder appears under its name complete, by one rename, and disappears from it by another. Nobody
//!   opens half a link, and nobody waits for who makes one ([`staging`]).
//! - The lock of a file, not a process id or a clock, says that its owner lives ([`lock`]); who clears up
//!   asks them all, and keeps others from joining meanwhile (`holders`).
//! - Memory of a file becomes atomics in [`map`] and nowhere else. A forked child does not inherit it: it finds every
//!   link closed, in memory of its own ([`forks`]).
//! - Before anybody gets a `&[u8]` into a file that another process writes, [`trust`] has looked at who
//!   could write to it.

mod folder;
mod forks;
mod holders;
mod layout;
mod link;
mod lock;
mod map;
mod staging;
mod trust;

#[cfg(all(test, not(miri)))]
mod scratch;

#[cfg(feature = "async")]
pub(crate) use forks::Process;
pub use holders::{Holder, Holders, Party};
pub(crate) use link::{
    Existing, Made, ShmLink, folder_of_links, holders, list, remove, remove_all_dead, remove_dead,
};
