//! What all channels under test have in common: [`Channel`] between threads, [`ProcessChannel`] between
//! processes, and their halves, [`Sender`] and [`Receiver`].
//!
//! `N` is the size of a message, `D` the number of messages that the channel holds.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cores::pause;
use crate::message::Message;

/// Depth of most channels.
pub(crate) const DEPTH: usize = 1024;
/// Depth for messages of 64 KiB, so that the ring is not larger than with 4 KiB.
pub(crate) const SHALLOW: usize = 64;
/// Depth of a ring that does not fit into any cache: 64 MiB of 64-byte messages.
pub(crate) const DEEP: usize = 1 << 20;

/// What a row is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// This library.
    Tango,
    /// Another channel of the same kind.
    Peer,
    /// The published crate of the same name. Its wrong payloads are counted and are not an error.
    Published,
    /// What the hardware does without a channel. The others of a table are measured by its first such row.
    Bare,
    /// For information only; compared with nothing.
    Extra,
}

/// Facts about a peer and the way in which it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    /// Whether it is a package in the lock file, which gives its version.
    pub(crate) is_package: bool,
    /// Which of its calls are used, if several kinds have rows.
    pub(crate) variant: Option<&'static str>,
    /// Its batch calls, if it has any. They have a row of their own.
    pub(crate) batch: Option<&'static str>,
    pub(crate) role: Role,
    /// Whether a waiting side keeps its core busy. Otherwise it sleeps in the kernel, perhaps after a short spin.
    pub(crate) spins: bool,
    /// Whether it holds as many messages as asked for. The kernel decides for sockets and pipes.
    pub(crate) sized: bool,
}

impl About {
    /// A package that spins and has no batch calls.
    pub(crate) const fn package(name: &'static str) -> Self {
        Self { is_package: true, ..Self::unversioned(name) }
    }

    /// The same without a version in its title.
    pub(crate) const fn unversioned(name: &'static str) -> Self {
        let role = Role::Peer;
        Self { name, is_package: false, variant: None, batch: None, role, spins: true, sized: true }
    }

    /// Name, version, and variant.
    pub(crate) fn title(&self) -> String {
        let version = if self.is_package { format!(" {}", version(self.name)) } else { String::new() };
        let variant = self.variant.map_or_else(String::new, |variant| format!(", {variant}"));
        format!("{}{version}{variant}", self.name)
    }
}

/// The version of a package in this program.
fn version(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"\nversion = \"");
    include_str!("../Cargo.lock")
        .split_once(&name)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("?", |(version, _)| version)
}

/// A channel, or one way to use it, that has a row.
pub(crate) trait Peer: 'static {
    const ABOUT: About;
}

/// A channel that carries messages from one thread to another.
pub(crate) trait Channel<const N: usize, const D: usize>: Peer {
    /// The memory that the halves borrow.
    type Storage;

    fn storage() -> Self::Storage;

    fn split(storage: &mut Self::Storage) -> (impl Sender<N> + Send, impl Receiver<N> + Send);
}

/// A [`Channel`] whose halves own what they share.
pub(crate) trait Pair<const N: usize, const D: usize>: Peer {
    fn pair() -> (impl Sender<N> + Send, impl Receiver<N> + Send);
}

impl<T: Pair<N, D>, const N: usize, const D: usize> Channel<N, D> for T {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        T::pair()
    }
}

/// A channel that carries messages from one process to another, or to several.
pub(crate) trait ProcessChannel<const N: usize, const D: usize>: Peer {
    type Sender: Sender<N>;
    type Receiver: Receiver<N>;

    /// Makes the channel for this many readers in an empty folder in shared memory.
    fn create(folder: &Path, readers: usize) -> Self::Sender;

    /// Joins as a reader.
    fn attach(folder: &Path) -> Self::Receiver;

    /// Called once all readers have joined, before the first message.
    fn connect(_tx: &mut Self::Sender) {}
}

/// A channel from one thread to several, each of which gets every message.
pub(crate) trait FanOut<const N: usize, const D: usize>: Peer {
    fn open(readers: usize) -> (impl Sender<N> + Send, Vec<impl Receiver<N> + Send>);
}

/// A channel whose readers may lose messages, and know which.
pub(crate) trait Lossy<const N: usize, const D: usize>: Peer {
    /// The channel, kept until the observers in other threads have joined.
    type Source;

    /// Makes the channel in an empty folder in shared memory. Without a folder, it is made on the heap.
    fn make(folder: Option<&Path>) -> Self::Source;

    fn observe(source: &Self::Source) -> impl Observer<N> + Send + use<Self, N, D>;

    /// Joins from another process.
    fn attach(folder: &Path) -> impl Observer<N>;

