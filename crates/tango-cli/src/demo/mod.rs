//! `tango demo`: processes that stream messages over links in shared memory and check every byte.
//!
//! Three stages run one after the other. Each has processes and links of its own, so that no stage disturbs
//! the next:
//!
//! ```text
//! throughput    producer --> consumers, observer      the rest of the time
//! one way       producer --> consumer, fixed rate     up to 0.5 s
//! round trip    ping --> pong, pong --> ping          up to 0.5 s
//! ```
//!
//! This file has the options, the stages and the report. Below it, from the bottom up: `payload.rs` (bytes
//! that can be checked), `protocol.rs` (what the processes tell the demonstration), `role.rs` (what each
//! process does), `processes.rs` (how they are started and ended), `progress.rs` (the progress line).

pub(crate) mod payload;
pub(crate) mod protocol;

pub(crate) mod role;

mod processes;
mod progress;

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use crate::demo::processes::Processes;
use crate::demo::progress::Progress;
use crate::demo::protocol::Counts;
use crate::demo::role::Part;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::format;
use crate::{options, standard};

/// The most messages per second while one-way latency is measured.
const RATE: u64 = 50_000;
/// The most payload bytes per second meanwhile. Large messages are sent at a lower rate, which leaves the
/// link idle most of the time.
const BYTE_RATE: u64 = 200_000_000;

const DETAILS: &str = "\
A producer, one or more reliable consumers and an observer share a link. Each is
a process of its own. The producer waits for credits from the consumers when the
ring is full. It never waits for the observer, which counts what it loses.

Afterwards, latency is measured twice. One way: from the time at which a message
was due, at up to 50,000 messages/s, until it is read. Round trip: from sending
a message over one link until its answer arrives over another.

While the demonstration runs, 'tango ls' in another terminal shows its link.

Exit status:
  0      every reliable consumer got every message, in order and intact
  1      messages were lost or corrupted, or another failure
  2      invalid usage
  128+N  terminated by signal N";

/// Run a demonstration: stream messages between processes, checked
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Time to run: 0.1 to 86400
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "3",
        value_parser = duration
    )]
    duration: Duration,
    /// Size of a message: 0 to 16777216
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size)]
    size: usize,
    /// Slots, a power of two up to 1048576
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1024,
        value_parser = depth
    )]
    depth: usize,
    /// Number of reliable consumers: 1 to 64
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=64)
    )]
    consumers: u16,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { duration: Duration::from_secs(3), size: 64, depth: 1024, consumers: 1 }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = options::seconds(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(86_400);
    if allowed.contains(&duration) { Ok(duration) } else { Err("expected 0.1 to 86400 seconds".to_owned()) }
}

fn size(text: &str) -> Result<usize, String> {
    const MAX: usize = 1 << 24;
    let size = text.parse().ok().filter(|size| *size <= MAX);
    size.ok_or_else(|| format!("expected a number of bytes from 0 to {MAX}"))
}

fn depth(text: &str) -> Result<usize, String> {
    const MAX: usize = 1 << 20;
    let is_allowed = |depth: &usize| depth.is_power_of_two() && (2..=MAX).contains(depth);
    text.parse().ok().filter(is_allowed).ok_or_else(|| format!("expected a power of two from 2 to {MAX}"))
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    let mut demo = Demo { arguments, folder, processes: Processes::new(folder)?, progress: Progress::new() };
    let result = demo.run();
    // A signal that arrives now ends the demonstration, too.
    let ended = demo.processes.end();
    result.and(ended)
}

struct Demo<'a> {
    arguments: &'a Arguments,
    folder: &'a LinkFolder,
    processes: Processes,
    progress: Progress,
}

/// The counts of the first stage.
struct Stream {
    producer: Counts,
    consumers: Vec<Counts>,
    observer: Counts,
}

