//! Medians with their range, quantiles, and how they are written.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A median and the range around it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
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

/// A figure with about three digits.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Aligns the cells between the bars of these lines: the first and the last to the left, the others to the right.
pub(crate) fn columns(lines: &str) -> String {
    let lines: Vec<Vec<&str>> = lines.lines().map(|line| line.split('|').collect()).collect();
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            let to_the_left = column == 0 || column + 1 == columns;
            if to_the_left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
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
    fn the_named_quantiles_are_kept() {
        for quantile in [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
            quantile_index(quantile);
        }
    }

    #[test]
    fn cells_are_aligned_in_columns() {
        assert_eq!(columns("|a|\nname|10|note"), "         a\n  name  10  note\n");
    }

    #[test]
    fn figures_have_about_three_digits() {
        assert_eq!([figure(1.234), figure(12.34), figure(123.4)], ["1.23", "12.3", "123"]);
    }
}
