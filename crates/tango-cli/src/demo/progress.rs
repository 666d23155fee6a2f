//! [`Progress`]: the progress line of the demonstration, on standard error.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use crate::standard;

/// On a terminal, one line that each update overwrites; it is erased at the end. Otherwise a new line each
/// second at most.
pub(crate) struct Progress {
    is_terminal: bool,
    /// There is a line on the terminal to erase.
    is_shown: bool,
    /// When the last line was written, if standard error is not a terminal.
    last_line: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_terminal: stderr().is_terminal(), is_shown: false, last_line: None }
    }

    pub(crate) fn show(&mut self, text: &str) {
        if self.is_terminal {
            self.is_shown = true;
            standard::write_error(&format!("\r\x1b[K{text}"));
        } else if self.last_line.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            self.last_line = Some(Instant::now());
            standard::write_error(&format!("{text}\n"));
        }
    }

    pub(crate) fn erase(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            standard::write_error("\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}
