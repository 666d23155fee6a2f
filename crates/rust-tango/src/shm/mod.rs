//! Links between processes, in shared memory. Linux only.
//!
//! A link is a folder below a base folder. Each of its files has one writer:
//!
//! ```text
//! base/              $TANGO_DIR, or the folder given to the builder, or /dev/shm/tango-UID
//!   .lock            locked while a link is replaced or removed; the content is not used
//!   .tmp-1000/       what user 1000 makes and removes just now; deleted when it is empty
//!     .new-1-8/      a link in the making; deleted by the next creator if its own has died
//!     .old-1-7/      a removed link, until its files are deleted
//!   quotes/          what is in it             written by            mapped read-only by
//!     tx             header, counters, hot     the producer          all other processes (see below)
//!                    slot, ring
//!     rx.0           progress of one consumer  consumer in slot 0    all other processes
//!     rx.1           the same for slot 1
//!     ctl            command word              any that ends the     all other processes
//!                                              link
//! ```
//!
//! # What this layer promises
//!
//! - **One writing process per file.** Only the process that holds the lock of a file may write it. All other
//!   processes map the file read-only, so a stray store is a segmentation fault. Two exceptions:
//!   - On AMD processors, readers of the user who owns `tx` map one page of it writable, because that is faster:
//!     the page of the hot slot, which has nothing else. They only load from it. Any other store from their
//!     process into that page can mislead readers that poll the hot slot ([`hot_slot`](crate::ring::hot_slot)).
//!   - A process that stops the link stores into `ctl` even if another process keeps the lock of `ctl`, and so
//!     does the producer of a link that has lost its name. Each value that they store ends the link.
//! - **A link is complete or absent.** One rename gives the folder its name, and one rename takes it away.
//!   No process opens half a link, and none waits for a process that creates one ([`staging`],
//!   [`removal`]).
//! - **A link whose name is lost ends.** Within about a second, the process of its producer notices that no
//!   reader can find the link any more ([`name`], [`name_watch`]). A file that is missing is not mistaken for a
//!   link that does not exist.
//! - **The lock of a file proves that its owner lives**, not a process id and not a clock ([`lock`]). A
//!   process that removes a dead link asks for the locks of all its files, and keeps other processes from
//!   joining meanwhile ([`mod@holders`]).
//! - **Mapped memory becomes atomics in [`map`] and nowhere else.** A forked child does not inherit it: the
//!   child finds every link closed, in private memory ([`forks`]).
//!
//! # Trust
//!
//! ```text
//! reader                 relies on                                        checked by
//! observer, evictable    nothing: it copies, and validates the copy       -
//! consumer
//! consumer               only this user and root can write to the files   trust, when it joins
//! consumer of a link     nothing, as an observer                          -
//! for a group
//! Loan::as_mut_slice     the same                                         trust, when the producer attaches
//! all                    headers are checked once and then kept           layout, when the link is opened
//! all                    a process that may write a file does not         not checked: SIGBUS
//!                        truncate it while it is mapped
//! ```
//!
//! # Reading order
//!
//! | file | what is in it |
//! |---|---|
//! | `forks`, `map` | files as memory; what a forked child finds instead |
//! | `thread` | threads that take no signals |
//! | `lock` | liveness |
//! | `filesystem` | what a filesystem must be able to do |
//! | `access` | which users may use a link |
//! | `base`, `folder`, `space` | the folder of links; names and files; reserved space |
//! | `layout` | what lies where in the files; also described in `docs/layout.md` |
//! | `name` | whether the name of a link leads to it |
//! | `processes`, `holders` | the processes that hold a link |
//! | `leftovers`, `base_lock`, `removal`, `staging` | how a link comes and goes |
//! | `trust` | which users can write to a link |
//! | `owned`, `link`, `inspection` | a link that is open; all that people want to know of it |
//! | `name_watch`, `ends` | its producer, and what happens if its name is lost; its consumers and observers |
//! | `create`, `by_name` | creating and taking over; listing and removing by name |

mod forks;
mod map;

pub(crate) mod thread;

mod lock;

mod filesystem;

mod access;
mod base;
mod folder;
mod space;

mod layout;

mod name;

mod processes;

mod holders;

mod leftovers;

mod base_lock;

mod removal;

mod staging;

mod trust;

mod owned;

mod link;

mod inspection;

mod name_watch;

mod ends;

mod create;

mod by_name;

#[cfg(all(test, not(miri)))]
mod scratch;

#[cfg(all(test, not(miri)))]
mod layout_doc;

pub(crate) use access::Access;
pub(crate) use base::base_dir;
pub(crate) use by_name::{holders, list, remove, remove_all_dead, remove_dead, remove_leftovers};
pub(crate) use create::{Existing, Settings, create};
pub(crate) use ends::Reservation;
#[cfg(feature = "async")]
pub(crate) use forks::{PerProcess, Process};
pub use holders::{Holder, Holders, Party};
pub use inspection::Inspection;
pub(crate) use inspection::inspect_all;
pub(crate) use link::ShmLink;
pub use processes::HolderProcess;
