//! [`Part`]: which fragments of a recording are replayed.

use std::time::Duration;

use jiff::Timestamp;

use crate::options;

/// A place in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// The number of a fragment.
    Number(u64),
    /// A time after the first fragment.
    After(Duration),
    /// A time of the clock, in nanoseconds since 1970.
    At(u64),
}

/// The value of `--from` or `--to`.
pub(super) fn position(text: &str) -> Result<Position, String> {
    if let Ok(number) = text.parse() {
        return Ok(Position::Number(number));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        let ns = u64::try_from(time.as_nanosecond());
        return ns.map(Position::At).map_err(|_| "expected a time from 1970 to 2554".to_owned());
    }
    if text == "0s" {
        return Ok(Position::After(Duration::ZERO));
    }
    // A fraction without a unit would be neither a number nor clearly a time.
    let time = options::duration(text).ok().filter(|_| text.ends_with(char::is_alphabetic));
    time.map(Position::After).ok_or_else(|| {
        "expected the number of a fragment, a time with a unit (90s, 1h30m), or one of the clock (2026-12-01T10:30:00Z)"
            .to_owned()
    })
}

/// A part of a recording.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    from: Option<Position>,
    to: Option<Position>,
}

impl Part {
    /// `begin` is the time of the first fragment, in nanoseconds since 1970.
    pub(super) fn new(from: Option<Position>, to: Option<Position>, begin: u64) -> Self {
        let absolute = |position| match position {
            Position::After(time) => Position::At(begin.saturating_add(time.as_nanos() as u64)),
            other => other,
        };
        Self { from: from.map(absolute), to: to.map(absolute) }
    }

    pub(super) fn is_all(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether a fragment with this number and time is in it. Numbers wrap.
    pub(super) fn has(&self, number: u64, time: u64) -> bool {
        let is_before = |a: u64, b: u64| (a.wrapping_sub(b) as i64) < 0;
        let is_after_begin = match self.from {
            Some(Position::Number(from)) => !is_before(number, from),
            Some(Position::At(from)) => time >= from,
            _ => true,
        };
        let is_before_end = match self.to {
            Some(Position::Number(to)) => !is_before(to, number),
            Some(Position::At(to)) => time <= to,
            _ => true,
        };
        is_after_begin && is_before_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_numbers_or_times() {
        assert_eq!(position("17"), Ok(Position::Number(17)));
        assert_eq!(position("90s"), Ok(Position::After(Duration::from_secs(90))));
        assert_eq!(position("0s"), Ok(Position::After(Duration::ZERO)));
        assert_eq!(position("1970-01-01T00:00:01.5Z"), Ok(Position::At(1_500_000_000)));
        assert_eq!(position("1970-01-01T01:00:01+01:00"), Ok(Position::At(1_000_000_000)));
        for text in ["", "-1", "1.5", "soon", "1960-01-01T00:00:00Z", "10:30"] {
            assert!(position(text).is_err(), "{text}");
        }
    }

    #[test]
    fn both_ends_are_included() {
        let numbers = Part::new(Some(Position::Number(u64::MAX)), Some(Position::Number(1)), 0);
        assert_eq!(
            [u64::MAX - 1, u64::MAX, 0, 1, 2].map(|number| numbers.has(number, 7)),
            [false, true, true, true, false]
        );
        let second = Duration::from_nanos(1);
        let times = Part::new(Some(Position::After(second)), Some(Position::At(103)), 100);
        assert_eq!([100, 101, 103, 104].map(|time| times.has(9, time)), [false, true, true, false]);
        assert!(Part::new(None, None, 0).is_all());
    }
}
