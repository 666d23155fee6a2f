//! `tango demo`: the main job. Processes that stream, checked byte by byte, over links in shared memory.
//!
//! Three stages, each with processes and links of its own, so that nothing of one disturbs the next:
//!
//! ```text
//! throughput    producer --> consumer (or several), observer     most of the time
//! one way       producer --> consumer, at a moderate rate        half a second
//! round trip    ping --> pong, pong --> ping                     half a second
//! ```

use std::io::{IsTerminal, Write, stderr};
use std::process;
use std::time::{Duration, Instant};

use crate::demo_crew::{Crew, Report};
use crate::demo_roles::{self, Part, cores};
use crate::failure::Failure;
use crate::place::Place;
use crate::report::{bytes, count, short, time};

/// Messages a second while one-way latency is measured, at most.
const RATE: u64 = 50_000;
/// And bytes a second, which large messages would exceed at that rate: a load that leaves room.
const LOAD: u64 = 200_000_000;

const DETAILS: &str = "\
A producer, reliable consumers and an observer, each a process of its own, share
a link: the producer waits for the consumers, and laps the observer when that is
too slow. Then latency is measured: one way at a moderate rate, from when each
message was due until it is read; and the round trip over two links.

Exit status: 0 only if every reliable consumer got every message, in order and
intact. While it runs, `tango ls` in another terminal shows its link.";

/// Show it: a few seconds of messages between processes, every byte checked
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// How long it takes
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = duration, allow_negative_numbers = true)]
    duration: Duration,
    /// Bytes in a message
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size, allow_negative_numbers = true)]
    size: usize,
    /// Messages under way: a power of two
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = depth, allow_negative_numbers = true)]
    depth: usize,
    /// How many reliable consumers there are
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), allow_negative_numbers = true)]
    consumers: u16,
}

impl Default for Arguments {
    fn default() -> Self {
        Self { duration: Duration::from_secs(3), size: 64, depth: 1024, consumers: 1 }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = crate::recv::seconds(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(86_400);
    if allowed.contains(&time) { Ok(time) } else { Err("not from 0.1 to 86400 seconds".to_owned()) }
}

fn size(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 24;
    text.parse().ok().filter(|size| *size <= MOST).ok_or_else(|| format!("not a number from 0 to {MOST}"))
}

fn depth(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 20;
    let allowed = |depth: &usize| depth.is_power_of_two() && (2..=MOST).contains(depth);
    text.parse().ok().filter(allowed).ok_or_else(|| format!("not a power of two from 2 to {MOST}"))
}

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<(), Failure> {
    let mut demo = Demo { arguments, place, crew: Crew::new(place)?, progress: Progress::new() };
    demo.print(&demo.heading())?;
    let measuring = Duration::from_millis(500).min(arguments.duration / 4);
    let stream = demo.throughput(arguments.duration - 2 * measuring)?;
    let one_way = demo.one_way(measuring)?;
    let round_trip = demo.round_trip(measuring)?;
    demo.summary(&stream, &one_way, &round_trip)
}

struct Demo<'a> {
    arguments: &'a Arguments,
    place: &'a Place,
    crew: Crew,
    progress: Progress,
}

/// What came of the first stage.
struct Stream {
    producer: Report,
    consumers: Vec<Report>,
    observer: Report,
}

impl Demo<'_> {
    fn throughput(&mut self, length: Duration) -> Result<Stream, Failure> {
        let name = self.crew.name_link("stream");
        let consumers = usize::from(self.arguments.consumers);
        let role = demo_roles::Arguments { consumers, ..self.role(&name, length) };
        let producer = self.crew.start("producer", &role)?;
        let mut readers = Vec::new();
        for number in 1..=consumers {
            let title = if consumers == 1 { "consumer".to_owned() } else { format!("consumer {number}") };
            readers.push(self.crew.start(&title, &with(&role, Part::Consumer))?);
        }
        let observer = self.crew.start("observer", &with(&role, Part::Observer))?;
        self.crew.until_ready()?;
        self.crew.go(producer)?;
        let link = self.place.open(&name)?;
        let (start, begin) = (link.geometry().start, Instant::now());
        let progress = &mut self.progress;
        let mut before = (begin, 0);
        self.crew.until_ended(length, || {
            let status = link.status();
            let (now, sent) = (Instant::now(), status.next - start);
            // Who has left has read everything.
            let lag = status.consumers.iter().map(|consumer| consumer.lag).max().unwrap_or(0);
            let rate = (sent - before.1) as f64 / (now - before.0).as_secs_f64();
            before = (now, sent);
            progress.show(&format!(
                "{:5.1} s   sent {:>9}   received {:>9}   {:>8}/s   lag {lag}",
                begin.elapsed().as_secs_f64(),
                short(sent as f64),
                short(sent.saturating_sub(lag) as f64),
                short(rate),
            ));
        })?;
        Ok(Stream {
            producer: self.crew.report(producer),
            consumers: readers.into_iter().map(|reader| self.crew.report(reader)).collect(),
            observer: self.crew.report(observer),
        })
    }

    fn one_way(&mut self, length: Duration) -> Result<Report, Failure> {
        self.progress.show("measuring one-way latency");
        let name = self.crew.name_link("paced");
        let role = demo_roles::Arguments { rate: self.rate(), ..self.role(&name, length) };
        let producer = self.crew.start("producer at a moderate rate", &role)?;
        let consumer = self.crew.start("consumer at a moderate rate", &with(&role, Part::Consumer))?;
        self.crew.until_ready()?;
        self.crew.go(producer)?;
        self.crew.until_ended(length, || {})?;
        let (sent, report) = (self.crew.report(producer).get("sent"), self.crew.report(consumer));
        self.intact("at a moderate rate, the consumer", sent, &report)?;
        Ok(report)
    }

