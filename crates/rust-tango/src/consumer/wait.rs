//! Calls of the consumer that wait, and [`FragmentWatch`]: what it waits for.

use super::handle::Consumer;
#[cfg(any(feature = "std", loom))]
use super::losses::Losses;
#[cfg(all(feature = "async", target_os = "linux"))]
use super::mode::Attachment;
use super::payload::Fragment;
use super::poll::{Next, Reader};
#[cfg(any(feature = "std", loom))]
use super::producer_watch::ProducerWatch;
use crate::error::TangoError;
#[cfg(feature = "std")]
use crate::memory::parts::Ending;
#[cfg(any(feature = "std", loom))]
use crate::memory::parts::Parts;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::memory::share::LinkMemory;
#[cfg(any(feature = "std", loom))]
use crate::ring::line::LineState;
use crate::ring::metadata::FragmentMetadata;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::sync::Arc;
#[cfg(any(feature = "std", loom))]
use crate::sync::Relaxed;
#[cfg(all(feature = "async", target_os = "linux"))]
use crate::waiting::eventcount::Eventcount;
use crate::waiting::wait::{Due, Wait, Waiting};

impl<'a> Consumer<'a> {
    /// The next fragment. Waits until there is one, as [`Consumer::with_wait`] says.
    ///
    /// `Ok(None)`: the link is closed and drained. (A new producer can open it again.)
    ///
    /// # Errors
    ///
    /// See [`Consumer::poll`]. While the producer is dead, it does not wait, but returns
    /// [`TangoError::ProducerGone`] at once. To wait for the next producer, call
    /// [`Consumer::wait_for_producer`].
    ///
    /// # Deadlocks
    ///
    /// It waits forever if this thread is the one that should publish.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, TangoError};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    ///
    /// let reader = std::thread::spawn(move || -> Result<usize, TangoError> {
    ///     let mut count = 0;
    ///     // A producer that dies is an error, so the loop does not end as if the link was closed.
    ///     while let Some(fragment) = rx.wait()? {
    ///         count += fragment.payload.len();
    ///     }
    ///     Ok(count)
    /// });
    /// tx.send(b"one")?;
    /// tx.send(b"two")?;
    /// drop(tx); // closes the link
    /// assert_eq!(reader.join().unwrap()?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        let reader = self.reader_mut();
        reader.read_until_over(Waiting::new(reader.wait)).map(Read::fragment)
    }

    /// [`Consumer::wait`] for `timeout` at most, or a little longer.
    ///
    /// `Ok(None)`: nothing came, or the link is closed ([`Consumer::is_closed`]).
    ///
    /// # Errors
    ///
    /// See [`Consumer::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// let timeout = Duration::from_millis(5);
    /// assert!(rx.wait_timeout(timeout)?.is_none() && !rx.is_closed());
    /// tx.send(b"one")?;
    /// assert!(rx.wait_timeout(timeout)?.is_some());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[cfg(feature = "std")]
    pub fn wait_timeout(
        &mut self,
        timeout: core::time::Duration,
    ) -> Result<Option<Fragment<'_>>, TangoError> {
        let reader = self.reader_mut();
        reader.read_until_over(Waiting::until(reader.wait, Some(timeout))).map(Read::fragment)
    }

    /// Calls `each` with every fragment, in place, until the link is closed and drained. Waits like
    /// [`Consumer::wait`].
    ///
    /// `each` must not publish into the same link with a call that waits: this thread holds a credit
    /// meanwhile.
    ///
    /// If `each` panics, the fragment that it was given counts as read, and its credit returns. A caller that
    /// catches the panic continues with the next fragment.
    ///
    /// # Errors
    ///
    /// See [`Consumer::wait`]. To continue after an error, call it again. After
    /// [`TangoError::ProducerGone`], wait for another producer first.
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?);
    /// tx.send(b"one")?;
    /// drop(tx); // closes the link, so the call returns
    /// rx.for_each(|meta, payload| println!("{}: {payload:?}", meta.seq))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_each(&mut self, mut each: impl FnMut(&FragmentMetadata, &[u8])) -> Result<(), TangoError> {
        while let Some(fragment) = self.wait()? {
            each(&fragment.meta, fragment.payload.as_slice());
        }
        Ok(())
    }

    /// After [`TangoError::ProducerGone`], waits until the link has a producer again. Checks at least every
    /// twenty milliseconds. `None` waits without a limit.
    ///
    /// False: the link was closed or stopped, or has lost its name, so that no producer can find it, or
    /// `timeout` has passed, before that. The new producer may die at any moment, so the answer may be out
    /// of date when it arrives.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use rust_tango::{Consumer, TangoError};
    ///
    /// /// Reads until the link is closed. Continues with the next producer if one dies.
    /// fn run(rx: &mut Consumer<'_>) -> Result<(), TangoError> {
    ///     loop {
    ///         let error = match rx.wait() {
    ///             Ok(Some(fragment)) => {
    ///                 println!("{} bytes", fragment.payload.len());
    ///                 continue;
    ///             }
    ///             Ok(None) => return Ok(()), // closed and drained
    ///             Err(error) => error,
    ///         };
    ///         match error {
    ///             // Supervisors restart the producer within ten seconds, say.
    ///             TangoError::ProducerGone if rx.wait_for_producer(Some(Duration::from_secs(10))) => {}
    ///             TangoError::ProducerReplaced { first } => println!("new producer, from {first} on"),
    ///             error => return Err(error),
    ///         }
    ///     }
    /// }
    /// # let link = rust_tango::Link::builder().build().unwrap();
    /// # let mut rx = link.consumer().unwrap();
    /// # link.producer().unwrap().send(b"one").unwrap();
    /// # run(&mut rx).unwrap();
    /// ```
    #[cfg(feature = "std")]
    pub fn wait_for_producer(&self, timeout: Option<core::time::Duration>) -> bool {
        self.reader().wait_for_producer(timeout)
    }

    /// Sets how blocking calls wait: see [`Wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Link, Wait};
    ///
    /// let link = Link::builder().depth(8).mtu(64).build()?;
    /// let (tx, mut rx) = (link.producer()?, link.consumer()?.with_wait(Wait::Spin));
    /// tx.send(b"one")?;
    /// assert!(rx.wait()?.is_some());
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    #[must_use]
    pub fn with_wait(mut self, wait: Wait) -> Self {
        self.reader_mut().wait = wait;
        self
    }
}

