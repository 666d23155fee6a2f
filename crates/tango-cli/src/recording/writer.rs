//! [`McapFile`]: one MCAP file that is written from its start to its end, without seeking.
//!
//! ```text
//! magic, Header, Schemas, Metadata
//! Channel ...                          each before its first message
//! Chunk, MessageIndex ...              what `write_chunk` makes of messages
//! DataEnd
//! Schemas, Channels, Statistics, ChunkIndexes, MetadataIndex, SummaryOffsets, Footer, magic
//! ```
//!
//! A file without its end is readable up to the last complete chunk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Write};

use binrw::BinWrite;
use mcap::records::{self, op};

use super::block::{MESSAGE, RECORD_HEAD};
use super::event;
use super::layout::{FRAGMENT_SCHEMA, recording_facts};

/// The schemas of every file, by their numbers.
pub(super) const FRAGMENTS: u16 = 1;
const EVENTS: u16 = 2;

/// How chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compression {
    None,
    Lz4,
    Zstd,
}

impl Compression {
    /// Its name in an MCAP file.
    fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// An MCAP file in the making.
pub(super) struct McapFile {
    file: File,
    /// How many bytes were written.
    len: u64,
    /// How many of them are complete: the file is readable up to there.
    complete: u64,
    compression: Compression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    /// The compressed chunk.
    compressed: Vec<u8>,
    /// Small records.
    scratch: Vec<u8>,
    channels: Vec<records::Channel>,
    chunks: Vec<records::ChunkIndex>,
    metadata: records::MetadataIndex,
    counts: BTreeMap<u16, u64>,
    /// The first and the last time of all messages.
    times: Option<(u64, u64)>,
}

impl McapFile {
    /// Begins a file. `started` is when the recording began, and `part` the number of the file in it.
    pub(super) fn begin(file: File, compression: Compression, started: u64, part: u32) -> io::Result<Self> {
        let zstd = (compression == Compression::Zstd).then(|| zstd::bulk::Compressor::new(1)).transpose()?;
        let name = "tango.recording".to_owned();
        let mut this = Self {
            file,
            len: 0,
            complete: 0,
            compression,
            zstd,
            compressed: Vec::new(),
            scratch: Vec::new(),
            channels: Vec::new(),
            chunks: Vec::new(),
            metadata: records::MetadataIndex { offset: 0, length: 0, name: name.clone() },
            counts: BTreeMap::new(),
            times: None,
        };
        let mut start = mcap::MAGIC.to_vec();
        let library = concat!("tango-cli ", env!("CARGO_PKG_VERSION")).to_owned();
        record(&mut start, op::HEADER, &records::Header { profile: "tango".to_owned(), library })?;
        schemas(&mut start)?;
        this.metadata.offset = start.len() as u64;
        record(
            &mut start,
            op::METADATA,
            &records::Metadata { name, metadata: recording_facts(started, part) },
        )?;
        this.metadata.length = start.len() as u64 - this.metadata.offset;
        this.write(&start)?;
        this.add_channel(records::Channel {
            id: event::CHANNEL,
            schema_id: EVENTS,
            topic: event::TOPIC.to_owned(),
            message_encoding: "json".to_owned(),
            metadata: BTreeMap::new(),
        })?;
        Ok(this)
    }

    /// How many bytes the file has.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many of them can be read whatever comes after them.
    pub(super) fn complete(&self) -> u64 {
        self.complete
    }

    pub(super) fn add_channel(&mut self, channel: records::Channel) -> io::Result<()> {
        let mut bytes = Vec::new();
        record(&mut bytes, op::CHANNEL, &channel)?;
        self.counts.entry(channel.id).or_default();
        self.channels.push(channel);
        self.write(&bytes)?;
        self.complete = self.len;
        Ok(())
    }

