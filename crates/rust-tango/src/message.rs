//! Messages longer than the MTU: split into fragments by the control bits, and put together again.

use alloc::vec::Vec;

use crate::consumer::payload::Fragment;
use crate::error::TangoError;
use crate::producer::Producer;
use crate::ring::metadata::Control;

impl Producer<'_> {
    /// Publishes a message of any length, in as many fragments as it takes (at least one), and says how
    /// many. Waits for credits like [`Producer::publish_blocking`]. An [`Assembler`] puts it together.
    ///
    /// # Errors
    /// [`TangoError::Closed`] if the link is stopped while credits are missing: part of the message may
    /// have been published then. [`TangoError::TooLarge`] if the link has an MTU of 0.
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
            let (part, behind) = rest.split_at(mtu.min(rest.len()));
            let mut control = Control::WHOLE;
            if fragments != 0 {
                control = control.with_continues();
            }
            if !behind.is_empty() {
                control = control.with_more();
            }
            self.publish_blocking(part, sig, control.bits(), 0)?;
            fragments += 1;
            rest = behind;
        }
        Ok(fragments)
    }
}

/// Why a message could not be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// A fragment in the middle is missing, or the reader came too late for the first one.
    Incomplete {
        /// Sequence number of the fragment that did not fit on.
        seq: u64,
    },
    /// The message is longer than the assembler takes.
    TooLong {
        /// The most that the assembler takes, in bytes.
        max: usize,
    },
    /// The sender marked the message as damaged.
    Damaged,
}

impl core::fmt::Display for MessageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Incomplete { seq } => write!(f, "part of a message was lost before fragment {seq}"),
            Self::TooLong { max } => write!(f, "a message is longer than the {max} bytes allowed for"),
            Self::Damaged => f.write_str("the sender marked a message as damaged"),
        }
    }
}

impl core::error::Error for MessageError {}

/// Puts messages of several fragments together again, in order of publication.
///
/// After an error the rest of the damaged message is skipped, and the next one starts afresh. A message
/// whose end never came, because the next one began, is only counted ([`Assembler::dropped`]). One whose beginning is
/// lost together with the end of a message that is skipped passes for the rest of that: two are told of, and counted,
/// as one. (How many fragments were lost, the consumer has said.)
///
/// ```
/// # fn main() -> Result<(), rust_tango::LinkError> {
/// # use rust_tango::{Assembler, Link};
/// let link = Link::builder().depth(8).mtu(4).build()?;
/// let (tx, mut rx) = (link.producer()?, link.consumer()?);
/// assert_eq!(tx.send_message(b"hello world", 0)?, 3);
/// let mut assembler = Assembler::new(1024);
/// while let Some(fragment) = rx.poll()? {
///     if let Some(message) = assembler.push(&fragment).unwrap() {
///         assert_eq!(message, b"hello world");
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Assembler {
    buffer: Vec<u8>,
    max: usize,
    /// What continues the message under way: sequence number and origin.
    expected: Option<(u64, u16)>,
    /// The rest of a message that was given up is passed over.
    skipping: bool,
    dropped: u64,
}

impl Assembler {
    /// For messages of up to `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { buffer: Vec::new(), max, expected: None, skipping: false, dropped: 0 }
    }

    /// Messages that could not be put together so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes the next fragment; the message, if this completes it.
    ///
    /// # Errors
    /// [`MessageError`], once for each message that cannot be put together.
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
