//! One process of the demonstration, which starts this program again for each: `tango demo-role`, which is
//! not a subcommand for people.
//!
//! How a process talks to the demonstration is in `protocol.rs`.

use std::io::{self, BufRead};
use std::process;
use std::time::Duration;

use rust_tango::{Link, Producer, TangoError};

use crate::demo::protocol::{Counts, Line};
use crate::failure::Failure;
use crate::folder::{LinkFolder, RemoveOnDrop};
use crate::measuring::ask::{Measured, Plan};
use crate::measuring::cores::now;
use crate::measuring::created::Created;
use crate::measuring::exchange::Length;
use crate::measuring::options::default_rate;
use crate::measuring::payload::{fill, is_filled};
use crate::measuring::role::{Setting, end_with};
use crate::measuring::wire::Stage;
use crate::measuring::{self, report};
use crate::signals::{self, TerminationSignals};
use crate::standard;

/// The first argument of such a process.
pub(crate) const NAME: &str = "demo-role";
/// How long a process waits for the others.
const PATIENCE: Duration = Duration::from_secs(20);
/// Fragments published between two readings of the clock.
const PUBLISHES_PER_READING: u64 = 64;
/// How often each row is measured.
const WINDOWS: u32 = 3;

/// Run one process of the demonstration
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// What the process does
    #[arg(long)]
    pub(crate) part: Part,
    /// Link that the process creates or joins
    #[arg(long)]
    pub(crate) link: String,
    /// Bytes per message
    #[arg(long)]
    pub(crate) size: usize,
    /// Slots of the ring
    #[arg(long)]
    pub(crate) depth: usize,
    /// Reliable consumers to wait for
    #[arg(long)]
    pub(crate) consumers: usize,
    /// Time to publish or to measure, in nanoseconds
    #[arg(long)]
    pub(crate) nanos: u64,
    /// Process id of the demonstration
    #[arg(long)]
    pub(crate) parent: u32,
}

/// What a process of the demonstration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Publishes.
    Producer,
    /// Reads and checks every fragment.
    Consumer,
    /// Reads and checks the fragments that it can.
    Observer,
    /// Measures a link between itself and one more process.
    Measure,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    end_with(arguments.parent)?;
    let result = match arguments.part {
        Part::Producer => produce(arguments, folder),
        Part::Consumer | Part::Observer => consume(arguments, folder),
        Part::Measure => measure(arguments, folder),
    };
    match result {
        Ok(counts) => print(&Line::Result(counts)),
        Err(failure) => {
            print(&Line::Error(failure.message().unwrap_or_default()))?;
            Err(Failure::already_reported())
        }
    }
}

/// Publishes for the given time.
fn produce(arguments: &Arguments, folder: &LinkFolder) -> Result<Counts, Failure> {
    let (link, tx) = create(arguments, &arguments.link, folder)?;
    print(&Line::Ready)?;
    wait_for_begin()?;
    if !tx.wait_for_consumers(arguments.consumers, Some(PATIENCE)) {
        return Err(Failure::new(format!("the consumers did not join within {} s", PATIENCE.as_secs())));
    }
    let (length, begin) = (arguments.nanos, now());
    let mut payload = vec![0; arguments.size];
    let mut sent = 0;
    let mut publish = || {
        fill(&mut payload, tx.next_seq());
        tx.publish_blocking(&payload, 0, 0, 0)
            .map_err(|error| Failure::new(format!("cannot publish: {error}")))
    };
    while now() - begin < length {
        for _ in 0..PUBLISHES_PER_READING {
            publish()?;
        }
        sent += PUBLISHES_PER_READING;
    }
    if !tx.wait_until_drained(Some(PATIENCE)) {
        return Err(Failure::new(format!(
            "the consumers did not read everything within {} s",
            PATIENCE.as_secs()
        )));
    }
    let nanos = now() - begin;
    let waits = link.0.status().backpressure;
    drop(tx);
    drop(link);
    Ok(Counts::from([("sent", sent), ("nanos", nanos), ("waits", waits)]))
}

