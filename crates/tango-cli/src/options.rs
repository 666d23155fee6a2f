//! Parsers for option values that several subcommands take. Their errors complete the sentence "invalid
//! value 'X' for '--option': ...".

use std::num::NonZeroUsize;
use std::time::Duration;

use nix::unistd::Group;

/// A count, possibly 0.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a number of 0 or more".to_owned())
}

/// A number of bytes, at least 1.
pub(crate) fn positive_bytes(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a number of bytes of 1 or more".to_owned())
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
    fn durations_are_finite_and_not_negative() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for text in ["", "-1", "nan", "inf", "1e30", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
