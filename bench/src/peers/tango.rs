//! rust-tango: `publish` and `poll` on a link, with reliable consumers or with observers; batches by
//! `publish_batch` and `poll_batch`.

use std::path::Path;

use rust_tango::{Consumer, Link, LinkBuilder, Pace, Producer, Start, TangoError, Wait};

use crate::channel::{
    About, FanOut, Lossy, Observed, Observer, ProcessChannel, Receiver, Role, Sender, pair, peer, receiver,
    sender,
};
use crate::message::{Source, batch_size, fill};

const ABOUT: About = About { role: Role::Tango, ..About::unversioned("tango") };
const BATCH: &str = "publish_batch, poll_batch";
const WAIT: Wait = Wait::Park;
/// The name of the one link in its folder.
pub(crate) const NAME: &str = "link";

peer!(Tango, About { batch: Some(BATCH), ..ABOUT });
peer!(
    /// The consumer keeps a distance from the producer: `Pace::Throughput`.
    TangoPaced,
    About { variant: Some("paced for throughput"), role: Role::Extra, ..ABOUT }
);
peer!(TangoObserver, About { variant: Some("observers"), role: Role::Extra, ..ABOUT });
peer!(
    /// The consumer waits with the library's own call.
    TangoWaiting,
    About { variant: Some("parked"), spins: false, ..ABOUT }
);
peer!(
    /// Each message is made in a loan, where its reader finds it, and is not copied.
    TangoLoan,
    About { variant: Some("loan, made in place"), role: Role::Extra, ..ABOUT }
);
peer!(
    /// The comparison for [`TangoLoan`]: every word of a message is made elsewhere, and then published.
    TangoMade,
    About { variant: Some("made elsewhere and published"), role: Role::Extra, ..ABOUT }
);

/// A link for messages of `N` bytes, not built or created yet.
fn link<const N: usize, const D: usize>() -> LinkBuilder {
    Link::builder().depth(D).mtu(N)
}

fn on_heap(link: LinkBuilder) -> Link {
    link.build().expect("a link on the heap")
}

fn create(link: LinkBuilder, folder: &Path) -> Link {
    link.dir(folder).create(NAME).expect("a link in shared memory")
}

fn open(folder: &Path) -> Link {
    Link::open_in(folder, NAME).expect("the producer has made it")
}

fn producer(link: &Link) -> Producer<'static> {
    link.producer().expect("the only producer")
}

fn consumer(link: &Link) -> Consumer<'static> {
    link.consumer().expect("a slot for each consumer")
}

pair!(Tango, {
    let link = on_heap(link::<N, D>());
    (Writer(producer(&link)), Reader(consumer(&link)))
});

pair!(TangoPaced, {
    let link = on_heap(link::<N, D>());
    (Writer(producer(&link)), Reader(consumer(&link).with_pace(Pace::Throughput)))
});

pair!(TangoWaiting, {
    let link = on_heap(link::<N, D>());
    (Writer(producer(&link).with_wait(WAIT)), Waiting(consumer(&link).with_wait(WAIT)))
});

pair!(TangoLoan, {
    let link = on_heap(link::<N, D>().observers(false));
    (Lender(producer(&link)), Reader(consumer(&link)))
});

pair!(TangoMade, {
    let link = on_heap(link::<N, D>().observers(false));
    let tx = Maker { tx: Writer(producer(&link)), source: Box::new(Source::<N>::new()) };
    (tx, Reader(consumer(&link)))
});

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Tango {
    type Sender = Writer;
    type Receiver = Reader;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        Writer(producer(&create(link::<N, D>().consumers(readers), folder)))
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Reader(consumer(&open(folder)))
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for TangoWaiting {
    type Sender = Writer;
    type Receiver = Waiting;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        let link = create(link::<N, D>().consumers(readers), folder);
        Writer(producer(&link).with_wait(WAIT))
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Waiting(consumer(&open(folder)).with_wait(WAIT))
    }
}

impl<const N: usize, const D: usize> FanOut<N, D> for Tango {
    fn open(readers: usize) -> (impl Sender<N> + Send, Vec<impl Receiver<N> + Send>) {
        let link = on_heap(link::<N, D>().consumers(readers));
        (Writer(producer(&link)), (0..readers).map(|_| Reader(consumer(&link))).collect())
    }
}

