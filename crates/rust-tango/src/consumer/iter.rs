//! Iteration over a consumer, by fragments that own their bytes.

use super::payload::OwnedFragment;
use super::poll::Consumer;
use crate::error::TangoError;

/// Iterates over what a consumer reads, until the link is closed and drained. Waits like
/// [`Consumer::wait`]; each fragment is a copy that owns its bytes. Behind [`TangoError::ProducerGone`] it
/// ends, unless there is a new producer by then.
#[derive(Debug)]
pub struct ConsumerIter<'a> {
    consumer: Consumer<'a>,
    /// The death of the producer has been told: once is enough.
    gone: bool,
}

impl Iterator for ConsumerIter<'_> {
    type Item = Result<OwnedFragment, TangoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.consumer.wait().map(|fragment| fragment.map(OwnedFragment::from));
        let is_told = core::mem::replace(&mut self.gone, found == Err(TangoError::ProducerGone));
        if self.gone && is_told { None } else { found.transpose() }
    }
}

impl<'a> IntoIterator for Consumer<'a> {
    type Item = Result<OwnedFragment, TangoError>;
    type IntoIter = ConsumerIter<'a>;

    fn into_iter(self) -> ConsumerIter<'a> {
        ConsumerIter { consumer: self, gone: false }
    }
}
