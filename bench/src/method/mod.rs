//! How things are measured: pinned cores, windows that lost no time to anybody else, interleaved
//! rounds, medians, and ratios taken within a round.
//!
//! A virtual machine's cores are not where they were a second ago: the hypervisor takes time away
//! (steal), and moves a virtual core to another real one, which changes the distance between the two
//! by a factor of up to forty. So
//!
//! - each measurement is a fixed count of messages after a warm-up, and says how much of that time its
//!   threads were on their cores; one that lost time is taken again at once;
//! - before each, the distance between the cores is probed: an atomic word each way for a moment;
//! - contestants take turns (A, B, C, A, B, C, ...); a round in which one of them lost time each time, or
//!   within which the distance changed, is thrown out as a whole, and counted;
//! - absolute figures are medians over the rounds that are left, with their range; ratios are taken
//!   within each round, and the median is of those.

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

mod cores;
mod figures;

pub(crate) use self::cores::{
    Cores, SharedCore, Sharing, Span, Stopwatch, is_loose, let_loose, now, pause, pin, spawn,
};
pub(crate) use self::figures::{Spread, quantile_index, quantiles, quantiles_of, rounded};

use self::cores::stolen;
use crate::raw;

/// A window counts if its threads had their cores for at least this part of it.
const ON_CORE: f64 = 0.98;
/// How often a measurement that lost time is taken in all.
const TAKES: u32 = 3;
/// Within a round the distance between the cores may vary by this factor.
const STEADY: f64 = 1.5;
/// By how many rows the beginning of each round moves on.
const FORWARD: usize = 5;
/// Warm-up, in messages, at most, unless the ring is larger.
const WARM: u64 = 50_000;

/// Messages of a window, at most.
const MOST: u64 = 50_000_000;
/// Messages that go round most rings once, without timing anything. The deep ring is too deep for it.
const SMOKE_LAP: u64 = 1024;

/// What the two sides do besides sending and receiving.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Steps of work of the producer before each message.
    pub(crate) work: u32,
    /// Steps of work of the consumer after each message.
    pub(crate) chore: u32,
    /// At most so many steps of work, at random, of either side of a round trip before it sends.
    pub(crate) hesitation: u32,
    /// Whether the calls for several messages are used.
    pub(crate) batch: bool,
    /// If not 0, messages are due in bursts, which begin this many nanoseconds apart.
    pub(crate) every: u64,
    /// Messages of a burst.
    pub(crate) burst: u64,
}

/// What one measurement is asked to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) cores: Cores,
    /// Messages before the clock starts.
    pub(crate) warm: u64,
    /// Messages while it runs.
    pub(crate) count: u64,
    pub(crate) load: Load,
}

impl Plan {
    pub(crate) fn total(&self) -> u64 {
        self.warm + self.count
    }

    /// The same for a reader on another core.
    pub(crate) fn with_consumer(&self, core: usize) -> Self {
        Self { cores: Cores { consumer: core, ..self.cores }, ..*self }
    }
}

/// What one measurement found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Messages (or round trips, or calls) in the window.
    pub(crate) messages: u64,
    /// Length of the window.
    pub(crate) nanos: f64,
    /// What the table is about: nanoseconds for each message, the median latency, bytes.
    pub(crate) figure: f64,
    /// Messages whose words were not theirs.
    pub(crate) wrong: u64,
    /// Messages that lossy readers missed in the window.
    pub(crate) lost: u64,
    /// The smallest part of its time that a spinning thread had its core, 0 to 1.
    pub(crate) on_core: f64,
    /// Part of its time that the reader had its core, 0 to 1.
    pub(crate) reader: f64,
    /// Latencies in nanoseconds at the [`quantiles`], if each message was timed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies: Vec<u64>,
}

impl Sample {
    /// A window of `messages`, all of which arrived.
    pub(crate) fn window(messages: u64, span: Span, wrong: u64) -> Self {
        Self {
            messages,
            nanos: span.nanos,
            figure: span.nanos / messages.max(1) as f64,
            wrong,
            lost: 0,
            on_core: span.on_core,
            reader: span.on_core,
            latencies: Vec::new(),
        }
    }

    /// The same with the latency of each message.
    pub(crate) fn timed(latencies: &[u32], span: Span, wrong: u64) -> Self {
        let latencies_at = quantiles_of(latencies);
        let median = latencies_at[quantile_index(0.5)] as f64;
        let window = Self::window(latencies.len() as u64, span, wrong);
        Self { figure: median, latencies: latencies_at, ..window }
    }

    /// What lossy readers saw, with the producer's pace for a figure: nobody waits for them, and they may
    /// have come when all was over.
    pub(crate) fn by_the_producer(self, span: Span, plan: &Plan) -> Self {
        let figure = span.nanos / plan.total() as f64;
        Self { figure, nanos: figure * plan.count as f64, ..self }
    }

    /// Takes into account how much of its time the other side had its core. A side that sleeps gives its
    /// core away of its own will.
    pub(crate) fn with_other_side(self, other: Span, spins: bool) -> Self {
        let on_core = if spins { self.on_core.min(other.on_core) } else { 1.0 };
        Self { on_core, ..self }
    }
}

