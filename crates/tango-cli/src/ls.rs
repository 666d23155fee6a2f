//! `tango ls`: which links there are, and who is on them.

use std::fs;
use std::io::Write;

use rust_tango::{Link, LinkStatus};

use crate::failure::Failure;
use crate::place::Place;
use crate::receivers::living;
use crate::report;

const COLUMNS: &str = "\
PRODUCER   alive; closed: it has ended in good order; dead: it has not; stopped
NEXT       number of the fragment that is published next
BYTES      memory that the link takes
CONSUMERS  how many reliable ones are attached and live, of how many there can
           be; for each its slot, and the fragments that it has yet to read;
           'holding': the producer waits for it; 'dead': it has not left, and
           its slot is free

Observers are not listed: a link does not know of them. A link that cannot be
read is named on standard error, and makes the exit status 1.";

/// List the links, and who is on them
#[derive(Debug, clap::Args)]
#[command(after_help = COLUMNS)]
pub(crate) struct Arguments {}

pub(crate) fn run(place: &Place) -> Result<(), Failure> {
    let heads = ["LINK", "PRODUCER", "NEXT", "DEPTH", "MTU", "BYTES", "CONSUMERS"];
    let mut rows = vec![heads.map(String::from).to_vec()];
    let mut broken = false;
    for name in place.list()? {
        match place.open(&name) {
            Ok(link) => rows.push(row(&name, &link)),
            // Removed since the list was made.
            Err(error) if error.is_not_found() && !place.folder().join(&name).exists() => {}
            Err(error) => {
                broken = true;
                Failure::new(format!("{name}: {error}")).tell();
            }
        }
    }
    let text = if rows.len() > 1 {
        report::table(&rows, &[false, false, true, true, true, true, false])
    } else if broken {
        String::new()
    } else {
        format!("There are no links in {}.\n", place.folder().display())
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::writing)?;
    if broken { Err(Failure::told()) } else { Ok(()) }
}

fn row(name: &str, link: &Link) -> Vec<String> {
    let (geometry, status) = (link.geometry(), link.status());
    vec![
        name.to_owned(),
        producer(&status).to_owned(),
        status.next.to_string(),
        geometry.depth.to_string(),
        geometry.mtu.to_string(),
        memory(link).to_string(),
        consumers(&status, geometry.consumers),
    ]
}

fn producer(status: &LinkStatus) -> &'static str {
    match status {
        LinkStatus { stopped: true, .. } => "stopped",
        LinkStatus { producer: true, .. } => "alive",
        LinkStatus { closed: true, .. } => "closed",
        _ => "dead",
    }
}

fn consumers(status: &LinkStatus, slots: usize) -> String {
    let mut text = format!("{} of {slots}", living(status));
    for (index, consumer) in status.consumers.iter().enumerate() {
        text += if index == 0 { ": " } else { ", " };
        if !consumer.alive {
            // Nobody waits for it, and its slot can be taken.
            text += &format!("#{} dead", consumer.slot);
            continue;
        }
        text += &format!("#{} lag {}", consumer.slot, consumer.lag);
        if status.held_by == Some(consumer.slot) {
            text += " holding";
        }
        if consumer.lost > 0 {
            text += &format!(" lost {}", consumer.lost);
        }
    }
    text
}

/// Bytes of all files of the link.
fn memory(link: &Link) -> u64 {
    let entries = link.path().and_then(|path| fs::read_dir(path).ok());
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .fold(0, |sum, file| sum.saturating_add(file.len()))
}
