//! `tango inspect`: all of one link, and of the processes that use it.

use rust_tango::{ConsumerStatus, Inspection, PayloadType};

use crate::arguments::ExistingLink;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::format::{self, count};
use crate::report::{self, Report};
use crate::{hints, standard};

const DETAILS: &str = "\
Examples:
  tango inspect quotes                    print all of it
  tango inspect quotes --json | jq .credits_left
  watch -n 1 tango inspect quotes

Sections:
  link       where it is, its state ('tango ls --help' explains the states), the
             type of its payloads, who owns it, and the memory that it takes
  sizes      what its maker chose
  producer   sequence numbers; the value of the last heartbeat, in the unit that
             the producer uses; fragments that it can publish before it has to
             wait (credits); fragments that had to wait (backpressure); the
             consumer that it waits for
  consumers  for each one: how far behind it is, and what it has lost
  processes  which processes hold a file, since when they run. A process is left
             out if you may not read its open files: try as root

inspect reads only. It slows neither end, and works for every link that you may
read. Observers are not listed, because a link does not know about them.

--json prints one object on one line. docs/operating.md describes its fields.

Exit status:
  0      success
  1      there is no such link, or it cannot be read
  2      invalid usage
  128+N  terminated by signal N";

/// Show all of a link, and of the processes that use it
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) link: ExistingLink,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    let inspection = hints::open(folder, &arguments.link.name)?.inspect()?;
    let text = if arguments.json {
        report::json(&Report::new(&inspection, None))? + "\n"
    } else {
        text(&inspection)
    };
    standard::print(&text).map_err(Failure::output)
}

/// Lines of a section: what, and how much.
type Lines = Vec<(&'static str, String)>;

fn text(of: &Inspection) -> String {
    let mut text = String::new();
    for (heading, lines) in [("link", link(of)), ("sizes", sizes(of)), ("producer", producer(of))] {
        let rows: Vec<_> =
            lines.into_iter().map(|(what, value)| vec![format!("  {what:<16}"), value]).collect();
        text += &format!("{heading}\n{}\n", format::table(&rows, &[]));
    }
    text += &section("consumers", consumers(of), &[2, 3, 4, 5, 6]);
    text.push('\n');
    text += &section("processes", processes(of), &[1]);
    text
}

/// A section that is a table. The first row is its head.
fn section(heading: &str, mut rows: Vec<Vec<String>>, align_right: &[usize]) -> String {
    if rows.len() == 1 {
        return format!("{heading}\n  none\n");
    }
    rows.iter_mut().for_each(|row| row[0].insert_str(0, "  "));
    format!("{heading}\n{}", format::table(&rows, align_right))
}

fn link(of: &Inspection) -> Lines {
    let mode = format!("{:04o}", of.mode);
    let bytes = format!("{} bytes, {} of them allocated", count(of.bytes), count(of.allocated));
    let mut lines = vec![
        ("name", of.name.clone()),
        ("folder", format::one_line(&of.path.display().to_string())),
        ("state", report::state(&of.status).to_owned()),
        ("payload type", of.payload_type.as_ref().map_or_else(|| "none".to_owned(), PayloadType::to_string)),
        ("owner", format!("{}, mode {mode}", report::user(of.user))),
        ("files", bytes),
    ];
    if !of.named || of.status.name_lost {
        lines.push(("name", "lost: no other process can find the link".to_owned()));
    }
    lines
}

fn sizes(of: &Inspection) -> Lines {
    let geometry = &of.geometry;
    vec![
        ("depth", format!("{} fragments", count(geometry.depth as u64))),
        ("MTU", format!("{} bytes", count(geometry.mtu as u64))),
        ("slot", format!("{} bytes", count(geometry.slot as u64))),
        ("payload region", format!("{} bytes", count(geometry.region as u64))),
        ("consumer slots", count(geometry.consumers as u64)),
        ("observers", if geometry.observers { "allowed" } else { "not allowed" }.to_owned()),
    ]
}

fn producer(of: &Inspection) -> Lines {
    let (status, metrics) = (&of.status, &of.metrics);
    let slowest = of.slowest.map_or_else(String::new, |slot| format!("; consumer #{slot} is the slowest"));
    let (left, all) = (count(of.credits_left), count(of.geometry.credits));
    let holding = status.held_by.map_or_else(|| "nobody".to_owned(), |slot| format!("consumer #{slot}"));
    vec![
        ("first fragment", status.start.to_string()),
        ("oldest fragment", status.oldest.to_string()),
        ("next fragment", status.next.to_string()),
        ("published", count(metrics.published)),
        ("heartbeat", if status.heartbeat == 0 { "none".to_owned() } else { status.heartbeat.to_string() }),
        ("credits left", format!("{left} of {all}{slowest}")),
        ("held back by", holding),
        ("backpressure", format!("{} fragments had to wait", count(metrics.backpressure_events))),
        ("producers so far", count(metrics.producers)),
        ("takeovers", count(metrics.takeovers)),
        ("evictions", count(metrics.evicted)),
        ("dead consumers", format!("{} reaped", count(metrics.reaped))),
        ("lost by readers", format!("{} fragments", count(metrics.lost()))),
    ]
}

fn consumers(of: &Inspection) -> Vec<Vec<String>> {
    let headings = ["SLOT", "STATE", "NEXT", "LAG", "CONSUMED", "OVERRUNS", "LOST", "KIND"];
    let row = |consumer: &ConsumerStatus| {
        let state = match consumer {
            ConsumerStatus { alive: false, .. } => "dead",
            _ if of.status.held_by == Some(consumer.slot) => "holding",
            ConsumerStatus { asleep: true, .. } => "asleep",
            _ => "awake",
        };
        vec![
            format!("#{}", consumer.slot),
            state.to_owned(),
            consumer.next.to_string(),
            count(consumer.lag),
            count(consumer.consumed),
            count(consumer.overruns),
            count(consumer.lost),
            if consumer.evictable { "evictable" } else { "reliable" }.to_owned(),
        ]
    };
    let head = headings.map(String::from).to_vec();
    [head].into_iter().chain(of.status.consumers.iter().map(row)).collect()
}

fn processes(of: &Inspection) -> Vec<Vec<String>> {
    let mut rows = vec![["FILE", "PROCESS", "USER", "COMMAND", "SINCE"].map(String::from).to_vec()];
    for holder in of.holders.iter() {
        let file = report::file(holder);
        if holder.processes.is_empty() {
            rows.push(vec![file.clone(), "?".to_owned()]);
        }
        for process in &holder.processes {
            let unknown = || "?".to_owned();
            rows.push(vec![
                file.clone(),
                process.id.to_string(),
                process.user.map_or_else(unknown, report::user),
                process.command.as_deref().map_or_else(unknown, format::one_line),
                process.started.map_or_else(unknown, report::time),
            ]);
        }
    }
    rows
}
