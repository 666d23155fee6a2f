//! [`read`]: the records of an MCAP file in order, up to its end or to the first damage. Everything before the damage
//! is handed out, and nothing of a chunk whose checksum is wrong.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use mcap::records::{Channel, ChunkHeader, Record, op};

use super::block::{MESSAGE_HEAD, RECORD_HEAD};
use crate::failure::Failure;
use crate::format;

/// What is in a file.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    Channel(Channel),
    /// A chunk, before its messages: its compression, and the sizes of what is in it.
    Chunk {
        compression: &'a str,
        compressed: u64,
        uncompressed: u64,
    },
    Message {
        channel: u16,
        log_time: u64,
        data: &'a [u8],
    },
}

/// How a file ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In good order.
    Finished,
    /// Its recorder did not finish it. It is complete up to this offset, in bytes.
    Unfinished { at: u64, size: u64 },
    /// Something in it is wrong. It was read up to this offset, in bytes.
    Damaged { at: u64, what: String },
    /// The caller did not want more.
    Left,
}

impl Ending {
    /// Why the file is not what it should be. `fragments` were found in it.
    pub(crate) fn failure(&self, path: &Path, fragments: u64) -> Option<Failure> {
        let (path, found) = (path.display(), format::count(fragments));
        match self {
            Self::Finished | Self::Left => None,
            Self::Unfinished { at, size } => {
                let rest = match size - at {
                    0 => String::new(),
                    rest => format!(", and {rest} bytes after it are incomplete"),
                };
                Some(Failure::new(format!(
                    "{path} was not finished: it ends at byte {at}{rest}; its recorder still writes it, was killed, or could not write \
                     more, so fragments after these {found} may be missing"
                )))
            }
            Self::Damaged { at, what } => Some(Failure::new(format!(
                "{path} is damaged at byte {at}: {what}; {found} fragments before that were read"
            ))),
        }
    }
}

/// A damage, and where it is.
struct Damage {
    at: u64,
    what: String,
}