    fn connect(source: Self::Source) -> impl Sender<N> + Send;
}

/// The sending half.
pub(crate) trait Sender<const N: usize> {
    /// Sends one message. Returns false if there is no room.
    fn try_send(&mut self, message: &Message<N>) -> bool;

    #[inline(always)]
    fn send(&mut self, message: &Message<N>) {
        while !self.try_send(message) {
            pause();
        }
    }

    /// Sends as many messages as there is room for, with the peer's batch call, and returns how many.
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
    /// Passes the bytes of the next message to `read`. Returns `None` if there is no message yet.
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

    /// Passes each message that is there to `read`, with the peer's batch call, and returns how many there
    /// were. Peers whose call takes a limit pass on at most `max` messages.
    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        debug_assert!(max > 0);
        usize::from(self.try_receive(&mut read).is_some())
    }
}

/// The receiving half of a channel that is for tasks.
pub(crate) trait Awaiting<const N: usize> {
    /// Awaits the next message, and passes its bytes to `read`.
    async fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> T;
}

/// A channel from a thread to a task.
pub(crate) trait TaskChannel<const N: usize, const D: usize>: Peer {
    fn pair() -> (impl Sender<N> + Send, impl Awaiting<N> + Send + 'static);
}

/// A reader that may lose messages.
pub(crate) trait Observer<const N: usize> {
    /// Passes the next message and its number, which counts from 0, to `read`.
    fn observe(&mut self, read: impl FnMut(u64, &[u8])) -> Observed;
}

/// The result of [`Observer::observe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    Message,
    Nothing,
    /// The reader was lapped, and continues with the message of this number.
    Lapped(u64),
}

/// Called with each channel between threads.
pub(crate) trait Visitor<const N: usize, const D: usize> {
    fn visit<C: Channel<N, D>>(&mut self);
}

/// Called with each channel between processes.
pub(crate) trait ProcessVisitor<const N: usize, const D: usize> {
    fn visit<C: ProcessChannel<N, D>>(&mut self);
}

/// Declares the type of a peer, with its facts: `peer!(Name, About::package("name"))`.
macro_rules! peer {
    ($(#[$doc:meta])* $name:ident, $about:expr) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl $crate::channel::Peer for $name {
            const ABOUT: $crate::channel::About = $about;
        }
    };
}

/// Implements [`Pair`] by an expression for the two halves, in which `N` and `D` are known.
macro_rules! pair {
    ($name:ty, $halves:expr) => {
        impl<const N: usize, const D: usize> $crate::channel::Pair<N, D> for $name {
            fn pair() -> (impl $crate::channel::Sender<N> + Send, impl $crate::channel::Receiver<N> + Send) {
                $halves
            }
        }
    };
}

/// Implements [`Sender`] by the peer's call for one message, and perhaps its batch call. `N` is known in all
/// arguments.
macro_rules! sender {
    ($half:ty, |$tx:ident, $message:ident| $send:expr $(, |$batch_tx:ident, $messages:ident| $batch:expr)?) => {
        impl<const N: usize> $crate::channel::Sender<N> for $half {
            #[inline(always)]
            fn try_send(&mut self, $message: &$crate::message::Message<N>) -> bool {
                let $tx = self;
                $send
            }

            $(
                #[inline(always)]
                fn try_send_batch(&mut self, $messages: &[$crate::message::Message<N>]) -> usize {
                    let $batch_tx = self;
                    $batch
                }
            )?
        }
    };
}

/// Implements [`Receiver`] by the peer's call for one message, and perhaps its batch call. `N` is known in all
/// arguments.
macro_rules! receiver {
    ($half:ty, |$rx:ident, $read:ident| $receive:expr
        $(, |$batch_rx:ident, $max:ident, $batch_read:ident| $batch:expr)?) => {
        impl<const N: usize> $crate::channel::Receiver<N> for $half {
            #[inline(always)]
            fn try_receive<R>(&mut self, mut $read: impl FnMut(&[u8]) -> R) -> Option<R> {
                let $rx = self;
                $receive
            }

            $(
                #[inline(always)]
                #[allow(unused_mut)]
                fn try_receive_batch(&mut self, $max: usize, mut $batch_read: impl FnMut(&[u8])) -> usize {
                    let $batch_rx = self;
                    $batch
                }
            )?
        }
    };
}

pub(crate) use {pair, peer, receiver, sender};

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
        let about = About { variant: Some("blocking"), ..About::unversioned("std sync_channel") };
        assert_eq!(about.title(), "std sync_channel, blocking");
        assert!(About::package("rtrb").title().starts_with("rtrb 0."));
    }
}
