//! [`TangoError`]: publishing, reading, and attaching to borrowed storage.

use core::fmt;

/// An error of the protocol: publishing, reading, or attaching to borrowed storage.
///
/// It is small, `Copy`, and available without an allocator. "Nothing there yet" is not an error: reading
/// calls return `Ok(None)` for it.
///
/// | returned by | errors |
/// |---|---|
/// | publishing | [`NoCredits`](Self::NoCredits), [`TooLarge`](Self::TooLarge), [`Closed`](Self::Closed) |
/// | reading | [`Overrun`](Self::Overrun), [`Evicted`](Self::Evicted), [`Corrupt`](Self::Corrupt), [`WrongSize`](Self::WrongSize), [`ProducerGone`](Self::ProducerGone), [`ProducerReplaced`](Self::ProducerReplaced) |
/// | set-up, both APIs | [`ProducerTaken`](Self::ProducerTaken), [`ConsumerTaken`](Self::ConsumerTaken) |
/// | set-up, borrowed API | [`FlowControlMismatch`](Self::FlowControlMismatch), [`BoundElsewhere`](Self::BoundElsewhere), [`TooFewChunks`](Self::TooFewChunks), [`ScratchTooSmall`](Self::ScratchTooSmall) |
///
/// A set-up error of a [`Link`](crate::Link) comes as a [`LinkError`](crate::LinkError), whose
/// [`protocol`](crate::LinkError::protocol) returns the `TangoError` behind it.
///
/// # Examples
///
/// A reader that handles each kind of error:
///
/// ```
/// use rust_tango::{Consumer, TangoError};
///
/// /// Reads what is there. False: there is nothing more to wait for.
/// fn drain(rx: &mut Consumer<'_>) -> bool {
///     loop {
///         match rx.poll() {
///             Ok(Some(fragment)) => println!("{} bytes", fragment.payload.len()),
///             Ok(None) => break, // nothing there now
///             // Fragments were lost. The next call continues after the gap.
///             Err(TangoError::Overrun { lost, .. } | TangoError::Evicted { lost, .. }) => {
///                 eprintln!("{lost} fragments lost");
///             }
///             Err(TangoError::Corrupt { seq }) => eprintln!("skipped fragment {seq}"),
///             Err(TangoError::ProducerReplaced { first }) => eprintln!("new producer, from {first} on"),
///             // The producer crashed. Give up, or wait for the next one.
///             Err(error) => {
///                 eprintln!("{error}");
///                 return false;
///             }
///         }
///     }
///     !rx.is_closed()
/// }
/// # let link = rust_tango::Link::builder().build()?;
/// # let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// # tx.send(b"one")?;
/// # assert!(drain(&mut rx));
/// # drop(tx);
/// # assert!(!drain(&mut rx));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TangoError {
    // Publishing.
    /// A reliable consumer still needs what this fragment would overwrite, in the ring or in the payload
    /// region. Nothing was published. Try again later.
    ///
    /// [`Producer::held_by`](crate::Producer::held_by) names the slot of the consumer.
    NoCredits,
    /// The payload is longer than the MTU of the link. Nothing was published.
    ///
    /// [`Producer::send_message`](crate::Producer::send_message) splits a longer message into fragments.
    TooLarge {
        /// Length of the payload, in bytes.
        size: usize,
        /// The MTU of the link: the largest payload of one fragment, in bytes.
        max: usize,
    },
    /// The link was stopped, by [`Link::stop`](crate::Link::stop), [`MCache::stop`](crate::MCache::stop) or
    /// `tango rm --force`. Nothing was published, and nothing can be published into this link any more. (Of a
    /// message of several fragments, the first may have been published before.)
    Closed,

    // Reading.
    /// Fragments are missing. The next call continues after the gap. Either of these has happened:
    ///
    /// - The producer lapped this reader, and overwrote fragments that it had not read. A reliable consumer is not
    ///   lapped. (If it joined at a number that was gone already, it gets this error first.)
    /// - The producer left these numbers out ([`Producer::skip`](crate::Producer::skip)). Every reader gets this error
    ///   then, a reliable consumer as well.
    Overrun {
        /// How many fragments this reader lost, or how many numbers were left out: at least 1.
        lost: u64,
        /// The sequence number at which reading continues.
        next: u64,
    },
    /// This evictable consumer kept the producer waiting for longer than the producer's patience, and the
    /// producer stopped waiting for it. The consumer has already joined again: the next call continues
    /// after the gap, and the producer waits for it as before.
    Evicted {
        /// How many fragments this reader lost.
        lost: u64,
        /// The sequence number at which reading continues.
        next: u64,
    },
    /// The metadata of a fragment points outside the payload region, or names a size over the MTU. Only
    /// memory that was written by something other than this library can contain such metadata. The
    /// fragment was skipped. The next call continues after it.
    Corrupt {
        /// Sequence number of the skipped fragment.
        seq: u64,
    },
    /// The payload of a fragment has another size than the type that the reader expects: a producer of bytes has
    /// published it. The fragment was skipped. The next call continues after it. Only readers of typed messages (feature
    /// `zerocopy`) get this error.
    WrongSize {
        /// Sequence number of the skipped fragment.
        seq: u64,
        /// Length of its payload, in bytes.
        size: usize,
        /// Size of the expected type, in bytes.
        expected: usize,
    },
    /// The producer died: its process was killed, or its thread panicked. This reader has read everything
    /// that it published. Each further call returns this error until a new producer takes the link over.
    ProducerGone,
    /// A new producer has taken the link over from one that died.
    ///
    /// Each reader that was attached at that time gets this error once, at the latest when it has read all
    /// there is. After several takeovers between two reads, it is reported once, for the last of them. No
    /// published fragment is lost. What the dead producer had not published yet is lost.
    ProducerReplaced {
        /// Sequence number of the new producer's first fragment.
        first: u64,
    },

    // Set-up.
    /// This storage, or this link, already has a living producer.
    ProducerTaken,
    /// All slots for reliable consumers are taken. (The borrowed API has one slot.)
    ConsumerTaken,
    /// A producer without flow control and a consumer with flow control cannot share storage: the producer
    /// would overwrite what the consumer still reads.
    FlowControlMismatch,
    /// One of the parts is already bound to other storage. An `MCache`, `DCache`, `Fseq` and `Fctl` that
    /// were once used together can only be used together.
    BoundElsewhere,
    /// The `DCache` has fewer chunks than the `MCache` has lines.
    TooFewChunks {
        /// Chunks of the `DCache`.
        chunks: usize,
        /// Lines of the `MCache`.
        depth: usize,
    },
    /// The scratch buffer of an observer is smaller than one fragment of this link needs.
    ScratchTooSmall {
        /// Size of the buffer, in words of 8 bytes.
        words: usize,
        /// What one fragment of this link needs, in words of 8 bytes.
        need: usize,
    },
}

