//! Unix sockets and pipes. They are streams of bytes, so messages are cut out of them by their size: one `write`
//! and one `read` a message, or many messages in one. Both block, and the kernel decides how many bytes they hold.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::channel::{About, ProcessChannel, peer, receiver, sender};
use crate::message::batch_size;

/// The file of the one stream in its folder.
const FILE: &str = "stream";

const fn about(name: &'static str) -> About {
    let batch = Some("many messages in one write");
    About { batch, spins: false, sized: false, ..About::unversioned(name) }
}

peer!(UnixSocket, about("Unix socket"));
peer!(Pipe, about("pipe"));

impl<const N: usize, const D: usize> ProcessChannel<N, D> for UnixSocket {
    type Sender = Writer;
    type Receiver = Reader;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        assert_eq!(readers, 1, "it has one reader");
        let listener = UnixListener::bind(folder.join(FILE)).expect("a socket");
        Writer { stream: None, listener: Some(listener), bytes: Vec::new() }
    }

    fn attach(folder: &Path) -> Self::Receiver {
        let stream = UnixStream::connect(folder.join(FILE)).expect("the sender listens");
        Reader::new::<N>(OwnedFd::from(stream).into())
    }

    fn connect(tx: &mut Self::Sender) {
        let listener = tx.listener.take().expect("it connects once");
        let (stream, _) = listener.accept().expect("the reader has called");
        tx.stream = Some(OwnedFd::from(stream).into());
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Pipe {
    type Sender = Writer;
    type Receiver = Reader;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        assert_eq!(readers, 1, "it has one reader");
        mkfifo(&folder.join(FILE), Mode::S_IRUSR | Mode::S_IWUSR).expect("a named pipe");
        Writer { stream: Some(open(folder)), listener: None, bytes: Vec::new() }
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Reader::new::<N>(open(folder))
    }
}

/// Opens the pipe for both directions, so that neither side waits for the other.
fn open(folder: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(folder.join(FILE)).expect("the sender has made it")
}

pub(crate) struct Writer {
    /// `None` until a socket is connected.
    stream: Option<File>,
    /// Where the reader of a socket connects.
    listener: Option<UnixListener>,
    /// Room for a batch.
    bytes: Vec<u8>,
}

sender!(
    Writer,
    |tx, message| {
        let stream = tx.stream.as_mut().expect("it is connected");
        stream.write_all(&message.0).expect("the reader lives");
        true
    },
    |tx, messages| {
        tx.bytes.clear();
        messages.iter().for_each(|message| tx.bytes.extend_from_slice(&message.0));
        let stream = tx.stream.as_mut().expect("it is connected");
        stream.write_all(&tx.bytes).expect("the reader lives");
        messages.len()
    }
);

pub(crate) struct Reader {
    stream: File,
    /// Room for a batch.
    bytes: Vec<u8>,
    /// Bytes in it: the beginning of a message that has not arrived completely.
    filled: usize,
}

impl Reader {
    fn new<const N: usize>(stream: File) -> Self {
        Self { stream, bytes: vec![0; N * batch_size::<N>()], filled: 0 }
    }
}

receiver!(
    Reader,
    |rx, read| {
        debug_assert_eq!(rx.filled, 0, "batches and single messages are not mixed");
        rx.stream.read_exact(&mut rx.bytes[..N]).expect("the sender lives");
        Some(read(&rx.bytes[..N]))
    },
    |rx, max, read| {
        let room = rx.bytes.len().min(max * N);
        let more = rx.stream.read(&mut rx.bytes[rx.filled..room]).expect("the sender lives");
        assert!(more > 0, "the sender is gone");
        rx.filled += more;
        let complete = rx.filled / N;
        rx.bytes[..complete * N].chunks_exact(N).for_each(&mut read);
        rx.bytes.copy_within(complete * N..rx.filled, 0);
        rx.filled -= complete * N;
        complete
    }
);
