//! Values as payloads: one call to publish one, and one to read one.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::consumer::payload::{Fragment, Payload};
use crate::error::TangoError;
use crate::producer::Producer;
use crate::ring::metadata::FragmentMetadata;

/// Does not compile for a type that payloads are not aligned for.
pub(super) const fn assert_alignment<T>() {
    const {
        assert!(
            align_of::<T>() <= Payload::ALIGNMENT,
            "payloads are aligned to 32 bytes, and this type needs more"
        );
    }
}

impl Producer<'_> {
    /// Publishes the bytes of a value, as [`Producer::publish`] does. It suits links that carry values of several types,
    /// told apart by `sig`; see [`typed`](crate::typed) for links of one type.
    ///
    /// # Errors
    ///
    /// See [`Producer::publish`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
    ///
    /// #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
    /// #[repr(C)]
    /// struct Quote {
    ///     bid: f64,
    ///     ask: f64,
    /// }
    /// const QUOTE: u64 = 1;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.publish_as(&Quote { bid: 101.25, ask: 101.5 }, QUOTE, 0, 0)?;
    /// let fragment = rx.poll()?.unwrap();
    /// match fragment.meta.sig {
    ///     QUOTE => assert_eq!(fragment.payload.as_ref_of::<Quote>().unwrap().bid, 101.25),
    ///     other => println!("nothing known of {other}"),
    /// }
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline(always)] // as `publish`
    pub fn publish_as<T>(
        &self,
        value: &T,
        sig: u64,
        ctl: u16,
        ts: u32,
    ) -> Result<FragmentMetadata, TangoError>
    where
        T: IntoBytes + Immutable + ?Sized,
    {
        self.publish(value.as_bytes(), sig, ctl, ts)
    }
}

impl Payload<'_> {
    /// The bytes as a value, in place. `None`: the payload has another size than `T`.
    ///
    /// A type with an alignment of more than 32 bytes does not compile:
    ///
    /// ```compile_fail,E0080
    /// # use rust_tango::Payload;
    /// # use zerocopy::{FromBytes, Immutable, KnownLayout};
    /// #[derive(FromBytes, KnownLayout, Immutable)]
    /// #[repr(C, align(64))]
    /// struct Line([u8; 64]);
    ///
    /// fn read(payload: &Payload<'_>) -> bool {
    ///     payload.as_ref_of::<Line>().is_some()
    /// }
    /// # read(&rust_tango::Link::builder().build().unwrap().consumer().unwrap().poll().unwrap().unwrap().payload);
    /// ```
    ///
    /// # Examples
    ///
    /// See [`Producer::publish_as`].
    #[inline]
    pub fn as_ref_of<T>(&self) -> Option<&T>
    where
        T: FromBytes + KnownLayout + Immutable,
    {
        assert_alignment::<T>();
        T::ref_from_bytes(self.as_slice()).ok()
    }
}

impl<'c> Fragment<'c> {
    /// The fragment as a value of type `T`, with its metadata. [`TypedConsumer`](crate::TypedConsumer) calls it for each
    /// fragment; it is here for other ways to read, such as `AsyncConsumer`.
    ///
    /// # Errors
    ///
    /// [`TangoError::WrongSize`]: the payload has another size than `T`. The fragment is dropped, and its credit returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.publish_as(&7_u32, 0, 0, 0)?;
    /// assert_eq!(*rx.poll()?.unwrap().into_typed::<u32>()?, 7);
    /// tx.publish_as(&7_u32, 0, 0, 0)?;
    /// let error = rx.poll()?.unwrap().into_typed::<u64>().unwrap_err();
    /// assert_eq!(error, TangoError::WrongSize { seq: 2, size: 4, expected: 8 });
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn into_typed<T>(self) -> Result<TypedFragment<'c, T>, TangoError>
    where
        T: FromBytes + KnownLayout + Immutable,
    {
        check_size::<T>(&self)?;
        Ok(TypedFragment { fragment: self, of: PhantomData })
    }
}

/// Whether the payload has the size of a `T`.
#[inline]
pub(super) fn check_size<T>(fragment: &Fragment<'_>) -> Result<(), TangoError> {
    let (seq, size, expected) = (fragment.meta.seq, fragment.payload.len(), size_of::<T>());
    if size == expected { Ok(()) } else { Err(TangoError::WrongSize { seq, size, expected }) }
}

/// A fragment whose payload is a value of type `T`: it dereferences to the value, which is read in place.
///
/// Dropping it returns the credit, as with a [`Payload`]. What is not about the value is an associated function, as in
/// `TypedFragment::meta(&fragment)`: a method or field would hide one of `T` that has the same name.
///
/// # Examples
///
/// See [`TypedConsumer::poll`](crate::TypedConsumer::poll), [`Fragment::into_typed`] and [`TypedFragment::meta`].
pub struct TypedFragment<'c, T> {
    /// Its payload has the size of a `T`.
    fragment: Fragment<'c>,
    of: PhantomData<fn() -> T>,
}

impl<'c, T> TypedFragment<'c, T> {
    /// The metadata: see the table on [`FragmentMetadata`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TypedFragment};
    /// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
    ///
    /// #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
    /// #[repr(C)]
    /// struct Image {
    ///     meta: u64,
    /// }
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.publish_as(&Image { meta: 9 }, 7, 0, 0)?;
    /// let image = rx.poll()?.unwrap().into_typed::<Image>()?;
    /// assert_eq!(image.meta, 9); // of the value
    /// assert_eq!(TypedFragment::meta(&image).sig, 7); // of the fragment
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn meta(this: &Self) -> &FragmentMetadata {
        &this.fragment.meta
    }

    /// The fragment, with its payload as bytes. It holds the credit.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TypedFragment};
    ///
    /// let link = Link::builder().depth(8).of::<u16>().build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(&0x0707)?;
    /// let fragment = TypedFragment::into_fragment(rx.poll()?.unwrap());
    /// assert_eq!((fragment.meta.seq, fragment.payload.as_slice()), (1, &[7, 7][..]));
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn into_fragment(this: Self) -> Fragment<'c> {
        this.fragment
    }
}

impl<T: FromBytes + KnownLayout + Immutable> Deref for TypedFragment<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.fragment.payload.as_ref_of() {
            Some(value) => value,
            None => unreachable!("`into_typed` has checked the size"),
        }
    }
}

impl<T: FromBytes + KnownLayout + Immutable + fmt::Debug> fmt::Debug for TypedFragment<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedFragment").field("meta", &self.fragment.meta).field("value", &**self).finish()
    }
}
