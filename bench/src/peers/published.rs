//! The crate that was published under our name before (0.1.2), with flow control, as its README shows. It returns
//! the credit before the payload is read, so it may deliver wrong payloads, which are counted here. Its
//! `publish_batch` writes the index into the timestamp, and it has no batch call for readers that could be used
//! here.

use published::{Consumer, DCache, Fctl, Fseq, MCache, Producer, TangoError};

use crate::channel::{About, Channel, Peer, Receiver, Role, Sender};
use crate::message::Message;

/// With flow control, or without as in its own benchmarks, which is correct as long as the ring does not wrap around.
pub(crate) struct Published<const CONTROLLED: bool>;

impl<const CONTROLLED: bool> Peer for Published<CONTROLLED> {
    const ABOUT: About = About {
        variant: if CONTROLLED { None } else { Some("no flow control") },
        role: Role::Published,
        ..About::unversioned("published rust-tango 0.1.2")
    };
}

/// Its rings, which are large, and which its halves borrow.
pub(crate) struct Rings<const N: usize, const D: usize> {
    mcache: Box<MCache<D>>,
    dcache: Box<DCache<D, N>>,
    fseq: Fseq,
    fctl: Fctl,
}

impl<const N: usize, const D: usize, const CONTROLLED: bool> Channel<N, D> for Published<CONTROLLED> {
    type Storage = Rings<N, D>;

    fn storage() -> Self::Storage {
        Rings {
            mcache: Box::default(),
            dcache: Box::default(),
            fseq: Fseq::new(1),
            fctl: Fctl::new(D as u64),
        }
    }

    fn split(rings: &mut Self::Storage) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let Rings { mcache, dcache, fseq, fctl } = rings;
        if CONTROLLED {
            let tx = Producer::with_flow_control(mcache, dcache, fseq, fctl);
            (tx, Consumer::with_flow_control(mcache, dcache, fctl, 1))
        } else {
            (Producer::new(mcache, dcache, fseq), Consumer::new(mcache, dcache, 1))
        }
    }
}

impl<const N: usize, const D: usize> Sender<N> for Producer<'_, D, D, N> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        match self.publish(&message.0, 0, 0, 0) {
            Ok(_) => true,
            Err(TangoError::NoCredits) => false,
            Err(error) => panic!("published crate: {error}"),
        }
    }
}

impl<const N: usize, const D: usize> Receiver<N> for Consumer<'_, D, D, N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        match self.poll() {
            Ok(fragment) => fragment.map(|fragment| read(fragment.payload.as_slice())),
            Err(error) => panic!("published crate: {error}"),
        }
    }
}
