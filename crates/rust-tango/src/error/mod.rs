//! The errors.
//!
//! - `protocol`: [`TangoError`], of publishing and reading, and of attaching to borrowed storage. "Nothing
//!   there yet" is no error there: it is `Ok(None)`.
//! - `channel`: [`RecvError`] and [`TrySendError`], of the calls that have the names and the manners of
//!   [`std::sync::mpsc`]. There, each reason for not returning a fragment is an error of its own.
//! - `link`: [`LinkError`], of making, opening and joining a link.
//!
//! [`std::sync::mpsc`]: https://doc.rust-lang.org/std/sync/mpsc/

mod protocol;

mod channel;

#[cfg(feature = "alloc")]
mod link;

pub use channel::{RecvError, TrySendError};
#[cfg(feature = "alloc")]
pub use link::{LinkError, LinkErrorKind};
pub use protocol::TangoError;
