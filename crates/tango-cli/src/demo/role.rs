//! One process of the demonstration, which starts this program again for each: `tango demo-role`, which is
//! not a subcommand for people.
//!
//! Where latency is measured, the `sig` of a fragment is the time at which it was due, by a clock that all
//! processes share. How a process talks to the demonstration is in `protocol.rs`.

use std::io::{self, BufRead};
use std::os::unix::process::parent_id;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use rust_tango::{Link, Producer, TangoError};

use crate::demo::payload::{fill, is_filled};
use crate::demo::protocol::{Counts, Line};
use crate::failure::Failure;
use crate::folder::{LinkFolder, RemoveOnDrop};
use crate::signals::{self, TerminationSignals};
use crate::standard;

/// The first argument of such a process.
pub(crate) const NAME: &str = "demo-role";
/// How long a process waits for the others.
const PATIENCE: Duration = Duration::from_secs(20);
/// Fragments published between two readings of the clock, if no rate is given.
const PUBLISHES_PER_READING: u64 = 64;
/// A producer yields its core until this long before a message is due, then spins.
const SPIN_BEFORE_DUE: Duration = Duration::from_micros(2);
/// Longer latencies are recorded as this one, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Run one process of the demonstration
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// What the process does
    #[arg(long)]
    pub(crate) part: Part,
    /// Link that the process creates or joins
    #[arg(long)]
    pub(crate) link: String,
    /// Link for the answers, from pong to ping
    #[arg(long, default_value = "")]
    pub(crate) back: String,
    /// Bytes per message
    #[arg(long)]
    pub(crate) size: usize,
    /// Slots of the ring
    #[arg(long)]
    pub(crate) depth: usize,
    /// Reliable consumers to wait for
    #[arg(long)]
    pub(crate) consumers: usize,
    /// Time to publish, in nanoseconds
    #[arg(long)]
    pub(crate) nanos: u64,
    /// Messages per second, with due times; 0: no limit
    #[arg(long)]
    pub(crate) rate: u64,
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
    /// Sends a message and waits for its answer.
    Ping,
    /// Answers each message with a copy.
    Pong,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    // The demonstration may have been told to ignore the signal. It ends this process nevertheless.
    signals::restore_default(Signal::SIGTERM).map_err(Failure::signals)?;
    // The kernel ends this process when the demonstration dies, even if that was killed.
    prctl::set_pdeathsig(Signal::SIGTERM)
        .map_err(|error| Failure::new(format!("cannot set the parent-death signal: {error}")))?;
    // If the demonstration died before that call, no signal comes.
    if parent_id() != arguments.parent {
        return Err(Failure::already_reported());
    }
    let result = match arguments.part {
        Part::Producer => produce(arguments, folder),
        Part::Consumer | Part::Observer => consume(arguments, folder),
        Part::Ping => ping(arguments, folder),
        Part::Pong => pong(arguments, folder),
    };
    match result {
        Ok(counts) => print(&Line::Result(counts)),
        Err(failure) => {
            print(&Line::Error(failure.message().unwrap_or_default()))?;
            Err(Failure::already_reported())
        }
    }
}

