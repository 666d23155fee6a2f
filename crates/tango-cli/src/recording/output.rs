//! [`Output`]: the files of a recording, one after the other. It gathers messages into chunks, begins the next file when
//! one is full, and knows what a failed write has lost.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mcap::records::Channel;

use super::block::{Block, Budget, SIZE};
use super::gathering::Sink;
use super::layout::{FRAGMENT_ENCODING, LinkFacts};
use super::tallies::Tallies;
use super::writer::{Compression, FRAGMENTS, McapFile};
use crate::failure::Failure;
use crate::format;

/// A block of so many bytes is a chunk of its own. Less is gathered.
const ENOUGH: usize = SIZE / 2;

/// The names of the files.
#[derive(Debug)]
pub(crate) struct Naming {
    pub(crate) path: PathBuf,
    /// `quotes.0001.mcap` instead of `quotes.mcap`.
    pub(crate) numbered: bool,
    /// Existing files are overwritten.
    pub(crate) force: bool,
}

impl Naming {
    /// The name of a file, from 1.
    fn of(&self, part: u32) -> PathBuf {
        if !self.numbered {
            return self.path.clone();
        }
        let number = format!("{part:04}");
        let mut name = OsString::from(self.path.file_stem().unwrap_or_default());
        name.push(".");
        name.push(number);
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    /// Makes a file.
    pub(crate) fn create(&self, part: u32) -> Result<(File, PathBuf), Failure> {
        let path = self.of(part);
        let mut options = File::options();
        options.write(true);
        if self.force {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        match options.open(&path) {
            Ok(file) => Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.exists(&path)),
            Err(error) => Err(Failure::new(format!("cannot make {}: {error}", path.display()))),
        }
    }

    /// Fails if a file of an earlier recording would be overwritten, now or later.
    fn check(&self) -> Result<(), Failure> {
        if self.force || !self.numbered {
            return Ok(()); // a single file is checked when it is made
        }
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
        match entries.find(|entry| self.is_numbered(Path::new(&entry.file_name()))) {
            Some(entry) => Err(self.exists(&folder.join(entry.file_name()))),
            None => Ok(()),
        }
    }

    /// Whether this is the name of a file of such a recording.
    fn is_numbered(&self, name: &Path) -> bool {
        let before_extension = name.file_stem().map(Path::new).and_then(Path::extension);
        let numbers = [before_extension, name.extension()].into_iter().flatten();
        let mut numbers = numbers.filter_map(|number| number.to_str()?.parse().ok());
        numbers.any(|number| self.of(number).file_name() == Some(name.as_os_str()))
    }

    fn exists(&self, path: &Path) -> Failure {
        Failure::new(format!(
            "{} exists already: choose another name, or --force to overwrite it",
            path.display()
        ))
    }
}

/// When chunks and files are complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Messages are written at the latest after this time.
    pub(crate) flush: Duration,
    /// A file of so many bytes is followed by the next.
    pub(crate) file_size: Option<u64>,
    /// So is a file that is written for so long.
    pub(crate) file_time: Option<Duration>,
}

/// A recording on disk.
pub(crate) struct Output {
    naming: Naming,
    compression: Compression,
    limits: Limits,
    /// When the recording began, in nanoseconds since 1970.
    started: u64,
    part: u32,
    path: PathBuf,
    /// When the current file was made.
    begun: Instant,
    /// `None` after a failure.
    file: Option<McapFile>,
    /// The links that are recorded now.
    links: Vec<(Channel, String)>,
    /// Messages that are not written yet, and since when.
    pending: Vec<u8>,
    pending_since: Instant,
    /// The fragments among them.
    pending_tallies: Tallies,
    /// Whether the current file has any message.
    has_messages: bool,
    written: u64,
    bytes: u64,
    failure: Option<String>,
    /// Fragments that were read and could not be written, after a failure.
    unwritten: Tallies,
}

impl Output {
    /// Makes the first file.
    pub(crate) fn begin(
        naming: Naming,
        compression: Compression,
        limits: Limits,
        started: u64,
    ) -> Result<Self, Failure> {
        naming.check()?;
        let (file, path) = naming.create(1)?;
        let file =
            McapFile::begin(file, compression, started, 1).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self {
            naming,
            compression,
            limits,
            started,
            part: 1,
            path,
            begun: Instant::now(),
            file: Some(file),
            links: Vec::new(),
            pending: Vec::new(),
            pending_since: Instant::now(),
            pending_tallies: Tallies::default(),
            has_messages: false,
            written: 0,
            bytes: 0,
            failure: None,
            unwritten: Tallies::default(),
        })
    }

    /// Writes what was gathered.
    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let mut messages = mem::take(&mut self.pending);
            self.write_chunk(&messages);
            messages.clear();
            self.pending = messages;
        }
    }

    /// Writes messages, of which `pending_tallies` says what they are.
    fn write_chunk(&mut self, messages: &[u8]) {
        if let Some(file) = &mut self.file {
            let complete = file.complete();
            let written = file.write_chunk(messages);
            // Also if it was the index of the chunk that could not be written.
            if file.complete() > complete {
                self.written += mem::take(&mut self.pending_tallies).sum();
            }
            let is_full = self.limits.file_size.is_some_and(|size| file.len() >= size);
            self.has_messages = true;
            self.note(written);
            if is_full && !self.has_failed() {
                self.rotate();
            }
        }
    }

    /// Ends the file, and begins the next one.
    fn rotate(&mut self) {
        let Some(file) = self.file.take() else { return };
        let finished = file.finish();
        match finished {
            Ok(len) => self.bytes += len,
            Err(error) => return self.fail(&self.path.clone(), error),
        }
        self.part += 1;
        let (file, path) = match self.naming.create(self.part) {
            Ok(made) => made,
            Err(failure) => {
                self.failure = failure.message();
                return;
            }
        };
        self.path = path;
        self.begun = Instant::now();
        self.has_messages = false;
        let begun = McapFile::begin(file, self.compression, self.started, self.part).and_then(|mut file| {
            for (channel, _) in &self.links {
                file.add_channel(channel.clone())?;
            }
            Ok(file)
        });
        match begun {
            Ok(file) => self.file = Some(file),
            Err(error) => self.fail(&self.path.clone(), error),
        }
    }

    /// Notes whether writing has failed.
    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.fail(&self.path.clone(), error);
        }
    }

    fn fail(&mut self, path: &Path, error: io::Error) {
        if let Some(mut file) = self.file.take() {
            file.cut();
            self.bytes += file.len();
        }
        self.unwritten.add_all(mem::take(&mut self.pending_tallies));
        self.failure = cannot_write(path, &error).message();
    }
}

