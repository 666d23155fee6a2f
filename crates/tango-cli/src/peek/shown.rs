//! How fragments are shown: a line of metadata and a dump, or JSON.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};

use rust_tango::{Control, OwnedFragment};
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{self, VERSION};
use crate::{format, standard};

/// Bytes of a payload that people see if they do not choose.
const BYTES: usize = 256;
/// Bytes on a line of a dump.
const LINE: usize = 16;

/// How to show a fragment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) json: bool,
    /// The most bytes of a payload. `None`: as many as are usual.
    pub(super) bytes: Option<usize>,
}

/// Standard output, and what was written to it.
pub(super) struct Shown {
    form: Form,
    out: BufWriter<standard::Output>,
    /// How many fragments were shown.
    pub(super) fragments: usize,
    /// How many were lost.
    pub(super) lost: u64,
}

#[derive(Serialize)]
struct Fragment {
    version: u32,
    seq: u64,
    sig: u64,
    ctl: u16,
    ts: u32,
    size: u32,
    payload: String,
}

#[derive(Serialize)]
struct Lost {
    version: u32,
    lost: u64,
}

impl Shown {
    pub(super) fn new(form: Form) -> Self {
        let out = BufWriter::with_capacity(1 << 16, standard::Output);
        Self { form, out, fragments: 0, lost: 0 }
    }

    pub(super) fn fragment(&mut self, fragment: &OwnedFragment) -> Result<(), Failure> {
        self.fragments += 1;
        let text = if self.form.json { json(fragment, self.form)? } else { text(fragment, self.form) };
        self.write(&text)
    }

    /// Fragments were lost here.
    pub(super) fn lost(&mut self, lost: u64) -> Result<(), Failure> {
        // The counts of a corrupt link can overflow the sum.
        self.lost = self.lost.saturating_add(lost);
        let text = if self.form.json {
            report::json(&Lost { version: VERSION, lost })? + "\n"
        } else {
            format!("lost {} fragments\n", format::count(lost))
        };
        self.write(&text)
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::output)
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(Failure::output)
    }
}

fn json(fragment: &OwnedFragment, form: Form) -> Result<String, Failure> {
    let meta = fragment.meta;
    let payload = fragment.payload.iter().take(form.bytes.unwrap_or(usize::MAX));
    let payload = payload.fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
        text
    });
    let (seq, sig, ctl, ts, size) = (meta.seq, meta.sig, meta.ctl, meta.ts, meta.size);
    Ok(report::json(&Fragment { version: VERSION, seq, sig, ctl, ts, size, payload })? + "\n")
}

fn text(fragment: &OwnedFragment, form: Form) -> String {
    let meta = fragment.meta;
    let (seq, sig, ts, size) = (meta.seq, meta.sig, meta.ts, meta.size);
    let mut text =
        format!("seq {seq}  sig {sig} ({sig:#x})  ctl {}  ts {ts}  size {size}\n", control(meta.ctl));
    let payload = &fragment.payload;
    let shown = payload.len().min(form.bytes.unwrap_or(BYTES));
    for (index, bytes) in payload[..shown].chunks(LINE).enumerate() {
        text += &dump(index * LINE, bytes);
    }
    if shown > 0 && shown < payload.len() {
        text += &format!("  ... {} more bytes\n", format::count((payload.len() - shown) as u64));
    }
    text
}

/// The control bits in words: `0x3 (continues, more)`.
fn control(ctl: u16) -> String {
    let control = Control::from_bits(ctl);
    let mut words = Vec::new();
    for (is_set, word) in
        [(control.continues(), "continues"), (control.more(), "more"), (control.error(), "error")]
    {
        if is_set {
            words.push(word.to_owned());
        }
    }
    if control.origin() > 0 {
        words.push(format!("origin {}", control.origin()));
    }
    if words.is_empty() { format!("{ctl:#x}") } else { format!("{ctl:#x} ({})", words.join(", ")) }
}

/// A line of up to 16 bytes: where they are, as numbers, as text.
fn dump(offset: usize, bytes: &[u8]) -> String {
    let mut line = format!("  {offset:08x} ");
    let mut text = String::new();
    for index in 0..LINE {
        if index == LINE / 2 {
            line.push(' ');
        }
        match bytes.get(index) {
            Some(byte) => {
                line += &format!(" {byte:02x}");
                text.push(if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' });
            }
            None => line += "   ",
        }
    }
    format!("{line}  |{text}|\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_aligned_and_hide_no_control_character() {
        let full = dump(16, b"bid 101.25\n\x1b[2J\xff");
        assert_eq!(
            full,
            "  00000010  62 69 64 20 31 30 31 2e  32 35 0a 1b 5b 32 4a ff  |bid 101.25..[2J.|\n"
        );
        let part = dump(0, b"ab");
        assert_eq!(part.find('|'), full.find('|'));
        assert!(part.ends_with("  |ab|\n"));
    }

    #[test]
    fn control_bits_are_words() {
        assert_eq!(control(0), "0x0");
        assert_eq!(
            control(Control::new(9).with_more().with_continues().bits()),
            "0x4b (continues, more, origin 9)"
        );
    }
}