/// What a call that waits has found.
pub(super) enum Read<'c> {
    Fragment(Fragment<'c>),
    /// Nothing came in time.
    Nothing,
    /// The link is closed and drained.
    Closed,
}

impl<'c> Read<'c> {
    fn fragment(self) -> Option<Fragment<'c>> {
        match self {
            Self::Fragment(fragment) => Some(fragment),
            Self::Nothing | Self::Closed => None,
        }
    }
}

impl<'c> From<Option<Fragment<'c>>> for Read<'c> {
    fn from(taken: Option<Fragment<'c>>) -> Self {
        taken.map_or(Self::Nothing, Self::Fragment)
    }
}

impl<'a> Reader<'a> {
    /// There is nothing. Most empty polls have not asked whether the link is closed.
    fn nothing(&self) -> Read<'static> {
        if self.is_closed() { Read::Closed } else { Read::Nothing }
    }

    /// The next fragment. Waits until there is one, the link is closed, or the wait is over.
    pub(super) fn read_until_over(&mut self, mut waiting: Waiting) -> Result<Read<'_>, TangoError> {
        loop {
            match self.find_next()? {
                Next::Fragment(line, found_in) => return self.take(line, found_in).map(Read::from),
                Next::Closed => return Ok(Read::Closed),
                Next::Nothing if waiting.is_over() => return Ok(self.nothing()),
                Next::Nothing => {}
            }
            match waiting.pause() {
                Due::Look | Due::Question => {}
                #[cfg(feature = "std")]
                Due::Sleep => {
                    self.leave_hot_slot_to_sleep();
                    self.sleep(&waiting);
                }
            }
        }
    }

    /// [`Self::find_next`] for a reader that sleeps if there is nothing. It polls the ring, and makes all
    /// checks before it says that there is nothing.
    #[cfg(all(feature = "async", target_os = "linux"))]
    #[inline]
    pub(crate) fn find_next_before_sleep(&mut self) -> Result<Next<'a>, TangoError> {
        self.leave_hot_slot_to_sleep();
        match self.find_next()? {
            Next::Nothing => self.find_next_slow(LineState::NotYet),
            found => Ok(found),
        }
    }

    /// Sleeps until there is news, and for a slice at most.
    #[cfg(feature = "std")]
    fn sleep(&mut self, waiting: &Waiting) {
        let has_news = || self.watch().has_news();
        let slept = self.mode.seat().is_some_and(|seat| seat.sleep(waiting.longest_sleep(), has_news));
        let is_due = if slept { !self.watch().has_news() } else { self.naps.nap(self.next, waiting) };
        if is_due {
            self.check_producer_lives();
        }
    }

    /// See [`Consumer::wait_for_producer`].
    #[cfg(feature = "std")]
    fn wait_for_producer(&self, timeout: Option<core::time::Duration>) -> bool {
        let waiting = Waiting::until(Wait::Park, timeout);
        // What they learn here, the next read learns again.
        let (mut producer, mut naps) = (self.producer, self.naps);
        loop {
            producer.check_producer_lives(&self.parts, &self.attachment);
            match producer.ending(&self.parts) {
                None => return true,
                Some(Ending::Closed) => return false,
                Some(Ending::Died) if waiting.longest_sleep().is_zero() => return false,
                Some(Ending::Died) if !self.attachment.is_named() => return false,
                Some(Ending::Died) => {
                    naps.nap(self.next, &waiting);
                }
            }
        }
    }

    /// What this reader waits for after it has found nothing.
    #[cfg(any(feature = "std", loom))]
    pub(crate) fn watch(&self) -> FragmentWatch<'a> {
        FragmentWatch {
            parts: self.parts,
            next: self.next,
            joined: self.standing.has_joined(),
            losses: *self.standing.losses(),
            producer: self.producer,
            #[cfg(all(feature = "async", target_os = "linux"))]
            own: self.mode.seat().map(crate::credits::seat::Seat::eventcount),
        }
    }

    /// The memory of the link, for a thread that waits in this consumer's place. `None`: it is static.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn memory(&self) -> Option<Arc<dyn LinkMemory>> {
        match &self.attachment {
            Attachment::Owned(claim) => Some(claim.memory()),
            Attachment::None | Attachment::Borrowed(_) => None,
        }
    }
}

