//! [`Contents`]: what a recording has, found by reading all of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::event::{Event, Kind};
use super::layout::{LinkFacts, decode_fragment};
use super::reader::{Ending, Entry, read};
use crate::failure::Failure;

/// One link in a recording. A link that was made anew meanwhile is another one.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) facts: LinkFacts,
    pub(crate) fragments: u64,
    /// Bytes of payload.
    pub(crate) bytes: u64,
    /// Number and time of the first fragment and of the last one.
    pub(crate) first: Option<(u64, u64)>,
    pub(crate) last: Option<(u64, u64)>,
    /// Fragments that are missing, as its events say.
    pub(crate) lost: u64,
    pub(crate) gaps: u64,
    /// The number that comes after those before, as a replay has them.
    next: Option<u64>,
    /// The number that comes after the last one, as the last event of the link says.
    pub(crate) end: Option<u64>,
    /// How often numbers are missing before a fragment or the end, how many in all, and the number before the first gap.
    pub(crate) steps: u64,
    pub(crate) skipped: u64,
    pub(crate) first_step: Option<u64>,
    /// The largest of these steps: how many numbers are missing, and the number after them.
    pub(crate) largest_step: (u64, u64),
    /// What happened to it, but for gaps, with the time in nanoseconds since 1970.
    pub(crate) changes: Vec<(u64, Event)>,
}

/// How many numbers from `expected` on are missing before `number`. Numbers wrap. They go back only in a file that is
/// damaged, and then none is missing.
pub(crate) fn missing_before(number: u64, expected: u64) -> u64 {
    number.wrapping_sub(expected).cast_signed().max(0).cast_unsigned()
}

impl Recorded {
    /// The next fragment, or the end of the link, has this number.
    fn note_number(&mut self, number: u64) {
        let Some(expected) = self.next else { return };
        let missing = missing_before(number, expected);
        if missing > 0 {
            self.steps += 1;
            self.skipped = self.skipped.saturating_add(missing);
            self.first_step.get_or_insert(expected.wrapping_sub(1));
            self.largest_step = self.largest_step.max((missing, number));
        }
        self.next = Some(expected.wrapping_add(missing));
    }
}

/// What a recording has.
#[derive(Debug)]
pub(crate) struct Contents {
    /// By channel.
    pub(crate) links: BTreeMap<u16, Recorded>,
    /// How often each compression is used. The empty name is none.
    pub(crate) chunks: BTreeMap<String, u64>,
    /// Bytes of all chunks, as they lie in the file and without compression.
    pub(crate) compressed: u64,
    pub(crate) uncompressed: u64,
    /// The time of the first fragment of any link.
    pub(crate) begin: Option<u64>,
    pub(crate) ending: Ending,
}

impl Contents {
    /// Reads a recording. Damage is no error, but the [`Ending`].
    ///
    /// # Errors
    /// If the file cannot be read at all.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        Self::of_part(path, &|_, _| true)
    }

    /// The same of the fragments that `is_wanted` accepts, by number and time. A link ends with the last number that it
    /// accepts.
    pub(crate) fn of_part(path: &Path, is_wanted: &dyn Fn(u64, u64) -> bool) -> Result<Self, Failure> {
        let mut contents = Self {
            links: BTreeMap::new(),
            chunks: BTreeMap::new(),
            compressed: 0,
            uncompressed: 0,
            begin: None,
            ending: Ending::Finished,
        };
        let mut events = None;
        let ending = read(path, &mut |entry| {
            match entry {
                Entry::Channel(channel) if channel.topic == super::event::TOPIC => events = Some(channel.id),
                Entry::Channel(channel) => contents.add_channel(&channel)?,
                Entry::Chunk { compression, compressed, uncompressed } => {
                    *contents.chunks.entry(compression.to_owned()).or_default() += 1;
                    contents.compressed += compressed;
                    contents.uncompressed += uncompressed;
                }
                Entry::Message { channel, log_time, data, .. } if Some(channel) == events => {
                    contents.add_event(log_time, Event::decode(data)?, is_wanted);
                }
                Entry::Message { channel, log_time, data, .. } => {
                    contents.add_message(channel, log_time, data, is_wanted)?;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        contents.ending = ending;
        for link in contents.links.values_mut() {
            link.end.into_iter().for_each(|end| link.note_number(end));
        }
        Ok(contents)
    }

    /// All fragments.
    pub(crate) fn fragments(&self) -> u64 {
        self.links.values().map(|link| link.fragments).sum()
    }

    fn add_channel(&mut self, channel: &mcap::records::Channel) -> Result<(), String> {
        if let Some(facts) = LinkFacts::of_channel(channel)? {
            self.links.entry(channel.id).or_insert_with(|| Recorded {
                facts,
                fragments: 0,
                bytes: 0,
                first: None,
                last: None,
                lost: 0,
                gaps: 0,
                next: None,
                end: None,
                steps: 0,
                skipped: 0,
                first_step: None,
                largest_step: (0, 0),
                changes: Vec::new(),
            });
        }
        Ok(())
    }

    fn add_event(&mut self, time: u64, event: Event, is_wanted: &dyn Fn(u64, u64) -> bool) {
        let Some(link) = self.links.get_mut(&event.channel) else { return };
        link.end = event.next.filter(|next| is_wanted(next.wrapping_sub(1), time)).or(link.end);
        if event.event == Kind::Gap {
            link.gaps += 1;
            link.lost = link.lost.saturating_add(event.lost.unwrap_or_default());
        } else {
            link.changes.push((time, event));
        }
    }

    fn add_message(
        &mut self,
        channel: u16,
        time: u64,
        data: &[u8],
        is_wanted: &dyn Fn(u64, u64) -> bool,
    ) -> Result<(), String> {
        // Of another program.
        let Some(link) = self.links.get_mut(&channel) else { return Ok(()) };
        let (meta, payload) = decode_fragment(data)?;
        if !is_wanted(meta.seq, time) {
            return Ok(());
        }
        link.fragments += 1;
        link.bytes += payload.len() as u64;
        link.next = link.next.or(Some(meta.seq));
        link.note_number(meta.seq);
        link.next = link.next.map(|next| next.wrapping_add(1));
        link.first.get_or_insert((meta.seq, time));
        link.last = Some((meta.seq, time));
        self.begin = Some(self.begin.map_or(time, |begin| begin.min(time)));
        Ok(())
    }
}
