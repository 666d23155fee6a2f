//! `tango recv`: copies a link to standard output.

use std::io::{BufWriter, Write};
use std::mem;
use std::time::Duration;

use rust_tango::{Assembler, Consumer, Control, Fragment, Link, LinkStatus, MessageError, Start, TangoError};

use crate::content::{self, LONGEST_LINE};
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::joining::{self, Joining, Reading};
use crate::signals;
use crate::{format, options, standard};

/// The output is flushed when no fragment has come for this long.
const FLUSH_AFTER: Duration = Duration::from_micros(20);
/// Time between two looks for a signal while no fragment comes.
const CHECK_EVERY: Duration = Duration::from_millis(100);

const DETAILS: &str = "\
Examples:
  tango recv numbers > numbers.txt     copy what 'tango send numbers' sends
  tango recv log | grep error          print what 'tango send log --lines' sends
  tango recv log --observe             watch without slowing the sender down
  tango recv prices --lines            print a program's messages, one per line

A line, or a message with --lines, can have up to 1 GiB. Only complete lines are
written.

Until the link exists, recv waits, and says so after a while. When a signal ends
it, it writes what it has received and leaves its slot.

A link whose sender has crashed still exists: recv writes what is left in it and
exits with status 1. To wait for a new sender instead, run 'tango rm --dead'
first.

Exit status:
  0      everything that the sender sent was received, or the program that reads
         standard output has ended
  1      the sender died, the link was stopped, removed or damaged, or another
         failure
  2      invalid usage
  3      fragments were lost: an observer was too slow, or the receiver joined
         after the beginning was overwritten
  128+N  terminated by signal N";

/// Receive from a link and write to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Name of the link; recv waits until it exists
    pub(crate) link: String,
    /// Do not slow the sender down; count lost fragments
    #[arg(long)]
    observe: bool,
    /// Write a newline after each complete message; not
    /// needed for a link of 'tango send --lines'
    #[arg(long, verbatim_doc_comment)]
    lines: bool,
    /// Wait no longer than this for the link
    /// [default: no limit]
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = options::seconds,
        allow_negative_numbers = true,
        verbatim_doc_comment
    )]
    timeout: Option<Duration>,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    let name = &arguments.link;
    standard::check_output().map_err(Failure::output)?;
    // A signal ends the loops below, so that the receiver leaves its slot.
    signals::interrupt_by_termination().map_err(Failure::signals)?;
    let (link, mut rx) = join(arguments, folder)?;
    // Fragments that were published and overwritten before this receiver joined. It wants all, from the
    // link's start.
    let missed = rx.next_seq().wrapping_sub(link.geometry().start);
    let mut output = Output::new(name, arguments.lines);
    output.lost = missed;
    let ended = output.copy_from(&mut rx)?;
    let loss = (output.lost > 0).then(|| {
        let early = match missed {
            0 => String::new(),
            missed => format!(" ({} before this receiver joined)", format::count(missed)),
        };
        Failure::lost(format!("{} fragments of link {name} were lost{early}", format::count(output.lost)))
    });
    let end = match ended {
        Ended::Link => abnormal_end(&link.status(), name, output.unfinished),
        Ended::Signal(number) => Some(Failure::signal(number)),
    };
    match (loss, end) {
        (None, None) => Ok(()),
        (Some(failure), None) | (None, Some(failure)) => Err(failure),
        (Some(loss), Some(end)) => {
            loss.report();
            Err(end)
        }
    }
}

/// Waits for the link and joins it at the oldest fragment that it still has.
fn join(arguments: &Arguments, folder: &LinkFolder) -> Result<(Link, Consumer<'static>), Failure> {
    let joining = Joining {
        folder,
        name: &arguments.link,
        reading: if arguments.observe { Reading::Observer } else { Reading::Reliable },
        start: Start::Oldest,
        timeout: arguments.timeout,
        otherwise: "use --observe",
    };
    let joined = joining::join(&joining, || signals::arrived().is_some())?;
    joined.ok_or_else(|| Failure::signal(signals::arrived().unwrap_or_default()))
}

