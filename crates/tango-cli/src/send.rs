//! `tango send`: copies standard input into a link.
//!
//! Three threads: this one reads and publishes, one waits for a signal, and one checks every 50 ms whether
//! the link was stopped and whether its receivers live. The latter two end the process themselves, because
//! this one may be blocked in a read of standard input that no other thread can interrupt.

use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroUsize;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rust_tango::{Control, Link, Producer, TangoError};

use crate::backoff::Backoff;
use crate::content::{self, LONGEST_LINE};
use crate::failure::Failure;
use crate::folder::{LinkFolder, RemoveOnDrop};
use crate::receivers::{Receivers, living};
use crate::signals::{self, TerminationSignals};
use crate::{format, hints, options, standard};

/// Time between two checks of the link and its receivers. The help text names it.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

const DETAILS: &str = "\
Examples:
  seq 1000000 | tango send numbers               send to one receiver
  seq 1000000 | tango send numbers --wait-for 2  start when two have joined
  tail -f /var/log/syslog | tango send log --lines --wait-for 0 --consumers 8

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
        allow_negative_numbers = true,
        verbatim_doc_comment
    )]
    depth: usize,
    /// Largest fragment, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "65536",
        value_parser = options::positive_bytes,
        allow_negative_numbers = true
    )]
    mtu: NonZeroUsize,
    /// Slots for reliable receivers
    /// [default: the value of --wait-for, at least 1]
    #[arg(
        long,
        value_name = "N",
        value_parser = options::count,
        allow_negative_numbers = true,
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
        allow_negative_numbers = true,
        verbatim_doc_comment
    )]
    wait_for: usize,
    /// Send each line as a message, without its newline;
    /// a line over --mtu is split into several fragments,
    /// and can have up to 1 GiB
    #[arg(long, verbatim_doc_comment)]
    lines: bool,
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
    let (creator, signal_arrived) =
        TerminationSignals::block().and_then(end_on_signal).map_err(Failure::signals)?;
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
    watch(&link.0, &receivers, signal_arrived).map_err(Failure::thread)?;
    let tx = link.0.producer()?;

    wait_for_receivers(&link.0, folder, name, *wait_for);
    // Reaps receivers that have died before the start: their deaths do not count.
    let _ = tx.consumers();
    lock(&receivers).start();
    let sent = if *lines { send_lines(&tx) } else { send_bytes(&tx) };
    if sent.is_ok() {
        wait_until_drained(&link.0);
    }
    let Some(received) = lock(&receivers).finish() else { wait_for_exit() };
    if sent.is_err() {
        // Tells the receivers that data is missing. Without this, the link would look properly closed.
        let _ = link.0.stop();
    }
    drop(tx);
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
fn end_on_signal(signals: TerminationSignals) -> io::Result<(mpsc::Sender<Link>, Arc<AtomicBool>)> {
    let (creator, created) = mpsc::channel();
    let signal_arrived = Arc::new(AtomicBool::new(false));
    let arrived = signal_arrived.clone();
    signals.on_arrival(move |signal| {
        arrived.store(true, Ordering::SeqCst);
        signals::try_within_grace(move || {
            // The link may be in the making. There is none if that fails.
            if let Ok(link) = created.recv() {
                stop_and_remove(&link);
            }
        });
        process::exit(128 + signal);
    })?;
    Ok((creator, signal_arrived))
}

/// Starts the thread that ends the process when the link was stopped or no receiver is left. After a signal,
/// it does not: the signal thread stops the link, which is not a failure.
fn watch(link: &Link, receivers: &Arc<Mutex<Receivers>>, signal_arrived: Arc<AtomicBool>) -> io::Result<()> {
    let (link, receivers) = (link.clone(), receivers.clone());
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
                    stop_and_remove(&link);
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

/// Blocks because one of the other threads reports the reason and ends the process.
fn wait_for_exit() -> ! {
    loop {
        thread::park();
    }
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

/// Publishes whatever each read of the input returns, in fragments of up to the MTU.
fn send_bytes(tx: &Producer<'_>) -> Result<(), Failure> {
    let mut buffer = vec![0; tx.mtu()];
    loop {
        match standard::Input.read(&mut buffer).map_err(Failure::input)? {
            0 => return Ok(()),
            len => publish(tx, &buffer[..len], content::BYTES, Control::WHOLE)?,
        }
    }
}

/// Publishes each line of the input as a message, in the same fragments as [`Producer::send_message`]. A long
/// line leaves in parts, while the rest of it is still read.
fn send_lines(tx: &Producer<'_>) -> Result<(), Failure> {
    let mtu = tx.mtu();
    let mut input = BufReader::with_capacity(1 << 16, standard::Input);
    // What was read of a line and is not published: up to a fragment and the byte after it.
    let mut unsent = Vec::new();
    // How much of the line was published.
    let mut sent = 0;
    loop {
        let room = (mtu + 1 - unsent.len()) as u64;
        let read = input.by_ref().take(room).read_until(b'\n', &mut unsent).map_err(Failure::input)?;
        if read == 0 && unsent.is_empty() {
            return Ok(());
        }
        let is_newline_read = unsent.last() == Some(&b'\n');
        let is_more = !is_newline_read && unsent.len() > mtu;
        if !is_newline_read && !is_more && read > 0 {
            continue; // to the end of the input, or more of the line
        }
        let part = if is_newline_read { unsent.len() - 1 } else { unsent.len().min(mtu) };
        if part > LONGEST_LINE - sent {
            return Err(Failure::new(format!(
                "a line of standard input is longer than {} bytes, the limit",
                format::count(LONGEST_LINE as u64)
            )));
        }
        let mut control = Control::WHOLE;
        if sent > 0 {
            control = control.with_continues();
        }
        if is_more {
            control = control.with_more();
        }
        publish(tx, &unsent[..part], content::LINES, control)?;
        sent = if is_more { sent + part } else { 0 };
        unsent.drain(..if is_more { part } else { unsent.len() });
    }
}

fn publish(tx: &Producer<'_>, payload: &[u8], sig: u64, control: Control) -> Result<(), Failure> {
    tx.publish_blocking(payload, sig, control.bits(), 0).map(drop).map_err(publish_failure)
}

fn publish_failure(error: TangoError) -> Failure {
    if error == TangoError::Closed {
        // The link was stopped: by another thread, or by another process, which the checking thread notices.
        wait_for_exit();
    }
    Failure::new(error.to_string())
}
