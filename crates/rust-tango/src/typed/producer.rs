//! [`TypedProducer`]: a producer that publishes values of one type.

use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::bytes::assert_alignment;
use crate::error::{TangoError, TrySendError};
use crate::producer::{Loan, Meta, Producer};
use crate::ring::metadata::FragmentMetadata;

/// A [`Producer`] that publishes values of type `T`. [`TypedLink::producer`](crate::TypedLink) makes one.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, TangoError};
///
/// let link = Link::builder().depth(2).of::<u64>().build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// tx.publish(&1, 7, 0, 0)?; // never blocks
/// tx.send(&2)?; // waits for a credit
/// assert!(matches!(tx.publish(&3, 7, 0, 0), Err(TangoError::NoCredits)));
/// assert_eq!(*rx.poll()?.unwrap(), 1);
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug)]
pub struct TypedProducer<'a, T> {
    producer: Producer<'a>,
    of: PhantomData<fn(&T)>,
}

impl<'a, T> TypedProducer<'a, T> {
    /// Makes a producer one of values of type `T`, on a link that does not remember a type, such as borrowed storage.
    ///
    /// Nothing is compared. If the MTU is less than the size of a `T`, each call that publishes returns
    /// [`TangoError::TooLarge`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Consumer, DCache, Fseq, MCache, Producer, TypedConsumer, TypedProducer};
    ///
    /// static MCACHE: MCache<64> = MCache::new();
    /// static DCACHE: DCache<64, 8> = DCache::new();
    /// static FSEQ: Fseq = Fseq::new(1);
    ///
    /// let tx = TypedProducer::<u64>::new(Producer::new(&MCACHE, &DCACHE, &FSEQ));
    /// let mut rx = TypedConsumer::<u64>::new(Consumer::new(&MCACHE, &DCACHE, 1));
    /// tx.send(&7)?;
    /// assert_eq!(*rx.poll()?.unwrap(), 7);
    /// # Ok::<(), rust_tango::TangoError>(())
    /// ```
    pub fn new(producer: Producer<'a>) -> Self {
        assert_alignment::<T>();
        Self { producer, of: PhantomData }
    }

    /// The producer, for everything that is not about values: who reads, how far, whether the link was stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let tx = Link::builder().of::<u64>().build()?.producer()?;
    /// assert_eq!(tx.producer().next_seq(), 1);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn producer(&self) -> &Producer<'a> {
        &self.producer
    }

    /// Changes settings of the producer.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Wait};
    ///
    /// let link = Link::builder().of::<u64>().build()?;
    /// let tx = link.producer()?.map(|tx| tx.with_wait(Wait::Spin));
    /// tx.send(&7)?;
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use]
    pub fn map(self, change: impl FnOnce(Producer<'a>) -> Producer<'a>) -> Self {
        Self { producer: change(self.producer), ..self }
    }

    /// The producer, which publishes bytes. See [`TypedProducer::producer`] for an example of what it is good for.
    pub fn into_producer(self) -> Producer<'a> {
        self.producer
    }
}

impl<'a, T: IntoBytes + Immutable> TypedProducer<'a, T> {
    /// Publishes a value. Never blocks: see [`Producer::publish`], also for the errors. See [`TypedProducer`] for an
    /// example.
    ///
    /// # Errors
    ///
    /// As [`Producer::publish`].
    #[inline(always)] // as `Producer::publish`
    pub fn publish(&self, value: &T, sig: u64, ctl: u16, ts: u32) -> Result<FragmentMetadata, TangoError> {
        self.producer.publish(value.as_bytes(), sig, ctl, ts)
    }

    /// [`TypedProducer::publish`] with metadata by name: see [`Producer::publish_with`], which has an example.
    ///
    /// # Errors
    ///
    /// As [`Producer::publish`].
    #[inline(always)] // as `Producer::publish_with`
    pub fn publish_with(&self, value: &T, meta: Meta) -> Result<FragmentMetadata, TangoError> {
        self.producer.publish_with(value.as_bytes(), meta)
    }

    /// [`TypedProducer::publish_blocking`] with metadata by name: see [`Producer::publish_blocking_with`], which has an
    /// example.
    ///
    /// # Errors
    ///
    /// As [`Producer::publish_blocking`].
    #[inline]
    pub fn publish_blocking_with(&self, value: &T, meta: Meta) -> Result<FragmentMetadata, TangoError> {
        self.producer.publish_blocking_with(value.as_bytes(), meta)
    }

    /// Publishes a value. Waits while there is no credit: see [`Producer::publish_blocking`], also for deadlocks. See
    /// [`TypedProducer::send`] for an example.
    ///
    /// # Errors
    ///
    /// As [`Producer::publish_blocking`].
    #[inline]
    pub fn publish_blocking(
        &self,
        value: &T,
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError> {
        self.producer.publish_blocking(value.as_bytes(), sig, ctl, ts)
    }

    /// Publishes a value. Waits for a credit for `timeout` at most: see [`Producer::publish_timeout`], which has an
    /// example.
    ///
    /// # Errors
    ///
    /// As [`Producer::publish_timeout`].
    #[cfg(feature = "std")]
    pub fn publish_timeout(
        &self,
        value: &T,
        sig: u64,
        ctl: u16,
        ts: u32,
        timeout: core::time::Duration,
    ) -> Result<FragmentMetadata, TangoError> {
        self.producer.publish_timeout(value.as_bytes(), sig, ctl, ts, timeout)
    }

    /// Publishes a value, with `sig`, `ctl` and `ts` 0. Waits while there is no credit: see [`Producer::send`], also for
    /// deadlocks.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(8).of::<u64>().build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let reader = std::thread::spawn(move || -> Result<u64, TangoError> {
    ///     let mut sum = 0;
    ///     while let Some(number) = rx.wait()? {
    ///         sum += *number;
    ///     }
    ///     Ok(sum)
    /// });
    /// for number in 1..=100 {
    ///     tx.send(&number)?;
    /// }
    /// drop(tx); // closes the link
    /// assert_eq!(reader.join().unwrap()?, 5050);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn send(&self, value: &T) -> Result<(), TangoError> {
        self.producer.send(value.as_bytes())
    }

