//! `shaq`: its single-producer queue, in a file in shared memory or, between threads, on the heap (`pair`).
//! `try_write` and `try_read`; batches by `write_batch` and `try_reserve_read_batch`, which reads in place.
//! Parked readers use `read_timeout`.

use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use shaq::spsc::{Consumer, Producer, minimum_file_size, pair};

use crate::channel::{About, ProcessChannel, pair, peer, receiver, sender};
use crate::message::Message;

peer!(Shaq, About { batch: Some("write_batch, try_reserve_read_batch"), ..About::package("shaq") });
peer!(ShaqParked, About { variant: Some("read_timeout"), spins: false, ..About::package("shaq") });

pair!(Shaq, pair::<Message<N>>(D).expect("a queue on the heap"));

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Shaq {
    type Sender = Producer<Message<N>>;
    type Receiver = Consumer<Message<N>>;

    #[allow(unsafe_code)]
    fn create(folder: &Path, readers: usize) -> Self::Sender {
        assert_eq!(readers, 1, "it has one reader");
        // SAFETY: the folder was empty, so this is the only initializer and the only producer; messages are
        // plain bytes, valid in any process; both sides use the same type.
        unsafe { Producer::create(&file(folder), minimum_file_size::<Message<N>>(D)) }
            .expect("a queue in shared memory")
    }

    #[allow(unsafe_code)]
    fn attach(folder: &Path) -> Self::Receiver {
        // SAFETY: there is one reader at a time (`create` asserts it), and the type is the producer's.
        unsafe { Consumer::join(&file(folder)) }.expect("the producer has made it")
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for ShaqParked {
    type Sender = Producer<Message<N>>;
    type Receiver = Parked<N>;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        <Shaq as ProcessChannel<N, D>>::create(folder, readers)
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Parked(<Shaq as ProcessChannel<N, D>>::attach(folder))
    }
}

fn file(folder: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(folder.join("queue")).expect("a file in shared memory")
}

sender!(Producer<Message<N>>, |tx, message| tx.try_write(*message).is_ok(), |tx, messages| {
    let mut batch = tx.write_batch();
    messages.iter().take_while(|message| batch.try_write(**message).is_ok()).count()
});
receiver!(Consumer<Message<N>>, |rx, read| rx.try_read().map(|message| read(&message.0)), |rx, max, read| {
    let max = NonZeroUsize::new(max).expect("a batch is not empty");
    let Some(batch) = rx.try_reserve_read_batch(max) else { return 0 };
    let (first, second) = batch.as_slices();
    first.iter().chain(second).for_each(|message| read(&message.0));
    batch.len()
});

pub(crate) struct Parked<const N: usize>(Consumer<Message<N>>);

receiver!(Parked<N>, |rx, read| {
    rx.0.read_timeout(Duration::from_secs(1)).ok().map(|message| read(&message.0))
});
