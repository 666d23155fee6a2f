//! `tango demo`: processes that stream messages over links in shared memory and check every byte.
//!
//! Two stages run one after the other. Each has processes and links of its own, so that neither disturbs the other:
//!
//! ```text
//! streaming     producer --> consumers, observer      the rest of the time
//! measuring     two processes alone: what `tango bench` measures, briefly      up to 1.2 s
//! ```
//!
//! This file has the options, the stages and the report. Below it, from the bottom up: `protocol.rs` (what the processes
//! tell the demonstration), `role.rs` (what each process does), `processes.rs` (how they are started and ended).

pub(crate) mod protocol;

pub(crate) mod role;

mod processes;

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use crate::demo::processes::Processes;
use crate::demo::protocol::Counts;
use crate::demo::role::Part;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::measuring::options::{depth, duration, size};
use crate::measuring::progress::Progress;
use crate::{format, standard};

const DETAILS: &str = "\
A producer, one or more reliable consumers and an observer share a link. Each is
a process of its own. The producer waits for credits from the consumers when the
ring is full. It never waits for the observer, which counts what it loses.

Afterwards, two processes alone measure a link, each on a core of its own if the
machine has two. 'tango bench' measures the same for longer and says more;
'tango bench --help' explains the rows.

The two parts differ. While messages are streamed, all processes are busy, and
take turns if there are fewer cores. And each has to check every byte, so that
the slowest reader sets the speed. The second part shows what a link does
without that, and what the hardware does without a link.

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
        let measuring = Duration::from_millis(1200).min(duration * 2 / 5);
        let stream = self.stream(duration - measuring)?;
        let figures = self.measure(measuring)?;
        self.report(&stream, &figures)
    }

    fn stream(&mut self, length: Duration) -> Result<Stream, Failure> {
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

    /// Lets two processes measure a link of their own. Returns what they have found, as text.
    fn measure(&mut self, length: Duration) -> Result<String, Failure> {
        self.progress.show("measuring round trips, latency and throughput of two processes");
        let name = self.processes.name_link("measured");
        let role = with_part(&self.producer_role(&name, length), Part::Measure);
        let process = self.processes.start("measuring process", &role)?;
        self.processes.wait_until_ready()?;
        self.processes.begin(process)?;
        self.processes.wait_until_ended(length, || {})?;
        let counts = self.processes.result(process);
        check_complete("the measuring process", counts.get("sent"), &counts)?;
        Ok(self.processes.text(process).to_owned())
    }

    /// The arguments of the producer of a link with one consumer.
    fn producer_role(&self, link: &str, length: Duration) -> role::Arguments {
        role::Arguments {
            part: Part::Producer,
            link: link.to_owned(),
            size: self.arguments.size,
            depth: self.arguments.depth,
            consumers: 1,
            nanos: length.as_nanos() as u64,
            parent: process::id(),
        }
    }

    fn heading(&self) -> String {
        let Arguments { size, depth, consumers, .. } = self.arguments;
        let plural = if *consumers == 1 { "" } else { "s" };
        let cores = usable_cores();
        format!(
            "Streaming {size}-byte messages between processes, through a ring of {depth} slots:\n\
             1 producer, {consumers} reliable consumer{plural}, 1 observer, on {cores} core{}\n\n",
            if cores == 1 { "" } else { "s" }
        )
    }

    fn report(&mut self, stream: &Stream, figures: &str) -> Result<(), Failure> {
        self.progress.erase();
        let Stream { producer, consumers, observer } = stream;
        let (sent, length) = (producer.get("sent"), Duration::from_nanos(producer.get("nanos")));
        let rate = sent as f64 / length.as_secs_f64();
        let (seen, missed) = (observer.get("got"), observer.get("lost"));
        let share = 100.0 * missed as f64 / sent.max(1) as f64;
        let (busy, cores) = (consumers.len() + 2, usable_cores());
        let conditions = if busy <= cores {
            format!("{busy} busy processes on {cores} cores; the slowest reader sets the speed")
        } else {
            let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
            format!(
                "{busy} busy processes took turns on {cores}: most of them waited at any\n\
                     \x20             time, so this is not the speed of a link, which is below"
            )
        };
        print(&format!(
            "streamed      {} messages/s, {}/s of payload\n\
             \x20             {} messages in {}; {} waited for credits\n\
             \x20             the producer fills each byte, and each reader checks it\n\
             \x20             {conditions}\n\
             observer      {} read, {} lost ({share:.1} %)\n\
             \x20             (an observer may lose messages: the producer never waits for it)\n\n\
             Two processes alone, one sends and one receives, every byte checked:\n\
             {figures}",
            format::short_count(rate),
            format::bytes(rate * self.arguments.size as f64),
            format::count(sent),
            format::duration(length),
            format::count(producer.get("waits")),
            format::count(seen),
            format::count(missed),
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
        print(&format!("\nresult        ok: {readers} got every message, in order and intact\n"))
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

fn usable_cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn print(text: &str) -> Result<(), Failure> {
    standard::print(text).map_err(Failure::output)
}
