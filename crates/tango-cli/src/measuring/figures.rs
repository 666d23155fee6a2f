//! Latencies of one window, and medians over several windows.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::Failure;

/// Longer latencies are recorded as this one, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// The percentiles that are shown, in this order; the last is the maximum.
pub(crate) const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Latencies in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Result<Self, Failure> {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3);
        histogram.map(Self).map_err(|error| Failure::new(error.to_string()))
    }

    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// The same latency several times.
    pub(crate) fn record_many(&mut self, nanos: u64, count: u64) {
        self.0.saturating_record_n(nanos, count);
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// Each latency that occurs, and how often.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The value of each of [`PERCENTILES`].
    pub(crate) fn percentiles(&self) -> [u64; PERCENTILES.len()] {
        PERCENTILES.map(|(name, quantile)| match name {
            "max" => self.0.max(),
            _ => self.0.value_at_quantile(quantile),
        })
    }

    pub(crate) fn median(&self) -> u64 {
        self.0.value_at_quantile(0.5)
    }
}

/// A median over windows, and the range of the windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// All 0 if there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Self { median, min, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn percentiles_of_known_latencies_survive_their_counts() {
        let mut latencies = Latencies::new().unwrap();
        (1..=1000).for_each(|nanos| latencies.record(nanos));
        let mut copy = Latencies::new().unwrap();
        latencies.counts().for_each(|(nanos, count)| copy.record_many(nanos, count));
        for latencies in [latencies, copy] {
            assert_eq!(latencies.percentiles(), [500, 900, 990, 999, 1000]);
            assert_eq!((latencies.len(), latencies.median()), (1000, 500));
        }
    }
}
