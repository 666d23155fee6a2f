//! Signals: those that terminate the command, and `SIGBUS`, which reports that a mapped file was truncated.
//!
//! A signal that the process was told to ignore stays ignored, for example `SIGHUP` under `nohup`, and
//! `SIGINT` in a background job of a script. One that its parent has blocked ends it like any other.
//!
//! | command | the first termination signal |
//! |---|---|
//! | `ls`, `inspect`, `peek`, `signal`, `doctor`, `rm`, `info`, `completions`, `man`, `top` without a screen, help | ends the process: the default action |
//! | `send`, `export`, `bench`, `ping`, `demo`'s other processes | runs an action in a thread of its own, which ends the process |
//! | `recv`, `record`, `capture`, `replay`, `top`, `demo` | interrupts the main thread, which ends in good order ([`arrived`]) |
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::terminal;

/// The signals that ask a process to terminate.
const TERMINATION: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// Interrupts the main thread. Its default action is to do nothing, so debuggers and tracers let it pass.
const INTERRUPTION: Signal = Signal::SIGURG;
/// Time between two interruptions: one alone can come just before the call that it should interrupt.
const INTERRUPT_EVERY: Duration = Duration::from_millis(20);
/// How long after a termination signal the command goes on, to write what it has received and to clean up.
/// Another process can hold a lock that removing a link needs. The links that are left then are dead ones,
/// which the next creator replaces.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// The signals that terminate this process: [`TERMINATION`] without those that it ignores. They are blocked,
/// so that a thread receives them instead of their default action.
#[derive(Debug)]
pub(crate) struct TerminationSignals(SigSet);

impl TerminationSignals {
    /// Blocks the signals in this thread and in all threads that it starts.
    ///
    /// A signal that is ignored is left out: the kernel keeps one that is also blocked, and a thread that
    /// waits for it would get it.
    pub(crate) fn block() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in TERMINATION {
            if !is_ignored(signal)? {
                signals.add(signal);
            }
        }
        signals.thread_block()?;
        Ok(Self(signals))
    }

    /// Runs `action` with the signal's number, in a thread of its own, when the first of the signals arrives.
    pub(crate) fn on_arrival(self, action: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
        let wait = move || {
            if let Ok(signal) = self.0.wait() {
                action(signal as i32);
            }
        };
        thread::Builder::new().spawn(wait).map(drop)
    }

    /// From now on, the first of the signals is what [`arrived`] returns, and calls of this thread that
    /// block in the kernel are interrupted (`EINTR`) until the process ends. `notify` is called once, in
    /// another thread.
    ///
    /// Only the main thread calls this, because it lives as long as the process.
    pub(crate) fn interrupt_main_thread(self, notify: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
        let action = SigAction::new(SigHandler::Handler(do_nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing, which is async-signal-safe. No other code of this program has a
        // handler for this signal.
        unsafe { sigaction(INTERRUPTION, &action) }?;
        SigSet::from(INTERRUPTION).thread_unblock()?;
        let main_thread = MainThread(pthread_self());
        self.on_arrival(move |signal| {
            ARRIVED.get_or_init(|| (signal, Instant::now()));
            notify(signal);
            while main_thread.interrupt() {
                thread::sleep(INTERRUPT_EVERY);
            }
        })
    }
}

/// The main thread. Its id is a pointer in some C libraries (musl).
struct MainThread(Pthread);

// SAFETY: every thread may use the id, which stays valid because the main thread lives as long as the process.
unsafe impl Send for MainThread {}

impl MainThread {
    /// False: it could not be sent the signal.
    fn interrupt(&self) -> bool {
        pthread_kill(self.0, INTERRUPTION).is_ok()
    }
}

/// The signals by which a terminal and its shell say that the process stops (Ctrl-Z), goes on, or has a screen of another
/// size. They are blocked, and read from a descriptor. None of them ends the process.
#[derive(Debug)]
pub(crate) struct TerminalSignals {
    descriptor: SignalFd,
}

impl TerminalSignals {
    /// Blocks the signals in this thread and in all threads that it starts. So it comes before
    /// [`TerminationSignals::interrupt_main_thread`]: in a thread that does not block it, a stop would stop all.
    pub(crate) fn block() -> io::Result<Self> {
        let mut signals = SigSet::from_iter([Signal::SIGCONT, Signal::SIGWINCH]);
        if !is_ignored(Signal::SIGTSTP)? {
            signals.add(Signal::SIGTSTP);
        }
        signals.thread_block()?;
        let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { descriptor })
    }

    /// Ready for reading if a signal has arrived.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The next signal that has arrived.
    pub(crate) fn next(&self) -> io::Result<Option<Signal>> {
        let found = self.descriptor.read_signal()?;
        Ok(found.and_then(|found| Signal::try_from(found.ssi_signo as libc::c_int).ok()))
    }

    /// Stops the process, as the default action of `SIGTSTP` does, until it is continued.
    pub(crate) fn stop(&self) -> io::Result<()> {
        let stop = SigSet::from(Signal::SIGTSTP);
        raise(Signal::SIGTSTP)?;
        stop.thread_unblock()?;
        Ok(stop.thread_block()?)
    }
}

