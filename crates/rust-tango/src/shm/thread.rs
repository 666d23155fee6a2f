//! Threads of this library in the program of somebody else.

use std::io;
use std::thread::{Builder, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::events::emit_guarded;

/// Signals that a thread raises by what it does. The program may have handlers for them.
const FAULTS: [Signal; 6] =
    [Signal::SIGBUS, Signal::SIGSEGV, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP, Signal::SIGSYS];

/// Starts a thread of this name in which all signals but [`FAULTS`] are blocked, so that none is delivered there instead of
/// to a thread of the program.
pub(crate) fn spawn(
    name: &'static str,
    thread: Builder,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let thread = thread.name(name.into());
    let body = move || {
        emit_guarded!(thread_started(name));
        body();
        emit_guarded!(thread_ended(name));
    };
    // Miri has no signals.
    if cfg!(miri) {
        return thread.spawn(body);
    }
    // A thread begins with the signals of its creator blocked. Blocking them in the new thread itself would
    // be too late.
    let mut blocked = SigSet::all();
    for fault in FAULTS {
        blocked.remove(fault);
    }
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let thread = thread.spawn(body);
    before.thread_set_mask()?;
    thread
}
