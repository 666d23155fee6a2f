//! What `inspect` and `ls` say of a link: the JSON that both print, and the words that their texts share.
//!
//! The JSON is meant for programs, and documented in `docs/operating.md`. A field keeps its name and its meaning as long as
//! [`VERSION`] stays; new fields may come.

use std::time::SystemTime;

use jiff::Timestamp;
use nix::unistd::{Uid, User};
use rust_tango::{Holder, Inspection, LinkError, LinkStatus, Party};
use serde::Serialize;

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::format;
use crate::receivers::living;

/// The version of all JSON that the commands print about links.
pub(crate) const VERSION: u32 = 1;

/// A link, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    version: u32,
    state: &'static str,
    #[serde(flatten)]
    inspection: &'a Inspection,
    #[serde(skip_serializing_if = "Option::is_none")]
    rates: Option<Rates>,
}

/// What has happened since the last look, a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// Fragments that were published.
    pub(crate) fragments: f64,
    /// Fragments that had to wait for credits.
    pub(crate) backpressure_events: f64,
}

/// A link that cannot be read, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Unreadable<'a> {
    version: u32,
    state: &'static str,
    name: &'a str,
    error: String,
}

impl<'a> Report<'a> {
    pub(crate) fn new(inspection: &'a Inspection, rates: Option<Rates>) -> Self {
        Self { version: VERSION, state: state(&inspection.status), inspection, rates }
    }
}

impl<'a> Unreadable<'a> {
    pub(crate) fn new(name: &'a str, error: &LinkError) -> Self {
        Self {
            version: VERSION,
            state: UNREADABLE,
            name,
            error: format::one_line(&error.reason().to_string()),
        }
    }
}

/// The state of a link that cannot be read.
pub(crate) const UNREADABLE: &str = "unreadable";

/// The text of a value, on one line.
///
/// # Errors
/// A value that JSON cannot express. There is none in a report.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(format!("cannot write JSON: {error}")))
}

/// The state of a link, in one word.
pub(crate) fn state(status: &LinkStatus) -> &'static str {
    match status {
        LinkStatus { stopped: true, .. } => "stopped",
        LinkStatus { producer: true, .. } => "alive",
        LinkStatus { closed: true, .. } => "closed",
        LinkStatus { producers: 0, .. } => "none",
        _ => "dead",
    }
}

/// The consumers of a link on one line.
pub(crate) fn consumers(status: &LinkStatus, slots: usize) -> String {
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

/// The file that goes with a role.
pub(crate) fn file(holder: &Holder) -> String {
    match holder.party {
        Party::Producer => "tx".to_owned(),
        Party::Consumer(slot) => format!("rx.{slot}"),
        Party::Operator => "ctl".to_owned(),
        _ => "?".to_owned(),
    }
}

/// The processes of a link on one line: `tx tango[812], rx.0 tango[815]`.
pub(crate) fn processes(inspection: &Inspection) -> String {
    let mut texts = Vec::new();
    for holder in inspection.holders.iter() {
        let file = file(holder);
        if holder.processes.is_empty() {
            texts.push(format!("{file} ?"));
        }
        for process in &holder.processes {
            let command = format::one_line(process.command.as_deref().unwrap_or("?"));
            texts.push(format!("{file} {command}[{}]", process.id));
        }
    }
    texts.join(", ")
}

/// Says that there are no links, on one line.
pub(crate) fn nothing_in(folder: &LinkFolder) -> String {
    format::one_line(&format!("There are no links in {}.", folder.path().display())) + "\n"
}

/// A user by name and number: `quotes (1000)`.
pub(crate) fn user(number: u32) -> String {
    match User::from_uid(Uid::from_raw(number)) {
        Ok(Some(user)) => format!("{} ({number})", format::one_line(&user.name)),
        _ => number.to_string(),
    }
}

/// A time to the second, UTC.
pub(crate) fn time(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_and_users_are_for_people() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(time(at), "2023-11-14 22:13:20 UTC");
        assert_eq!((user(0).as_str(), user(4_000_000_000).as_str()), ("root (0)", "4000000000"));
    }
}
