//! `kanal`, bounded: spinning on `try_send` and `try_recv`, and its blocking pair. Its one batch call,
//! `drain_into`, takes all that is there; senders go on one by one.

use super::{About, Channel, Peer, Receiver, Sender};
use crate::message::Message;

pub(crate) struct KanalTry;
pub(crate) struct KanalBlocking;

const ABOUT: About = About::new("kanal", Some("kanal"));

impl Peer for KanalTry {
    const ABOUT: About = ABOUT.variant("try_").batch("drain_into");
}

impl Peer for KanalBlocking {
    const ABOUT: About = ABOUT.variant("blocking").sleeps();
}

struct Blocking<T>(T);

struct Draining<const N: usize> {
    rx: kanal::Receiver<Message<N>>,
    /// Empty between calls.
    drained: Vec<Message<N>>,
}

impl<const N: usize, const D: usize> Channel<N, D> for KanalTry {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let (tx, rx) = kanal::bounded::<Message<N>>(D);
        (tx, Draining { rx, drained: Vec::new() })
    }
}

impl<const N: usize, const D: usize> Channel<N, D> for KanalBlocking {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let (tx, rx) = kanal::bounded::<Message<N>>(D);
        (Blocking(tx), Blocking(rx))
    }
}

impl<const N: usize> Sender<N> for kanal::Sender<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        kanal::Sender::try_send(self, *message).expect("the receiver lives")
    }
}

impl<const N: usize> Receiver<N> for Draining<N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.rx.try_recv().ok().flatten().map(|message| read(&message.0))
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, _max: usize, mut read: impl FnMut(&[u8])) -> usize {
        // Fails when the sender is gone and nothing is left.
        let there = self.rx.drain_into(&mut self.drained).unwrap_or(0);
        self.drained.iter().for_each(|message| read(&message.0));
        self.drained.clear();
        there
    }
}

impl<const N: usize> Sender<N> for Blocking<kanal::Sender<Message<N>>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.0.send(*message).expect("the receiver lives");
        true
    }
}

impl<const N: usize> Receiver<N> for Blocking<kanal::Receiver<Message<N>>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.0.recv().ok().map(|message| read(&message.0))
    }
}