/// Publishes for the given time, without a limit or at the given rate.
fn produce(arguments: &Arguments, folder: &LinkFolder) -> Result<Counts, Failure> {
    let (link, tx) = create(arguments, &arguments.link, folder)?;
    print(&Line::Ready)?;
    wait_for_begin()?;
    if !tx.wait_for_consumers(arguments.consumers, Some(PATIENCE)) {
        return Err(Failure::new(format!("the consumers did not join within {} s", PATIENCE.as_secs())));
    }
    let (length, begin) = (Duration::from_nanos(arguments.nanos), now());
    let mut payload = vec![0; arguments.size];
    let mut sent = 0;
    let mut publish = |sig| {
        fill(&mut payload, tx.next_seq());
        tx.publish_blocking(&payload, sig, 0, 0).map_err(publish_failure)
    };
    if arguments.rate == 0 {
        while now() - begin < length {
            for _ in 0..PUBLISHES_PER_READING {
                publish(0)?;
            }
            sent += PUBLISHES_PER_READING;
        }
    } else {
        let interval = 1e9 / arguments.rate as f64;
        let total = (length.as_nanos() as f64 / interval) as u64;
        while sent < total {
            let due = begin + Duration::from_nanos((sent as f64 * interval) as u64);
            while let Some(early) = due.checked_sub(now()).filter(|early| !early.is_zero()) {
                if early > SPIN_BEFORE_DUE { thread::yield_now() } else { std::hint::spin_loop() }
            }
            // The due time, not the present: if a delay makes later messages late, their latency includes it.
            publish(due.as_nanos() as u64)?;
            sent += 1;
        }
    }
    if !tx.wait_until_drained(Some(PATIENCE)) {
        return Err(Failure::new(format!(
            "the consumers did not read everything within {} s",
            PATIENCE.as_secs()
        )));
    }
    let nanos = (now() - begin).as_nanos() as u64;
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
    let mut latency = histogram()?;
    let (mut got, mut lost, mut bad) = (0_u64, 0, 0_u64);
    let mut expected = link.geometry().start;
    // The first tenth is not recorded: caches are cold, and memory is touched for the first time.
    let warm_up = expected + arguments.rate * arguments.nanos / 1_000_000_000 / 10;
    loop {
        match rx.wait() {
            Ok(Some(fragment)) => {
                let meta = fragment.meta;
                if arguments.rate > 0 && meta.seq >= warm_up {
                    record(&mut latency, (now().as_nanos() as u64).saturating_sub(meta.sig));
                }
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
    Ok(percentiles(&latency).and([("got", got), ("lost", lost), ("bad", bad)]))
}

/// Sends one message at a time and measures the time until its answer arrives.
fn ping(arguments: &Arguments, folder: &LinkFolder) -> Result<Counts, Failure> {
    let (link, tx) = create(arguments, &arguments.link, folder)?;
    let mut rx = wait_for_link(folder, &arguments.back)?.consumer()?;
    print(&Line::Ready)?;
    wait_for_begin()?;
    if !tx.wait_for_consumers(1, Some(PATIENCE)) {
        return Err(Failure::new(format!("the pong process did not join within {} s", PATIENCE.as_secs())));
    }
    let mut latency = histogram()?;
    let mut payload = vec![0; arguments.size];
    let (length, begin) = (Duration::from_nanos(arguments.nanos), Instant::now());
    let (mut bad, mut before) = (0_u64, begin);
    while before - begin < length {
        let seq = tx.next_seq();
        fill(&mut payload, seq);
        tx.publish_blocking(&payload, 0, 0, 0).map_err(publish_failure)?;
        match rx.wait().map_err(|error| Failure::new(error.to_string()))? {
            Some(answer) => bad += u64::from(!is_filled(answer.payload.as_slice(), seq)),
            None => return Err(Failure::new("the pong process ended early")),
        }
        let after = Instant::now();
        if before - begin >= length / 10 {
            record(&mut latency, (after - before).as_nanos() as u64);
        }
        before = after;
    }
    drop(tx);
    drop(link);
    Ok(percentiles(&latency).and([("bad", bad)]))
}

/// Answers each message with a copy of its payload.
fn pong(arguments: &Arguments, folder: &LinkFolder) -> Result<Counts, Failure> {
    let (link, tx) = create(arguments, &arguments.back, folder)?;
    let mut rx = wait_for_link(folder, &arguments.link)?.consumer()?;
    print(&Line::Ready)?;
    let mut got = 0;
    while let Some(fragment) = rx.wait().map_err(|error| Failure::new(error.to_string()))? {
        tx.publish_blocking(fragment.payload.as_slice(), 0, 0, 0).map_err(publish_failure)?;
        got += 1;
    }
    drop(tx);
    drop(link);
    Ok(Counts::from([("got", got)]))
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

fn publish_failure(error: TangoError) -> Failure {
    Failure::new(format!("cannot publish: {error}"))
}

/// The time by a clock that all processes of the machine share.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| Failure::new(error.to_string()))
}

fn record(latency: &mut Histogram<u64>, nanos: u64) {
    latency.saturating_record(nanos);
}

fn percentiles(latency: &Histogram<u64>) -> Counts {
    let at = |quantile| latency.value_at_quantile(quantile);
    Counts::from([
        ("samples", latency.len()),
        ("p50", at(0.5)),
        ("p99", at(0.99)),
        ("p999", at(0.999)),
        ("max", latency.max()),
    ])
}