    fn round_trip(&mut self, length: Duration) -> Result<Report, Failure> {
        self.progress.show("measuring round trips");
        let (out, back) = (self.crew.name_link("ping"), self.crew.name_link("pong"));
        let role = self.role(&out, length);
        let ping = self.crew.start(
            "process that asks",
            &demo_roles::Arguments { part: Part::Ping, back: back.clone(), ..role.clone() },
        )?;
        self.crew.start("process that answers", &demo_roles::Arguments { part: Part::Pong, back, ..role })?;
        self.crew.until_ready()?;
        self.crew.go(ping)?;
        self.crew.until_ended(length, || {})?;
        let report = self.crew.report(ping);
        match report.get("bad") {
            0 => Ok(report),
            bad => Err(Failure::new(format!("{bad} messages did not come back as they were sent"))),
        }
    }

    /// Messages a second while one-way latency is measured.
    fn rate(&self) -> u64 {
        (LOAD / self.arguments.size.max(1) as u64).clamp(100, RATE)
    }

    /// The producer of a link, with one consumer.
    fn role(&self, link: &str, length: Duration) -> demo_roles::Arguments {
        demo_roles::Arguments {
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

    /// A failure unless a reliable consumer got all that was sent.
    fn intact(&self, who: &str, sent: u64, report: &Report) -> Result<(), Failure> {
        let (got, lost, bad) = (report.get("got"), report.get("lost"), report.get("bad"));
        if got == sent && lost == 0 && bad == 0 {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{who} got {got} of {sent} messages, {bad} of them wrong, and missed {lost}"
        )))
    }

    fn heading(&self) -> String {
        let Arguments { size, depth, consumers, .. } = self.arguments;
        let plural = if *consumers == 1 { "" } else { "s" };
        let (busy, cores) = (usize::from(*consumers) + 2, cores());
        let mut text = format!(
            "{size}-byte messages between processes, through {depth} slots of shared memory:\n\
             1 producer, {consumers} reliable consumer{plural}, 1 observer, on {cores} cores\n"
        );
        if cores < busy {
            text += &format!(
                "({busy} busy processes take turns on {cores} cores: expect less than with a core each)\n"
            );
        }
        text + "\n"
    }

    fn summary(&mut self, stream: &Stream, one_way: &Report, round_trip: &Report) -> Result<(), Failure> {
        self.progress.clear();
        let Stream { producer, consumers, observer } = stream;
        let (sent, took) = (producer.get("sent"), Duration::from_nanos(producer.get("nanos")));
        let rate = sent as f64 / took.as_secs_f64();
        let (seen, missed) = (observer.get("got"), observer.get("lost"));
        let share = 100.0 * missed as f64 / sent.max(1) as f64;
        self.print(&format!(
            "throughput   {} messages/s, {}/s of payload\n\
             \x20            {} in {}; the producer waited for credits {} times\n\
             observer     {} read, {} lost ({share:.1} %): nobody waits for it\n",
            count(rate as u64),
            bytes(rate * self.arguments.size as f64),
            count(sent),
            time(took),
            count(producer.get("waits")),
            count(seen),
            count(missed),
        ))?;
        self.print(&format!(
            "one way      {}\n             {} samples at {} messages/s, from when each was due\n",
            percentiles(one_way),
            count(one_way.get("samples")),
            count(self.rate()),
        ))?;
        self.print(&format!(
            "round trip   {}\n             {} samples, over two links\n",
            percentiles(round_trip),
            count(round_trip.get("samples")),
        ))?;
        for (index, consumer) in consumers.iter().enumerate() {
            self.intact(&format!("reliable consumer {}", index + 1), sent, consumer)?;
        }
        if observer.get("bad") > 0 || seen + missed != sent {
            return Err(Failure::new(format!(
                "of {sent} messages the observer got {seen}, {} of them wrong, and counted {missed} as lost",
                observer.get("bad")
            )));
        }
        let who = match consumers.len() {
            1 => "the reliable consumer".to_owned(),
            number => format!("all {number} reliable consumers"),
        };
        self.print(&format!("result       ok: {who} got everything, in order and intact\n"))
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::writing)
    }
}

fn with(role: &demo_roles::Arguments, part: Part) -> demo_roles::Arguments {
    demo_roles::Arguments { part, ..role.clone() }
}

fn percentiles(report: &Report) -> String {
    let at = |key| time(Duration::from_nanos(report.get(key)));
    format!("p50 {}   p99 {}   p99.9 {}   max {}", at("p50"), at("p99"), at("p999"), at("max"))
}

/// A line on standard error that says how it goes: on a terminal always the same one.
struct Progress {
    terminal: bool,
    shown: bool,
    /// When the last line was written, where each is a new one.
    written: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: stderr().is_terminal(), shown: false, written: None }
    }

    fn show(&mut self, text: &str) {
        if self.terminal {
            self.shown = true;
            eprint!("\r\x1b[K{text}");
        } else if self.written.is_none_or(|written| written.elapsed() >= Duration::from_secs(1)) {
            self.written = Some(Instant::now());
            eprintln!("{text}");
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
