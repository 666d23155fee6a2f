//! The readers of the soak: what they do, and what each of them checks.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rust_tango::{Consumer, FragmentMetadata, Link, Start, TangoError};

use crate::common::process::{is_told, say};
use crate::common::{Random, assert_whole};
use crate::{DEPTH, MTU, wait_by};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Reliable,
    Batches,
    Evictable,
    Observer,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Reliable, Self::Batches, Self::Evictable, Self::Observer];

    pub(crate) fn join(self, link: &Link, start: Start) -> Consumer<'static> {
        let joined = match self {
            Self::Reliable | Self::Batches => link.consumer_from(start),
            Self::Evictable => link.evictable_consumer(start),
            Self::Observer => link.observer_from(start),
        };
        joined.unwrap()
    }
}

/// How a reader and the supervisor talk.
pub(crate) trait Contact {
    fn is_told(&self, word: &str) -> bool;
    fn say(&self, word: String);
    fn progress(&self) {}
}

/// What a reader has counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) read: u64,
    pub(crate) lost: u64,
    pub(crate) overruns: u64,
    pub(crate) evictions: u64,
    pub(crate) gone: u64,
    pub(crate) replaced: u64,
}

impl Sums {
    pub(crate) fn values(&mut self) -> [&mut u64; 6] {
        let Self { read, lost, overruns, evictions, gone, replaced } = self;
        [read, lost, overruns, evictions, gone, replaced]
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, lost, overruns, evictions, gone, replaced } = self;
        write!(f, "{read} {lost} {overruns} {evictions} {gone} {replaced}")
    }
}

/// A reader, and what it expects to read.
pub(crate) struct Reader<'c> {
    kind: Kind,
    contact: &'c dyn Contact,
    pub(crate) next: u64,
    /// The producer of the last fragment read; 0 if nothing was read.
    producer: u32,
    /// Where it was told that the producer is gone, unless it was told of a new one since.
    gone: Option<u64>,
    /// Nothing was lost since the last fragment read.
    whole: bool,
    /// It has just joined at a number that may be overwritten already.
    joined: bool,
    pub(crate) sums: Sums,
}

impl<'c> Reader<'c> {
    pub(crate) fn new(kind: Kind, contact: &'c dyn Contact) -> Self {
        let sums = Sums::default();
        Self { kind, contact, next: 0, producer: 0, gone: None, whole: false, joined: false, sums }
    }

    fn take(&mut self, meta: &FragmentMetadata, bytes: &[u8]) {
        assert!(
            self.gone.is_none(),
            "{:?}: number {} is of a producer that was not announced",
            self.kind,
            meta.seq
        );
        assert_eq!(meta.seq, self.next, "{:?}", self.kind);
        assert_whole(&FragmentMetadata { ts: meta.seq as u32, ..*meta }, bytes, MTU);
        if meta.ts != self.producer {
            assert!(meta.ts > self.producer, "{} after {}", meta.ts, self.producer);
            // After a loss, the fragments before this one may be of the new producer, too.
            let after = if self.whole { self.producer } else { 0 };
            self.contact.say(format!("turn {after} {} {}", meta.ts, meta.seq));
            self.producer = meta.ts;
        }
        (self.joined, self.whole) = (false, true);
        self.next += 1;
        self.sums.read += 1;
        self.contact.progress();
    }

    fn handle_error(&mut self, error: TangoError) {
        let (lost, next) = match error {
            TangoError::ProducerGone => {
                self.sums.gone += 1;
                self.gone.get_or_insert(self.next);
                return;
            }
            TangoError::ProducerReplaced { first } => {
                assert!(
                    self.gone.is_none_or(|at| first >= at),
                    "the new producer begins at {first}, but the old one was gone at {:?}",
                    self.gone
                );
                self.sums.replaced += 1;
                self.gone = None;
                self.contact.say(format!("replaced {first}"));
                return;
            }
            TangoError::Evicted { lost, next } if self.kind == Kind::Evictable => {
                self.sums.evictions += 1;
                (lost, next)
            }
            TangoError::Overrun { lost, next } if self.kind == Kind::Observer || self.joined => {
                self.sums.overruns += 1;
                (lost, next)
            }
            error => panic!("{:?} at {}: {error}", self.kind, self.next),
        };
        assert_eq!(next, self.next + lost, "{error}");
        self.next = next;
        self.sums.lost += lost;
        (self.joined, self.whole) = (false, false);
    }

    /// Reads until it is asked to leave, or until the link has ended and the supervisor has said so. An
    /// observer, which may outlive a link, also ends when the name belongs to another link.
    pub(crate) fn read(&mut self, link: &Link, start: Start, random: &mut Random) {
        let mut rx = self.kind.join(link, start).with_wait(wait_by(random));
        self.next = rx.next_seq();
        if let Start::At(seq) = start {
            (self.joined, self.next) = (true, seq);
        }
        (self.producer, self.gone, self.whole) = (0, None, false);
        let identity = identity(link.path().unwrap());
        let is_over = |contact: &dyn Contact| {
            contact.is_told("end") || identity != self::identity(link.path().unwrap())
        };
        while !self.contact.is_told("leave") {
            let batches = self.kind == Kind::Batches || random.below(50) == 0;
            let found = if batches {
                rx.poll_batch(1 + random.below(DEPTH) as usize).map(|batch| {
                    batch.iter().for_each(|found| self.take(&found.meta, found.payload.as_slice()));
                    !batch.is_empty()
                })
            } else {
                Ok(false)
            };
            let found = match found {
                Ok(false) => rx.wait_timeout(Duration::from_millis(100)).map(|found| {
                    found.as_ref().is_some_and(|found| {
                        self.take(&found.meta, found.payload.as_slice());
                        if random.below(200) == 0 {
                            // Held for a while.
                            std::thread::sleep(Duration::from_micros(random.below(1500)));
                            let meta = FragmentMetadata { ts: found.meta.seq as u32, ..found.meta };
                            assert_whole(&meta, found.payload.as_slice(), MTU);
                        }
                        true
                    })
                }),
                found => found,
            };
            let error = match found {
                Ok(true) => continue,
                Ok(false) if !rx.is_closed() => continue,
                Ok(false) if is_over(self.contact) => break,
                Ok(false) => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Err(error) => error,
            };
            self.handle_error(error);
            if error == TangoError::ProducerGone {
                if is_over(self.contact) {
                    break;
                }
                if random.below(2) == 0 {
                    rx.wait_for_producer(Some(Duration::from_millis(20)));
                }
            }
        }
        // Losses at the very end, or before the first fragment, have not been reported to it.
        let unreported = rx.next_seq().wrapping_sub(self.next);
        assert!(
            unreported == 0 || self.joined || self.kind == Kind::Evictable,
            "{unreported} unreported at {}",
            self.next
        );
    }
}

/// Tells a folder apart from other folders that have had its name.
fn identity(folder: &Path) -> Option<u64> {
    std::fs::metadata(folder).ok().map(|found| found.ino())
}

/// The contact of a reader in a process of its own.
pub(crate) struct Remote;

impl Contact for Remote {
    fn is_told(&self, word: &str) -> bool {
        is_told(word)
    }

    fn say(&self, word: String) {
        say(word);
    }
}
