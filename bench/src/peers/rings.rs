//! Rings for one producer and one consumer between threads:
//!
//! - `rtrb`: `push` and `pop`, as in the example of its documentation; batches by the slice calls and by chunks
//!   that are read in place.
//! - `ringbuf`: a `HeapRb` split into its caching halves, `try_push` and `try_pop`, as its README shows; batches
//!   by `push_slice`, and by `as_slices` and `skip`, which read in place.
//! - `heapless::spsc`: a queue whose size is part of its type, split into halves that borrow it; `enqueue` and
//!   `dequeue`. Its documentation recommends a power of two, of which it uses one less. It has no batch calls.
//! - `bbqueue`: a stream of bytes in grants, here of whole messages; written and read in place. Its framed variant
//!   adds a header to each message, which messages of one size do not need, and ends at 64 KiB.

use bbqueue::nicknames::GogiGui;
use bbqueue::prod_cons::stream::{StreamConsumer, StreamProducer};
use bbqueue::traits::bbqhdl::BbqHandle;
use bbqueue::traits::storage::BoxedSlice;
use heapless::spsc;
use ringbuf::traits::{Consumer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};
use rtrb::RingBuffer;
use rtrb::chunks::ChunkError;

use crate::channel::{About, Channel, FanOut, Receiver, Sender, pair, peer, receiver, sender};
use crate::message::Message;

peer!(Rtrb, About { batch: Some("push_partial_slice, read_chunk"), ..About::package("rtrb") });
peer!(
    /// A ring for each reader, as its users do who need several readers.
    RtrbForEach,
    About { variant: Some("a ring for each reader"), ..About::package("rtrb") }
);
peer!(Ringbuf, About { batch: Some("push_slice, as_slices and skip"), ..About::package("ringbuf") });
peer!(Heapless, About::package("heapless"));
peer!(Bbqueue, About { batch: Some("grant_max_remaining, read"), ..About::package("bbqueue") });

pair!(Rtrb, RingBuffer::<Message<N>>::new(D));
sender!(rtrb::Producer<Message<N>>, |tx, message| tx.push(*message).is_ok(), |tx, messages| tx
    .push_partial_slice(messages)
    .0
    .len());
receiver!(
    rtrb::Consumer<Message<N>>,
    |rx, read| rx.pop().ok().map(|message| read(&message.0)),
    |rx, max, read| {
        // Asking for a full batch first saves looking up how many there are each time.
        let chunk = match rx.read_chunk(max) {
            Ok(chunk) => chunk,
            Err(ChunkError::TooFewSlots(0)) => return 0,
            Err(ChunkError::TooFewSlots(available)) => {
                rx.read_chunk(available).expect("this is the only consumer")
            }
        };
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(|message| read(&message.0));
        let received = chunk.len();
        chunk.commit_all();
        received
    }
);

impl<const N: usize, const D: usize> FanOut<N, D> for RtrbForEach {
    fn open(readers: usize) -> (impl Sender<N> + Send, Vec<impl Receiver<N> + Send>) {
        let (senders, receivers) = (0..readers).map(|_| RingBuffer::<Message<N>>::new(D)).unzip();
        (ToEach { senders, done: 0 }, receivers)
    }
}

struct ToEach<const N: usize> {
    senders: Vec<rtrb::Producer<Message<N>>>,
    /// Readers that have the current message already.
    done: usize,
}

sender!(ToEach<N>, |tx, message| {
    for sender in &mut tx.senders[tx.done..] {
        if !sender.try_send(message) {
            return false;
        }
        tx.done += 1;
    }
    tx.done = 0;
    true
});

pair!(Ringbuf, HeapRb::<Message<N>>::new(D).split());
sender!(HeapProd<Message<N>>, |tx, message| tx.try_push(*message).is_ok(), |tx, messages| tx
    .push_slice(messages));
receiver!(HeapCons<Message<N>>, |rx, read| rx.try_pop().map(|message| read(&message.0)), |rx, max, read| {
    let (first, second) = rx.as_slices();
    let received = (first.len() + second.len()).min(max);
    first.iter().chain(second).take(received).for_each(|message| read(&message.0));
    rx.skip(received)
});

impl<const N: usize, const D: usize> Channel<N, D> for Heapless {
    type Storage = Box<spsc::Queue<Message<N>, D>>;

    fn storage() -> Self::Storage {
        Box::new(spsc::Queue::new())
    }

    fn split(storage: &mut Self::Storage) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        storage.split()
    }
}

sender!(spsc::Producer<'_, Message<N>>, |tx, message| tx.enqueue(*message).is_ok());
receiver!(spsc::Consumer<'_, Message<N>>, |rx, read| rx.dequeue().map(|message| read(&message.0)));

pair!(Bbqueue, {
    let queue = GogiGui::new_with_storage(BoxedSlice::new(D * N));
    (queue.stream_producer(), queue.stream_consumer())
});

impl<const N: usize, Q: BbqHandle> Sender<N> for StreamProducer<Q> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        let Ok(mut grant) = self.grant_exact(N) else { return false };
        grant.copy_from_slice(&message.0);
        grant.commit(N);
        true
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        let Ok(mut grant) = self.grant_max_remaining(messages.len() * N) else { return 0 };
        // The ring keeps a byte free, so the grant may end within a message.
        let mut sent = 0;
        for (place, message) in grant.as_chunks_mut::<N>().0.iter_mut().zip(messages) {
            *place = message.0;
            sent += 1;
        }
        grant.commit(sent * N);
        sent
    }
}

impl<const N: usize, Q: BbqHandle> Receiver<N> for StreamConsumer<Q> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        let grant = self.read().ok()?;
        let value = read(&grant[..N]);
        grant.release(N);
        Some(value)
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        let Ok(grant) = self.read() else { return 0 };
        let received = (grant.len() / N).min(max);
        grant.chunks_exact(N).take(received).for_each(&mut read);
        grant.release(received * N);
        received
    }
}
