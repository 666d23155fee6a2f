//! `tango ls --json`: all links as one array.

use rust_tango::{Inspection, LinkError};
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{self, Rates, Report, Unreadable};

/// An element of the array.
#[derive(Serialize)]
#[serde(untagged)]
enum Element<'a> {
    Link(Box<Report<'a>>),
    Unreadable(Unreadable<'a>),
}

/// The array, on one line.
pub(super) fn of_all(
    found: &[(String, Result<Inspection, LinkError>)],
    rates: impl Fn(&Inspection) -> Option<Rates>,
) -> Result<String, Failure> {
    let elements: Vec<_> = found
        .iter()
        .map(|(name, link)| match link {
            Ok(link) => Element::Link(Box::new(Report::new(link, rates(link)))),
            Err(error) => Element::Unreadable(Unreadable::new(name, error)),
        })
        .collect();
    report::json(&elements)
}
