//! [`RecvError`] and [`TrySendError`]: the calls that are named as in [`std::sync::mpsc`].
//!
//! [`std::sync::mpsc`]: https://doc.rust-lang.org/std/sync/mpsc/

use core::fmt;

use super::protocol::TangoError;

/// Why [`Consumer::recv`], [`Consumer::try_recv`] or [`Consumer::recv_timeout`] returned no fragment.
///
/// | error | returned by | what to do |
/// |---|---|---|
/// | [`Empty`](Self::Empty) | `try_recv` | try again later |
/// | [`Timeout`](Self::Timeout) | `recv_timeout` | try again |
/// | [`Closed`](Self::Closed) | all | stop |
/// | [`ProducerGone`](Self::ProducerGone) | all | stop, or [wait for another producer][wait] |
/// | [`ProducerReplaced`](Self::ProducerReplaced), [`Lost`](Self::Lost), [`Corrupt`](Self::Corrupt), [`WrongSize`](Self::WrongSize) | all | take note, and call again |
/// | [`Held`](Self::Held) | all | drop the last fragment first |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use rust_tango::{Consumer, RecvError};
///
/// /// Reads until the link is closed.
/// fn run(rx: &Consumer<'_>) -> Result<(), RecvError> {
///     loop {
///         match rx.recv_timeout(Duration::from_secs(1)) {
///             Ok(fragment) => println!("{} bytes", fragment.payload.len()),
///             Err(RecvError::Timeout) => println!("a quiet second"),
///             Err(RecvError::Closed) => return Ok(()),
///             // A supervisor starts it again within ten seconds, say.
///             Err(RecvError::ProducerGone) if rx.wait_for_producer(Some(Duration::from_secs(10))) => {}
///             // Called again, these would only say the same.
///             Err(error @ (RecvError::ProducerGone | RecvError::Held)) => return Err(error),
///             Err(RecvError::Lost { lost, next, .. }) => eprintln!("{lost} lost, continuing with {next}"),
///             Err(error) => eprintln!("{error}"), // and call again
///         }
///     }
/// }
/// # let link = rust_tango::Link::builder().build()?;
/// # let (tx, rx) = (link.producer()?, link.consumer()?);
/// # tx.send(b"one")?;
/// # drop(tx);
/// # run(&rx)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Consumer::recv`]: crate::Consumer::recv
/// [`Consumer::try_recv`]: crate::Consumer::try_recv
/// [`Consumer::recv_timeout`]: crate::Consumer::recv_timeout
/// [wait]: crate::Consumer::wait_for_producer
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// There is no fragment now. One may arrive at any moment.
    Empty,
    /// No fragment came until the time was up.
    Timeout,
    /// The link is closed and drained: the producer was dropped, or the link was stopped, and this consumer has
    /// read everything. A new producer can open the link again, unless it was stopped.
    Closed,
    /// The producer died: its process was killed, or its thread panicked. This consumer has read everything
    /// that it published. Each further call returns this error at once, until a new producer takes the link over.
    ProducerGone,
    /// A new producer has taken the link over from one that died. Reported once. No published fragment is lost.
    ProducerReplaced {
        /// Sequence number of the new producer's first fragment.
        first: u64,
    },
    /// The producer overwrote fragments that this consumer had not read, or left their numbers out
    /// ([`Producer::skip`](crate::Producer::skip)). The next call continues after them.
    Lost {
        /// How many fragments were lost or left out, at least 1.
        lost: u64,
        /// The sequence number at which reading continues.
        next: u64,
        /// Whether the producer stopped waiting for this evictable consumer. It has joined again already.
        /// Otherwise, it was lapped, or the numbers were left out.
        evicted: bool,
    },
    /// The metadata of a fragment is wrong. It was skipped. Only something other than this library writes such
    /// metadata.
    Corrupt {
        /// Sequence number of the skipped fragment.
        seq: u64,
    },
    /// The payload of a fragment has another size than the type that the reader expects. It was skipped. Only readers of
    /// typed messages (feature `zerocopy`) get this error.
    WrongSize {
        /// Sequence number of the skipped fragment.
        seq: u64,
        /// Length of its payload, in bytes.
        size: usize,
        /// Size of the expected type, in bytes.
        expected: usize,
    },
    /// The last [`Received`](crate::Received) of this consumer still lives, or was forgotten. Drop it, and call
    /// again. See [`Consumer`](crate::Consumer#one-fragment-at-a-time).
    Held,
}