impl Sink for Output {
    fn add_link(&mut self, channel: u16, facts: &LinkFacts) {
        self.flush();
        let channel = Channel {
            id: channel,
            schema_id: FRAGMENTS,
            topic: facts.name.clone(),
            message_encoding: FRAGMENT_ENCODING.to_owned(),
            metadata: facts.to_metadata(),
        };
        self.links.retain(|(_, name)| *name != facts.name);
        self.links.push((channel.clone(), facts.name.clone()));
        if let Some(file) = &mut self.file {
            let added = file.add_channel(channel);
            self.note(added);
        }
    }

    fn add_block(&mut self, mut block: Block, budget: &Budget) {
        let link = self.links.iter().find(|(channel, _)| channel.id == block.channel);
        let link = link.map_or(String::new(), |(_, name)| name.clone());
        if self.has_failed() {
            self.unwritten.add(&link, block.tally);
        } else if block.records.len() >= ENOUGH {
            self.flush();
            self.pending_tallies.add(&link, block.tally);
            self.write_chunk(&block.records);
        } else {
            if self.pending.is_empty() {
                self.pending_since = block.begun;
            }
            self.pending.extend_from_slice(&block.records);
            self.pending_tallies.add(&link, block.tally);
            if self.pending.len() >= ENOUGH {
                self.flush();
            }
        }
        budget.give_back(&mut block);
    }

    fn idle_time(&self) -> Option<Duration> {
        let flush = (!self.pending.is_empty())
            .then(|| self.limits.flush.saturating_sub(self.pending_since.elapsed()));
        let rotate = self.limits.file_time.filter(|_| self.has_messages);
        let rotate = rotate.map(|time| time.saturating_sub(self.begun.elapsed()));
        flush.into_iter().chain(rotate).min()
    }

    /// Writes what has waited long enough, and begins the next file if it is time.
    fn keep_up(&mut self) {
        if !self.pending.is_empty() && self.pending_since.elapsed() >= self.limits.flush {
            self.flush();
        }
        if self.limits.file_time.is_some_and(|time| self.begun.elapsed() >= time) && self.has_messages {
            self.flush();
            self.rotate();
        }
    }

    fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    fn finish(mut self) -> Result<String, Failure> {
        self.flush();
        if let Some(file) = self.file.take() {
            match file.finish() {
                Ok(len) => self.bytes += len,
                // All chunks are complete.
                Err(error) => self.fail(&self.path.clone(), error),
            }
        }
        if let Some(failure) = &self.failure {
            return Err(Failure::new(format!("{failure}; {}", self.unwritten.losses(self.written))));
        }
        let fragments = format::count(self.written);
        let files = match self.part {
            1 => self.path.display().to_string(),
            parts => format!("{parts} files, up to {}", self.path.display()),
        };
        Ok(format!("recorded {fragments} fragments ({}) in {files}\n", format::bytes(self.bytes as f64)))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_before_the_extension() {
        let naming = |path: &str| Naming { path: path.into(), numbered: true, force: false };
        for (path, second) in [
            ("a/quotes.mcap", "a/quotes.0002.mcap"),
            ("quotes", "quotes.0002"),
            ("a.b.mcap", "a.b.0002.mcap"),
        ] {
            assert_eq!(naming(path).of(2), Path::new(second));
        }
        let quotes = naming("a/quotes.mcap");
        assert_eq!(quotes.of(12_345), Path::new("a/quotes.12345.mcap"));
        for (name, is_one) in [
            ("quotes.0001.mcap", true),
            ("quotes.12345.mcap", true),
            ("quotes.1.mcap", false),
            ("quotes.mcap", false),
            ("quotes.0001.txt", false),
            ("other.0001.mcap", false),
        ] {
            assert_eq!(quotes.is_numbered(Path::new(name)), is_one, "{name}");
        }
        assert!(naming("quotes").is_numbered(Path::new("quotes.0001")));
    }
}
