//! [`About`]: what the network is told of a link, and the identity of its files.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;
use std::{fs, io};

use rust_tango::Link;

use crate::wire::{Description, Origin, TypeDescription, encode_last_state, encode_state};

/// From where the fragments of a link come, and what it is.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) origin: Origin,
    pub(super) description: Description,
}

impl About {
    /// What there is to say of a link. `history` is as in [`Publish`](crate::settings::Publish).
    ///
    /// # Errors
    ///
    /// The files cannot be looked at: the link was removed meanwhile.
    pub(super) fn of(link: &Link, bridge: u64, history: u64) -> io::Result<Self> {
        let geometry = link.geometry();
        let payload_type = link.payload_type().map(|of| TypeDescription {
            name: of.name().to_owned(),
            size: of.size(),
            align: of.align(),
        });
        let history = if geometry.observers { history.min(geometry.depth as u64) } else { 0 };
        let description = Description {
            name: link.name().unwrap_or_default().to_owned(),
            depth: geometry.depth,
            mtu: geometry.mtu,
            slot: geometry.slot,
            region: geometry.region,
            consumers: geometry.consumers,
            payload_type,
            history,
        };
        let origin = Origin { bridge, link: identity(link)?, producer: link.metrics().producers };
        Ok(Self { origin, description })
    }

    /// The state message. `next` is the number of the next fragment that will be sent.
    pub(super) fn state(&self, next: u64) -> Vec<u8> {
        encode_state(self.origin, next, &self.description)
    }

    /// The state message of a link that was removed. `next` is the number after its last one.
    pub(super) fn last_state(&self, next: u64) -> Vec<u8> {
        encode_last_state(self.origin, next, &self.description)
    }
}

/// A number that stays the same as long as the link is not made anew: of the number of its file `tx` on the file system,
/// and the time when that was made, where the file system keeps it.
fn identity(link: &Link) -> io::Result<u64> {
    let Some(folder) = link.path() else { return Ok(0) };
    let tx = fs::metadata(folder.join("tx"))?;
    if !link.is_named() {
        // These may be the files of the next link.
        return Err(io::ErrorKind::NotFound.into());
    }
    let made = tx.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    // Its keys are the same in each process.
    let mut hasher = DefaultHasher::new();
    (tx.dev(), tx.ino(), made).hash(&mut hasher);
    Ok(hasher.finish())
}
