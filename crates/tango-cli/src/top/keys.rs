//! [`Keys`]: what was typed on the terminal at standard input.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use ratatui::termion::event::{Event, Key, parse_event};

const ESCAPE: u8 = 0x1b;
/// How long the rest of a key may take, in milliseconds: most keys send several bytes, which begin with that of Escape.
const REST_OF_KEY: u16 = 50;
/// Longer than any key.
const MOST: usize = 4096;

/// The keys that were typed.
#[derive(Debug)]
pub(super) struct Keys {
    open: bool,
}

impl Keys {
    /// There are none if standard input is no terminal.
    pub(super) fn of_terminal() -> Self {
        Self { open: io::stdin().is_terminal() }
    }

    /// Whether keys can still come.
    pub(super) fn are_open(&self) -> bool {
        self.open
    }

    /// The keys that were typed since the last call. It waits only for the rest of a key.
    pub(super) fn read(&mut self) -> io::Result<Vec<Key>> {
        let mut typed = Vec::new();
        let mut wait = PollTimeout::ZERO;
        while self.open && is_ready(wait)? {
            let mut bytes = [0; 256];
            match unistd::read(io::stdin(), &mut bytes) {
                // The terminal has gone.
                Ok(0) | Err(Errno::EIO) => self.open = false,
                Ok(len) => typed.extend_from_slice(&bytes[..len]),
                Err(Errno::EINTR | Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            if !is_cut(&typed) || typed.len() > MOST {
                break;
            }
            wait = REST_OF_KEY.into();
        }
        Ok(keys_in(&typed))
    }
}

fn is_ready(within: PollTimeout) -> io::Result<bool> {
    let input = io::stdin();
    match poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], within) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the last key may have more bytes.
fn is_cut(typed: &[u8]) -> bool {
    let Some(begin) = typed.iter().rposition(|byte| *byte == ESCAPE) else { return false };
    match &typed[begin + 1..] {
        [] => true,
        [b'O', rest @ ..] => rest.is_empty(),
        // Numbers and semicolons, and another byte at the end.
        [b'[', rest @ ..] => rest.iter().all(|byte| !(0x40..=0x7e).contains(byte)),
        _ => false,
    }
}

/// Escape is a key if nothing that belongs to another follows it.
fn keys_in(typed: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut left = typed.iter().copied().map(Ok).peekable();
    while let Some(Ok(byte)) = left.next() {
        let follows = left.peek().and_then(|next| next.as_ref().ok());
        if byte == ESCAPE && follows.is_none_or(|next| *next == ESCAPE) {
            keys.push(Key::Esc);
        } else if let Ok(Event::Key(key)) = parse_event(byte, &mut left) {
            keys.push(key);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_several_bytes() {
        let keys = keys_in(b"j\x1b[Ar\x1b\x1b[1~\n\x1bOP\x1b[5~q\x1b");
        let wanted = [
            Key::Char('j'),
            Key::Up,
            Key::Char('r'),
            Key::Esc,
            Key::Home,
            Key::Char('\n'),
            Key::F(1),
            Key::PageUp,
            Key::Char('q'),
            Key::Esc,
        ];
        assert_eq!(keys, wanted);
        // What is no key is skipped, and what follows is not.
        assert_eq!(keys_in(b"\x1b[999;9999zq").last(), Some(&Key::Char('q')));
    }

    #[test]
    fn keys_can_be_cut() {
        for cut in [&b"\x1b"[..], b"j\x1b[", b"\x1b[1", b"\x1b[1;5", b"\x1bO", b"\x1b[A\x1b"] {
            assert!(is_cut(cut), "{cut:?}");
        }
        for whole in [&b""[..], b"j", b"\x1b[A", b"\x1b[1~", b"\x1b[1;5Aq", b"\x1bOA", b"\x1bx"] {
            assert!(!is_cut(whole), "{whole:?}");
        }
    }
}
