//! [`Input`]: standard input, as fragments of a link.

use std::io::{BufRead, BufReader, Read};
use std::thread;

use rust_tango::{Control, Producer, TangoError};

use super::rate::Rate;
use crate::content::LONGEST_LINE;
use crate::failure::Failure;
use crate::summary::Tally;
use crate::{format, standard};

/// Where standard input goes, and how.
pub(super) struct Input<'a> {
    pub(super) tx: &'a Producer<'a>,
    /// The `sig` of each fragment.
    pub(super) sig: u64,
    pub(super) rate: Option<Rate>,
    pub(super) tally: &'a Tally,
}

impl Input<'_> {
    /// Publishes whatever each read of the input returns, in fragments of up to the MTU.
    pub(super) fn send_bytes(&mut self) -> Result<(), Failure> {
        let mut buffer = vec![0; self.tx.mtu()];
        loop {
            match standard::Input.read(&mut buffer).map_err(Failure::input)? {
                0 => return Ok(()),
                len => self.publish(&buffer[..len], Control::WHOLE)?,
            }
        }
    }

    /// Publishes each line of the input as a message, in the same fragments as [`Producer::send_message`]. A long
    /// line leaves in parts, while the rest of it is still read.
    pub(super) fn send_lines(&mut self) -> Result<(), Failure> {
        let mtu = self.tx.mtu();
        let mut input = BufReader::with_capacity(1 << 16, standard::Input);
        // What was read of a line and is not published: up to a fragment and the byte after it.
        let mut unsent = Vec::new();
        // How much of the line was published.
        let mut sent = 0;
        loop {
            let room = (mtu + 1 - unsent.len()) as u64;
            let read = input.by_ref().take(room).read_until(b'\n', &mut unsent).map_err(Failure::input)?;
            if read == 0 && unsent.is_empty() {
                return Ok(());
            }
            let is_newline_read = unsent.last() == Some(&b'\n');
            let is_more = !is_newline_read && unsent.len() > mtu;
            if !is_newline_read && !is_more && read > 0 {
                continue; // to the end of the input, or more of the line
            }
            let part = if is_newline_read { unsent.len() - 1 } else { unsent.len().min(mtu) };
            if part > LONGEST_LINE - sent {
                return Err(Failure::new(format!(
                    "a line of standard input is longer than {} bytes, the limit",
                    format::count(LONGEST_LINE as u64)
                )));
            }
            let mut control = Control::WHOLE;
            if sent > 0 {
                control = control.with_continues();
            }
            if is_more {
                control = control.with_more();
            }
            self.publish(&unsent[..part], control)?;
            sent = if is_more { sent + part } else { 0 };
            unsent.drain(..if is_more { part } else { unsent.len() });
        }
    }

    /// Publishes a message, or a part of one. The first part waits until the rate allows it.
    fn publish(&mut self, payload: &[u8], control: Control) -> Result<(), Failure> {
        match &mut self.rate {
            Some(rate) if !control.continues() => rate.wait(),
            _ => {}
        }
        self.tx.publish_blocking(payload, self.sig, control.bits(), 0).map_err(publish_failure)?;
        self.tally.fragment(payload.len());
        if !control.more() {
            self.tally.message();
        }
        Ok(())
    }
}

fn publish_failure(error: TangoError) -> Failure {
    if error == TangoError::Closed {
        // The link was stopped: by another thread, or by another process, which the checking thread notices.
        wait_for_exit();
    }
    Failure::new(error.to_string())
}

/// Blocks because one of the other threads reports the reason and ends the process.
pub(super) fn wait_for_exit() -> ! {
    loop {
        thread::park();
    }
}
