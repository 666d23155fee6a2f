//! [`Loan`]: a payload that is written where it will lie.
#![allow(unsafe_code)]

use super::publish::{Producer, Reserved};
use crate::cpu::words;
use crate::error::TangoError;
use crate::ring::line;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::AtomicU64;

/// A place in the ring for one payload, to be filled and committed.
///
/// A loan that is dropped without [`Loan::commit`] publishes nothing, also if a panic drops it. Its credit and its
/// number are used for the next fragment. But the fragments that had to be
/// overwritten for it are lost for observers. Bytes that are not written keep the value that they had
/// before in the ring.
///
/// A loan borrows its producer mutably, so there is one at a time, and no other publish before it ends.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), rust_tango::LinkError> {
/// use rust_tango::Link;
///
/// let link = Link::builder().depth(8).mtu(4096).build()?;
/// let (mut tx, mut rx) = (link.producer()?, link.consumer()?);
/// let mut loan = tx.loan(4000)?;
/// loan.write_at(0, &[1; 2000]);
/// loan.write_at(2000, &[2; 2000]);
/// loan.commit(7, 0, 0)?;
/// assert_eq!(rx.poll()?.unwrap().payload.as_slice()[1999..2001], [1, 2]);
/// # Ok(())
/// # }
/// ```
#[must_use = "a loan that is not committed publishes nothing"]
pub struct Loan<'p> {
    producer: &'p Producer<'p>,
    reserved: Reserved,
    words: &'p [AtomicU64],
    /// How many bytes at the start share a cache line with the metadata.
    near: usize,
    /// How many bytes will be published.
    len: usize,
    /// Where `io::Write` writes next.
    #[cfg(feature = "std")]
    written: usize,
}

impl<'a> Producer<'a> {
    /// Lends the place for a payload of `len` bytes, 0 to [`Producer::mtu`]. Never blocks.
    ///
    /// From now on, observers can no longer read the fragments that this payload overwrites, whether or not
    /// the loan is committed.
    ///
    /// # Errors
    ///
    /// See [`Producer::publish`].
    ///
    /// # Examples
    ///
    /// See [`Loan`].
    #[inline(always)]
    pub fn loan(&mut self, len: usize) -> Result<Loan<'_>, TangoError> {
        self.check_stopped()?;
        let reserved = self.reserve(len)?;
        let words = self.words(&reserved);
        let near = if reserved.is_in_slot() { line::NEAR } else { 0 };
        Ok(Loan {
            producer: self,
            reserved,
            words,
            near,
            len,
            #[cfg(feature = "std")]
            written: 0,
        })
    }
}

impl Loan<'_> {
    /// Writes `bytes` at `offset`, in bytes from the start of the payload.
    ///
    /// # Panics
    ///
    /// If `bytes` end outside the loan.
    ///
    /// # Examples
    ///
    /// See [`Loan`].
    #[inline]
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        assert!(
            offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len),
            "{} bytes at offset {offset} end outside of a loan of {} bytes",
            bytes.len(),
            self.len
        );
        // The part that a waiting reader polls is stored last: see "Why the stores are in this order" in
        // `line`.
        let apart = self.near.saturating_sub(offset).min(bytes.len());
        let (near, far) = bytes.split_at(apart);
        words::store_at(self.words, offset + apart, far);
        words::store_at(self.words, offset, near);
    }

    /// The bytes themselves. `None` if the link may have observers, which is the default: an observer may
    /// be reading the bytes at the same time.
    ///
    /// The bytes keep the value that they had before in the ring.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).observers(false).build()?;
    /// let (mut tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let mut loan = tx.loan(8)?;
    /// match loan.as_mut_slice() {
    ///     Some(bytes) => bytes.copy_from_slice(b"in place"),
    ///     None => loan.write_at(0, b"a copy.."), // on a link with observers
    /// }
    /// loan.commit(0, 0, 0)?;
    /// assert_eq!(rx.poll()?.unwrap().payload.as_slice(), b"in place");
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        if self.producer.parts.observers {
            return None;
        }
        // SAFETY: no other thread or process accesses these words until they are published. Readers by copy
        // (observers and evictable consumers) cannot attach to such a link. Reliable consumers have
        // returned the credits for what was here, which `reserve` has checked. The loan borrows the
        // producer mutably, so the producer does not write here, either.
        Some(unsafe { words::lend_mut(self.words, self.len) })
    }

    /// How many bytes will be published. See [`Loan::truncate`].
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the payload is empty: [`Loan::len`] is 0. See [`Loan::truncate`].
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Shortens the payload to its first `len` bytes. No effect if it is not longer than that.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (mut tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let mut loan = tx.loan(64)?; // the largest size that it may have
    /// loan.write_at(0, b"short");
    /// loan.truncate(5);
    /// assert!(loan.len() == 5 && !loan.is_empty());
    /// loan.commit(0, 0, 0)?;
    /// assert_eq!(rx.poll()?.unwrap().payload.as_slice(), b"short");
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Publishes the payload, with `sig`, `ctl` and `ts` as its metadata: see the table on
    /// [`FragmentMetadata`]. Wakes consumers that sleep.
    ///
    /// Returns the metadata of the fragment, with its sequence number.
    ///
    /// # Errors
    ///
    /// [`TangoError::Closed`]: the link was stopped. Nothing was published.
    ///
    /// # Examples
    ///
    /// See [`Loan`].
    #[inline(always)]
    pub fn commit(self, sig: u64, ctl: u16, ts: u32) -> Result<FragmentMetadata, TangoError> {
        self.producer.check_stopped()?;
        let meta = self.producer.commit_reserved(self.reserved, self.len, sig, ctl, ts);
        self.producer.wake_waiters();
        Ok(meta)
    }
}

impl core::fmt::Debug for Loan<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Loan").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Writes append to the payload. A write that reaches the end of the loan is short, as with a slice.
#[cfg(feature = "std")]
impl std::io::Write for Loan<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let take = bytes.len().min(self.len.saturating_sub(self.written));
        if take == 0 {
            return Ok(0);
        }
        self.write_at(self.written, &bytes[..take]);
        self.written += take;
        Ok(take)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
