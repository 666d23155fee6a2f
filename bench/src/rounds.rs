//! The rounds of a table: its rows take turns, disturbed measurements are repeated, and ratios are taken within a
//! round.
//!
//! A hypervisor takes time away from a core (steal), and moves a virtual core to another physical one, which changes the
//! distance between two cores: the round trip of an atomic word, probed before each measurement. A measurement that
//! lost time is repeated at once. A round is discarded and counted if one of its measurements lost time in each attempt,
//! or if the distance changed within it. A figure is the median over the remaining rounds, with its range; a ratio is
//! taken within each round, and the median is that of the ratios.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bare;
use crate::channel::Role;
use crate::cores::{Cores, stolen};
use crate::figures::Spread;
use crate::plan::{Load, Plan, RowId, Sample, Setting};
use crate::process::Task;

/// A measurement counts if its threads had their cores for at least this part of it.
const MIN_ON_CORE: f64 = 0.98;
/// Attempts for a measurement that lost time, including the first.
const MAX_ATTEMPTS: u32 = 3;
/// The distance between the cores may vary by this factor within a round.
pub(crate) const MAX_DISTANCE_RATIO: f64 = 1.5;
/// Each round starts this many rows further on, so that no row always follows the same one.
const ROTATION: usize = 5;
/// Most messages of a warm-up, unless the ring is larger.
const MAX_WARM: u64 = 50_000;
/// Most messages of a window.
const MAX_COUNT: u64 = 50_000_000;
/// Most messages of a lap if nothing is timed. The deepest ring takes too long.
const SMOKE_LAP: u64 = 1024;

/// The number of messages in a window.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    /// As many as fill a window at the speed of this row.
    Fitting,
    /// As many as are due in a window.
    Due,
    Fixed(u64),
}

/// A row of a table, and how it is measured.
pub(crate) struct RowSpec {
    pub(crate) name: String,
    pub(crate) setting: Setting,
    pub(crate) role: Role,
    /// Whether the channel holds as many messages as asked for.
    pub(crate) sized: bool,
    /// What the reader of the table has to know about this row.
    pub(crate) note: Option<String>,
    pub(crate) load: Load,
    pub(crate) count: Count,
    /// Messages that go round the ring once. The warm-up is two laps.
    pub(crate) lap: u64,
    pub(crate) child: Child,
    pub(crate) run: Run,
    pub(crate) id: RowId,
}

/// Measures a row.
pub(crate) type Run = fn(&Plan) -> Sample;
/// What a child does for a row, if it has one.
pub(crate) type Child = Option<fn(&Task)>;

impl RowSpec {
    fn plan(&self, cores: Cores, count: u64) -> Plan {
        let laps = 2 * self.lap;
        let warm = (count / 8).clamp(laps, MAX_WARM.max(laps));
        Plan { cores, warm, count, load: self.load, row: self.id }
    }

    /// A window goes round the ring at least once. A shorter one would measure how fast a ring is emptied.
    fn min_count(&self) -> u64 {
        self.lap.max(1_000)
    }

    /// The number of messages that take about a window, if `run` measures this row.
    pub(crate) fn first_count(
        &self,
        cores: Cores,
        effort: Effort,
        run: &mut dyn FnMut(&Plan) -> Sample,
    ) -> u64 {
        match self.count {
            Count::Fixed(count) => count,
            Count::Due => (effort.window() / self.load.every as f64).ceil() as u64 * self.load.burst,
            Count::Fitting => {
                let mut count = self.min_count();
                loop {
                    let sample = run(&self.plan(cores, count));
                    if sample.nanos >= effort.window() / 20.0 || count > MAX_COUNT {
                        return adjusted(count, &sample, effort.window()).max(self.min_count());
                    }
                    count *= 8;
                }
            }
        }
    }
}

/// How thorough a run is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Length of a window.
    pub(crate) window_ms: f64,
    /// A table may take this many times as long as it would without disturbances, so that rounds are replaced.
    pub(crate) patience: f64,
    /// Measures each row once, with few messages, to check contents. Times mean nothing.
    pub(crate) smoke: bool,
}

impl Effort {
    /// Length of a window in nanoseconds.
    fn window(self) -> f64 {
        self.window_ms * 1e6
    }
}

/// The rounds of one table.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// The rounds that count.
    pub(crate) kept: Vec<Round>,
    pub(crate) disturbances: Disturbances,
}

#[derive(Debug)]
pub(crate) struct Round {
    /// One for each row.
    pub(crate) samples: Vec<Sample>,
    /// The median distance between the cores, in nanoseconds for the round trip of an atomic word.
    pub(crate) distance: f64,
    /// How much it was disturbed; 0 if it was not. Used to find the least disturbed rounds only.
    trouble: f64,
}

/// What happened during the measurements of a table.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Disturbances {
    /// Rounds that were discarded.
    pub(crate) discarded: usize,
    /// Measurements that were repeated.
    pub(crate) repeated: u32,
    /// Measurements during which the hypervisor took time away.
    pub(crate) stolen: u32,
    /// Kept rounds that were disturbed, and are used because there were not enough others.
    pub(crate) disturbed: usize,
}

/// A measurement of a row.
pub(crate) struct Measured {
    pub(crate) sample: Sample,
    /// The distance between the cores before it.
    pub(crate) distance: f64,
    /// How much it was disturbed in the last attempt; 0 if it was not.
    pub(crate) trouble: f64,
}