/// What a reader waits for after it has found nothing: a view of the link, and of where the reader is.
/// Another thread can have it.
#[cfg(any(feature = "std", loom))]
#[derive(Clone, Copy)]
pub(crate) struct FragmentWatch<'a> {
    parts: Parts<'a>,
    next: u64,
    joined: bool,
    losses: Losses,
    producer: ProducerWatch,
    /// The reader's eventcount, if it has a slot.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) own: Option<&'a Eventcount>,
}

#[cfg(any(feature = "std", loom))]
impl<'a> FragmentWatch<'a> {
    /// The eventcount on which a reader with a slot sleeps: the producer's.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn notifier(&self) -> &'a Eventcount {
        &self.parts.head.eventcount
    }

    /// Whether the link was stopped. A stop wakes sleepers, but does not change the notifier's count.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn is_stopped(&self) -> bool {
        self.parts.is_stopped()
    }

    /// Words of the link of which one changes at the latest when a publishing call returns, or the link ends or
    /// gets another producer. So a reader that found nothing need not look again as long as all are the same,
    /// except that a producer may die, or take long, in the middle of a batch.
    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn signs(&self) -> [u64; 5] {
        let Parts { head, stop, .. } = &self.parts;
        let lifecycle = &head.lifecycle;
        let (incarnation, takeovers) =
            (lifecycle.incarnation.load(Relaxed), lifecycle.takeovers.load(Relaxed));
        [head.next.load(Relaxed), stop.load(Relaxed), lifecycle.cnc.state() as u64, incarnation, takeovers]
    }

    /// Whether the reader would find more than nothing. (Evictions do not count: an evicted reader finds
    /// out when it reads.)
    pub(crate) fn has_news(&self) -> bool {
        self.has_fragment() || self.is_ended_by(&self.end())
    }

    /// Whether the reader would find a fragment, or that it is lost. Of one that has not joined: whether it can.
    pub(crate) fn has_fragment(&self) -> bool {
        if !self.joined {
            return self.parts.head.is_bound();
        }
        let state = self.parts.ring.line(self.next).state(self.next);
        self.losses.plausible_state(state, self.next, &self.parts) != LineState::NotYet
    }

    /// What all readers of the link can learn of its end, and of its producer's.
    pub(crate) fn end(&self) -> LinkEnd {
        let ending = self.parts.ending();
        let lifecycle = &self.parts.head.lifecycle;
        // After the state: see `ProducerWatch::ending`.
        let incarnation = lifecycle.incarnation.load(Relaxed);
        let is_stopped = self.parts.is_stopped();
        LinkEnd {
            is_ended: ending.is_some(),
            is_stopped,
            incarnation,
            takeovers: lifecycle.takeovers.load(Relaxed),
        }
    }

    /// Whether this reader has to be told of such an end.
    pub(crate) fn is_ended_by(&self, end: &LinkEnd) -> bool {
        if !self.joined {
            return end.is_stopped;
        }
        end.is_ended || self.producer.is_news(end.incarnation, end.takeovers)
    }
}

/// What [`FragmentWatch::end`] has read.
#[cfg(any(feature = "std", loom))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinkEnd {
    is_ended: bool,
    is_stopped: bool,
    incarnation: u64,
    takeovers: u64,
}
