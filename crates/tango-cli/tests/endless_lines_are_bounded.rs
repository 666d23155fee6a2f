//! A line without an end takes bounded memory. No process aborts because of it: the sender sends it in parts,
//! and whoever cannot go on says why and leaves nothing behind.

mod common;

use std::io::{self, Write};
use std::thread;

use common::{Running, TestFolder};
use nix::sys::signal::Signal;

/// Kibibytes of address space: enough for the command and its threads, less than the long line.
const LIMITED: &str = "ulimit -v 400000";

/// Writes `len` bytes without a newline to the process, from another thread. It stops when the process ends.
fn write_long_line(
    process: &mut Running,
    len: usize,
    end: &'static [u8],
) -> thread::JoinHandle<io::Result<()>> {
    let mut input = process.child.stdin.take().unwrap();
    thread::spawn(move || {
        let piece = vec![b'y'; 1 << 20];
        (0..len >> 20).try_for_each(|_| input.write_all(&piece))?;
        input.write_all(end)
    })
}

#[test]
fn a_sender_needs_no_memory_for_a_long_line() {
    let folder = TestFolder::new();
    let mut sender = folder.start_in_shell(&format!("{LIMITED}; exec $0 send x --lines --wait-for 0"));
    folder.await_status("x", |status| status.producer);
    let writer = write_long_line(&mut sender, 512 << 20, b"end\n");
    writer.join().unwrap().unwrap();
    sender.finish().assert_ok();
    assert!(folder.list().is_empty());
}

/// The limit is the same as a receiver's.
#[test]
fn a_sender_stops_at_the_limit() {
    let folder = TestFolder::new();
    let mut sender = folder.start_in_shell(&format!("{LIMITED}; exec $0 send x --lines --wait-for 0"));
    let writer = write_long_line(&mut sender, (1 << 30) + (1 << 20), b"");
    sender.wait().assert_failed(1, &["a line of standard input is longer than 1,073,741,824 bytes"]);
    assert!(writer.join().unwrap().is_err());
    assert!(folder.list().is_empty());
}

/// The receiver has to keep the line until it is complete.
#[test]
fn a_receiver_without_memory_says_so() {
    let folder = TestFolder::new();
    let receiver = folder.start_in_shell(&format!("{LIMITED}; exec $0 recv x --lines"));
    let mut sender = folder.start("send x --lines");
    let writer = write_long_line(&mut sender, 512 << 20, b"\n");
    receiver.finish().assert_failed(1, &["link x", "no memory for a message"]);
    sender.wait().assert_failed(1, &["left before the end"]);
    assert!(writer.join().unwrap().is_err());
    assert!(folder.list().is_empty());
}

/// It has nothing to write for that line, and says how much of it there was.
#[test]
fn a_receiver_says_that_a_line_has_no_end() {
    for (by, end) in [(Signal::SIGKILL, "the sender of link x died"), (Signal::SIGTERM, "link x was stopped")]
    {
        let folder = TestFolder::new();
        let receiver = folder.start("recv x --lines");
        let mut sender = folder.start("send x --lines --mtu 8");
        sender.write(b"a whole line\n0123456789abcdefgh");
        receiver.await_output(13);
        // Two fragments of 8 bytes. The rest is less than a fragment, and may be a line of its own.
        folder.await_status("x", |status| status.next - status.start == 4 && status.consumers[0].lag == 0);
        sender.signal(by);
        sender.wait();
        let exited = receiver.finish();
        exited.assert_failed(1, &[end, "middle of a line (16 bytes of it were received)"]);
        assert_eq!(exited.out, b"a whole line\n");
    }
}
