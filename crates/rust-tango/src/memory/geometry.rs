//! [`Geometry`]: the sizes of a link, and their limits.

use alloc::format;

use crate::cpu::words::WORD;
use crate::error::{LinkError, LinkErrorKind};
use crate::ring::line::META_WORDS;
use crate::ring::metadata::Place;
use crate::ring::region::GRANULE;
use crate::ring::slots::SMALLEST;

/// The sizes of a link. They are fixed when the link is made, so no thread or process changes them later.
///
/// [`LinkBuilder`](crate::LinkBuilder) chooses them, and [`Link::geometry`](crate::Link::geometry) returns
/// them.
///
/// # Examples
///
/// ```
/// use rust_tango::Link;
///
/// let geometry = Link::builder().depth(1024).mtu(300).consumers(2).build()?.geometry();
/// assert_eq!((geometry.depth, geometry.mtu, geometry.consumers), (1024, 300, 2));
/// assert_eq!(geometry.slot, 384); // 32 bytes of metadata and a payload of up to 352 bytes
/// assert_eq!(geometry.region, 0); // every payload fits its slot
/// # Ok::<(), rust_tango::LinkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Geometry {
    /// Slots of the ring: how many fragments it holds. A power of two from 2 to 2^28.
    pub depth: usize,
    /// The largest payload of one fragment, in bytes: 0 to 2^31.
    pub mtu: usize,
    /// Size of a slot, in bytes: 32 of metadata, the rest for a small payload. A multiple of 64, up to 2^20.
    pub slot: usize,
    /// Size of the region for payloads that do not fit a slot, in bytes. A multiple of 64. 0 if all payloads
    /// fit.
    pub region: usize,
    /// Slots for reliable consumers, evictable ones included: 0 to 256.
    pub consumers: usize,
    /// Whether observers and evictable consumers may attach.
    pub observers: bool,
    /// How many fragments may be published and not yet consumed: 1 to `depth`.
    pub credits: u64,
    /// The first sequence number. Any value, as sequence numbers wrap.
    pub start: u64,
}

/// Most slots of a ring.
pub(crate) const MAX_DEPTH: usize = 1 << 28;
/// Largest slot, in bytes.
pub(crate) const MAX_SLOT: usize = 1 << 20;
/// Most slots for reliable consumers.
pub(crate) const MAX_CONSUMERS: usize = 256;
/// Largest payload of one fragment, in bytes.
pub(crate) const MAX_MTU: usize = 1 << 31;
/// Largest region, in bytes. Granules have 32-bit numbers, and one of them means "in the slot".
pub(crate) const MAX_REGION: usize = (u32::MAX as usize - 1) * GRANULE;

// No payload has the place of a placeholder.
const _: () = assert!(Place::LEFT_OUT.size as usize > MAX_MTU);
const _: () = assert!(Place::LEFT_OUT.chunk as usize >= MAX_REGION / GRANULE);

impl Geometry {
    /// Checks the sizes.
    ///
    /// # Errors
    /// [`LinkErrorKind::Invalid`], with the wrong size and its limits in the message.
    pub(crate) fn check(&self) -> Result<(), LinkError> {
        let Self { depth, mtu, slot, region, consumers, observers: _, credits, start: _ } = *self;
        let wrong = |what| Err(LinkError::new(LinkErrorKind::Invalid, what));
        if !depth.is_power_of_two() || !(2..=MAX_DEPTH).contains(&depth) {
            return wrong(format!("a depth of {depth} is not a power of two from 2 to {MAX_DEPTH}"));
        }
        if mtu > MAX_MTU {
            return wrong(format!("an MTU of {mtu} bytes is over the limit of {MAX_MTU} bytes"));
        }
        if slot % SMALLEST != 0 || !(SMALLEST..=MAX_SLOT).contains(&slot) {
            return wrong(format!(
                "a slot of {slot} bytes is not a multiple of {SMALLEST} from {SMALLEST} to {MAX_SLOT}"
            ));
        }
        if consumers > MAX_CONSUMERS {
            return wrong(format!("{consumers} consumer slots are over the limit of {MAX_CONSUMERS}"));
        }
        if credits == 0 || credits > depth as u64 {
            return wrong(format!("{credits} credits are outside of the range from 1 to {depth}, the depth"));
        }
        let largest = mtu.next_multiple_of(GRANULE);
        if !self.all_fit_slots() && (region < largest || region > MAX_REGION || region % GRANULE != 0) {
            return wrong(format!(
                "a region of {region} bytes is not a multiple of {GRANULE} from {mtu} (the MTU) to {MAX_REGION} bytes"
            ));
        }
        if self.all_fit_slots() && region != 0 {
            return wrong(format!(
                "a region of {region} bytes would not be used: all payloads fit their slots"
            ));
        }
        if depth
            .checked_mul(slot)
            .and_then(|ring| ring.checked_add(region))
            .is_none_or(|all| all > isize::MAX as usize)
        {
            return wrong(format!("a depth of {depth} with slots of {slot} bytes does not fit into memory"));
        }
        Ok(())
    }

    /// How this existing link differs from the sizes that were `asked` for, as phrases. `start` is not
    /// compared: it only matters for a fresh link.
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

    /// Whether the region is so large that no payload dies before its line is used again: see
    /// `Placement::new`.
    pub(crate) fn is_ample(&self) -> bool {
        let largest = self.mtu.next_multiple_of(GRANULE);
        (self.depth + 1).checked_mul(largest).is_some_and(|need| self.region >= need)
    }
}
