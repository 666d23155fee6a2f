//! What a consumer hands out: a [`Fragment`], with its metadata and the [`Payload`] that holds its credit.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::cpu::words::{self, WORD};
use crate::credits::seat::Seat;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::AtomicU64;

/// A fragment, borrowed from the consumer that read it.
///
/// The credit is in the payload, and is returned when the payload is dropped. So the fields can be moved
/// out of the fragment.
///
/// # Examples
///
/// ```
/// use rust_tango::{Fragment, Link};
///
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// tx.publish(b"bid 101.25", 7, 0, 0)?;
/// if let Some(Fragment { meta, payload }) = rx.poll()? {
///     assert_eq!(meta.sig, 7);
///     assert_eq!(payload.as_slice(), b"bid 101.25");
/// } // the payload is dropped: the producer may overwrite it
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug)]
pub struct Fragment<'c> {
    /// The metadata: see the table on [`FragmentMetadata`].
    pub meta: FragmentMetadata,
    /// The bytes, and the credit for them.
    pub payload: Payload<'c>,
}

/// The bytes of a fragment. Dropping it returns the credit: the producer may then overwrite the bytes.
///
/// While the payload lives, the bytes do not change. A reliable consumer's payload is a slice of the ring,
/// or a copy of a small fragment. An observer's payload is always a validated copy, and holds no credit.
///
/// If a payload is forgotten ([`core::mem::forget`]), its credit is returned with the next one.
///
/// # Examples
///
/// See [`Fragment`].
pub struct Payload<'c> {
    /// A raw pointer, and not a slice. A slice would promise that the bytes do not change while a function
    /// runs that was passed this value. But dropping the value ends that promise.
    bytes: NonNull<u8>,
    len: usize,
    /// Only in models: the words are plain memory until this is dropped, which is before the credit is
    /// returned.
    #[cfg(loom)]
    _lent: Option<crate::sync::Lent>,
    credit: Option<Credit<'c>>,
    borrow: PhantomData<&'c [u8]>,
}

// SAFETY: it is a shared slice of bytes and a reference to atomics, both of which may be sent. A consumer
// has one living payload at a time, so its slot still has one writer, on whichever thread.
unsafe impl Send for Payload<'_> {}
// SAFETY: a shared reference allows only to read the bytes, which do not change meanwhile.
unsafe impl Sync for Payload<'_> {}

/// Returns the credits of all fragments before `next` when it is dropped.
#[derive(Debug)]
pub(crate) struct Credit<'c> {
    pub(crate) seat: &'c Seat<'c>,
    pub(crate) next: u64,
}

impl Drop for Credit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.seat.release(self.next);
    }
}

impl<'c> Payload<'c> {
    /// The first `size` bytes of words of the ring itself. They do not change before the credit is
    /// returned.
    #[inline]
    pub(crate) fn lent(words: &'c [AtomicU64], size: u32, credit: Option<Credit<'c>>) -> Self {
        let len = (size as usize).min(words.len() * WORD);
        #[cfg(loom)]
        let words = &words[..len.div_ceil(WORD)];
        #[cfg(loom)]
        let lent = crate::sync::Lent::new(words);
        #[cfg(loom)]
        let words = lent.bytes();
        Self {
            bytes: NonNull::from(words).cast(),
            len,
            #[cfg(loom)]
            _lent: Some(lent),
            credit,
            borrow: PhantomData,
        }
    }

    /// [`Self::lent`] for the fast path, without its comparison: three instructions less for each fragment.
    ///
    /// # Safety
    /// `words` has at least `size` bytes.
    #[inline(always)]
    pub(crate) unsafe fn lent_whole(words: &'c [AtomicU64], size: u32, credit: Option<Credit<'c>>) -> Self {
        // SAFETY: as the caller promises.
        unsafe { core::hint::assert_unchecked(size as usize <= words.len() * WORD) };
        Self::lent(words, size, credit)
    }

