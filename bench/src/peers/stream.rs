//! Unix sockets and pipes. They are streams of bytes, so messages are cut out of them by their size: one `write`
//! and one `read` a message, or many messages in one. Both block, and the kernel decides how many bytes they hold.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::channel::{About, ProcessChannel, Receiver, Sender, peer};
use crate::message::{Message, batch_size};

/// The file of the one stream in its folder.
const FILE: &str = "stream";

const fn about(name: &'static str) -> About {
    let batch = Some("many messages in one write");
    About { batch, spins: false, sized: false, ..About::unversioned(name) }
}

peer!(UnixSocket, about("Unix socket"));
peer!(Pipe, about("pipe"));

impl<const N: usize, const D: usize> ProcessChannel<N, D> for UnixSocket {
    type Sender = Writer<UnixStream>;
    type Receiver = Reader<UnixStream>;

    fn create(folder: &Path, readers: usize) -> Self::Sender {
        assert_eq!(readers, 1, "it has one reader");
        let listener = UnixListener::bind(folder.join(FILE)).expect("a socket");
        Writer { stream: None, listener: Some(listener), bytes: Vec::new() }
    }

    fn attach(folder: &Path) -> Self::Receiver {
        Reader::new::<N>(UnixStream::connect(folder.join(FILE)).expect("the sender listens"))
    }

    fn connect(tx: &mut Self::Sender) {
        let listener = tx.listener.take().expect("it connects once");
        tx.stream = Some(listener.accept().expect("the reader has called").0);
    }
}

impl<const N: usize, const D: usize> ProcessChannel<N, D> for Pipe {
    type Sender = Writer<File>;
    type Receiver = Reader<File>;

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

pub(crate) struct Writer<W> {
    /// `None` until a socket is connected.
    stream: Option<W>,
    /// Where the reader of a socket connects.
    listener: Option<UnixListener>,
    /// Room for a batch.
    bytes: Vec<u8>,
}

impl<W: Write> Writer<W> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        self.stream.as_mut().expect("it is connected").write_all(bytes).expect("the reader lives");
    }
}

impl<const N: usize, W: Write> Sender<N> for Writer<W> {
    #[inline(always)]
    fn try_send(&mut self, message: &Message<N>) -> bool {
        self.write(&message.0);
        true
    }

    #[inline(always)]
    fn try_send_batch(&mut self, messages: &[Message<N>]) -> usize {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        messages.iter().for_each(|message| bytes.extend_from_slice(&message.0));
        self.write(&bytes);
        self.bytes = bytes;
        messages.len()
    }
}

pub(crate) struct Reader<R> {
    stream: R,
    /// Room for a batch.
    bytes: Vec<u8>,
    /// Bytes in it: the beginning of a message that has not arrived completely.
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
        let complete = self.filled / N;
        self.bytes[..complete * N].chunks_exact(N).for_each(&mut read);
        self.bytes.copy_within(complete * N..self.filled, 0);
        self.filled -= complete * N;
        complete
    }
}
