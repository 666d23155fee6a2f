//! [`decode`]: what a network message says. Checks all of it first.

use std::fmt;

use super::header::{
    Description, END, EndCause, FRAGMENTS, GAP, GapCause, HEADER, Header, MAGIC, Origin, RECORD, STATE,
    VERSION,
};

/// A network message.
#[derive(Debug)]
pub enum Message<'a> {
    /// Fragments that follow each other.
    Fragments(Fragments<'a>),
    /// What the link is. `first` is the number of the next fragment.
    State(Header, Description),
    /// `count` fragments from `first` on are not sent.
    Gap(Header, GapCause),
    /// Nothing follows for now. `first` is the number of the next fragment.
    End(Header, EndCause),
}

/// Fragments of one network message. All records were checked.
#[derive(Debug, Clone, Copy)]
pub struct Fragments<'a> {
    header: Header,
    records: &'a [u8],
}

/// One fragment of a network message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Its sequence number.
    pub seq: u64,
    /// As the producer of the link has set it, as `ctl` and `ts`.
    pub sig: u64,
    /// See `sig`.
    pub ctl: u16,
    /// See `sig`.
    pub ts: u32,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// They do not begin with the magic number: another program publishes under this key.
    NotOurs,
    /// They are of this later version.
    Version(u8),
    /// They end early, or have more or less than the header says.
    Length,
    /// The kind is unknown.
    Kind(u8),
    /// The description of a state is not right.
    Description(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => write!(f, "it was not sent by a tango-bridge: its first bytes are not \"TNGB\""),
            Self::Version(version) => {
                write!(
                    f,
                    "it is of version {version} of the encoding, and this tango-bridge knows version {VERSION}"
                )
            }
            Self::Length => write!(f, "it is longer or shorter than its header says"),
            Self::Kind(kind) => write!(f, "its kind is {kind}, and there are kinds 1 to 4"),
            Self::Description(why) => write!(f, "its description of the link is not right: {why}"),
        }
    }
}

impl std::error::Error for WireError {}

/// Reads a network message.
///
/// # Errors
///
/// The bytes are no message of this version.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, WireError> {
    if !bytes.starts_with(&MAGIC) {
        return Err(WireError::NotOurs);
    }
    let (head, rest) = bytes.split_first_chunk::<HEADER>().ok_or(WireError::Length)?;
    if head[4] != VERSION {
        return Err(WireError::Version(head[4]));
    }
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let header = Header {
        kind: head[5],
        cause: u16::from_le_bytes([head[6], head[7]]),
        origin: Origin { bridge: word(8), link: word(16), producer: word(24) },
        first: word(32),
        count: word(40),
    };
    let without_body = |message| if rest.is_empty() { Ok(message) } else { Err(WireError::Length) };
    match header.kind {
        FRAGMENTS => {
            let fragments = Fragments { header, records: rest };
            if fragments.are_whole() { Ok(Message::Fragments(fragments)) } else { Err(WireError::Length) }
        }
        STATE => match serde_json::from_slice(rest) {
            Ok(description) => Ok(Message::State(header, description)),
            Err(error) => Err(WireError::Description(error.to_string())),
        },
        GAP => without_body(Message::Gap(header, GapCause::of(header.cause))),
        END => without_body(Message::End(header, EndCause::of(header.cause))),
        kind => Err(WireError::Kind(kind)),
    }
}

impl<'a> Fragments<'a> {
    /// From where they come, the number of the first, and how many there are.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The fragments, in order.
    pub fn iter(&self) -> impl Iterator<Item = Fragment<'a>> {
        let (mut records, first) = (self.records, self.header.first);
        (0..self.header.count).map_while(move |at| {
            let (fragment, rest) = record(records)?;
            records = rest;
            Some(Fragment { seq: first.wrapping_add(at), ..fragment })
        })
    }

    fn are_whole(&self) -> bool {
        let (mut records, mut count) = (self.records, 0);
        while let Some((_, rest)) = record(records) {
            records = rest;
            count += 1;
        }
        records.is_empty() && count == self.header.count
    }
}

