//! `tango ls --watch`: the links again and again, with rates and processes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rust_tango::{Inspection, Link, LinkError};

use super::json;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::report::{self, Rates};
use crate::{format, standard, terminal};

/// Home, and everything erased.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Prints all links at each interval, until standard output is closed or a signal ends the process.
pub(super) fn run(folder: &LinkFolder, interval: Duration, is_json: bool) -> Result<(), Failure> {
    let clears = terminal::has_screen() && !is_json;
    let mut before = Counts::default();
    loop {
        let found = Link::inspect_all(folder.path())?;
        let now = Counts::of(&found);
        let rates = |link: &Inspection| now.rates_since(&before, &link.name);
        let text = if is_json {
            json::of_all(&found, rates)? + "\n"
        } else {
            let table = text(&found, folder, rates);
            if clears { format!("{CLEAR}{table}") } else { format!("{table}\n") }
        };
        standard::print(&text).map_err(Failure::output)?;
        before = now;
        if standard::output_is_closed_within(interval).map_err(Failure::output)? {
            return Ok(());
        }
    }
}

/// What was counted of each link, and when.
#[derive(Default)]
struct Counts {
    at: Option<Instant>,
    /// By name: fragments published, and those that had to wait.
    links: HashMap<String, [u64; 2]>,
}

impl Counts {
    fn of(found: &[(String, Result<Inspection, LinkError>)]) -> Self {
        let counts = |link: &Inspection| [link.metrics.published, link.metrics.backpressure_events];
        let links = found.iter().filter_map(|(name, link)| Some((name.clone(), counts(link.as_ref().ok()?))));
        Self { at: Some(Instant::now()), links: links.collect() }
    }

    /// `None` if the link was not there before, or another one has its name now, which has counted less.
    fn rates_since(&self, before: &Self, name: &str) -> Option<Rates> {
        let seconds = self.at?.duration_since(before.at?).as_secs_f64();
        let (now, before) = (self.links.get(name)?, before.links.get(name)?);
        let rate = |index: usize| Some(now[index].checked_sub(before[index])? as f64 / seconds);
        Some(Rates { fragments: rate(0)?, backpressure_events: rate(1)? })
    }
}

fn text(
    found: &[(String, Result<Inspection, LinkError>)],
    folder: &LinkFolder,
    rates: impl Fn(&Inspection) -> Option<Rates>,
) -> String {
    if found.is_empty() {
        return report::nothing_in(folder);
    }
    let headings = ["LINK", "PRODUCER", "NEXT", "RATE", "WAITS", "CREDITS", "CONSUMERS", "PROCESSES"];
    let mut rows = vec![headings.map(String::from).to_vec()];
    for (name, link) in found {
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                let reason = format::one_line(&error.reason().to_string());
                rows.push(vec![name.clone(), format!("{}: {reason}", report::UNREADABLE)]);
                continue;
            }
        };
        let rates = rates(link);
        let rate = |of: fn(Rates) -> f64| {
            rates.map_or_else(|| "-".to_owned(), |rates| format!("{}/s", format::short_count(of(rates))))
        };
        rows.push(vec![
            name.clone(),
            report::state(&link.status).to_owned(),
            link.status.next.to_string(),
            rate(|rates| rates.fragments),
            rate(|rates| rates.backpressure_events),
            link.credits_left.to_string(),
            report::consumers(&link.status, link.geometry.consumers),
            report::processes(link),
        ]);
    }
    format::table(&rows, &[2, 3, 4, 5])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_same_link() {
        let counts = |at: Option<Instant>, of: &[(&str, [u64; 2])]| Counts {
            at,
            links: of.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect(),
        };
        let begin = Instant::now();
        let before = counts(Some(begin), &[("a", [100, 7]), ("replaced", [100, 0])]);
        let after = begin + Duration::from_secs(2);
        let now = counts(Some(after), &[("a", [300, 10]), ("replaced", [9, 0]), ("new", [5, 0])]);
        let rates = now.rates_since(&before, "a");
        assert_eq!(rates, Some(Rates { fragments: 100.0, backpressure_events: 1.5 }));
        assert_eq!(now.rates_since(&before, "replaced"), None);
        assert_eq!(now.rates_since(&before, "new"), None);
        assert_eq!(now.rates_since(&Counts::default(), "a"), None);
    }
}