/// How many messages a window has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    /// As many as take a window at the speed of this row.
    Fitting,
    /// As many as are due in a window.
    Due,
    /// That many.
    Fixed(u64),
}

/// Between whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Setting {
    Threads,
    Processes,
}

/// One row of a table, and how it is measured.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) setting: Setting,
    pub(crate) role: crate::peers::Role,
    /// What has to be known about this row.
    pub(crate) note: Option<String>,
    pub(crate) load: Load,
    pub(crate) count: Count,
    /// Messages that go round the ring once: the warm-up is twice as much.
    pub(crate) lap: u64,
    pub(crate) run: Rc<dyn Fn(&Plan) -> Sample>,
}

/// How thorough to be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Length of a window.
    pub(crate) window_ms: f64,
    /// How many times as long as it takes undisturbed a table may take, so that disturbed rounds are replaced.
    #[serde(default)]
    pub(crate) patience: f64,
    /// Each row once, with few messages; what is delivered is checked, and times mean nothing.
    pub(crate) smoke: bool,
}

impl Effort {
    fn window(self) -> f64 {
        self.window_ms * 1e6
    }
}

/// The rounds of one table.
#[derive(Debug)]
pub(crate) struct Rounds {
    /// One line for each round that counts, one sample for each contestant in it.
    pub(crate) kept: Vec<Vec<Sample>>,
    /// Round trip of an atomic word each way, in ns, as the median of each kept round's probes.
    pub(crate) distance: Vec<f64>,
    /// Rounds that were thrown out.
    pub(crate) thrown: usize,
    /// Measurements that were taken again.
    pub(crate) retaken: u32,
    /// Measurements during which the hypervisor took time away.
    pub(crate) stolen: u32,
    /// Rounds among those kept that would have been thrown out, had there been enough others.
    pub(crate) doubtful: usize,
}

struct Round {
    samples: Vec<Sample>,
    distance: f64,
    /// What disturbed it, 0 if nothing did; only for finding the least bad.
    trouble: f64,
}

/// Lets the contestants take turns until enough rounds count, or it takes too long. `progress` is told
/// before each measurement.
pub(crate) fn interleave(
    contestants: &[Contestant],
    cores: Cores,
    effort: Effort,
    progress: &dyn Fn(&str),
) -> Rounds {
    if effort.smoke {
        return one_round(contestants, cores, progress);
    }
    let started = Instant::now();
    let mut counts: Vec<u64> = contestants
        .iter()
        .map(|contestant| {
            progress(&format!("how fast is {}?", contestant.name));
            first_count(contestant, cores, effort)
        })
        .collect();
    // A machine that is never quiet does not get to take for ever. What is not the window itself, such as
    // starting a process, takes about as long as it did just now.
    let expected = effort.rounds as f64 * contestants.len() as f64 * effort.window_ms / 1e3;
    let budget = effort.patience * expected + 1.0 + started.elapsed().as_secs_f64();
    let deadline = Instant::now() + Duration::from_secs_f64(budget);
    let enough = effort.rounds.div_ceil(2);
    let (mut retaken, mut stolen) = (0, 0);
    let mut clean = Vec::new();
    let mut spare = Vec::new();
    while clean.len() < effort.rounds
        && clean.len() + spare.len() < 2 * effort.rounds
        && (clean.len() + spare.len() < enough || Instant::now() < deadline)
    {
        let number = clean.len() + spare.len();
        let mut turn =
            Turn { cores, effort, deadline, retaken: &mut retaken, stolen: &mut stolen, progress, number };
        let round = turn.take(contestants, &mut counts);
        if round.trouble == 0.0 { clean.push(round) } else { spare.push(round) }
    }
    // It still gets an answer, and is told what it is worth.
    spare.sort_by(|a, b| a.trouble.total_cmp(&b.trouble));
    let doubtful = enough.saturating_sub(clean.len()).min(spare.len());
    let thrown = spare.len() - doubtful;
    clean.extend(spare.into_iter().take(doubtful));
    Rounds {
        distance: clean.iter().map(|round| round.distance).collect(),
        kept: clean.into_iter().map(|round| round.samples).collect(),
        thrown,
        retaken,
        stolen,
        doubtful,
    }
}

/// Each contestant once, with just enough messages to go round its ring.
fn one_round(contestants: &[Contestant], cores: Cores, progress: &dyn Fn(&str)) -> Rounds {
    let sample = |contestant: &Contestant| {
        progress(&contestant.name);
        let count = match contestant.count {
            Count::Fixed(_) => 2,
            Count::Due => 16,
            Count::Fitting => 64,
        };
        let lap = contestant.lap.min(SMOKE_LAP);
        let warm = lap + lap / 8;
        (contestant.run)(&Plan { cores, warm, count, load: contestant.load })
    };
    let kept = vec![contestants.iter().map(sample).collect()];
    Rounds { kept, distance: vec![raw::distance(cores)], thrown: 0, retaken: 0, stolen: 0, doubtful: 0 }
}

