//! Typed messages: payloads that are values of one type, read in place (feature `zerocopy`).
//!
//! A payload is bytes. The crate `zerocopy` says of which types values can be bytes and bytes values, at no cost: the
//! derive macros of its traits refuse all others. Payloads are aligned ([`Payload::ALIGNMENT`](crate::Payload)), so a
//! value is read where it lies, in the ring or in a copy.
//!
//! ```text
//!   LinkBuilder -- of::<T>() --> TypedLinkBuilder -- build, create --> TypedLink<T>
//!   Link --------- of::<T>() ----------------------------------------> TypedLink<T>    or an error that names both types
//!
//!   TypedLink ---- producer ---------------> TypedProducer<T>    publish(&T), send(&T), loan
//!        `-------- consumer, observer, ... -> TypedConsumer<T>   poll, recv, ... give a guard, which is a &T
//!
//!   Producer ----- publish_as(&T)            Payload -- as_ref_of::<T>()            on any link
//! ```
//!
//! | | a type needs |
//! |---|---|
//! | to be published | `IntoBytes` and `Immutable`: without padding, references, or cells |
//! | to be read | `FromBytes`, `KnownLayout` and `Immutable`: every sequence of bytes of the right length is a value |
//! | to be the type of a link | [`TypeName`] |
//! | always | an alignment of at most 32 bytes; more does not compile |
//!
//! # What is compared
//!
//! A link that was made by [`LinkBuilder::of`](crate::LinkBuilder::of) remembers the name, the size and the alignment of
//! the type. [`Link::of`](crate::Link::of) compares these three with those of the type that it is asked for. Nothing
//! compares the fields: when a field changes, give the type another name ([`TypeName`]).
//!
//! Nothing keeps a [`Producer`](crate::Producer) from publishing other bytes into a typed link. So the size of each
//! fragment is compared with that of the type, too. One of another size is an error of the reader
//! ([`TangoError::WrongSize`](crate::TangoError)), is skipped, and reading continues. One of the right size is some value
//! of the type, whatever it was meant to be.
//!
//! # Examples
//!
//! ```
//! use rust_tango::{Link, LinkErrorKind, TypeName, TypedFragment};
//! use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
//!
//! #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
//! #[repr(C)]
//! struct Quote {
//!     instrument: u64,
//!     bid: f64,
//!     ask: f64,
//! }
//! impl TypeName for Quote {}
//!
//! let link = Link::builder().depth(1024).of::<Quote>().build()?; // `create(name)` for processes
//! let (tx, mut rx) = (link.producer()?, link.consumer()?);
//! tx.send(&Quote { instrument: 7, bid: 101.25, ask: 101.5 })?;
//! drop(tx); // closes the link
//! while let Some(quote) = rx.wait()? {
//!     assert_eq!((quote.instrument, quote.bid), (7, 101.25)); // in place
//!     assert_eq!(TypedFragment::meta(&quote).seq, 1);
//! }
//!
//! // A program that expects something else is told.
//! let error = link.link().of::<u64>().unwrap_err();
//! assert_eq!(error.kind(), LinkErrorKind::Incompatible);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Reading order: `bytes` (values as payloads, on any link), `producer` and `consumer` (ends of one type), `name` and
// `link` (links that remember their type).
mod bytes;

mod producer;

mod consumer;

#[cfg(feature = "alloc")]
mod name;

#[cfg(feature = "alloc")]
mod link;

pub use bytes::TypedFragment;
pub use consumer::{TypedBatch, TypedBatchIter, TypedConsumer, TypedReceived};
#[cfg(feature = "alloc")]
pub use link::{TypedLink, TypedLinkBuilder};
#[cfg(feature = "alloc")]
pub use name::TypeName;
pub use producer::{TypedLoan, TypedProducer};