    /// Writes messages as a chunk, and its index. `messages` are records of messages of known channels.
    pub(super) fn write_chunk(&mut self, messages: &[u8]) -> io::Result<()> {
        let (indexes, times) = index(messages);
        let Some((first, last)) = times else { return Ok(()) };
        let compressed = self.compress(messages)?;
        let stored: &[u8] = if self.compression == Compression::None { messages } else { &compressed };
        let (start, name) = (self.len, self.compression.name());
        let mut head = Vec::with_capacity(64);
        head.push(op::CHUNK);
        head.extend_from_slice(&(40 + name.len() as u64 + stored.len() as u64).to_le_bytes());
        head.extend_from_slice(&first.to_le_bytes());
        head.extend_from_slice(&last.to_le_bytes());
        head.extend_from_slice(&(messages.len() as u64).to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(messages).to_le_bytes());
        head.extend_from_slice(&(name.len() as u32).to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(&(stored.len() as u64).to_le_bytes());
        self.write(&head)?;
        self.write(stored)?;
        let (compressed_size, end) = (stored.len() as u64, self.len);
        self.compressed = compressed;
        // The chunk can be read without its index.
        self.complete = end;
        let mut after = std::mem::take(&mut self.scratch);
        after.clear();
        let mut offsets = BTreeMap::new();
        for Index { channel, entries } in &indexes {
            offsets.insert(*channel, end + after.len() as u64);
            after.push(op::MESSAGE_INDEX);
            after.extend_from_slice(&(6 + entries.len() as u64).to_le_bytes());
            after.extend_from_slice(&channel.to_le_bytes());
            after.extend_from_slice(&(entries.len() as u32).to_le_bytes());
            after.extend_from_slice(entries);
            *self.counts.entry(*channel).or_default() += entries.len() as u64 / 16;
        }
        self.write(&after)?;
        self.scratch = after;
        self.complete = self.len;
        self.times = Some(self.times.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
        self.chunks.push(records::ChunkIndex {
            message_start_time: first,
            message_end_time: last,
            chunk_start_offset: start,
            chunk_length: end - start,
            message_index_offsets: offsets,
            message_index_length: self.len - end,
            compression: name.to_owned(),
            compressed_size,
            uncompressed_size: messages.len() as u64,
        });
        Ok(())
    }

    /// The messages in the compression of the file. Empty if there is none.
    fn compress(&mut self, messages: &[u8]) -> io::Result<Vec<u8>> {
        let mut to = std::mem::take(&mut self.compressed);
        to.clear();
        match self.compression {
            Compression::None => {}
            Compression::Lz4 => {
                // The chunk has a checksum of its own.
                let mut encoder = lz4::EncoderBuilder::new()
                    .block_size(lz4::BlockSize::Max4MB)
                    .block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum)
                    .checksum(lz4::ContentChecksum::NoChecksum)
                    .build(to)?;
                encoder.write_all(messages)?;
                let (filled, result) = encoder.finish();
                result?;
                to = filled;
            }
            Compression::Zstd => {
                to.resize(zstd::zstd_safe::compress_bound(messages.len()), 0);
                let len = match &mut self.zstd {
                    Some(zstd) => zstd.compress_to_buffer(messages, &mut to[..])?,
                    None => 0,
                };
                to.truncate(len);
            }
        }
        Ok(to)
    }

    /// Writes the end of the file, and waits until the disk has all of it.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let mut end = Vec::new();
        record(&mut end, op::DATA_END, &records::DataEnd { data_section_crc: 0 })?;
        let summary = end.len();
        let at = |end: &Vec<u8>| self.len + end.len() as u64;
        let mut groups = Vec::new();
        let mut group = |opcode, start: u64, end: &Vec<u8>| {
            let group_length = at(end) - start;
            if group_length > 0 {
                groups.push(records::SummaryOffset {
                    group_opcode: opcode,
                    group_start: start,
                    group_length,
                });
            }
        };
        let start = at(&end);
        schemas(&mut end)?;
        group(op::SCHEMA, start, &end);
        let start = at(&end);
        for channel in &self.channels {
            record(&mut end, op::CHANNEL, channel)?;
        }
        group(op::CHANNEL, start, &end);
        let start = at(&end);
        record(&mut end, op::STATISTICS, &self.statistics())?;
        group(op::STATISTICS, start, &end);
        let start = at(&end);
        for chunk in &self.chunks {
            record(&mut end, op::CHUNK_INDEX, chunk)?;
        }
        group(op::CHUNK_INDEX, start, &end);
        let start = at(&end);
        record(&mut end, op::METADATA_INDEX, &self.metadata)?;
        group(op::METADATA_INDEX, start, &end);
        let offsets = at(&end);
        for group in &groups {
            record(&mut end, op::SUMMARY_OFFSET, group)?;
        }
        end.push(op::FOOTER);
        end.extend_from_slice(&20_u64.to_le_bytes());
        end.extend_from_slice(&(self.len + summary as u64).to_le_bytes());
        end.extend_from_slice(&offsets.to_le_bytes());
        let checksum = crc32fast::hash(&end[summary..]);
        end.extend_from_slice(&checksum.to_le_bytes());
        end.extend_from_slice(mcap::MAGIC);
        if let Err(error) = self.write(&end) {
            self.cut();
            return Err(error);
        }
        self.sync()?;
        Ok(self.len)
    }