    /// The first `size` bytes of a validated copy. A reliable consumer, too, may have copied a fragment,
    /// and then has a credit to return.
    #[inline]
    pub(crate) fn copied(words: &'c [u64], size: u32, credit: Option<Credit<'c>>) -> Self {
        let len = (size as usize).min(words.len() * WORD);
        Self {
            bytes: NonNull::from(words).cast(),
            len,
            #[cfg(loom)]
            _lent: None,
            credit,
            borrow: PhantomData,
        }
    }

    /// The bytes, without copying them.
    ///
    /// # Examples
    ///
    /// See [`Fragment`].
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the constructors took `len` bytes of initialised memory that lives for 'c. Nothing writes
        // to them while `self` is borrowed. A copy is borrowed from its consumer. Bytes in the ring are
        // protected by the credit that this payload holds, or the batch that it is borrowed from.
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }

    /// Whether the bytes are in the ring, and not a copy.
    #[cfg(all(loom, test))]
    pub(crate) fn is_in_place(&self) -> bool {
        self._lent.is_some()
    }

    /// Length of the payload, in bytes. See [`Fragment`].
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the payload has no bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"")?;
    /// let fragment = rx.poll()?.unwrap();
    /// assert!(fragment.payload.is_empty() && fragment.payload.len() == 0);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of the bytes that outlives the fragment.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"kept")?;
    /// let kept: Vec<u8> = rx.poll()?.unwrap().payload.read(); // the credit is returned here
    /// assert_eq!(kept, b"kept");
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(feature = "alloc")]
    pub fn read(&self) -> alloc::vec::Vec<u8> {
        self.as_slice().to_vec()
    }
}

impl core::fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Payload")
            .field("len", &self.len)
            .field("holds_credit", &self.credit.is_some())
            .finish()
    }
}

/// A fragment that owns its bytes, and holds no credit.
///
/// # Examples
///
/// ```
/// use rust_tango::{Link, OwnedFragment};
///
/// let link = Link::builder().depth(8).mtu(64).build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// tx.send(b"kept")?;
/// let kept: Option<OwnedFragment> = rx.poll()?.map(OwnedFragment::from);
/// assert_eq!(kept.unwrap().payload, b"kept");
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedFragment {
    /// The metadata: see the table on [`FragmentMetadata`].
    pub meta: FragmentMetadata,
    /// The bytes.
    pub payload: alloc::vec::Vec<u8>,
}

#[cfg(feature = "alloc")]
impl From<Fragment<'_>> for OwnedFragment {
    fn from(fragment: Fragment<'_>) -> Self {
        Self { meta: fragment.meta, payload: fragment.payload.read() }
    }
}

/// The buffer that a reader copies to.
pub(crate) enum Scratch<'a> {
    Borrowed(&'a mut [u64]),
    #[cfg(feature = "alloc")]
    Boxed(alloc::boxed::Box<[u64]>),
}

impl Scratch<'_> {
    /// How many words one fragment of up to `mtu` bytes takes, with its metadata.
    pub(crate) const fn need(mtu: usize) -> usize {
        crate::ring::line::META_WORDS + mtu.div_ceil(WORD)
    }

    /// A buffer for one fragment, or for a batch of small ones.
    #[cfg(feature = "alloc")]
    pub(crate) fn boxed(mtu: usize) -> Self {
        const BATCH_WORDS: usize = 1024;
        Self::Boxed(alloc::vec![0; Self::need(mtu).max(BATCH_WORDS)].into_boxed_slice())
    }

    #[inline]
    pub(crate) fn words(&self) -> &[u64] {
        match self {
            Self::Borrowed(words) => words,
            #[cfg(feature = "alloc")]
            Self::Boxed(words) => words,
        }
    }

    #[inline]
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        match self {
            Self::Borrowed(words) => words,
            #[cfg(feature = "alloc")]
            Self::Boxed(words) => words,
        }
    }

    /// Copies a payload to the start of the buffer. False: it does not fit, so it is larger than the MTU.
    #[inline]
    pub(crate) fn fill(&mut self, from: &[AtomicU64]) -> bool {
        let room = self.words_mut().get_mut(..from.len());
        room.map(|room| words::load(from, room)).is_some()
    }
}
