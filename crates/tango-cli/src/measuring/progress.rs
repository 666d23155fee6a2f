//! [`Progress`]: the progress line of a measurement, on standard error.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use crate::standard;

/// On a terminal, one line that each update overwrites; it is erased at the end. Otherwise a new line each
/// second at most.
pub(crate) struct Progress {
    is_terminal: bool,
    /// Nothing is written if standard error is not a terminal.
    only_on_terminal: bool,
    /// There is a line on the terminal to erase.
    is_shown: bool,
    /// When the last line was written, if standard error is not a terminal.
    last_line: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let is_terminal = stderr().is_terminal();
        Self { is_terminal, only_on_terminal: false, is_shown: false, last_line: None }
    }

    /// Of a command whose standard error holds failures only, unless it is a terminal.
    pub(crate) fn on_terminal() -> Self {
        let mut progress = Self::new();
        progress.only_on_terminal = true;
        progress
    }

    pub(crate) fn show(&mut self, text: &str) {
        if self.is_terminal {
            self.is_shown = true;
            standard::write_error(&format!("\r\x1b[K{text}"));
        } else if !self.only_on_terminal
            && self.last_line.is_none_or(|last| last.elapsed() >= Duration::from_secs(1))
        {
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
