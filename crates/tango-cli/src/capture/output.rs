//! [`Output`]: what was read of links, as a pcapng file or stream.

use std::env::consts::ARCH;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::PathBuf;
use std::time::Duration;

use rust_tango::FragmentMetadata;

use super::packet::{self, HEADER, Notes};
use super::pcapng::{self, Counts};
use crate::failure::Failure;
use crate::recording::{Block, Budget, Cause, Clock, Event, Kind, LinkFacts, Message, Sink, Tallies, Tally};
use crate::{format, standard};

/// Of the events between two fragments, so many are written. More come only if producers die without publishing.
const MOST_COMMENTS: usize = 64;

/// Where the bytes go.
#[derive(Debug)]
pub(super) enum Target {
    File(File, PathBuf),
    Standard(standard::Output),
}

impl Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file, _) => file.write(bytes),
            Self::Standard(output) => output.write(bytes),
        }
    }

    /// Removes what is incomplete at the end, after `len` bytes. A stream keeps it.
    fn cut(&mut self, len: u64) {
        if let Self::File(file, _) = self {
            // If it fails, readers ignore what is incomplete.
            let _ = file.set_len(len);
        }
    }

    /// Waits until the disk has everything. Only then can a full disk or a bad one have been noticed.
    fn sync(&self) -> io::Result<()> {
        match self {
            Self::File(file, _) => match file.sync_data() {
                // Not a file on a disk.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                result => result,
            },
            Self::Standard(_) => Ok(()),
        }
    }

    /// Whether a stream has no reader any more.
    fn is_closed(&self) -> io::Result<bool> {
        match self {
            Self::File(..) => Ok(false),
            Self::Standard(_) => standard::output_is_closed_within(Duration::ZERO),
        }
    }

    fn failure(&self, error: io::Error, losses: &str) -> Failure {
        match self {
            Self::File(_, path) => {
                Failure::new(format!("cannot write {}: {error}; {losses}", path.display()))
            }
            Self::Standard(_) => Failure::output(error),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::File(_, path) => path.display().to_string(),
            Self::Standard(_) => "standard output".to_owned(),
        }
    }
}

/// A link. Its place in the list is its number in the file.
struct Interface {
    channel: u16,
    name: String,
    counts: Counts,
    /// What has happened since the last fragment.
    comments: Vec<String>,
    /// How many events are not among them.
    left_out: u64,
    lost: u64,
    has_new_producer: bool,
}

/// A capture that is being written.
pub(super) struct Output {
    to: Target,
    clock: Clock,
    /// Whether the `ts` of fragments says when they were published.
    ts_is_ns: bool,
    /// How many bytes of each payload are kept.
    snaplen: usize,
    interfaces: Vec<Interface>,
    /// Blocks of the file that are not written yet.
    buffer: Vec<u8>,
    /// How many bytes were written, and how many packets.
    len: u64,
    written: u64,
    failure: Option<io::Error>,
    /// Fragments that were read and could not be written, after a failure.
    unwritten: Tallies,
}

impl Output {
    /// Writes the beginning of the file, so that a program that reads a stream of it can start.
    pub(super) fn begin(to: Target, clock: Clock, ts_is_ns: bool, snaplen: usize) -> Result<Self, Failure> {
        let mut this = Self {
            to,
            clock,
            ts_is_ns,
            snaplen,
            interfaces: Vec::new(),
            buffer: Vec::new(),
            len: 0,
            written: 0,
            failure: None,
            unwritten: Tallies::default(),
        };
        let comment = "Packets are fragments of links of rust-tango: a header of version 1 (docs/wireshark), then the payload. \
             Times are when they were read: CLOCK_REALTIME when the capture began, and the time since by CLOCK_MONOTONIC.";
        let program = concat!("tango-cli ", env!("CARGO_PKG_VERSION"));
        pcapng::section(&mut this.buffer, ARCH, program, comment.to_owned());
        this.flush();
        match this.failure.take() {
            None => Ok(this),
            Some(error) => Err(this.to.failure(error, "nothing is captured")),
        }
    }

    /// Writes the buffer. After a failure, what is incomplete is removed, if that is possible.
    fn flush(&mut self) {
        let mut at = 0;
        while at < self.buffer.len() && self.failure.is_none() {
            match self.to.write(&self.buffer[at..]) {
                Ok(0) => self.failure = Some(io::ErrorKind::WriteZero.into()),
                Ok(written) => at += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.failure = Some(error),
            }
        }
        let (complete, packets) = pcapng::complete(&self.buffer[..at]);
        self.len += complete as u64;
        self.written += packets;
        if self.failure.is_some() {
            self.to.cut(self.len);
        }
        self.buffer.clear();
    }
}

impl Interface {
    fn note(&mut self, event: &Event) {
        if event.event == Kind::Gap {
            self.lost = self.lost.saturating_add(event.lost.unwrap_or(0));
        }
        self.has_new_producer |= matches!(event.event, Kind::ProducerReplaced | Kind::ProducerAttached);
        match comment(event) {
            None => {}
            Some(comment) if self.comments.len() < MOST_COMMENTS => self.comments.push(comment),
            Some(_) => self.left_out += 1,
        }
    }

    /// What is to be said before the next fragment, or at the end.
    fn take_comments(&mut self) -> Vec<String> {
        let mut comments = mem::take(&mut self.comments);
        match mem::take(&mut self.left_out) {
            0 => {}
            more => comments.push(format!("{} more events", format::count(more))),
        }
        comments
    }

