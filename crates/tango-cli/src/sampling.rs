//! [`Sample`]: what a link has counted at one moment, and the rates between two of them. Counters are read, and nothing
//! else: no fragment, and nothing is written to a link.
//!
//! Links are opened for each sample, and not kept open, so a link that was replaced or damaged is seen as it is now. Names
//! are used again. So a sample says of which link it is, and there are no rates between samples of two links.

use std::collections::HashMap;
use std::time::Instant;

use rust_tango::{
    ConsumerStatus, Geometry, Inspection, Link, LinkError, LinkErrorKind, LinkStatus, PayloadType,
};

use crate::failure::Failure;
use crate::folder::{Identity, LinkFolder};

/// The counts of a link.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    taken: Instant,
    /// `None`: another link has taken the name meanwhile, so it is not known.
    identity: Option<Identity>,
    pub(crate) geometry: Geometry,
    pub(crate) payload_type: Option<PayloadType>,
    pub(crate) status: LinkStatus,
}

/// A link that cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable {
    /// One word: `damaged`, for example.
    pub(crate) state: &'static str,
    pub(crate) reason: String,
}

/// Links by their names.
pub(crate) type Samples = Vec<(String, Result<Sample, Unreadable>)>;

/// Which links there were, before they are read.
pub(crate) struct Before<'a> {
    taken: Instant,
    folder: &'a LinkFolder,
    identities: HashMap<String, Identity>,
}

impl<'a> Before<'a> {
    /// # Errors
    /// The folder cannot be read. A missing folder is an empty one.
    pub(crate) fn reading(folder: &'a LinkFolder) -> Result<Self, Failure> {
        let identity = |name: String| folder.identity(&name).map(|identity| (name, identity));
        let identities = folder.list()?.into_iter().filter_map(identity).collect();
        Ok(Self { taken: Instant::now(), folder, identities })
    }

    /// Which link was read by this name. `None` if another one may have been: links change, and a name never goes back to an
    /// earlier one.
    fn identity(&self, name: &str) -> Option<Identity> {
        let before = *self.identities.get(name)?;
        self.folder.identity(name).filter(|now| *now == before)
    }

    /// The samples of links that were inspected right after. (Their processes were looked for last, which takes long.)
    pub(crate) fn samples(
        &self,
        found: &[(String, Result<Inspection, LinkError>)],
    ) -> HashMap<String, Sample> {
        let sample = |(name, link): &(String, Result<Inspection, LinkError>)| {
            let link = link.as_ref().ok()?;
            let sample = Sample {
                taken: self.taken,
                identity: self.identity(name),
                geometry: link.geometry,
                payload_type: link.payload_type.clone(),
                status: link.status.clone(),
            };
            Some((name.clone(), sample))
        };
        found.iter().filter_map(sample).collect()
    }
}

/// A sample of each link of the folder, in the order of their names.
///
/// # Errors
/// The folder cannot be read. A missing folder is an empty one.
pub(crate) fn sample_all(folder: &LinkFolder) -> Result<Samples, Failure> {
    let before = Before::reading(folder)?;
    let mut samples = Vec::new();
    folder.for_each(|name, found| {
        let found = match found {
            Ok(link) => Ok(Sample::of(&link, before.identity(&name))),
            Err(error) => {
                let state = match error.kind() {
                    LinkErrorKind::Damaged => "damaged",
                    _ => "error",
                };
                Err(Unreadable { state, reason: error.reason().to_string() })
            }
        };
        samples.push((name, found));
    })?;
    Ok(samples)
}

impl Sample {
    fn of(link: &Link, identity: Option<Identity>) -> Self {
        Self {
            taken: Instant::now(),
            identity,
            geometry: link.geometry(),
            payload_type: link.payload_type().cloned(),
            status: link.status(),
        }
    }

    /// A sample of a link on the heap, which no other one can replace.
    #[cfg(test)]
    pub(crate) fn of_heap(link: &Link) -> Self {
        Self::of(link, LinkFolder::new(Some("/".into())).identity("."))
    }

    /// Fragments published since the link was made, by all producers.
    pub(crate) fn published(&self) -> u64 {
        self.status.next.wrapping_sub(self.status.start)
    }

    /// How far the slowest consumer is behind, in fragments. 0 without consumers.
    pub(crate) fn lag(&self) -> u64 {
        self.status.consumers.iter().map(|consumer| consumer.lag).max().unwrap_or(0)
    }

    /// Fragments that the consumers have lost. Saturates, as the counts of a corrupt link can overflow the sum.
    pub(crate) fn lost(&self) -> u64 {
        self.status.consumers.iter().fold(0, |sum, consumer| sum.saturating_add(consumer.lost))
    }

    /// How much of the ring waits for the slowest consumer, from 0 to 1. At 1, the producer waits, too.
    pub(crate) fn occupancy(&self) -> f64 {
        (self.lag() as f64 / self.geometry.credits.max(1) as f64).min(1.0)
    }

