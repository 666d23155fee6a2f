//! [`Consumer`], as users have it: a [`Reader`] in a cell.

use super::cell::ReaderCell;
use super::payload::Fragment;
use super::poll::Reader;
use crate::error::TangoError;

/// Reads the fragments of a link, in order.
///
/// [`Link::consumer`], [`Link::observer`] and [`Link::evictable_consumer`] make one.
///
/// A consumer can move to another thread. It cannot be shared between threads: it is `Send`, and not `Sync`.
///
/// ```compile_fail,E0277
/// # use rust_tango::*;
/// fn share<T: Sync>(_: &T) {}
/// # let link = Link::builder().build().unwrap();
/// share(&link.consumer().unwrap());
/// ```
///
/// # One fragment at a time
///
/// A fragment is dropped before the next one is read. There are two families of calls, which read the same way and
/// can be mixed:
///
/// | | [`poll`](Self::poll), [`wait`](Self::wait), [`poll_batch`](Self::poll_batch), ... | [`try_recv`](Self::try_recv), [`recv`](Self::recv), [`recv_timeout`](Self::recv_timeout) |
/// |---|---|---|
/// | take | `&mut self` | `&self` |
/// | a second fragment | is refused by the compiler | is refused at run time: [`RecvError::Held`](crate::RecvError::Held) |
/// | nothing there, closed | `Ok(None)` | an error of its own for each |
/// | a loop that handles each fragment | compiles | compiles |
/// | a function that skips some fragments, and returns one | E0499, E0502 | compiles |
/// | other fields of `self` change while a fragment of `self.rx` lives | compiles | compiles |
/// | `self.handle(&fragment)` while a fragment of `self.rx` lives | E0502 | E0502 |
/// | [`wait_for_producer`](Self::wait_for_producer) in an arm of the `match` | E0502 | compiles |
/// | a call with `&mut self` in an arm of the `match` | E0499 | E0502 |
///
/// ```
/// use rust_tango::{Consumer, Received, RecvError};
///
/// struct Quotes {
///     rx: Consumer<'static>,
///     skipped: u64,
/// }
///
/// impl Quotes {
///     /// The next quote. Counts what it skips.
///     fn next(&mut self) -> Result<Received<'_>, RecvError> {
///         loop {
///             match self.rx.recv() {
///                 Ok(fragment) if fragment.meta.sig == 7 => return Ok(fragment),
///                 Ok(_) => self.skipped += 1,
///                 Err(error) => return Err(error),
///             }
///         }
///     }
/// }
/// # let link = rust_tango::Link::builder().build()?;
/// # let tx = link.producer()?;
/// # let mut quotes = Quotes { rx: link.consumer()?, skipped: 0 };
/// # tx.publish(b"trade", 8, 0, 0)?;
/// # tx.publish(b"quote", 7, 0, 0)?;
/// # assert_eq!(quotes.next()?.payload.as_slice(), b"quote");
/// # assert_eq!(quotes.skipped, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A method that needs the whole `self` cannot be called with a fragment of `self.rx`:
///
/// ```compile_fail,E0502
/// # use rust_tango::*;
/// # struct Book { rx: Consumer<'static>, bytes: usize }
/// impl Book {
///     fn handle(&mut self, fragment: &Fragment<'_>) {
///         self.bytes += fragment.payload.len();
///     }
///     fn run(&mut self) -> Result<(), RecvError> {
///         loop {
///             let fragment = self.rx.recv()?;
///             self.handle(&fragment); // borrows `self.rx`, too
///         }
///     }
/// }
/// ```
///
/// Put what the method changes into a field of its own, and call the method on that field, or take `self` apart:
///
/// ```
/// # use rust_tango::*;
/// # #[derive(Default)]
/// # struct Book { bytes: usize }
/// # struct Feed { rx: Consumer<'static>, book: Book }
/// impl Book {
///     fn handle(&mut self, fragment: &Fragment<'_>) {
///         self.bytes += fragment.payload.len();
///     }
/// }
/// impl Feed {
///     fn run(&mut self) -> Result<(), RecvError> {
///         let Self { rx, book } = self;
///         loop {
///             book.handle(&*rx.recv()?);
///         }
///     }
/// }
/// # let link = Link::builder().build()?;
/// # let (tx, rx) = (link.producer()?, link.consumer()?);
/// # tx.send(b"one")?;
/// # drop(tx);
/// # let mut feed = Feed { rx, book: Book::default() };
/// # assert_eq!((feed.run(), feed.book.bytes), (Err(RecvError::Closed), 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An arm still borrows the consumer, so a call with `&mut self` comes after the `match`:
///
/// ```compile_fail,E0502
/// # use rust_tango::*;
/// # fn run(rx: &mut Consumer<'_>) -> usize {
/// match rx.recv() {
///     Ok(fragment) => fragment.payload.len(),
///     Err(_) => rx.poll_batch(8).map_or(0, |batch| batch.len()),
/// }
/// # }
/// ```
///
/// What the compiler refuses of the first family:
///
/// ```compile_fail,E0499
/// # use rust_tango::*;
/// # let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
/// let mut consumer = Consumer::new(&mcache, &dcache, 1);
/// let first = consumer.poll().unwrap();
/// let second = consumer.poll().unwrap(); // `first` still borrows `consumer`
/// drop(first);
/// ```
///
/// The bytes cannot outlive the fragment, because dropping it returns the credit:
///
/// ```compile_fail,E0597
/// # use rust_tango::*;
/// # let (mcache, dcache) = (MCache::<8>::new(), DCache::<8, 64>::new());
/// let mut consumer = Consumer::new(&mcache, &dcache, 1);
/// let bytes = {
///     let fragment = consumer.poll().unwrap().unwrap();
///     fragment.payload.as_slice() // borrowed from `fragment`, which ends here
/// };
/// println!("{bytes:?}");
/// ```
///
/// # Examples
///
/// See [`Consumer::recv`], [`Consumer::poll`], [`Consumer::wait`] and [`Consumer::poll_batch`].
///
/// [`Link::consumer`]: crate::Link::consumer
/// [`Link::observer`]: crate::Link::observer
/// [`Link::evictable_consumer`]: crate::Link::evictable_consumer
pub struct Consumer<'a> {
    cell: ReaderCell<'a>,
}

