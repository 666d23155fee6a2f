//! The standard library's `sync_channel`: spinning on `try_send` and `try_recv`, and its blocking pair.

use std::sync::mpsc::{self, sync_channel};

use super::{Channel, DEPTH, Receiver, Sender};
use crate::message::Message;

pub(crate) struct SyncChannelTry;
pub(crate) struct SyncChannelBlocking;

struct Blocking<T>(T);

impl<const N: usize> Channel<N> for SyncChannelTry {
    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static) {
        sync_channel::<Message<N>>(DEPTH)
    }
}

impl<const N: usize> Channel<N> for SyncChannelBlocking {
    const SPINS: bool = false;

    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static) {
        let (tx, rx) = sync_channel::<Message<N>>(DEPTH);
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
        self.0.send(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for Blocking<mpsc::Receiver<Message<N>>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.0.recv().ok().map(|message| read(&message.0))
    }
}
