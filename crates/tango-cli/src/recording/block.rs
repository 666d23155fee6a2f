//! [`Block`]: messages in memory, encoded as they lie in a chunk. [`Budget`]: how much memory all blocks may take.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;
use std::{array, iter, mem};

use rust_tango::FragmentMetadata;

use super::event::{self, Event};
use super::layout::{META, decode_fragment, encode_meta};

/// Memory of a block, unless one message needs more.
pub(super) const SIZE: usize = 1 << 20;
/// The opcode and the length of a record.
pub(super) const RECORD_HEAD: usize = 9;
/// Channel, sequence number and two times of a message.
pub(super) const MESSAGE_HEAD: usize = 22;
/// The opcode of a message.
pub(super) const MESSAGE: u8 = mcap::records::op::MESSAGE;

/// How many fragments of a link, and which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(super) fragments: u64,
    /// Their first and last number.
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Tally {
    /// Fragment `n`.
    pub(crate) fn one(n: u64) -> Self {
        Self { fragments: 1, first: n, last: n }
    }

    pub(super) fn add(&mut self, later: Self) {
        if later.fragments == 0 {
            return;
        }
        if self.fragments == 0 {
            self.first = later.first;
        }
        self.fragments += later.fragments;
        self.last = later.last;
    }
}

/// What is in a block, in the order in which it happened.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// A fragment, when it was read and when it was published, in nanoseconds since 1970. The two times are the same if
    /// nothing is known of the second.
    Fragment {
        meta: FragmentMetadata,
        payload: &'a [u8],
        log: u64,
        publish: u64,
    },
    Event(Event),
}

/// Messages of one link, and events about it.
#[derive(Debug)]
pub(crate) struct Block {
    /// The channel of the link.
    pub(crate) channel: u16,
    /// Records of messages, one after the other.
    pub(super) records: Vec<u8>,
    /// The fragments among them.
    pub(super) tally: Tally,
    /// When the first message was added.
    pub(super) begun: Instant,
    /// What the budget has given for it, in bytes.
    given: usize,
}

impl Block {
    /// Whether another payload of `size` bytes fits.
    pub(super) fn has_room(&self, size: usize) -> bool {
        self.records.capacity() - self.records.len() >= Self::need(size)
    }

    /// What a fragment with a payload of `size` bytes takes.
    pub(super) fn need(size: usize) -> usize {
        RECORD_HEAD + MESSAGE_HEAD + META + size
    }

    #[inline]
    pub(super) fn push_fragment(&mut self, meta: &FragmentMetadata, payload: &[u8], log: u64, publish: u64) {
        const HEAD: usize = RECORD_HEAD + MESSAGE_HEAD;
        let mut head = [0; HEAD + META];
        let (message, fragment) = head.split_at_mut(HEAD);
        message.copy_from_slice(&message_head(
            self.channel,
            meta.seq as u32,
            log,
            publish,
            META + payload.len(),
        ));
        fragment.copy_from_slice(&encode_meta(meta));
        self.records.extend_from_slice(&head);
        self.records.extend_from_slice(payload);
        self.tally.add(Tally::one(meta.seq));
    }

    pub(super) fn push_event(&mut self, event: &Event, at: u64) {
        let data = event.encode();
        let sequence = event.next.unwrap_or_default() as u32;
        self.records.extend_from_slice(&message_head(event::CHANNEL, sequence, at, at, data.len()));
        self.records.extend_from_slice(&data);
    }

    /// What was pushed.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let mut rest = self.records.as_slice();
        iter::from_fn(move || {
            let (head, _) = rest.split_first_chunk::<{ RECORD_HEAD + MESSAGE_HEAD }>()?;
            let word = |at: usize| u64::from_le_bytes(array::from_fn(|byte| head[at + byte]));
            let (record, after) = rest.split_at_checked(RECORD_HEAD + word(1) as usize)?;
            rest = after;
            let data = record.get(head.len()..)?;
            if u16::from_le_bytes([head[9], head[10]]) == event::CHANNEL {
                return Event::decode(data).ok().map(Message::Event);
            }
            let (meta, payload) = decode_fragment(data).ok()?;
            Some(Message::Fragment { meta, payload, log: word(15), publish: word(23) })
        })
    }
}

/// What precedes the data of a message.
#[inline]
fn message_head(
    channel: u16,
    sequence: u32,
    log: u64,
    publish: u64,
    data: usize,
) -> [u8; RECORD_HEAD + MESSAGE_HEAD] {
    let mut head = [0; RECORD_HEAD + MESSAGE_HEAD];
    head[0] = MESSAGE;
    head[1..9].copy_from_slice(&((MESSAGE_HEAD + data) as u64).to_le_bytes());
    head[9..11].copy_from_slice(&channel.to_le_bytes());
    head[11..15].copy_from_slice(&sequence.to_le_bytes());
    head[15..23].copy_from_slice(&log.to_le_bytes());
    head[23..].copy_from_slice(&publish.to_le_bytes());
    head
}

/// The memory of all blocks. Readers of links take from it, and the thread that writes gives back.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// Memory of the usual size, for the next blocks.
    spare: Vec<Vec<u8>>,
}

impl Budget {
    /// `limit` is in bytes. One block is always given, whatever its size.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), given_back: Condvar::new() }
    }

    /// Memory for messages of a channel, with room for one of `need` bytes at least. Waits until there is some.
    pub(super) fn take(&self, channel: u16, need: usize) -> Block {
        let given = need.max(SIZE);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |state: &mut State| state.used > 0 && state.used + given > self.limit;
        let waited = self.given_back.wait_while(state, is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.used += given;
        let spare = if given == SIZE { state.spare.pop() } else { None };
        drop(state);
        let records = spare.unwrap_or_else(|| Vec::with_capacity(given));
        Block { channel, records, tally: Tally::default(), begun: Instant::now(), given }
    }

    /// Gives the memory of a block back.
    pub(crate) fn give_back(&self, block: &mut Block) {
        let mut records = mem::take(&mut block.records);
        records.clear();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.used -= mem::take(&mut block.given);
        if records.capacity() == SIZE {
            state.spare.push(records);
        }
        drop(state);
        self.given_back.notify_all();
    }
}
