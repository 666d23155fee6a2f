//! `crossbeam-channel`, bounded: spinning on `try_send` and `try_recv`, and its blocking pair, which
//! backs off before it parks. It has no batch calls.

use crossbeam_channel::bounded;

use super::{About, Channel, Peer, Receiver, Sender};
use crate::message::Message;

pub(crate) struct CrossbeamTry;
pub(crate) struct CrossbeamBlocking;

const ABOUT: About = About::new("crossbeam-channel", Some("crossbeam-channel"));

impl Peer for CrossbeamTry {
    const ABOUT: About = ABOUT.variant("try_");
}

impl Peer for CrossbeamBlocking {
    const ABOUT: About = ABOUT.variant("blocking").sleeps();
}

struct Blocking<T>(T);

impl<const N: usize, const D: usize> Channel<N, D> for CrossbeamTry {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        bounded::<Message<N>>(D)
    }
}

impl<const N: usize, const D: usize> Channel<N, D> for CrossbeamBlocking {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let (tx, rx) = bounded::<Message<N>>(D);
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
        self.0.send(*message).expect("the receiver lives");
        true
    }
}

impl<const N: usize> Receiver<N> for Blocking<crossbeam_channel::Receiver<Message<N>>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.0.recv().ok().map(|message| read(&message.0))
    }
}