impl Disturbances {
    /// Measures a row by `run`, several times if it lost time.
    pub(crate) fn measure(
        &mut self,
        row: &RowSpec,
        cores: Cores,
        effort: Effort,
        count: &mut u64,
        deadline: Instant,
        run: &mut dyn FnMut(&Plan) -> Sample,
    ) -> Measured {
        let window = effort.window();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let distance = bare::distance(cores);
            let stolen_before = stolen(cores);
            let sample = run(&row.plan(cores, *count));
            let stolen_ticks = stolen(cores) - stolen_before;
            self.stolen += u32::from(stolen_ticks > 0);
            let mut clean = stolen_ticks == 0 && sample.on_core >= MIN_ON_CORE;
            if let Count::Fitting = row.count {
                // If the cores have moved, the next window needs another number of messages.
                if !(0.5..2.0).contains(&(sample.nanos / window)) {
                    *count = adjusted(*count, &sample, window).max(row.min_count());
                }
                clean &= sample.nanos > window / 4.0;
            }
            if clean {
                return Measured { sample, distance, trouble: 0.0 };
            }
            if attempt == MAX_ATTEMPTS || Instant::now() >= deadline {
                let trouble = 1.0 + stolen_ticks as f64 + (1.0 - sample.on_core) * 100.0;
                return Measured { sample, distance, trouble };
            }
            self.repeated += 1;
        }
    }
}

/// Lets the rows take turns until enough rounds count, or until it takes too long.
pub(crate) fn interleave(rows: &[RowSpec], cores: Cores, effort: Effort) -> Rounds {
    if effort.smoke {
        return one_round(rows, cores);
    }
    let started = Instant::now();
    let mut counts: Vec<u64> =
        rows.iter().map(|row| row.first_count(cores, effort, &mut { row.run })).collect();
    // A machine that is never quiet must not make this endless. Anything outside of the windows, such as starting a
    // process, takes about as long as it just did.
    let expected = effort.rounds as f64 * rows.len() as f64 * effort.window_ms / 1e3;
    let budget = effort.patience * expected + 1.0 + started.elapsed().as_secs_f64();
    let deadline = Instant::now() + Duration::from_secs_f64(budget);
    let enough = effort.rounds.div_ceil(2);
    let mut rounds = Rounds::default();
    let (mut clean, mut disturbed) = (Vec::new(), Vec::new());
    while clean.len() < effort.rounds
        && clean.len() + disturbed.len() < 2 * effort.rounds
        && (clean.len() + disturbed.len() < enough || Instant::now() < deadline)
    {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.rotate_left((clean.len() + disturbed.len()) * ROTATION % rows.len());
        let mut samples = vec![None; rows.len()];
        let (mut distances, mut trouble) = (Vec::new(), 0.0);
        for turn in order {
            let (row, count) = (&rows[turn], &mut counts[turn]);
            let Measured { sample, distance, trouble: lost } =
                rounds.disturbances.measure(row, cores, effort, count, deadline, &mut { row.run });
            samples[turn] = Some(sample);
            distances.push(distance);
            trouble += lost;
        }
        let distance = Spread::of(&distances);
        let change = distance.max / distance.min;
        if change > MAX_DISTANCE_RATIO {
            trouble += change;
        }
        let samples = samples.into_iter().flatten().collect();
        let round = Round { samples, distance: distance.median, trouble };
        if round.trouble == 0.0 { clean.push(round) } else { disturbed.push(round) }
    }
    // Too few clean rounds are filled up with the least disturbed ones, and the report says so.
    disturbed.sort_by(|a, b| a.trouble.total_cmp(&b.trouble));
    let kept_anyway = enough.saturating_sub(clean.len()).min(disturbed.len());
    rounds.disturbances.disturbed = kept_anyway;
    rounds.disturbances.discarded = disturbed.len() - kept_anyway;
    clean.extend(disturbed.into_iter().take(kept_anyway));
    Rounds { kept: clean, ..rounds }
}

/// Measures each row once, with just enough messages to go round its ring.
fn one_round(rows: &[RowSpec], cores: Cores) -> Rounds {
    let sample = |row: &RowSpec| {
        let count = match row.count {
            Count::Fixed(_) => 2,
            Count::Due => 16,
            Count::Fitting => 64,
        };
        let lap = row.lap.min(SMOKE_LAP);
        (row.run)(&Plan { warm: lap + lap / 8, ..row.plan(cores, count) })
    };
    Rounds::one(rows.iter().map(sample).collect(), bare::distance(cores))
}

/// The number of messages that fill a window at the speed of this sample, which had `count`.
fn adjusted(count: u64, sample: &Sample, window: f64) -> u64 {
    ((window / sample.nanos * count as f64) as u64).clamp(1_000, MAX_COUNT)
}

impl Rounds {
    /// A single round without disturbances.
    pub(crate) fn one(samples: Vec<Sample>, distance: f64) -> Self {
        Self { kept: vec![Round { samples, distance, trouble: 0.0 }], ..Self::default() }
    }

    /// The figure of row `a` divided by that of row `b`, within each round.
    pub(crate) fn ratio(&self, a: usize, b: usize) -> Spread {
        self.over(|round| round[a].figure / round[b].figure)
    }

    pub(crate) fn over(&self, value: impl Fn(&[Sample]) -> f64) -> Spread {
        let values: Vec<f64> = self.kept.iter().map(|round| value(&round.samples)).collect();
        Spread::of(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::Span;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let sample = |nanos| Sample::window(1, Span { nanos, on_core: 1.0 }, 0);
        let mut rounds = Rounds::one(vec![sample(1.0), sample(2.0)], 100.0);
        rounds.kept.extend(Rounds::one(vec![sample(10.0), sample(30.0)], 100.0).kept);
        assert_eq!(rounds.ratio(1, 0).median, 2.5);
    }

    #[test]
    fn counts_aim_at_the_window() {
        let sample = Sample::window(1_000, Span { nanos: 1e6, on_core: 1.0 }, 0);
        assert_eq!(adjusted(1_000, &sample, 150e6), 150_000);
    }
}
