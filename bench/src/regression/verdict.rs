//! What the pairs of a row say. The ratio of a row is the median over the pairs. Its interval holds the true median
//! with 95 % certainty, whatever the distribution (the sign test): as many of the smallest and of the largest ratios
//! lie outside of it as heads are likely to be missing among so many coins.

use crate::figures::{Spread, columns};
use crate::plan::Sample;

/// A change that is smaller than this is none: two builds of the same code differ by as much.
const MIN_CHANGE: f64 = 0.03;
/// How often an interval may miss the true median.
const RISK: f64 = 0.05;

/// A measurement of each side, one right after the other.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) this: Sample,
    pub(super) other: Sample,
}

/// A figure of a row, on both sides.
#[derive(Debug)]
pub(super) struct Line {
    name: String,
    this: String,
    other: String,
    /// How many times as good as the other side this one is: the median, and the interval.
    better: Option<Spread>,
    pairs: usize,
}

impl Line {
    /// `figure` is a time or a size, so less is better. `in_unit` writes it.
    pub(super) fn new(
        name: String,
        pairs: &[Pair],
        figure: impl Fn(&Sample) -> f64,
        in_unit: impl Fn(f64) -> String,
    ) -> Self {
        let median = |side: &dyn Fn(&Pair) -> f64| {
            let figures: Vec<f64> = pairs.iter().map(side).collect();
            if figures.is_empty() { "-".to_owned() } else { in_unit(Spread::of(&figures).median) }
        };
        let this = median(&|pair| figure(&pair.this));
        let other = median(&|pair| figure(&pair.other));
        let ratios: Vec<f64> = pairs.iter().map(|pair| figure(&pair.other) / figure(&pair.this)).collect();
        Self { name, this, other, better: interval(&ratios), pairs: ratios.len() }
    }

    pub(super) fn is_slower(&self) -> bool {
        self.better.is_some_and(|better| better.median < 1.0 - MIN_CHANGE && better.max < 1.0)
    }

    fn is_faster(&self) -> bool {
        self.better.is_some_and(|better| better.median > 1.0 + MIN_CHANGE && better.min > 1.0)
    }

    fn verdict(&self) -> &'static str {
        let Some(Spread { min, max, .. }) = self.better else { return "too few pairs" };
        match () {
            () if self.is_slower() => "SLOWER",
            () if self.is_faster() => "faster",
            // Not even the ends of the interval are a change of a tenth.
            () if min > 0.9 && max < 1.1 => "level",
            () => "uncertain: measure more rounds",
        }
    }
}

/// The median of these ratios, and the interval around it. `None`: there are too few for an interval.
fn interval(ratios: &[f64]) -> Option<Spread> {
    let n = ratios.len();
    // The chance that fewer than `outside + 1` of `n` coins show heads.
    let (mut outside, mut chance, mut term) = (None, 0.0, 0.5_f64.powi(n as i32));
    for heads in 0..n / 2 {
        chance += term;
        if 2.0 * chance > RISK {
            break;
        }
        outside = Some(heads);
        term *= (n - heads) as f64 / (heads + 1) as f64;
    }
    let outside = outside?;
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(Spread { min: sorted[outside], max: sorted[n - 1 - outside], ..Spread::of(ratios) })
}

pub(super) fn table(lines: &[Line]) -> String {
    let mut text = "|this|other|this is better by|pairs|".to_owned();
    for line in lines {
        let better = line.better.map_or_else(String::new, |Spread { median, min, max }| {
            format!("{median:.2} ({min:.2} to {max:.2})")
        });
        let Line { name, this, other, pairs, .. } = line;
        text += &format!("\n{name}|{this}|{other}|{better}|{pairs}|{}", line.verdict());
    }
    columns(&text)
}

/// One sentence for all lines.
pub(super) fn in_words(lines: &[Line]) -> String {
    let names = |wanted: &dyn Fn(&Line) -> bool| -> Vec<&str> {
        lines.iter().filter(|line| wanted(line)).map(|line| line.name.as_str()).collect()
    };
    let slower = names(&Line::is_slower);
    let faster = names(&Line::is_faster).len();
    let rows = lines.len();
    if slower.is_empty() {
        format!("verdict: nothing is slower; {faster} of {rows} figures are better")
    } else {
        format!(
            "verdict: SLOWER in {} of {rows} figures ({}); {faster} are better",
            slower.len(),
            slower.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::Span;

    fn pairs(ratios: &[f64]) -> Vec<Pair> {
        let sample = |nanos| Sample::window(1, Span { nanos, on_core: 1.0 }, 0);
        ratios.iter().map(|&ratio| Pair { this: sample(10.0), other: sample(10.0 * ratio) }).collect()
    }

    fn verdict_of(ratios: &[f64]) -> &'static str {
        Line::new("row".into(), &pairs(ratios), |sample| sample.figure, |figure| figure.to_string()).verdict()
    }

    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        let ratios: Vec<f64> = (1..=15).map(f64::from).collect();
        let found = interval(&ratios).expect("enough");
        assert_eq!((found.min, found.median, found.max), (4.0, 8.0, 12.0));
        assert!(interval(&ratios[..5]).is_none());
        assert_eq!(interval(&ratios[..6]).map(|found| found.max), Some(6.0));
    }

    #[test]
    fn a_verdict_needs_certainty_and_size() {
        assert_eq!(verdict_of(&[0.8; 8]), "SLOWER");
        assert_eq!(verdict_of(&[1.3; 8]), "faster");
        assert_eq!(verdict_of(&[0.99; 8]), "level");
        assert_eq!(verdict_of(&[0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3]), "uncertain: measure more rounds");
        assert_eq!(verdict_of(&[0.5; 5]), "too few pairs");
    }

    #[test]
    fn a_slower_row_is_named() {
        let line = |ratio| {
            Line::new(format!("row {ratio}"), &pairs(&[ratio; 8]), |sample| sample.figure, |_| String::new())
        };
        assert!(in_words(&[line(0.5), line(2.0)]).contains("SLOWER in 1 of 2 figures (row 0.5)"));
        assert!(in_words(&[line(1.0)]).contains("nothing is slower"));
    }
}