/// Runs `work` in a thread of its own, and waits until it has ended, or for [`GRACE`]. Does nothing if there can
/// be no thread.
pub(crate) fn try_within_grace(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel::<()>();
    let started = thread::Builder::new().spawn(move || {
        work();
        drop(done);
    });
    if started.is_err() {
        return;
    }
    let _ = is_done.recv_timeout(GRACE);
}

/// From now on, a termination signal interrupts what the main thread waits for, and [`arrived`] tells it.
pub(crate) fn interrupt_by_termination() -> io::Result<()> {
    TerminationSignals::block()?.interrupt_main_thread(|_| {})
}

/// The first termination signal and its time, after [`TerminationSignals::interrupt_main_thread`].
static ARRIVED: OnceLock<(i32, Instant)> = OnceLock::new();

/// The number of the termination signal that has arrived, if this process ends in good order after one.
pub(crate) fn arrived() -> Option<i32> {
    ARRIVED.get().map(|(signal, _)| *signal)
}

/// Whether a termination signal has arrived so long ago that the process must not wait for anything.
pub(crate) fn is_grace_over() -> bool {
    ARRIVED.get().is_some_and(|(_, time)| time.elapsed() > GRACE)
}

extern "C" fn do_nothing(_: libc::c_int) {}

/// Unblocks the signals that terminate: a process inherits the blocked signals of its parent, and could
/// then be ended by `SIGKILL` only.
pub(crate) fn unblock_termination() -> io::Result<()> {
    Ok(SigSet::from_iter(TERMINATION).thread_unblock()?)
}

/// From now on, a write beyond the limit of the size of files is an error. Otherwise the signal `SIGXFSZ` would end the
/// process.
pub(crate) fn ignore_file_size_limit() -> io::Result<()> {
    let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: an ignored signal runs no code of this process.
    unsafe { sigaction(Signal::SIGXFSZ, &action) }?;
    Ok(())
}

/// Sets the default action, whatever this process has inherited.
pub(crate) fn restore_default(signal: Signal) -> io::Result<()> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of this process.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

fn is_ignored(signal: Signal) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer leaves the action as it is, and the other one is valid for writes.
    let result = unsafe { libc::sigaction(signal as libc::c_int, ptr::null(), action.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so it has filled the structure, of which zeros are a value, too.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
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
    // SAFETY: the handler calls only `terminal::restore`, `write` and `_exit`, which are async-signal-safe, and reads a cell
    // that is initialized before the handler is installed. It never returns to the access that failed. It
    // replaces the standard library's handler, which reports a stack overflow; on Linux that arrives as
    // `SIGSEGV`, whose handler stays in place.
    //
    // An error is ignored: without the handler, `SIGBUS` still ends the process, only without a message.
    let _ = unsafe { sigaction(Signal::SIGBUS, &action) };
}

extern "C" fn exit_on_sigbus(_: libc::c_int) {
    let message = TRUNCATED.get().map_or("", String::as_str);
    terminal::restore();
    // SAFETY: the pointer and the length are those of a string in a static, which is never dropped. `_exit`
    // has no preconditions.
    unsafe {
        libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
        libc::_exit(1)
    }
}
