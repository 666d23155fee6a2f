//! [`TypedConsumer`]: a reader of values of one type.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::bytes::{TypedFragment, assert_alignment, check_size};
use crate::consumer::batch::{Batch, BatchIter};
use crate::consumer::payload::Fragment;
use crate::consumer::{Consumer, Received};
use crate::error::{RecvError, TangoError};
use crate::ring::metadata::FragmentMetadata;

/// A [`Consumer`] that reads values of type `T`, in place. [`TypedLink`](crate::TypedLink) makes one: reliable,
/// evictable, or an observer.
///
/// Each call that reads compares the size of the payload with that of `T`. If they differ, it returns
/// [`TangoError::WrongSize`], or [`RecvError::WrongSize`]: only a [`Producer`](crate::Producer) of bytes can have published such a fragment. The
/// fragment counts as read, and the next call continues after it.
///
/// For what is not here: [`consumer_mut`](Self::consumer_mut), and [`Fragment::into_typed`] for the fragments of
/// `AsyncConsumer` and others.
///
/// # Examples
///
/// See [`TypedConsumer::poll`].
#[derive(Debug)]
pub struct TypedConsumer<'a, T> {
    consumer: Consumer<'a>,
    of: PhantomData<fn() -> T>,
}

impl<'a, T> TypedConsumer<'a, T> {
    /// Makes a consumer one of values of type `T`, on a link that does not remember a type, such as borrowed storage.
    /// Nothing but the size of each payload is compared. See [`TypedProducer::new`](crate::TypedProducer::new) for an
    /// example.
    pub fn new(consumer: Consumer<'a>) -> Self {
        assert_alignment::<T>();
        Self { consumer, of: PhantomData }
    }

    /// The consumer, for questions. What is received from it as bytes does not come here any more.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let rx = Link::builder().of::<u64>().build()?.consumer()?;
    /// assert!(rx.consumer().is_reliable());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn consumer(&self) -> &Consumer<'a> {
        &self.consumer
    }

    /// The consumer, for everything that is not about values, and to read a fragment of another size as bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().of::<u64>().build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// assert!(rx.consumer_mut().wait_for_producer(Some(Duration::ZERO)));
    /// # drop(tx);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn consumer_mut(&mut self) -> &mut Consumer<'a> {
        &mut self.consumer
    }

    /// Changes settings of the consumer.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Wait};
    ///
    /// let link = Link::builder().of::<u64>().build()?;
    /// let mut rx = link.consumer()?.map(|rx| rx.with_wait(Wait::Spin));
    /// # link.producer()?.send(&7)?;
    /// assert_eq!(*rx.wait()?.unwrap(), 7);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use]
    pub fn map(self, change: impl FnOnce(Consumer<'a>) -> Consumer<'a>) -> Self {
        Self { consumer: change(self.consumer), ..self }
    }

    /// The consumer, which reads bytes. See [`Fragment::into_typed`] for how to continue with values.
    pub fn into_consumer(self) -> Consumer<'a> {
        self.consumer
    }

    /// Whether nothing more will come, and everything was read: see [`Consumer::is_closed`], and
    /// [`TypedConsumer::poll`] for an example.
    pub fn is_closed(&self) -> bool {
        self.consumer.is_closed()
    }
}

