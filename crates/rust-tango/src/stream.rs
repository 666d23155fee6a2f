//! [`FragmentStream`]: the fragments of an [`AsyncConsumer`] as a `Stream`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};

use crate::consumer::payload::OwnedFragment;
use crate::error::TangoError;
use crate::live::AsyncConsumer;

/// The fragments of an [`AsyncConsumer`] as a [`Stream`] of owned copies. [`AsyncConsumer::into_stream`] makes one.
///
/// A stream hands out items that outlive the next call, so each fragment is copied into memory of its own, and its
/// credit returns at once. [`AsyncConsumer::recv`] reads in place.
///
/// An error is an item. It is the last one if it is [`TangoError::ProducerGone`], which a reader would otherwise get
/// over and over. The stream also ends when the link is closed and everything was read. [`into_inner`](Self::into_inner)
/// returns the consumer, for example to wait for the next producer.
///
/// # Examples
///
/// ```
/// use futures_core::Stream;
/// use rust_tango::{Link, OwnedFragment, TangoError};
///
/// /// Any code that takes a stream.
/// async fn sizes(mut fragments: impl Stream<Item = Result<OwnedFragment, TangoError>> + Unpin) -> Result<usize, TangoError> {
///     let mut bytes = 0;
///     // `StreamExt::next` of the crate `futures` does the same.
///     while let Some(fragment) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut fragments).poll_next(cx)).await {
///         bytes += fragment?.payload.len();
///     }
///     Ok(bytes)
/// }
///
/// let link = Link::builder().build()?;
/// let (tx, rx) = (link.producer()?, link.consumer()?);
/// tx.send(b"bid 101.25")?;
/// drop(tx); // closes the link
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// assert_eq!(runtime.block_on(sizes(rx.into_async()?.into_stream()))?, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FragmentStream {
    rx: AsyncConsumer,
    has_ended: bool,
}

impl AsyncConsumer {
    /// Makes this a [`Stream`] of owned copies, for combinators and select loops. See [`FragmentStream`], which has an
    /// example.
    pub fn into_stream(self) -> FragmentStream {
        FragmentStream { rx: self, has_ended: false }
    }
}

impl FragmentStream {
    /// Returns the consumer, to go on in another way. No fragment is lost.
    pub fn into_inner(self) -> AsyncConsumer {
        self.rx
    }
}

impl Stream for FragmentStream {
    type Item = Result<OwnedFragment, TangoError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let item =
            ready!(self.rx.poll_next(cx)).map(|fragment| fragment.map(OwnedFragment::from)).transpose();
        self.has_ended = matches!(item, None | Some(Err(TangoError::ProducerGone)));
        Poll::Ready(item)
    }
}

impl FusedStream for FragmentStream {
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}
