//! Signals: those that terminate the command, and `SIGBUS`, which reports that a mapped file was truncated.
#![allow(unsafe_code)]

use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::failure::Failure;

/// The signals that ask a process to terminate. They are blocked, so that [`Self::on_arrival`] receives
/// them instead of their default action.
#[derive(Debug)]
pub(crate) struct TerminationSignals(SigSet);

impl TerminationSignals {
    /// Blocks the signals in this thread and in all threads that it starts. A signal that the process
    /// ignores stays ignored, for example `SIGINT` in a background job of a script.
    pub(crate) fn block() -> Result<Self, Failure> {
        let signals = termination_signals();
        signals.thread_block().map_err(|error| Failure::new(format!("cannot block signals: {error}")))?;
        Ok(Self(signals))
    }

    /// Runs `action` with the signal's number, in a thread of its own, when the first of the signals arrives.
    pub(crate) fn on_arrival(self, action: impl FnOnce(i32) + Send + 'static) {
        thread::spawn(move || {
            if let Ok(signal) = self.0.wait() {
                action(signal as i32);
            }
        });
    }
}

/// How long the command may take to clean up after a signal. Another process can hold a lock that removing a
/// link needs; the links that are left then are dead ones, which the next creator replaces.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// Runs `work` in a thread of its own, and waits until it has ended, or for [`GRACE`].
pub(crate) fn try_within_grace(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel::<()>();
    thread::spawn(move || {
        work();
        drop(done);
    });
    let _ = is_done.recv_timeout(GRACE);
}

/// Unblocks the signals. A child process inherits the blocked signals of its parent.
pub(crate) fn unblock_termination() -> Result<(), Failure> {
    termination_signals()
        .thread_unblock()
        .map_err(|error| Failure::new(format!("cannot unblock signals: {error}")))
}

fn termination_signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

/// The message of the `SIGBUS` handler.
static TRUNCATED: OnceLock<String> = OnceLock::new();

/// Reports `SIGBUS` with one line and exit status 1. The kernel sends it to a process that accesses a
/// mapped file beyond the file's end, so a file of the link was truncated. `link` is the link's name, if it
/// is known.
pub(crate) fn report_truncated_files(link: Option<&str>) {
    let (link, advice) = link.map_or(("a link".into(), String::new()), |name| {
        (format!("link {name}"), format!(" ('tango rm --force {name}' removes the link)"))
    });
    let message = format!("tango: the memory of {link} is gone: one of its files was truncated{advice}\n");
    TRUNCATED.get_or_init(|| message);
    let action = SigAction::new(SigHandler::Handler(exit_on_sigbus), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler calls only `write` and `_exit`, which are async-signal-safe, and reads a cell
    // that is initialized before the handler is installed. It never returns to the access that failed. It
    // replaces the standard library's handler, which reports a stack overflow; on Linux that arrives as
    // `SIGSEGV`, whose handler stays in place.
    //
    // An error is ignored: without the handler, `SIGBUS` still ends the process, only without a message.
    let _ = unsafe { sigaction(Signal::SIGBUS, &action) };
}

extern "C" fn exit_on_sigbus(_: libc::c_int) {
    let message = TRUNCATED.get().map_or("", String::as_str);
    // SAFETY: the pointer and the length are those of a string in a static, which is never dropped. `_exit`
    // has no preconditions.
    unsafe {
        libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
        libc::_exit(1)
    }
}