impl fmt::Display for TangoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoCredits => f.write_str("no credits: a consumer has not finished with the oldest fragments"),
            Self::TooLarge { size, max } => write!(
                f,
                "a payload of {size} bytes is over the MTU of {max} bytes: send it as a message of several fragments, or make the link with a larger MTU"
            ),
            Self::Closed => f.write_str("the link is closed"),
            Self::Overrun { lost, next } => {
                write!(f, "overrun: {lost} fragments lost, reading continues with fragment {next}")
            }
            Self::Evicted { lost, next } => write!(
                f,
                "evicted for keeping the producer waiting: {lost} fragments lost, reading continues with fragment {next}"
            ),
            Self::Corrupt { seq } => write!(f, "fragment {seq} has corrupt metadata and was skipped"),
            Self::WrongSize { seq, size, expected } => write!(
                f,
                "fragment {seq} has {size} bytes instead of the {expected} of the expected type, and was skipped"
            ),
            Self::ProducerGone => f.write_str("the producer died without closing the link"),
            Self::ProducerReplaced { first } => {
                write!(f, "a new producer has taken the link over, starting with fragment {first}")
            }
            Self::ProducerTaken => f.write_str("this link already has a producer: drop it first"),
            Self::ConsumerTaken => f.write_str(
                "no free slot for a reliable consumer: drop a consumer, or make the link with more slots",
            ),
            Self::FlowControlMismatch => f.write_str(
                "a consumer with flow control needs a producer with flow control on the same Fctl: use Producer::with_flow_control, or Consumer::new",
            ),
            Self::BoundElsewhere => f.write_str(
                "this MCache, DCache, Fseq or Fctl is already bound to other storage: use it only with the parts that it was first used with",
            ),
            Self::TooFewChunks { chunks, depth } => write!(
                f,
                "a DCache of {chunks} chunks is too small for an MCache of {depth} lines: it needs at least {depth} chunks"
            ),
            Self::ScratchTooSmall { words, need } => write!(
                f,
                "a scratch buffer of {words} words is too small: one fragment needs {need} words of 8 bytes"
            ),
        }
    }
}

impl core::error::Error for TangoError {}
