//! The two error types: [`TangoError`] for publishing and reading, [`LinkError`] for making, opening and
//! joining a link.
//!
//! "Nothing there yet" is never an error. It is `Ok(None)`.

use core::fmt;

/// An error of the protocol: publishing, reading, or attaching to borrowed storage.
///
/// It is small, `Copy`, and available without an allocator. "Nothing there yet" is not an error: reading
/// calls return `Ok(None)` for it.
///
/// | returned by | errors |
/// |---|---|
/// | publishing | [`NoCredits`](Self::NoCredits), [`TooLarge`](Self::TooLarge), [`Closed`](Self::Closed) |
/// | reading | [`Overrun`](Self::Overrun), [`Evicted`](Self::Evicted), [`Corrupt`](Self::Corrupt), [`ProducerGone`](Self::ProducerGone), [`ProducerReplaced`](Self::ProducerReplaced) |
/// | set-up, both APIs | [`ProducerTaken`](Self::ProducerTaken), [`ConsumerTaken`](Self::ConsumerTaken) |
/// | set-up, borrowed API | [`FlowControlMismatch`](Self::FlowControlMismatch), [`BoundElsewhere`](Self::BoundElsewhere), [`TooFewChunks`](Self::TooFewChunks), [`ScratchTooSmall`](Self::ScratchTooSmall) |
///
/// A set-up error of a [`Link`](crate::Link) comes as a [`LinkError`]; [`LinkError::protocol`] returns the
/// `TangoError` behind it.
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
    /// The producer lapped this reader, and overwrote fragments that it had not read. The next call
    /// continues after the gap.
    Overrun {
        /// How many fragments this reader lost.
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

/// The kind of a [`LinkError`], for programs to match on. [`LinkError`] has an example.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkErrorKind {
    /// An argument (name, depth, MTU, slot size, ...) is out of range, or the call is not possible on this
    /// link or in a forked child.
    Invalid,
    /// There is no link of that name (yet), or it was removed.
    NotFound,
    /// A link of that name exists and is in use.
    InUse,
    /// The link already has a producer, or all slots for reliable consumers are taken.
    Taken,
    /// The files of the link do not have the format of this version of the library, or the sizes that were
    /// asked for.
    Incompatible,
    /// The link exists, but one of its files is missing: something other than this library has deleted it. Remove
    /// the link and create it again. Its producer, if it lives, ends the link within about a second.
    Damaged,
    /// The link's files cannot be trusted: another user could write to them, one is a symbolic link or has a
    /// second name, or they are on a filesystem that is not known to give all processes the same memory. See
    /// [`LinkError::observer_may_join`].
    Untrusted,
    /// A system call failed: no space, no permission, too many open files, ... See
    /// [`LinkError::io_error`].
    System,
    /// Any other error of the protocol. See [`LinkError::protocol`].
    Protocol,
}

/// Why a link could not be made, opened or joined.
///
/// [`Display`](fmt::Display) is a sentence for people, with the numbers and paths that it is about.
/// [`reason`](Self::reason) is that sentence without the names of calls to use instead.
/// [`kind`](Self::kind) is for programs.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, LinkErrorKind, TangoError};
///
/// let link = Link::builder().depth(8).build()?;
/// let first = link.producer()?;
/// let error = link.producer().unwrap_err();
/// assert_eq!(error.kind(), LinkErrorKind::Taken);
/// assert_eq!(error.protocol(), Some(TangoError::ProducerTaken));
/// assert_eq!(error.to_string(), "this link already has a producer: drop it first");
///
/// let error = Link::builder().depth(1000).build().unwrap_err();
/// assert_eq!(error.kind(), LinkErrorKind::Invalid); // not a power of two
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct LinkError {
    kind: LinkErrorKind,
    message: Message,
    /// Which calls of this library can be used instead.
    advice: Option<&'static str>,
    observer_may_join: bool,
    protocol: Option<TangoError>,
    #[cfg(feature = "std")]
    source: Option<std::io::Error>,
}

/// The sentence of a [`LinkError`].
#[cfg(feature = "alloc")]
enum Message {
    Text(alloc::string::String),
    /// A sentence that takes long to find, and that many callers never show. It is found when it is shown.
    #[cfg(feature = "shm")]
    WhenShown(alloc::boxed::Box<dyn fmt::Display + Send + Sync>),
}

