//! `tango record`: records links in MCAP files. `recording/` does the work; this file has the options, starts a thread
//! for each link, writes what they read, and decides how it all ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rust_tango::LinkStatus;

use crate::arguments::Extent;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::joining::Reading;
use crate::recording::{
    Budget, Clock, Compression, Control, End, Item, Limits, Naming, Output, Settings, Source, Stopped,
};
use crate::signals;
use crate::{format, options, standard};

/// Time between two looks for a signal.
const CHECK_EVERY: Duration = Duration::from_millis(50);

const DETAILS: &str = "\
Examples:
  tango record quotes -o quotes.mcap               until the link ends
  tango record quotes trades -o day.mcap --follow  until a signal, also when
                                                   producers are restarted
  tango record quotes -o q.mcap --rotate-size 1G   q.0001.mcap, q.0002.mcap ...
  tango record quotes -o q.mcap --reliable         lose nothing

The files are MCAP: a channel for each link with its metadata and payloads, and
one for gaps, ends and changes of producers. 'tango info' shows what is in them,
'tango replay' makes the links again, and docs/recording.md describes them.

A recorder is an observer unless you say otherwise: the producer does not know
of it. What it is too slow for is lost, counted, and recorded as a gap. What is
read and not yet written takes memory, up to --buffer.

After 'kill -9', or on a full disk, everything is readable up to the last chunk
that was written. Chunks are written when 512 KiB have gathered, and at the
latest after --flush-every. So what is missing is of that time, or, if the
recorder was behind, what was in its --buffer. Sizes may have a unit: K, M, G or
T (powers of 1024). Times are seconds, or have units: 500ms, 10m, 1h30m.

A file that is rotated is longer than --rotate-size by a chunk and the index.

Exit status:
  0      everything was recorded: until the links were closed, or as far as
         --count or --duration says
  1      a file could not be written, a producer died, a link was stopped,
         removed or damaged, or another failure
  2      invalid usage
  3      fragments were lost: the recorder was too slow, or it joined after the
         beginning was overwritten (see --from)
  128+N  terminated by signal N; the file is complete";

/// Record links in a file
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Names of the links; record waits until they exist
    #[arg(required = true, value_name = "LINK")]
    links: Vec<String>,
    /// The file; it must not exist
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
    /// Compression of chunks: none, lz4 or zstd, which
    /// takes the least space, for a little more time
    /// [default: zstd]
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        default_value = "zstd",
        hide_default_value = true,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    compress: Compression,
    /// The producer waits for the recorder, which takes a
    /// slot of a consumer
    #[arg(long, verbatim_doc_comment)]
    reliable: bool,
    /// The same, but only as long as the producer has
    /// patience
    #[arg(long, conflicts_with = "reliable", verbatim_doc_comment)]
    evictable: bool,
    /// When a link ends, wait for the next producer, or
    /// for the next link of this name
    #[arg(long, verbatim_doc_comment)]
    follow: bool,
    #[command(flatten)]
    extent: Extent,
    /// Stop after N fragments, of all links together
    #[arg(long, value_name = "N", value_parser = options::positive_count)]
    count: Option<u64>,
    /// Begin another file when one has this size
    #[arg(long, value_name = "SIZE", value_parser = options::size)]
    rotate_size: Option<u64>,
    /// Begin another file after this time
    #[arg(long, value_name = "TIME", value_parser = options::duration)]
    rotate_every: Option<Duration>,
    /// Write what has gathered after this time
    /// [default: 1 second]
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1",
        hide_default_value = true,
        value_parser = options::duration,
        verbatim_doc_comment
    )]
    flush_every: Duration,
    /// Memory for what is read and not yet written
    /// [default: 64M]
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64M",
        hide_default_value = true,
        value_parser = options::size,
        verbatim_doc_comment
    )]
    buffer: u64,
    /// The 'ts' of fragments is the low half of a time in
    /// nanoseconds since 1970: record it as publish_time
    #[arg(long, verbatim_doc_comment)]
    ts_ns: bool,
}

