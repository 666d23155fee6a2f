//! `tango replay`: makes the links of a recording again, and publishes their fragments.
//!
//! ```text
//! part.rs      which fragments: --from and --to
//! order.rs     fragments of several links in the order of their times
//! pace.rs      when each is due
//! stream.rs    a link that is made again, and its producer
//! ```

mod part;

mod order;

mod pace;

mod stream;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::recording::{Contents, Entry, Recorded, decode_fragment, read};
use crate::signals;
use crate::{format, options, standard};

use order::{InOrder, Message};
use pace::Pace;
use part::{Part, Position};
use stream::Stream;

/// At most this many numbers are left out between two fragments: no link has carried so many. It takes about an hour.
const MOST_LEFT_OUT: u64 = 1 << 40;

/// Time between two looks at signals, receivers and the clock of the progress bar.
const CHECK_EVERY: Duration = Duration::from_millis(50);

const DETAILS: &str = "\
Examples:
  tango replay quotes.mcap                       all links, at their own pace
  tango replay day.mcap copy --links quotes      one link, under another name
  tango replay quotes.mcap --speed 10
  tango replay quotes.mcap --fast --wait-for 2   as fast as two receivers read
  tango replay quotes.mcap --from 1h --to 1h10m  ten minutes of it

Each link is made with the sizes that it had, and removed at the end, when its
reliable consumers have read everything. Numbers, payloads, sig, ctl and ts are
those of the recording. The numbers of fragments that are missing in it, also at
its end, are left out, and receivers report these as lost. That a producer died
is not replayed.

--from and --to take the number of a fragment (of each link), a time after the
first fragment of the recording (90s, 1h30m), or a time of the clock
(2026-12-01T10:30:00Z). Both are included.

The file is read once before anything is published, to check it. Of a file that
was not finished or is damaged, everything up to there is replayed, and the exit
status is 1.

Exit status:
  0      everything was replayed, and no awaited consumer is missing
  1      the file is not complete, a link exists or was stopped, an awaited
         consumer died or left, or another failure
  2      invalid usage
  128+N  terminated by signal N";

/// Publish a recording again
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// A file of 'tango record'
    file: PathBuf,
    /// Name for the link; only if one link is replayed
    /// [default: the recorded names]
    #[arg(verbatim_doc_comment)]
    link: Option<String>,
    /// Only these links
    #[arg(long, value_name = "LINK,...", value_delimiter = ',')]
    links: Vec<String>,
    /// How many times as fast as it was recorded
    #[arg(
        long,
        value_name = "FACTOR",
        default_value = "1",
        value_parser = options::factor
    )]
    speed: f64,
    /// As fast as reliable consumers read
    #[arg(long, conflicts_with = "speed")]
    fast: bool,
    /// Begin with this number or time
    #[arg(long, value_name = "WHERE", value_parser = part::position)]
    from: Option<Position>,
    /// End with this number or time
    #[arg(long, value_name = "WHERE", value_parser = part::position)]
    to: Option<Position>,
    /// Start when N reliable consumers have joined each
    /// link; 0 starts at once
    /// [default: 1, or 0 where a link has no slots]
    #[arg(
        long,
        value_name = "N",
        value_parser = options::count,
        verbatim_doc_comment
    )]
    wait_for: Option<usize>,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    signals::interrupt_by_termination().map_err(Failure::signals)?;
    let all = Contents::of(&arguments.file)?;
    let part = Part::new(arguments.from, arguments.to, all.begin.unwrap_or_default());
    let incomplete = all.ending.failure(&arguments.file, all.fragments());
    let contents = if part.is_all() {
        all
    } else {
        Contents::of_part(&arguments.file, &|number, time| part.has(number, time))?
    };
    let chosen = match choose(arguments, contents) {
        Ok(chosen) => chosen,
        Err(failure) => {
            // It may be the reason.
            incomplete.map(|incomplete| incomplete.report());
            return Err(failure);
        }
    };
    chosen.values().try_for_each(|recorded| check_numbers(&arguments.file, recorded))?;
    for recorded in chosen.values().filter(|recorded| recorded.steps > 0) {
        standard::write_error(&missing(recorded));
    }
    let mut player = Player::new(arguments, folder, chosen);
    let played =
        player.prepare().and_then(|()| player.play(&arguments.file, &part)).and_then(|()| player.finish());
    player.bar.finish_and_clear();
    player.abandon();
    match (played, incomplete) {
        (Err(failure), _) => Err(failure),
        (Ok(()), Some(incomplete)) => Err(incomplete),
        (Ok(()), None) => Ok(()),
    }
}

