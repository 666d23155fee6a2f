//! [`Header`], and the messages that are little more than one.

use serde::{Deserialize, Serialize};

pub(super) const MAGIC: [u8; 4] = *b"TNGB";
pub(super) const VERSION: u8 = 1;
/// Bytes of a header.
pub(super) const HEADER: usize = 48;
/// Bytes of a record before its payload.
pub(super) const RECORD: usize = 20;

pub(super) const FRAGMENTS: u8 = 1;
pub(super) const STATE: u8 = 2;
pub(super) const GAP: u8 = 3;
pub(super) const END: u8 = 4;

/// From where a message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// A random number of the run of the bridge that sent it.
    pub bridge: u64,
    /// The identity of the link there. It stays the same as long as the link is not made anew.
    pub link: u64,
    /// How many producers the link has had.
    pub producer: u64,
}

/// What every message begins with. See the table of [`wire`](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub(super) kind: u8,
    pub(super) cause: u16,
    /// From where the message comes.
    pub origin: Origin,
    /// The number of the first fragment, or of the next one.
    pub first: u64,
    /// How many fragments the message has, or leaves out.
    pub count: u64,
}

impl Header {
    pub(super) fn write(&self, to: &mut [u8; HEADER]) {
        to[0..4].copy_from_slice(&MAGIC);
        to[4] = VERSION;
        to[5] = self.kind;
        to[6..8].copy_from_slice(&self.cause.to_le_bytes());
        let Origin { bridge, link, producer } = self.origin;
        for (at, word) in [bridge, link, producer, self.first, self.count].into_iter().enumerate() {
            to[8 + 8 * at..][..8].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Whether it says that the link was removed: it is of the last state of the link, or of its end with that cause.
    pub fn is_of_removed(&self) -> bool {
        matches!(self.kind, STATE | END) && self.cause == EndCause::Removed.number()
    }

    fn to_vec(self) -> Vec<u8> {
        let mut bytes = [0; HEADER];
        self.write(&mut bytes);
        bytes.to_vec()
    }
}

/// Why fragments are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The bridge was too slow for the link and was lapped, or the producer has left the numbers out. 1.
    Overrun,
    /// The bridge was too slow for the link and was evicted. 2.
    Evicted,
    /// The network was too slow, and the bridge was told to drop. 3.
    Congestion,
    /// The metadata of the fragment was corrupt. 4.
    Corrupt,
    /// Any other number: of a later version.
    Other,
}

impl GapCause {
    const NUMBERS: [(Self, u16); 4] =
        [(Self::Overrun, 1), (Self::Evicted, 2), (Self::Congestion, 3), (Self::Corrupt, 4)];

    pub(super) fn of(number: u16) -> Self {
        Self::NUMBERS.iter().find(|(_, of)| *of == number).map_or(Self::Other, |(cause, _)| *cause)
    }

    fn number(self) -> u16 {
        Self::NUMBERS.iter().find(|(cause, _)| *cause == self).map_or(0, |(_, number)| *number)
    }
}

/// Why nothing follows for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The producer has ended in good order. Another one may come. 1.
    Closed,
    /// The link was stopped: for good. 2.
    Stopped,
    /// The link was removed, or another one has taken its name. 3.
    Removed,
    /// The producer died. Another one may come. 4.
    ProducerGone,
    /// The bridge that sends ends. 5.
    BridgeLeft,
    /// Any other number: of a later version.
    Other,
}

impl EndCause {
    const NUMBERS: [(Self, u16); 5] = [
        (Self::Closed, 1),
        (Self::Stopped, 2),
        (Self::Removed, 3),
        (Self::ProducerGone, 4),
        (Self::BridgeLeft, 5),
    ];

    pub(super) fn of(number: u16) -> Self {
        Self::NUMBERS.iter().find(|(_, of)| *of == number).map_or(Self::Other, |(cause, _)| *cause)
    }

    fn number(self) -> u16 {
        Self::NUMBERS.iter().find(|(cause, _)| *cause == self).map_or(0, |(_, number)| *number)
    }
}

/// What a state says of a link: enough to make one like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The name of the link.
    pub name: String,
    /// Slots of its ring.
    pub depth: usize,
    /// The largest payload of a fragment, in bytes.
    pub mtu: usize,
    /// The size of a slot, in bytes.
    pub slot: usize,
    /// The size of the region for payloads that do not fit a slot, in bytes.
    pub region: usize,
    /// Slots for consumers.
    pub consumers: usize,
    /// The type of the payloads, if the link has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_type: Option<TypeDescription>,
    /// How many fragments back the bridge sends again when it is asked. 0: none.
    pub history: u64,
}

/// The type of payloads. Another machine's may be laid out differently: the names are equal if the programs are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeDescription {
    /// Its name.
    pub name: String,
    /// The size of a value, in bytes.
    pub size: usize,
    /// The alignment of a value, in bytes.
    pub align: usize,
}

/// A message about the link. `next` is the number of the next fragment that will be sent.
pub fn encode_state(origin: Origin, next: u64, description: &Description) -> Vec<u8> {
    let mut bytes = Header { kind: STATE, cause: 0, origin, first: next, count: 0 }.to_vec();
    // Writing plain fields into memory does not fail.
    serde_json::to_writer(&mut bytes, description).unwrap_or_default();
    bytes
}

/// A message about a link that was removed. `next` is the number after its last one.
pub fn encode_last_state(origin: Origin, next: u64, description: &Description) -> Vec<u8> {
    let mut bytes = encode_state(origin, next, description);
    bytes[6..8].copy_from_slice(&EndCause::Removed.number().to_le_bytes());
    bytes
}

/// A message in the place of `lost` fragments from `first` on.
pub fn encode_gap(origin: Origin, first: u64, lost: u64, cause: GapCause) -> Vec<u8> {
    Header { kind: GAP, cause: cause.number(), origin, first, count: lost }.to_vec()
}

/// A message that says that nothing follows for now. `next` is the number of the next fragment, if there will be one.
pub fn encode_end(origin: Origin, next: u64, cause: EndCause) -> Vec<u8> {
    Header { kind: END, cause: cause.number(), origin, first: next, count: 0 }.to_vec()
}