    fn statistics(&self) -> records::Statistics {
        let (message_start_time, message_end_time) = self.times.unwrap_or_default();
        records::Statistics {
            message_count: self.counts.values().sum(),
            schema_count: 2,
            channel_count: self.channels.len() as u32,
            attachment_count: 0,
            metadata_count: 1,
            chunk_count: self.chunks.len() as u32,
            message_start_time,
            message_end_time,
            channel_message_counts: self.counts.clone(),
        }
    }

    /// After a failed write, removes what is incomplete at the end. Some of it could not be read.
    pub(super) fn cut(&mut self) {
        // If it fails, what is incomplete stays, and readers ignore it.
        let _ = self.file.set_len(self.complete);
    }

    /// Waits until the disk has everything. Only then can a full disk or a bad one have been noticed.
    fn sync(&self) -> io::Result<()> {
        match self.file.sync_data() {
            // Not a file on a disk.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The entries of one channel in the index of a chunk: time and offset of each message.
struct Index {
    channel: u16,
    entries: Vec<u8>,
}

/// The indexes of a chunk with these messages, and their first and last time.
fn index(messages: &[u8]) -> (Vec<Index>, Option<(u64, u64)>) {
    let mut indexes: Vec<Index> = Vec::new();
    let (mut at, mut latest) = (0, 0);
    let mut times: Option<(u64, u64)> = None;
    while let Some(head) = messages[at..].first_chunk::<23>() {
        debug_assert_eq!(head[0], MESSAGE);
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let (channel, time) = (u16::from_le_bytes([head[9], head[10]]), word(15));
        if indexes.get(latest).is_none_or(|index| index.channel != channel) {
            latest = indexes.iter().position(|index| index.channel == channel).unwrap_or_else(|| {
                indexes.push(Index { channel, entries: Vec::new() });
                indexes.len() - 1
            });
        }
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&time.to_le_bytes());
        entry[8..].copy_from_slice(&(at as u64).to_le_bytes());
        indexes[latest].entries.extend_from_slice(&entry);
        times = Some(times.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        at += RECORD_HEAD + word(1) as usize;
    }
    indexes.sort_unstable_by_key(|index| index.channel);
    (indexes, times)
}

fn schemas(to: &mut Vec<u8>) -> io::Result<()> {
    for (id, name, encoding, data) in
        [(FRAGMENTS, FRAGMENT_SCHEMA, "", ""), (EVENTS, event::SCHEMA, "jsonschema", event::SCHEMA_TEXT)]
    {
        let header = records::SchemaHeader { id, name: name.to_owned(), encoding: encoding.to_owned() };
        let mut body = Cursor::new(Vec::new());
        header.write_le(&mut body).map_err(io::Error::other)?;
        let mut body = body.into_inner();
        body.extend_from_slice(&(data.len() as u32).to_le_bytes());
        body.extend_from_slice(data.as_bytes());
        to.push(op::SCHEMA);
        to.extend_from_slice(&(body.len() as u64).to_le_bytes());
        to.extend_from_slice(&body);
    }
    Ok(())
}

/// Appends a record.
fn record<T>(to: &mut Vec<u8>, opcode: u8, content: &T) -> io::Result<()>
where
    T: for<'a> BinWrite<Args<'a> = ()>,
{
    let mut body = Cursor::new(Vec::new());
    content.write_le(&mut body).map_err(io::Error::other)?;
    let body = body.into_inner();
    to.push(opcode);
    to.extend_from_slice(&(body.len() as u64).to_le_bytes());
    to.extend_from_slice(&body);
    Ok(())
}
