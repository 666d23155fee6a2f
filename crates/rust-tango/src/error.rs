//! What can go wrong: [`TangoError`] on the way of a fragment, [`LinkError`] when a link is made,
//! opened or joined.

use core::fmt;

/// An error on the way of a fragment. Small, `Copy`, and available without an allocator.
///
/// "Nothing there yet" is not an error: that is `Ok(None)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TangoError {
    /// A reliable consumer holds the producer back: the ring, or the payload region, has no room
    /// that every reliable consumer has finished with. Nothing was published; try again later.
    NoCredits {
        /// The slot of the consumer that is farthest behind. `None` if no consumer is in the way: a
        /// link that has no credits at all, or room is missing for the fragment that is under way.
        held_by: Option<usize>,
    },
    /// The payload is longer than the link carries in one fragment. Nothing was published.
    TooLarge {
        /// Length of the payload, in bytes.
        size: usize,
        /// The largest payload of one fragment of this link (its MTU), in bytes.
        max: usize,
    },
    /// The producer lapped this reader. Reading goes on behind the gap with the next call.
    Overrun {
        /// How many fragments were lost to this reader.
        lost: u64,
        /// Sequence number with which reading goes on.
        next: u64,
    },
    /// An evictable consumer has kept the producer waiting for longer than it would, and has lost its
    /// hold on it. It has joined again: reading goes on with the next call, and the producer waits for it
    /// as before.
    Evicted {
        /// How many fragments were lost to this reader.
        lost: u64,
        /// Sequence number with which reading goes on.
        next: u64,
    },
    /// The producer has died: killed, or ended by a panic. Everything that it had published has been read.
    /// Each further call says so again, until a new producer takes the link over.
    ProducerGone,
    /// A new producer has taken the link over from one that had died. Said once to each reader that was
    /// attached, at the latest when it has read all there is; of several in a row, as of one (the last) if the reader
    /// has not asked in between. Nothing that was published is lost; what the
    /// dead producer had in mind to publish is.
    ProducerReplaced {
        /// Sequence number of the first fragment of the new producer.
        first: u64,
    },
    /// The link was stopped, or its producer has ended, so what was asked for cannot happen any more.
    Closed,
    /// The metadata of a fragment points outside of the payload region, or names a size over the
    /// MTU. Only memory that was written by something else than this library can say so. The
    /// fragment is skipped; reading goes on with the next call.
    Corrupt {
        /// Sequence number of the fragment that was skipped.
        seq: u64,
    },
    /// This storage, or this link, already has a living producer.
    ProducerTaken,
    /// Every slot for a reliable consumer is taken (the borrowed API has one).
    ConsumerTaken,
    /// A producer without flow control and a consumer with it cannot live on the same storage: the
    /// producer would overwrite what the consumer still reads.
    FlowControlMismatch,
    /// A part is already bound to other storage: `MCache`, `DCache`, `Fseq` and `Fctl` that have been
    /// used together belong together.
    BoundElsewhere,
    /// The `DCache` has fewer chunks than the `MCache` has lines.
    TooFewChunks {
        /// Chunks of the `DCache`.
        chunks: usize,
        /// Lines of the `MCache`.
        depth: usize,
    },
    /// The scratch buffer of an observing consumer is smaller than one fragment needs.
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
            Self::NoCredits { held_by: Some(slot) } => {
                write!(f, "no credits: the consumer in slot {slot} holds the producer back")
            }
            Self::NoCredits { held_by: None } => f.write_str("no credits, and no consumer to give any back"),
            Self::TooLarge { size, max } => write!(
                f,
                "a payload of {size} bytes is over the MTU of {max} bytes: send it as a message of several fragments, or make the link with a larger MTU"
            ),
            Self::Overrun { lost, next } => {
                write!(f, "overrun: {lost} fragments lost, reading goes on with number {next}")
            }
            Self::Evicted { lost, next } => write!(
                f,
                "evicted for keeping the producer waiting: {lost} fragments lost, reading goes on with number {next}"
            ),
            Self::ProducerGone => f.write_str("the producer has died without closing the link"),
            Self::ProducerReplaced { first } => {
                write!(f, "a new producer has taken the link over, beginning with number {first}")
            }
            Self::Closed => f.write_str("the link is closed"),
            Self::Corrupt { seq } => write!(f, "fragment {seq} has corrupt metadata and was skipped"),
            Self::ProducerTaken => f.write_str("a producer already lives on this link: drop it first"),
            Self::ConsumerTaken => {
                f.write_str("no free slot for a reliable consumer: drop one, or make the link with more")
            }
            Self::FlowControlMismatch => f.write_str(
                "a consumer with flow control needs a producer with flow control on the same Fctl: use Producer::with_flow_control, or Consumer::new",
            ),
            Self::BoundElsewhere => f.write_str(
                "this MCache, DCache, Fseq or Fctl is already bound to other storage: use the parts together that were first used together",
            ),
            Self::TooFewChunks { chunks, depth } => write!(
                f,
                "a DCache of {chunks} chunks is too small for an MCache of {depth} lines: give it at least {depth}"
            ),
            Self::ScratchTooSmall { words, need } => write!(
                f,
                "a scratch buffer of {words} words is too small: one fragment needs {need} words of 8 bytes"
            ),
        }
    }
}

