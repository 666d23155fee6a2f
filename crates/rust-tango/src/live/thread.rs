//! How the library starts a thread: so that it takes no signal of the program.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread::{Builder, JoinHandle};

use nix::libc;

/// Signals that a thread raises by what it does. They stay as the caller has them: blocked, the kernel would
/// not call their handlers, but end the process.
const RAISED_BY_THE_THREAD: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// Starts a thread in which all other signals are blocked.
///
/// The kernel delivers a signal for the process to any thread that does not block it. So a program that
/// blocks a signal in all of its own threads, to wait for it, would otherwise be ended by it here.
pub(super) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A thread starts with the mask of the thread that starts it.
    let before = block_signals();
    let thread = Builder::new().name(name.into()).spawn(body);
    if let Some(before) = before {
        // SAFETY: the set is valid, and no other is asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    }
    thread
}

/// Blocks the signals of this thread, and returns its previous mask.
fn block_signals() -> Option<libc::sigset_t> {
    // Miri has no signals.
    if cfg!(miri) {
        return None;
    }
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the first set before the other calls read it. `pthread_sigmask` cannot
    // fail with these arguments, and so it initialises the second set. None of them keeps a pointer.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for signal in RAISED_BY_THE_THREAD {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        Some(before.assume_init())
    }
}
