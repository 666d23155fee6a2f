//! Threads of this library in the program of somebody else.

use std::io;
use std::thread::{Builder, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The stack of a thread, in bytes. What runs there is small, and a program may have locked all its memory.
const STACK: usize = 256 << 10;

/// Starts a thread in which all signals are blocked, so that none is delivered there instead of to a thread
/// of the program. Faults of the thread itself are not blocked: the program may have a handler for them.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A thread begins with the signals of its creator blocked. Blocking them in the new thread itself would
    // be too late.
    let mut blocked = SigSet::all();
    for fault in [Signal::SIGBUS, Signal::SIGSEGV, Signal::SIGILL, Signal::SIGFPE] {
        blocked.remove(fault);
    }
    let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let thread = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body);
    before.thread_set_mask()?;
    thread
}
