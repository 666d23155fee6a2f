//! The shapes of links and the publishing methods with which producers are killed.

use std::path::Path;

use rust_tango::{Link, LinkBuilder, Producer, TangoError};

use crate::common::{Random, sig};

/// The sizes of a link, and how its producer publishes.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) depth: usize,
    pub(crate) mtu: usize,
    slot: usize,
    pub(crate) region: Option<usize>,
    pub(crate) how: How,
}

/// How a producer publishes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    OneByOne,
    Loans,
    /// In batches of as many fragments as the library publishes at once. These fragments have no tags.
    Batches,
}

/// Fragments per batch.
pub(crate) const BATCH: u64 = 32;

pub(crate) const CASES: [Case; 7] = [
    Case { name: "slots", depth: 1024, mtu: 96, slot: 128, region: None, how: How::OneByOne },
    Case { name: "large slots", depth: 64, mtu: 8000, slot: 8192, region: None, how: How::OneByOne },
    Case { name: "ample granules", depth: 128, mtu: 4000, slot: 128, region: None, how: How::OneByOne },
    Case { name: "few granules", depth: 32, mtu: 3000, slot: 128, region: Some(4500), how: How::OneByOne },
    Case { name: "room for one", depth: 16, mtu: 2000, slot: 128, region: Some(2000), how: How::OneByOne },
    Case { name: "loans", depth: 16, mtu: 1500, slot: 128, region: Some(5000), how: How::Loans },
    Case { name: "batches", depth: 1024, mtu: 96, slot: 128, region: None, how: How::Batches },
];

impl Case {
    /// How many fragments may be in the ring and not yet counted in the head.
    pub(crate) fn uncounted(&self) -> u64 {
        if self.how == How::Batches { BATCH } else { 1 }
    }

    pub(crate) fn builder(&self, folder: &Path) -> LinkBuilder {
        let builder =
            Link::builder().depth(self.depth).mtu(self.mtu).slot(self.slot).consumers(2).dir(folder);
        match self.region {
            Some(bytes) => builder.region(bytes),
            None => builder,
        }
    }
}

pub(crate) fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

/// Publishes fragment `seq` by a loan, in two parts. One time in four, drops another loan before that.
pub(crate) fn publish_by_loan(tx: &mut Producer<'_>, seq: u64, bytes: &[u8], random: &mut Random) {
    let mtu = tx.mtu();
    if random.below(4) == 0 {
        if let Ok(mut loan) = tx.loan(random.below(mtu as u64 + 1) as usize) {
            loan.write_at(0, &[0xee; 64][..loan.len().min(64)]);
        }
    }
    // Sometimes more than is needed.
    let room = (bytes.len() + random.below(200) as usize).min(mtu);
    let mut loan = loop {
        match tx.loan(room) {
            Ok(loan) => break loan,
            Err(TangoError::NoCredits) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    let middle = bytes.len() / 3;
    loan.write_at(middle, &bytes[middle..]);
    loan.write_at(0, &bytes[..middle]);
    loan.truncate(bytes.len());
    assert_eq!(loan.commit(sig(seq), sig(seq) as u16, seq as u32).unwrap().seq, seq);
}

/// Publishes the fragments in one batch if there are credits, otherwise in several.
pub(crate) fn publish_batches(tx: &Producer<'_>, batch: &[(u64, Vec<u8>)]) {
    let payloads: Vec<_> = batch.iter().map(|(_, bytes)| &bytes[..]).collect();
    let mut rest = &payloads[..];
    while !rest.is_empty() {
        rest = &rest[tx.publish_batch(rest, 0, 0)..];
    }
}
