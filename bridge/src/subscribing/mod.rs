//! [`Subscribing`]: links that are received from the network.

use crate::context::Context;
use crate::failure::Failure;
use crate::settings::Subscribe;

/// The links of one [`Subscribe`], and the threads that publish into them.
#[derive(Debug)]
pub struct Subscribing {}

impl Subscribing {
    /// Subscribes to the key, and begins to make links for what arrives.
    ///
    /// # Errors
    ///
    /// The key or the settings are invalid, or the network refuses.
    pub fn start(_context: &Context, _subscribe: Subscribe) -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Waits until all of it has ended. Call it after [`Stop::set`](crate::context::Stop::set).
    pub fn join(self) {}
}