#[cfg(feature = "alloc")]
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            #[cfg(feature = "shm")]
            Self::WhenShown(message) => write!(f, "{message}"),
        }
    }
}

#[cfg(feature = "alloc")]
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", alloc::format!("{self}"))
    }
}

#[cfg(feature = "alloc")]
impl LinkError {
    pub(crate) fn new(kind: LinkErrorKind, message: impl Into<alloc::string::String>) -> Self {
        Self::with(kind, Message::Text(message.into()))
    }

    /// An error whose message is found when it is shown for the first time.
    #[cfg(feature = "shm")]
    pub(crate) fn when_shown(
        kind: LinkErrorKind,
        message: impl fmt::Display + Send + Sync + 'static,
    ) -> Self {
        Self::with(kind, Message::WhenShown(alloc::boxed::Box::new(message)))
    }

    fn with(kind: LinkErrorKind, message: Message) -> Self {
        Self {
            kind,
            message,
            advice: None,
            observer_may_join: false,
            protocol: None,
            #[cfg(feature = "std")]
            source: None,
        }
    }

    /// A system call failed while the library was doing `what` ("cannot create /dev/shm/...").
    #[cfg(feature = "shm")]
    pub(crate) fn system(what: impl Into<alloc::string::String>, source: impl Into<std::io::Error>) -> Self {
        Self { source: Some(source.into()), ..Self::new(LinkErrorKind::System, what) }
    }

    /// Adds which calls of this library can be used instead.
    #[cfg(feature = "shm")]
    pub(crate) fn with_advice(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }

    /// An observer can join where this reader was refused.
    #[cfg(feature = "shm")]
    pub(crate) fn but_observer_may_join(self) -> Self {
        Self { observer_may_join: true, ..self }
    }

    /// The kind of failure, to match on.
    pub fn kind(&self) -> LinkErrorKind {
        self.kind
    }

    /// The [`TangoError`] behind this error, if it is one of the protocol
    /// ([`LinkErrorKind::Taken`], [`LinkErrorKind::Protocol`]).
    pub fn protocol(&self) -> Option<TangoError> {
        self.protocol
    }

    /// The error of the operating system, if a system call failed. With it, a program can tell a full disk
    /// ([`StorageFull`](std::io::ErrorKind::StorageFull)) from a missing permission, for example.
    ///
    /// The message of this error contains it already, so it is not the
    /// [`source`](core::error::Error::source).
    #[cfg(feature = "std")]
    pub fn io_error(&self) -> Option<&std::io::Error> {
        self.source.as_ref()
    }

    /// What went wrong, without advice that names calls of this library.
    ///
    /// For programs that show the error to people who did not write them. [`Display`](fmt::Display) adds
    /// the advice.
    pub fn reason(&self) -> alloc::string::String {
        #[cfg_attr(not(feature = "std"), allow(unused_mut))]
        let mut reason = alloc::format!("{}", self.message);
        #[cfg(feature = "std")]
        if let Some(source) = &self.source {
            reason += &alloc::format!(": {source}");
            #[cfg(feature = "shm")]
            if source.raw_os_error() == Some(nix::libc::EMFILE) {
                reason += &limit_on_files();
            }
        }
        reason
    }

    /// Whether an observer can join the link where this reader was refused: it needs neither trust in other
    /// users nor permission to write.
    pub fn observer_may_join(&self) -> bool {
        self.observer_may_join
    }

    /// Whether there is no link of that name (yet). A program that starts before the link exists can try
    /// again in this case.
    pub fn is_not_found(&self) -> bool {
        self.kind == LinkErrorKind::NotFound
    }
}

#[cfg(feature = "alloc")]
impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        self.advice.map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

/// What the limit on open files is, and what links need of it.
#[cfg(feature = "shm")]
fn limit_on_files() -> alloc::string::String {
    use nix::sys::resource::{Resource, getrlimit};
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    let limit =
        limit.map(|(limit, _)| alloc::format!("this process may have {limit} at a time: ulimit -n; "));
    alloc::format!(
        " ({}an open link needs up to 5, and its producer one more for each consumer slot)",
        limit.unwrap_or_default()
    )
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
