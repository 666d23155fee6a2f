//! `tango info`: says what is in recordings.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::recording::{Contents, Ending, Event, Recorded};
use crate::{format, standard};

const DETAILS: &str = "\
Examples:
  tango info quotes.mcap
  tango info --json day.*.mcap | jq '.[].links[].fragments'

Each file is read as a whole, and every checksum is checked. For each link:
its sizes, how many fragments there are, the first and the last one with number
and time, how many are missing, and what happened to its producers.

Exit status:
  0      every file is complete
  1      a file was not finished, is damaged or cannot be read; what can be read
         of it is printed
  2      invalid usage
  128+N  terminated by signal N";

/// Show what is in recordings
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Files of 'tango record'
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON: an array with an object for each file
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    let mut failures = Vec::new();
    let mut objects = Vec::new();
    for path in &arguments.files {
        let contents = match Contents::of(path) {
            Ok(contents) => contents,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        };
        if arguments.json {
            objects.push(object(path, &contents));
        } else {
            standard::print(&text(path, &contents)).map_err(Failure::output)?;
        }
        failures.extend(contents.ending.failure(path, contents.fragments()));
    }
    if arguments.json {
        let text = serde_json::to_string_pretty(&objects).unwrap_or_default();
        standard::print(&format!("{text}\n")).map_err(Failure::output)?;
    }
    let Some(last) = failures.pop() else { return Ok(()) };
    for failure in failures {
        failure.report();
    }
    Err(last)
}

/// A time as people read it.
fn time(ns: u64) -> String {
    Timestamp::from_nanosecond(i128::from(ns))
        .map_or_else(|_| format!("{ns} ns"), |time| format!("{time:.9}"))
}

/// The words for an event.
fn name(event: &Event) -> String {
    match serde_json::to_value(event.event) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

fn compression(contents: &Contents) -> String {
    let names: Vec<_> =
        contents.chunks.keys().map(|name| if name.is_empty() { "none" } else { name.as_str() }).collect();
    names.join(", ")
}

fn text(path: &Path, contents: &Contents) -> String {
    let state = match contents.ending {
        Ending::Finished | Ending::Left => "complete",
        Ending::Unfinished { .. } => "not finished",
        Ending::Damaged { .. } => "damaged",
    };
    let mut text = format!("{}: {state}\n", format::one_line(&path.display().to_string()));
    let chunks: u64 = contents.chunks.values().sum();
    if chunks > 0 {
        text += &format!(
            "  {chunks} chunks, compression {}, {} of {}\n",
            compression(contents),
            format::bytes(contents.compressed as f64),
            format::bytes(contents.uncompressed as f64)
        );
    }
    if contents.links.is_empty() {
        text += "  no links\n";
    }
    for link in contents.links.values() {
        let facts = &link.facts;
        let of = facts.payload_type.as_ref().map_or(String::new(), |of| format!(", payload type {of}"));
        let geometry = facts.geometry;
        text += &format!(
            "  link {}: depth {}, MTU {}, slot {}, region {}, {} consumers{of}; read as {}\n",
            format::one_line(&facts.name),
            geometry.depth,
            geometry.mtu,
            geometry.slot,
            geometry.region,
            geometry.consumers,
            format::one_line(&facts.reader)
        );
        text += &format!(
            "    {} fragments, {} of payload\n",
            format::count(link.fragments),
            format::bytes(link.bytes as f64)
        );
        if let (Some(first), Some(last)) = (link.first, link.last) {
            text += &format!("    first {} at {}\n", first.0, time(first.1));
            text += &format!("    last {} at {}\n", last.0, time(last.1));
        }
        if link.gaps > 0 {
            text +=
                &format!("    {} fragments are missing, in {} gaps\n", format::count(link.lost), link.gaps);
        }
        for (at, event) in &link.changes {
            let next = event.next.map_or(String::new(), |next| format!(", next fragment {next}"));
            text += &format!("    {} at {}{next}\n", name(event).replace('_', " "), time(*at));
        }
    }
    text
}

fn object(path: &Path, contents: &Contents) -> Value {
    let (ending, at, what) = match &contents.ending {
        Ending::Finished | Ending::Left => ("finished", None, None),
        Ending::Unfinished { at, .. } => ("unfinished", Some(at), None),
        Ending::Damaged { at, what } => ("damaged", Some(at), Some(what)),
    };
    let links: Vec<_> = contents.links.iter().map(|(channel, link)| link_object(*channel, link)).collect();
    json!({
        "file": path.display().to_string(),
        "ending": ending,
        "ending_at": at,
        "damage": what,
        "chunks": contents.chunks.values().sum::<u64>(),
        "compression": compression(contents),
        "compressed_bytes": contents.compressed,
        "uncompressed_bytes": contents.uncompressed,
        "fragments": contents.fragments(),
        "links": links,
    })
}

fn link_object(channel: u16, link: &Recorded) -> Value {
    let facts = &link.facts;
    let geometry = facts.geometry;
    let payload_type = facts.payload_type.as_ref();
    let changes: Vec<Value> = link
        .changes
        .iter()
        .map(|(time, event)| {
            let mut change = Map::new();
            change.insert("time".into(), json!(time));
            change.insert("event".into(), json!(event.event));
            change.insert("next".into(), json!(event.next));
            Value::Object(change)
        })
        .collect();
    json!({
        "link": facts.name,
        "channel": channel,
        "generation": facts.generation,
        "reader": facts.reader,
        "depth": geometry.depth,
        "mtu": geometry.mtu,
        "slot": geometry.slot,
        "region": geometry.region,
        "consumers": geometry.consumers,
        "observers": geometry.observers,
        "credits": geometry.credits,
        "start": geometry.start,
        "payload_type": payload_type.map(|of| json!({"name": of.name(), "size": of.size(), "align": of.align()})),
        "fragments": link.fragments,
        "bytes": link.bytes,
        "first": link.first.map(|(seq, time)| json!({"seq": seq, "time": time})),
        "last": link.last.map(|(seq, time)| json!({"seq": seq, "time": time})),
        "gaps": link.gaps,
        "lost": link.lost,
        "changes": changes,
    })
}
