//! How fragments are shown to people, by `peek` and `recv`: a line of metadata, and a dump.

use rust_tango::{Control, FragmentMetadata};

use crate::format;

/// Bytes on a line of a dump.
const LINE: usize = 16;

/// The metadata of a fragment: `seq 20  sig 7 (0x7)  ctl 0x0  ts 1020  size 6`.
pub(crate) fn metadata(meta: &FragmentMetadata) -> String {
    let (seq, sig, ts, size) = (meta.seq, meta.sig, meta.ts, meta.size);
    format!("seq {seq}  sig {sig} ({sig:#x})  ctl {}  ts {ts}  size {size}\n", control(meta.ctl))
}

/// Lines of up to 16 bytes of a payload: where they are, as numbers, and as text. After this many bytes, how many are left
/// out, but not if that is all of them.
pub(crate) fn payload(bytes: &[u8], most: usize) -> String {
    let shown = bytes.len().min(most);
    let mut text = String::new();
    for (index, line) in bytes[..shown].chunks(LINE).enumerate() {
        text += &dump(index * LINE, line);
    }
    if shown > 0 && shown < bytes.len() {
        text += &format!("  ... {} more bytes\n", format::count((bytes.len() - shown) as u64));
    }
    text
}

/// In the place of fragments that were lost.
pub(crate) fn lost(fragments: u64) -> String {
    format!("lost {} fragments\n", format::count(fragments))
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