    fn take_notes(&mut self, time: Option<u64>) -> Notes {
        let lost = mem::take(&mut self.lost);
        self.counts.lost = self.counts.lost.saturating_add(lost);
        Notes { time, lost, is_of_new_producer: mem::take(&mut self.has_new_producer) }
    }
}

/// An event in words. `None`: it is not worth any.
fn comment(event: &Event) -> Option<String> {
    let number = |number: Option<u64>| number.unwrap_or_default();
    Some(match event.event {
        Kind::Joined | Kind::Unknown => return None,
        Kind::Gap => {
            let why = match event.cause {
                Some(Cause::Late) => "overwritten before the capture joined",
                Some(Cause::Overrun) => "the capture was too slow, or the numbers were left out",
                Some(Cause::Evicted) => "the producer did not wait longer",
                Some(Cause::Corrupt) => "the metadata was wrong",
                Some(Cause::Unknown) | None => "unknown cause",
            };
            let (first, last) = (number(event.first), number(event.last));
            format!("{} fragments lost ({why}): {first} to {last}", format::count(number(event.lost)))
        }
        Kind::ProducerGone => format!("the producer died: {} would have been the next", number(event.next)),
        Kind::ProducerReplaced => {
            format!("another producer took over from one that died, with fragment {}", number(event.first))
        }
        Kind::ProducerAttached => {
            format!("another producer attached: {} is the next fragment", number(event.next))
        }
        Kind::Closed => {
            format!("the producer closed the link: {} would have been the next", number(event.next))
        }
        Kind::Stopped => {
            format!("the link has ended for good: {} would have been the next", number(event.next))
        }
        Kind::Left => format!("the capture ended, and the link went on with {}", number(event.next)),
    })
}

/// What is to know of a link.
fn description(facts: &LinkFacts) -> String {
    let geometry = facts.geometry;
    let of = facts.payload_type.as_ref();
    let payload = of.map_or(String::new(), |of| {
        format!(", payloads are {} ({} bytes, aligned to {})", of.name(), of.size(), of.align())
    });
    let generation = match facts.generation {
        1 => String::new(),
        number => format!(", link number {number} of this name"),
    };
    format!(
        "tango link: depth {}, MTU {}, consumer slots {}{payload}{generation}",
        geometry.depth, geometry.mtu, geometry.consumers
    )
}

impl Sink for Output {
    fn add_link(&mut self, channel: u16, facts: &LinkFacts) {
        pcapng::interface(&mut self.buffer, &facts.name, &description(facts), HEADER + self.snaplen);
        self.interfaces.push(Interface {
            channel,
            name: facts.name.clone(),
            counts: Counts::default(),
            comments: Vec::new(),
            left_out: 0,
            lost: 0,
            has_new_producer: false,
        });
        self.flush();
    }

    fn add_block(&mut self, mut block: Block, budget: &Budget) {
        let found = self.interfaces.iter_mut().enumerate().find(|(_, link)| link.channel == block.channel);
        let Some((number, link)) = found else { return budget.give_back(&mut block) };
        for message in block.messages() {
            match message {
                Message::Event(event) => link.note(&event),
                Message::Fragment { meta, payload, log, publish } => {
                    let kept = &payload[..payload.len().min(self.snaplen)];
                    let is_known = self.ts_is_ns && meta.ts != 0;
                    let notes = link.take_notes(is_known.then_some(publish));
                    let comments = link.take_comments();
                    let (first, _) = link.counts.times.unwrap_or((log, log));
                    link.counts.times = Some((first, log));
                    link.counts.packets += 1;
                    append(&mut self.buffer, number, log, (&meta, kept), notes, &comments);
                }
            }
        }
        let before = self.written;
        self.flush();
        if self.failure.is_some() {
            let link = &self.interfaces[number].name;
            let fragments = block.messages().filter_map(|message| match message {
                Message::Fragment { meta, .. } => Some(Tally::one(meta.seq)),
                Message::Event(_) => None,
            });
            let written = (self.written - before) as usize;
            fragments.skip(written).for_each(|tally| self.unwritten.add(link, tally));
        }
        budget.give_back(&mut block);
    }

    fn idle_time(&self) -> Option<Duration> {
        None
    }

    /// Notices that nobody reads the stream any more, also while no fragment comes.
    fn keep_up(&mut self) {
        if self.failure.is_none() {
            match self.to.is_closed() {
                Ok(false) => {}
                Ok(true) => self.failure = Some(io::ErrorKind::BrokenPipe.into()),
                Err(error) => self.failure = Some(error),
            }
        }
    }

    fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    fn finish(mut self) -> Result<String, Failure> {
        if self.failure.is_none() {
            let now = self.clock.now();
            for (number, link) in self.interfaces.iter_mut().enumerate() {
                let comments = link.take_comments();
                link.take_notes(None);
                pcapng::statistics(&mut self.buffer, number as u32, now, link.counts, &comments);
            }
            self.flush();
        }
        let synced = self.to.sync();
        if let Some(error) = self.failure.take().or(synced.err()) {
            let losses = self.unwritten.losses(self.written);
            return Err(self.to.failure(error, &losses));
        }
        let (packets, bytes) = (format::count(self.written), format::bytes(self.len as f64));
        Ok(format!("captured {packets} fragments ({bytes}) in {}\n", self.to.name()))
    }
}

#[inline]
fn append(
    to: &mut Vec<u8>,
    number: usize,
    time: u64,
    (meta, kept): (&FragmentMetadata, &[u8]),
    notes: Notes,
    comments: &[String],
) {
    let header = packet::header(meta, notes);
    let cut = (meta.size as usize).saturating_sub(kept.len());
    pcapng::packet(to, number as u32, time, (&header, kept), cut, comments);
}
