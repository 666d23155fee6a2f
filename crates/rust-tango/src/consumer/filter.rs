//! Reading only the fragments with certain tags.

use super::handle::Consumer;
use super::payload::Fragment;
use super::poll::{Next, Reader};
use crate::error::TangoError;
use crate::ring::metadata::Place;

impl Consumer<'_> {
    /// [`Consumer::poll`] that skips fragments whose `sig` is not accepted. The payload of a skipped
    /// fragment is not read, and its credit is returned at once.
    ///
    /// If `accept` panics, the fragment that it was asked about stays: the next call asks again.
    ///
    /// One call skips at most as many fragments as the ring has lines. `Ok(None)`: that many were skipped,
    /// or there are no more.
    ///
    /// # Errors
    ///
    /// See [`Consumer::poll`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// const QUOTE: u64 = 1;
    /// const TRADE: u64 = 2;
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.publish(b"bid 101.25", QUOTE, 0, 0)?;
    /// tx.publish(b"sold 101.25", TRADE, 0, 0)?;
    /// let trade = rx.poll_if(|sig| sig == TRADE)?.unwrap();
    /// assert_eq!(trade.payload.as_slice(), b"sold 101.25");
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn poll_if(&mut self, accept: impl FnMut(u64) -> bool) -> Result<Option<Fragment<'_>>, TangoError> {
        self.reader_mut().poll_if(accept)
    }
}

impl Reader<'_> {
    fn poll_if(&mut self, mut accept: impl FnMut(u64) -> bool) -> Result<Option<Fragment<'_>>, TangoError> {
        for _ in 0..self.parts.ring.depth() {
            let Next::Fragment(line, found_in) = self.find_next()? else { return Ok(None) };
            let (sig, place) = (line.sig(), line.place());
            if !self.mode.is_in_place() && !self.parts.is_valid(self.next) {
                return Err(self.overrun());
            }
            // A placeholder has no tag, and is never skipped in silence.
            if place == Place::LEFT_OUT {
                return Err(self.unreadable());
            }
            if accept(sig) {
                return self.take(line, found_in);
            }
            let next = self.next.wrapping_add(1);
            self.consumed(next);
            self.copied_up_to(next);
        }
        Ok(None)
    }
}
