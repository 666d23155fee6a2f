//! Ours: `publish` and `poll` on a link, with reliable consumers or with observers; batches by
//! `publish_batch` and `poll_batch`.

use std::path::Path;

use rust_tango::{Consumer, Link, LinkBuilder, Producer, Start, TangoError, Wait};

use super::{
    About, Channel, FanOut, Lossy, Observed, Observer, Peer, ProcessChannel, Receiver, Role, Sender,
};
use crate::exchange::produce_alone;
use crate::message::{Message, Source, batch_size, fill};
use crate::method::{Plan, Sample};

pub(crate) struct Tango;

/// Its readers map the producer's memory writable, which the library does only where it is asked to.
pub(crate) struct TangoWritable;

/// Read by observers.
pub(crate) struct TangoObserver;

/// Read by a consumer that waits in the library's own way.
pub(crate) struct TangoWaiting;

/// Written in place: each message is made where its reader will find it, and copied nowhere.
pub(crate) struct TangoLoan;

/// What a loan saves: each message is made elsewhere, every word of it, and published from there.
pub(crate) struct TangoMade;

const ABOUT: About = About::new("tango", None).role(Role::Tango);
/// How [`TangoWaiting`] waits.
const WAIT: Wait = Wait::Park;
/// The name of the one link in its folder.
const NAME: &str = "link";

impl Peer for Tango {
    const ABOUT: About = ABOUT.batch("publish_batch, poll_batch");
}

impl Peer for TangoWritable {
    const ABOUT: About = ABOUT.variant("mapped writable").batch("publish_batch, poll_batch");
}

impl Peer for TangoObserver {
    const ABOUT: About = ABOUT.variant("observers").role(Role::Extra);
}

impl Peer for TangoLoan {
    const ABOUT: About = ABOUT.variant("loan, made in place").role(Role::Extra);
}

impl Peer for TangoMade {
    const ABOUT: About = ABOUT.variant("made elsewhere and published").role(Role::Extra);
}

impl Peer for TangoWaiting {
    const ABOUT: About = ABOUT.variant("parked").sleeps();
}

/// A link for messages of `N` bytes, still to be built or created.
fn link<const N: usize, const D: usize>() -> LinkBuilder {
    Link::builder().depth(D).mtu(N)
}

fn pair(link: &Link) -> (Producer<'static>, Consumer<'static>) {
    let tx = link.producer().expect("the only producer");
    let rx = link.consumer().expect("the only consumer");
    (tx, rx)
}

impl<const N: usize, const D: usize> Channel<N, D> for Tango {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let (tx, rx) = pair(&link::<N, D>().build().expect("a link on the heap"));
        (Writer(tx), Reader(rx))
    }
}

impl<const N: usize, const D: usize> Channel<N, D> for TangoWaiting {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let (tx, rx) = pair(&link::<N, D>().build().expect("a link on the heap"));
        (Writer(tx.with_wait(WAIT)), Waiting(rx.with_wait(WAIT)))
    }
}

impl<const N: usize, const D: usize> Channel<N, D> for TangoLoan {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let link = link::<N, D>().observers(false).build().expect("a link on the heap");
        let (tx, rx) = pair(&link);
        (Lender(tx), Reader(rx))
    }
}

impl<const N: usize, const D: usize> Channel<N, D> for TangoMade {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        let link = link::<N, D>().observers(false).build().expect("a link on the heap");
        let (tx, rx) = pair(&link);
        (Maker { tx: Writer(tx), source: Box::new(Source::new()) }, Reader(rx))
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Tango {
    type Pending = Producer<'static>;
    type Sender = Writer;
    type Receiver = Reader;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        create(link::<N, D>().consumers(readers), folder).producer().expect("the only producer")
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Reader(open(folder).consumer().expect("a slot for each consumer"))
    }

