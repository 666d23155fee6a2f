//! Why a run fails. A wrong argument is told apart from anything else: the program ends with another code.

use std::error::Error;

#[derive(Debug)]
pub(crate) enum Failure {
    /// An argument that cannot be followed: which, and what would be right.
    Usage(String),
    /// Anything else.
    Other(Box<dyn Error>),
}

impl Failure {
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into().into())
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}
