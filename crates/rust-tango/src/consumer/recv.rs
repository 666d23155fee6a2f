//! Calls that read through a shared reference, with the names that channels of threads have.

use super::cell::Received;
use super::handle::Consumer;
use super::wait::Read;
use crate::error::RecvError;
use crate::waiting::wait::{Wait, Waiting};

impl Consumer<'_> {
    /// The next fragment. Waits until there is one, as [`Consumer::with_wait`] says.
    ///
    /// It reads as [`Consumer::wait`] does, except that the end of the link is an error, and that the borrow checker
    /// accepts more programs: see [`Consumer`](Self#one-fragment-at-a-time).
    ///
    /// # Errors
    ///
    /// After these, call again:
    ///
    /// - [`RecvError::Lost`]: fragments were lost. It says how many, and where reading continues.
    /// - [`RecvError::Corrupt`]: a fragment with wrong metadata was skipped.
    /// - [`RecvError::ProducerReplaced`]: a new producer has taken over from one that died. Reported once.
    ///
    /// These return at once until a producer attaches:
    ///
    /// - [`RecvError::Closed`]: the link is closed and drained.
    /// - [`RecvError::ProducerGone`]: the producer has died, and everything that it published was read.
    ///
    /// At once, too:
    ///
    /// - [`RecvError::Held`]: the last fragment of `recv`, `try_recv` or `recv_timeout` still lives, or was
    ///   forgotten. Nothing was read.
    ///
    /// # Deadlocks
    ///
    /// It waits forever if this thread is the one that should publish.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Consumer, Link, Meta, Received, RecvError};
    ///
    /// /// The next quote. Everything else is skipped.
    /// fn next_quote<'a>(rx: &'a Consumer<'_>) -> Result<Received<'a>, RecvError> {
    ///     loop {
    ///         match rx.recv() {
    ///             Ok(fragment) if fragment.meta.sig == 7 => return Ok(fragment),
    ///             Ok(_) => {}
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    /// }
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"something else")?;
    /// tx.publish_with(b"bid 101.25", Meta::new().sig(7))?;
    /// drop(tx); // closes the link
    /// assert_eq!(next_quote(&rx)?.payload.as_slice(), b"bid 101.25");
    /// assert_eq!(next_quote(&rx).unwrap_err(), RecvError::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<Received<'_>, RecvError> {
        self.recv_or_wait(Waiting::new)
    }

    /// The next fragment, if it is there. Never blocks.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`]: there is nothing now. Fragments may arrive at any moment, so the answer may be out of
    /// date when it arrives. For the others see [`Consumer::recv`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, RecvError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, rx) = (link.producer()?, link.consumer()?);
    /// assert_eq!(rx.try_recv().unwrap_err(), RecvError::Empty);
    /// tx.send(b"one")?;
    /// tx.send(b"two")?;
    /// let one = rx.try_recv()?;
    /// assert_eq!(rx.try_recv().unwrap_err(), RecvError::Held); // `one` still lives
    /// drop(one);
    /// assert_eq!(rx.try_recv()?.payload.as_slice(), b"two");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<Received<'_>, RecvError> {
        match self.recv_polled() {
            // Most empty polls have not asked whether the link is closed.
            Err(RecvError::Empty) if self.is_closed() => Err(RecvError::Closed),
            polled => polled,
        }
    }

    /// [`Consumer::recv`] for `timeout` at most, or a little longer.
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`]: nothing came in time. For the others see [`Consumer::recv`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::{Link, RecvError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, rx) = (link.producer()?, link.consumer()?);
    /// let timeout = Duration::from_millis(5);
    /// assert_eq!(rx.recv_timeout(timeout).unwrap_err(), RecvError::Timeout);
    /// tx.send(b"one")?;
    /// assert_eq!(rx.recv_timeout(timeout)?.payload.as_slice(), b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "std")]
    pub fn recv_timeout(&self, timeout: core::time::Duration) -> Result<Received<'_>, RecvError> {
        self.recv_or_wait(|wait| Waiting::until(wait, Some(timeout)))
    }

    /// What [`Consumer::poll`] finds. [`RecvError::Empty`] also if the link is closed.
    #[inline(always)]
    fn recv_polled(&self) -> Result<Received<'_>, RecvError> {
        self.cell().lend(|reader| match reader.poll() {
            Ok(Some(fragment)) => Ok(fragment),
            Ok(None) => Err(RecvError::Empty),
            Err(error) => Err(RecvError::of_reading(error)),
        })
    }

    /// Polls once, before the clock is asked and `waiting` begins.
    #[inline(always)]
    fn recv_or_wait(&self, waiting: impl FnOnce(Wait) -> Waiting) -> Result<Received<'_>, RecvError> {
        match self.recv_polled() {
            Err(RecvError::Empty) => {}
            polled => return polled,
        }
        self.cell().lend(|reader| match reader.read_until_over(waiting(reader.wait)) {
            Ok(Read::Fragment(fragment)) => Ok(fragment),
            Ok(Read::Nothing) => Err(RecvError::Timeout),
            Ok(Read::Closed) => Err(RecvError::Closed),
            Err(error) => Err(RecvError::of_reading(error)),
        })
    }
}
