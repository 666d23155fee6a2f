//! [`Batch`]: fragments on their way into one network message.

use rust_tango::{Control, FragmentMetadata};

use super::header::{FRAGMENTS, HEADER, Header, Origin, RECORD};

/// Fragments that follow each other, encoded one after the other.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    header: Header,
    /// Where the message of which the last fragments are a part begins, if it is not whole: its byte and its fragment.
    open: Option<(usize, u64)>,
}

impl Batch {
    /// An empty batch that begins with fragment `first`. `capacity` is the expected size, in bytes.
    pub fn new(origin: Origin, first: u64, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity.max(HEADER));
        bytes.resize(HEADER, 0);
        let header = Header { kind: FRAGMENTS, cause: 0, origin, first, count: 0 };
        Self { bytes, header, open: None }
    }

    /// The number of the fragment that it takes next.
    pub fn next(&self) -> u64 {
        self.header.first.wrapping_add(self.header.count)
    }

    /// The number of its first fragment.
    pub fn first(&self) -> u64 {
        self.header.first
    }

    /// How many fragments it has.
    pub fn count(&self) -> u64 {
        self.header.count
    }

    /// Whether it has no fragments.
    pub fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// How many bytes it will have.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many of them are payload.
    pub fn payload(&self) -> u64 {
        (self.bytes.len() - HEADER) as u64 - self.header.count * RECORD as u64
    }

    /// Whether the last message in it has not ended: more fragments of it follow. See [`Control`].
    pub fn is_within_message(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a message in it has ended, so that [`Self::split_open`] would leave something.
    pub fn has_whole_messages(&self) -> bool {
        self.open.map_or(self.header.count, |(_, fragment)| fragment) != 0
    }

    /// Appends the next fragment.
    ///
    /// # Panics
    /// If `meta.seq` is not [`Self::next`].
    pub fn push(&mut self, meta: &FragmentMetadata, payload: &[u8]) {
        assert_eq!(meta.seq, self.next(), "fragments of a batch follow each other");
        let control = Control::from_bits(meta.ctl);
        if !control.continues() {
            self.open = Some((self.bytes.len(), self.header.count));
        }
        self.bytes.extend_from_slice(&meta.sig.to_le_bytes());
        self.bytes.extend_from_slice(&meta.ts.to_le_bytes());
        self.bytes.extend_from_slice(&meta.ctl.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 2]);
        // A payload is never longer than an MTU, which is less than 2^32.
        self.bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(payload);
        self.header.count += 1;
        if !control.more() {
            self.open = None;
        }
    }

    /// The network message.
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(to) = self.bytes.first_chunk_mut() {
            self.header.write(to);
        }
        self.bytes
    }

    /// How many bytes a fragment takes.
    pub fn bytes_of(payload: usize) -> usize {
        RECORD + payload
    }

    /// Takes the fragments of a message that has not ended out of the batch, into the next one: a message is in one network
    /// message, if it fits. `None` if there are none, or if nothing would be left.
    pub fn split_open(&mut self) -> Option<Self> {
        let (byte, fragment) = self.open.filter(|(_, fragment)| *fragment != 0)?;
        let first = self.header.first.wrapping_add(fragment);
        let mut rest = Self::new(self.header.origin, first, self.bytes.capacity());
        rest.bytes.extend_from_slice(&self.bytes[byte..]);
        rest.header.count = self.header.count - fragment;
        rest.open = Some((HEADER, 0));
        self.bytes.truncate(byte);
        self.header.count = fragment;
        self.open = None;
        Some(rest)
    }
}
