//! `tango recv`: copies a link to standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rust_tango::{
    Assembler, Consumer, Fragment, Link, LinkErrorKind, LinkStatus, MessageError, Start, TangoError,
};

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::{format, options};

/// The output is flushed when no fragment has come for this long.
const FLUSH_AFTER: Duration = Duration::from_micros(20);
/// The longest message that `--lines` assembles, in bytes. The help text names it.
const LONGEST_LINE: usize = 1 << 30;

const DETAILS: &str = "\
Examples:
  tango recv numbers > numbers.txt     copy what 'tango send numbers' sends
  tango recv log --lines | grep error  print one message per line
  tango recv log --lines --observe     watch without slowing the sender down

A link whose sender has crashed still exists: recv writes what is left in it and
exits with status 1. To wait for a new sender instead, run 'tango rm --dead'
first.

Exit status:
  0  everything that the sender sent was received, or the program that reads
     standard output has ended
  1  the sender died, the link was stopped, or another failure
  2  invalid usage
  3  fragments were lost: an observer was too slow, or the receiver joined after
     the beginning was overwritten";

/// Receive from a link and write to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Name of the link; recv waits until it exists
    pub(crate) link: String,
    /// Do not slow the sender down; count lost fragments
    #[arg(long)]
    observe: bool,
    /// Write a newline after each complete message; a
    /// message can have up to 1 GiB
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
    let (link, mut rx) = join(arguments, folder)?;
    // Fragments that were published and overwritten before this receiver joined. It wants all, from the
    // link's start.
    let missed = rx.next_seq().wrapping_sub(link.geometry().start);
    let mut output = Output::new(arguments.lines)?;
    output.lost = missed;
    output.copy_from(&mut rx)?;
    let loss = (output.lost > 0).then(|| {
        let early = match missed {
            0 => String::new(),
            missed => format!(" ({} before this receiver joined)", format::count(missed)),
        };
        Failure::lost(format!("{} fragments of link {name} were lost{early}", format::count(output.lost)))
    });
    match (loss, abnormal_end(&link.status(), name)) {
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
    let name = &arguments.link;
    let (begin, mut backoff) = (Instant::now(), Backoff::new());
    loop {
        let joined = folder.open(name).and_then(|link| {
            let rx = if arguments.observe {
                link.observer_from(Start::Oldest)
            } else {
                link.consumer_from(Start::Oldest)
            };
            rx.map(|rx| (link, rx))
        });
        match joined {
            Ok(joined) => return Ok(joined),
            // The link does not exist yet, or it was removed between the two calls.
            Err(error) if error.is_not_found() => {
                if arguments.timeout.is_some_and(|timeout| begin.elapsed() >= timeout) {
                    let waited = begin.elapsed().as_secs_f64();
                    return Err(Failure::new(format!("{error} (waited {waited:.1} s)")));
                }
            }
            Err(error) if error.kind() == LinkErrorKind::Taken => {
                return Err(Failure::new(format!(
                    "all receiver slots of link {name} are taken: use --observe, or start the sender with more --consumers"
                )));
            }
            Err(error) if error.observer_may_join() && !arguments.observe => {
                let reason = error.reason();
                return Err(Failure::new(format!(
                    "{reason}; or use --observe, which needs no permission to write"
                )));
            }
            Err(error) => return Err(error.into()),
        }
        backoff.sleep();
    }
}

/// Why data may be missing at the end, after everything in the link was read. `None` if its sender has
/// closed it.
fn abnormal_end(status: &LinkStatus, name: &str) -> Option<Failure> {
    match status {
        LinkStatus { stopped: true, .. } => {
            Some(Failure::new(format!("link {name} was stopped: the end of the data may be missing")))
        }
        LinkStatus { closed: true, .. } => None,
        _ => Some(Failure::new(format!(
            "the sender of link {name} died: the end of the data is missing ('tango rm {name}' removes the link)"
        ))),
    }
}

/// Standard output, and a count of the fragments that are missing from it.
struct Output {
    out: BufWriter<File>,
    /// Assembles messages from fragments, with `--lines`.
    assembler: Option<Assembler>,
    /// Fragments that were lost, or that belong to an incomplete message.
    lost: u64,
}

impl Output {
    fn new(lines: bool) -> Result<Self, Failure> {
        // `Stdout` is line-buffered: it would search all data for newlines.
        let out = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(Failure::output)?);
        let out = BufWriter::with_capacity(1 << 16, out);
        Ok(Self { out, assembler: lines.then(|| Assembler::new(LONGEST_LINE)), lost: 0 })
    }

    /// Writes everything that is received, until the link has ended and is drained.
    fn copy_from(&mut self, rx: &mut Consumer<'_>) -> Result<(), Failure> {
        let mut flushed = false;
        while !(flushed && rx.is_closed()) {
            // Block without a limit only when all output is flushed.
            match if flushed { rx.wait() } else { rx.wait_timeout(FLUSH_AFTER) } {
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
                Err(TangoError::ProducerGone) => return self.out.flush().map_err(Failure::output),
                Err(TangoError::ProducerReplaced { .. }) => {}
                Err(error) => return Err(Failure::new(error.to_string())),
            }
            self.out.flush().map_err(Failure::output)?;
            flushed = true;
        }
        Ok(())
    }

    fn write(&mut self, fragment: &Fragment<'_>) -> Result<(), Failure> {
        let Some(assembler) = &mut self.assembler else {
            return self.out.write_all(fragment.payload.as_slice()).map_err(Failure::output);
        };
        match assembler.push(fragment) {
            Ok(None) => Ok(()),
            Ok(Some(message)) => {
                self.out.write_all(message).and_then(|()| self.out.write_all(b"\n")).map_err(Failure::output)
            }
            // This fragment was received, but other fragments of its message were lost, so it counts as
            // lost, too.
            Err(MessageError::Incomplete { .. }) => {
                self.lost = self.lost.saturating_add(1);
                Ok(())
            }
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }
}
