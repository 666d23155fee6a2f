//! [`TypedLink`]: a link that remembers the type of its payloads, and ends of that type.

use alloc::format;
use core::fmt;
use core::marker::PhantomData;

use super::consumer::TypedConsumer;
use super::name::TypeName;
use super::producer::TypedProducer;
use crate::consumer::Start;
use crate::error::{LinkError, LinkErrorKind};
use crate::link::{Link, LinkBuilder};
use crate::memory::payload_type::PayloadType;

/// A [`Link`] whose payloads are values of type `T`. [`LinkBuilder::of`] makes one, and [`Link::of`].
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, TypeName};
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// # let folder = std::env::temp_dir().join(format!("tango-typed-{}", std::process::id()));
///
/// #[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
/// #[repr(C)]
/// struct Quote {
///     bid: f64,
///     ask: f64,
/// }
/// impl TypeName for Quote {}
///
/// # #[cfg(all(feature = "shm", target_os = "linux"))] {
/// let tx = Link::builder().dir(&folder).of::<Quote>().create("quotes")?.producer()?;
/// // In another process:
/// let mut rx = Link::open_in(&folder, "quotes")?.of::<Quote>()?.consumer()?;
///
/// tx.send(&Quote { bid: 101.25, ask: 101.5 })?;
/// assert_eq!(rx.wait()?.unwrap().ask, 101.5);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # }
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
pub struct TypedLink<T> {
    link: Link,
    of: PhantomData<fn() -> T>,
}

/// As for the [`Link`], whatever `T` can.
impl<T> Clone for TypedLink<T> {
    fn clone(&self) -> Self {
        Self::unchecked(self.link.clone())
    }
}

impl<T> fmt::Debug for TypedLink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedLink").field("link", &self.link).finish()
    }
}

impl<T> TypedLink<T> {
    /// Of a link that remembers this type.
    fn unchecked(link: Link) -> Self {
        Self { link, of: PhantomData }
    }

    /// The link, for everything that is not about values, and for ends that publish and read bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_tango::Link;
    /// let link = Link::builder().of::<u64>().build()?;
    /// assert_eq!(link.link().geometry().mtu, 8);
    /// assert_eq!(link.link().payload_type().unwrap().name(), "u64");
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Takes the producer: see [`Link::producer`], also for the errors. See [`TypedProducer`] for an example.
    ///
    /// # Errors
    ///
    /// As [`Link::producer`].
    pub fn producer(&self) -> Result<TypedProducer<'static, T>, LinkError> {
        self.link.producer().map(TypedProducer::new)
    }

    /// A reliable consumer: see [`Link::consumer`], also for the errors. See [`TypedConsumer::poll`] for an example.
    ///
    /// # Errors
    ///
    /// As [`Link::consumer`].
    pub fn consumer(&self) -> Result<TypedConsumer<'static, T>, LinkError> {
        self.consumer_from(Start::Next)
    }

    /// [`TypedLink::consumer`] with another start: see [`Link::consumer_from`], which has an example.
    ///
    /// # Errors
    ///
    /// As [`Link::consumer`].
    pub fn consumer_from(&self, start: Start) -> Result<TypedConsumer<'static, T>, LinkError> {
        self.link.consumer_from(start).map(TypedConsumer::new)
    }

    /// An observer: see [`Link::observer`], which has an example.
    ///
    /// # Errors
    ///
    /// As [`Link::observer`].
    pub fn observer(&self) -> Result<TypedConsumer<'static, T>, LinkError> {
        self.observer_from(Start::Next)
    }

    /// [`TypedLink::observer`] with another start: see [`Link::observer_from`].
    ///
    /// # Errors
    ///
    /// As [`Link::observer`].
    pub fn observer_from(&self, start: Start) -> Result<TypedConsumer<'static, T>, LinkError> {
        self.link.observer_from(start).map(TypedConsumer::new)
    }

    /// A consumer that the producer waits for for a limited time: see [`Link::evictable_consumer`], which has an example.
    ///
    /// # Errors
    ///
    /// As [`Link::evictable_consumer`].
    pub fn evictable_consumer(&self, start: Start) -> Result<TypedConsumer<'static, T>, LinkError> {
        self.link.evictable_consumer(start).map(TypedConsumer::new)
    }
}

