//! The channels under test, one file each, behind two pairs of traits: [`Channel`] between threads,
//! [`ProcessChannel`] between processes. Both hand out a [`Sender`] and a [`Receiver`].
//!
//! To add one: a file with its [`Peer`] facts and its halves, and a line in [`visit_threads`] or
//! [`visit_processes`]. Every workload then has rows for it.
//!
//! `N` is the size of a message, `D` how many messages the channel holds.

use std::path::Path;

use serde::{Deserialize, Serialize};

mod bbqueue;
mod crossbeam;
mod disruptor;
mod flume;
mod heapless;
mod iceoryx2;
mod kanal;
mod published;
mod ringbuf;
mod ringfire;
mod rtrb;
mod shaq;
mod stream;
mod sync_channel;
mod tango;

pub(crate) use self::crossbeam::CrossbeamBlocking;
pub(crate) use self::disruptor::Disruptor;
pub(crate) use self::flume::FlumeBlocking;
pub(crate) use self::iceoryx2::{Iceoryx2, Iceoryx2Event, remove_segments};
pub(crate) use self::kanal::KanalBlocking;
pub(crate) use self::published::{Published, PublishedUncontrolled};
pub(crate) use self::ringfire::{Ringfire, RingfireLossy, RingfireParked};
pub(crate) use self::rtrb::{Rtrb, RtrbForEach};
pub(crate) use self::shaq::ShaqParked;
pub(crate) use self::stream::{Pipe, UnixSocket};
pub(crate) use self::sync_channel::SyncChannelBlocking;
pub(crate) use self::tango::{
    Tango, TangoLoan, TangoMade, TangoObserver, TangoWaiting, TangoWritable, unread,
};

use self::bbqueue::Bbqueue;
use self::crossbeam::CrossbeamTry;
use self::flume::FlumeTry;
use self::heapless::Heapless;
use self::kanal::KanalTry;
use self::ringbuf::Ringbuf;
use self::shaq::Shaq;
use self::sync_channel::SyncChannelTry;

use crate::message::Message;
use crate::method::pause;

/// Messages that a channel holds, unless a workload is about that.
pub(crate) const DEPTH: usize = 1024;

/// What a row of a table is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// This library.
    Tango,
    /// Another channel of the same kind.
    Peer,
    /// The published crate of the same name: wrong payloads are counted, not fatal.
    Published,
    /// What the hardware does with no channel at all.
    Limit,
    /// For information; compared with nothing.
    Extra,
}

/// What a side does that has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Keeps its core busy.
    Spins,
    /// Sleeps in the kernel, perhaps after spinning for a moment.
    Sleeps,
}

/// Facts about a peer and the way in which it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    /// What it is called in the lock file, if it is there.
    pub(crate) package: Option<&'static str>,
    /// Which of its calls, if it has several kinds that are worth a row.
    pub(crate) variant: Option<&'static str>,
    /// Its calls for several messages at once, if it has some. They make a row of their own.
    pub(crate) batch: Option<&'static str>,
    pub(crate) role: Role,
    pub(crate) waits: Waits,
    /// Whether it holds as many messages as it is told to, rather than what the kernel likes.
    pub(crate) sized: bool,
}

impl About {
    /// A peer that spins and has no batch calls.
    const fn new(name: &'static str, package: Option<&'static str>) -> Self {
        Self { name, package, variant: None, batch: None, role: Role::Peer, waits: Waits::Spins, sized: true }
    }

    const fn variant(self, variant: &'static str) -> Self {
        Self { variant: Some(variant), ..self }
    }

    const fn batch(self, calls: &'static str) -> Self {
        Self { batch: Some(calls), ..self }
    }

    const fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    const fn sleeps(self) -> Self {
        Self { waits: Waits::Sleeps, ..self }
    }

    const fn sized_by_the_kernel(self) -> Self {
        Self { sized: false, ..self }
    }

    /// Its name, version, and variant.
    pub(crate) fn title(&self) -> String {
        let mut title = self.name.to_owned();
        if let Some(package) = self.package {
            title += " ";
            title += version(package);
        }
        if let Some(variant) = self.variant {
            title += ", ";
            title += variant;
        }
        title
    }
}

/// Something with a row.
pub(crate) trait Peer: 'static {
    const ABOUT: About;
}

/// A channel that carries messages of `N` bytes from one thread to another.
pub(crate) trait Channel<const N: usize, const D: usize>: Peer {
    /// What the halves borrow, if they do.
    type Storage;

    fn storage() -> Self::Storage;

    fn split(storage: &mut Self::Storage) -> (impl Sender<N> + Send, impl Receiver<N> + Send);
}

/// A channel that carries messages of `N` bytes from one process to another, or to several.
pub(crate) trait ProcessChannel<const N: usize, const D: usize>: Peer {
    /// The sender's side while readers are still joining.
    type Pending;
    type Sender: Sender<N>;
    type Receiver: Receiver<N>;

    /// Makes the channel in an empty folder of shared memory, for that many readers.
    fn create(folder: &Path, readers: usize) -> Self::Pending;

    /// Joins as a reader. Any number of them, if the channel was made for them.
    fn attach(folder: &Path) -> Self::Receiver;

