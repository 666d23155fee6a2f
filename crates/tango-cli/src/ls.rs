//! `tango ls`: lists the links, their producers and their consumers.

use std::fs;

use rust_tango::{Link, LinkStatus, PayloadType};

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::format;
use crate::receivers::living;
use crate::standard;

const COLUMNS: &str = "\
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

Observers are not listed, because a link does not know about them.

Exit status: 0 on success; 1 if a link cannot be read, which is then named on
standard error.";

/// List links, their producers and their consumers
#[derive(Debug, clap::Args)]
#[command(after_help = COLUMNS)]
pub(crate) struct Arguments {}

pub(crate) fn run(folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    // Scripts count columns from the left, so a new one comes last, and only where there is something in it.
    let headings = ["LINK", "PRODUCER", "NEXT", "DEPTH", "MTU", "BYTES", "CONSUMERS", "TYPE"];
    let mut rows = vec![headings.map(String::from).to_vec()];
    let mut any_broken = false;
    for name in folder.list()? {
        match folder.open(&name) {
            Ok(link) => rows.push(row(&name, &link)),
            // The link was removed after the list was read.
            Err(error) if error.is_not_found() && !folder.path().join(&name).exists() => {}
            Err(error) => {
                any_broken = true;
                Failure::new(format!("{name}: {}", error.reason())).report();
            }
        }
    }
    if rows.iter().skip(1).all(|row| row.last().is_some_and(String::is_empty)) {
        rows.iter_mut().for_each(|row| drop(row.pop()));
    }
    let text = if rows.len() > 1 {
        format::table(&rows, &[2, 3, 4, 5])
    } else if any_broken {
        String::new()
    } else {
        format::one_line(&format!("There are no links in {}.", folder.path().display())) + "\n"
    };
    standard::print(&text).map_err(Failure::output)?;
    if any_broken { Err(Failure::already_reported()) } else { Ok(()) }
}

fn row(name: &str, link: &Link) -> Vec<String> {
    let (geometry, status) = (link.geometry(), link.status());
    vec![
        name.to_owned(),
        producer(&status).to_owned(),
        status.next.to_string(),
        geometry.depth.to_string(),
        geometry.mtu.to_string(),
        size_of_files(link).to_string(),
        consumers(&status, geometry.consumers),
        link.payload_type().map_or_else(String::new, PayloadType::to_string),
    ]
}

fn producer(status: &LinkStatus) -> &'static str {
    match status {
        LinkStatus { stopped: true, .. } => "stopped",
        LinkStatus { producer: true, .. } => "alive",
        LinkStatus { closed: true, .. } => "closed",
        LinkStatus { producers: 0, .. } => "none",
        _ => "dead",
    }
}

fn consumers(status: &LinkStatus, slots: usize) -> String {
    let mut text = format!("{} of {slots}", living(status));
    for (index, consumer) in status.consumers.iter().enumerate() {
        text += if index == 0 { ": " } else { ", " };
        if !consumer.alive {
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