/// The first record, with the number 0, and what follows it.
fn record(bytes: &[u8]) -> Option<(Fragment<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<RECORD>()?;
    let [s0, s1, s2, s3, s4, s5, s6, s7, t0, t1, t2, t3, c0, c1, _, _, z0, z1, z2, z3] = *head;
    let size = u32::from_le_bytes([z0, z1, z2, z3]) as usize;
    let (payload, rest) = rest.split_at_checked(size)?;
    let fragment = Fragment {
        seq: 0,
        sig: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        ctl: u16::from_le_bytes([c0, c1]),
        ts: u32::from_le_bytes([t0, t1, t2, t3]),
        payload,
    };
    Some((fragment, rest))
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, encode_end, encode_gap, encode_last_state, encode_state};
    use super::*;
    use rust_tango::{Control, FragmentMetadata};

    const ORIGIN: Origin = Origin { bridge: 1 << 63, link: 7, producer: 2 };

    fn meta(seq: u64, ctl: u16) -> FragmentMetadata {
        FragmentMetadata { seq, sig: !seq, ctl, ts: seq as u32, ..FragmentMetadata::default() }
    }

    #[test]
    fn fragments_come_back_as_they_were_also_where_numbers_wrap_around() {
        let first = u64::MAX - 1;
        let mut batch = Batch::new(ORIGIN, first, 0);
        let payloads: [&[u8]; 4] = [b"", b"one", &[7; 300], b"last"];
        for (at, payload) in payloads.iter().enumerate() {
            batch.push(&meta(first.wrapping_add(at as u64), at as u16), payload);
        }
        assert_eq!((batch.next(), batch.count()), (2, 4));
        let bytes = batch.finish();
        let Message::Fragments(fragments) = decode(&bytes).unwrap() else { panic!("not fragments") };
        assert_eq!((fragments.header().origin, fragments.header().first), (ORIGIN, first));
        for (at, fragment) in fragments.iter().enumerate() {
            let seq = first.wrapping_add(at as u64);
            assert_eq!((fragment.seq, fragment.sig, fragment.ts), (seq, !seq, seq as u32));
            assert_eq!((fragment.ctl, fragment.payload), (at as u16, payloads[at]));
        }
        assert_eq!(fragments.iter().count(), 4);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "the first {len} bytes");
        }
        assert!(matches!(decode(&[&bytes[..], &[0]].concat()), Err(WireError::Length)));
    }

    #[test]
    fn what_is_said_of_a_link_comes_back() {
        let description = Description {
            name: "quotes".to_owned(),
            depth: 8,
            mtu: 64,
            slot: 128,
            region: 0,
            consumers: 4,
            payload_type: None,
            history: 8,
        };
        let state = encode_state(ORIGIN, 9, &description);
        let Message::State(header, found) = decode(&state).unwrap() else { panic!("not a state") };
        assert_eq!((header.origin, header.first, &found), (ORIGIN, 9, &description));
        let is_of_removed = |bytes: &[u8]| match decode(bytes).unwrap() {
            Message::State(header, _) | Message::Gap(header, _) | Message::End(header, _) => {
                header.is_of_removed()
            }
            Message::Fragments(_) => false,
        };
        let last = encode_last_state(ORIGIN, 9, &description);
        assert!(last[..6] == state[..6] && last[8..] == state[8..] && is_of_removed(&last));
        assert!(is_of_removed(&encode_end(ORIGIN, 9, EndCause::Removed)));
        let others =
            [state, encode_end(ORIGIN, 9, EndCause::Closed), encode_gap(ORIGIN, 9, 1, GapCause::Congestion)];
        assert!(!others.iter().any(|bytes| is_of_removed(bytes)));
        let gap = encode_gap(ORIGIN, 3, 5, GapCause::Evicted);
        let Message::Gap(header, cause) = decode(&gap).unwrap() else { panic!("not a gap") };
        assert_eq!((header.first, header.count, cause), (3, 5, GapCause::Evicted));
        let end = encode_end(ORIGIN, 3, EndCause::Stopped);
        assert!(matches!(decode(&end), Ok(Message::End(_, EndCause::Stopped))));
        let mut later = end.clone();
        later[4] = 2;
        assert_eq!(decode(&later).unwrap_err(), WireError::Version(2));
        assert_eq!(decode(b"hello").unwrap_err(), WireError::NotOurs);
    }

    #[test]
    fn a_message_that_has_not_ended_goes_into_the_next_batch() {
        let (start, middle) =
            (Control::WHOLE.with_more().bits(), Control::WHOLE.with_continues().with_more().bits());
        let mut batch = Batch::new(ORIGIN, 5, 0);
        batch.push(&meta(5, start), b"a");
        batch.push(&meta(6, middle), b"b");
        assert!(batch.is_within_message() && batch.split_open().is_none(), "nothing would be left");
        batch.push(&meta(7, Control::WHOLE.with_continues().bits()), b"c");
        assert!(!batch.is_within_message() && batch.split_open().is_none());
        batch.push(&meta(8, 0), b"whole");
        batch.push(&meta(9, start), b"d");
        batch.push(&meta(10, middle), b"e");
        let rest = batch.split_open().unwrap();
        let found = |batch: Batch| {
            let bytes = batch.finish();
            let Message::Fragments(fragments) = decode(&bytes).unwrap() else { panic!("not fragments") };
            fragments.iter().map(|fragment| (fragment.seq, fragment.payload.to_vec())).collect::<Vec<_>>()
        };
        let of = |range: std::ops::Range<u64>, payloads: &[&str]| {
            range.zip(payloads.iter().map(|text| text.as_bytes().to_vec())).collect::<Vec<_>>()
        };
        assert!(!batch.is_within_message() && rest.is_within_message());
        assert_eq!(found(batch), of(5..9, &["a", "b", "c", "whole"]));
        assert_eq!(found(rest), of(9..11, &["d", "e"]));
    }
}