impl Demo<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        print(&self.heading())?;
        let duration = self.arguments.duration;
        let latency_time = Duration::from_millis(500).min(duration / 4);
        let stream = self.throughput(duration - 2 * latency_time)?;
        let one_way = self.one_way(latency_time)?;
        let round_trip = self.round_trip(latency_time)?;
        self.report(&stream, &one_way, &round_trip)
    }

    fn throughput(&mut self, length: Duration) -> Result<Stream, Failure> {
        let name = self.processes.name_link("stream");
        let consumers = usize::from(self.arguments.consumers);
        let role = role::Arguments { consumers, ..self.producer_role(&name, length) };
        let producer = self.processes.start("producer", &role)?;
        let mut readers = Vec::new();
        for number in 1..=consumers {
            let title = if consumers == 1 { "consumer".to_owned() } else { format!("consumer {number}") };
            readers.push(self.processes.start(&title, &with_part(&role, Part::Consumer))?);
        }
        let observer = self.processes.start("observer", &with_part(&role, Part::Observer))?;
        self.processes.wait_until_ready()?;
        self.processes.begin(producer)?;
        let link = self.folder.open(&name)?;
        let (start, begin) = (link.geometry().start, Instant::now());
        let progress = &mut self.progress;
        let mut before = (begin, 0);
        self.processes.wait_until_ended(length, || {
            let status = link.status();
            let (now, sent) = (Instant::now(), status.next - start);
            // No consumers: all have read everything and left.
            let lag = status.consumers.iter().map(|consumer| consumer.lag).max().unwrap_or(0);
            let rate = (sent - before.1) as f64 / (now - before.0).as_secs_f64();
            before = (now, sent);
            progress.show(&format!(
                "{:5.1} s   sent {:>9}   received {:>9}   {:>8}/s   lag {lag}",
                begin.elapsed().as_secs_f64(),
                format::short_count(sent as f64),
                format::short_count(sent.saturating_sub(lag) as f64),
                format::short_count(rate),
            ));
        })?;
        Ok(Stream {
            producer: self.processes.result(producer),
            consumers: readers.into_iter().map(|reader| self.processes.result(reader)).collect(),
            observer: self.processes.result(observer),
        })
    }

    fn one_way(&mut self, length: Duration) -> Result<Counts, Failure> {
        self.progress.show("measuring one-way latency");
        let name = self.processes.name_link("paced");
        let role = role::Arguments { rate: self.rate(), ..self.producer_role(&name, length) };
        let producer = self.processes.start("one-way producer", &role)?;
        let consumer = self.processes.start("one-way consumer", &with_part(&role, Part::Consumer))?;
        self.processes.wait_until_ready()?;
        self.processes.begin(producer)?;
        self.processes.wait_until_ended(length, || {})?;
        let (sent, counts) = (self.processes.result(producer).get("sent"), self.processes.result(consumer));
        check_complete("the one-way consumer", sent, &counts)?;
        Ok(counts)
    }

    fn round_trip(&mut self, length: Duration) -> Result<Counts, Failure> {
        self.progress.show("measuring round trips");
        let (out, back) = (self.processes.name_link("ping"), self.processes.name_link("pong"));
        let role = role::Arguments { back, ..self.producer_role(&out, length) };
        let ping = self.processes.start("ping process", &with_part(&role, Part::Ping))?;
        self.processes.start("pong process", &with_part(&role, Part::Pong))?;
        self.processes.wait_until_ready()?;
        self.processes.begin(ping)?;
        self.processes.wait_until_ended(length, || {})?;
        let counts = self.processes.result(ping);
        match counts.get("bad") {
            0 => Ok(counts),
            bad => Err(Failure::new(format!("{bad} answers of the pong process were corrupted"))),
        }
    }

    /// Messages per second while one-way latency is measured.
    fn rate(&self) -> u64 {
        (BYTE_RATE / self.arguments.size.max(1) as u64).clamp(100, RATE)
    }

    /// The arguments of the producer of a link with one consumer.
    fn producer_role(&self, link: &str, length: Duration) -> role::Arguments {
        role::Arguments {
            part: Part::Producer,
            link: link.to_owned(),
            back: String::new(),
            size: self.arguments.size,
            depth: self.arguments.depth,
            consumers: 1,
            nanos: length.as_nanos() as u64,
            rate: 0,
            parent: process::id(),
        }
    }

    fn heading(&self) -> String {
        let Arguments { size, depth, consumers, .. } = self.arguments;
        let plural = if *consumers == 1 { "" } else { "s" };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let busy = usize::from(*consumers) + 2;
        let mut text = format!(
            "Streaming {size}-byte messages between processes, through a ring of {depth} slots:\n\
             1 producer, {consumers} reliable consumer{plural}, 1 observer, on {cores} cores\n"
        );
        if cores < busy {
            text += &format!(
                "({busy} busy processes share {cores} cores; a core for each gives better results)\n"
            );
        }
        text + "\n"
    }

    fn report(&mut self, stream: &Stream, one_way: &Counts, round_trip: &Counts) -> Result<(), Failure> {
        self.progress.erase();
        let Stream { producer, consumers, observer } = stream;
        let (sent, length) = (producer.get("sent"), Duration::from_nanos(producer.get("nanos")));
        let rate = sent as f64 / length.as_secs_f64();
        let (seen, missed) = (observer.get("got"), observer.get("lost"));
        let share = 100.0 * missed as f64 / sent.max(1) as f64;
        print(&format!(
            "throughput   {} messages/s, {}/s of payload\n\
             \x20            {} messages in {}; {} waited for credits\n\
             observer     {} read, {} lost ({share:.1} %)\n\
             \x20            (an observer may lose messages: the producer never waits for it)\n",
            format::count(rate as u64),
            format::bytes(rate * self.arguments.size as f64),
            format::count(sent),
            format::duration(length),
            format::count(producer.get("waits")),
            format::count(seen),
            format::count(missed),
        ))?;
        print(&format!(
            "one way      {}\n             {} samples at {} messages/s, timed from when each was due\n",
            percentiles(one_way),
            format::count(one_way.get("samples")),
            format::count(self.rate()),
        ))?;
        print(&format!(
            "round trip   {}\n             {} samples, over two links\n",
            percentiles(round_trip),
            format::count(round_trip.get("samples")),
        ))?;
        for (index, consumer) in consumers.iter().enumerate() {
            check_complete(&format!("consumer {}", index + 1), sent, consumer)?;
        }
        if observer.get("bad") > 0 || seen + missed != sent {
            return Err(Failure::new(format!(
                "of {sent} messages, the observer got {seen}, of which {} were corrupted, and counted {missed} as lost",
                observer.get("bad")
            )));
        }
        let readers = match consumers.len() {
            1 => "the consumer".to_owned(),
            number => format!("all {number} consumers"),
        };
        print(&format!("result       ok: {readers} got every message, in order and intact\n"))
    }
}

fn with_part(role: &role::Arguments, part: Part) -> role::Arguments {
    role::Arguments { part, ..role.clone() }
}

/// Fails unless a reliable consumer got every message intact.
fn check_complete(consumer: &str, sent: u64, counts: &Counts) -> Result<(), Failure> {
    let (got, lost, bad) = (counts.get("got"), counts.get("lost"), counts.get("bad"));
    if got == sent && lost == 0 && bad == 0 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "of {sent} messages, {consumer} got {got}, of which {bad} were corrupted, and lost {lost}"
    )))
}

fn percentiles(counts: &Counts) -> String {
    let at = |name| format::duration(Duration::from_nanos(counts.get(name)));
    format!("p50 {}   p99 {}   p99.9 {}   max {}", at("p50"), at("p99"), at("p999"), at("max"))
}

fn print(text: &str) -> Result<(), Failure> {
    standard::print(text).map_err(Failure::output)
}