    /// The sender, once all readers have joined.
    fn connect(pending: Self::Pending) -> Self::Sender;
}

/// A channel from one thread to several, each of which gets every message.
pub(crate) trait FanOut<const N: usize, const D: usize>: Peer {
    fn open(readers: usize) -> (impl Sender<N> + Send, Vec<impl Receiver<N> + Send>);
}

/// A channel whose readers read what they can, and know what they have missed.
pub(crate) trait Lossy<const N: usize, const D: usize>: Peer {
    /// The channel, to be kept until all have joined.
    type Source;

    /// Makes it in an empty folder of shared memory, or where it can, on the heap if there is none.
    fn make(folder: Option<&Path>) -> Self::Source;

    fn observe(source: &Self::Source) -> impl Observer<N> + Send + use<Self, N, D>;

    /// Joins from another process.
    fn attach(folder: &Path) -> impl Observer<N>;

    fn connect(source: Self::Source) -> impl Sender<N> + Send;
}

/// The sending half.
pub(crate) trait Sender<const N: usize> {
    /// Sends one message, or says that there is no room.
    fn try_send(&mut self, message: &Message<N>) -> bool;

    #[inline(always)]
    fn send(&mut self, message: &Message<N>) {
        while !self.try_send(message) {
            pause();
        }
    }

    /// Sends as many of these as there is room for, with the peer's batch call if it has one.
    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        messages.iter().take_while(|message| self.try_send(message)).count()
    }

    #[inline(always)]
    fn send_batch(&mut self, mut messages: &[Message<N>]) {
        while !messages.is_empty() {
            match self.try_send_batch(messages) {
                0 => pause(),
                sent => messages = &messages[sent..],
            }
        }
    }
}

/// The receiving half.
pub(crate) trait Receiver<const N: usize> {
    /// Lets `read` look at the bytes of the next message, or says that there is none yet.
    fn try_receive<R>(&mut self, read: impl FnMut(&[u8]) -> R) -> Option<R>;

    #[inline(always)]
    fn receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> R {
        loop {
            if let Some(value) = self.try_receive(&mut read) {
                return value;
            }
            pause();
        }
    }

    /// Lets `read` look at what is there, at most `max` messages, with the peer's batch call if it has
    /// one. Says how many there were.
    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        debug_assert!(max > 0);
        usize::from(self.try_receive(&mut read).is_some())
    }
}

/// A reader that may miss messages.
pub(crate) trait Observer<const N: usize> {
    /// Lets `read` look at the next message and its number, which counts from 0.
    fn observe(&mut self, read: impl FnMut(u64, &[u8])) -> Observed;
}

/// What an [`Observer`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    Message,
    Nothing,
    /// It was lapped, and goes on with the message of this number.
    Lapped(u64),
}

/// What is done with each channel between threads.
pub(crate) trait Visitor<const N: usize, const D: usize> {
    fn visit<C: Channel<N, D>>(&mut self);
}

/// What is done with each channel between processes.
pub(crate) trait ProcessVisitor<const N: usize, const D: usize> {
    fn visit<C: ProcessChannel<N, D>>(&mut self);
}

/// Every channel between threads, in the order of the rows.
pub(crate) fn visit_threads<const N: usize, const D: usize>(visitor: &mut impl Visitor<N, D>) {
    visitor.visit::<Tango>();
    visitor.visit::<Rtrb>();
    visitor.visit::<Ringbuf>();
    visitor.visit::<Disruptor>();
    visitor.visit::<Shaq>();
    visitor.visit::<CrossbeamTry>();
    visitor.visit::<CrossbeamBlocking>();
    visitor.visit::<KanalTry>();
    visitor.visit::<KanalBlocking>();
    visitor.visit::<FlumeTry>();
    visitor.visit::<FlumeBlocking>();
    visitor.visit::<SyncChannelTry>();
    visitor.visit::<SyncChannelBlocking>();
    visitor.visit::<Bbqueue>();
    // Their rings are arrays, which the compiler has to lay out element by element.
    if const { D <= 16_384 } {
        visitor.visit::<Heapless>();
        visitor.visit::<Published>();
    }
}

/// Every channel between processes, in the order of the rows.
pub(crate) fn visit_processes<const N: usize, const D: usize>(visitor: &mut impl ProcessVisitor<N, D>) {
    // The first of ours is what peers are compared with.
    visitor.visit::<Tango>();
    visitor.visit::<TangoWritable>();
    visitor.visit::<Ringfire>();
    visitor.visit::<Shaq>();
    visitor.visit::<Iceoryx2>();
    visitor.visit::<UnixSocket>();
    visitor.visit::<Pipe>();
}

/// The version of a peer that this program was built with.
fn version(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"\nversion = \"");
    include_str!("../../Cargo.lock")
        .split_once(&name)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("?", |(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(version("rtrb").starts_with("0."));
        assert_eq!(version("no such package"), "?");
    }

    #[test]
    fn titles_name_the_version_and_the_variant() {
        let about = About::new("std sync_channel", None).variant("blocking");
        assert_eq!(about.title(), "std sync_channel, blocking");
        assert!(About::new("rtrb", Some("rtrb")).title().starts_with("rtrb 0."));
    }
}
