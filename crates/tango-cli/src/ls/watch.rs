//! `tango ls --watch`: the links again and again, with rates and processes.

use std::collections::HashMap;
use std::time::Duration;

use rust_tango::{Inspection, Link, LinkError};

use super::json;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::report::{self, Rates};
use crate::sampling::{Before, Sample};
use crate::{format, standard, terminal};

/// Home, and everything erased.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Prints all links at each interval, until standard output is closed or a signal ends the process.
pub(super) fn run(folder: &LinkFolder, interval: Duration, is_json: bool) -> Result<(), Failure> {
    let clears = terminal::has_screen() && !is_json;
    let mut earlier = HashMap::new();
    loop {
        let before = Before::reading(folder)?;
        let found = Link::inspect_all(folder.path())?;
        let samples = before.samples(&found);
        let rates = |link: &Inspection| rates(samples.get(&link.name)?, earlier.get(&link.name)?);
        let text = if is_json {
            json::of_all(&found, rates)? + "\n"
        } else {
            let table = text(&found, folder, rates);
            if clears { format!("{CLEAR}{table}") } else { format!("{table}\n") }
        };
        standard::print(&text).map_err(Failure::output)?;
        earlier = samples;
        if standard::output_is_closed_within(interval).map_err(Failure::output)? {
            return Ok(());
        }
    }
}

/// `None` if there is another link of the name now.
fn rates(now: &Sample, earlier: &Sample) -> Option<Rates> {
    let rates = now.rates_since(earlier)?;
    Some(Rates { fragments: rates.published, backpressure_events: rates.backpressure })
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
