//! Single values of settings. Errors complete the sentence "invalid value 'X' for '--option': ...".

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserializer;
use serde::de::{Error, Visitor};

/// A size in bytes, of 1 or more.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].to_ascii_uppercase().as_str() {
        "" | "B" => Some(0),
        "K" | "KIB" => Some(10),
        "M" | "MIB" => Some(20),
        "G" | "GIB" => Some(30),
        _ => None,
    };
    let number = text[..digits].parse::<usize>().ok().filter(|number| *number > 0);
    let size = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    size.ok_or_else(|| "expected a number of bytes of 1 or more, such as 4096, 64K or 16M".to_owned())
}

/// A time of 0 or more: seconds, or a number with a unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = seconds.or_else(|| Duration::try_from(text.parse::<SignedDuration>().ok()?).ok());
    time.ok_or_else(|| "expected a time, such as 200us, 5ms, 2s or 0".to_owned())
}

/// How many fragments back are sent again.
pub(super) fn history(text: &str) -> Result<u64, String> {
    match text {
        "all" => Ok(u64::MAX),
        "none" => Ok(0),
        _ => text.parse().map_err(|_| "expected a number of fragments, 'all' or 'none'".to_owned()),
    }
}

/// Where a new far link begins: whether with the oldest fragment.
pub(super) fn from_oldest(text: &str) -> Result<bool, String> {
    match text {
        "oldest" => Ok(true),
        "next" => Ok(false),
        _ => Err("expected 'oldest' or 'next'".to_owned()),
    }
}

/// The address of metrics.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, such as 127.0.0.1:9822 or [::1]:9822".to_owned())
}

/// A count of 0 or more.
pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a number of 0 or more".to_owned())
}

/// Values of a file: a text as on the command line, or a whole number.
macro_rules! in_files {
    ($($name:ident: $parse:ident -> $value:ty;)*) => {
        /// The same values in a file of settings.
        pub(super) mod in_file {
            use super::*;
            $(pub(in crate::settings) fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<$value, D::Error> {
                text(from, |text| super::$parse(text).map(Into::into))
            })*
        }
    };
}

in_files! {
    size: size -> usize;
    time: time -> Duration;
    maybe_time: time -> Option<Duration>;
    maybe_count: count -> Option<usize>;
    history: history -> u64;
    from_oldest: from_oldest -> bool;
    address: address -> Option<SocketAddr>;
}

/// A text or a number, read by `parse`.
fn text<'de, D: Deserializer<'de>, T>(from: D, parse: fn(&str) -> Result<T, String>) -> Result<T, D::Error> {
    struct Text<T>(fn(&str) -> Result<T, String>);
    impl<T> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a number")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(|expected| E::custom(format!("invalid value '{text}': {expected}")))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
    }
    from.deserialize_any(Text(parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        for (text, bytes) in
            [("1", 1), ("64K", 64 << 10), ("64KiB", 64 << 10), ("16m", 16 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "K", "-1", "1.5M", "1 K", "99999999999999G", "1µ", "64KB"] {
            assert!(size(text).is_err(), "{text}");
        }
        for (text, micros) in
            [("0", 0), ("200us", 200), ("5ms", 5_000), ("0.5", 500_000), ("1m 30s", 90_000_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "-1", "-5ms", "5 parsecs", "inf"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
