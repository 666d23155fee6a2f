//! A producer that is killed in the middle of its work, and started again: the reader waits for the next one, goes on,
//! and counts nothing twice.
//!
//! The producer is this program again. Here the reader kills and starts it; in production, a service manager does.
//!
//! cargo run --release -p rust-tango --example supervised

use std::error::Error;
use std::process::{Child, Command};
use std::time::Duration;

use rust_tango::{Link, Start, TangoError};

/// How many orders there are.
const ORDERS: u64 = 40_000;
/// How many producers are killed.
const KILLS: u64 = 3;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("produce"), Some(name)) => produce(&name),
        _ => read(),
    }
}

fn produce(name: &str) -> Result<(), Box<dyn Error>> {
    // A new link, or the one that the last producer has left, with the reader that is attached to it.
    let link = Link::builder().depth(1024).mtu(64).create_or_take_over(name)?;
    let tx = link.producer()?;
    if !tx.wait_for_consumers(1, Some(PATIENCE)) {
        return Err("no reader has joined".into());
    }
    // Where to go on. The link knows it: a note of this program's own could be behind by the order during which it was
    // killed, and that order would be published twice.
    let done = tx.next_seq().wrapping_sub(link.geometry().start);
    println!("producer {}: begins with order {done}", std::process::id());
    for order in done..ORDERS {
        tx.send(&order.to_le_bytes())?;
    }
    Ok(()) // drops the producer, which closes the link
}

/// The process of a producer, which ends with this value.
struct Process(Child);

impl Process {
    fn start(name: &str) -> std::io::Result<Self> {
        Command::new(std::env::current_exe()?).args(["produce", name]).spawn().map(Self)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // SIGKILL: nothing of the process runs any more
        let _ = self.0.wait();
    }
}

/// Removes the link at the end: the process that made it may be dead.
struct Removed(Link);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

fn read() -> Result<(), Box<dyn Error>> {
    let name = format!("supervised-{}", std::process::id());
    let mut producer = Process::start(&name)?;
    let link = Removed(Link::open_wait(&name, Some(PATIENCE))?);
    let mut rx = link.0.consumer_from(Start::Oldest)?;
    let (mut count, mut kills) = (0, 0);
    loop {
        let error = match rx.wait() {
            Ok(Some(fragment)) => {
                let order = u64::from_le_bytes(fragment.payload.as_slice().try_into()?);
                if order != count {
                    return Err(format!("order {order} has come instead of {count}").into());
                }
                count += 1;
                if kills < KILLS && count == ORDERS / (KILLS + 1) * (kills + 1) {
                    kills += 1;
                    println!("reader: kills the producer after {count} orders");
                    producer.0.kill()?;
                }
                continue;
            }
            Ok(None) => break, // closed, and everything was read
            Err(error) => error,
        };
        match error {
            // Everything that the dead producer had published was read. The reader stays attached, and keeps its place.
            TangoError::ProducerGone => {
                println!("reader: the producer is dead, {count} orders are complete");
                producer = Process::start(&name)?; // drops the dead one
                if !rx.wait_for_producer(Some(PATIENCE)) {
                    return Err("no other producer has come".into());
                }
            }
            // Reported once for each takeover. It went on where the last one ended, so nothing is missing.
            TangoError::ProducerReplaced { first } => println!("reader: a new producer, from {first} on"),
            error => return Err(error.into()), // lost fragments would be reported here
        }
    }
    let metrics = link.0.metrics();
    println!("reader: {count} orders, each once; {metrics}");
    let is_complete = (count, metrics.published, metrics.takeovers) == (ORDERS, ORDERS, KILLS);
    if is_complete { Ok(()) } else { Err("orders are missing".into()) }
}
