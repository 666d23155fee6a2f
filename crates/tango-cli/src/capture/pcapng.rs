//! The blocks of a pcapng file, as bytes. All numbers are little endian, and all times in nanoseconds since 1970.
//!
//! ```text
//! block     type, length, body, length again; each a multiple of 4 bytes
//! options   code and length (16 bits each), value, padding; ended by code 0
//! ```
//!
//! | block | here |
//! |---|---|
//! | section header | one, at the beginning |
//! | interface description | one for each link, before its first packet |
//! | enhanced packet | one for each fragment |
//! | interface statistics | one for each link, at the end |

/// `LINKTYPE_USER0`: what a packet contains is agreed upon between those that write and read it.
pub(super) const LINK_TYPE: u16 = 147;
/// Wireshark refuses files with a packet of more bytes.
pub(super) const MOST_IN_PACKET: usize = 262_144;

/// Types of blocks.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
/// Before the body, and after it.
const AROUND: usize = 12;

/// Codes of options. Numbers below 10 mean something else in each type of block.
const END: u16 = 0;
const COMMENT: u16 = 1;
const HARDWARE: u16 = 2;
const SYSTEM: u16 = 3;
const PROGRAM: u16 = 4;
const NAME: u16 = 2;
const DESCRIPTION: u16 = 3;
const TIME_RESOLUTION: u16 = 9;
const STARTED: u16 = 2;
const ENDED: u16 = 3;
const RECEIVED: u16 = 4;
const DROPPED: u16 = 5;
const DELIVERED: u16 = 8;

/// A block that is being appended to a buffer.
struct Appending<'a> {
    to: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Appending<'a> {
    fn new(to: &'a mut Vec<u8>, kind: u32) -> Self {
        let start = to.len();
        to.extend_from_slice(&kind.to_le_bytes());
        to.extend_from_slice(&[0; 4]);
        Self { to, start }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.to.extend_from_slice(bytes);
        self
    }

    /// A time is two words, the upper one first.
    fn put_time(&mut self, time: u64) -> &mut Self {
        self.put(&time_bytes(time))
    }

    fn pad(&mut self) {
        let len = self.to.len() - self.start;
        self.to.resize(self.start + len.next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) -> &mut Self {
        // The length has 16 bits.
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.put(&code.to_le_bytes()).put(&(value.len() as u16).to_le_bytes()).put(value).pad();
        self
    }

    fn comments(&mut self, comments: &[String]) -> &mut Self {
        for comment in comments {
            self.option(COMMENT, comment.as_bytes());
        }
        self
    }

    fn end(self) {
        let len = (self.to.len() + 4 - self.start) as u32;
        self.to.extend_from_slice(&len.to_le_bytes());
        self.to[self.start + 4..self.start + 8].copy_from_slice(&len.to_le_bytes());
    }

    fn end_with_options(mut self) {
        self.put(&END.to_le_bytes()).put(&[0; 2]);
        self.end();
    }
}

fn time_bytes(time: u64) -> [u8; 8] {
    time.rotate_left(32).to_le_bytes()
}

/// The beginning of a file.
pub(super) fn section(to: &mut Vec<u8>, machine: &str, program: &str, comment: String) {
    const UNKNOWN_LENGTH: u64 = u64::MAX;
    let mut block = Appending::new(to, SECTION);
    block.put(&0x1a2b_3c4d_u32.to_le_bytes()).put(&1_u16.to_le_bytes()).put(&0_u16.to_le_bytes());
    block.put(&UNKNOWN_LENGTH.to_le_bytes()).comments(&[comment]);
    block.option(HARDWARE, machine.as_bytes()).option(SYSTEM, b"Linux").option(PROGRAM, program.as_bytes());
    block.end_with_options();
}

/// A link. It gets the next number from 0. No packet of it has more than `longest` bytes.
pub(super) fn interface(to: &mut Vec<u8>, name: &str, description: &str, longest: usize) {
    const NANOSECONDS: u8 = 9;
    let mut block = Appending::new(to, INTERFACE);
    block.put(&LINK_TYPE.to_le_bytes()).put(&[0; 2]).put(&(longest as u32).to_le_bytes());
    block.option(NAME, name.as_bytes()).option(DESCRIPTION, description.as_bytes());
    block.option(TIME_RESOLUTION, &[NANOSECONDS]);
    block.end_with_options();
}

