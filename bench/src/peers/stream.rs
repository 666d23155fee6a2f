//! What the kernel offers: a Unix socket and a pipe. Streams of bytes, so messages are cut out of them by
//! their size; one `write` and one `read` a message, or many messages in one. Both block, and hold as
//! many bytes as the kernel gives them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{About, Peer, ProcessChannel, Receiver, Sender};
use crate::message::{Message, batch_size};

pub(crate) struct UnixSocket;
pub(crate) struct Pipe;

/// The file of the one stream in its folder.
const FILE: &str = "stream";
const BATCH: &str = "many messages in one write";

impl Peer for UnixSocket {
    const ABOUT: About = About::new("Unix socket", None).batch(BATCH).sleeps().sized_by_the_kernel();
}

impl Peer for Pipe {
    const ABOUT: About = About::new("pipe", None).batch(BATCH).sleeps().sized_by_the_kernel();
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for UnixSocket {
    type Pending = UnixListener;
    type Sender = Writer<UnixStream>;
    type Receiver = Reader<UnixStream>;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        assert_eq!(readers, 1, "it has one reader");
        UnixListener::bind(folder.join(FILE)).expect("a socket")
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Reader::new::<N>(UnixStream::connect(folder.join(FILE)).expect("the sender listens"))
    }

    fn connect(listener: Self::Pending) -> Self::Sender {
        Writer::new(listener.accept().expect("the reader has called").0)
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Pipe {
    type Pending = File;
    type Sender = Writer<File>;
    type Receiver = Reader<File>;

    fn create(folder: &Path, readers: usize) -> Self::Pending {
        assert_eq!(readers, 1, "it has one reader");
        mkfifo(&folder.join(FILE), Mode::S_IRUSR | Mode::S_IWUSR).expect("a named pipe");
        open(folder)
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Reader::new::<N>(open(folder))
    }

    fn connect(pipe: Self::Pending) -> Self::Sender {
        Writer::new(pipe)
    }
}

/// For both directions, so that neither side has to wait for the other one to open it.
fn open(folder: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(folder.join(FILE)).expect("the sender has made it")
}

pub(crate) struct Writer<W> {
    stream: W,
    /// Where a batch is put together.
    bytes: Vec<u8>,
}

impl<W> Writer<W> {
    fn new(stream: W) -> Self {
        Self { stream, bytes: Vec::new() }
    }
}

impl<const N: usize, W: Write> Sender<N> for Writer<W> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.stream.write_all(&message.0).expect("the reader lives");
        true
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        self.bytes.clear();
        messages.iter().for_each(|message| self.bytes.extend_from_slice(&message.0));
        self.stream.write_all(&self.bytes).expect("the reader lives");
        messages.len()
    }
}

pub(crate) struct Reader<R> {
    stream: R,
    /// Room for a batch.
    bytes: Vec<u8>,
    /// Bytes in it: the beginning of a message that has not arrived in full.
    filled: usize,
}

impl<R> Reader<R> {
    fn new<const N: usize>(stream: R) -> Self {
        Self { stream, bytes: vec![0; N * batch_size::<N>()], filled: 0 }
    }
}

impl<const N: usize, R: Read> Receiver<N> for Reader<R> {
    #[inline(always)]
    fn try_receive<T>(&mut self, mut read: impl FnMut(&[u8]) -> T) -> Option<T> {
        debug_assert_eq!(self.filled, 0, "batches and single messages are not mixed");
        self.stream.read_exact(&mut self.bytes[..N]).expect("the sender lives");
        Some(read(&self.bytes[..N]))
    }

    #[inline(always)]
    fn try_receive_batch(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        let room = self.bytes.len().min(max * N);
        let more = self.stream.read(&mut self.bytes[self.filled..room]).expect("the sender lives");
        assert!(more > 0, "the sender is gone");
        self.filled += more;
        let whole = self.filled / N;
        self.bytes[..whole * N].chunks_exact(N).for_each(&mut read);
        self.bytes.copy_within(whole * N..self.filled, 0);
        self.filled -= whole * N;
        whole
    }
}
