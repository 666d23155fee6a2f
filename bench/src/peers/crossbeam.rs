//! `crossbeam-channel`, bounded: spinning on `try_send` and `try_recv`, and its blocking pair, which
//! backs off before it parks.

use crossbeam_channel::bounded;

use super::{Channel, DEPTH, Receiver, Sender};
use crate::message::Message;

pub(crate) struct CrossbeamTry;
pub(crate) struct CrossbeamBlocking;

struct Blocking<T>(T);

impl<const N: usize> Channel<N> for CrossbeamTry {
    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static) {
        bounded::<Message<N>>(DEPTH)
    }
}

impl<const N: usize> Channel<N> for CrossbeamBlocking {
    const SPINS: bool = false;

    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static) {
        let (tx, rx) = bounded::<Message<N>>(DEPTH);
        (Blocking(tx), Blocking(rx))
    }
}

impl<const N: usize> Sender<N> for crossbeam_channel::Sender<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        crossbeam_channel::Sender::try_send(self, *message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for crossbeam_channel::Receiver<Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.try_recv().ok().map(|message| read(&message.0))
    }
}

impl<const N: usize> Sender<N> for Blocking<crossbeam_channel::Sender<Message<N>>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.0.send(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for Blocking<crossbeam_channel::Receiver<Message<N>>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.0.recv().ok().map(|message| read(&message.0))
    }
}
