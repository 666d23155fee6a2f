//! [`Gathering`]: reads several links at once into one [`Sink`], and decides how it all ends. `tango record` and `tango
//! capture` share it; they differ in what they write.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rust_tango::LinkStatus;

use super::block::{Block, Budget};
use super::layout::LinkFacts;
use super::source::{Clock, Control, End, Item, Settings, Source, Stopped};
use crate::arguments::Extent;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::joining::Reading;
use crate::{format, options, signals};

/// Time between two looks for a signal.
const CHECK_EVERY: Duration = Duration::from_millis(50);

// What the links are, and what is read of them. (No doc comment: clap would print it as that of the subcommand.)
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Names of the links, which are waited for
    #[arg(required = true, value_name = "LINK")]
    pub(crate) links: Vec<String>,
    /// When a link ends, wait for the next producer, or
    /// for the next link of this name
    #[arg(long, verbatim_doc_comment)]
    follow: bool,
    #[command(flatten)]
    extent: Extent,
    /// Stop after N fragments, of all links together
    #[arg(long, value_name = "N", value_parser = options::positive_count)]
    count: Option<u64>,
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
    /// nanoseconds since 1970: it is when they were
    /// published
    #[arg(long, verbatim_doc_comment)]
    ts_ns: bool,
}

impl Options {
    /// The name of the link, if there is one only.
    pub(crate) fn only_link(&self) -> Option<&str> {
        match self.links.as_slice() {
            [link] => Some(link),
            _ => None,
        }
    }

    /// Whether the `ts` of fragments is a time.
    pub(crate) fn ts_is_ns(&self) -> bool {
        self.ts_ns
    }

    /// Fails if a link is named twice, or cannot be read. An invalid name is an error before there is a file.
    pub(crate) fn check(&self, folder: &LinkFolder) -> Result<(), Failure> {
        for (index, link) in self.links.iter().enumerate() {
            if self.links[..index].contains(link) {
                return Err(Failure::usage(format!("link {link} is named twice")));
            }
            match folder.open(link) {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where the data of all links go.
pub(crate) trait Sink {
    /// From now on, `channel` is this link. It replaces an earlier link of the same name.
    fn add_link(&mut self, channel: u16, facts: &LinkFacts);

    /// Takes the messages of a block, and gives its memory back.
    fn add_block(&mut self, block: Block, budget: &Budget);

    /// How long there is nothing to do, if no block comes. `None`: for ever.
    fn idle_time(&self) -> Option<Duration>;

    /// Does what is due.
    fn keep_up(&mut self);

    /// Whether nothing can be written any more.
    fn has_failed(&self) -> bool;

    /// Writes what is left. Returns what was written, for people.
    fn finish(self) -> Result<String, Failure>;
}

/// What is gathered, and how.
pub(crate) struct Gathering<'a> {
    pub(crate) options: &'a Options,
    pub(crate) folder: &'a LinkFolder,
    pub(crate) reading: Reading,
    pub(crate) clock: Clock,
    /// The subcommand.
    pub(crate) command: &'static str,
    /// What reads the links, as messages name it.
    pub(crate) reader: &'static str,
}

impl Gathering<'_> {
    /// Reads the links until they have ended, or until a signal, `--count`, `--duration` or a failure ends it. `say` prints
    /// what was written.
    pub(crate) fn run(
        &self,
        sink: impl Sink,
        say: impl FnOnce(&str) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let Options { links, follow, extent, count, buffer, ts_ns } = self.options;
        let control = Arc::new(Control::new(*count));
        let budget = Arc::new(Budget::new(usize::try_from(*buffer).unwrap_or(usize::MAX)));
        let settings = Settings {
            reading: self.reading,
            start: extent.from,
            timeout: extent.timeout,
            follow: *follow,
            ts_is_ns: *ts_ns,
        };
        let (to, items) = mpsc::channel();
        for link in links {
            let source = Source {
                link: link.clone(),
                folder: self.folder.clone(),
                settings,
                clock: self.clock,
                control: control.clone(),
                budget: budget.clone(),
                to: to.clone(),
            };
            let thread = thread::Builder::new().name(format!("tango-{}", self.command));
            thread.spawn(move || source.run()).map_err(Failure::thread)?;
        }
        drop(to);
        let (ends, written) = write(&items, sink, &control, &budget, extent.duration);
        // A thread that panicked does not say how it ended.
        let all_ended = ends.len() == links.len();
        self.conclude(ends, written, say)?;
        if all_ended {
            Ok(())
        } else {
            Err(Failure::new("reading a link has failed: the end of its data is missing"))
        }
    }

    /// Prints what was written, reports what went wrong, and returns the most important of it.
    fn conclude(
        &self,
        ends: Vec<End>,
        written: Result<String, Failure>,
        say: impl FnOnce(&str) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut failures = Vec::new();
        for End { link, missed, lost, why } in ends {
            let sum = missed.saturating_add(lost);
            if sum > 0 {
                let early = match missed {
                    0 => String::new(),
                    missed => format!(" ({} before {} joined)", format::count(missed), self.reader),
                };
                failures.push(Failure::lost(format!(
                    "{} fragments of link {link} were lost{early}",
                    format::count(sum)
                )));
            }
            match why {
                Err(failure) => failures.push(failure),
                Ok(Stopped::ByLink(status)) if !self.options.follow => {
                    failures.extend(abnormal_end(&status, &link));
                }
                Ok(_) => {}
            }
        }
        match written {
            Ok(summary) => {
                let printed = say(&summary).map_err(Failure::output);
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
}

/// Writes what the sources read, until all of them have ended.
fn write(
    items: &Receiver<Item>,
    mut sink: impl Sink,
    control: &Control,
    budget: &Budget,
    duration: Option<Duration>,
) -> (Vec<End>, Result<String, Failure>) {
    let mut ends: Vec<End> = Vec::new();
    let mut deadline: Option<Instant> = None;
    loop {
        let time_is_up = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if signals::arrived().is_some() || sink.has_failed() || time_is_up {
            control.stop();
        }
        let timeout = sink.idle_time().map_or(CHECK_EVERY, |idle| idle.min(CHECK_EVERY));
        match items.recv_timeout(timeout) {
            Ok(Item::Joined(channel, facts)) => {
                sink.add_link(channel, &facts);
                if deadline.is_none() {
                    deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
                }
            }
            Ok(Item::Block(block)) => sink.add_block(block, budget),
            Ok(Item::Ended(end)) => {
                if end.why.is_err() {
                    control.stop();
                }
                ends.push(end);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Every source has ended.
            Err(RecvTimeoutError::Disconnected) => return (ends, sink.finish()),
        }
        sink.keep_up();
    }
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
