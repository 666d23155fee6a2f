//! The header before the payload of a captured fragment. `docs/wireshark/README.md` describes it for other programs, and
//! `docs/wireshark/tango.lua` reads it.
//!
//! | offset | bytes | field | |
//! |---|---|---|---|
//! | 0 | 1 | version | 1 |
//! | 1 | 1 | length | of the header: 48. A later version may append fields |
//! | 2 | 2 | flags | see [`TIME`], [`LOST`], [`PRODUCER`] |
//! | 4 | 2 | `ctl` | |
//! | 6 | 2 | | 0 |
//! | 8 | 8 | `seq` | |
//! | 16 | 8 | `sig` | |
//! | 24 | 4 | `size` | of the payload, of which less may follow |
//! | 28 | 4 | `ts` | |
//! | 32 | 8 | time | when it was published, in nanoseconds since 1970; 0 without the flag |
//! | 40 | 8 | lost | fragments that are missing directly before this one |
//! | 48 | | payload | |

use rust_tango::FragmentMetadata;

/// The version of the layout.
const VERSION: u8 = 1;
/// The size of the header, in bytes.
pub(super) const HEADER: usize = 48;

/// The time of publishing is known.
pub(super) const TIME: u16 = 1;
/// Fragments are missing directly before this one.
pub(super) const LOST: u16 = 2;
/// Since the packet before, the capture has learned of another producer.
pub(super) const PRODUCER: u16 = 4;

/// What the header says beside the metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// When the fragment was published.
    pub(super) time: Option<u64>,
    pub(super) lost: u64,
    pub(super) is_of_new_producer: bool,
}

#[inline]
pub(super) fn header(meta: &FragmentMetadata, notes: Notes) -> [u8; HEADER] {
    let flag = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
    let flags = flag(notes.time.is_some(), TIME)
        | flag(notes.lost > 0, LOST)
        | flag(notes.is_of_new_producer, PRODUCER);
    let mut bytes = [0; HEADER];
    bytes[0] = VERSION;
    bytes[1] = HEADER as u8;
    bytes[2..4].copy_from_slice(&flags.to_le_bytes());
    bytes[4..6].copy_from_slice(&meta.ctl.to_le_bytes());
    bytes[8..16].copy_from_slice(&meta.seq.to_le_bytes());
    bytes[16..24].copy_from_slice(&meta.sig.to_le_bytes());
    bytes[24..28].copy_from_slice(&meta.size.to_le_bytes());
    bytes[28..32].copy_from_slice(&meta.ts.to_le_bytes());
    bytes[32..40].copy_from_slice(&notes.time.unwrap_or(0).to_le_bytes());
    bytes[40..].copy_from_slice(&notes.lost.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        let meta = FragmentMetadata {
            seq: 0x0102_0304_0506_0708,
            sig: 0x1112_1314_1516_1718,
            size: 0x2122_2324,
            ctl: 0x3132,
            ts: 0x4142_4344,
            ..FragmentMetadata::default()
        };
        let notes = Notes { time: Some(0x5152_5354_5556_5758), lost: 0x6162, is_of_new_producer: true };
        let mut wanted = vec![1, 48, 7, 0, 0x32, 0x31, 0, 0];
        wanted.extend([8, 7, 6, 5, 4, 3, 2, 1]);
        wanted.extend([0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]);
        wanted.extend([0x24, 0x23, 0x22, 0x21, 0x44, 0x43, 0x42, 0x41]);
        wanted.extend([0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51]);
        wanted.extend([0x62, 0x61, 0, 0, 0, 0, 0, 0]);
        assert_eq!(header(&meta, notes).to_vec(), wanted);
        assert_eq!(header(&meta, Notes::default())[2..4], [0, 0]);
    }
}