impl<T: FromBytes + KnownLayout + Immutable> TypedConsumer<'_, T> {
    /// The next value, if it is there. Never blocks: see [`Consumer::poll`].
    ///
    /// # Errors
    ///
    /// As [`Consumer::poll`]; also [`TangoError::WrongSize`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{TangoError, TypedConsumer};
    ///
    /// /// Reads until the link is closed. A producer that died is an error.
    /// fn sum(rx: &mut TypedConsumer<'_, u64>) -> Result<u64, TangoError> {
    ///     let mut sum = 0;
    ///     loop {
    ///         if let Some(number) = rx.poll()? {
    ///             sum += *number;
    ///         } else if rx.is_closed() {
    ///             return Ok(sum);
    ///         }
    ///     }
    /// }
    /// # let link = rust_tango::Link::builder().of::<u64>().build().unwrap();
    /// # let mut rx = link.consumer().unwrap();
    /// # link.producer().unwrap().send(&7).unwrap();
    /// # assert_eq!(sum(&mut rx), Ok(7));
    /// ```
    #[inline(always)] // as `Consumer::poll`
    pub fn poll(&mut self) -> Result<Option<TypedFragment<'_, T>>, TangoError> {
        typed(self.consumer.poll())
    }

    /// The next value. Waits until there is one: see [`Consumer::recv`], also for deadlocks. Reads through a shared
    /// reference, one value at a time.
    ///
    /// # Errors
    ///
    /// As [`Consumer::recv`]; also [`RecvError::WrongSize`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, RecvError, TypedReceived};
    ///
    /// let link = Link::builder().depth(8).of::<u64>().build()?;
    /// let (tx, rx) = (link.producer()?, link.consumer()?);
    /// tx.send(&7)?;
    /// drop(tx); // closes the link
    /// let number = rx.recv()?;
    /// assert_eq!((*number, TypedReceived::meta(&number).seq), (7, 1));
    /// drop(number);
    /// assert_eq!(rx.recv().unwrap_err(), RecvError::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<TypedReceived<'_, T>, RecvError> {
        TypedReceived::of(self.consumer.recv()?)
    }

    /// The next value, if it is there. Never blocks: see [`Consumer::try_recv`], and [`TypedConsumer::recv`] for an
    /// example.
    ///
    /// # Errors
    ///
    /// As [`Consumer::try_recv`]; also [`RecvError::WrongSize`].
    #[inline]
    pub fn try_recv(&self) -> Result<TypedReceived<'_, T>, RecvError> {
        TypedReceived::of(self.consumer.try_recv()?)
    }

    /// [`TypedConsumer::recv`] for `timeout` at most: see [`Consumer::recv_timeout`], which has an example.
    ///
    /// # Errors
    ///
    /// As [`Consumer::recv_timeout`]; also [`RecvError::WrongSize`].
    #[cfg(feature = "std")]
    pub fn recv_timeout(&self, timeout: core::time::Duration) -> Result<TypedReceived<'_, T>, RecvError> {
        TypedReceived::of(self.consumer.recv_timeout(timeout)?)
    }

    /// [`TypedConsumer::poll`] that skips fragments whose `sig` is not accepted, whatever their size: see
    /// [`Consumer::poll_if`], which has an example.
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::poll`].
    pub fn poll_if(
        &mut self,
        accept: impl FnMut(u64) -> bool,
    ) -> Result<Option<TypedFragment<'_, T>>, TangoError> {
        typed(self.consumer.poll_if(accept))
    }

    /// The next value. Waits until there is one: see [`Consumer::wait`], also for deadlocks. `Ok(None)`: the link is
    /// closed and drained. See [`TypedProducer::send`](crate::TypedProducer::send) for an example.
    ///
    /// # Errors
    ///
    /// As [`Consumer::wait`]; also [`TangoError::WrongSize`].
    pub fn wait(&mut self) -> Result<Option<TypedFragment<'_, T>>, TangoError> {
        typed(self.consumer.wait())
    }

    /// [`TypedConsumer::wait`] for `timeout` at most: see [`Consumer::wait_timeout`], which has an example.
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::wait`].
    #[cfg(feature = "std")]
    pub fn wait_timeout(
        &mut self,
        timeout: core::time::Duration,
    ) -> Result<Option<TypedFragment<'_, T>>, TangoError> {
        typed(self.consumer.wait_timeout(timeout))
    }

    /// Calls `each` with every value, in place, until the link is closed and drained: see [`Consumer::for_each`].
    ///
    /// # Errors
    ///
    /// As [`TypedConsumer::wait`]. To continue after an error, call it again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().of::<u64>().build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(&7)?;
    /// drop(tx); // closes the link, so the call returns
    /// rx.for_each(|meta, number| println!("{}: {number}", meta.seq))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_each(&mut self, mut each: impl FnMut(&FragmentMetadata, &T)) -> Result<(), TangoError> {
        while let Some(value) = self.wait()? {
            each(TypedFragment::meta(&value), &value);
        }
        Ok(())
    }

    /// Up to `max` values that are there now: see [`Consumer::poll_batch`].
    ///
    /// # Errors
    ///
    /// As [`Consumer::poll_batch`]. A fragment of the wrong size is an error where it is in the batch.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().of::<u64>().build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// (1..=3).try_for_each(|number| tx.send(&number))?;
    /// let mut sum = 0;
    /// for number in &rx.poll_batch(32)? {
    ///     sum += *number?;
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn poll_batch(&mut self, max: usize) -> Result<TypedBatch<'_, T>, TangoError> {
        Ok(TypedBatch { batch: self.consumer.poll_batch(max)?, of: PhantomData })
    }
}

