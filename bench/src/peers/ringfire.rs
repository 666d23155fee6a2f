//! `ringfire`: a ring in shared memory with the lossless policy, `try_push` and `try_recv`, and spinning; batches
//! by `push_batch` and `recv_batch`. Parked readers use its `FutexWait`, lossy ones the default policy.

use std::path::Path;

use ringfire::{FlowControl, FutexWait, RecvStatus, RingConsumer, RingProducer, RingProducerBuilder};

use crate::channel::{
    About, Lossy, Observed, Observer, ProcessChannel, Role, Sender, peer, receiver, sender,
};
use crate::message::{Message, batch_size};

const ABOUT: About = About::package("ringfire");
/// The file of the one ring in its folder.
const FILE: &str = "ring";

peer!(Ringfire, About { batch: Some("push_batch, recv_batch"), ..ABOUT });
peer!(RingfireLossy, About { variant: Some("lossy"), role: Role::Extra, ..ABOUT });
peer!(RingfireParked, About { variant: Some("FutexWait"), spins: false, ..ABOUT });

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Ringfire {
    type Sender = RingProducer<Message<N>>;
    type Receiver = Reader<N>;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        RingProducerBuilder::new(D as u64)
            .flow_control(FlowControl::LosslessBackpressure)
            .max_readers(readers)
            .build(folder.join(FILE))
            .expect("a ring in shared memory")
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Reader { rx: attach(folder), batch: vec![Message([0; N]); batch_size::<N>()] }
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for RingfireParked {
    type Sender = RingProducer<Message<N>>;
    type Receiver = Parked<N>;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        <Ringfire as ProcessChannel<N, D>>::create(folder, readers)
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Parked { rx: attach(folder), wait: FutexWait::default() }
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

sender!(RingProducer<Message<N>>, |tx, message| tx.try_push(message).is_ok(), |tx, messages| {
    // This call waits while the ring is full.
    tx.push_batch(messages);
    messages.len()
});

pub(crate) struct Reader<const N: usize> {
    rx: RingConsumer<Message<N>>,
    /// Room for a batch.
    batch: Vec<Message<N>>,
}

receiver!(
    Reader<N>,
    |reader, read| reader.rx.try_recv().map(|message| read(&message.0)),
    |reader, max, read| {
        let room = reader.batch.len().min(max);
        let received = reader.rx.recv_batch(&mut reader.batch[..room]);
        reader.batch[..received].iter().for_each(|message| read(&message.0));
        received
    }
);

pub(crate) struct Parked<const N: usize> {
    rx: RingConsumer<Message<N>>,
    wait: FutexWait,
}

receiver!(Parked<N>, |reader, read| Some(read(&reader.rx.recv_blocking(&mut reader.wait).0)));

struct Numbering<const N: usize>(RingConsumer<Message<N>>);

impl<const N: usize> Observer<N> for Numbering<N> {
    #[inline(always)]
    fn observe(&mut self, mut read: impl FnMut(u64, &[u8])) -> Observed {
        let (RecvStatus::Ok(message) | RecvStatus::Lapped { item: message, .. }) = self.0.recv_status()
        else {
            return Observed::Nothing;
        };
        // The cursor is behind the message now, and counts from 1. The count in `Lapped` does not include what was
        // skipped before an empty poll.
        read(self.0.cursor() - 2, &message.0);
        Observed::Message
    }
}
