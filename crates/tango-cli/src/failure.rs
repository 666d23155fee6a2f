//! How a subcommand fails: a sentence on standard error, and an exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use rust_tango::{LinkError, LinkErrorKind};

/// Exit status when fragments were lost.
const LOST: u8 = 3;

/// Why a subcommand ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    /// `None`: there is nothing to say, only an exit status to give.
    message: Option<String>,
    status: u8,
}

impl Failure {
    /// What was asked for did not work.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), status: 1 }
    }

    /// What was asked for cannot work.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: 2, ..Self::new(message) }
    }

    /// Not every fragment came through.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self { status: LOST, ..Self::new(message) }
    }

    /// A signal asked this program to end.
    pub(crate) fn signal(number: i32) -> Self {
        Self { message: None, status: 128_u8.saturating_add(number as u8) }
    }

    /// Something failed that has been told already.
    pub(crate) fn told() -> Self {
        Self { message: None, status: 1 }
    }

    /// Standard output failed. That nobody reads it any more is no mistake, as with other filters.
    pub(crate) fn writing(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { message: None, status: 0 };
        }
        Self::new(format!("cannot write to standard output: {error}"))
    }

    /// The sentence, in one line whatever names it contains.
    pub(crate) fn sentence(&self) -> Option<String> {
        self.message.as_ref().map(|message| message.replace(char::is_control, " "))
    }

    /// Says it, and gives the exit status.
    pub(crate) fn tell(&self) -> ExitCode {
        if let Some(sentence) = self.sentence() {
            // Nobody may be there to read it. The exit status says it, too.
            let _ = writeln!(io::stderr(), "tango: {sentence}");
        }
        ExitCode::from(self.status)
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error.kind() {
            LinkErrorKind::Invalid => Self::usage(error.to_string()),
            _ => Self::new(error.to_string()),
        }
    }
}