    fn connect(tx: Self::Pending) -> Self::Sender {
        Writer(tx)
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for TangoWritable {
    type Pending = Producer<'static>;
    type Sender = Writer;
    type Receiver = Reader;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        <Tango as ProcessChannel<N, D>>::create(folder, readers)
    }

    fn attach(folder: &Path) -> Self::Receiver {
        let link = open(folder);
        link.map_writable().expect("the folder is ours");
        Reader(link.consumer().expect("a slot for each consumer"))
    }

    fn connect(tx: Self::Pending) -> Self::Sender {
        Writer(tx)
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for TangoWaiting {
    type Pending = Producer<'static>;
    type Sender = Writer;
    type Receiver = Waiting;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        <Tango as ProcessChannel<N, D>>::create(folder, readers)
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Waiting(open(folder).consumer().expect("a slot for each consumer").with_wait(WAIT))
    }

    fn connect(tx: Self::Pending) -> Self::Sender {
        Writer(tx.with_wait(WAIT))
    }
}

impl<const N: usize, const D: usize> FanOut<N, D> for Tango {
    fn open(readers: usize) -> (impl Sender<N> + Send, Vec<impl Receiver<N> + Send>) {
        let link = link::<N, D>().consumers(readers).build().expect("a link on the heap");
        let tx = link.producer().expect("the only producer");
        let consumer = |_| Reader(link.consumer().expect("a slot for each consumer"));
        (Writer(tx), (0..readers).map(consumer).collect())
    }
}

impl<const N: usize, const D: usize> Lossy<N, D> for TangoObserver {
    type Source = (Link, Producer<'static>);

    fn make(folder: Option<&Path>) -> Self::Source {
        let link = match folder {
            Some(folder) => create(link::<N, D>(), folder),
            None => link::<N, D>().build().expect("a link on the heap"),
        };
        let tx = link.producer().expect("the only producer");
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

fn create(link: LinkBuilder, folder: &Path) -> Link {
    link.dir(folder).create(NAME).expect("a link in shared memory")
}

fn open(folder: &Path) -> Link {
    Link::open_in(folder, NAME).expect("the producer has made it")
}

pub(crate) struct Writer(Producer<'static>);

/// Makes each message in a loan.
struct Lender(Producer<'static>);

/// Makes each message in a place of its own.
struct Maker<const N: usize> {
    tx: Writer,
    source: Box<Source<N>>,
}

/// Reliable or observing.
pub(crate) struct Reader(Consumer<'static>);

/// Reliable, and waiting inside the library.
pub(crate) struct Waiting(Consumer<'static>);

impl<const N: usize> Sender<N> for Writer {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        match self.0.publish(&message.0, 0, 0, 0) {
            Ok(_) => true,
            Err(TangoError::NoCredits { .. }) => false,
            Err(error) => panic!("rust-tango: {error}"),
        }
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        const MOST: usize = batch_size::<1>();
        let mut payloads = [&[][..]; MOST];
        let messages = &messages[..messages.len().min(MOST)];
        for (payload, message) in payloads.iter_mut().zip(messages) {
            *payload = &message.0;
        }
        self.0.publish_batch(&payloads[..messages.len()], 0, 0)
    }
}

impl<const N: usize> Sender<N> for Lender {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        match self.0.loan(N) {
            Ok(mut loan) => {
                let place = loan.as_mut_slice().expect("the link has no observers");
                fill::<N>(place.try_into().expect("it is as long as it was asked for"), message.number());
                loan.commit(0, 0, 0);
                true
            }
            Err(TangoError::NoCredits { .. }) => false,
            Err(error) => panic!("rust-tango: {error}"),
        }
    }
}

impl<const N: usize> Sender<N> for Maker<N> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        let made = self.source.place();
        fill::<N>(&mut made.0, message.number());
        self.tx.try_send(made)
    }
}

impl<const N: usize> Receiver<N> for Reader {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        match self.0.poll() {
            Ok(fragment) => fragment.map(|fragment| read(fragment.payload.as_slice())),
            Err(error) => panic!("rust-tango: {error}"),
        }
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        match self.0.poll_batch(max) {
            Ok(batch) => {
                batch.iter().for_each(|fragment| read(fragment.payload.as_slice()));
                batch.len()
            }
            Err(error) => panic!("rust-tango: {error}"),
        }
    }
}

impl<const N: usize> Receiver<N> for Waiting {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        match self.0.wait() {
            Ok(fragment) => fragment.map(|fragment| read(fragment.payload.as_slice())),
            Err(error) => panic!("rust-tango: {error}"),
        }
    }
}

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

/// One thread publishes, and nobody reads; that many observers are attached all the same.
pub(crate) fn unread<const N: usize, const D: usize>(plan: &Plan, observers: usize) -> Sample {
    let link = link::<N, D>().build().expect("a link on the heap");
    let mut tx = Writer(link.producer().expect("the only producer"));
    let attached: Vec<_> = (0..observers).map(|_| link.observer().expect("an observer")).collect();
    let sample = produce_alone::<N>(&mut tx, plan);
    drop(attached);
    sample
}
