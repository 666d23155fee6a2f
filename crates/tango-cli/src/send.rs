//! `tango send`: standard input into a link.

use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::num::NonZeroUsize;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rust_tango::{Link, Producer, TangoError};

use crate::failure::Failure;
use crate::pauses::Pauses;
use crate::place::Place;
use crate::receivers::{Receivers, living};
use crate::signals::Ending;

/// How often a sender that is at work looks whether somebody has stopped its link, and who still reads it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Examples:
  tango send quotes < FILE                one receiver gets FILE, byte by byte
  tango send quotes --wait-for 2 < FILE   begins when two receivers are there
  tail -f LOG | tango send log --lines --wait-for 0 --consumers 8

Receivers are `tango recv LINK`, or any program that opens the link by its name.
The sender waits for the reliable ones whenever the ring is full. One that comes
when the beginning has been overwritten says so. At the end, the sender waits
until everything has been read, and takes the link away.

The link takes 128 to 512 bytes for each of --depth and, with an --mtu over 480,
(--depth + 1) times --mtu: at most 16 MiB and four times --mtu, and at least
4 MiB where it is more than 512 KiB. That is 16.4 MiB unless asked otherwise.

Exit status: 0 when all was sent, and read to its end by those that were waited
for; 1 if one of them died or left before that (when the last one goes, the
sender ends at once), if the link was stopped, or anything else failed; 2 for
wrong use; 128 + N after signal N. With --wait-for 0, it is all the same to the
sender when receivers come and go. (One that is killed, and whose place another
takes within a twentieth of a second, may go unnoticed.)";

/// Send standard input through a link
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Name of the link: letters, digits, '-', '_' and '.'
    pub(crate) link: String,
    /// Fragments under way: a power of two
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = depth, allow_negative_numbers = true)]
    depth: usize,
    /// The most bytes in a fragment
    #[arg(long, value_name = "N", default_value = "65536", value_parser = mtu, allow_negative_numbers = true)]
    mtu: NonZeroUsize,
    /// Reliable receivers at a time [default: --wait-for, or 1]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    consumers: Option<usize>,
    /// Begin when so many of them are there; 0: now
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count, allow_negative_numbers = true)]
    wait_for: usize,
    /// A message for each line (without its newline); one
    /// longer than --mtu goes in several fragments
    #[arg(long, verbatim_doc_comment)]
    lines: bool,
}

// Where a number is over a limit of links, the library says so.

fn depth(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a power of two from 2 on".to_owned())
}

fn mtu(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "not a number of bytes from 1 on".to_owned())
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "not a number from 0 on".to_owned())
}

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<(), Failure> {
    let Arguments { link: name, depth, mtu, wait_for, lines, .. } = arguments;
    let consumers = arguments.consumers.unwrap_or((*wait_for).max(1));
    if *wait_for > consumers {
        return Err(Failure::usage(format!(
            "--wait-for {wait_for} receivers cannot be with --consumers {consumers}: there would be no slots for them"
        )));
    }
    let ending = Ending::hold_back()?;
    let made = place.builder().depth(*depth).mtu(mtu.get()).consumers(consumers).create(name)?;
    let link = Removed(made);
    let receivers = Arc::new(Mutex::new(Receivers::new(&link.0, name, *wait_for)));
    watch(&link.0, &receivers, ending);
    let tx = link.0.producer()?;

    wait_for_consumers(&link.0, name, *wait_for);
    // Buries those that have died meanwhile.
    let _ = tx.consumers();
    locked(&receivers).begin();
    let sent = if *lines { send_lines(&tx) } else { send_bytes(&tx) };
    if sent.is_ok() {
        wait_until_drained(&link.0);
    }
    let Some(read) = locked(&receivers).verdict() else { wait_for_the_end() };
    if sent.is_err() {
        // So that receivers learn that it is not all.
        let _ = link.0.stop();
    }
    drop(tx);
    drop(link);
    sent.and(read)
}

fn locked(receivers: &Mutex<Receivers>) -> MutexGuard<'_, Receivers> {
    receivers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A link that is taken away when this is dropped.
struct Removed(Link);

impl Drop for Removed {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = self.0.remove();
    }
}

/// Ends the program when a signal asks for it, somebody stops the link, or nobody reads it any more, whatever
/// it is waiting for.
fn watch(link: &Link, receivers: &Arc<Mutex<Receivers>>, ending: Ending) {
    let by_signal = Arc::new(AtomicBool::new(false));
    let (asked, stops_itself) = (link.clone(), by_signal.clone());
    ending.when_asked(move |signal| {
        stops_itself.store(true, Ordering::SeqCst);
        stop_and_remove(&asked);
        process::exit(128 + signal);
    });
    let (link, receivers) = (link.clone(), receivers.clone());
    thread::spawn(move || {
        loop {
            // Locked until the program has ended, if it does: then nobody else has anything to say.
            let mut receivers = locked(&receivers);
            if receivers.is_over() {
                return;
            }
            match receivers.trouble() {
                Some(failure) if !by_signal.load(Ordering::SeqCst) => {
                    stop_and_remove(&link);
                    failure.tell();
                    process::exit(1);
                }
                _ => drop(receivers),
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    });
}

/// Readers drain what is there and learn that it is not all.
fn stop_and_remove(link: &Link) {
    let _ = link.stop();
    let _ = link.remove();
}

/// One of the threads of `watch` is about to end the program, and says why.
fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

fn wait_for_consumers(link: &Link, name: &str, wanted: usize) {
    let are_there = || living(&link.status()) >= wanted;
    if are_there() {
        return;
    }
    if io::stderr().is_terminal() {
        let receivers = if wanted == 1 { "a receiver".to_owned() } else { format!("{wanted} receivers") };
        eprintln!("waiting for {receivers}: tango recv {name}");
    }
    let mut pauses = Pauses::new();
    while !are_there() {
        pauses.pass();
    }
}

/// Waits until every living consumer has read everything; those that leave or die count no more.
fn wait_until_drained(link: &Link) {
    let mut pauses = Pauses::new();
    while link.status().consumers.iter().any(|consumer| consumer.alive && consumer.lag > 0) {
        pauses.pass();
    }
}

/// Publishes the input as it comes, in fragments of up to the MTU.
fn send_bytes(tx: &Producer<'_>) -> Result<(), Failure> {
    let mut input = io::stdin().lock();
    let mut buffer = vec![0; tx.mtu()];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => tx.send(&buffer[..len]).map_err(unsent)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(&error)),
        }
    }
}

fn send_lines(tx: &Producer<'_>) -> Result<(), Failure> {
    let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).map_err(|error| unreadable(&error))? > 0 {
        tx.send_message(line.strip_suffix(b"\n").unwrap_or(&line), 0).map_err(unsent)?;
        line.clear();
    }
    Ok(())
}

fn unsent(error: TangoError) -> Failure {
    if error == TangoError::Closed {
        wait_for_the_end();
    }
    Failure::new(error.to_string())
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(format!("cannot read standard input: {error}"))
}