impl RecvError {
    /// What a reading call of the other vocabulary reported.
    pub(crate) fn of_reading(error: TangoError) -> Self {
        match error {
            TangoError::Overrun { lost, next } => Self::Lost { lost, next, evicted: false },
            TangoError::Evicted { lost, next } => Self::Lost { lost, next, evicted: true },
            TangoError::Corrupt { seq } => Self::Corrupt { seq },
            TangoError::WrongSize { seq, size, expected } => Self::WrongSize { seq, size, expected },
            TangoError::ProducerGone => Self::ProducerGone,
            TangoError::ProducerReplaced { first } => Self::ProducerReplaced { first },
            other => {
                debug_assert_eq!(other, TangoError::Closed, "not an error of reading");
                Self::Closed
            }
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let same = match *self {
            Self::Empty => return f.write_str("there is no fragment now"),
            Self::Timeout => return f.write_str("no fragment came in time"),
            Self::Held => {
                return f.write_str("the last fragment that was received is still held: drop it first");
            }
            Self::Closed => TangoError::Closed,
            Self::ProducerGone => TangoError::ProducerGone,
            Self::ProducerReplaced { first } => TangoError::ProducerReplaced { first },
            Self::Lost { lost, next, evicted: false } => TangoError::Overrun { lost, next },
            Self::Lost { lost, next, evicted: true } => TangoError::Evicted { lost, next },
            Self::Corrupt { seq } => TangoError::Corrupt { seq },
            Self::WrongSize { seq, size, expected } => TangoError::WrongSize { seq, size, expected },
        };
        same.fmt(f)
    }
}

impl core::error::Error for RecvError {}

/// Why [`Producer::try_send`](crate::Producer::try_send) published nothing. The payload is still the caller's.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, TrySendError};
///
/// let link = Link::builder().depth(2).mtu(64).build()?;
/// let (tx, rx) = (link.producer()?, link.consumer()?);
/// assert_eq!(tx.try_send(&[0; 65]), Err(TrySendError::TooLarge { size: 65, max: 64 }));
/// tx.try_send(b"one")?;
/// tx.try_send(b"two")?;
/// assert_eq!(tx.try_send(b"three"), Err(TrySendError::Full));
/// drop(rx.recv()?); // the consumer returns the credit of the first
/// tx.try_send(b"three")?;
/// link.stop()?;
/// assert_eq!(tx.try_send(b"four"), Err(TrySendError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError {
    /// A reliable consumer still needs what the payload would overwrite. It may return the credit at any
    /// moment: try again later, or call [`Producer::send`](crate::Producer::send), which waits.
    /// [`Producer::held_by`](crate::Producer::held_by) names the consumer's slot.
    Full,
    /// The link was stopped. Nothing can be published into it any more.
    Closed,
    /// The payload is longer than the MTU of the link. [`Producer::send_message`](crate::Producer::send_message)
    /// splits it into fragments.
    TooLarge {
        /// Length of the payload, in bytes.
        size: usize,
        /// The MTU of the link: the largest payload of one fragment, in bytes.
        max: usize,
    },
}

impl TrySendError {
    /// What a publishing call of the other vocabulary reported.
    pub(crate) fn of_publishing(error: TangoError) -> Self {
        match error {
            TangoError::NoCredits => Self::Full,
            TangoError::TooLarge { size, max } => Self::TooLarge { size, max },
            other => {
                debug_assert_eq!(other, TangoError::Closed, "not an error of publishing");
                Self::Closed
            }
        }
    }
}

impl From<TrySendError> for TangoError {
    fn from(error: TrySendError) -> Self {
        match error {
            TrySendError::Full => Self::NoCredits,
            TrySendError::Closed => Self::Closed,
            TrySendError::TooLarge { size, max } => Self::TooLarge { size, max },
        }
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TangoError::from(*self).fmt(f)
    }
}

impl core::error::Error for TrySendError {}
