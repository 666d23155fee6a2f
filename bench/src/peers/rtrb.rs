//! `rtrb`: `push` and `pop`, as in the example of its documentation; batches by the slice calls and by
//! chunks that are read in place.

use rtrb::chunks::ChunkError;

use super::{About, Channel, FanOut, Peer, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Rtrb;

/// What its users do who need several readers: a ring for each.
pub(crate) struct RtrbForEach;

impl Peer for Rtrb {
    const ABOUT: About = About::new("rtrb", Some("rtrb")).batch("push_partial_slice, read_chunk");
}

impl Peer for RtrbForEach {
    const ABOUT: About = About::new("rtrb", Some("rtrb")).variant("a ring for each reader");
}

impl<const N: usize, const D: usize> Channel<N, D> for Rtrb {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        rtrb::RingBuffer::<Message<N>>::new(D)
    }
}

impl<const N: usize, const D: usize> FanOut<N, D> for RtrbForEach {
    fn open(readers: usize) -> (impl Sender<N> + Send, Vec<impl Receiver<N> + Send>) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..readers).map(|_| rtrb::RingBuffer::<Message<N>>::new(D)).unzip();
        (ToEach { senders, done: 0 }, receivers)
    }
}

impl<const N: usize> Sender<N> for rtrb::Producer<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.push(*message).is_ok()
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        self.push_partial_slice(messages).0.len()
    }
}

impl<const N: usize> Receiver<N> for rtrb::Consumer<Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.pop().ok().map(|message| read(&message.0))
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        // A full batch first: then it need not look how many there are each time.
        let chunk = match self.read_chunk(max) {
            Ok(chunk) => chunk,
            Err(ChunkError::TooFewSlots(0)) => return 0,
            Err(ChunkError::TooFewSlots(there)) => {
                self.read_chunk(there).expect("nobody else takes them away")
            }
        };
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(|message| read(&message.0));
        let there = chunk.len();
        chunk.commit_all();
        there
    }
}

struct ToEach<T> {
    senders: Vec<T>,
    /// Readers that have the current message already.
    done: usize,
}

impl<const N: usize, T: Sender<N>> Sender<N> for ToEach<T> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        for sender in &mut self.senders[self.done..] {
            if !sender.try_send(message) {
                return false;
            }
            self.done += 1;
        }
        self.done = 0;
        true
    }
}