/// The links that are wanted, by channel.
fn choose(arguments: &Arguments, contents: Contents) -> Result<BTreeMap<u16, Recorded>, Failure> {
    let Arguments { file, links: wanted, .. } = arguments;
    let mut names: Vec<_> = contents.links.values().map(|link| link.facts.name.clone()).collect();
    // The file has them in the order in which they were joined.
    names.sort();
    names.dedup();
    for name in wanted {
        if !names.contains(name) {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let file = file.display();
            return Err(Failure::new(format!("{file} has no link {name}; the links in it are: {known}")));
        }
    }
    let mut chosen = contents.links;
    chosen.retain(|_, link| wanted.is_empty() || wanted.contains(&link.facts.name));
    if chosen.values().all(|link| link.fragments == 0) {
        return Err(Failure::new(format!("there is nothing to replay in {}", file.display())));
    }
    if let Some(name) = &arguments.link {
        names.retain(|name| chosen.values().any(|link| link.facts.name == *name));
        if names.len() > 1 {
            return Err(Failure::usage(format!(
                "the name {name} is for one link, and these are replayed: {}; choose one with --links",
                names.join(", ")
            )));
        }
    }
    Ok(chosen)
}

/// Checks that no numbers are wrong.
fn check_numbers(file: &Path, recorded: &Recorded) -> Result<(), Failure> {
    let (missing, number) = recorded.largest_step;
    if missing <= MOST_LEFT_OUT {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is damaged: before number {number} of link {}, {} numbers are missing; replay leaves out up to {} there",
        file.display(),
        format::one_line(&recorded.facts.name),
        format::count(missing),
        format::count(MOST_LEFT_OUT),
    )))
}

/// Says that numbers will be left out.
fn missing(recorded: &Recorded) -> String {
    format!(
        "tango: {} fragments of link {} are missing in the recording, in {} gaps, the first after number {}; their numbers are left out\n",
        format::count(recorded.skipped),
        format::one_line(&recorded.facts.name),
        format::count(recorded.steps),
        recorded.first_step.unwrap_or_default(),
    )
}

/// Everything that is replayed.
struct Player<'a> {
    arguments: &'a Arguments,
    folder: &'a LinkFolder,
    /// What is not replayed yet, by channel.
    waiting: BTreeMap<u16, Recorded>,
    /// The links that exist now, by channel.
    streams: BTreeMap<u16, Stream>,
    channels: Vec<u16>,
    pace: Pace,
    bar: ProgressBar,
    published: u64,
    checked: Instant,
}

impl<'a> Player<'a> {
    fn new(arguments: &'a Arguments, folder: &'a LinkFolder, chosen: BTreeMap<u16, Recorded>) -> Self {
        let total = chosen.values().map(|link| link.fragments).sum();
        let begin = chosen.values().filter_map(|link| link.first).map(|(_, time)| time).min();
        let end = chosen.values().filter_map(|link| link.last).map(|(_, time)| time).max();
        let pace =
            Pace::new(arguments.speed, arguments.fast, begin.unwrap_or_default(), end.unwrap_or_default());
        Self {
            arguments,
            folder,
            channels: chosen.keys().copied().collect(),
            waiting: chosen,
            streams: BTreeMap::new(),
            pace,
            bar: bar(total),
            published: 0,
            checked: Instant::now(),
        }
    }

    /// Makes the first link of each name, and waits for their consumers.
    fn prepare(&mut self) -> Result<(), Failure> {
        let first: Vec<_> = self.channels.iter().copied().filter(|channel| self.is_first(*channel)).collect();
        for channel in &first {
            self.make(*channel)?;
        }
        for channel in first {
            self.start(channel)?;
        }
        self.pace.restart();
        Ok(())
    }

    /// Whether no earlier link of the same name waits.
    fn is_first(&self, channel: u16) -> bool {
        let name = |channel: &u16| self.waiting.get(channel).map(|link| &link.facts.name);
        self.waiting.keys().find(|other| name(other) == name(&channel)) == Some(&channel)
    }

