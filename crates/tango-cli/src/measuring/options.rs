//! The options that the measuring commands share.

use std::time::Duration;

use rust_tango::Wait;

use crate::measuring::ask::Plan;
use crate::measuring::exchange::Length;
use crate::measuring::wire::Stage;
use crate::options;

/// The most messages per second while one-way latency is measured, unless told otherwise.
const RATE: u64 = 50_000;
/// The most payload bytes per second meanwhile. Large messages are sent at a lower rate, which leaves the link idle most of
/// the time.
const BYTE_RATE: u64 = 200_000_000;

/// What is measured, and how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Size of a message: 0 to 16777216
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = size)]
    pub(crate) size: usize,
    /// Slots of each link, a power of two
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = depth)]
    pub(crate) depth: usize,
    /// Time for all windows together, 0.1 to 86400, without
    /// their warm-ups
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "3",
        value_parser = duration,
        verbatim_doc_comment
    )]
    pub(crate) duration: Duration,
    /// Messages (or round trips) in each window, instead of
    /// a time
    #[arg(
        long,
        value_name = "N",
        value_parser = options::positive_count,
        conflicts_with = "duration",
        verbatim_doc_comment
    )]
    count: Option<u64>,
    /// How often each row is measured: 1 to 1000. The table
    /// has medians
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1000),
        verbatim_doc_comment
    )]
    windows: u32,
    /// Messages per second while one-way latency is
    /// measured [default: 50000, less if large]
    #[arg(
        long,
        value_name = "N",
        value_parser = options::positive_count,
        verbatim_doc_comment
    )]
    rate: Option<u64>,
    /// What to measure, separated by commas: round-trip,
    /// one-way, throughput
    #[arg(
        long,
        value_name = "WHAT",
        value_delimiter = ',',
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    measure: Vec<What>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a side waits for the other one. What each is stands in the help text of `bench`: with a text for each value, clap would
/// print the help text in another form than that of the other commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Waiting {
    // Keep the core.
    Spin,
    // Keep the core, unless another program wants it.
    Yield,
    // Sleep after 20 us, until woken.
    Park,
}

impl Waiting {
    pub(crate) fn wait(self) -> Wait {
        match self {
            Self::Spin => Wait::Spin,
            Self::Yield => Wait::Yield,
            Self::Park => Wait::Park,
        }
    }
}

/// The name of a way to wait, as the option has it.
pub(crate) fn wait_name(wait: Wait) -> &'static str {
    match wait {
        Wait::Spin => "spin",
        Wait::Yield => "yield",
        _ => "park",
    }
}

/// What can be measured besides the raw cache line, which always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    // A message and its answer.
    RoundTrip,
    // One message at a time, at a rate.
    OneWay,
    // As many messages as possible.
    Throughput,
}

impl Options {
    /// What is to be done, if these are measured by default.
    pub(crate) fn plan(&self, default: &[What]) -> Plan {
        let wanted = if self.measure.is_empty() { default } else { &self.measure };
        let mut stages = vec![Stage::Raw];
        for (what, stage) in [
            (What::RoundTrip, Stage::Trips),
            (What::OneWay, Stage::OneWay),
            (What::Throughput, Stage::Stream),
        ] {
            if wanted.contains(&what) {
                stages.push(stage);
            }
        }
        let windows = self.windows * stages.len() as u32;
        let length = match self.count {
            Some(count) => Length::Count(count),
            None => Length::Time(self.duration / windows),
        };
        let rate = self.rate.unwrap_or_else(|| default_rate(self.size));
        let (size, depth) = (self.size, self.depth);
        Plan { stages, size, depth, windows: self.windows, length, rate }
    }
}

/// Messages of this size per second while one-way latency is measured.
pub(crate) fn default_rate(size: usize) -> u64 {
    (BYTE_RATE / size.max(1) as u64).clamp(10, RATE)
}

/// A time for measuring.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = options::seconds(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(86_400);
    if allowed.contains(&duration) { Ok(duration) } else { Err("expected 0.1 to 86400 seconds".to_owned()) }
}

/// The size of a message.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    const MAX: usize = 1 << 24;
    let size = text.parse().ok().filter(|size| *size <= MAX);
    size.ok_or_else(|| format!("expected a number of bytes from 0 to {MAX}"))
}

/// The depth of a link.
pub(crate) fn depth(text: &str) -> Result<usize, String> {
    const MAX: usize = 1 << 20;
    let is_allowed = |depth: &usize| depth.is_power_of_two() && (2..=MAX).contains(depth);
    text.parse().ok().filter(is_allowed).ok_or_else(|| format!("expected a power of two from 2 to {MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_sizes_and_durations_have_limits() {
        assert_eq!((depth("2"), depth("1048576")), (Ok(2), Ok(1 << 20)));
        assert_eq!((size("0"), size("16777216")), (Ok(0), Ok(1 << 24)));
        assert_eq!(duration("0.1"), Ok(Duration::from_millis(100)));
        for text in ["", "-1", "0", "1", "3", "2097152"] {
            assert!(depth(text).is_err(), "{text}");
        }
        for text in ["", "-1", "16777217"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["", "-1", "0.05", "86401"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