#[inline(always)]
fn typed<T: FromBytes + KnownLayout + Immutable>(
    found: Result<Option<Fragment<'_>>, TangoError>,
) -> Result<Option<TypedFragment<'_, T>>, TangoError> {
    match found {
        Ok(Some(fragment)) => fragment.into_typed().map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A value from [`TypedConsumer::recv`], [`TypedConsumer::try_recv`] or [`TypedConsumer::recv_timeout`]: it dereferences to
/// the value, which is read in place. See [`Received`] for when to drop it.
///
/// What is not about the value is an associated function, as in `TypedReceived::meta(&received)`: a method or field would
/// hide one of `T` that has the same name.
///
/// # Examples
///
/// See [`TypedConsumer::recv`] and [`TypedReceived::into_received`].
pub struct TypedReceived<'c, T> {
    /// Its payload has the size of a `T`.
    received: Received<'c>,
    of: PhantomData<fn() -> T>,
}

impl<'c, T> TypedReceived<'c, T> {
    #[inline]
    fn of(received: Received<'c>) -> Result<Self, RecvError> {
        check_size::<T>(&received).map_err(RecvError::of_reading)?;
        Ok(Self { received, of: PhantomData })
    }

    /// The metadata: see the table on [`FragmentMetadata`], and [`TypedConsumer::recv`] for an example.
    #[inline]
    pub fn meta(this: &Self) -> &FragmentMetadata {
        &this.received.meta
    }

    /// What was received, with its payload as bytes. It holds the credit.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, OwnedFragment, TypedReceived};
    ///
    /// let link = Link::builder().depth(8).of::<u16>().build()?;
    /// let (tx, rx) = (link.producer()?, link.consumer()?);
    /// tx.send(&0x0707)?;
    /// let received = TypedReceived::into_received(rx.recv()?);
    /// assert_eq!(received.payload.as_slice(), [7, 7]);
    /// let kept = OwnedFragment::from(received); // the credit is returned here
    /// assert_eq!(kept.payload, [7, 7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn into_received(this: Self) -> Received<'c> {
        this.received
    }
}

impl<T: FromBytes + KnownLayout + Immutable> Deref for TypedReceived<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.received.payload.as_ref_of() {
            Some(value) => value,
            None => unreachable!("`of` has checked the size"),
        }
    }
}

impl<T: FromBytes + KnownLayout + Immutable + fmt::Debug> fmt::Debug for TypedReceived<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedReceived").field("meta", &self.received.meta).field("value", &**self).finish()
    }
}

/// Values that were there at one moment: see [`Batch`], and [`TypedConsumer::poll_batch`] for an example.
#[derive(Debug)]
pub struct TypedBatch<'c, T> {
    batch: Batch<'c>,
    of: PhantomData<fn() -> T>,
}

impl<T> TypedBatch<'_, T> {
    /// How many fragments the batch has. See [`TypedConsumer::poll_batch`].
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether the batch has no fragments. See [`TypedConsumer::poll_batch`].
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The values in place, in order, or [`TangoError::WrongSize`] in the place of one. See
    /// [`TypedConsumer::poll_batch`].
    pub fn iter(&self) -> TypedBatchIter<'_, T> {
        TypedBatchIter { fragments: self.batch.iter(), of: PhantomData }
    }
}

impl<'b, T: FromBytes + KnownLayout + Immutable> IntoIterator for &'b TypedBatch<'_, T> {
    type Item = Result<TypedFragment<'b, T>, TangoError>;
    type IntoIter = TypedBatchIter<'b, T>;

    fn into_iter(self) -> TypedBatchIter<'b, T> {
        self.iter()
    }
}

/// The values of a [`TypedBatch`], in place and in order. See [`TypedBatch::iter`].
#[derive(Debug)]
pub struct TypedBatchIter<'b, T> {
    fragments: BatchIter<'b>,
    of: PhantomData<fn() -> T>,
}

impl<'b, T: FromBytes + KnownLayout + Immutable> Iterator for TypedBatchIter<'b, T> {
    type Item = Result<TypedFragment<'b, T>, TangoError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.fragments.next().map(Fragment::into_typed)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fragments.size_hint()
    }
}
