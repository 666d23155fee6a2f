//! The standard streams of this process. The standard library's own are made for programs that may lose
//! output: they hide that a stream is closed or opened the wrong way, and fail where a non-blocking one
//! would have to be waited for.
//!
//! Before `main`, the standard library opens `/dev/null` in place of each stream that is closed. Afterwards,
//! nobody can tell that from a `/dev/null` that the user wants. So [`NOTE_CLOSED_STREAMS`] looks earlier.
//!
//! A stream may be non-blocking, because another process that shares it has made it so. Reads and writes
//! then wait until it is ready. Some time after a termination signal, writes do not wait any more
//! ([`signals::is_grace_over`]).
#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

use crate::signals;

/// Which of the streams were closed when this process started, by file descriptor. Written before `main`.
static WAS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// The C library calls the functions in this section before `main`.
// SAFETY: the section holds pointers to functions that follow the C calling convention. This one ignores the
// arguments, and uses nothing that must be set up first.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED_STREAMS: extern "C" fn() = note_closed_streams;

extern "C" fn note_closed_streams() {
    for (descriptor, was_closed) in WAS_CLOSED.iter().enumerate() {
        // SAFETY: this command only reads the flags, and fails if there is no such descriptor.
        let flags = unsafe { libc::fcntl(descriptor as libc::c_int, libc::F_GETFD) };
        was_closed.store(flags == -1, Ordering::Relaxed);
    }
}

/// Fails if standard input was closed at the start, or cannot be read.
pub(crate) fn check_input() -> io::Result<()> {
    check(io::stdin().as_fd(), "reading", OFlag::O_RDONLY)
}

/// Fails if standard output was closed at the start, or cannot be written to.
pub(crate) fn check_output() -> io::Result<()> {
    check(io::stdout().as_fd(), "writing", OFlag::O_WRONLY)
}

fn check(stream: BorrowedFd<'_>, purpose: &str, wanted: OFlag) -> io::Result<()> {
    let was_closed = WAS_CLOSED.get(stream.as_raw_fd() as usize);
    if was_closed.is_some_and(|closed| closed.load(Ordering::Relaxed)) {
        return Err(io::Error::other("it is closed"));
    }
    let flags = OFlag::from_bits_retain(fcntl(stream, FcntlArg::F_GETFL)?);
    let access = flags & OFlag::O_ACCMODE;
    if flags.contains(OFlag::O_PATH) || access != wanted && access != OFlag::O_RDWR {
        return Err(io::Error::other(format!("it is not open for {purpose}")));
    }
    Ok(())
}

/// Standard input, without a buffer.
#[derive(Debug)]
pub(crate) struct Input;

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = io::stdin();
        loop {
            match unistd::read(&stream, buffer) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => _ = is_ready(stream.as_fd(), PollFlags::POLLIN, PollTimeout::NONE)?,
                result => return Ok(result?),
            }
        }
    }
}

/// Standard output, without a buffer.
#[derive(Debug)]
pub(crate) struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(io::stdout().as_fd(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    Output.write_all(text.as_bytes())
}

/// Waits this long, or until the reader of standard output has gone. Returns whether it has gone.
pub(crate) fn output_is_closed_within(time: Duration) -> io::Result<bool> {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up, so that the loop does not spin in the last millisecond.
        let up = if left.is_zero() { left } else { left + Duration::from_millis(1) };
        // Nothing is asked for: errors are always reported.
        if is_ready(io::stdout().as_fd(), PollFlags::empty(), up.try_into().unwrap_or(PollTimeout::MAX))? {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
    }
}

/// Standard error, without a buffer.
struct Errors;

impl Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(io::stderr().as_fd(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to standard error. If that is closed or full, only the exit status can report a failure.
pub(crate) fn write_error(text: &str) {
    let _ = Errors.write_all(text.as_bytes());
}

/// Writes some of the bytes. Fails with `TimedOut` if the stream is not ready, and the grace after a
/// termination signal is over.
fn write(stream: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        if signals::is_grace_over() && !is_ready(stream, PollFlags::POLLOUT, PollTimeout::ZERO)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match unistd::write(stream, bytes) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => _ = is_ready(stream, PollFlags::POLLOUT, PollTimeout::NONE)?,
            result => return Ok(result?),
        }
    }
}

/// Whether the stream is ready within this time. `false`, too, if a signal interrupts this thread.
fn is_ready(stream: BorrowedFd<'_>, for_what: PollFlags, within: PollTimeout) -> io::Result<bool> {
    match poll(&mut [PollFd::new(stream, for_what)], within) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
