//! [`Tallies`]: which fragments of which links, as a failed write has to say.

use super::block::Tally;
use crate::format;

/// Fragments of several links, by the names of these.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Vec<(String, Tally)>);

impl Tallies {
    pub(crate) fn add(&mut self, link: &str, tally: Tally) {
        match self.0.iter_mut().find(|(name, _)| name == link) {
            Some((_, sum)) => sum.add(tally),
            None => self.0.push((link.to_owned(), tally)),
        }
    }

    pub(super) fn add_all(&mut self, others: Self) {
        for (link, tally) in others.0 {
            self.add(&link, tally);
        }
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|(_, tally)| tally.fragments).sum()
    }

    /// What a failure has lost, if these are the fragments that were read and not written, and what it has not.
    pub(crate) fn losses(&self, written: u64) -> String {
        let lost: Vec<_> = self.0.iter().filter(|(_, tally)| tally.fragments > 0).collect();
        let lost = lost.iter().map(|(link, Tally { fragments, first, last })| {
            let count = format::count(*fragments);
            format!(
                "{count} fragments of link {link} (within {first} to {last}) were read and are not recorded"
            )
        });
        let lost: Vec<_> = lost.collect();
        let lost = if lost.is_empty() {
            "all fragments that were read are recorded".into()
        } else {
            lost.join(", ")
        };
        format!("{lost}; the {} fragments before can be read", format::count(written))
    }
}
