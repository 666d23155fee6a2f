//! `tango recv`: a link to standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rust_tango::{
    Assembler, Consumer, Fragment, Link, LinkErrorKind, LinkStatus, MessageError, Start, TangoError,
};

use crate::failure::Failure;
use crate::pauses::Pauses;
use crate::place::Place;
use crate::report;

/// How long nothing comes before the output is flushed.
const BEFORE_FLUSH: Duration = Duration::from_micros(20);
/// The longest message that is put together for `--lines`.
const LONGEST_LINE: usize = 1 << 30;

const EXAMPLES: &str = "\
Examples:
  tango recv quotes > COPY             what `tango send quotes < FILE` sends
  tango recv log --lines | grep error  messages as lines
  tango recv log --lines --observe     looks on; the sender does not wait for it

A link that a dead sender has left counts as one that is there: recv writes what
is left in it and ends with 1. 'tango rm --dead' clears such links away first.

Exit status: 0 when the sender has ended and everything came through; 3 if
fragments were lost, to an observer that was too slow or to a receiver that came
when the beginning was gone; 1 if the sender died or was stopped, or anything
else failed. When nobody reads its output any more, recv ends with 0.";

/// Write what comes through a link to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Name of the link; recv waits until there is one
    pub(crate) link: String,
    /// Do not hold the sender back; count what is lost
    #[arg(long)]
    observe: bool,
    /// A newline after each whole message (of up to 1 GiB)
    #[arg(long)]
    lines: bool,
    /// Do not wait longer than this for the link
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
}

/// A length of time from the command line.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "not a number of seconds from 0 on".to_owned())
}

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<(), Failure> {
    let name = &arguments.link;
    let (link, mut rx) = join(arguments, place)?;
    // Where the link began, against where this reader does: nobody has waited for it before.
    let missed = rx.next_seq().wrapping_sub(link.geometry().start);
    let mut output = Output::new(arguments.lines)?;
    output.lost = missed;
    output.copy(&mut rx)?;
    let lost = (output.lost > 0).then(|| {
        let early =
            if missed > 0 { format!(" ({} before it joined)", report::count(missed)) } else { String::new() };
        Failure::lost(format!("{} fragments of link {name} were lost{early}", report::count(output.lost)))
    });
    match (lost, badly_ended(&link.status(), name)) {
        (None, None) => Ok(()),
        (Some(failure), None) | (None, Some(failure)) => Err(failure),
        (Some(lost), Some(ended)) => {
            lost.tell();
            Err(ended)
        }
    }
}

/// Waits for the link and joins it, at the oldest fragment that is there.
fn join(arguments: &Arguments, place: &Place) -> Result<(Link, Consumer<'static>), Failure> {
    let name = &arguments.link;
    let (begin, mut pauses) = (Instant::now(), Pauses::new());
    loop {
        let joined = place.open(name).and_then(|link| {
            let rx = if arguments.observe {
                link.observer_from(Start::Oldest)
            } else {
                link.consumer_from(Start::Oldest)
            };
            rx.map(|rx| (link, rx))
        });
        match joined {
            Ok(joined) => return Ok(joined),
            // Not there yet; or gone again between the two steps.
            Err(error) if error.is_not_found() => {
                if arguments.timeout.is_some_and(|timeout| begin.elapsed() >= timeout) {
                    let waited = begin.elapsed().as_secs_f64();
                    return Err(Failure::new(format!("{error}; waited {waited:.1} s for it")));
                }
            }
            Err(error) if error.kind() == LinkErrorKind::Taken => {
                return Err(Failure::new(format!(
                    "all slots for receivers of link {name} are taken: use --observe, or send with more --consumers"
                )));
            }
            Err(error) => return Err(error.into()),
        }
        pauses.pass();
    }
}

/// What is wrong about how the link ended, for a reader that has drained it.
fn badly_ended(status: &LinkStatus, name: &str) -> Option<Failure> {
    match status {
        LinkStatus { stopped: true, .. } => {
            Some(Failure::new(format!("link {name} was stopped: the end of what was sent may be missing")))
        }
        LinkStatus { closed: true, .. } => None,
        _ => Some(Failure::new(format!(
            "the producer of link {name} died without closing it: the end is missing ('tango rm {name}' clears up)"
        ))),
    }
}

/// Standard output, and what is known about what did not get there.
struct Output {
    out: BufWriter<File>,
    /// Puts messages together, to end them with newlines.
    assembler: Option<Assembler>,
    /// Fragments that did not come, or were no use.
    lost: u64,
}

impl Output {
    fn new(lines: bool) -> Result<Self, Failure> {
        // Not through `Stdout`, which would look for newlines in everything.
        let out = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(Failure::writing)?);
        let out = BufWriter::with_capacity(1 << 16, out);
        Ok(Self { out, assembler: lines.then(|| Assembler::new(LONGEST_LINE)), lost: 0 })
    }

    /// Writes everything that comes, until the link is closed and drained.
    fn copy(&mut self, rx: &mut Consumer<'_>) -> Result<(), Failure> {
        let mut flushed = false;
        while !(flushed && rx.is_closed()) {
            // Sleeps only with nothing left to write.
            match if flushed { rx.wait() } else { rx.wait_timeout(BEFORE_FLUSH) } {
                Ok(Some(fragment)) => {
                    self.write(&fragment)?;
                    flushed = false;
                    continue;
                }
                Ok(None) => {}
                // Saturating: what a broken peer says may add up to more than there are numbers.
                Err(TangoError::Overrun { lost, .. }) => self.lost = self.lost.saturating_add(lost),
                Err(TangoError::Corrupt { .. }) => self.lost = self.lost.saturating_add(1),
                // What that means is said at the end, from the state of the link.
                Err(TangoError::ProducerGone) => return self.out.flush().map_err(Failure::writing),
                Err(TangoError::ProducerReplaced { .. }) => {}
                Err(error) => return Err(Failure::new(error.to_string())),
            }
            self.out.flush().map_err(Failure::writing)?;
            flushed = true;
        }
        Ok(())
    }

    fn write(&mut self, fragment: &Fragment<'_>) -> Result<(), Failure> {
        let Some(assembler) = &mut self.assembler else {
            return self.out.write_all(fragment.payload.as_slice()).map_err(Failure::writing);
        };
        match assembler.push(fragment) {
            Ok(None) => Ok(()),
            Ok(Some(message)) => {
                self.out.write_all(message).and_then(|()| self.out.write_all(b"\n")).map_err(Failure::writing)
            }
            // This part has come, but is of no use without what was lost before.
            Err(MessageError::Incomplete { .. }) => {
                self.lost = self.lost.saturating_add(1);
                Ok(())
            }
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }
}
