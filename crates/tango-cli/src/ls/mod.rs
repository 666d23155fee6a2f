//! `tango ls`: lists the links, their producers and their consumers. Once: this file and `json`; again and again:
//! `watch`.

mod json;

mod watch;

use std::fs;
use std::time::Duration;

use rust_tango::{Link, PayloadType};

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::{format, options, report, standard};

const COLUMNS: &str = "\
Examples:
  tango ls
  tango ls --watch              again each second, with rates and processes
  tango ls --json | jq -r '.[] | select(.state == \"dead\") | .name'

Columns:
  PRODUCER   alive    attached
             closed   has ended in good order
             dead     was killed or crashed
             none     there has not been one, and the link's maker has ended
             stopped  the link was stopped; no more fragments can be sent
  NEXT       sequence number of the next fragment
  DEPTH      capacity of the ring, in fragments
  MTU        largest fragment, in bytes
  BYTES      size of the link's files
  CONSUMERS  living reliable consumers, of the available slots. For each one:
             #S       its slot
             lag N    fragments that it has yet to read
             holding  the producer is waiting for it
             lost N   fragments that it has missed
             dead     was killed or crashed; its slot is free
  TYPE       type of the payloads, its size and its alignment. Left out if no
             link has a type

With --watch, other columns take the place of some:
  RATE       fragments that were published, a second
  WAITS      fragments that had to wait for a consumer, a second
  CREDITS    fragments that can be published before the producer has to wait
  PROCESSES  who holds each file: command[process id]. '?' if you may not see it

--watch clears a terminal each time. Otherwise it prints a table each time, with
an empty line behind it. It ends by a signal, or when its output is closed.

--json prints an array on one line; with --watch, a line each time.
docs/operating.md describes its fields.

Observers are not listed, because a link does not know about them.

Exit status:
  0      success
  1      a link cannot be read; it is named on standard error, or in the JSON
  2      invalid usage
  128+N  terminated by signal N";

/// List links, their producers and their consumers
#[derive(Debug, clap::Args)]
#[command(after_help = COLUMNS)]
pub(crate) struct Arguments {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Print the links again and again, with rates and
    /// processes [default: every second]
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "1",
        value_parser = options::interval,
        verbatim_doc_comment
    )]
    watch: Option<Duration>,
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    match arguments.watch {
        Some(interval) => watch::run(folder, interval, arguments.json),
        None if arguments.json => print_json(folder),
        None => print_table(folder),
    }
}

fn print_json(folder: &LinkFolder) -> Result<(), Failure> {
    let found = Link::inspect_all(folder.path())?;
    let text = json::of_all(&found, |_| None)? + "\n";
    standard::print(&text).map_err(Failure::output)?;
    if found.iter().all(|(_, link)| link.is_ok()) { Ok(()) } else { Err(Failure::already_reported()) }
}

/// Looks at no process, so that it is fast where there are thousands of links.
fn print_table(folder: &LinkFolder) -> Result<(), Failure> {
    // Scripts count columns from the left, so a new one comes last, and only where there is something in it.
    let headings = ["LINK", "PRODUCER", "NEXT", "DEPTH", "MTU", "BYTES", "CONSUMERS", "TYPE"];
    let mut rows = vec![headings.map(String::from).to_vec()];
    let mut any_broken = false;
    folder.for_each(|name, found| match found {
        Ok(link) => rows.push(row(&name, &link)),
        Err(error) => {
            any_broken = true;
            Failure::new(format!("{name}: {}", error.reason())).report();
        }
    })?;
    if rows.iter().skip(1).all(|row| row.last().is_some_and(String::is_empty)) {
        rows.iter_mut().for_each(|row| drop(row.pop()));
    }
    let text = if rows.len() > 1 {
        format::table(&rows, &[2, 3, 4, 5])
    } else if any_broken {
        String::new()
    } else {
        report::nothing_in(folder)
    };
    standard::print(&text).map_err(Failure::output)?;
    if any_broken { Err(Failure::already_reported()) } else { Ok(()) }
}

fn row(name: &str, link: &Link) -> Vec<String> {
    let (geometry, status) = (link.geometry(), link.status());
    vec![
        name.to_owned(),
        report::state(&status).to_owned(),
        status.next.to_string(),
        geometry.depth.to_string(),
        geometry.mtu.to_string(),
        size_of_files(link).to_string(),
        report::consumers(&status, geometry.consumers),
        link.payload_type().map_or_else(String::new, PayloadType::to_string),
    ]
}

/// The size of all files of the link, in bytes. Saturates: a corrupt link can have files whose sizes
/// overflow the sum.
fn size_of_files(link: &Link) -> u64 {
    let entries = link.path().and_then(|path| fs::read_dir(path).ok());
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .fold(0, |sum, file| sum.saturating_add(file.len()))
}
