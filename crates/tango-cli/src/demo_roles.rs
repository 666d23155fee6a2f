//! The processes of the demonstration: each is this program again, in one of the roles below.
//!
//! A role talks to the demonstration by lines on its standard output:
//!
//! ```text
//! ready                        its link is made, or joined; who publishes now waits for a line
//! result sent=10 nanos=20      the end: what it has counted
//! error SENTENCE               the end, too early
//! ```
//!
//! The payload of fragment `n` follows from `n` alone, so a reader can check every byte. Where latency
//! is measured, `sig` carries the time at which the message was due, by a clock that all processes share.

use std::io::{self, BufRead, Write};
use std::os::unix::process::parent_id;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use rust_tango::{Link, Producer, TangoError};

use crate::failure::Failure;
use crate::pauses::Pauses;
use crate::place::Place;
use crate::signals::{self, Ending};

/// How long a role waits for the others to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Publishes between two looks at the clock, where nothing else needs the time.
const PUBLISHES_PER_LOOK: u64 = 64;
/// The last moments before a message is due: too short to let somebody else have the core.
const TO_SPIN: Duration = Duration::from_micros(2);
/// Latencies over this are counted as this.
const LONGEST: u64 = 60_000_000_000;

/// One process of the demonstration (the demonstration starts it)
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(crate) part: Part,
    /// The link that this role makes, or reads
    #[arg(long)]
    pub(crate) link: String,
    /// The link that answers come by, or go by
    #[arg(long, default_value = "")]
    pub(crate) back: String,
    #[arg(long)]
    pub(crate) size: usize,
    #[arg(long)]
    pub(crate) depth: usize,
    #[arg(long)]
    pub(crate) consumers: usize,
    /// How long to publish, in nanoseconds
    #[arg(long)]
    pub(crate) nanos: u64,
    /// Messages a second, with their due times; 0: as many as go, without
    #[arg(long)]
    pub(crate) rate: u64,
    #[arg(long)]
    pub(crate) parent: u32,
}

/// What a process of the demonstration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    Producer,
    Consumer,
    Observer,
    Ping,
    Pong,
}

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<(), Failure> {
    // No role outlives the demonstration, however that ends.
    prctl::set_pdeathsig(Signal::SIGTERM)
        .map_err(|error| Failure::new(format!("cannot tie a process to the demonstration: {error}")))?;
    if parent_id() != arguments.parent {
        return Err(Failure::told());
    }
    let done = match arguments.part {
        Part::Producer => produce(arguments, place),
        Part::Consumer | Part::Observer => consume(arguments, place),
        Part::Ping => ping(arguments, place),
        Part::Pong => pong(arguments, place),
    };
    match done {
        Ok(result) => say(&format!("result {result}")),
        Err(failure) => {
            say(&format!("error {}", failure.sentence().unwrap_or_default()))?;
            Err(Failure::told())
        }
    }
}

/// Publishes for as long as it is asked to.
fn produce(arguments: &Arguments, place: &Place) -> Result<String, Failure> {
    let (link, tx) = make(arguments, &arguments.link, place)?;
    say("ready")?;
    await_line()?;
    if !tx.wait_for_consumers(arguments.consumers, Some(PATIENCE)) {
        return Err(Failure::new("the consumers did not come"));
    }
    let (length, begin) = (Duration::from_nanos(arguments.nanos), now());
    let mut payload = vec![0; arguments.size];
    let mut sent = 0;
    let mut publish = |sig| {
        fill(&mut payload, tx.next_seq());
        tx.publish_blocking(&payload, sig, 0, 0).map_err(unsent)
    };
    if arguments.rate == 0 {
        while now() - begin < length {
            for _ in 0..PUBLISHES_PER_LOOK {
                publish(0)?;
            }
            sent += PUBLISHES_PER_LOOK;
        }
    } else {
        let interval = 1e9 / arguments.rate as f64;
        let total = (length.as_nanos() as f64 / interval) as u64;
        while sent < total {
            let due = begin + Duration::from_nanos((sent as f64 * interval) as u64);
            while let Some(early) = due.checked_sub(now()).filter(|early| !early.is_zero()) {
                if early > TO_SPIN { thread::yield_now() } else { std::hint::spin_loop() }
            }
            // From when it was due: a delay that makes others late counts for them too.
            publish(due.as_nanos() as u64)?;
            sent += 1;
        }
    }
    if !tx.wait_until_drained(Some(PATIENCE)) {
        return Err(Failure::new("the consumers did not read everything in time"));
    }
    let nanos = (now() - begin).as_nanos();
    let waits = link.status().backpressure;
    drop(tx);
    let _ = link.remove();
    Ok(format!("sent={sent} nanos={nanos} waits={waits}"))
}

