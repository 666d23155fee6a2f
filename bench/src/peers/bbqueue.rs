//! `bbqueue`: a stream of bytes in grants, here of whole messages; written and read in place. Its framed
//! variant adds a header to each message, which messages of one size do not need, and ends at 64 KiB.

use bbqueue::nicknames::GogiGui;
use bbqueue::prod_cons::stream::{StreamConsumer, StreamProducer};
use bbqueue::traits::bbqhdl::BbqHandle;
use bbqueue::traits::storage::BoxedSlice;

use super::{About, Channel, Peer, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Bbqueue;

impl Peer for Bbqueue {
    const ABOUT: About = About::new("bbqueue", Some("bbqueue")).batch("grant_max_remaining, read");
}

impl<const N: usize, const D: usize> Channel<N, D> for Bbqueue {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let queue = GogiGui::new_with_storage(BoxedSlice::new(D * N));
        (queue.stream_producer(), queue.stream_consumer())
    }
}

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
        // It may be a part of a message less than the ring, which keeps a byte free.
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
        let there = (grant.len() / N).min(max);
        grant.chunks_exact(N).take(there).for_each(&mut read);
        grant.release(there * N);
        there
    }
}
