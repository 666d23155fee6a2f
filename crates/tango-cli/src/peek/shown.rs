//! What `peek` writes: fragments as text or as JSON, and what was lost.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};

use rust_tango::OwnedFragment;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{self, VERSION};
use crate::{shown, standard};

/// Bytes of a payload that people see if they do not choose.
const BYTES: usize = 256;

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
            shown::lost(lost)
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
    shown::metadata(&fragment.meta) + &shown::payload(&fragment.payload, form.bytes.unwrap_or(BYTES))
}