fn plan(contestant: &Contestant, cores: Cores, count: u64) -> Plan {
    let laps = 2 * contestant.lap;
    let warm = (count / 8).clamp(laps, WARM.max(laps));
    Plan { cores, warm, count, load: contestant.load }
}

/// As many messages as take about a window.
fn first_count(contestant: &Contestant, cores: Cores, effort: Effort) -> u64 {
    let load = contestant.load;
    match contestant.count {
        Count::Fixed(count) => count,
        Count::Due => (effort.window() / load.every as f64).ceil() as u64 * load.burst,
        Count::Fitting => {
            let mut count = least(contestant);
            loop {
                let sample = (contestant.run)(&plan(contestant, cores, count));
                if sample.nanos >= effort.window() / 20.0 || count > MOST {
                    return adjusted(count, &sample, effort.window()).max(least(contestant));
                }
                count *= 8;
            }
        }
    }
}

/// A window goes round the ring at least once, or it would measure how fast a ring is emptied.
fn least(contestant: &Contestant) -> u64 {
    contestant.lap.max(1_000)
}

/// As many messages as would have taken a window at the speed of this sample, which had `count`.
fn adjusted(count: u64, sample: &Sample, window: f64) -> u64 {
    ((window / sample.nanos * count as f64) as u64).clamp(1_000, MOST)
}

/// One round in which all have their turn.
struct Turn<'a> {
    cores: Cores,
    effort: Effort,
    deadline: Instant,
    retaken: &'a mut u32,
    stolen: &'a mut u32,
    progress: &'a dyn Fn(&str),
    /// Which round it is, from 0.
    number: usize,
}

impl Turn<'_> {
    fn take(&mut self, contestants: &[Contestant], counts: &mut [u64]) -> Round {
        let mut samples = vec![None; contestants.len()];
        let mut distances = Vec::new();
        let mut lost_time = 0.0;
        // Each round begins with somebody else, so that nobody always follows the same one.
        let first = self.number * FORWARD % contestants.len();
        for turn in (first..contestants.len()).chain(0..first) {
            let contestant = &contestants[turn];
            (self.progress)(&format!("round {}: {}", self.number + 1, contestant.name));
            let (sample, distance, trouble) = self.measure(contestant, &mut counts[turn]);
            samples[turn] = Some(sample);
            distances.push(distance);
            lost_time += trouble;
        }
        let samples = samples.into_iter().flatten().collect();
        let distance = Spread::of(&distances);
        let unsteady = distance.max / distance.min;
        Round {
            samples,
            distance: distance.median,
            trouble: lost_time + if unsteady > STEADY { unsteady } else { 0.0 },
        }
    }

    /// A sample, the distance between the cores, and what disturbed it.
    fn measure(&mut self, contestant: &Contestant, count: &mut u64) -> (Sample, f64, f64) {
        let window = self.effort.window();
        let mut take = 0;
        loop {
            take += 1;
            let distance = raw::distance(self.cores);
            let stolen_before = stolen(self.cores);
            let sample = (contestant.run)(&plan(contestant, self.cores, *count));
            let stolen_now = stolen(self.cores) - stolen_before;
            *self.stolen += u32::from(stolen_now > 0);
            let mut clean = stolen_now == 0 && sample.on_core >= ON_CORE;
            if let Count::Fitting = contestant.count {
                // The cores may have moved: the next window should be as long as it is meant to be.
                if !(0.5..2.0).contains(&(sample.nanos / window)) {
                    *count = adjusted(*count, &sample, window).max(least(contestant));
                }
                clean &= sample.nanos > window / 4.0;
            }
            if clean || take == TAKES || Instant::now() >= self.deadline {
                let trouble =
                    if clean { 0.0 } else { 1.0 + stolen_now as f64 + (1.0 - sample.on_core) * 100.0 };
                return (sample, distance, trouble);
            }
            *self.retaken += 1;
        }
    }
}

impl Rounds {
    /// The figures of one contestant.
    pub(crate) fn figure(&self, contestant: usize) -> Spread {
        self.over(|round| round[contestant].figure)
    }

    /// How many times the figure of `b` that of `a` is, round by round.
    pub(crate) fn ratio(&self, a: usize, b: usize) -> Spread {
        self.over(|round| round[a].figure / round[b].figure)
    }

    pub(crate) fn over(&self, value: impl Fn(&[Sample]) -> f64) -> Spread {
        let values: Vec<f64> = self.kept.iter().map(|round| value(round)).collect();
        Spread::of(&values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let sample = |nanos| Sample::window(1, Span { nanos, on_core: 1.0 }, 0);
        let rounds = Rounds {
            kept: vec![vec![sample(1.0), sample(2.0)], vec![sample(10.0), sample(30.0)]],
            distance: vec![100.0, 100.0],
            thrown: 0,
            retaken: 0,
            stolen: 0,
            doubtful: 0,
        };
        assert_eq!(rounds.ratio(1, 0).median, 2.5);
    }

    #[test]
    fn counts_aim_at_the_window() {
        let sample = Sample::window(1_000, Span { nanos: 1e6, on_core: 1.0 }, 0);
        assert_eq!(adjusted(1_000, &sample, 150e6), 150_000);
    }
}