/// Why data may be missing at the end, after everything in the link was read. `None` if its sender has
/// closed it. `unfinished` is the size of what was received of a line without its end.
fn abnormal_end(status: &LinkStatus, name: &str, unfinished: usize) -> Option<Failure> {
    let unfinished = match unfinished {
        0 => String::new(),
        bytes => {
            format!(", from the middle of a line ({} bytes of it were received)", format::count(bytes as u64))
        }
    };
    match status {
        LinkStatus { name_lost: true, .. } => Some(Failure::new(format!(
            "{}: the end of the data may be missing{unfinished}",
            format::name_lost(name)
        ))),
        LinkStatus { stopped: true, .. } => Some(Failure::new(format!(
            "link {name} was stopped: the end of the data may be missing{unfinished}"
        ))),
        LinkStatus { closed: true, .. } => None,
        LinkStatus { producers: 0, .. } => Some(Failure::new(format!(
            "link {name} has never had a sender, and the process that made it has died ('tango rm {name}' removes the link)"
        ))),
        _ => Some(Failure::new(format!(
            "the sender of link {name} died: the end of the data is missing{unfinished} ('tango rm {name}' removes the link)"
        ))),
    }
}

/// Why a receiver stops.
enum Ended {
    /// The link has ended, and everything in it was read.
    Link,
    /// This signal has arrived. Everything that was received is written.
    Signal(i32),
}

/// Standard output, and a count of the fragments that are missing from it.
struct Output<'a> {
    out: BufWriter<standard::Output>,
    /// The name of the link.
    link: &'a str,
    /// `--lines`: every message is a line, whatever its sender calls it.
    lines: bool,
    /// Assembles lines from fragments.
    assembler: Assembler,
    /// The bytes in the assembler.
    unfinished: usize,
    /// Fragments that were lost, or that belong to an incomplete message.
    lost: u64,
    /// It was said that the link carries no lines.
    warned: bool,
}

impl<'a> Output<'a> {
    fn new(link: &'a str, lines: bool) -> Self {
        let out = BufWriter::with_capacity(1 << 16, standard::Output);
        let assembler = Assembler::new(LONGEST_LINE);
        Self { out, link, lines, assembler, unfinished: 0, lost: 0, warned: false }
    }

    /// Writes everything that is received, until the link has ended and is drained, or a signal arrives.
    fn copy_from(&mut self, rx: &mut Consumer<'_>) -> Result<Ended, Failure> {
        let mut flushed = false;
        while !(flushed && rx.is_closed()) {
            if let Some(signal) = signals::arrived() {
                self.out.flush().map_err(Failure::output)?;
                return Ok(Ended::Signal(signal));
            }
            match rx.wait_timeout(if flushed { CHECK_EVERY } else { FLUSH_AFTER }) {
                Ok(Some(fragment)) => {
                    self.write(&fragment)?;
                    flushed = false;
                    continue;
                }
                Ok(None) => {}
                // Saturating: the counts of a corrupt link can overflow the sum.
                Err(TangoError::Overrun { lost, .. }) => self.lost = self.lost.saturating_add(lost),
                Err(TangoError::Corrupt { .. }) => self.lost = self.lost.saturating_add(1),
                // `abnormal_end` reports it.
                Err(TangoError::ProducerGone) => {
                    self.out.flush().map_err(Failure::output)?;
                    return Ok(Ended::Link);
                }
                Err(TangoError::ProducerReplaced { .. }) => {}
                Err(error) => return Err(Failure::new(error.to_string())),
            }
            self.out.flush().map_err(Failure::output)?;
            flushed = true;
        }
        Ok(Ended::Link)
    }

    fn write(&mut self, fragment: &Fragment<'_>) -> Result<(), Failure> {
        let bytes = fragment.payload.as_slice();
        if !self.lines && fragment.meta.sig != content::LINES {
            return self.out.write_all(bytes).map_err(Failure::output);
        }
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
                self.out.write_all(message).and_then(|()| self.out.write_all(b"\n")).map_err(Failure::output)
            }
            // This fragment was received, but other fragments of its message were lost, so it counts as
            // lost, too.
            Err(MessageError::Incomplete { .. }) => {
                self.unfinished = 0;
                self.lost = self.lost.saturating_add(1);
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
