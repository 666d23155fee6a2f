//! Recordings of links: what `tango record` writes, and `tango info` and `tango replay` read. `docs/recording.md`
//! describes the format for people and for other programs.
//!
//! ```text
//! layout.rs   fragments as messages, facts about links as metadata of channels
//! event.rs    gaps, producer changes and the rest of the channel of events
//! block.rs    messages in memory, on their way from a thread that reads a link to the one that writes
//! tallies.rs  which fragments of which links a failed write has lost
//! source.rs   the thread that reads a link
//! gathering.rs several links at once, into one sink, up to the end of all: `tango capture` does the same
//! writer.rs   one MCAP file: records, chunks, index, end
//! output.rs   the files of a recording, one after the other
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

mod tallies;

mod source;

mod gathering;

mod writer;

mod output;

mod reader;

mod contents;

pub(crate) use block::{Block, Budget, Message, Tally};
pub(crate) use contents::{Contents, Recorded, missing_before};
pub(crate) use event::{Cause, Event, Kind};
pub(crate) use gathering::{Gathering, Options, Sink};
pub(crate) use layout::{LinkFacts, decode_fragment};
pub(crate) use output::{Limits, Naming, Output};
pub(crate) use reader::{Ending, Entry, read};
pub(crate) use source::Clock;
pub(crate) use tallies::Tallies;
pub(crate) use writer::Compression;
