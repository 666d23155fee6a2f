//! `ringfire`: a ring in shared memory with the lossless policy, `try_push` and `try_recv`, and spinning;
//! batches by `push_batch` and `recv_batch`. Parked readers use its `FutexWait`, lossy ones the default
//! policy.

use std::path::Path;

use ringfire::{FlowControl, FutexWait, RecvStatus, RingConsumer, RingProducer, RingProducerBuilder};

use super::{About, Lossy, Observed, Observer, Peer, ProcessChannel, Receiver, Role, Sender};
use crate::message::{Message, batch_size};

pub(crate) struct Ringfire;
pub(crate) struct RingfireLossy;
pub(crate) struct RingfireParked;

const ABOUT: About = About::new("ringfire", Some("ringfire"));
/// The file of the one ring in its folder.
const FILE: &str = "ring";

impl Peer for Ringfire {
    const ABOUT: About = ABOUT.batch("push_batch, recv_batch");
}

impl Peer for RingfireLossy {
    const ABOUT: About = ABOUT.variant("lossy").role(Role::Extra);
}

impl Peer for RingfireParked {
    const ABOUT: About = ABOUT.variant("FutexWait").sleeps();
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Ringfire {
    type Pending = RingProducer<Message<N>>;
    type Sender = RingProducer<Message<N>>;
    type Receiver = Reader<N>;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        RingProducerBuilder::new(D as u64)
            .flow_control(FlowControl::LosslessBackpressure)
            .max_readers(readers)
            .build(folder.join(FILE))
            .expect("a ring in shared memory")
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Reader::new(attach(folder))
    }

    fn connect(tx: Self::Pending) -> Self::Sender {
        tx
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for RingfireParked {
    type Pending = RingProducer<Message<N>>;
    type Sender = RingProducer<Message<N>>;
    type Receiver = Parked<N>;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        <Ringfire as ProcessChannel<N, D>>::create(folder, readers)
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Parked { rx: attach(folder), wait: FutexWait::default() }
    }

    fn connect(tx: Self::Pending) -> Self::Sender {
        tx
    }
}

impl<const N: usize, const D: usize> Lossy<N, D> for RingfireLossy {
    type Source = RingProducer<Message<N>>;

    fn make(folder: Option<&Path>) -> Self::Source {
        let folder = folder.expect("it lives in shared memory");
        RingProducer::create(folder.join(FILE), D as u64).expect("a ring in shared memory")
    }

    fn observe(source: &Self::Source) -> impl Observer<N> + Send + use<N, D> {
        Numbering::<N>(RingConsumer::attach(source.path()).expect("the producer has made it"))
    }

    fn attach(folder: &Path) -> impl Observer<N> {
        Numbering(attach(folder))
    }

    fn connect(source: Self::Source) -> impl Sender<N> + Send {
        source
    }
}

fn attach<const N: usize>(folder: &Path) -> RingConsumer<Message<N>> {
    RingConsumer::attach(folder.join(FILE)).expect("the producer has made it")
}

impl<const N: usize> Sender<N> for RingProducer<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.try_push(message).is_ok()
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        // Waits by itself while the ring is full.
        self.push_batch(messages);
        messages.len()
    }
}

pub(crate) struct Reader<const N: usize> {
    rx: RingConsumer<Message<N>>,
    /// Where a batch is received into.
    batch: Vec<Message<N>>,
}

impl<const N: usize> Reader<N> {
    fn new(rx: RingConsumer<Message<N>>) -> Self {
        Self { rx, batch: vec![Message([0; N]); batch_size::<N>()] }
    }
}

impl<const N: usize> Receiver<N> for Reader<N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.rx.try_recv().map(|message| read(&message.0))
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        let room = self.batch.len().min(max);
        let there = self.rx.recv_batch(&mut self.batch[..room]);
        self.batch[..there].iter().for_each(|message| read(&message.0));
        there
    }
}

pub(crate) struct Parked<const N: usize> {
    rx: RingConsumer<Message<N>>,
    wait: FutexWait,
}

impl<const N: usize> Receiver<N> for Parked<N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        Some(read(&self.rx.recv_blocking(&mut self.wait).0))
    }
}

struct Numbering<const N: usize>(RingConsumer<Message<N>>);

impl<const N: usize> Observer<N> for Numbering<N> {
    #[inline(always)]
    fn observe(&mut self, mut read: impl FnMut(u64, &[u8])) -> Observed {
        let (RecvStatus::Ok(message) | RecvStatus::Lapped { item: message, .. }) = self.0.recv_status()
        else {
            return Observed::Nothing;
        };
        // Behind the message now. The counts that come with `Lapped` leave out what was skipped before an
        // empty look. Sequence numbers start with 1, messages with 0.
        read(self.0.cursor() - 2, &message.0);
        Observed::Message
    }
}