    /// Makes the link of a channel.
    fn make(&mut self, channel: u16) -> Result<(), Failure> {
        let Some(recorded) = self.waiting.remove(&channel) else { return Ok(()) };
        let stream =
            Stream::make(self.folder, self.arguments.link.as_deref(), &recorded, self.arguments.wait_for)?;
        self.streams.insert(channel, stream);
        Ok(())
    }

    /// Waits until the consumers of a link have joined.
    fn start(&mut self, channel: u16) -> Result<(), Failure> {
        match self.streams.get_mut(&channel) {
            Some(stream) => stream.start(self.folder),
            None => Ok(()),
        }
    }

    /// Replays the file.
    fn play(&mut self, file: &Path, part: &Part) -> Result<(), Failure> {
        let mut failure = None;
        let mut in_order = InOrder::new(self.channels.len() > 1);
        read(file, &mut |entry| {
            let Entry::Message { channel, log_time: time, data, .. } = entry else {
                return Ok(ControlFlow::Continue(()));
            };
            if !self.channels.contains(&channel) {
                return Ok(ControlFlow::Continue(()));
            }
            if !part.has(decode_fragment(data)?.0.seq, time) {
                return Ok(ControlFlow::Continue(()));
            }
            let played = match in_order.pass(channel, time, data) {
                Some(data) => self.publish(channel, time, data),
                None => in_order
                    .drain(false, |Message { channel, time, data }| self.publish(channel, time, &data)),
            };
            Ok(match played {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            })
        })?;
        match failure {
            None => {
                in_order.drain(true, |Message { channel, time, data }| self.publish(channel, time, &data))
            }
            Some(failure) => Err(failure),
        }
    }

    /// Ends all links in good order.
    fn finish(&mut self) -> Result<(), Failure> {
        let mut ended = Ok(());
        while let Some((_, stream)) = self.streams.pop_first() {
            ended = ended.and(stream.finish(CHECK_EVERY));
        }
        ended
    }

    /// Ends what is left, so that consumers learn that data is missing.
    fn abandon(&mut self) {
        std::mem::take(&mut self.streams).into_values().for_each(Stream::abandon);
    }

    fn publish(&mut self, channel: u16, time: u64, data: &[u8]) -> Result<(), Failure> {
        if !self.streams.contains_key(&channel) {
            self.replace_by(channel)?;
        }
        while !self.pace.is_due(time) {
            self.check(false)?;
            self.pace.sleep(time, CHECK_EVERY);
        }
        // The clock is read now and then.
        if self.published.is_multiple_of(256) || !self.pace.is_fast() {
            self.check(false)?;
        }
        let (meta, payload) = decode_fragment(data).map_err(Failure::new)?;
        loop {
            let Some(stream) = self.streams.get(&channel) else { return Ok(()) };
            if stream.publish(&meta, payload, CHECK_EVERY)? {
                self.published += 1;
                return Ok(());
            }
            self.check(true)?;
        }
    }

    /// The link was made anew at this time: ends the one before it, and makes the next.
    fn replace_by(&mut self, channel: u16) -> Result<(), Failure> {
        let name = self.waiting.get(&channel).map(|link| link.facts.name.clone());
        let before = self.streams.iter().find(|(_, stream)| Some(&stream.recorded_name) == name.as_ref());
        if let Some(before) =
            before.map(|(channel, _)| *channel).and_then(|before| self.streams.remove(&before))
        {
            before.finish(CHECK_EVERY)?;
        }
        // Links without fragments, which were made and replaced meanwhile.
        self.waiting.retain(|other, link| *other >= channel || Some(&link.facts.name) != name.as_ref());
        let paused = Instant::now();
        self.make(channel)?;
        self.start(channel)?;
        self.pace.skip(paused.elapsed());
        Ok(())
    }

    /// Looks at signals and receivers, if it is time.
    fn check(&mut self, now: bool) -> Result<(), Failure> {
        if !now && self.checked.elapsed() < CHECK_EVERY {
            return Ok(());
        }
        self.checked = Instant::now();
        if let Some(signal) = signals::arrived() {
            return Err(Failure::signal(signal));
        }
        self.bar.set_position(self.published);
        self.bar.set_message(self.pace.left(self.published, self.bar.length().unwrap_or_default()));
        self.streams.values_mut().try_for_each(Stream::check)
    }
}

/// On a terminal only.
fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len}, {per_sec}{msg}");
    let bar = ProgressBar::new(total);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
