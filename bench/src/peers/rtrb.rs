//! `rtrb`: `push` and `pop`, as in the example of its documentation.

use super::{Channel, DEPTH, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Rtrb;

impl<const N: usize> Channel<N> for Rtrb {
    fn open() -> (impl Sender<N> + Send + 'static, impl Receiver<N> + Send + 'static) {
        rtrb::RingBuffer::<Message<N>>::new(DEPTH)
    }
}

impl<const N: usize> Sender<N> for rtrb::Producer<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.push(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for rtrb::Consumer<Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.pop().ok().map(|message| read(&message.0))
    }
}
