//! The borrowed API: channels on storage that the caller owns, without an allocator.
//!
//! The caller makes the parts, in a `static`, on the stack or in a box, and lends them to a producer and
//! its consumers:
//!
//! ```text
//!   MCache<DEPTH>         the ring: metadata of DEPTH fragments, and small payloads
//!   DCache<COUNT, SIZE>   payloads of up to SIZE bytes that do not fit the ring
//!   Fseq                  the sequence number that is published next
//!   Fctl                  credits: the producer waits for one reliable consumer
//! ```
//!
//! | | producer | consumers |
//! |---|---|---|
//! | without flow control | `Producer::new(&mcache, &dcache, &fseq)`: never waits | observers, any number: `Consumer::new`, `Consumer::observing` |
//! | with flow control | `Producer::with_flow_control(.., &fctl)`: waits for the consumer of `fctl` | one reliable: `Consumer::with_flow_control`; observers, any number |
//!
//! What the types guarantee:
//!
//! - There is one producer at a time. A second one is refused, and a later one continues the sequence.
//! - A producer without flow control and a consumer with it are never on the same storage, because the
//!   producer would overwrite what the consumer reads in place. Whichever comes second is refused.
//! - Parts that were used together stay together: a part that was used with other storage is refused.
//!   Storage can be moved while no producer or consumer borrows it.
//!
//! The producer writes `MCache`, `DCache` and `Fseq`, and where it is in `Fctl`. The
//! reliable consumer writes its progress in `Fctl`. Any thread may call
//! [`MCache::stop`](crate::MCache::stop).
//!
//! Each constructor panics if the parts do not fit together; its `try_` form returns the error. Links whose
//! sizes are chosen at run time, with several reliable consumers, or between processes: `Link` (feature
//! `alloc`).
//!
//! # Examples
//!
//! A channel in `static` storage, for a program without an allocator:
//!
//! ```
//! use rust_tango::{Consumer, DCache, Fctl, Fseq, MCache, Producer};
//!
//! static MCACHE: MCache<64> = MCache::new();
//! static DCACHE: DCache<64, 256> = DCache::new();
//! static FSEQ: Fseq = Fseq::new(1);
//! static FCTL: Fctl = Fctl::new(64);
//!
//! let producer = Producer::with_flow_control(&MCACHE, &DCACHE, &FSEQ, &FCTL);
//! let mut consumer = Consumer::with_flow_control(&MCACHE, &DCACHE, &FCTL, 1);
//! producer.publish(b"bid 101.25", 7, 0, 0)?;
//! let fragment = consumer.poll()?.unwrap();
//! assert_eq!((fragment.meta.sig, fragment.payload.as_slice()), (7, &b"bid 101.25"[..]));
//! # Ok::<(), rust_tango::TangoError>(())
//! ```

// Reading order: `identity` (which parts belong together), the parts, `ends` (producers and consumers on
// them), `channel` (all parts at once).
pub(crate) mod identity;

pub(crate) mod mcache;

pub(crate) mod dcache;
pub(crate) mod fctl;
pub(crate) mod fseq;

mod ends;

#[cfg(feature = "alloc")]
pub(crate) mod channel;

#[cfg(feature = "alloc")]
pub use channel::{Channel, ChannelBuilder};
pub use dcache::DCache;
pub use fctl::Fctl;
pub use fseq::Fseq;
pub use mcache::MCache;
