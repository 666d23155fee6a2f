//! A lock-free, zero-copy message channel: one producer, many consumers, between threads or between
//! processes of one machine.
//!
//! A *link* is a ring of lines, written by one producer. A *reliable* consumer reads every fragment in
//! place, and the producer waits for it; an *observer* reads what it can by validated copy, and the
//! producer does not know of it. Both kinds, and any number of them, can read one link.
//!
//! ```
//! use rust_tango::Link;
//!
//! let link = Link::builder().depth(1024).mtu(256).consumers(4).build()?;
//! let tx = link.producer()?;
//! let mut rx = link.consumer()?;
//! let mut observer = link.observer()?;
//!
//! tx.publish(b"bid 101.25", 7, 0, 0)?;
//! if let Some(fragment) = rx.poll()? {
//!     assert_eq!((fragment.meta.sig, fragment.payload.as_slice()), (7, &b"bid 101.25"[..]));
//! }
//! assert_eq!(observer.poll()?.unwrap().meta.seq, 1);
//! # Ok::<(), rust_tango::LinkError>(())
//! ```
//!
//! [`LinkBuilder::create`] instead of [`LinkBuilder::build`] puts the link into shared memory under a
//! name, where [`Link::open`] finds it in another process.
//!
//! # Where to start
//!
//! | to | see |
//! |---|---|
//! | make or open a link | [`Link`], [`LinkBuilder`] |
//! | publish | [`Producer`], in place: [`Loan`], of any length: [`Producer::send_message`] |
//! | read | [`Consumer`], [`Fragment`], [`Batch`], [`Assembler`] |
//! | do without an allocator, or with storage in a `static` | [`MCache`], [`DCache`], [`Fseq`], [`Fctl`] |
//! | await fragments | `AsyncConsumer` (feature `async`) |
//! | count, supervise, filter duplicates | [`Metrics`], [`Cnc`], [`Tcache`] |
//! | know why it is right | the source: `ring/line.rs` (fragments) and `credits/floor.rs` (credits) open with a proof |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | none | | the borrowed API: `no_std`, no allocation, no dependency |
//! | `alloc` | | [`Link`], boxed storage, owned fragments |
//! | `std` | yes | timeouts, [`Wait::Park`], `io::Write` for a [`Loan`] |
//! | `shm` | yes | links between processes (Linux; depends on `nix`) |
//! | `async` | | `AsyncConsumer`: `recv().await` under any executor (Linux; adds no dependency to `shm`) |
//!
//! Targets need 64-bit pointers and 64-bit atomics.
//!
//! # Deadlocks that you can build
//!
//! - Publishing with a call that waits ([`Producer::send`], [`Producer::publish_blocking`]) while the
//!   same thread holds a fragment of the same link, or is the one that should read it.
//! - A cycle of reliable links, each of whose parties waits for credits from the next.
//!
//! [`Producer::publish`] and [`Consumer::poll`] never wait.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_code)]

#[cfg(not(all(target_pointer_width = "64", target_has_atomic = "64")))]
compile_error!("rust-tango needs 64-bit pointers and 64-bit atomics");

#[cfg(feature = "alloc")]
extern crate alloc;

mod error;
mod sync;

mod cpu;

mod waiting;

mod ring;

mod credits;

mod memory;

mod metrics;
mod tcache;
pub mod timestamp;

mod producer;

mod consumer;

#[cfg(feature = "alloc")]
mod message;

#[cfg(all(feature = "shm", target_os = "linux"))]
mod shm;

#[cfg(all(feature = "async", target_os = "linux"))]
mod live;

mod borrowed;

#[cfg(feature = "alloc")]
mod link;

/// The protocol under the model checker.
#[cfg(all(loom, test))]
mod models;

pub use borrowed::dcache::DCache;
pub use borrowed::fctl::Fctl;
pub use borrowed::fseq::Fseq;
pub use borrowed::mcache::MCache;
pub use consumer::batch::{Batch, BatchIter};
pub use consumer::payload::{Fragment, Payload};
pub use consumer::{Consumer, Start};
pub use error::TangoError;
pub use memory::cnc::{Cnc, CncState};
pub use metrics::{Metrics, MetricsSnapshot};
pub use producer::Producer;
pub use producer::loan::Loan;
pub use ring::metadata::{Control, FragmentMetadata};
pub use tcache::Tcache;
pub use waiting::wait::Wait;

#[cfg(feature = "alloc")]
pub use borrowed::channel::{Channel, ChannelBuilder};
#[cfg(feature = "alloc")]
pub use consumer::batch::ConsumerIter;
#[cfg(feature = "alloc")]
pub use consumer::payload::OwnedFragment;
#[cfg(feature = "alloc")]
pub use error::{LinkError, LinkErrorKind};
#[cfg(feature = "alloc")]
pub use link::Link;
#[cfg(feature = "alloc")]
pub use link::builder::LinkBuilder;
#[cfg(all(feature = "async", target_os = "linux"))]
pub use live::AsyncConsumer;
#[cfg(feature = "alloc")]
pub use memory::geometry::Geometry;
#[cfg(feature = "alloc")]
pub use memory::status::{ConsumerStatus, LinkStatus};
#[cfg(feature = "alloc")]
pub use message::{Assembler, MessageError};
#[cfg(all(feature = "shm", target_os = "linux"))]
pub use shm::{Holder, Holders, Party};
#[cfg(feature = "alloc")]
pub use tcache::TcacheBuf;

/// The snippets of the README, compiled and run. One of them needs all features.
#[cfg(all(doctest, feature = "async", target_os = "linux"))]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
