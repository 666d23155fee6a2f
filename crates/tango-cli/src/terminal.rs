//! The terminal at standard output, for a command that fills the screen. [`enter`] switches to the alternate screen, without
//! echo; [`restore`] switches back. A panic does that, too, and so does the handler of `SIGBUS`.
//!
//! The terminal goes on to make signals of Ctrl-C and Ctrl-Z.
#![allow(unsafe_code)]

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};
use std::{mem, panic, ptr};

use nix::libc;
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};

/// Alternate screen, cursor hidden, everything erased.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
/// Plain text, cursor shown, back to the screen from before.
const LEAVE: &[u8] = b"\x1b[m\x1b[?25h\x1b[?1049l";

/// The modes of the terminal before [`enter`], and its descriptor.
static SAVED: OnceLock<(libc::c_int, libc::termios)> = OnceLock::new();
/// [`enter`] was called, and [`restore`] was not called since.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Whether standard output is a terminal that can place the cursor.
pub(crate) fn has_screen() -> bool {
    io::stdout().is_terminal() && !is_dumb()
}

/// Whether standard output is a terminal with colors, and the user wants them.
pub(crate) fn has_colors() -> bool {
    has_screen() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
}

/// Whether the environment says that texts are UTF-8.
pub(crate) fn is_unicode() -> bool {
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
    let locale = variables.filter_map(env::var_os).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Makes standard output an empty screen, on which typed keys do not show.
///
/// # Errors
/// Standard output is no terminal, or has gone.
pub(crate) fn enter() -> io::Result<()> {
    enter_on(io::stdout().as_fd())
}

fn enter_on(terminal: BorrowedFd<'_>) -> io::Result<()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
    let modes = tcgetattr(terminal)?;
    let (_, saved) = *SAVED.get_or_init(|| (terminal.as_raw_fd(), modes.into()));
    let mut modes = Termios::from(saved);
    modes.local_flags -= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::IEXTEN;
    // Ctrl-\ would leave the terminal as it is now.
    modes.control_chars[SpecialCharacterIndices::VQUIT as usize] = libc::_POSIX_VDISABLE;
    modes.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    modes.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    ENTERED.store(true, Ordering::SeqCst);
    tcsetattr(terminal, SetArg::TCSANOW, &modes)?;
    write(terminal.as_raw_fd(), ENTER);
    Ok(())
}

/// Makes the terminal what it was before [`enter`]. Does nothing if it is so already. It is async-signal-safe.
pub(crate) fn restore() {
    if !ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    let Some((terminal, modes)) = SAVED.get() else { return };
    // A process in the background would be stopped by SIGTTOU, which is not sent if it is blocked.
    // SAFETY: zeros are a value of a set of signals, and the calls initialize it. All pointers are valid for the calls, and
    // a null pointer leaves a result out. The calls are async-signal-safe. If the descriptor is closed by now, they fail.
    unsafe {
        let (mut blocked, mut before): (libc::sigset_t, libc::sigset_t) = mem::zeroed();
        libc::sigemptyset(&mut blocked);
        libc::sigaddset(&mut blocked, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, &mut before);
        libc::tcflow(*terminal, libc::TCOON); // Ctrl-S would make the write wait
        write(*terminal, LEAVE);
        libc::tcsetattr(*terminal, libc::TCSANOW, modes);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
    }
}

/// Writes a few bytes, or as many as the terminal takes.
fn write(terminal: libc::c_int, bytes: &[u8]) {
    // SAFETY: the pointer and the length are those of a slice.
    unsafe { libc::write(terminal, bytes.as_ptr().cast(), bytes.len()) };
}

/// Restores the terminal when it is dropped.
pub(crate) struct RestoreOnDrop;

impl Drop for RestoreOnDrop {
    fn drop(&mut self) {
        restore();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use nix::pty::openpty;

    use super::*;

    #[test]
    fn a_panic_restores_the_terminal() {
        let pty = openpty(None, None).unwrap();
        let modes = || libc::termios::from(tcgetattr(&pty.slave).unwrap());
        let before = modes();
        enter_on(pty.slave.as_fd()).unwrap();
        assert_eq!(modes().c_lflag & (libc::ICANON | libc::ECHO), 0);
        assert_ne!(modes().c_lflag & libc::ISIG, 0, "Ctrl-C is a signal");
        let panicked = panic::catch_unwind(|| panic!("this panic is part of the test"));
        assert!(panicked.is_err());
        assert_eq!((modes().c_lflag, modes().c_cc), (before.c_lflag, before.c_cc));
        restore(); // nothing is left to do
        let mut written = vec![0; ENTER.len() + LEAVE.len()];
        File::from(pty.master).read_exact(&mut written).unwrap();
        assert_eq!(written, [ENTER, LEAVE].concat());
    }
}
