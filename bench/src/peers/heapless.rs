//! `heapless::spsc`: a queue whose size is part of its type, split into halves that borrow it; `enqueue`
//! and `dequeue`. Its documentation recommends a power of two, of which it uses one less. It has no batch
//! calls.

use heapless::spsc::{Consumer, Producer, Queue};

use super::{About, Channel, Peer, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Heapless;

impl Peer for Heapless {
    const ABOUT: About = About::new("heapless", Some("heapless"));
}

impl<const N: usize, const D: usize> Channel<N, D> for Heapless {
    type Storage = Box<Queue<Message<N>, D>>;

    fn storage() -> Self::Storage {
        Box::new(Queue::new())
    }

    fn split(storage: &mut Self::Storage) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        storage.split()
    }
}

impl<const N: usize> Sender<N> for Producer<'_, Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.enqueue(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for Consumer<'_, Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.dequeue().map(|message| read(&message.0))
    }
}
