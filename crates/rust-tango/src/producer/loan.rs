//! [`Loan`]: a payload that is written where it will lie.
#![allow(unsafe_code)]

use super::publish::{Producer, Reserved};
use crate::cpu::words;
use crate::error::TangoError;
use crate::ring::line;
use crate::ring::metadata::FragmentMetadata;
use crate::sync::AtomicU64;

/// A place in the ring for one payload, to be filled and committed. Dropped without a commit, nothing
/// is published.
///
/// What is not written keeps whatever the ring held there before.
///
/// ```
/// # fn main() -> Result<(), rust_tango::LinkError> {
/// # use rust_tango::Link;
/// let link = Link::builder().depth(8).mtu(4096).build()?;
/// let (mut tx, mut rx) = (link.producer()?, link.consumer()?);
/// let mut loan = tx.loan(4000)?;
/// loan.write_at(0, &[1; 2000]);
/// loan.write_at(2000, &[2; 2000]);
/// loan.commit(7, 0, 0);
/// assert_eq!(rx.poll()?.unwrap().payload.as_slice()[1999..2001], [1, 2]);
/// # Ok(())
/// # }
/// ```
#[must_use = "a loan that is not committed publishes nothing"]
pub struct Loan<'p> {
    producer: &'p Producer<'p>,
    reserved: Reserved,
    words: &'p [AtomicU64],
    /// So many bytes at the start share a cache line with the metadata.
    near: usize,
    /// Bytes that will be published.
    len: usize,
    /// Where `io::Write` writes next.
    #[cfg(feature = "std")]
    written: usize,
}

impl<'a> Producer<'a> {
    /// Lends the place for a payload of `len` bytes. What had to be overwritten for it is gone from now
    /// on, committed or not.
    ///
    /// # Errors
    /// As [`Producer::publish`].
    #[inline(always)]
    pub fn loan(&mut self, len: usize) -> Result<Loan<'_>, TangoError> {
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
    /// Writes `bytes` at `offset`.
    ///
    /// # Panics
    /// If they end outside of the loan.
    #[inline]
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        assert!(
            offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len),
            "{} bytes at offset {offset} end outside of a loan of {} bytes",
            bytes.len(),
            self.len
        );
        // What a waiting reader looks at comes last: see `line`.
        let apart = self.near.saturating_sub(offset).min(bytes.len());
        let (near, far) = bytes.split_at(apart);
        words::store_at(self.words, offset + apart, far);
        words::store_at(self.words, offset, near);
    }

    /// The bytes themselves, on a link that was built without observers
    /// (`Link::builder().observers(false)`); `None` on others, whose observers may be looking.
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        if self.producer.parts.observers {
            return None;
        }
        // SAFETY: nobody else accesses these words until they are published: nobody who reads by copy
        // (observer, evictable consumer) attaches to such a link, reliable consumers have given back what was here
        // (`reserve` saw to it), and the
        // loan borrows the producer mutably.
        Some(unsafe { words::lend_mut(self.words, self.len) })
    }

    /// How many bytes will be published.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none will.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Publishes only the first `len` bytes; no effect if there are not that many.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Publishes what has been written.
    #[inline(always)]
    pub fn commit(self, sig: u64, ctl: u16, ts: u32) -> FragmentMetadata {
        let meta = self.producer.commit_reserved(self.reserved, self.len, sig, ctl, ts);
        self.producer.wake_waiters();
        meta
    }
}

impl core::fmt::Debug for Loan<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Loan").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Appends; a write that reaches the end of the loan is short, as with a slice.
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
