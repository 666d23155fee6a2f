//! `flume`, bounded: spinning on `try_send` and `try_recv`, and its blocking pair. Its one batch call,
//! `drain`, takes all that is there; senders go on one by one.

use super::{About, Channel, Peer, Receiver, Sender};
use crate::message::Message;

pub(crate) struct FlumeTry;
pub(crate) struct FlumeBlocking;

const ABOUT: About = About::new("flume", Some("flume"));

impl Peer for FlumeTry {
    const ABOUT: About = ABOUT.variant("try_").batch("drain");
}

impl Peer for FlumeBlocking {
    const ABOUT: About = ABOUT.variant("blocking").sleeps();
}

struct Blocking<T>(T);

impl<const N: usize, const D: usize> Channel<N, D> for FlumeTry {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        flume::bounded::<Message<N>>(D)
    }
}

impl<const N: usize, const D: usize> Channel<N, D> for FlumeBlocking {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let (tx, rx) = flume::bounded::<Message<N>>(D);
        (Blocking(tx), Blocking(rx))
    }
}

impl<const N: usize> Sender<N> for flume::Sender<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        flume::Sender::try_send(self, *message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for flume::Receiver<Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.try_recv().ok().map(|message| read(&message.0))
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, _max: usize, mut read: impl FnMut(&[u8])) -> usize {
        self.drain().map(|message| read(&message.0)).count()
    }
}

impl<const N: usize> Sender<N> for Blocking<flume::Sender<Message<N>>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.0.send(*message).expect("the receiver lives");
        true
    }
}

impl<const N: usize> Receiver<N> for Blocking<flume::Receiver<Message<N>>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.0.recv().ok().map(|message| read(&message.0))
    }
}
