//! [`ConsumerIter`]: iteration over a consumer.

use super::handle::Consumer;
use super::payload::OwnedFragment;
use crate::error::TangoError;

/// Iterates over what a consumer reads, until the link is closed and drained. Waits like
/// [`Consumer::wait`]. Each item is a copy that owns its bytes, or an error of [`Consumer::poll`].
///
/// After [`TangoError::ProducerGone`] the iterator ends, unless a new producer has attached by then. After
/// other errors it continues.
///
/// # Examples
///
/// ```
/// use rust_tango::Link;
///
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let (tx, rx) = (link.producer()?, link.consumer()?);
/// tx.send(b"one")?;
/// tx.send(b"two")?;
/// drop(tx); // closes the link, so the loop ends
/// for fragment in rx {
///     let fragment = fragment?; // a producer that died is an error
///     println!("{}: {:?}", fragment.meta.seq, fragment.payload);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ConsumerIter<'a> {
    consumer: Consumer<'a>,
    /// The last item was `ProducerGone`. It is reported once.
    gone: bool,
}

impl Iterator for ConsumerIter<'_> {
    type Item = Result<OwnedFragment, TangoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.consumer.wait().map(|fragment| fragment.map(OwnedFragment::from));
        let was_gone = core::mem::replace(&mut self.gone, found == Err(TangoError::ProducerGone));
        if self.gone && was_gone { None } else { found.transpose() }
    }
}

impl<'a> IntoIterator for Consumer<'a> {
    type Item = Result<OwnedFragment, TangoError>;
    type IntoIter = ConsumerIter<'a>;

    fn into_iter(self) -> ConsumerIter<'a> {
        ConsumerIter { consumer: self, gone: false }
    }
}
