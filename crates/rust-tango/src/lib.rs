//! A lock-free, zero-copy message channel: one producer and many consumers, between threads or between
//! processes of one machine.
//!
//! A *link* is a ring of slots in memory. One *producer* publishes *fragments* into it: metadata, and a
//! payload of bytes. Any number of readers read them:
//!
//! - A *reliable consumer* gets every fragment, in place. For each fragment that it has not finished with, it
//!   holds a *credit*: the producer waits for it before it overwrites the fragment.
//! - An *evictable consumer* is reliable as long as it keeps up within the producer's patience.
//! - An *observer* reads what it can, by validated copy. The producer does not know of it. What it misses is
//!   reported to it.
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
//! name. [`Link::open`] opens it in another process, and `Link::open_wait` waits until it exists.
//!
//! # Two ways to make a link
//!
//! | | [`link`]: the everyday API | [`borrowed`]: the API without an allocator |
//! |---|---|---|
//! | begin with | [`Link::builder`], [`Link::open`] | [`MCache`], [`DCache`], [`Fseq`], [`Fctl`] |
//! | sizes | chosen at run time | const generics |
//! | memory | heap, or shared memory | the caller's: `static`, stack, or box |
//! | reliable consumers | up to 256 | one |
//! | lifetimes | none: each end owns a share of the memory | ends borrow the storage |
//!
//! Both hand out the same [`Producer`] and [`Consumer`].
//!
//! # Where to start
//!
//! | to | see |
//! |---|---|
//! | make or open a link | [`link`], [`borrowed`] |
//! | publish | [`Producer`], [`Meta`]; in place: [`Loan`]; messages of any length: [`Producer::send_message`] |
//! | read | [`Consumer`], [`Fragment`], [`Received`], [`Batch`], [`Assembler`] |
//! | know what `sig`, `ctl` and `ts` are | [`FragmentMetadata`], [`Control`], [`timestamp`] |
//! | await fragments, credits | `AsyncConsumer`, `AsyncProducer` (feature `async`) |
//! | publish and read values of a type | `typed` (feature `zerocopy`) |
//! | count | [`Metrics`]; from any process: [`Link::metrics`], [`Link::status`], `Link::inspect` |
//! | supervise, filter duplicates | [`Cnc`], [`Tcache`] |
//! | know why it is correct | the source: `ring/line.rs` (fragments) and `credits/floor.rs` (credits) open with a proof |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | none | | the borrowed API: `no_std`, no allocation, no dependency |
//! | `alloc` | | [`Link`], boxed storage, owned fragments |
//! | `std` | yes | timeouts, [`Wait::Park`], `io::Write` for a [`Loan`] |
//! | `shm` | yes | links between processes (Linux; depends on `nix`) |
//! | `async` | | `AsyncConsumer`: `recv().await`, `AsyncProducer`: `send(..).await`, under any executor (Linux; no further dependency) |
//! | `stream` | | `AsyncConsumer::into_stream` (implies `async`; depends on `futures-core`) |
//! | `zerocopy` | | typed messages: `TypedLink`, `Producer::publish_as`, `Payload::as_ref_of` (depends on `zerocopy`) |
//! | `tracing` | | [events](#events) for a subscriber of `tracing` (implies `alloc`; depends on `tracing`) |
//! | `serde` | | `Serialize` for what the library reports: `LinkStatus`, `LinkMetrics`, `Inspection`, [`MetricsSnapshot`], `Geometry`, [`Hints`] (implies `alloc`; depends on `serde`) |
//!
//! Targets need 64-bit pointers and 64-bit atomics.
//!
//! # Events
//!
//! With the feature `tracing`, what seldom happens to links and their ends is an event of the crate `tracing`. Nothing is
//! emitted for a fragment. Without the feature, there is no code for it.
//!
//! | target | level | event | fields |
//! |---|---|---|---|
//! | `rust_tango::link` | info | `link created` | `link`, `depth`, `mtu`, `consumers` |
//! | | info | `link taken over`, `link removed`, `link stopped` | `link` |
//! | | debug | `link opened` | `link` |
//! | | warn | `link lost its name`: it has ended | `link` |
//! | `rust_tango::producer` | info | `producer attached` | `link`, `next`, `took_over`: from one that died |
//! | | info | `producer detached` | `link`, `next`, `panicked`: if so, readers find it dead, otherwise the link is closed |
//! | | warn | `consumer evicted`, `dead consumer reaped` | `link`, `slot` |
//! | `rust_tango::consumer` | info | `consumer attached` | `link`, `slot`, `kind`, `next` |
//! | | info | `consumer detached` | `link`, `slot`, `kind`, `next`, `lost`, `losses`: in all |
//! | | warn | `fragments lost` | `link`, `slot`, `kind`, `cause`, `lost`, `losses`, `next` |
//! | | warn | `producer gone` | `link`, `slot`, `kind`, `next` |
//! | | warn | `producer replaced` | `link`, `slot`, `kind`, `first` |
//! | `rust_tango::thread` | debug | `thread started`, `thread ended` | `thread`: `tango-names`, `tango-watcher` or `tango-timer` |
//!
//! - `link` is the name of a link in shared memory. It is missing on the heap and in the borrowed API. `slot` is missing for
//!   an observer, and in the borrowed API. `kind` is `reliable`, `evictable` or `observer`.
//! - `next` is the number of the next fragment that the end would publish or read.
//! - `lost` is a number of fragments, `losses` how often some were lost, and `cause` the last cause: `overrun` (also of
//!   numbers that the producer left out), `evicted` or `corrupt`. A reader tells of losses once a second at most, with the
//!   sum of those since it last did. The event of its end has the sum of all. (Without the feature `shm` on Linux there is
//!   no clock: only the first loss and the sum are told.)
//! - `producer gone` is told once for each producer, by each reader that finds it dead.
//!
//! A process tells only of what it does or finds itself. Events are emitted in the thread in which that happens, without
//! a lock. A subscriber may use links, also the end that has emitted the event. If it publishes with the producer that has
//! just evicted or reaped a consumer, the call that did so returns [`TangoError::NoCredits`], because its number is taken.
//! (Calls that wait try again. In a batch, and in [`Producer::send_message`], what the subscriber publishes lies between the
//! parts, and the readers of a batch may not have been woken yet.) A subscriber should not panic: ends also emit when they are
//! dropped, and a panic there, while the thread unwinds, ends the process.
//! Dropping the last async end of a process waits for the thread `tango-watcher`, and so for its subscriber.
//!
//! # How to deadlock
//!
//! - A thread publishes with a call that waits ([`Producer::send`], [`Producer::publish_blocking`]) while it
//!   holds a fragment of the same link, or while it is the thread that should read the link.
//! - A subscriber of events waits for a lock that the thread holds, or a thread with such a lock drops the last async end of
//!   its process.
//! - A cycle of reliable links: each process waits for credits from the next one.
//!
//! [`Producer::publish`] and [`Consumer::poll`] never wait for the other side.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_code)]

