//! [`Output`]: what `recv` writes of each fragment, until it has enough.

use std::io::{self, BufWriter, Write};
use std::mem;
use std::time::{Duration, Instant};

use rust_tango::{Assembler, Consumer, Control, Fragment, MessageError, Start, TangoError};

use crate::content::{self, LONGEST_LINE};
use crate::failure::Failure;
use crate::summary::Tally;
use crate::{format, shown, signals, standard};

/// The output is flushed when no fragment has come for this long.
const FLUSH_AFTER: Duration = Duration::from_micros(20);
/// Time between two looks for a signal, and whether standard output is closed, while no fragment comes.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// What is written of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Payloads, and a newline behind each message that was sent as a line.
    AsSent,
    /// Every message is a line, whatever its sender calls it.
    Lines,
    /// Every fragment for people, as `peek` shows it.
    Shown { meta: bool, hex: bool },
}

/// How much to receive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// No more messages than this.
    pub(super) count: Option<u64>,
    /// No longer than until then.
    pub(super) until: Option<Instant>,
}

/// Why a receiver stops. Everything that was received is written.
pub(super) enum Ended {
    /// The link has ended, and everything in it was read.
    Link,
    /// There is enough, and why.
    Enough(&'static str),
    /// This signal has arrived.
    Signal(i32),
}

/// Standard output, and a count of the fragments that are missing from it.
pub(super) struct Output<'a> {
    out: BufWriter<standard::Output>,
    /// The name of the link.
    link: &'a str,
    form: Form,
    /// Where the receiver has begun.
    from: Start,
    /// Assembles lines from fragments.
    assembler: Assembler,
    /// The bytes in the assembler.
    pub(super) unfinished: usize,
    /// What was received, and what of it was written.
    pub(super) tally: Tally,
    /// Fragments that were overwritten before the receiver joined.
    pub(super) missed: u64,
    /// How many of these the first losses will tell.
    missed_untold: u64,
    /// Fragments that were lost later, or that belong to an incomplete message.
    pub(super) lost: u64,
    /// It was said that the link carries no lines.
    warned: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(link: &'a str, form: Form, from: Start) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 16, standard::Output),
            link,
            form,
            from,
            assembler: Assembler::new(LONGEST_LINE),
            unfinished: 0,
            tally: Tally::default(),
            missed: 0,
            missed_untold: 0,
            lost: 0,
            warned: false,
        }
    }

    /// Writes what is received, until the link has ended and is drained, or there is enough, or a signal arrives.
    pub(super) fn copy_from(&mut self, rx: &mut Consumer<'_>, limits: Limits) -> Result<Ended, Failure> {
        let ended = self.copy(rx, limits)?;
        self.flush()?;
        Ok(ended)
    }

    fn copy(&mut self, rx: &mut Consumer<'_>, limits: Limits) -> Result<Ended, Failure> {
        let mut flushed = false;
        while !(flushed && rx.is_closed()) {
            if let Some(signal) = signals::arrived() {
                return Ok(Ended::Signal(signal));
            }
            let mut wait = if flushed { CHECK_EVERY } else { FLUSH_AFTER };
            if let Some(until) = limits.until {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(Ended::Enough("--duration is over"));
                }
                wait = wait.min(left);
            }
            match rx.wait_timeout(wait) {
                Ok(Some(fragment)) => {
                    self.write(&fragment)?;
                    if limits.count.is_some_and(|count| self.tally.messages() >= count) {
                        return Ok(Ended::Enough("--count is reached"));
                    }
                    flushed = false;
                    continue;
                }
                Ok(None) => {}
                Err(TangoError::Overrun { lost, .. }) => self.note_lost(lost)?,
                Err(TangoError::Corrupt { .. }) => self.note_lost(1)?,
                // `abnormal_end` reports it.
                Err(TangoError::ProducerGone) => return Ok(Ended::Link),
                Err(TangoError::ProducerReplaced { .. }) => {}
                Err(error) => return Err(Failure::new(error.to_string())),
            }
            // A reader that goes while nothing comes is noticed, too. But a sender may wait for this receiver, so it stays
            // until something was written.
            if flushed && self.tally.messages() > 0 {
                let is_closed = standard::output_is_closed_within(Duration::ZERO).map_err(Failure::output)?;
                if is_closed {
                    return Err(Failure::output(io::ErrorKind::BrokenPipe.into()));
                }
            }
            self.flush()?;
            flushed = true;
        }
        Ok(Ended::Link)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::output)
    }

    /// Counts fragments that were overwritten before the receiver joined.
    pub(super) fn note_missed(&mut self, missed: u64) -> Result<(), Failure> {
        self.missed = self.missed.saturating_add(missed);
        self.show_lost(missed)
    }

    /// So many fragments were overwritten before the receiver joined, and its first losses will tell of them.
    pub(super) fn will_be_told_of(&mut self, missed: u64) {
        self.missed_untold = missed;
    }

    /// Counts fragments that were lost, or numbers that were left out.
    fn note_lost(&mut self, lost: u64) -> Result<(), Failure> {
        let missed = if self.tally.fragments() == 0 { lost.min(self.missed_untold) } else { 0 };
        self.missed_untold -= missed;
        // Saturating: the counts of a corrupt link can overflow the sum.
        self.missed = self.missed.saturating_add(missed);
        self.lost = self.lost.saturating_add(lost - missed);
        self.show_lost(lost)
    }

    fn show_lost(&mut self, lost: u64) -> Result<(), Failure> {
        match self.form {
            Form::Shown { .. } if lost > 0 => {
                self.out.write_all(shown::lost(lost).as_bytes()).map_err(Failure::output)
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, fragment: &Fragment<'_>) -> Result<(), Failure> {
        let bytes = fragment.payload.as_slice();
        self.tally.fragment(bytes.len());
        match self.form {
            Form::Shown { meta, hex } => {
                let mut text = if meta { shown::metadata(&fragment.meta) } else { String::new() };
                if hex {
                    text += &shown::payload(bytes, usize::MAX);
                }
                self.tally.message();
                self.out.write_all(text.as_bytes()).map_err(Failure::output)
            }
            Form::AsSent if fragment.meta.sig != content::LINES => {
                self.tally.message();
                self.out.write_all(bytes).map_err(Failure::output)
            }
            Form::AsSent | Form::Lines => self.write_line(fragment),
        }
    }

    /// Writes the line that the fragment completes, if it does.
    fn write_line(&mut self, fragment: &Fragment<'_>) -> Result<(), Failure> {
        let bytes = fragment.payload.as_slice();
        if fragment.meta.sig == content::BYTES && !mem::replace(&mut self.warned, true) {
            standard::write_error(&format!(
                "tango: link {} was sent without --lines: its fragments need not end where lines end\n",
                self.link
            ));
        }
        let link = self.link;
        match self.assembler.push(fragment) {
            Ok(None) => {
                let is_first = !Control::from_bits(fragment.meta.ctl).continues();
                self.unfinished = match self.unfinished {
                    _ if is_first => bytes.len(),
                    0 => 0, // the rest of a message that the assembler gave up
                    before => before + bytes.len(),
                };
                Ok(())
            }
            Ok(Some(message)) => {
                self.unfinished = 0;
                self.tally.message();
                self.out.write_all(message).and_then(|()| self.out.write_all(b"\n")).map_err(Failure::output)
            }
            // This fragment was received, but other fragments of its message were lost, so it counts as
            // lost, too. If they came before the receiver was to begin, nothing is.
            Err(MessageError::Incomplete { .. }) => {
                self.unfinished = 0;
                let is_first = self.tally.fragments() == 1 && self.missed == 0 && self.lost == 0;
                if !(is_first && self.from != Start::Oldest) {
                    self.lost = self.lost.saturating_add(1);
                }
                Ok(())
            }
            Err(MessageError::TooLong { max }) => Err(Failure::new(format!(
                "a line of link {link} is longer than {} bytes, the limit",
                format::count(max as u64)
            ))),
            Err(error) => Err(Failure::new(format!("link {link}: {error}"))),
        }
    }
}
