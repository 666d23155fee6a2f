//! [`Failure`]: why the bridge ends early, as one line on standard error and an exit status.

use std::fmt;
use std::process::ExitCode;

/// An error message and an exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// The operation failed. Status 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// The arguments or the file of settings are invalid. Status 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    /// Fragments were lost or dropped. Status 3.
    pub fn lost(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 3 }
    }

    /// The exit status.
    pub fn status(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
