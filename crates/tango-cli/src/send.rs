//! `tango send`: copies standard input into a link.
//!
//! Three threads: this one reads and publishes, one waits for a signal, and one checks every 50 ms whether
//! the link was stopped and whether its receivers live. The latter two end the process themselves, because
//! this one may be blocked in a read of standard input that no other thread can interrupt.

use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::num::NonZeroUsize;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rust_tango::{Link, Producer, TangoError};

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::options;
use crate::receivers::{Receivers, living};
use crate::signals::TerminationSignals;

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

Memory: each slot of --depth takes 128 to 512 bytes. An --mtu over 480 adds a
region of (--depth + 1) * --mtu bytes, at most 16 MiB + 4 * --mtu. A region over
512 KiB takes at least 4 MiB. With the default options, a link takes 16.4 MiB.

The members of --group can receive, and cannot send, stop or remove the link.
They have to be able to enter the folder of links, so make one for them:
  install -d -m 2750 -g traders /dev/shm/quotes
  seq 1000000 | tango send numbers --group traders --dir /dev/shm/quotes
A member can hold the sender back, disturb other receivers, and end all of them
by truncating files of the link.

With --wait-for 0, receivers may come and go. Otherwise the sender reports each
one that dies, and ends when the last one is gone. A receiver that is killed and
replaced by another within 50 ms may go unnoticed.

Exit status:
  0      all input was sent, and no awaited receiver (--wait-for) is missing
  1      an awaited receiver died or left before the end, the link was stopped,
         or another failure
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
    /// a line over --mtu is split into several fragments
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
    let signals = TerminationSignals::block()?;
    let mut builder = folder.builder().depth(*depth).mtu(mtu.get()).consumers(consumers);
    if let Some(group) = arguments.group {
        builder = builder.consumer_group(group);
    }
    let created = builder.create(name)?;
    let link = RemoveOnDrop(created);
    match link.0.check_trust() {
        Err(error) if *wait_for > 0 => return Err(error.into()),
        // Observers can come.
        Err(error) => drop(Failure::from(error).report()),
        Ok(()) => {}
    }
    let receivers = Arc::new(Mutex::new(Receivers::new(&link.0, name, *wait_for)));
    watch(&link.0, &receivers, signals);
    let tx = link.0.producer()?;

    wait_for_receivers(&link.0, name, *wait_for);
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
    drop(link);
    sent.and(received)
}

fn lock(receivers: &Mutex<Receivers>) -> MutexGuard<'_, Receivers> {
    receivers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the link when it is dropped.
struct RemoveOnDrop(Link);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // It fails if another process has removed the link already.
        let _ = self.0.remove();
    }
}

/// Starts the two threads that end the process: on a signal, and when the link was stopped or no receiver
/// is left.
fn watch(link: &Link, receivers: &Arc<Mutex<Receivers>>, signals: TerminationSignals) {
    // The signal thread stops the link, which the checking thread must not report as a failure.
    let signal_arrived = Arc::new(AtomicBool::new(false));
    let (stopped_link, set_arrived) = (link.clone(), signal_arrived.clone());
    signals.on_arrival(move |signal| {
        set_arrived.store(true, Ordering::SeqCst);
        stop_and_remove(&stopped_link);
        process::exit(128 + signal);
    });
    let (link, receivers) = (link.clone(), receivers.clone());
    thread::spawn(move || {
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
    });
}

/// Ends the link early: receivers read what is left, and learn that data is missing.
fn stop_and_remove(link: &Link) {
    let _ = link.stop();
    let _ = link.remove();
}

/// Blocks because one of the threads of [`watch`] reports the reason and ends the process.
fn wait_for_exit() -> ! {
    loop {
        thread::park();
    }
}

fn wait_for_receivers(link: &Link, name: &str, wanted: usize) {
    let have_joined = || living(&link.status()) >= wanted;
    if have_joined() {
        return;
    }
    if io::stderr().is_terminal() {
        let receivers = if wanted == 1 { "a receiver".to_owned() } else { format!("{wanted} receivers") };
        eprintln!("waiting for {receivers} to join; to start one, run: tango recv {name}");
    }
    let mut backoff = Backoff::new();
    while !have_joined() {
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
    let mut input = io::stdin().lock();
    let mut buffer = vec![0; tx.mtu()];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => tx.send(&buffer[..len]).map_err(publish_failure)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(input_failure(&error)),
        }
    }
}

/// Publishes each line of the input as a message.
fn send_lines(tx: &Producer<'_>) -> Result<(), Failure> {
    let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).map_err(|error| input_failure(&error))? > 0 {
        tx.send_message(line.strip_suffix(b"\n").unwrap_or(&line), 0).map_err(publish_failure)?;
        line.clear();
    }
    Ok(())
}

fn publish_failure(error: TangoError) -> Failure {
    if error == TangoError::Closed {
        // The link was stopped: by another thread, or by another process, which the checking thread notices.
        wait_for_exit();
    }
    Failure::new(error.to_string())
}

fn input_failure(error: &io::Error) -> Failure {
    Failure::new(format!("cannot read standard input: {error}"))
}