/// A packet: `head` and what was kept of the payload, of which `cut` bytes were not kept.
#[inline]
pub(super) fn packet(
    to: &mut Vec<u8>,
    interface: u32,
    time: u64,
    (head, kept): (&[u8], &[u8]),
    cut: usize,
    comments: &[String],
) {
    let len = head.len() + kept.len();
    let mut block = Appending::new(to, PACKET);
    block.put(&interface.to_le_bytes()).put_time(time);
    block.put(&(len as u32).to_le_bytes());
    block.put(&u32::try_from(len + cut).unwrap_or(u32::MAX).to_le_bytes());
    block.put(head).put(kept).pad();
    if comments.is_empty() {
        block.end();
    } else {
        block.comments(comments);
        block.end_with_options();
    }
}

/// What an interface has had, at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// When the first and the last packet came.
    pub(super) times: Option<(u64, u64)>,
    pub(super) packets: u64,
    /// Fragments that are missing.
    pub(super) lost: u64,
}

pub(super) fn statistics(to: &mut Vec<u8>, interface: u32, now: u64, counts: Counts, comments: &[String]) {
    let Counts { times, packets, lost } = counts;
    let mut block = Appending::new(to, STATISTICS);
    block.put(&interface.to_le_bytes()).put_time(now).comments(comments);
    if let Some((first, last)) = times {
        block.option(STARTED, &time_bytes(first)).option(ENDED, &time_bytes(last));
    }
    block.option(RECEIVED, &packets.saturating_add(lost).to_le_bytes()).option(DROPPED, &lost.to_le_bytes());
    block.option(DELIVERED, &packets.to_le_bytes());
    block.end_with_options();
}

/// The blocks that lie completely in `bytes`, which begins with one: how many bytes they have, and how many of them are
/// packets.
pub(super) fn complete(bytes: &[u8]) -> (usize, u64) {
    let (mut at, mut packets) = (0, 0);
    while let Some(head) = bytes[at..].first_chunk::<8>() {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let len = word(4) as usize;
        if len < AROUND || len > bytes.len() - at {
            break;
        }
        packets += u64::from(word(0) == PACKET);
        at += len;
    }
    (at, packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_packet_is_padded_and_says_what_was_cut() {
        let mut bytes = Vec::new();
        packet(&mut bytes, 3, 0x0102_0304_0506_0708, (b"head", b"pay"), 10, &[]);
        assert_eq!(bytes.len(), 40);
        assert_eq!(
            [0, 4, 8, 12, 16, 20, 24].map(|at| word(&bytes, at)),
            [6, 40, 3, 0x0102_0304, 0x0506_0708, 7, 17]
        );
        assert_eq!((&bytes[28..36], word(&bytes, 36)), (&b"headpay\0"[..], 40));

        let mut bytes = Vec::new();
        packet(&mut bytes, 0, 0, (b"head", b""), 0, &["gap".to_owned(), "more".to_owned()]);
        let options = &bytes[32..];
        assert_eq!(&options[..20], b"\x01\0\x03\0gap\0\x01\0\x04\0more\0\0\0\0");
        assert_eq!((word(&bytes, 4), word(options, 20)), (56, 56));
    }

    #[test]
    fn complete_blocks_are_counted_in_any_part_of_a_file() {
        let mut bytes = Vec::new();
        section(&mut bytes, "x86_64", "tango", "comment".to_owned());
        interface(&mut bytes, "quotes", "tango link", 100);
        let mut ends = vec![bytes.len()];
        for n in 0..3 {
            packet(&mut bytes, 0, n, (b"head", &[7; 5]), 0, &[]);
            ends.push(bytes.len());
        }
        statistics(&mut bytes, 0, 9, Counts { times: Some((0, 2)), packets: 3, lost: 1 }, &[]);
        for len in ends[0]..bytes.len() {
            let packets = ends.iter().filter(|end| **end <= len).count() as u64 - 1;
            assert_eq!(complete(&bytes[..len]), (ends[packets as usize], packets), "{len}");
        }
        assert_eq!(complete(&bytes), (bytes.len(), 3));
        assert_eq!((complete(&[]), complete(&[0; 20])), ((0, 0), (0, 0)));
    }
}
