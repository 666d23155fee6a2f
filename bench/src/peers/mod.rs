//! The channels under test, one file each, behind one pair of traits: one message a call, and spinning
//! until it goes through.

use std::hint::spin_loop;

mod crossbeam;
mod published;
mod ringbuf;
mod rtrb;
mod sync_channel;
mod tango;

pub(crate) use self::crossbeam::{CrossbeamBlocking, CrossbeamTry};
pub(crate) use self::published::Published;
pub(crate) use self::ringbuf::Ringbuf;
pub(crate) use self::rtrb::Rtrb;
pub(crate) use self::sync_channel::{SyncChannelBlocking, SyncChannelTry};
pub(crate) use self::tango::{Reader, Tango, Writer, link, observe, observed, unread};

use crate::message::Message;

/// Messages that a channel holds.
pub(crate) const DEPTH: usize = 1024;

/// A channel that carries messages of `N` bytes from one thread to another.
pub(crate) trait Channel<const N: usize> {
    /// Whether a side that has to wait keeps its core busy.
    const SPINS: bool = true;

    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static);
}

/// The sending half.
pub(crate) trait Sender<const N: usize> {
    /// Sends one message, or says that there is no room.
    fn try_send(&mut self, message: &Message<N>) -> bool;

    #[inline(always)]
    fn send(&mut self, message: &Message<N>) {
        while !self.try_send(message) {
            spin_loop();
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
            spin_loop();
        }
    }
}
