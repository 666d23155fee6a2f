//! `ringbuf`: a `HeapRb` split into its caching halves, `try_push` and `try_pop`, as its README shows.

use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::{Channel, DEPTH, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Ringbuf;

impl<const N: usize> Channel<N> for Ringbuf {
    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static) {
        HeapRb::<Message<N>>::new(DEPTH).split()
    }
}

impl<const N: usize> Sender<N> for HeapProd<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.try_push(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for HeapCons<Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.try_pop().map(|message| read(&message.0))
    }
}