    /// Publishes a value, with `sig`, `ctl` and `ts` 0. Never blocks: see [`Producer::try_send`], which has an example.
    ///
    /// # Errors
    ///
    /// As [`Producer::try_send`].
    #[inline(always)] // as `Producer::try_send`
    pub fn try_send(&self, value: &T) -> Result<(), TrySendError> {
        self.producer.try_send(value.as_bytes())
    }

    /// Lends the place for a value, to be filled there. Never blocks: see [`Producer::loan`]. See [`TypedLoan`] for an
    /// example.
    ///
    /// # Errors
    ///
    /// As [`Producer::publish`].
    #[inline]
    pub fn loan(&mut self) -> Result<TypedLoan<'_, T>, TangoError> {
        Ok(TypedLoan { loan: self.producer.loan(size_of::<T>())?, of: PhantomData })
    }
}

/// A place in the ring for one value, to be filled and committed. For values that are too large to be made elsewhere
/// first, or of which only some fields change.
///
/// A part that is not written has the bytes that were there before, of some older fragment. A loan that is dropped
/// publishes nothing. For both, see [`Loan`].
///
/// On a link that may have observers, which is the default, an observer may be reading the place meanwhile. So there is
/// no `&mut T` to it: [`write`](Self::write) and [`write_at`](Self::write_at) store whole words, and an observer that has
/// read some of them discards its copy. Without observers ([`LinkBuilder::observers`](crate::LinkBuilder::observers)),
/// [`as_mut`](Self::as_mut) lends the place itself.
///
/// # Examples
///
/// ```
/// use core::mem::offset_of;
/// use rust_tango::{Link, TypeName};
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
/// #[repr(C)]
/// struct Frame {
///     number: u64,
///     pixels: [u8; 4096],
/// }
/// impl TypeName for Frame {}
///
/// let link = Link::builder().depth(8).of::<Frame>().build()?;
/// let (mut tx, mut rx) = (link.producer()?, link.consumer()?);
/// let mut loan = tx.loan()?;
/// loan.write_at(offset_of!(Frame, number), &7_u64);
/// for row in 0..64 {
///     loan.write_at(offset_of!(Frame, pixels) + row * 64, &[row as u8; 64]);
/// }
/// loan.commit(0, 0, 0)?;
/// let frame = rx.poll()?.unwrap();
/// assert_eq!((frame.number, frame.pixels[4095]), (7, 63));
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug)]
#[must_use = "a loan that is not committed publishes nothing"]
pub struct TypedLoan<'p, T> {
    /// Of as many bytes as a `T`.
    loan: Loan<'p>,
    of: PhantomData<fn(&T)>,
}

impl<T: IntoBytes + Immutable> TypedLoan<'_, T> {
    /// Writes a whole value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().of::<u64>().build()?;
    /// let (mut tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let mut loan = tx.loan()?;
    /// loan.write(&7);
    /// loan.commit(0, 0, 0)?;
    /// assert_eq!(*rx.poll()?.unwrap(), 7);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn write(&mut self, value: &T) {
        self.loan.write_at(0, value.as_bytes());
    }

    /// Writes a field, or a part of one, at `offset` in bytes from the start of the value (`core::mem::offset_of`). Its
    /// type is not checked against the fields of `T`. See [`TypedLoan`] for an example.
    ///
    /// # Panics
    ///
    /// If the field ends outside the value.
    #[inline]
    pub fn write_at<F: IntoBytes + Immutable + ?Sized>(&mut self, offset: usize, field: &F) {
        self.loan.write_at(offset, field.as_bytes());
    }

    /// The value itself, as it was left in the ring. `None` if the link may have observers, which is the default.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().observers(false).of::<[u64; 4]>().build()?;
    /// let (mut tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let mut loan = tx.loan()?;
    /// match loan.as_mut() {
    ///     Some(value) => *value = [1, 2, 3, 4],
    ///     None => loan.write(&[1, 2, 3, 4]), // on a link with observers
    /// }
    /// loan.commit(0, 0, 0)?;
    /// assert_eq!(rx.poll()?.unwrap()[3], 4);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn as_mut(&mut self) -> Option<&mut T>
    where
        T: FromBytes + KnownLayout,
    {
        // The place has the size of a `T`, and payloads are aligned, so only the lack of a slice leads to `None`.
        self.loan.as_mut_slice().and_then(|bytes| T::mut_from_bytes(bytes).ok())
    }

    /// Publishes the value: see [`Loan::commit`]. See [`TypedLoan`] for an example.
    ///
    /// # Errors
    ///
    /// As [`Loan::commit`].
    #[inline]
    pub fn commit(self, sig: u64, ctl: u16, ts: u32) -> Result<FragmentMetadata, TangoError> {
        self.loan.commit(sig, ctl, ts)
    }
}
