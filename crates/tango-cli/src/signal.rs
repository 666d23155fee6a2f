//! `tango signal`: the operator's word to the producer of a link, and whether it was seen.

use std::time::{Duration, Instant};

use rust_tango::{Link, LinkStatus, Party};

use crate::arguments::ExistingLink;
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::{hints, options};

const DETAILS: &str = "\
Examples:
  tango signal quotes halt               end the link, wait for its producer
  tango signal quotes halt --timeout 30

Words:
  halt  The link ends for good: its producer can publish nothing more, and each
        call that publishes tells it so. Consumers read what is left, and end.
        The files stay ('tango rm' removes them).
  run   The link shall run. Nothing to do if it was not stopped. A link that was
        stopped cannot run again, which is then a failure: start its producer
        again, which makes a new link.

halt returns when the producer has seen it: it has ended in good order, or died.
A producer that publishes nothing does not look. After --timeout, signal says
which process it is and fails. The link is stopped nevertheless.

Exit status:
  0      the producer has seen the word, or there is none
  1      it has not in time, or there is no such link, or you may not stop it
  2      invalid usage
  128+N  terminated by signal N";

/// Stop a link, and wait until its producer has seen it
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) link: ExistingLink,
    /// What the producer shall do
    #[arg(value_enum, hide_possible_values = true, value_name = "halt|run")]
    word: Word,
    /// Wait at most this long for the producer
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "5",
        value_parser = options::seconds
    )]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Word {
    Halt,
    Run,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    let name = &arguments.link.name;
    let link = hints::open(folder, name)?;
    match arguments.word {
        Word::Halt => {
            link.stop()?;
            wait_until_seen(&link, name, arguments.timeout)
        }
        Word::Run if link.status().stopped => Err(Failure::new(format!(
            "link {name} was stopped, and cannot run again: start its producer again, which makes a new link"
        ))),
        Word::Run => Ok(()),
    }
}

fn wait_until_seen(link: &Link, name: &str, timeout: Duration) -> Result<(), Failure> {
    let (begin, mut backoff) = (Instant::now(), Backoff::new());
    while !is_seen(&link.status()) {
        if begin.elapsed() >= timeout {
            let waited = begin.elapsed().as_secs_f64();
            return Err(Failure::new(format!(
                "link {name} is stopped, but its producer{} has not ended (waited {waited:.1} s): it sees that when it publishes next",
                producer(link)
            )));
        }
        backoff.sleep();
    }
    Ok(())
}

/// Whether the producer has ended: in good order, which its state says, or because it died. Without one, nobody has to see
/// anything.
fn is_seen(status: &LinkStatus) -> bool {
    status.closed || !status.producer || status.producers == 0
}

/// Which process the producer is: ` (process 812)`. Empty if this is not known.
fn producer(link: &Link) -> String {
    let inspection = link.inspect().ok();
    let holders = inspection.iter().flat_map(|inspection| inspection.holders.iter());
    let processes =
        holders.filter(|holder| holder.party == Party::Producer).flat_map(|holder| &holder.processes);
    let ids: Vec<_> = processes.map(|process| process.id.to_string()).collect();
    if ids.is_empty() { String::new() } else { format!(" (process {})", ids.join(", ")) }
}
