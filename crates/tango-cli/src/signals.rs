//! Signals: those that ask the program to end, and the one that says that memory is gone.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::thread;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::failure::Failure;

/// The signals by which people and systems end a program. Held back, they wait to be taken by
/// [`Ending::when_asked`].
#[derive(Debug)]
pub(crate) struct Ending(SigSet);

impl Ending {
    /// Holds the signals back from now on, in this thread and in those that it starts. (One that is
    /// ignored, as in a background job of a script, stays ignored.)
    pub(crate) fn hold_back() -> Result<Self, Failure> {
        let signals = ending();
        signals.thread_block().map_err(|error| Failure::new(format!("cannot hold signals back: {error}")))?;
        Ok(Self(signals))
    }

    /// Runs `act` in a thread of its own when one of the signals arrives.
    pub(crate) fn when_asked(self, act: impl FnOnce(i32) + Send + 'static) {
        thread::spawn(move || {
            if let Ok(signal) = self.0.wait() {
                act(signal as i32);
            }
        });
    }
}

/// Lets the signals through, whatever the program that started this one has done about them.
pub(crate) fn let_through() -> Result<(), Failure> {
    ending().thread_unblock().map_err(|error| Failure::new(format!("cannot let signals through: {error}")))
}

fn ending() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

/// What is said when somebody has truncated the file of a link that is in use.
static MEMORY_IS_GONE: OnceLock<String> = OnceLock::new();

/// Makes one line of what happens when somebody truncates the file of a link that is in use: of this one, if it is known.
pub(crate) fn explain_lost_memory(link: Option<&str>) {
    let (of, rm) = link.map_or(("a link".into(), String::new()), |name| {
        (format!("link {name}"), format!(" ('tango rm --force {name}' clears up)"))
    });
    let sentence = format!("tango: the memory of {of} is gone: somebody has truncated a file of it{rm}\n");
    MEMORY_IS_GONE.get_or_init(|| sentence);
    let action = SigAction::new(SigHandler::Handler(memory_is_gone), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler calls only `write` and `_exit`, and loads what was stored above; all of that is safe at any
    // point of a program. It does not return to the access that failed. It replaces the handler of std, which explains
    // a stack that has overflowed; Linux reports that by another signal (SIGSEGV), whose handler stays.
    // Without a handler the program would end too, with less to say; so an error changes little.
    let _ = unsafe { sigaction(Signal::SIGBUS, &action) };
}

extern "C" fn memory_is_gone(_: libc::c_int) {
    let sentence = MEMORY_IS_GONE.get().map_or("", String::as_str);
    // SAFETY: the buffer lives as long as the program, and is of that length; `_exit` has no obligations.
    unsafe {
        libc::write(libc::STDERR_FILENO, sentence.as_ptr().cast(), sentence.len());
        libc::_exit(1)
    }
}