/// Reads and checks everything, or what it can.
fn consume(arguments: &Arguments, place: &Place) -> Result<String, Failure> {
    signals::let_through()?;
    let link = await_link(place, &arguments.link)?;
    let mut rx = if arguments.part == Part::Observer { link.observer() } else { link.consumer() }?;
    say("ready")?;
    let mut latency = histogram()?;
    let (mut got, mut lost, mut bad) = (0_u64, 0, 0_u64);
    let mut expected = link.geometry().start;
    // The first messages find cold caches and untouched memory.
    let warm_up = expected + arguments.rate * arguments.nanos / 1_000_000_000 / 10;
    loop {
        match rx.wait() {
            Ok(Some(fragment)) => {
                let meta = fragment.meta;
                if arguments.rate > 0 && meta.seq >= warm_up {
                    record(&mut latency, (now().as_nanos() as u64).saturating_sub(meta.sig));
                }
                let right = meta.seq == expected
                    && fragment.payload.len() == arguments.size
                    && is_filled(fragment.payload.as_slice(), meta.seq);
                bad += u64::from(!right);
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
    Ok(format!("got={got} lost={lost} bad={bad} {}", percentiles(&latency)))
}

/// Sends one message at a time, and times how long its answer takes.
fn ping(arguments: &Arguments, place: &Place) -> Result<String, Failure> {
    let (link, tx) = make(arguments, &arguments.link, place)?;
    let mut rx = await_link(place, &arguments.back)?.consumer()?;
    say("ready")?;
    await_line()?;
    if !tx.wait_for_consumers(1, Some(PATIENCE)) {
        return Err(Failure::new("the process that answers did not come"));
    }
    let mut latency = histogram()?;
    let mut payload = vec![0; arguments.size];
    let (length, begin) = (Duration::from_nanos(arguments.nanos), Instant::now());
    let (mut bad, mut before) = (0_u64, begin);
    while before - begin < length {
        let seq = tx.next_seq();
        fill(&mut payload, seq);
        tx.publish_blocking(&payload, 0, 0, 0).map_err(unsent)?;
        match rx.wait().map_err(|error| Failure::new(error.to_string()))? {
            Some(answer) => bad += u64::from(!is_filled(answer.payload.as_slice(), seq)),
            None => return Err(Failure::new("the process that answers has ended")),
        }
        let after = Instant::now();
        if before - begin >= length / 10 {
            record(&mut latency, (after - before).as_nanos() as u64);
        }
        before = after;
    }
    drop(tx);
    let _ = link.remove();
    Ok(format!("bad={bad} {}", percentiles(&latency)))
}

/// Sends back what it gets.
fn pong(arguments: &Arguments, place: &Place) -> Result<String, Failure> {
    let (link, tx) = make(arguments, &arguments.back, place)?;
    let mut rx = await_link(place, &arguments.link)?.consumer()?;
    say("ready")?;
    let mut got = 0;
    while let Some(fragment) = rx.wait().map_err(|error| Failure::new(error.to_string()))? {
        tx.publish_blocking(fragment.payload.as_slice(), 0, 0, 0).map_err(unsent)?;
        got += 1;
    }
    drop(tx);
    let _ = link.remove();
    Ok(format!("got={got}"))
}

/// Makes a link, to be removed when a signal ends this process.
fn make(arguments: &Arguments, name: &str, place: &Place) -> Result<(Link, Producer<'static>), Failure> {
    let ending = Ending::hold_back()?;
    let Arguments { size, depth, consumers, .. } = *arguments;
    let link = place.builder().depth(depth).mtu(size).consumers(consumers).create(name)?;
    let asked = link.clone();
    ending.when_asked(move |signal| {
        let _ = asked.remove();
        process::exit(128 + signal);
    });
    let tx = link.producer()?;
    Ok((link, tx))
}

fn await_link(place: &Place, name: &str) -> Result<Link, Failure> {
    let (begin, mut pauses) = (Instant::now(), Pauses::new());
    loop {
        match place.open(name) {
            Err(error) if error.is_not_found() && begin.elapsed() < PATIENCE => pauses.pass(),
            opened => return Ok(opened?),
        }
    }
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(Failure::writing)
}

/// Waits for the sign to begin.
fn await_line() -> Result<(), Failure> {
    match io::stdin().lock().read_line(&mut String::new()) {
        Ok(len) if len > 0 => Ok(()),
        _ => Err(Failure::new("the demonstration has ended")),
    }
}

fn unsent(error: TangoError) -> Failure {
    Failure::new(format!("cannot publish: {error}"))
}

/// The time of a clock that all processes share.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

/// How many processes can run at a time.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| Failure::new(error.to_string()))
}

fn record(latency: &mut Histogram<u64>, nanos: u64) {
    latency.saturating_record(nanos);
}

fn percentiles(latency: &Histogram<u64>) -> String {
    let at = |quantile| latency.value_at_quantile(quantile);
    format!(
        "samples={} p50={} p99={} p999={} max={}",
        latency.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        latency.max()
    )
}

const WORD: usize = size_of::<u64>();

/// The word at `index` of the payload of fragment `seq`.
#[inline]
fn word(first: u64, index: usize) -> u64 {
    first.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The first word: a different one for each `seq`, and no two that follow each other look alike.
#[inline]
fn first_word(seq: u64) -> u64 {
    let mixed = seq.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

fn fill(payload: &mut [u8], seq: u64) {
    let first = first_word(seq);
    let mut words = payload.chunks_exact_mut(WORD);
    let mut index = 0;
    for bytes in &mut words {
        bytes.copy_from_slice(&word(first, index).to_le_bytes());
        index += 1;
    }
    let rest = words.into_remainder();
    let len = rest.len();
    rest.copy_from_slice(&word(first, index).to_le_bytes()[..len]);
}

fn is_filled(payload: &[u8], seq: u64) -> bool {
    let first = first_word(seq);
    let words = payload.chunks_exact(WORD);
    let (rest, mut index, mut difference) = (words.remainder(), 0, 0);
    for bytes in words {
        difference |= word(first, index) ^ u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        index += 1;
    }
    difference == 0 && rest == &word(first, index).to_le_bytes()[..rest.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_told_from_any_that_is_not_quite_it() {
        for size in [0, 1, 7, 8, 9, 64, 100] {
            let mut payload = vec![0; size];
            fill(&mut payload, 7);
            assert!(is_filled(&payload, 7));
            for index in 0..size {
                payload[index] ^= 1;
                assert!(!is_filled(&payload, 7), "byte {index} of {size}");
                payload[index] ^= 1;
            }
            assert!(size < 2 || !is_filled(&payload, 8));
        }
    }
}