impl<const N: usize, const D: usize> Lossy<N, D> for TangoObserver {
    type Source = (Link, Producer<'static>);

    fn make(folder: Option<&Path>) -> Self::Source {
        let link = match folder {
            Some(folder) => create(link::<N, D>(), folder),
            None => on_heap(link::<N, D>()),
        };
        let tx = producer(&link);
        (link, tx)
    }

    fn observe((link, _): &Self::Source) -> impl Observer<N> + Send + use<N, D> {
        Reader(link.observer_from(Start::Oldest).expect("an observer"))
    }

    fn attach(folder: &Path) -> impl Observer<N> {
        Reader(open(folder).observer_from(Start::Oldest).expect("an observer"))
    }

    fn connect((_, tx): Self::Source) -> impl Sender<N> + Send {
        Writer(tx)
    }
}

/// A producer with so many observers attached, none of which reads.
pub(crate) fn unread<const N: usize, const D: usize>(observers: usize) -> (Writer, Vec<Consumer<'static>>) {
    let link = on_heap(link::<N, D>());
    let tx = Writer(producer(&link));
    (tx, (0..observers).map(|_| link.observer().expect("an observer")).collect())
}

pub(crate) struct Writer(Producer<'static>);

/// Makes each message in a loan.
struct Lender(Producer<'static>);

/// Makes each message in its own memory.
struct Maker<const N: usize> {
    tx: Writer,
    source: Box<Source<N>>,
}

/// A consumer or an observer that polls.
pub(crate) struct Reader(Consumer<'static>);

/// A consumer that waits inside the library.
pub(crate) struct Waiting(Consumer<'static>);

sender!(
    Writer,
    |tx, message| match tx.0.publish(&message.0, 0, 0, 0) {
        Ok(_) => true,
        Err(TangoError::NoCredits) => false,
        Err(error) => panic!("rust-tango: {error}"),
    },
    |tx, messages| {
        const MAX: usize = batch_size::<1>();
        let mut payloads = [&[][..]; MAX];
        let messages = &messages[..messages.len().min(MAX)];
        for (payload, message) in payloads.iter_mut().zip(messages) {
            *payload = &message.0;
        }
        tx.0.publish_batch(&payloads[..messages.len()], 0, 0)
    }
);

sender!(Lender, |tx, message| match tx.0.loan(N) {
    Ok(mut loan) => {
        let place = loan.as_mut_slice().expect("the link has no observers");
        fill::<N>(place.try_into().expect("the loan has the length asked for"), message.number());
        loan.commit(0, 0, 0).unwrap();
        true
    }
    Err(TangoError::NoCredits) => false,
    Err(error) => panic!("rust-tango: {error}"),
});

sender!(Maker<N>, |maker, message| {
    let made = maker.source.place();
    fill::<N>(&mut made.0, message.number());
    maker.tx.try_send(made)
});

receiver!(
    Reader,
    |rx, read| match rx.0.poll() {
        Ok(fragment) => fragment.map(|fragment| read(fragment.payload.as_slice())),
        Err(error) => panic!("rust-tango: {error}"),
    },
    |rx, max, read| match rx.0.poll_batch(max) {
        Ok(batch) => {
            batch.iter().for_each(|fragment| read(fragment.payload.as_slice()));
            batch.len()
        }
        Err(error) => panic!("rust-tango: {error}"),
    }
);

receiver!(Waiting, |rx, read| match rx.0.wait() {
    Ok(fragment) => fragment.map(|fragment| read(fragment.payload.as_slice())),
    Err(error) => panic!("rust-tango: {error}"),
});

impl<const N: usize> Observer<N> for Reader {
    #[inline(always)]
    fn observe(&mut self, mut read: impl FnMut(u64, &[u8])) -> Observed {
        match self.0.poll() {
            Ok(Some(fragment)) => {
                // Sequence numbers start with 1, messages with 0.
                read(fragment.meta.seq - 1, fragment.payload.as_slice());
                Observed::Message
            }
            Ok(None) => Observed::Nothing,
            Err(TangoError::Overrun { next, .. }) => Observed::Lapped(next - 1),
            Err(error) => panic!("rust-tango: {error}"),
        }
    }
}
