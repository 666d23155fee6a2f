//! What a consumer hands out: a [`Fragment`] with its metadata, and the [`Payload`] that guards its bytes.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::cpu::words::{self, WORD};
use crate::credits::seat::Seat;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::AtomicU64;

/// A fragment, borrowed from the consumer that read it.
///
/// It has no drop of its own: the credit is in the payload, wherever that is moved to.
#[derive(Debug)]
pub struct Fragment<'c> {
    /// Its metadata.
    pub meta: FragmentMetadata,
    /// Its bytes, and the credit for them.
    pub payload: Payload<'c>,
}

/// The bytes of a fragment. Dropping it gives the credit back: the producer may then overwrite them.
///
/// A payload that is forgotten only delays its credit until the next one is given back.
pub struct Payload<'c> {
    /// Raw, and not a slice: a slice in here would promise that the bytes stay as they are for as long
    /// as a function that was passed this value runs, and dropping it is what ends that.
    bytes: NonNull<u8>,
    len: usize,
    /// Models: the words are plain memory until this goes, which is before the credit does.
    #[cfg(loom)]
    _lent: Option<crate::sync::Lent>,
    credit: Option<Credit<'c>>,
    borrow: PhantomData<&'c [u8]>,
}

// SAFETY: it is a shared slice of bytes and a reference to atomics, both of which may be sent. Only one
// payload of a consumer is alive at a time, so its slot still has one writer, whichever thread that is.
unsafe impl Send for Payload<'_> {}
// SAFETY: through a shared reference one can only read the bytes, which do not change meanwhile.
unsafe impl Sync for Payload<'_> {}

/// The duty to tell the producer that everything before `next` is finished with.
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
    /// The first `size` bytes of words of the ring itself, which stay as they are until the credit is given back.
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

    /// The first `size` bytes of a validated copy. A reliable consumer may have copied a fragment too.
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

    /// The bytes, in place.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the constructors took `len` bytes of initialised memory that lives for 'c. Nobody
        // writes to them while `self` is borrowed: a copy is borrowed from its consumer, and what is in
        // the ring is held by the credit that this payload, or the batch it is borrowed from, has.
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }

    /// Whether it is in the ring, and not a copy.
    #[cfg(all(loom, test))]
    pub(crate) fn is_in_place(&self) -> bool {
        self._lent.is_some()
    }

    /// How many bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of the bytes.
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

/// A fragment that owns its bytes.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedFragment {
    /// Its metadata.
    pub meta: FragmentMetadata,
    /// Its bytes.
    pub payload: alloc::vec::Vec<u8>,
}

#[cfg(feature = "alloc")]
impl From<Fragment<'_>> for OwnedFragment {
    fn from(fragment: Fragment<'_>) -> Self {
        Self { meta: fragment.meta, payload: fragment.payload.read() }
    }
}

/// Where an observer copies to.
pub(crate) enum Scratch<'a> {
    Borrowed(&'a mut [u64]),
    #[cfg(feature = "alloc")]
    Boxed(alloc::boxed::Box<[u64]>),
}

impl Scratch<'_> {
    /// One fragment of up to `mtu` bytes needs this many words, with its metadata.
    pub(crate) const fn need(mtu: usize) -> usize {
        crate::ring::line::META_WORDS + mtu.div_ceil(WORD)
    }

    /// Room for one fragment, and for a batch of small ones.
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

    /// Copies a payload to the start. False if there is no room for it: it is larger than the MTU then.
    #[inline]
    pub(crate) fn fill(&mut self, from: &[AtomicU64]) -> bool {
        let room = self.words_mut().get_mut(..from.len());
        room.map(|room| words::load(from, room)).is_some()
    }
}