#[cfg(not(all(target_pointer_width = "64", target_has_atomic = "64")))]
compile_error!("rust-tango needs 64-bit pointers and 64-bit atomics");

#[cfg(feature = "alloc")]
extern crate alloc;

mod error;
mod sync;

mod events;

mod cpu;

mod waiting;

mod ring;

mod credits;

mod memory;

mod timing;

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

#[cfg(all(feature = "stream", target_os = "linux"))]
mod stream;

pub mod borrowed;

#[cfg(feature = "alloc")]
pub mod link;

#[cfg(feature = "zerocopy")]
pub mod typed;

/// The protocol under the model checker.
#[cfg(all(loom, test))]
mod models;

#[doc(inline)]
pub use borrowed::{DCache, Fctl, Fseq, MCache};
pub use consumer::batch::{Batch, BatchIter};
pub use consumer::payload::{Fragment, Payload};
pub use consumer::{Consumer, Received, Start};
pub use error::{RecvError, TangoError, TrySendError};
pub use memory::cnc::{Cnc, CncState};
pub use memory::hints::{Hints, HintsError};
pub use metrics::{Metrics, MetricsRef, MetricsSnapshot};
pub use producer::{Loan, Meta, Producer};
pub use ring::metadata::{Control, FragmentMetadata};
pub use tcache::Tcache;
pub use timing::distance::Pace;
pub use waiting::wait::Wait;

#[cfg(feature = "alloc")]
#[doc(inline)]
pub use borrowed::{Channel, ChannelBuilder};
#[cfg(feature = "alloc")]
pub use consumer::ConsumerIter;
#[cfg(feature = "alloc")]
pub use consumer::payload::OwnedFragment;
#[cfg(feature = "alloc")]
pub use error::{LinkError, LinkErrorKind};
#[cfg(all(feature = "async", target_os = "linux"))]
#[doc(inline)]
pub use link::OpenWait;
#[cfg(feature = "alloc")]
#[doc(inline)]
pub use link::{Link, LinkBuilder};
#[cfg(all(feature = "async", target_os = "linux"))]
pub use live::{AsyncConsumer, AsyncProducer};
#[cfg(feature = "alloc")]
pub use memory::counts::{ConsumerMetrics, LinkMetrics};
#[cfg(feature = "alloc")]
pub use memory::geometry::Geometry;
#[cfg(feature = "alloc")]
pub use memory::payload_type::PayloadType;
#[cfg(feature = "alloc")]
pub use memory::status::{ConsumerStatus, LinkStatus};
#[cfg(feature = "alloc")]
pub use message::{Assembler, MessageError};
#[cfg(all(feature = "shm", target_os = "linux"))]
pub use shm::{Holder, HolderProcess, Holders, Inspection, Party};
#[cfg(all(feature = "stream", target_os = "linux"))]
pub use stream::FragmentStream;
#[cfg(feature = "alloc")]
pub use tcache::TcacheBuf;
#[cfg(all(feature = "zerocopy", feature = "alloc"))]
#[doc(inline)]
pub use typed::{TypeName, TypedLink, TypedLinkBuilder};
#[cfg(feature = "zerocopy")]
#[doc(inline)]
pub use typed::{
    TypedBatch, TypedBatchIter, TypedConsumer, TypedFragment, TypedLoan, TypedProducer, TypedReceived,
};

/// The snippets of the README and of the guide, compiled and run.
#[cfg(all(doctest, feature = "async", feature = "zerocopy", target_os = "linux"))]
mod snippets {
    #[doc = include_str!("../README.md")]
    struct Readme;

    #[doc = include_str!("../GUIDE.md")]
    struct Guide;
}
