//! The everyday API: a [`Link`] whose sizes are chosen at run time.
//!
//! A link has one producer and any number of readers. It lives on the heap, for threads, or in shared
//! memory, for processes:
//!
//! ```text
//!   LinkBuilder ---- build ----------------> Link on the heap
//!        |---------- create(name) ---------> Link in shared memory, new
//!        `---------- create_or_take_over --> Link in shared memory, new or continued
//!                    Link::open(name) -----> Link in shared memory, made by another process
//!                    Link::open_wait(name) > the same, as soon as it exists
//!
//!   Link ----------- producer -------------> Producer     one at a time
//!        |---------- consumer -------------> Consumer     reliable: gets every fragment, in place
//!        |---------- evictable_consumer ---> Consumer     reliable while it keeps up
//!        `---------- observer -------------> Consumer     reads what it can, by copy
//! ```
//!
//! The `Link`, its clones, the [`Producer`](crate::Producer) and the [`Consumer`](crate::Consumer)s each
//! own a share of the memory. They can be sent to other threads and dropped in any order; the last one
//! frees the memory.
//!
//! In shared memory, what can change meanwhile: another process may take the producer or a slot, stop the
//! link, or remove it, at any time. A link that loses its name ends: the process of its producer notices within
//! about a second, and stops it ([`Link::is_named`]). If a process dies, the kernel releases what it held, and
//! the others notice.
//!
//! A process with producers in shared memory has one thread, `tango-names`, that checks their names.
//!
//! Programs without an allocator, or with storage in a `static`, use [`MCache`](crate::MCache),
//! [`DCache`](crate::DCache), [`Fseq`](crate::Fseq) and [`Fctl`](crate::Fctl) instead.
//!
//! # Examples
//!
//! ```
//! use rust_tango::{Link, TangoError};
//!
//! let link = Link::builder().depth(1024).mtu(256).consumers(1).build()?;
//! let tx = link.producer()?;
//! let mut rx = link.consumer()?;
//! tx.publish(b"bid 101.25", 7, 0, 0)?;
//! drop(tx);
//! loop {
//!     match rx.wait() {
//!         Ok(Some(fragment)) => assert_eq!(fragment.payload.as_slice(), b"bid 101.25"),
//!         Ok(None) => break, // closed, and everything has been read
//!         Err(TangoError::ProducerGone) => panic!("the producer has died"),
//!         Err(error) => return Err(error.into()),
//!     }
//! }
//! # Ok::<(), rust_tango::LinkError>(())
//! ```

// Reading order: `heap` (links on the heap), `handle` (`Link`), `shared` (what only shared links have), `by_name`
// (opening, listing, removing), `open_wait` (opening what may not exist yet), `builder`, `create` (links in shared memory).
mod heap;

mod handle;

#[cfg(all(feature = "shm", target_os = "linux"))]
mod shared;

#[cfg(all(feature = "shm", target_os = "linux"))]
mod by_name;

#[cfg(all(feature = "shm", target_os = "linux"))]
mod open_wait;

mod builder;

#[cfg(all(feature = "shm", target_os = "linux"))]
mod create;

pub use builder::LinkBuilder;
pub use handle::Link;
#[cfg(all(feature = "async", target_os = "linux"))]
pub use open_wait::OpenWait;
