//! Parsers for option values that several subcommands take. Their errors complete the sentence "invalid
//! value 'X' for '--option': ...".

use std::num::NonZeroUsize;
use std::time::Duration;

use jiff::SignedDuration;
use nix::unistd::Group;
use rust_tango::Start;

/// A count, possibly 0.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a number of 0 or more".to_owned())
}

/// A number of bytes, at least 1.
pub(crate) fn positive_bytes(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a number of bytes of 1 or more".to_owned())
}

/// A count of 1 or more.
pub(crate) fn positive_count(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "expected a number of 1 or more".to_owned())
}

/// A factor over 0.
pub(crate) fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor: &f64| factor.is_finite() && *factor > 0.0);
    factor.ok_or_else(|| "expected a number over 0".to_owned())
}

/// A size, with or without one of the units K, M, G and T, which are powers of 1024. At least 1 byte.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, unit)) if !unit.is_ascii_digit() => (&text[..at], unit.to_ascii_uppercase()),
        _ => (text, 'B'),
    };
    let shift = match unit {
        'B' => Some(0),
        'K' => Some(10),
        'M' => Some(20),
        'G' => Some(30),
        'T' => Some(40),
        _ => None,
    };
    let number = number.parse::<u64>().ok().filter(|number| *number > 0);
    let size = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    size.ok_or_else(|| "expected a number of bytes of 1 or more, such as 4096, 64K, 20M or 1G".to_owned())
}

/// A duration over 0: seconds, or a number with a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = seconds(text).ok().or_else(|| {
        let with_units: Option<SignedDuration> = text.parse().ok();
        with_units.and_then(|duration| Duration::try_from(duration).ok())
    });
    let duration = duration.filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "expected a time over 0, such as 10 (seconds), 500ms, 10m or 1h30m".to_owned())
}

/// A group, by its name or its number. Returns the number.
pub(crate) fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err("there is no group of this name".to_owned()),
        Err(error) => Err(format!("cannot look up groups: {error}")),
    }
}

/// The depth of a link. The library checks that it is a power of two within its limits.
pub(crate) fn depth(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a power of two of 2 or more".to_owned())
}

/// A duration in seconds, possibly fractional.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let duration = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "expected a number of seconds of 0 or more".to_owned())
}

/// Where a reader begins.
pub(crate) fn beginning(text: &str) -> Result<Start, String> {
    match text {
        "oldest" => Ok(Start::Oldest),
        "next" => Ok(Start::Next),
        _ => number(text)
            .map(Start::At)
            .ok_or_else(|| "expected 'oldest', 'next' or the number of a fragment".to_owned()),
    }
}

/// A number of messages a second, over 0.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    factor(text).map_err(|_| "expected a number of messages a second, over 0".to_owned())
}

/// A `sig`: a number of 64 bits, decimal or hexadecimal (`0x`).
pub(crate) fn sig(text: &str) -> Result<u64, String> {
    number(text).ok_or_else(|| "expected a number of up to 64 bits, such as 7 or 0x7".to_owned())
}

/// A `ctl`: a number of 16 bits, decimal or hexadecimal (`0x`).
pub(crate) fn ctl(text: &str) -> Result<u16, String> {
    let ctl = number(text).and_then(|number| number.try_into().ok());
    ctl.ok_or_else(|| "expected a number from 0 to 65535, such as 3 or 0x3".to_owned())
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // The standard library would accept a sign.
    digits.chars().all(|digit| digit.is_digit(radix)).then(|| u64::from_str_radix(digits, radix).ok())?
}

/// Seconds between two looks at something.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let interval = seconds(text).ok().filter(|interval| *interval >= Duration::from_millis(100));
    interval.ok_or_else(|| "expected a number of seconds of 0.1 or more".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_names_and_numbers() {
        assert_eq!((group("root"), group("1500"), group("0")), (Ok(0), Ok(1500), Ok(0)));
        for text in ["", "-1", "no-such-group", "4294967296"] {
            assert!(group(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let sizes =
            [("1", 1), ("64K", 64 << 10), ("20m", 20 << 20), ("1G", 1 << 30), ("2T", 2 << 40), ("7B", 7)];
        for (text, bytes) in sizes {
            assert_eq!(size(text), Ok(bytes));
        }
        for text in ["", "K", "0", "0K", "-1", "1.5G", "1X", "99999999999T", "1 K", "1\u{00b5}"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        let durations =
            [("10", 10_000), ("0.5", 500), ("500ms", 500), ("10m", 600_000), ("1h30m", 5_400_000)];
        for (text, ms) in durations {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
        }
        for text in ["", "0", "0s", "-1", "-10m", "soon", "10 parsecs", "nan"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!((sig("7"), sig("0x1F"), sig("18446744073709551615")), (Ok(7), Ok(31), Ok(u64::MAX)));
        assert_eq!((ctl("65535"), ctl("0xffff")), (Ok(u16::MAX), Ok(u16::MAX)));
        for text in ["", "0x", "-1", "+1", "0x+1", "1f", "18446744073709551616"] {
            assert!(sig(text).is_err() && ctl(text).is_err(), "{text}");
        }
        assert!(ctl("65536").is_err());
        assert_eq!((beginning("oldest"), beginning("next")), (Ok(Start::Oldest), Ok(Start::Next)));
        assert_eq!((beginning("0"), beginning("0x10")), (Ok(Start::At(0)), Ok(Start::At(16))));
        for text in ["", "first", "-1", "1.5", "1h"] {
            assert!(beginning(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_finite_and_not_negative() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["", "-1", "nan", "inf", "1e30", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