impl Link {
    /// The link as one of values of type `T`, if that is the type that it was made with. See [`TypedLink`] for an
    /// example.
    ///
    /// Name, size and alignment are compared: see [`typed`](crate::typed).
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::Incompatible`] if the link was made with another type, or with none. The message names both. To
    /// read values from a link without a type, see [`TypedConsumer::new`].
    pub fn of<T: TypeName>(&self) -> Result<TypedLink<T>, LinkError> {
        let (found, wanted) = (self.payload_type(), PayloadType::of::<T>());
        if found == Some(&wanted) {
            return Ok(TypedLink::unchecked(self.clone()));
        }
        let (found, wanted) = (PayloadType::describe(found), PayloadType::describe(Some(&wanted)));
        let message = format!("{} has {found} instead of {wanted}", self.describe());
        Err(LinkError::new(LinkErrorKind::Incompatible, message))
    }

    /// What an error calls this link.
    fn describe(&self) -> alloc::string::String {
        #[cfg(all(feature = "shm", target_os = "linux"))]
        if let Some(path) = self.path() {
            return format!("link {}", path.display());
        }
        "this link".into()
    }
}

/// Settings of a new [`TypedLink`]. [`LinkBuilder::of`] makes one, when everything else is set.
///
/// # Examples
///
/// See [`TypedLink`].
#[derive(Debug, Clone)]
#[must_use = "a builder makes a link only with `build` or `create`"]
pub struct TypedLinkBuilder<T> {
    /// It has this type.
    builder: LinkBuilder,
    of: PhantomData<fn() -> T>,
}

impl LinkBuilder {
    /// Makes the payloads of the link values of type `T`, which the link remembers. The last setting before
    /// [`build`](TypedLinkBuilder::build) or `create`. The MTU is at least the size of a `T`. See [`TypedLink`] for an
    /// example.
    pub fn of<T: TypeName>(self) -> TypedLinkBuilder<T> {
        TypedLinkBuilder { builder: self.payload_type(PayloadType::of::<T>()), of: PhantomData }
    }
}

impl<T> TypedLinkBuilder<T> {
    /// Makes a link on the heap: see [`LinkBuilder::build`]. See [`TypedProducer`] for an example.
    ///
    /// # Errors
    ///
    /// As [`LinkBuilder::build`]; also [`LinkErrorKind::Invalid`] if the name of the type is not valid ([`TypeName`]).
    pub fn build(self) -> Result<TypedLink<T>, LinkError> {
        self.builder.build().map(TypedLink::unchecked)
    }

    /// Creates a link in shared memory: see [`LinkBuilder::create`]. See [`TypedLink`] for an example.
    ///
    /// # Errors
    ///
    /// As [`LinkBuilder::create`] and [`TypedLinkBuilder::build`].
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub fn create(self, name: &str) -> Result<TypedLink<T>, LinkError> {
        self.builder.create(name).map(TypedLink::unchecked)
    }

    /// Creates a link in shared memory, or continues the existing one: see [`LinkBuilder::create_or_take_over`], which
    /// has an example.
    ///
    /// # Errors
    ///
    /// As [`LinkBuilder::create_or_take_over`] and [`TypedLinkBuilder::build`]. A link of another type, or of none, is
    /// [`LinkErrorKind::Incompatible`].
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub fn create_or_take_over(self, name: &str) -> Result<TypedLink<T>, LinkError> {
        self.builder.create_or_take_over(name).map(TypedLink::unchecked)
    }
}