impl Arguments {
    /// The name of the link, if there is one only.
    pub(crate) fn only_link(&self) -> Option<&str> {
        match self.links.as_slice() {
            [link] => Some(link),
            _ => None,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            reading: match (self.reliable, self.evictable) {
                (true, _) => Reading::Reliable,
                (_, true) => Reading::Evictable,
                _ => Reading::Observer,
            },
            start: self.extent.from,
            timeout: self.extent.timeout,
            follow: self.follow,
            ts_is_ns: self.ts_ns,
        }
    }
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    for (index, link) in arguments.links.iter().enumerate() {
        if arguments.links[..index].contains(link) {
            return Err(Failure::usage(format!("link {link} is named twice")));
        }
        // An invalid name is an error before there is a file.
        match folder.open(link) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
    }
    signals::interrupt_by_termination().map_err(Failure::signals)?;
    signals::ignore_file_size_limit().map_err(Failure::signals)?;
    let clock = Clock::start();
    let naming = Naming {
        path: arguments.output.clone(),
        numbered: arguments.rotate_size.is_some() || arguments.rotate_every.is_some(),
        force: arguments.force,
    };
    let limits = Limits {
        flush: arguments.flush_every,
        file_size: arguments.rotate_size,
        file_time: arguments.rotate_every,
    };
    let output = Output::begin(naming, arguments.compress, limits, clock.started)?;
    let control = Arc::new(Control::new(arguments.count));
    let budget = Arc::new(Budget::new(usize::try_from(arguments.buffer).unwrap_or(usize::MAX)));
    let (to, items) = mpsc::channel();
    for link in &arguments.links {
        let source = Source {
            link: link.clone(),
            folder: folder.clone(),
            settings: arguments.settings(),
            clock,
            control: control.clone(),
            budget: budget.clone(),
            to: to.clone(),
        };
        let started = thread::Builder::new().name("tango-record".into()).spawn(move || source.run());
        started.map_err(Failure::thread)?;
    }
    drop(to);
    let (ends, written) = write(&items, output, &control, &budget, arguments.extent.duration);
    // A thread that panicked does not say how it ended.
    let all_ended = ends.len() == arguments.links.len();
    conclude(ends, written, arguments.follow)?;
    if all_ended {
        Ok(())
    } else {
        Err(Failure::new("reading a link has failed: the end of its data is missing"))
    }
}

/// Writes what the sources read, until all of them have ended.
fn write(
    items: &Receiver<Item>,
    mut output: Output,
    control: &Control,
    budget: &Budget,
    duration: Option<Duration>,
) -> (Vec<End>, Result<String, Failure>) {
    let mut ends: Vec<End> = Vec::new();
    let mut deadline: Option<Instant> = None;
    loop {
        let time_is_up = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if signals::arrived().is_some() || output.has_failed() || time_is_up {
            control.stop();
        }
        let timeout = output.idle_time().map_or(CHECK_EVERY, |idle| idle.min(CHECK_EVERY));
        match items.recv_timeout(timeout) {
            Ok(Item::Joined(channel, facts)) => {
                output.add_link(channel, &facts);
                if deadline.is_none() {
                    deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
                }
            }
            Ok(Item::Block(block)) => output.add_block(block, budget),
            Ok(Item::Ended(end)) => {
                if end.why.is_err() {
                    control.stop();
                }
                ends.push(end);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Every source has ended.
            Err(RecvTimeoutError::Disconnected) => return (ends, output.finish()),
        }
        output.keep_up();
    }
}

/// Prints what was recorded, reports what went wrong, and returns the most important of it.
fn conclude(ends: Vec<End>, written: Result<String, Failure>, follow: bool) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for End { link, missed, lost, why } in ends {
        let sum = missed.saturating_add(lost);
        if sum > 0 {
            let early = match missed {
                0 => String::new(),
                missed => format!(" ({} before the recorder joined)", format::count(missed)),
            };
            failures.push(Failure::lost(format!(
                "{} fragments of link {link} were lost{early}",
                format::count(sum)
            )));
        }
        match why {
            Err(failure) => failures.push(failure),
            Ok(Stopped::ByLink(status)) if !follow => failures.extend(abnormal_end(&status, &link)),
            Ok(_) => {}
        }
    }
    match written {
        Ok(summary) => {
            let printed = standard::print(&summary).map_err(Failure::output);
            // That nobody reads the output must not hide that something is missing.
            failures.extend(printed.err().filter(|_| failures.is_empty()));
        }
        Err(failure) => failures.push(failure),
    }
    failures.extend(signals::arrived().map(Failure::signal));
    // The last one counts. Losses are the least important.
    failures.sort_by_key(|failure| !failure.is_loss());
    let Some(last) = failures.pop() else { return Ok(()) };
    for failure in failures {
        failure.report();
    }
    Err(last)
}

/// Why data may be missing at the end of a link. `None` if its producer has closed it.
fn abnormal_end(status: &LinkStatus, link: &str) -> Option<Failure> {
    let what = match status {
        LinkStatus { name_lost: true, .. } => {
            format!("{}: the end of the data may be missing", format::name_lost(link))
        }
        LinkStatus { stopped: true, .. } => {
            format!("link {link} was stopped: the end of the data may be missing")
        }
        LinkStatus { closed: true, .. } => return None,
        LinkStatus { producers: 0, .. } => {
            format!("link {link} has never had a producer, and the process that made it has died")
        }
        _ => format!("the producer of link {link} died: the end of the data is missing"),
    };
    Some(Failure::new(what))
}
