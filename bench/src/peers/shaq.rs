//! `shaq`: its single-producer queue, in a file of shared memory or, between threads, on the heap (`pair`);
//! `try_write` and `try_read`; batches by `write_batch` and `try_reserve_read_batch`, which reads in place.
//! Parked readers use `read_timeout`.

use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use shaq::spsc::{Consumer, Producer, minimum_file_size, pair};

use super::{About, Channel, Peer, ProcessChannel, Receiver, Sender};
use crate::message::Message;

pub(crate) struct Shaq;
pub(crate) struct ShaqParked;

const ABOUT: About = About::new("shaq", Some("shaq"));
/// The file of the one queue in its folder.
const FILE: &str = "queue";

impl Peer for Shaq {
    const ABOUT: About = ABOUT.batch("write_batch, try_reserve_read_batch");
}

impl Peer for ShaqParked {
    const ABOUT: About = ABOUT.variant("read_timeout").sleeps();
}

impl<const N: usize, const D: usize> Channel<N, D> for Shaq {
    type Storage = ();

    fn storage() {}

    fn split((): &mut ()) -> (impl Sender<N> + Send, impl Receiver<N> + Send) {
        pair::<Message<N>>(D).expect("a queue on the heap")
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Shaq {
    type Pending = Producer<Message<N>>;
    type Sender = Producer<Message<N>>;
    type Receiver = Consumer<Message<N>>;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        assert_eq!(readers, 1, "it has one reader");
        create::<N, D>(folder)
    }

    fn attach(folder: &Path) -> Self::Receiver {
        join::<N>(folder)
    }

    fn connect(tx: Self::Pending) -> Self::Sender {
        tx
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for ShaqParked {
    type Pending = Producer<Message<N>>;
    type Sender = Producer<Message<N>>;
    type Receiver = Parked<N>;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        assert_eq!(readers, 1, "it has one reader");
        create::<N, D>(folder)
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Parked(join::<N>(folder))
    }

    fn connect(tx: Self::Pending) -> Self::Sender {
        tx
    }
}

fn file(folder: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(FILE))
        .expect("a file of shared memory")
}

#[allow(unsafe_code)]
fn create<const N: usize, const D: usize>(folder: &Path) -> Producer<Message<N>> {
    // SAFETY: the folder was empty, so this is the only initializer and the only producer; messages are
    // plain bytes, valid in any process; both sides use the same type.
    unsafe { Producer::create(&file(folder), minimum_file_size::<Message<N>>(D)) }
        .expect("a queue in shared memory")
}

#[allow(unsafe_code)]
fn join<const N: usize>(folder: &Path) -> Consumer<Message<N>> {
    // SAFETY: readers are one at a time (`create` asserts it), and the type is the producer's.
    unsafe { Consumer::join(&file(folder)) }.expect("the producer has made it")
}

impl<const N: usize> Sender<N> for Producer<Message<N>> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.try_write(*message).is_ok()
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        let mut batch = self.write_batch();
        messages.iter().take_while(|message| batch.try_write(**message).is_ok()).count()
    }
}

impl<const N: usize> Receiver<N> for Consumer<Message<N>> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.try_read().map(|message| read(&message.0))
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        let max = NonZeroUsize::new(max).expect("somebody wants messages");
        let Some(batch) = self.try_reserve_read_batch(max) else { return 0 };
        let (first, second) = batch.as_slices();
        first.iter().chain(second).for_each(|message| read(&message.0));
        batch.len()
    }
}

pub(crate) struct Parked<const N: usize>(Consumer<Message<N>>);

impl<const N: usize> Receiver<N> for Parked<N> {
    #[inline(always)]
    fn try_receive<R>(&mut self, mut read: impl FnMut(&[u8]) -> R) -> Option<R> {
        self.0.read_timeout(Duration::from_secs(1)).ok().map(|message| read(&message.0))
    }
}
