//! `tango bench`: how fast a link is here, between two processes, compared with a cache line without a protocol.

use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::measuring::ask::{Measured, Plan};
use crate::measuring::cores;
use crate::measuring::created::Created;
use crate::measuring::options::{Options, Waiting, What};
use crate::measuring::progress::Progress;
use crate::measuring::report::{self, Json};
use crate::measuring::role::{self, Setting};
use crate::{report as reports, standard};

const DETAILS: &str = "\
Examples:
  tango bench                        round trip, one way and throughput
  tango bench --cores 2,3            between these two cores
  tango bench --size 1024 --depth 64
  tango bench --wait park --rate 1000 --measure one-way
                                     how long it takes to wake a sleeping reader
  taskset -c 2-3 tango bench --duration 20 --windows 20
  tango bench --json | jq .round_trip.ns.p99.median

Two processes, each pinned to a core, exchange messages over a private link each
way. Both links are removed at the end. Rows take turns, so that they are
measured under the same conditions:
  raw line    round trip of a cache line: one process stores a number, the other
              sees it and stores it into a line of its own. No protocol, no
              content. It shows what the hardware allows
  round trip  a message over one link, and its answer over the other
  one way     messages at --rate, from when each was due until it is read. A
              message that leaves late, because its sender was delayed, is late
  throughput  as many messages as possible, each filled and checked

A side that waits keeps its core (spin), keeps it unless other programs want it
(yield), or sleeps after 20 us, until it is woken (park).

A warning says what made figures worse, or changes what they mean: a busy core,
one core for both sides, a thread that did not have its core, time taken by a
hypervisor. docs/operating.md explains figures, warnings and the JSON.

Exit status:
  0      measured, and every byte was correct
  1      a message was wrong, or another failure
  2      invalid usage
  3      messages were lost
  128+N  terminated by signal N; both links are removed";

/// Measure the speed of a link on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Cores of the side that asks and of the one that
    /// answers
    /// [default: two that this process may use]
    #[arg(long, value_name = "A,B", value_parser = two_cores, verbatim_doc_comment)]
    cores: Option<[usize; 2]>,
    /// How both sides wait: spin, yield or park
    /// [default: spin; park if they share a core]
    #[arg(long, value_name = "HOW", hide_possible_values = true, verbatim_doc_comment)]
    wait: Option<Waiting>,
}

fn two_cores(text: &str) -> Result<[usize; 2], String> {
    let number = |text: &str| text.parse::<usize>().ok();
    let cores = text.split_once(',').and_then(|(one, other)| Some([number(one)?, number(other)?]));
    cores.ok_or_else(|| "expected two numbers of cores, such as 0,1".to_owned())
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    let Arguments { options, cores, wait } = arguments;
    let plan = options.plan(&[What::RoundTrip, What::OneWay, What::Throughput]);
    let cores = match cores {
        Some(cores) => {
            cores.iter().try_for_each(|core| cores::check("--cores", *core))?;
            *cores
        }
        None => role::default_cores()?,
    };
    let created = Created::until_signal()?;
    let mut progress = Progress::on_terminal();
    let measured =
        role::measure(folder, &unique_name(), Setting { cores, wait: *wait }, &plan, &created, |window| {
            progress.show(&format!("measuring: window {window} of {}", plan.windows));
        });
    progress.erase();
    print(&measured?, &plan, options.json.then_some(("bench", None)))
}

/// A name for a link that no other process uses.
fn unique_name() -> String {
    // Containers that share a folder of links can have equal process ids.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench-{}-{:06x}", process::id(), now.subsec_nanos() & 0xff_ffff)
}

/// Prints the result as text, or as the JSON of this command and link. Fails if messages were lost or wrong.
pub(crate) fn print(
    measured: &Measured,
    plan: &Plan,
    json: Option<(&str, Option<&str>)>,
) -> Result<(), Failure> {
    let text = match json {
        Some((command, link)) => reports::json(&Json::new(command, link, measured, plan))? + "\n",
        None => report::text(measured, plan),
    };
    standard::print(&text).map_err(Failure::output)?;
    measured.check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_two_numbers() {
        assert_eq!(two_cores("3,0"), Ok([3, 0]));
        for text in ["", "1", "1,", "1,2,3", "-1,2", "a,b", "1;2"] {
            assert!(two_cores(text).is_err(), "{text}");
        }
    }
}
