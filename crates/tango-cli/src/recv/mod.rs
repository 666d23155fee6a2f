//! `tango recv`: copies a link to standard output. `output` writes what comes; this file joins the link, and says how it all
//! ended.

mod output;

use std::time::{Duration, Instant};

use rust_tango::{Consumer, Link, LinkStatus, Start};

use crate::arguments::{Extent, Summary};
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::joining::{self, Joining, Reading};
use crate::signals;
use crate::summary::many;
use crate::{format, options, standard};

use output::{Ended, Form, Limits, Output};

const DETAILS: &str = "\
Examples:
  tango recv numbers > numbers.txt     copy what 'tango send numbers' sends
  tango recv log | grep error          print what 'tango send log --lines' sends
  tango recv log --observe             watch without slowing the sender down
  tango recv prices --lines            print a program's messages, one per line
  tango recv log --count 5             end after five lines
  tango recv prices --meta --hex       a line of metadata and a dump for each

A line, or a message with --lines, can have up to 1 GiB. Only complete lines are
written.

--count counts lines where lines are written, even if they came in several
fragments, and fragments otherwise. A reliable receiver that ends before its
sender has left early: see 'tango send --help'. --from takes the number of a
fragment (7 or 0x7). What was overwritten from there on counts as lost; if it is
yet to come, what comes before it is skipped. A line is left out if it began
before --from, or did not end before --duration.

--meta and --hex show fragments as 'tango peek' does: numbers, sig, ctl (parts
of a long message), ts (in the unit of the sender) and size. What was lost is a
line in its place. With --meta alone, payloads are left out.

Until the link exists, recv waits, and says so after a while. When a signal ends
it, it writes what it has received and leaves its slot.

A link whose sender has crashed still exists: recv writes what is left in it and
exits with status 1. To wait for a new sender instead, run 'tango rm --dead'
first.

Exit status:
  0      everything that the sender sent was received, or as much as --count or
         --duration says, or the program that reads standard output has ended
  1      the sender died, the link was stopped, removed or damaged, it ended
         before the fragment of --from, or another failure
  2      invalid usage
  3      fragments were lost: an observer was too slow, the receiver joined
         after the beginning was overwritten, or the sender left numbers out
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
    /// Write a line of metadata for each fragment:
    /// number, sig, ctl, ts and size
    #[arg(long, conflicts_with = "lines", verbatim_doc_comment)]
    meta: bool,
    /// Write payloads as hexadecimal numbers and text
    #[arg(long, conflicts_with = "lines")]
    hex: bool,
    /// Stop after N messages: lines, or fragments where
    /// there are no lines
    #[arg(long, value_name = "N", value_parser = options::positive_count, verbatim_doc_comment)]
    count: Option<u64>,
    #[command(flatten)]
    extent: Extent,
    #[command(flatten)]
    summary: Summary,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    let name = &arguments.link;
    standard::check_output().map_err(Failure::output)?;
    // A signal ends the loops below, so that the receiver leaves its slot.
    signals::interrupt_by_termination().map_err(Failure::signals)?;
    let begun = Instant::now();
    let (link, mut rx) = join(arguments, folder)?;
    let joined = Instant::now();
    let from = arguments.extent.from;
    let mut output = Output::new(name, arguments.form(), from);
    match from {
        // It wants all, from the link's start.
        Start::Oldest => output.note_missed(rx.next_seq().wrapping_sub(link.geometry().start))?,
        Start::At(from) => output.will_be_told_of(gone(from, &link.status(), rx.next_seq())),
        Start::Next => {}
    }
    let limits = Limits {
        count: arguments.count,
        until: arguments.extent.duration.and_then(|duration| joined.checked_add(duration)),
    };
    let ended = output.copy_from(&mut rx, limits);
    if arguments.summary.verbose {
        print_summary(&output, &ended, &link.status(), joined - begun, joined.elapsed());
    }
    let ended = ended?;
    let lost = output.missed.saturating_add(output.lost);
    let loss = (lost > 0).then(|| {
        let early = match output.missed {
            0 => String::new(),
            missed => format!(" ({} before this receiver joined)", format::count(missed)),
        };
        Failure::lost(format!("{} fragments of link {name} were lost{early}", format::count(lost)))
    });
    let end = match ended {
        Ended::Link => abnormal_end(&link.status(), name, output.unfinished)
            .or_else(|| too_early(&link.status(), from, name)),
        Ended::Enough(_) => None,
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

/// How many fragments from `from` on are gone for a receiver that has just joined, and stands at `next`. Numbers wrap.
fn gone(from: u64, status: &LinkStatus, next: u64) -> u64 {
    let since_the_first = |number: u64| number.wrapping_sub(status.start).cast_signed().max(0);
    // An observer stands at the number that it asked for, whether it is still there or not.
    let there = since_the_first(next).max(since_the_first(status.oldest));
    (there - since_the_first(from)).max(0).cast_unsigned()
}

impl Arguments {
    fn form(&self) -> Form {
        match (self.meta, self.hex) {
            (false, false) if self.lines => Form::Lines,
            (false, false) => Form::AsSent,
            (meta, hex) => Form::Shown { meta, hex },
        }
    }
}

/// Says what was received, and why no more is.
fn print_summary(
    output: &Output<'_>,
    ended: &Result<Ended, Failure>,
    status: &LinkStatus,
    waited: Duration,
    time: Duration,
) {
    let why = match ended {
        Ok(Ended::Enough(why)) => (*why).to_owned(),
        Ok(Ended::Signal(number)) => format!("signal {number} arrived"),
        Ok(Ended::Link) => match status {
            LinkStatus { name_lost: true, .. } => "the link has lost its name".to_owned(),
            LinkStatus { stopped: true, .. } => "the link was stopped".to_owned(),
            LinkStatus { closed: true, .. } => "the sender closed the link".to_owned(),
            _ => "the sender died".to_owned(),
        },
        Err(failure) if failure.is_success() => "standard output was closed".to_owned(),
        Err(_) => "of a failure".to_owned(),
    };
    let unfinished = match output.unfinished {
        0 => String::new(),
        bytes => format!(", and {} of a line without its end", many(bytes as u64, "byte")),
    };
    let lost = many(output.missed.saturating_add(output.lost), "fragment");
    standard::write_error(&format!(
        "tango: {}{unfinished}\ntango: lost {lost}\ntango: waited {} for the link\ntango: ended because {why}\n",
        output.tally.text("received", time),
        format::duration(waited),
    ));
}

/// Waits for the link and joins it.
fn join(arguments: &Arguments, folder: &LinkFolder) -> Result<(Link, Consumer<'static>), Failure> {
    let joining = Joining {
        folder,
        name: &arguments.link,
        reading: if arguments.observe { Reading::Observer } else { Reading::Reliable },
        start: arguments.extent.from,
        timeout: arguments.extent.timeout,
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

/// The link has ended before the fragment came with which to begin.
fn too_early(status: &LinkStatus, from: Start, name: &str) -> Option<Failure> {
    let Start::At(seq) = from else { return None };
    let end = status.next;
    // Numbers wrap.
    (end.wrapping_sub(seq).cast_signed() < 0).then(|| {
        Failure::new(format!(
            "link {name} has ended before fragment {seq} (--from): its last one is {}",
            end.wrapping_sub(1)
        ))
    })
}