/// Reads and checks every fragment: all of them as a consumer, those that it can as an observer.
fn consume(arguments: &Arguments, folder: &LinkFolder) -> Result<Counts, Failure> {
    let link = wait_for_link(folder, &arguments.link)?;
    let mut rx = if arguments.part == Part::Observer { link.observer() } else { link.consumer() }?;
    print(&Line::Ready)?;
    let (mut got, mut lost, mut bad) = (0_u64, 0, 0_u64);
    let mut expected = link.geometry().start;
    loop {
        match rx.wait() {
            Ok(Some(fragment)) => {
                let meta = fragment.meta;
                let is_intact = meta.seq == expected
                    && fragment.payload.len() == arguments.size
                    && is_filled(fragment.payload.as_slice(), meta.seq);
                bad += u64::from(!is_intact);
                expected = meta.seq.wrapping_add(1);
                got += 1;
            }
            Ok(None) => break,
            Err(TangoError::Overrun { lost: more, next }) => {
                lost += more;
                expected = next;
            }
            Err(error) => return Err(Failure::new(error.to_string())),
        }
    }
    Ok(Counts::from([("got", got), ("lost", lost), ("bad", bad)]))
}

/// Measures a link between this process and one that it starts, and prints the figures for the report.
fn measure(arguments: &Arguments, folder: &LinkFolder) -> Result<Counts, Failure> {
    let created = Created::until_signal()?;
    print(&Line::Ready)?;
    wait_for_begin()?;
    let stages = vec![Stage::Raw, Stage::Trips, Stage::OneWay, Stage::Stream];
    let time = Duration::from_nanos(arguments.nanos) / WINDOWS / stages.len() as u32;
    let Arguments { size, depth, .. } = *arguments;
    let (length, rate) = (Length::Time(time), default_rate(size));
    let plan = Plan { stages, size, depth, windows: WINDOWS, length, rate };
    let setting = Setting { cores: measuring::role::default_cores()?, wait: None };
    let measured = measuring::role::measure(folder, &arguments.link, setting, &plan, &created, |_| {})?;
    let (place, figures) = (report::place(&measured), report::figures(&measured, &plan));
    let text = format!("{place}\n{figures}{}", report::warnings(&measured));
    for line in text.lines() {
        print(&Line::Text(line.to_owned()))?;
    }
    let Measured { sent, received, wrong, .. } = measured;
    Ok(Counts::from([("sent", sent), ("got", received), ("bad", wrong), ("lost", measured.lost())]))
}

/// Creates a link, which is removed when it is dropped. A termination signal removes it and ends this
/// process.
fn create(
    arguments: &Arguments,
    name: &str,
    folder: &LinkFolder,
) -> Result<(RemoveOnDrop, Producer<'static>), Failure> {
    let signals = TerminationSignals::block().map_err(Failure::signals)?;
    let Arguments { size, depth, consumers, .. } = *arguments;
    let link = RemoveOnDrop(folder.builder().depth(depth).mtu(size).consumers(consumers).create(name)?);
    let created = link.0.clone();
    signals
        .on_arrival(move |signal| {
            signals::try_within_grace(move || _ = created.remove());
            process::exit(128 + signal);
        })
        .map_err(Failure::signals)?;
    let tx = link.0.producer()?;
    Ok((link, tx))
}

/// Waits until the link exists, and opens it.
fn wait_for_link(folder: &LinkFolder, name: &str) -> Result<Link, Failure> {
    Ok(folder.open_wait(name, PATIENCE)?)
}

fn print(line: &Line) -> Result<(), Failure> {
    standard::print(&format!("{line}\n")).map_err(Failure::output)
}

/// Waits until the demonstration says that this process may begin.
fn wait_for_begin() -> Result<(), Failure> {
    match io::stdin().lock().read_line(&mut String::new()) {
        Ok(len) if len > 0 => Ok(()),
        _ => Err(Failure::new("the demonstration has ended")),
    }
}
