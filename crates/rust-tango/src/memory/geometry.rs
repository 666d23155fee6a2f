//! [`Geometry`]: the sizes of a link, and what they may be.

use alloc::format;

use crate::cpu::words::WORD;
use crate::error::{LinkError, LinkErrorKind};
use crate::ring::line::META_WORDS;
use crate::ring::region::GRANULE;
use crate::ring::slots::SLOT;

/// The sizes of a link, fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Lines of the ring: how many fragments can be under way. A power of two, at least 2.
    pub depth: usize,
    /// The largest payload of one fragment, in bytes.
    pub mtu: usize,
    /// Size of a slot of the ring, in bytes: 32 of metadata, the rest for a small payload.
    pub slot: usize,
    /// Size of the region for payloads that do not fit a slot, in bytes, a multiple of 64. 0 if all do.
    pub region: usize,
    /// Slots for reliable consumers.
    pub consumers: usize,
    /// Whether observers may attach.
    pub observers: bool,
    /// How many fragments may be published and not yet consumed: 1 to `depth`.
    pub credits: u64,
    /// The first sequence number.
    pub start: u64,
}

/// Most lines of a ring.
pub(crate) const MAX_DEPTH: usize = 1 << 28;
/// Largest slot, in bytes.
pub(crate) const MAX_SLOT: usize = 1 << 20;
/// Most slots for reliable consumers.
pub(crate) const MAX_CONSUMERS: usize = 256;
/// Largest payload of one fragment, in bytes.
pub(crate) const MAX_MTU: usize = 1 << 31;
/// Largest region, in bytes: granules have 32-bit numbers, of which one is taken.
pub(crate) const MAX_REGION: usize = (u32::MAX as usize - 1) * GRANULE;

impl Geometry {
    /// Refuses sizes that make no link, naming the one that is wrong and what would be right.
    pub(crate) fn check(&self) -> Result<(), LinkError> {
        let Self { depth, mtu, slot, region, consumers, observers: _, credits, start: _ } = *self;
        let wrong = |what| Err(LinkError::new(LinkErrorKind::Invalid, what));
        if !depth.is_power_of_two() || !(2..=MAX_DEPTH).contains(&depth) {
            return wrong(format!("a depth of {depth} is not a power of two from 2 to {MAX_DEPTH}"));
        }
        if mtu > MAX_MTU {
            return wrong(format!("an MTU of {mtu} bytes is over the limit of {MAX_MTU}"));
        }
        if !slot.is_power_of_two() || !(SLOT..=MAX_SLOT).contains(&slot) {
            return wrong(format!("a slot of {slot} bytes is not a power of two from {SLOT} to {MAX_SLOT}"));
        }
        if consumers > MAX_CONSUMERS {
            return wrong(format!("{consumers} slots for consumers are over the limit of {MAX_CONSUMERS}"));
        }
        if credits == 0 || credits > depth as u64 {
            return wrong(format!("{credits} credits are not from 1 to the depth of {depth}"));
        }
        let largest = mtu.next_multiple_of(GRANULE);
        if !self.all_fit_slots() && (region < largest || region > MAX_REGION || region % GRANULE != 0) {
            return wrong(format!(
                "a region of {region} bytes is not from {mtu} (one payload of the MTU) to {MAX_REGION}, in steps of {GRANULE}"
            ));
        }
        if self.all_fit_slots() && region != 0 {
            return wrong(format!("a region of {region} bytes is of no use: all payloads fit their slots"));
        }
        if depth
            .checked_mul(slot)
            .and_then(|ring| ring.checked_add(region))
            .is_none_or(|all| all > isize::MAX as usize)
        {
            return wrong(format!("a depth of {depth} with slots of {slot} bytes does not fit memory"));
        }
        Ok(())
    }

    /// Where a link that is there differs from what was asked for, in words. The first sequence number
    /// does not count: it is where a fresh link starts.
    #[cfg(all(feature = "shm", target_os = "linux"))]
    pub(crate) fn differences(&self, asked: &Self) -> alloc::vec::Vec<alloc::string::String> {
        let sizes = |of: &Self| {
            [
                ("depth", of.depth as u64),
                ("MTU", of.mtu as u64),
                ("slot", of.slot as u64),
                ("region", of.region as u64),
                ("consumers", of.consumers as u64),
                ("credits", of.credits),
            ]
        };
        let mut differences = alloc::vec::Vec::new();
        for ((what, here), (_, asked)) in sizes(self).into_iter().zip(sizes(asked)) {
            if here != asked {
                differences.push(format!("{what} {here} instead of {asked}"));
            }
        }
        if self.observers != asked.observers {
            let with = |observers| if observers { "with observers" } else { "without observers" };
            differences.push(format!("{} instead of {}", with(self.observers), with(asked.observers)));
        }
        differences
    }

    /// Whether no payload needs the region.
    pub(crate) fn all_fit_slots(&self) -> bool {
        self.mtu <= self.slot - META_WORDS * WORD
    }

    /// Whether payloads never die in the region before their lines do; see `Placement::new`.
    pub(crate) fn is_ample(&self) -> bool {
        let largest = self.mtu.next_multiple_of(GRANULE);
        (self.depth + 1).checked_mul(largest).is_some_and(|need| self.region >= need)
    }
}
