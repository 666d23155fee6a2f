//! What the publisher and the reader of docs/tutorial.md share: the message, and the file that it is read from.

use std::fs;

use rust_tango::TypeName;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Name of the link.
pub const LINK: &str = "quotes";

/// The message. Its fields are at the same places in all programs (`repr(C)`); `quote.py` has the same for Python.
#[derive(Debug, Clone, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Quote {
    /// Nanoseconds since the first quote of the file.
    pub time: u64,
    /// Letters, filled up with zeros.
    pub symbol: [u8; 8],
    /// What a buyer offers.
    pub bid: f64,
    /// What a seller asks for.
    pub ask: f64,
    /// How many the buyer wants.
    pub bid_size: u32,
    /// How many the seller has.
    pub ask_size: u32,
}

/// Readers compare this name, `Quote`, and the size and the alignment.
impl TypeName for Quote {}

/// The columns of the file, as its head names them.
const COLUMNS: &str = "time_ns,symbol,bid,ask,bid_size,ask_size";

/// Reads a file of quotes.
///
/// # Errors
///
/// It names the file, and the line that is not a quote, or is earlier than the one above.
pub fn read(path: &str) -> Result<Vec<Quote>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut quotes: Vec<Quote> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') || line == COLUMNS {
            continue;
        }
        let number = index + 1;
        let quote = parse(line).ok_or_else(|| format!("{path}, line {number}: {line:?} is not {COLUMNS}"))?;
        if quotes.last().is_some_and(|last| last.time > quote.time) {
            return Err(format!("{path}, line {number}: the time is before that of the line above"));
        }
        quotes.push(quote);
    }
    Ok(quotes)
}

fn parse(line: &str) -> Option<Quote> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[time, name, bid, ask, bid_size, ask_size] = fields.as_slice() else { return None };
    let mut symbol = [0; 8];
    symbol.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    Some(Quote {
        time: time.parse().ok()?,
        symbol,
        bid: bid.parse().ok()?,
        ask: ask.parse().ok()?,
        bid_size: bid_size.parse().ok()?,
        ask_size: ask_size.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_quote() {
        let quote = parse("7,ASH,99.98,100.01,300,500").unwrap();
        let expected = Quote {
            time: 7,
            symbol: *b"ASH\0\0\0\0\0",
            bid: 99.98,
            ask: 100.01,
            bid_size: 300,
            ask_size: 500,
        };
        assert_eq!(quote, expected);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "7,ASH,99.98,100.01,300",
            "7,ASH,99.98,100.01,300,500,1",
            "-1,ASH,1,2,3,4",
            "7,123456789,1,2,3,4",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_committed_file_is_read() {
        let quotes = read(concat!(env!("CARGO_MANIFEST_DIR"), "/quotes.csv")).unwrap();
        assert!(quotes.len() > 5000 && quotes.iter().all(|quote| quote.bid < quote.ask));
    }
}
