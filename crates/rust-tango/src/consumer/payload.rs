//! What a consumer hands out: a [`Fragment`], with its metadata and the [`Payload`] that holds its credit.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::cpu::words::{self, WORD};
use crate::credits::seat::Seat;
use crate::ring::line::PAYLOAD_ALIGNMENT;
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
    /// The bytes, at a multiple of [`Payload::ALIGNMENT`], and the credit for them.
    pub payload: Payload<'c>,
}

/// The bytes of a fragment. Dropping it returns the credit: the producer may then overwrite the bytes.
///
/// While the payload lives, the bytes do not change. A reliable consumer's payload is a slice of the ring,
/// or a copy of a small fragment. An observer's payload is always a validated copy, and holds no credit.
///
/// The bytes begin at a multiple of 32 bytes ([`Payload::ALIGNMENT`]), in the ring and in copies alike. This is not
/// true of copies that own their bytes (`read`, `OwnedFragment`), and of what `Assembler` returns.
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
    /// A raw pointer, and not a reference, for the reason that `Payload::bytes` is one: see also `consumer/cell.rs`.
    seat: NonNull<Seat<'c>>,
    next: u64,
    borrow: PhantomData<&'c Seat<'c>>,
}

// SAFETY: it gives the same access as a `&Seat`, which is `Send`.
unsafe impl Send for Credit<'_> {}
// SAFETY: as above. `&Seat` is `Sync`.
unsafe impl Sync for Credit<'_> {}

impl<'c> Credit<'c> {
    #[inline(always)]
    pub(crate) fn new(seat: &'c Seat<'c>, next: u64) -> Self {
        Self { seat: NonNull::from(seat), next, borrow: PhantomData }
    }
}

impl Drop for Credit<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it was made of a reference that lives for 'c. Nothing makes an exclusive reference to the seat while a
        // fragment lives: see `consumer/cell.rs`.
        let seat = unsafe { self.seat.as_ref() };
        seat.release(self.next);
    }
}

/// Whether a payload may begin with these words.
fn is_aligned<T>(words: &[T]) -> bool {
    words.as_ptr().addr() % PAYLOAD_ALIGNMENT == 0
}

impl<'c> Payload<'c> {
    /// The alignment of the bytes, in bytes: their address is a multiple of it, whatever their length, for every
    /// payload. A value of a type with no larger alignment can be read in place.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Payload};
    ///
    /// let link = Link::builder().depth(8).mtu(1000).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// for len in [1, 999] {
    ///     tx.send(&vec![7; len])?;
    ///     let fragment = rx.poll()?.unwrap();
    ///     assert_eq!(fragment.payload.as_slice().as_ptr() as usize % Payload::ALIGNMENT, 0);
    /// }
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub const ALIGNMENT: usize = PAYLOAD_ALIGNMENT;

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
        #[cfg(not(loom))] // where words are no atomics of eight bytes
        debug_assert!(is_aligned(words));
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
        debug_assert!(is_aligned(words));
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

    /// Calls `read` with the bytes. The same as `read(payload.as_slice())`, for programs that were written for version 0.1.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"bid 101.25")?;
    /// let fragment = rx.poll()?.unwrap();
    /// assert_eq!(fragment.payload.with_reader(|bytes| bytes.len()), 10);
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[inline]
    pub fn with_reader<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        read(self.as_slice())
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
///
/// Pointers instead of a slice and a box: the words are found by one load for each fragment, whoever owns them.
pub(crate) struct Scratch<'a> {
    /// The buffer from its first aligned word on.
    words: NonNull<[u64]>,
    /// All of the buffer, if this value owns it: what `Box::into_raw` has returned.
    #[cfg(feature = "alloc")]
    owned: Option<NonNull<[u64]>>,
    borrow: PhantomData<&'a mut [u64]>,
}

// SAFETY: it gives the same access as a `&mut [u64]` or a `Box<[u64]>`, which are `Send`.
unsafe impl Send for Scratch<'_> {}
// SAFETY: as above. Both are `Sync`.
unsafe impl Sync for Scratch<'_> {}

/// Words from one aligned payload to the next that could be.
pub(crate) const ALIGNED_WORDS: usize = PAYLOAD_ALIGNMENT / WORD;

impl<'a> Scratch<'a> {
    /// How many words a buffer must have for one fragment of up to `mtu` bytes, wherever it begins.
    pub(crate) const fn need(mtu: usize) -> usize {
        ALIGNED_WORDS + mtu.div_ceil(WORD)
    }

    /// A buffer of the caller, of at least as many words as [`Self::need`] says.
    pub(crate) fn borrowed(words: &'a mut [u64]) -> Self {
        Self {
            words: aligned(words).into(),
            #[cfg(feature = "alloc")]
            owned: None,
            borrow: PhantomData,
        }
    }

    /// A buffer for one fragment, or for a batch of small ones.
    #[cfg(feature = "alloc")]
    pub(crate) fn boxed(mtu: usize) -> Self {
        const BATCH_WORDS: usize = 1024;
        let words = alloc::vec![0; Self::need(mtu).max(ALIGNED_WORDS + BATCH_WORDS)].into_boxed_slice();
        let mut all = NonNull::from(alloc::boxed::Box::leak(words));
        // SAFETY: the words have just been allocated, and live until `drop`. There is no other reference to them.
        let words = aligned(unsafe { all.as_mut() }).into();
        Self { words, owned: Some(all), borrow: PhantomData }
    }

    /// The buffer from its first aligned word on.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[u64] {
        // SAFETY: initialised words, borrowed for 'a or owned until `drop`. Only `words_mut` lends them mutably, from a
        // mutable `self`.
        unsafe { self.words.as_ref() }
    }

    /// As [`Self::words`].
    #[inline(always)]
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`. `self` is borrowed mutably for as long as the result, so nothing else lends the words.
        unsafe { self.words.as_mut() }
    }

    /// Copies a payload to the start of the buffer. False: it does not fit, so it is larger than the MTU.
    #[inline(always)]
    pub(crate) fn fill(&mut self, from: &[AtomicU64]) -> bool {
        let room = self.words_mut().get_mut(..from.len());
        room.map(|room| words::load(from, room)).is_some()
    }
}

#[cfg(feature = "alloc")]
impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Some(owned) = self.owned {
            // SAFETY: `boxed` has leaked this box, and nothing but `drop` frees it, once. All references to its words were
            // borrowed from `self`.
            drop(unsafe { alloc::boxed::Box::from_raw(owned.as_ptr()) });
        }
    }
}

/// The words from the first on that may begin a payload.
fn aligned(words: &mut [u64]) -> &mut [u64] {
    let begin = words.as_ptr().addr().wrapping_neg() % PAYLOAD_ALIGNMENT / WORD;
    words.get_mut(begin..).unwrap_or_default()
}
