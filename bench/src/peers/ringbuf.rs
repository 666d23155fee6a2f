//! `ringbuf`: a `HeapRb` split into its caching halves, `try_push` and `try_pop`, as its README shows;
//! batches by `push_slice`, and by `as_slices` and `skip`, which read in place.

use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::{About, Channel, Peer, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Ringbuf;

impl Peer for Ringbuf {
    const ABOUT: About = About::new("ringbuf", Some("ringbuf")).batch("push_slice, as_slices and skip");
}

impl<const N: usize, const D: usize> Channel<N, D> for Ringbuf {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        HeapRb::<Message<N>>::new(D).split()
    }
}

impl<const N: usize> Sender<N> for HeapProd<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.try_push(*message).is_ok()
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        self.push_slice(messages)
    }
}

impl<const N: usize> Receiver<N> for HeapCons<Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.try_pop().map(|message| read(&message.0))
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        let (first, second) = self.as_slices();
        let there = (first.len() + second.len()).min(max);
        first.iter().chain(second).take(there).for_each(|message| read(&message.0));
        self.skip(there)
    }
}
