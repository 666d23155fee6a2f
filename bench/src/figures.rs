//! Medians with their range, and quantiles.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize, Serializer};

/// A median and the range around it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    #[serde(serialize_with = "short")]
    pub(crate) median: f64,
    #[serde(serialize_with = "short")]
    pub(crate) min: f64,
    #[serde(serialize_with = "short")]
    pub(crate) max: f64,
}

/// Serializes with five digits: the rest is noise.
fn short<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*value))
}

/// Rounds to five digits.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(4 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Self { median, min: sorted[0], max: sorted[sorted.len() - 1] }
    }

    pub(crate) fn map(self, each: impl Fn(f64) -> f64) -> Self {
        let (a, b) = (each(self.min), each(self.max));
        Self { median: each(self.median), min: a.min(b), max: a.max(b) }
    }
}

/// The quantiles that are kept of latencies, denser towards the maximum, which is the last.
pub(crate) fn quantiles() -> Vec<f64> {
    let body = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    // 90 %, 99 %, 99.9 %, 99.99 %, 99.999 %, and seven points between each two.
    let tail = (8..=40).map(|eighth| 1.0 - 10_f64.powf(-f64::from(eighth) / 8.0));
    body.into_iter().chain(tail).chain([1.0]).collect()
}

/// The index of this quantile in [`quantiles`].
pub(crate) fn quantile_index(quantile: f64) -> usize {
    let near = |&other: &f64| (other - quantile).abs() < 1e-9;
    quantiles().iter().position(near).expect("this quantile is kept")
}

/// The [`quantiles`] of these latencies in nanoseconds.
pub(crate) fn quantiles_of(latencies: &[u32]) -> Vec<u64> {
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, u64::from(u32::MAX), 3).expect("the bounds are valid");
    for &latency in latencies {
        histogram.record(u64::from(latency).max(1)).expect("it is within the bounds");
    }
    quantiles().into_iter().map(|quantile| histogram.value_at_quantile(quantile)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(&[4.0, 1.0]).min, 1.0);
        assert_eq!(Spread::of(&[4.0, 1.0]).max, 4.0);
    }

    #[test]
    fn quantiles_of_known_latencies() {
        let latencies: Vec<u32> = (1..=1000).collect();
        let found = quantiles_of(&latencies);
        assert_eq!(found.len(), quantiles().len());
        assert_eq!(found[quantile_index(0.5)], 500);
        assert_eq!(found[quantile_index(0.99)], 990);
        assert_eq!(found[quantile_index(1.0)], 1000);
        assert_eq!(found[0], 1);
    }

    #[test]
    fn five_digits_are_kept() {
        assert_eq!(rounded(123_456.0), 123_460.0);
        assert_eq!(rounded(0.012_345_64), 0.012_346);
        assert_eq!(rounded(0.0), 0.0);
    }

    #[test]
    fn the_named_quantiles_are_kept() {
        for quantile in [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
            quantile_index(quantile);
        }
    }
}
