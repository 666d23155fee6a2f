//! [`LinkError`]: making, opening and joining a link.

use core::fmt;

use super::protocol::TangoError;

/// The kind of a [`LinkError`], for programs to match on. [`LinkError`] has an example.
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
    /// The files of the link do not have the format of this version of the library, or the link does not have the
    /// sizes or the payload type that were asked for.
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
enum Message {
    Text(alloc::string::String),
    /// A sentence that takes long to find, and that many callers never show. It is found when it is shown.
    #[cfg(feature = "shm")]
    WhenShown(alloc::boxed::Box<dyn fmt::Display + Send + Sync>),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            #[cfg(feature = "shm")]
            Self::WhenShown(message) => write!(f, "{message}"),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", alloc::format!("{self}"))
    }
}

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

impl core::error::Error for LinkError {}

impl From<TangoError> for LinkError {
    fn from(error: TangoError) -> Self {
        let kind = match error {
            TangoError::ProducerTaken | TangoError::ConsumerTaken => LinkErrorKind::Taken,
            _ => LinkErrorKind::Protocol,
        };
        Self { protocol: Some(error), ..Self::new(kind, alloc::format!("{error}")) }
    }
}