impl core::error::Error for TangoError {}

/// What kind of failure a [`LinkError`] is.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkErrorKind {
    /// An argument (name, depth, MTU, slot size, ...) is out of its range.
    Invalid,
    /// No link of that name.
    NotFound,
    /// A link of that name exists already and is in use.
    InUse,
    /// The producer, or every slot for a reliable consumer, is taken.
    Taken,
    /// The files of the link are not what this version of the library makes, or not what was asked for.
    Incompatible,
    /// Somebody else can write to the link's files, so a zero-copy reader is refused.
    Untrusted,
    /// The operating system refused: no space, no permission, too many files, ...
    System,
    /// An error of the protocol itself, see [`LinkError::protocol`].
    Protocol,
}

/// Why a link could not be made, opened or joined: a sentence for people, a kind for programs.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct LinkError {
    kind: LinkErrorKind,
    message: alloc::string::String,
    protocol: Option<TangoError>,
    #[cfg(feature = "std")]
    source: Option<std::io::Error>,
}

#[cfg(feature = "alloc")]
impl LinkError {
    pub(crate) fn new(kind: LinkErrorKind, message: impl Into<alloc::string::String>) -> Self {
        Self {
            kind,
            message: message.into(),
            protocol: None,
            #[cfg(feature = "std")]
            source: None,
        }
    }

    /// A call to the operating system failed while doing `what` ("cannot create /dev/shm/...").
    #[cfg(feature = "shm")]
    pub(crate) fn system(what: impl Into<alloc::string::String>, source: impl Into<std::io::Error>) -> Self {
        Self { source: Some(source.into()), ..Self::new(LinkErrorKind::System, what) }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> LinkErrorKind {
        self.kind
    }

    /// The error of the protocol behind it, if it is one.
    pub fn protocol(&self) -> Option<TangoError> {
        self.protocol
    }

    /// What the operating system said, if it refused: to tell, for example, a full disk
    /// ([`StorageFull`](std::io::ErrorKind::StorageFull)) from a missing permission. It is part of the sentence
    /// already, and so not the [`source`](core::error::Error::source) of this error.
    #[cfg(feature = "std")]
    pub fn io_error(&self) -> Option<&std::io::Error> {
        self.source.as_ref()
    }

    /// No link of that name (yet).
    pub fn is_not_found(&self) -> bool {
        self.kind == LinkErrorKind::NotFound
    }
}

#[cfg(feature = "alloc")]
impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        #[cfg(feature = "std")]
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

#[cfg(feature = "alloc")]
impl core::error::Error for LinkError {}

#[cfg(feature = "alloc")]
impl From<TangoError> for LinkError {
    fn from(error: TangoError) -> Self {
        let kind = match error {
            TangoError::ProducerTaken | TangoError::ConsumerTaken => LinkErrorKind::Taken,
            _ => LinkErrorKind::Protocol,
        };
        Self { protocol: Some(error), ..Self::new(kind, alloc::format!("{error}")) }
    }
}