    /// What has changed since an earlier sample, a second. `None` if that is of another link, or at the same moment.
    pub(crate) fn rates_since(&self, before: &Self) -> Option<Rates> {
        let seconds = self.taken.checked_duration_since(before.taken)?.as_secs_f64();
        if seconds == 0.0 || self.identity? != before.identity? {
            return None;
        }
        let rate = |now: u64, before: u64| Some(now.checked_sub(before)? as f64 / seconds);
        let consumers = self.status.consumers.iter().map(|consumer| {
            let same = before.status.consumers.iter().find(|other| other.slot == consumer.slot);
            same.and_then(|before| rate(consumer.consumed, before.consumed))
        });
        Some(Rates {
            published: rate(self.published(), before.published())?,
            backpressure: rate(self.status.backpressure, before.status.backpressure)?,
            consumers: consumers.collect(),
        })
    }
}

/// One word for a consumer.
pub(crate) fn consumer_state(consumer: &ConsumerStatus, held_by: Option<usize>) -> &'static str {
    match consumer {
        ConsumerStatus { alive: false, .. } => "dead",
        _ if held_by == Some(consumer.slot) => "holding",
        ConsumerStatus { asleep: true, .. } => "asleep",
        _ => "alive",
    }
}

/// Changes a second, between two samples of one link.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rates {
    /// Fragments published.
    pub(crate) published: f64,
    /// Fragments that had to wait for credits.
    pub(crate) backpressure: f64,
    /// Fragments consumed, in the order of [`LinkStatus::consumers`]. `None`: the consumer was not there before.
    pub(crate) consumers: Vec<Option<f64>>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::{env, fs, process};

    use super::*;
    use crate::report;

    fn later(sample: &Sample, link: &Link, by: Duration) -> Sample {
        Sample { taken: sample.taken + by, ..Sample::of_heap(link) }
    }

    #[test]
    fn rates_are_changes_a_second() {
        let link = Link::builder().depth(8).mtu(64).consumers(2).build().unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap();
        let first = Sample::of_heap(&link);
        assert_eq!((first.published(), first.occupancy(), report::state(&first.status)), (0, 0.0, "alive"));
        for _ in 0..8 {
            tx.publish(b"x", 0, 0, 0).unwrap();
        }
        assert!(tx.publish(b"x", 0, 0, 0).is_err());
        let full = later(&first, &link, Duration::from_secs(4));
        let rates = Rates { published: 2.0, backpressure: 0.25, consumers: vec![Some(0.0)] };
        assert_eq!(full.rates_since(&first), Some(rates));
        assert_eq!((full.published(), full.lag(), full.occupancy()), (8, 8, 1.0));
        assert_eq!(consumer_state(&full.status.consumers[0], full.status.held_by), "holding");
        drop(rx.poll().unwrap());
        let other = link.consumer().unwrap();
        let third = later(&full, &link, Duration::from_millis(500));
        assert_eq!(third.rates_since(&full).unwrap().consumers, [Some(2.0), None]);
        drop(other);
    }

    #[test]
    fn a_link_that_is_replaced_while_it_is_read_is_not_known() {
        let path = env::temp_dir().join(format!("tango-sampling-{}", process::id()));
        let folder = LinkFolder::new(Some(path.clone()));
        let make = || drop(folder.builder().depth(8).mtu(64).create("x").unwrap());
        make();
        let before = Before::reading(&folder).unwrap();
        let same = before.identity("x");
        make();
        let (replaced, new) = (before.identity("x"), before.identity("y"));
        fs::remove_dir_all(path).unwrap();
        assert!(same.is_some() && replaced.is_none() && new.is_none());
    }

    #[test]
    fn there_are_no_rates_between_different_links_or_moments() {
        let link = Link::builder().depth(8).mtu(64).build().unwrap();
        let tx = link.producer().unwrap();
        let empty = Sample::of_heap(&link);
        tx.publish(b"x", 0, 0, 0).unwrap();
        let later = later(&empty, &link, Duration::from_secs(1));
        assert!(later.rates_since(&empty).is_some());
        assert_eq!(later.rates_since(&later), None);
        assert_eq!(empty.rates_since(&later), None, "time does not run backwards");
        let replaced =
            Sample { identity: LinkFolder::new(Some("/".into())).identity("dev"), ..later.clone() };
        assert!(replaced.identity.is_some() && replaced.rates_since(&empty).is_none());
        let unknown = Sample { identity: None, ..later.clone() };
        assert_eq!(unknown.rates_since(&Sample { identity: None, ..empty.clone() }), None);
        let fewer = Sample { taken: later.taken + Duration::from_secs(1), ..empty };
        assert_eq!(fewer.rates_since(&later), None, "counts do not run backwards");
    }
}
