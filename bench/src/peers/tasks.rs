//! Channels whose receiver is a task that awaits its messages: rust-tango's `AsyncConsumer`, and `async-channel` and the
//! `mpsc` of tokio, which are for one process. The task runs in a runtime of tokio on the thread of the reader. The
//! producer is a thread, and uses calls that do not wait.

use std::path::Path;

use rust_tango::{AsyncConsumer, Consumer, Link, Producer, TangoError};
use tokio::runtime::Runtime;

use crate::channel::{
    About, Awaiting, ProcessChannel, Role, Sender, TaskChannel, pair, peer, receiver, sender,
};
use crate::message::Message;

peer!(
    TangoTask,
    About { variant: Some("awaited"), role: Role::Tango, spins: false, ..About::unversioned("tango") }
);
peer!(
    // Without its version, because a goal names it.
    TokioMpsc,
    About { spins: false, ..About::unversioned("tokio mpsc") }
);
#[cfg(feature = "peers")]
peer!(AsyncChannel, About { spins: false, ..About::package("async-channel") });

/// A runtime for one thread.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

/// A receiver whose thread enters the runtime for each message.
pub(crate) struct Entering<R> {
    runtime: Runtime,
    rx: R,
}

impl<R> Entering<R> {
    fn new(rx: R) -> Self {
        Self { runtime: runtime(), rx }
    }
}

pub(crate) struct TangoWriter(Producer<'static>);

/// Becomes async on the thread that reads: the thread of all async readers has the cores of the thread that made the first.
pub(crate) enum TangoReader {
    Made(Option<Consumer<'static>>),
    Async(AsyncConsumer),
}

impl TangoReader {
    fn of(link: &Link) -> Self {
        Self::Made(Some(link.consumer().expect("a slot for each consumer")))
    }

    fn get(&mut self) -> &mut AsyncConsumer {
        if let Self::Made(rx) = self {
            let rx = rx.take().expect("it is replaced at once");
            *self = Self::Async(rx.into_async().expect("a descriptor and a thread"));
        }
        match self {
            Self::Async(rx) => rx,
            Self::Made(_) => unreachable!("it was just replaced"),
        }
    }
}

impl<const N: usize> Awaiting<N> for TangoReader {
    async fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> T {
        let fragment = self.get().recv().await.expect("nothing is lost").expect("the producer lives");
        read(fragment.payload.as_slice())
    }
}

impl<const N: usize, const D: usize> TaskChannel<N, D> for TangoTask {
    fn pair() -> (impl Sender<N> + Send, impl Awaiting<N> + Send) {
        let link = Link::builder().depth(D).mtu(N).build().expect("a link on the heap");
        (TangoWriter(link.producer().expect("the only producer")), TangoReader::of(&link))
    }
}

pair!(TangoTask, {
    let link = Link::builder().depth(D).mtu(N).build().expect("a link on the heap");
    (TangoWriter(link.producer().expect("the only producer")), Entering::new(TangoReader::of(&link)))
});
sender!(TangoWriter, |tx, message| match tx.0.publish(&message.0, 0, 0, 0) {
    Ok(_) => true,
    Err(TangoError::NoCredits) => false,
    Err(error) => panic!("rust-tango: {error}"),
});
receiver!(Entering<TangoReader>, |rx, read| {
    let Entering { runtime, rx } = rx;
    Some(runtime.block_on(Awaiting::<N>::next(rx, |bytes| read(bytes))))
});

impl<const N: usize, const D: usize> ProcessChannel<N, D> for TangoTask {
    type Sender = TangoWriter;
    type Receiver = Entering<TangoReader>;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        let link = Link::builder().depth(D).mtu(N).consumers(readers).dir(folder).create("link");
        TangoWriter(link.expect("a link in shared memory").producer().expect("the only producer"))
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Entering::new(TangoReader::of(&Link::open_in(folder, "link").expect("the producer has made it")))
    }
}

/// A half of a peer.
pub(crate) struct Half<T>(T);

type TokioSender<const N: usize> = Half<tokio::sync::mpsc::Sender<Message<N>>>;
type TokioReceiver<const N: usize> = Half<tokio::sync::mpsc::Receiver<Message<N>>>;

sender!(TokioSender<N>, |tx, message| tx.0.try_send(*message).is_ok());
receiver!(Entering<TokioReceiver<N>>, |rx, read| {
    let Entering { runtime, rx } = rx;
    Some(runtime.block_on(rx.next(|bytes| read(bytes))))
});

impl<const N: usize> Awaiting<N> for TokioReceiver<N> {
    async fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> T {
        read(&self.0.recv().await.expect("the sender lives").0)
    }
}

impl<const N: usize, const D: usize> TaskChannel<N, D> for TokioMpsc {
    fn pair() -> (impl Sender<N> + Send, impl Awaiting<N> + Send) {
        let (tx, rx) = tokio::sync::mpsc::channel::<Message<N>>(D);
        (Half(tx), Half(rx))
    }
}

pair!(TokioMpsc, {
    let (tx, rx) = tokio::sync::mpsc::channel::<Message<N>>(D);
    (Half(tx), Entering::new(Half(rx)))
});

#[cfg(feature = "peers")]
mod others {
    use crate::channel::{Awaiting, Sender, TaskChannel, pair, receiver, sender};
    use crate::message::Message;
    use crate::peers::tasks::{AsyncChannel, Entering, Half};

    type ChannelSender<const N: usize> = Half<async_channel::Sender<Message<N>>>;
    type ChannelReceiver<const N: usize> = Half<async_channel::Receiver<Message<N>>>;

    sender!(ChannelSender<N>, |tx, message| tx.0.try_send(*message).is_ok());
    receiver!(Entering<ChannelReceiver<N>>, |rx, read| {
        let Entering { runtime, rx } = rx;
        Some(runtime.block_on(rx.next(|bytes| read(bytes))))
    });

    impl<const N: usize> Awaiting<N> for ChannelReceiver<N> {
        async fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> T {
            read(&self.0.recv().await.expect("the sender lives").0)
        }
    }

    impl<const N: usize, const D: usize> TaskChannel<N, D> for AsyncChannel {
        fn pair() -> (impl Sender<N> + Send, impl Awaiting<N> + Send) {
            let (tx, rx) = async_channel::bounded::<Message<N>>(D);
            (Half(tx), Half(rx))
        }
    }

    pair!(AsyncChannel, {
        let (tx, rx) = async_channel::bounded::<Message<N>>(D);
        (Half(tx), Entering::new(Half(rx)))
    });
}
