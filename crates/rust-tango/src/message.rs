//! Messages longer than the MTU: [`Producer::send_message`] splits them into fragments, and [`Assembler`]
//! joins the fragments. The control bits of `ctl` mark the first and the last fragment.

use alloc::vec::Vec;

use crate::consumer::payload::Fragment;
use crate::error::TangoError;
use crate::producer::Producer;
use crate::ring::metadata::Control;

impl Producer<'_> {
    /// Publishes a message of any length in as many fragments as it needs, at least one. Returns their
    /// number.
    ///
    /// Each fragment has this `sig` and a `ts` of 0, and its `ctl` says which part it is (see
    /// [`FragmentMetadata`](crate::FragmentMetadata)). An [`Assembler`] on the reader's side joins them.
    ///
    /// Waits for credits like [`Producer::publish_blocking`], for each fragment. The same deadlocks are
    /// possible.
    ///
    /// # Errors
    /// - [`TangoError::Closed`] if the link was stopped. If that was after the first fragment, part of the
    ///   message was published.
    /// - [`TangoError::TooLarge`] if the link has an MTU of 0 and the message is not empty.
    ///
    /// # Examples
    /// See [`Assembler`].
    pub fn send_message(&self, message: &[u8], sig: u64) -> Result<u64, TangoError> {
        let mtu = self.mtu();
        if message.len() <= mtu {
            return self.publish_blocking(message, sig, 0, 0).map(|_| 1);
        }
        if mtu == 0 {
            return Err(TangoError::TooLarge { size: message.len(), max: 0 });
        }
        let (mut rest, mut fragments) = (message, 0);
        while !rest.is_empty() {
            let (part, after) = rest.split_at(mtu.min(rest.len()));
            let mut control = Control::WHOLE;
            if fragments != 0 {
                control = control.with_continues();
            }
            if !after.is_empty() {
                control = control.with_more();
            }
            self.publish_blocking(part, sig, control.bits(), 0)?;
            fragments += 1;
            rest = after;
        }
        Ok(fragments)
    }
}

/// Why an [`Assembler`] could not join the fragments of a message. It has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// A fragment of the message is missing: the reader lost it, or attached after the first fragment.
    Incomplete {
        /// Sequence number of the fragment that does not continue what came before it.
        seq: u64,
    },
    /// The message is longer than the assembler's limit.
    TooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// There is no memory for the message. The assembler has freed what it had.
    NoMemory {
        /// How many bytes of the message there are at least.
        size: usize,
    },
    /// The sender marked the message as damaged ([`Control::ERROR`]).
    Damaged,
}

impl core::fmt::Display for MessageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Incomplete { seq } => write!(f, "part of a message was lost before fragment {seq}"),
            Self::TooLong { max } => write!(f, "a message is longer than the limit of {max} bytes"),
            Self::NoMemory { size } => write!(f, "there is no memory for a message of {size} bytes or more"),
            Self::Damaged => f.write_str("the sender marked a message as damaged"),
        }
    }
}

impl core::error::Error for MessageError {}

/// Joins the fragments of messages that are longer than the MTU.
///
/// Give it all fragments of one link, in the order in which they were published. It recognises the parts of a
/// message by their `ctl` (see [`Control`]). A message of a single fragment passes through it as well.
///
/// How it handles losses:
///
/// - After an error, it skips the rest of the damaged message. The next message starts afresh.
/// - If a message has no end because the next one begins, there is no error. It is only counted
///   ([`Assembler::dropped`]).
/// - If the end of a skipped message is lost together with the beginning of the next one, the rest of that
///   next message looks like the rest of the skipped one. The two are reported and counted as one. (The
///   consumer has already reported how many fragments were lost.)
///
/// # Examples
///
/// ```
/// use rust_tango::{Assembler, Link};
///
/// let link = Link::builder().depth(8).mtu(4).build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// assert_eq!(tx.send_message(b"hello world", 0)?, 3); // three fragments
///
/// let mut assembler = Assembler::new(1024);
/// let mut messages = Vec::new();
/// while let Some(fragment) = rx.poll()? {
///     match assembler.push(&fragment) {
///         Ok(Some(message)) => messages.push(message.to_vec()),
///         Ok(None) => {} // there are more fragments
///         Err(error) => eprintln!("{error}"), // this message is lost
///     }
/// }
/// assert_eq!(messages, [b"hello world"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Assembler {
    buffer: Vec<u8>,
    max: usize,
    /// Sequence number and origin of the fragment that continues the unfinished message.
    expected: Option<(u64, u16)>,
    /// It skips the rest of a message that it gave up.
    skipping: bool,
    dropped: u64,
}

impl Assembler {
    /// An assembler for messages of up to `max` bytes. It allocates only as much as the messages need.
    pub fn new(max: usize) -> Self {
        Self { buffer: Vec::new(), max, expected: None, skipping: false, dropped: 0 }
    }

    /// How many messages it could not join so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds the next fragment. Returns the message if this fragment completes it, otherwise `Ok(None)`.
    ///
    /// It copies the payload, so the fragment may be dropped afterwards.
    ///
    /// # Errors
    /// A [`MessageError`], once for each message that it cannot join. A message of which only the end is missing
    /// is counted, but not reported.
    pub fn push(&mut self, fragment: &Fragment<'_>) -> Result<Option<&[u8]>, MessageError> {
        let control = Control::from_bits(fragment.meta.ctl);
        let expected = self.expected.take();
        if control.continues() {
            if self.skipping {
                self.skipping = control.more();
                return Ok(None);
            }
            if expected != Some((fragment.meta.seq, control.origin())) {
                return self.give_up(control, MessageError::Incomplete { seq: fragment.meta.seq });
            }
        } else {
            self.dropped += u64::from(expected.is_some());
            self.skipping = false;
            self.buffer.clear();
        }
        let bytes = fragment.payload.as_slice();
        if control.error() {
            return self.give_up(control, MessageError::Damaged);
        }
        if bytes.len() > self.max - self.buffer.len() {
            return self.give_up(control, MessageError::TooLong { max: self.max });
        }
        // A sender decides how long a message is, and must not end this process with it.
        if self.buffer.try_reserve(bytes.len()).is_err() {
            let size = self.buffer.len() + bytes.len();
            self.buffer = Vec::new();
            return self.give_up(control, MessageError::NoMemory { size });
        }
        self.buffer.extend_from_slice(bytes);
        if control.more() {
            self.expected = Some((fragment.meta.seq.wrapping_add(1), control.origin()));
            return Ok(None);
        }
        Ok(Some(&self.buffer))
    }

    fn give_up(&mut self, control: Control, error: MessageError) -> Result<Option<&[u8]>, MessageError> {
        self.buffer.clear();
        self.skipping = control.more();
        self.dropped += 1;
        Err(error)
    }
}
