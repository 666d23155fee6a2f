//! [`Failure`]: why a subcommand did not succeed, as one line on standard error and an exit status.

use std::io;
use std::process::ExitCode;

use rust_tango::{LinkError, LinkErrorKind};

use crate::{format, signals, standard};

const FAILED: u8 = 1;
const INVALID_USAGE: u8 = 2;
const FRAGMENTS_LOST: u8 = 3;

/// An error message and an exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    /// `None` if the exit status is all there is to report.
    message: Option<String>,
    status: u8,
}

impl Failure {
    /// The operation failed.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), status: FAILED }
    }

    /// The arguments are invalid.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: INVALID_USAGE, ..Self::new(message) }
    }

    /// Fragments were lost.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self { status: FRAGMENTS_LOST, ..Self::new(message) }
    }

    /// Whether this is [`Self::lost`].
    pub(crate) fn is_loss(&self) -> bool {
        self.status == FRAGMENTS_LOST
    }

    /// Whether the exit status is 0: the reader of standard output has gone.
    pub(crate) fn is_success(&self) -> bool {
        self.status == 0
    }

    /// A signal asked this process to terminate.
    pub(crate) fn signal(number: i32) -> Self {
        Self { message: None, status: 128_u8.saturating_add(number as u8) }
    }

    /// The operation failed, and the message was printed already.
    pub(crate) fn already_reported() -> Self {
        Self { message: None, status: FAILED }
    }

    /// Signals cannot be blocked or received.
    pub(crate) fn signals(error: io::Error) -> Self {
        Self::new(format!("cannot handle signals: {error}"))
    }

    /// A thread cannot be started: at a limit, for example.
    pub(crate) fn thread(error: io::Error) -> Self {
        Self::new(format!("cannot start a thread: {error}"))
    }

    /// Reading standard input failed.
    pub(crate) fn input(error: io::Error) -> Self {
        Self::new(format!("cannot read standard input: {error}"))
    }

    /// Writing to standard output failed. A closed pipe is not a failure: like other filters, the command
    /// then ends silently with status 0.
    pub(crate) fn output(error: io::Error) -> Self {
        match (error.kind(), signals::arrived()) {
            (io::ErrorKind::BrokenPipe, _) => Self { message: None, status: 0 },
            (io::ErrorKind::TimedOut, Some(number)) => Self {
                message: Some(format!(
                    "signal {number} arrived while standard output accepted no data: the end of the output is missing"
                )),
                ..Self::signal(number)
            },
            _ => Self::new(format!("cannot write to standard output: {error}")),
        }
    }

    /// The message on one line, whatever the names in it contain.
    pub(crate) fn message(&self) -> Option<String> {
        self.message.as_deref().map(format::one_line)
    }

    /// Prints the message, and returns the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        if let Some(message) = self.message() {
            standard::write_error(&format!("tango: {message}\n"));
        }
        ExitCode::from(self.status)
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error.kind() {
            LinkErrorKind::Invalid => Self::usage(error.reason()),
            _ => Self::new(error.reason()),
        }
    }
}
