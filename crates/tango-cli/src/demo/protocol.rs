//! What the processes of the demonstration tell it: lines on their standard output.
//!
//! ```text
//! ready                       the links are created or joined; the process that sends waits for a line of input
//! text WORDS                  a line for the report, as it is
//! result sent=10 nanos=20     the process has finished, with these counts
//! error MESSAGE               the process has failed
//! ```

use std::fmt;

/// A line from a process to the demonstration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// The process has created or joined its links.
    Ready,
    /// A line for the report.
    Text(String),
    /// The process has finished.
    Result(Counts),
    /// The process has failed.
    Error(String),
}

impl Line {
    /// Reads a line. One that follows no known form is an error message.
    pub(crate) fn parse(text: &str) -> Self {
        match text.split_once(' ').unwrap_or((text, "")) {
            ("ready", _) => Self::Ready,
            ("text", words) => Self::Text(words.to_owned()),
            ("result", counts) => Self::Result(Counts::parse(counts)),
            ("error", message) => Self::Error(message.to_owned()),
            _ => Self::Error(text.to_owned()),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Text(words) => write!(f, "text {words}"),
            Self::Result(counts) => write!(f, "result {counts}"),
            Self::Error(message) => write!(f, "error {message}"),
        }
    }
}

/// Numbers with names: what a process has counted and measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts(Vec<(String, u64)>);

impl Counts {
    fn parse(text: &str) -> Self {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        Self(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// The count with this name; 0 if it is missing.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
    }

    /// Adds more counts.
    pub(crate) fn and<const N: usize>(mut self, counts: [(&str, u64); N]) -> Self {
        self.0.extend(counts.map(|(name, value)| (name.to_owned(), value)));
        self
    }
}

impl<const N: usize> From<[(&str, u64); N]> for Counts {
    fn from(counts: [(&str, u64); N]) -> Self {
        Self::default().and(counts)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let counts = Counts::from([("sent", 10), ("nanos", u64::MAX)]);
        let texts = [Line::Text(String::new()), Line::Text("  max 7 ns".to_owned())];
        let others = [Line::Ready, Line::Result(counts.clone()), Line::Error("no memory".to_owned())];
        for line in texts.into_iter().chain(others) {
            assert_eq!(Line::parse(&line.to_string()), line);
        }
        assert_eq!((counts.get("nanos"), counts.get("other")), (u64::MAX, 0));
        assert_eq!(Line::parse("thread panicked"), Line::Error("thread panicked".to_owned()));
    }
}
