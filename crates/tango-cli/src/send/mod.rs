//! `tango send`: copies standard input into a link. `input` makes fragments of it, at the pace of `rate`; `progress` counts for all
//! threads.
//!
//! Three threads: this one reads and publishes, one waits for a signal, and one checks every 50 ms whether
//! the link was stopped and whether its receivers live. The latter two end the process themselves, because
//! this one may be blocked in a read of standard input that no other thread can interrupt.

mod rate;

mod input;
mod progress;

use std::io;
use std::num::NonZeroUsize;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rust_tango::Link;

use crate::arguments::Summary;
use crate::backoff::Backoff;
use crate::content;
use crate::failure::Failure;
use crate::folder::{LinkFolder, RemoveOnDrop};
use crate::receivers::{Receivers, living};
use crate::signals::{self, TerminationSignals};
use crate::{hints, options, standard};

use input::{Input, wait_for_exit};
use progress::Progress;
use rate::Rate;

/// Time between two checks of the link and its receivers. The help text names it.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

const DETAILS: &str = "\
Examples:
  seq 1000000 | tango send numbers               send to one receiver
  seq 1000000 | tango send numbers --wait-for 2  start when two have joined
  tail -f /var/log/syslog | tango send log --lines --wait-for 0 --consumers 8
  tango send ticks --lines --rate 100 < ticks.txt   100 lines a second

A receiver is 'tango recv LINK', or any program that opens the link by name.
When the ring is full, the sender waits for the slowest reliable receiver. A
receiver that joins after the beginning was overwritten reports the loss. At
the end of the input, the sender waits until the reliable receivers have read
everything, and removes the link.

Memory: each slot of --depth takes 64 to 512 bytes. An --mtu over 480 adds a
region of (--depth + 1) * --mtu bytes, at most 16 MiB + 4 * --mtu. A region over
512 KiB takes at least 4 MiB. With the default options, a link takes 16.4 MiB.

The members of --group can receive, and cannot send, stop or remove the link.
They have to be able to enter the folder of links, so make one for them:
  install -d -m 2750 -g traders /dev/shm/quotes
  seq 1000000 | tango send numbers --group traders --dir /dev/shm/quotes
A member can hold the sender back, disturb other receivers, and end all of them
by truncating files of the link.

With --wait-for 0, receivers may come and go. Otherwise the sender reports each
one that dies or leaves, and ends when the last one is gone. A receiver that is
replaced by another within 50 ms may go unnoticed.

With --rate, messages are lines with --lines, and otherwise what a read of the
input returns, up to --mtu. What the rate had allowed while the input or the
receivers were slow is not made up for, but for 10 ms of it.

sig is a number that each fragment carries for programs. Without --sig, it tells
'tango recv' whether the link carries lines; with it, receivers of --lines need
--lines, too.

A line can have up to 1 GiB. What is longer, or unfinished when the sender is
stopped, is not a line for receivers, and they report it.

Exit status:
  0      all input was sent, and no awaited receiver (--wait-for) is missing
  1      an awaited receiver died or left before the end, the link was stopped
         or removed, or another failure
  2      invalid usage
  128+N  terminated by signal N";

/// Send standard input through a link
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Name of the link: letters, digits, '-', '_' and '.'
    pub(crate) link: String,
    /// Slots of the ring, a power of two: the most
    /// fragments that can be unread
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1024,
        value_parser = options::depth,
        verbatim_doc_comment
    )]
    depth: usize,
    /// Largest fragment, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "65536",
        value_parser = options::positive_bytes
    )]
    mtu: NonZeroUsize,
    /// Slots for reliable receivers
    /// [default: the value of --wait-for, at least 1]
    #[arg(
        long,
        value_name = "N",
        value_parser = options::count,
        verbatim_doc_comment
    )]
    consumers: Option<usize>,
    /// Start when N reliable receivers have joined;
    /// 0 starts at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = options::count,
        verbatim_doc_comment
    )]
    wait_for: usize,
    /// Send each line as a message, without its newline;
    /// a line over --mtu is split into several fragments,
    /// and can have up to 1 GiB
    #[arg(long, verbatim_doc_comment)]
    lines: bool,
    /// Send no more than this many messages a second
    #[arg(long, value_name = "MESSAGES", value_parser = options::rate)]
    rate: Option<f64>,
    /// Give fragments this sig (7 or 0x7)
    #[arg(long, value_name = "NUMBER", value_parser = options::sig)]
    sig: Option<u64>,
    #[command(flatten)]
    summary: Summary,
    /// Let the members of a group receive, not only
    /// this user; see below
    #[arg(long, value_name = "NAME|GID", value_parser = options::group, verbatim_doc_comment)]
    group: Option<u32>,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    let Arguments { link: name, depth, mtu, wait_for, lines, .. } = arguments;
    let consumers = arguments.consumers.unwrap_or((*wait_for).max(1));
    if *wait_for > consumers {
        return Err(Failure::usage(format!(
            "--wait-for {wait_for} is more than --consumers {consumers}: each awaited receiver needs a slot"
        )));
    }
    standard::check_input().map_err(Failure::input)?;
    let progress = Arc::new(Progress::new(arguments.summary.verbose));
    let (creator, signal_arrived) = TerminationSignals::block()
        .and_then(|signals| end_on_signal(signals, &progress))
        .map_err(Failure::signals)?;
    let mut builder = folder.builder().depth(*depth).mtu(mtu.get()).consumers(consumers);
    if let Some(group) = arguments.group {
        builder = builder.consumer_group(group);
    }
    let created = builder.create(name)?;
    let link = RemoveOnDrop(created);
    let _ = creator.send(link.0.clone());
    match link.0.check_trust() {
        Err(error) if *wait_for > 0 => return Err(error.into()),
        // Observers can come.
        Err(error) => drop(Failure::from(error).report()),
        Ok(()) => {}
    }
    let receivers = Arc::new(Mutex::new(Receivers::new(&link.0, name, *wait_for)));
    watch(&link.0, &receivers, &progress, signal_arrived).map_err(Failure::thread)?;
    let tx = link.0.producer()?;

    wait_for_receivers(&link.0, folder, name, *wait_for);
    // Reaps receivers that have died before the start: their deaths do not count.
    let _ = tx.consumers();
    lock(&receivers).start();
    progress.start();
    let sig = arguments.sig.unwrap_or(if *lines { content::LINES } else { content::BYTES });
    let mut input = Input { tx: &tx, sig, rate: arguments.rate.map(Rate::new), tally: &progress.tally };
    let sent = if *lines { input.send_lines() } else { input.send_bytes() };
    if sent.is_ok() {
        wait_until_drained(&link.0);
    }
    let Some(received) = lock(&receivers).finish() else { wait_for_exit() };
    if sent.is_err() {
        // Tells the receivers that data is missing. Without this, the link would look properly closed.
        let _ = link.0.stop();
    }
    drop(tx);
    progress.report(&link.0.status(), if sent.is_ok() { "the input has ended" } else { "of a failure" });
    let removed = link.0.remove().map_err(|error| {
        Failure::new(format!("everything was sent, but the link could not be removed: {error}"))
    });
    sent.and(received).and(removed)
}

