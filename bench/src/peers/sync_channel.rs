//! The standard library's `sync_channel`: spinning on `try_send` and `try_recv`, and its blocking pair,
//! which backs off before it parks. It has no batch calls.

use std::sync::mpsc::{self, sync_channel};

use super::{About, Channel, Peer, Receiver, Sender};
use crate::message::Message;

pub(crate) struct SyncChannelTry;
pub(crate) struct SyncChannelBlocking;

const ABOUT: About = About::new("std sync_channel", None);

impl Peer for SyncChannelTry {
    const ABOUT: About = ABOUT.variant("try_");
}

impl Peer for SyncChannelBlocking {
    const ABOUT: About = ABOUT.variant("blocking").sleeps();
}

struct Blocking<T>(T);

impl<const N: usize, const D: usize> Channel<N, D> for SyncChannelTry {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        sync_channel::<Message<N>>(D)
    }
}

impl<const N: usize, const D: usize> Channel<N, D> for SyncChannelBlocking {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let (tx, rx) = sync_channel::<Message<N>>(D);
        (Blocking(tx), Blocking(rx))
    }
}

impl<const N: usize> Sender<N> for mpsc::SyncSender<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        mpsc::SyncSender::try_send(self, *message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for mpsc::Receiver<Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.try_recv().ok().map(|message| read(&message.0))
    }
}

impl<const N: usize> Sender<N> for Blocking<mpsc::SyncSender<Message<N>>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.0.send(*message).expect("the receiver lives");
        true
    }
}

impl<const N: usize> Receiver<N> for Blocking<mpsc::Receiver<Message<N>>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.0.recv().ok().map(|message| read(&message.0))
    }
}