impl Damage {
    fn new(at: u64, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

/// Reads a file and hands `visit` each entry. An error of `visit` is a damage of the file.
///
/// # Errors
/// If the file cannot be read at all.
pub(crate) fn read(
    path: &Path,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<ControlFlow<()>, String>,
) -> Result<Ending, Failure> {
    let cannot_read = |error: io::Error| Failure::new(format!("cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(cannot_read)?;
    let metadata = file.metadata().map_err(cannot_read)?;
    if !metadata.is_file() {
        return Err(Failure::new(format!("cannot read {}: it is not a file", path.display())));
    }
    let mut reader = Reader {
        file: BufReader::with_capacity(1 << 20, file),
        size: metadata.len(),
        at: 0,
        body: Vec::new(),
        chunk: Vec::new(),
    };
    let ending = reader.read(visit).map_err(cannot_read)?;
    Ok(ending.unwrap_or_else(|Damage { at, what }| Ending::Damaged { at, what }))
}

struct Reader {
    file: BufReader<File>,
    /// The size of the file when it was opened. A recorder may still write to it.
    size: u64,
    /// How much was read.
    at: u64,
    /// The record that is read.
    body: Vec<u8>,
    /// What is in the chunk that is read.
    chunk: Vec<u8>,
}

type Visit<'a> = &'a mut dyn FnMut(Entry<'_>) -> Result<ControlFlow<()>, String>;

impl Reader {
    fn read(&mut self, visit: Visit<'_>) -> io::Result<Result<Ending, Damage>> {
        let mut magic = [0; 8];
        if self.size < magic.len() as u64 {
            return Ok(Err(Damage::new(0, "this is no MCAP file: it is too short")));
        }
        self.take(&mut magic)?;
        if magic != mcap::MAGIC {
            return Ok(Err(Damage::new(0, "this is no MCAP file: it does not begin as one")));
        }
        loop {
            let start = self.at;
            let unfinished = Ok(Ok(Ending::Unfinished { at: start, size: self.size }));
            if self.size - start < RECORD_HEAD as u64 {
                return unfinished;
            }
            let mut head = [0; RECORD_HEAD];
            self.take(&mut head)?;
            let [opcode, len @ ..] = head;
            let len = u64::from_le_bytes(len);
            if opcode == 0 {
                // A file system that lost what was written last can leave zeros.
                return Ok(Err(Damage::new(start, "there is no record of type 0")));
            }
            if len > self.size - self.at {
                return if is_plausible(opcode, len) {
                    unfinished
                } else {
                    let what = format!("a record of type {opcode} has {len} bytes, which cannot be");
                    Ok(Err(Damage::new(start, what)))
                };
            }
            let mut body = std::mem::take(&mut self.body);
            body.resize(len as usize, 0);
            self.take(&mut body)?;
            let visited = self.visit_record(start, opcode, &body, visit);
            self.body = body;
            match visited {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(ending)) => return Ok(Ok(ending)),
                Err(damage) => return Ok(Err(damage)),
            }
            if opcode == op::FOOTER {
                if self.size - self.at < magic.len() as u64 {
                    return Ok(Ok(Ending::Unfinished { at: self.at, size: self.size }));
                }
                let end = self.at;
                self.take(&mut magic)?;
                let is_end = magic == mcap::MAGIC && self.at == self.size;
                return Ok(if is_end {
                    Ok(Ending::Finished)
                } else {
                    Err(Damage::new(
                        end,
                        "there is something else after the footer than the end of an MCAP file",
                    ))
                });
            }
        }
    }

    fn take(&mut self, to: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(to)?;
        self.at += to.len() as u64;
        Ok(())
    }

    fn visit_record(
        &mut self,
        start: u64,
        opcode: u8,
        body: &[u8],
        visit: Visit<'_>,
    ) -> Result<ControlFlow<Ending>, Damage> {
        let wrong = |what: String| Damage::new(start, what);
        let flow = match opcode {
            op::CHUNK => {
                let (header, stored) = match mcap::parse_record(opcode, body) {
                    Ok(Record::Chunk { header, data }) => (header, data),
                    Ok(_) => return Err(wrong("a chunk is something else".into())),
                    Err(error) => return Err(wrong(format!("a chunk cannot be read: {error}"))),
                };
                let mut chunk = std::mem::take(&mut self.chunk);
                let visited = unpack(&header, &stored, &mut chunk).and_then(|()| {
                    let flow = visit(Entry::Chunk {
                        compression: &header.compression,
                        compressed: header.compressed_size,
                        uncompressed: header.uncompressed_size,
                    })?;
                    if flow.is_break() { Ok(flow) } else { visit_chunk(&chunk, visit) }
                });
                self.chunk = chunk;
                visited.map_err(wrong)?
            }
            op::CHANNEL | op::MESSAGE => visit_one(opcode, body, visit).map_err(wrong)?,
            _ => ControlFlow::Continue(()),
        };
        Ok(if flow.is_break() { ControlFlow::Break(Ending::Left) } else { ControlFlow::Continue(()) })
    }
}

/// Whether a record that is longer than the rest of the file may be one that was not finished. The limit is far above
/// what a chunk can have, whose largest message is one fragment.
fn is_plausible(opcode: u8, len: u64) -> bool {
    match opcode {
        op::FOOTER => len == 20,
        1..=op::DATA_END | 0x80.. => len <= 1 << 33,
        _ => false,
    }
}

/// Uncompresses a chunk and checks it.
fn unpack(header: &ChunkHeader, stored: &[u8], to: &mut Vec<u8>) -> Result<(), String> {
    let wrong = |error: io::Error| format!("a chunk cannot be uncompressed: {error}");
    to.clear();
    // One more byte than there should be, to notice what is too long. A wrong size takes no memory.
    let limit = header.uncompressed_size.saturating_add(1);
    match header.compression.as_str() {
        "" => {
            to.extend_from_slice(stored);
        }
        "lz4" => {
            let decoder = lz4::Decoder::new(stored).map_err(wrong)?;
            decoder.take(limit).read_to_end(to).map_err(wrong)?;
        }
        "zstd" => {
            let decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(wrong)?;
            decoder.take(limit).read_to_end(to).map_err(wrong)?;
        }
        other => {
            return Err(format!("a chunk is compressed with {other:?}, which this program does not know"));
        }
    }
    let (size, wanted) = (to.len() as u64, header.uncompressed_size);
    if size != wanted {
        return Err(format!("a chunk has another size than the {wanted} bytes that it should have"));
    }
    let (sum, wanted) = (crc32fast::hash(to), header.uncompressed_crc);
    // 0: there is none.
    if wanted != 0 && sum != wanted {
        return Err(format!("the checksum of a chunk is {sum:08x} instead of {wanted:08x}"));
    }
    Ok(())
}

/// Visits all records of a chunk.
fn visit_chunk(mut rest: &[u8], visit: Visit<'_>) -> Result<ControlFlow<()>, String> {
    while !rest.is_empty() {
        let record = rest.split_first_chunk::<RECORD_HEAD>().and_then(|([opcode, len @ ..], after)| {
            let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
            after.split_at_checked(len).map(|(body, after)| (*opcode, body, after))
        });
        let Some((opcode, body, after)) = record else {
            return Err("a record of a chunk is incomplete".into());
        };
        if visit_one(opcode, body, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        rest = after;
    }
    Ok(ControlFlow::Continue(()))
}

/// Visits a record, if it is a channel or a message.
fn visit_one(opcode: u8, body: &[u8], visit: Visit<'_>) -> Result<ControlFlow<()>, String> {
    match opcode {
        op::MESSAGE => {
            let Some((head, data)) = body.split_first_chunk::<MESSAGE_HEAD>() else {
                return Err(format!("a message of {} bytes is too short", body.len()));
            };
            let time = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
            let channel = u16::from_le_bytes([head[0], head[1]]);
            visit(Entry::Message { channel, log_time: time(6), data })
        }
        op::CHANNEL => match mcap::parse_record(opcode, body) {
            Ok(Record::Channel(channel)) => visit(Entry::Channel(channel)),
            Ok(_) => Err("a channel is something else".into()),
            Err(error) => Err(format!("a channel cannot be read: {error}")),
        },
        _ => Ok(ControlFlow::Continue(())),
    }
}
