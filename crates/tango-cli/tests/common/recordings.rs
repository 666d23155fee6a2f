//! Links with fragments whose metadata and payloads all differ, and recordings as the reader of the crate `mcap` sees
//! them.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mcap::read::{ChunkReader, Options};
use mcap::records::{MessageHeader, Record};
use rust_tango::{Consumer, Link, LinkBuilder, Producer, TangoError};
use serde_json::Value;

use super::{Exited, TestFolder};

/// A fragment: number, `sig`, `ctl`, `ts` and payload.
pub(crate) type Recorded = (u64, u64, u16, u32, Vec<u8>);

/// The fragment with this number in every test. Payloads have 0 to `mtu` bytes.
pub(crate) fn fragment(number: u64, mtu: usize) -> Recorded {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let size = (mixed >> 40) as usize % (mtu + 1);
    let payload = mixed.to_le_bytes().into_iter().cycle().take(size).collect();
    (number, mixed.rotate_left(17), mixed as u16, (mixed >> 16) as u32 | 1, payload)
}

pub(crate) fn fragments(numbers: Range<u64>, mtu: usize) -> Vec<Recorded> {
    numbers.map(|number| fragment(number, mtu)).collect()
}

/// Publishes the fragments with these numbers, and waits for consumers where it must.
pub(crate) fn publish(tx: &Producer<'_>, numbers: Range<u64>) {
    for number in numbers {
        let (_, sig, ctl, ts, payload) = fragment(number, tx.mtu());
        let meta = tx.publish_blocking(&payload, sig, ctl, ts).unwrap();
        assert_eq!(meta.seq, number);
    }
}

/// Reads until the link is closed. Everything must be there.
pub(crate) fn read_all(rx: &mut Consumer<'_>) -> Vec<Recorded> {
    let mut found = Vec::new();
    rx.for_each(|meta, payload| found.push((meta.seq, meta.sig, meta.ctl, meta.ts, payload.to_vec())))
        .unwrap();
    found
}

/// Reads until the link is closed. What is lost is left out.
pub(crate) fn read_rest(rx: &mut Consumer<'_>) -> Vec<Recorded> {
    let mut found = Vec::new();
    loop {
        match rx.wait() {
            Ok(Some(fragment)) => {
                let meta = fragment.meta;
                found.push((meta.seq, meta.sig, meta.ctl, meta.ts, fragment.payload.as_slice().to_vec()));
            }
            Ok(None) => return found,
            Err(TangoError::Overrun { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The messages of one topic up to the end of the recording, or to its last complete chunk: their headers and data.
pub(crate) fn messages(path: &Path, topic: &str) -> Vec<(MessageHeader, Vec<u8>)> {
    // There is no file yet.
    let bytes = fs::read(path).unwrap_or_default();
    let records = mcap::read::LinearReader::new_with_options(&bytes, Options::IgnoreEndMagic.into());
    let (mut messages, mut channels) = (Vec::new(), Vec::new());
    for record in records.into_iter().flatten() {
        match record {
            // A cut.
            Err(_) => break,
            Ok(Record::Channel(found)) if found.topic == topic => channels.push(found.id),
            Ok(Record::Chunk { header, data }) => {
                let chunk = ChunkReader::new(header, &data).unwrap();
                let Ok(chunk) = chunk.collect::<Result<Vec<_>, _>>() else { break };
                messages.extend(chunk.into_iter().map(Record::into_owned));
            }
            Ok(_) => {}
        }
    }
    let of_topic = messages.into_iter().filter_map(|record| match record {
        Record::Message { header, data } if channels.contains(&header.channel_id) => {
            Some((header, data.into_owned()))
        }
        _ => None,
    });
    of_topic.collect()
}

/// The fragments of a link in a recording.
pub(crate) fn recorded(path: &Path, link: &str) -> Vec<Recorded> {
    let decode = |(header, data): (MessageHeader, Vec<u8>)| {
        let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
        assert_eq!((half(16), half(20) as usize, half(24) >> 16), (u32::MAX, data.len() - 32, 0));
        assert_eq!(header.sequence, word(0) as u32);
        (word(0), word(8), half(24) as u16, half(28), data[32..].to_vec())
    };
    messages(path, link).into_iter().map(decode).collect()
}

/// Another recording, which is in good order but for this: `renumber` has changed the numbers of its fragments.
pub(crate) fn renumbered(from: &Path, to: &Path, renumber: impl Fn(u64) -> u64) {
    let bytes = fs::read(from).unwrap();
    let options = mcap::WriteOptions::new().profile("tango").compression(None);
    let mut writer = options.create(fs::File::create(to).unwrap()).unwrap();
    for message in mcap::MessageStream::new(&bytes).unwrap() {
        let mut message = message.unwrap();
        if message.channel.topic != "tango/events" {
            let seq = &mut message.data.to_mut()[..8];
            let number = u64::from_le_bytes((*seq).try_into().unwrap());
            seq.copy_from_slice(&renumber(number).to_le_bytes());
        }
        writer.write(&message).unwrap();
    }
    writer.finish().unwrap();
}

/// The events of a recording.
pub(crate) fn events(path: &Path) -> Vec<Value> {
    messages(path, "tango/events").iter().map(|(_, data)| serde_json::from_slice(data).unwrap()).collect()
}

/// The names of the events of a link, in order.
pub(crate) fn event_names(path: &Path, link: &str) -> Vec<String> {
    let events = events(path);
    let of_link = events.iter().filter(|event| event["link"] == link);
    of_link.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

impl TestFolder {
    /// The path of a file that is no link.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.links().with_file_name(name)
    }

    /// Settings for a link of this folder, which is removed at the end.
    pub(crate) fn builder(&self) -> LinkBuilder {
        Link::builder().dir(self.links()).remove_on_drop(true)
    }

    /// What `tango info --json` says about a recording, and how it ended.
    pub(crate) fn info(&self, path: &Path) -> (Value, Exited) {
        let exited = self.run(&format!("info --json {}", path.display()));
        let value: Value = serde_json::from_slice(&exited.out).unwrap();
        (value[0].clone(), exited)
    }

    /// The size of a file, 0 if there is none.
    pub(crate) fn size_of(&self, name: &str) -> u64 {
        fs::metadata(self.path_of(name)).map_or(0, |file| file.len())
    }
}