impl<'a> Consumer<'a> {
    /// The next fragment, if it is there. Never blocks.
    ///
    /// `Ok(None)`: there is nothing yet, or the link is closed ([`Consumer::is_closed`]). Fragments may
    /// arrive at any moment, so the answer may be out of date when it arrives.
    ///
    /// A fragment that this call has returned counts as read, also if the caller then panics. Without a fragment, it
    /// sometimes asks the kernel whether the producer lives: every 50 milliseconds, and every 1024 empty polls.
    ///
    /// A fragment that is there is returned at once, unless the consumer was made
    /// [for throughput](Consumer::with_pace).
    ///
    /// # Errors
    ///
    /// After each of these, call again. If fragments were lost, reading continues after the gap:
    ///
    /// - [`TangoError::Overrun`]: the producer has lapped this reader, or has left numbers out.
    /// - [`TangoError::Evicted`]: this evictable consumer was too slow, and fragments were lost by that.
    /// - [`TangoError::Corrupt`]: the metadata of a fragment points outside the link. It was skipped.
    /// - [`TangoError::ProducerReplaced`]: a new producer has taken over from one that died. Reported once.
    ///
    /// This one is returned by every call until a new producer attaches:
    ///
    /// - [`TangoError::ProducerGone`]: the producer has died, and everything that it published was read. A reader
    ///   learns of it within 0.2 seconds, or at its next poll if it polls less often. (Directly after it has spun,
    ///   and without the feature `shm` on Linux, up to eight polls later.)
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::{Consumer, TangoError};
    ///
    /// /// Reads until the link is closed. A producer that died is an error.
    /// fn run(rx: &mut Consumer<'_>) -> Result<(), TangoError> {
    ///     loop {
    ///         if let Some(fragment) = rx.poll()? {
    ///             println!("{}: {} bytes", fragment.meta.seq, fragment.payload.len());
    ///         } else if rx.is_closed() {
    ///             return Ok(());
    ///         }
    ///     }
    /// }
    /// # let link = rust_tango::Link::builder().build().unwrap();
    /// # let mut rx = link.consumer().unwrap();
    /// # link.producer().unwrap().send(b"one").unwrap();
    /// # run(&mut rx).unwrap();
    /// ```
    #[inline(always)] // as in `Reader`
    pub fn poll(&mut self) -> Result<Option<Fragment<'_>>, TangoError> {
        self.reader_mut().poll()
    }

    pub(crate) fn of(reader: Reader<'a>) -> Self {
        Self { cell: ReaderCell::new(reader) }
    }

    #[inline(always)]
    pub(crate) fn reader(&self) -> &Reader<'a> {
        self.cell.get()
    }

    #[inline(always)]
    pub(crate) fn reader_mut(&mut self) -> &mut Reader<'a> {
        self.cell.get_mut()
    }

    #[cfg(all(feature = "async", target_os = "linux"))]
    pub(crate) fn into_reader(self) -> Reader<'a> {
        self.cell.into_inner()
    }

    /// The cell, for the calls that read through a shared reference.
    #[inline(always)]
    pub(super) fn cell(&self) -> &ReaderCell<'a> {
        &self.cell
    }
}
