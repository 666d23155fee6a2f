//! Numbers, durations, tables and states in the form in which the command prints them.

use std::fmt::Write;
use std::time::Duration;

/// A count with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Says that the owner of a link has found that its name is lost.
pub(crate) fn name_lost(link: &str) -> String {
    format!(
        "link {link} has lost its name (it was removed, or something has deleted, renamed or replaced its files), so it has ended"
    )
}

/// A number of bytes in the largest unit that it reaches: `1.2 MiB`.
pub(crate) fn bytes(number: f64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB"].into_iter();
    let (mut number, mut unit) = (number, units.next().unwrap_or_default());
    for larger in units {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, larger);
    }
    if unit == "B" { format!("{number:.0} B") } else { format!("{number:.1} {unit}") }
}

/// A rounded count: `12.30 M`.
pub(crate) fn short_count(number: f64) -> String {
    match number {
        1e9.. => format!("{:.2} G", number / 1e9),
        1e6.. => format!("{:.2} M", number / 1e6),
        1e4.. => format!("{:.1} k", number / 1e3),
        _ => format!("{number:.0}"),
    }
}

/// A duration in the largest unit that it reaches: `312 ns`, `4.10 us`.
pub(crate) fn duration(duration: Duration) -> String {
    let ns = duration.as_nanos() as f64;
    match ns {
        1e9.. => format!("{:.2} s", ns / 1e9),
        1e6.. => format!("{:.2} ms", ns / 1e6),
        1e3.. => format!("{:.2} us", ns / 1e3),
        _ => format!("{ns:.0} ns"),
    }
}

/// A text as one line that hides nothing: control characters become spaces. Other characters that a terminal does not
/// show, or that change the direction of text, are escaped as in Rust, `\u{202e}`. For texts with names or paths.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for char in text.chars() {
        // The standard library escapes what cannot be printed. Behind a letter, it leaves marks that belong to one.
        let is_hidden =
            || !matches!(char, '"' | '\'' | '\\') && format!("a{char}").escape_debug().count() > 2;
        match char {
            _ if char.is_control() => line.push(' '),
            _ if is_hidden() => line.extend(char.escape_unicode()),
            _ => line.push(char),
        }
    }
    line
}

/// Rows of cells as aligned columns without trailing spaces. `align_right` names the columns that are
/// aligned to the right, by index.
pub(crate) fn table(rows: &[Vec<String>], align_right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let width = widths[column];
            // Writing to a string cannot fail.
            let _ = if align_right.contains(&column) {
                write!(line, "{gap}{cell:>width$}")
            } else {
                write!(line, "{gap}{cell:<width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_units() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 1023.0, 1024.0, 1.5e9].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.4 GiB"]);
        assert_eq!([12.0, 12e3, 12e6, 12e9].map(short_count), ["12", "12.0 k", "12.00 M", "12.00 G"]);
        let durations = [312, 4100, 5_000_000, 3_000_000_000].map(|ns| duration(Duration::from_nanos(ns)));
        assert_eq!(durations, ["312 ns", "4.10 us", "5.00 ms", "3.00 s"]);
    }

    #[test]
    fn one_line_hides_nothing() {
        let shown = "größe e\u{301} \u{5d0} a \"b\" \\ 'c' 価格";
        assert_eq!(one_line(shown), shown);
        assert_eq!(one_line("a\nb\u{1b}[2Jc\u{85}d"), "a b [2Jc d");
        assert_eq!(one_line("a\u{202e}b\u{2066}c\u{200b}d\u{feff}"), r"a\u{202e}b\u{2066}c\u{200b}d\u{feff}");
        assert_eq!(one_line("\u{2028}\u{a0}\u{e000}"), r"\u{2028}\u{a0}\u{e000}");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "1"], ["bcd", "23"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&rows, &[1]), "a     1\nbcd  23\n");
    }
}
