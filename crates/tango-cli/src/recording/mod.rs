//! Recordings of links: what `tango record` writes, and `tango info` and `tango replay` read. `docs/recording.md`
//! describes the format for people and for other programs.
//!
//! ```text
//! layout.rs   fragments as messages, facts about links as metadata of channels
//! event.rs    gaps, producer changes and the rest of the channel of events
//! block.rs    messages in memory, on their way from a thread that reads a link to the one that writes
//! writer.rs   one MCAP file: records, chunks, index, end
//! output.rs   the files of a recording, one after the other, and what a failed write has lost
//! source.rs   the thread that reads a link
//! reader.rs   the records of a file in order, up to its end or to the first damage
//! contents.rs what a recording has, by reading all of it
//! ```
//!
//! Recording takes a thread for each link and the main thread, which compresses and writes. The memory of the blocks
//! between them is bounded. When it is used up, the readers of links wait: observers are then overrun, which the link
//! counts, and other consumers hold the producer back.

mod layout;

mod event;

mod block;

mod writer;

mod output;

mod source;

mod reader;

mod contents;

pub(crate) use block::Budget;
pub(crate) use contents::{Contents, Recorded};
pub(crate) use event::Event;
pub(crate) use layout::decode_fragment;
pub(crate) use output::{Limits, Naming, Output};
pub(crate) use reader::{Ending, Entry, read};
pub(crate) use source::{Clock, Control, End, Item, Settings, Source, Stopped};
pub(crate) use writer::Compression;