fn lock(receivers: &Mutex<Receivers>) -> MutexGuard<'_, Receivers> {
    receivers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that ends the process on a signal, within [`signals::GRACE`]. It removes the link that
/// comes through the channel. The flag is set when a signal has arrived.
fn end_on_signal(
    signals: TerminationSignals,
    progress: &Arc<Progress>,
) -> io::Result<(mpsc::Sender<Link>, Arc<AtomicBool>)> {
    let (creator, created) = mpsc::channel::<Link>();
    let signal_arrived = Arc::new(AtomicBool::new(false));
    let (arrived, progress) = (signal_arrived.clone(), progress.clone());
    signals.on_arrival(move |signal| {
        arrived.store(true, Ordering::SeqCst);
        signals::try_within_grace(move || {
            // The link may be in the making. There is none if that fails.
            if let Ok(link) = created.recv() {
                stop_and_remove(&link);
                progress.report(&link.status(), &format!("signal {signal} arrived"));
            }
        });
        process::exit(128 + signal);
    })?;
    Ok((creator, signal_arrived))
}

/// Starts the thread that ends the process when the link was stopped or no receiver is left. After a signal,
/// it does not: the signal thread stops the link, which is not a failure.
fn watch(
    link: &Link,
    receivers: &Arc<Mutex<Receivers>>,
    progress: &Arc<Progress>,
    signal_arrived: Arc<AtomicBool>,
) -> io::Result<()> {
    let (link, receivers, progress) = (link.clone(), receivers.clone(), progress.clone());
    let watching = move || {
        loop {
            // On a failure, the lock is held until the process has ended, so that no other thread reports
            // one, too.
            let mut receivers = lock(&receivers);
            if receivers.is_finished() {
                return;
            }
            match receivers.check() {
                Some(failure) if !signal_arrived.load(Ordering::SeqCst) => {
                    let status = link.status();
                    stop_and_remove(&link);
                    let why = if status.stopped { "the link was stopped" } else { "no receiver is left" };
                    progress.report(&status, why);
                    failure.report();
                    process::exit(1);
                }
                _ => drop(receivers),
            }
            thread::sleep(CHECK_INTERVAL);
        }
    };
    thread::Builder::new().spawn(watching).map(drop)
}

/// Ends the link early: receivers read what is left, and learn that data is missing.
fn stop_and_remove(link: &Link) {
    let _ = link.stop();
    let _ = link.remove();
}

fn wait_for_receivers(link: &Link, folder: &LinkFolder, name: &str, wanted: usize) {
    let have_joined = || living(&link.status()) >= wanted;
    if have_joined() {
        return;
    }
    let (begin, mut backoff) = (Instant::now(), Backoff::new());
    let mut hint = Some(hints::delay(Duration::ZERO));
    while !have_joined() {
        if hint.take_if(|after| begin.elapsed() >= *after).is_some() {
            standard::write_error(&hints::of_missing_receivers(folder, name, wanted));
        }
        backoff.sleep();
    }
}

/// Waits until every living consumer has read everything. Consumers that leave or die meanwhile do not count.
fn wait_until_drained(link: &Link) {
    let mut backoff = Backoff::new();
    while link.status().consumers.iter().any(|consumer| consumer.alive && consumer.lag > 0) {
        backoff.sleep();
    }
}
