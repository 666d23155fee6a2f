//! How things are measured: pinned cores, windows that lost no time to anybody else, interleaved
//! rounds, medians, and ratios taken within a round.
//!
//! A virtual machine's cores are not where they were a second ago: the hypervisor takes time away
//! (steal), and moves a virtual core to another real one, which changes the distance between the two
//! by a factor of up to forty. So
//!
//! - each measurement is a fixed count of messages after a warm-up, of about 0.15 s, and says how much
//!   of that time its threads were on their cores; one that lost time is taken again at once;
//! - before each, the distance between the cores is probed: an atomic word each way for a moment;
//! - contestants take turns (A, B, C, A, B, C, ...); a round in which one of them lost time each time, or
//!   within which the distance changed, is thrown out as a whole, and counted;
//! - absolute figures are medians over the rounds that are left, with their range; ratios are taken
//!   within each round, and the median is of those.

use std::io;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::raw;

/// A window counts if its threads had their cores for at least this part of it.
const ON_CORE: f64 = 0.98;
/// How often a measurement that lost time is taken in all.
const TAKES: u32 = 3;
/// Within a round the distance between the cores may vary by this factor.
const STEADY: f64 = 1.5;
/// Warm-up, in messages: at most as many, and at least enough to go round a ring of 1024 twice.
const WARM: (u64, u64) = (2_048, 50_000);

/// The two cores that everything is pinned to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cores {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
}

impl Cores {
    /// The cores asked for, or the first two available ones that are not the same physical core.
    /// Says what is wrong with them, if anything is.
    pub(crate) fn choose(asked: Option<(usize, usize)>) -> io::Result<(Self, Option<String>)> {
        let set = sched_getaffinity(Pid::from_raw(0))?;
        let available: Vec<usize> =
            (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect();
        let cores = match (asked, available.as_slice()) {
            (Some((producer, consumer)), _) => Self { producer, consumer },
            (None, [first, rest @ ..]) => {
                let apart = rest.iter().find(|&&core| siblings(core) != siblings(*first));
                Self { producer: *first, consumer: *apart.or(rest.first()).unwrap_or(first) }
            }
            (None, []) => return Err(io::Error::other("no core is available")),
        };
        for core in [cores.producer, cores.consumer] {
            if !available.contains(&core) {
                return Err(io::Error::other(format!("core {core} is not available: {available:?} are")));
            }
        }
        let warning = if cores.producer == cores.consumer {
            Some(format!(
                "both threads share core {}: two cores are needed for figures that mean anything",
                cores.producer
            ))
        } else if siblings(cores.producer) == siblings(cores.consumer) {
            Some(format!(
                "cores {} and {} are two threads of one physical core",
                cores.producer, cores.consumer
            ))
        } else {
            None
        };
        Ok((cores, warning))
    }
}

/// The hardware threads that share a physical core with this one, as the kernel writes them down.
fn siblings(core: usize) -> String {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    std::fs::read_to_string(path).unwrap_or_else(|_| core.to_string())
}

/// Keeps the calling thread, and what it starts later, on one core.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core).expect("the core was checked when it was chosen");
    sched_setaffinity(Pid::from_raw(0), &set).expect("a thread may choose among its own cores");
}

/// Time on the wall and on the core of the thread that started it.
pub(crate) struct Stopwatch {
    core: f64,
    wall: Instant,
}

/// What a [`Stopwatch`] saw.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) nanos: f64,
    /// Part of the time in which the thread had its core, 0 to 1.
    pub(crate) on_core: f64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { core: thread_nanos(), wall: Instant::now() }
    }

    pub(crate) fn stop(self) -> Span {
        let nanos = self.wall.elapsed().as_nanos() as f64;
        Span { nanos, on_core: ((thread_nanos() - self.core) / nanos.max(1.0)).min(1.0) }
    }
}

fn thread_nanos() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// Clock ticks that the hypervisor took from the two cores since the machine started.
fn stolen(cores: Cores) -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let of = |core: usize| -> u64 {
        let name = format!("cpu{core}");
        stat.lines()
            .find_map(|line| {
                let mut fields = line.split_ascii_whitespace();
                (fields.next()? == name).then(|| fields.nth(7)?.parse().ok())?
            })
            .unwrap_or(0)
    };
    of(cores.producer) + of(cores.consumer)
}

/// What one measurement is asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) cores: Cores,
    /// Messages before the clock starts.
    pub(crate) warm: u64,
    /// Messages while it runs.
    pub(crate) count: u64,
}

impl Plan {
    fn new(cores: Cores, count: u64) -> Self {
        Self { cores, warm: (count / 8).clamp(WARM.0, WARM.1), count }
    }

    pub(crate) fn total(&self) -> u64 {
        self.warm + self.count
    }
}

/// What one measurement found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Messages (or round trips) that arrived in the window.
    pub(crate) messages: u64,
    /// Length of the window.
    pub(crate) nanos: f64,
    /// Messages whose words were not theirs.
    pub(crate) wrong: u64,
    /// Messages that a lossy reader missed in the window.
    pub(crate) lost: u64,
    /// The smallest part of its time that a spinning thread had its core, 0 to 1.
    pub(crate) on_core: f64,
}

impl Sample {
    pub(crate) fn nanos_each(&self) -> f64 {
        self.nanos / self.messages.max(1) as f64
    }
}

/// What a row of a table is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// This library, between threads.
    Tango,
    /// This library, between processes.
    TangoProcesses,
    /// Another channel of the same kind.
    Peer,
    /// The published crate of the same name: wrong payloads are counted, not fatal.
    Published,
    /// What the hardware does with no channel at all.
    Limit,
    /// For information; compared with nothing.
    Extra,
}

/// One row of a table, and how it is measured.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) run: Box<dyn Fn(&Plan) -> Sample>,
}

/// How thorough to be.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Length of a window.
    pub(crate) window_ms: f64,
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
    /// Rounds among those kept that would have been thrown out, had there been enough others.
    pub(crate) doubtful: usize,
}

struct Round {
    samples: Vec<Sample>,
    distance: f64,
    /// What disturbed it, 0 if nothing did; only for finding the least bad.
    trouble: f64,
}

/// Lets the contestants take turns until enough rounds count, or it takes too long.
pub(crate) fn interleave(contestants: &[Contestant], cores: Cores, effort: Effort) -> Rounds {
    let window = effort.window_ms * 1e6;
    let mut counts: Vec<u64> =
        contestants.iter().map(|contestant| fitting_count(contestant, cores, window)).collect();
    // A machine that is never quiet does not get to take for ever.
    let expected = effort.rounds as f64 * contestants.len() as f64 * effort.window_ms / 1e3;
    let deadline = Instant::now() + Duration::from_secs_f64(1.6 * expected + 1.0);
    let enough = effort.rounds.div_ceil(2);
    let mut retaken = 0;
    let mut clean = Vec::new();
    let mut spare = Vec::new();
    while clean.len() < effort.rounds
        && clean.len() + spare.len() < 2 * effort.rounds
        && (clean.len() + spare.len() < enough || Instant::now() < deadline)
    {
        let round = take_round(contestants, &mut counts, cores, window, deadline, &mut retaken);
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
        doubtful,
    }
}

/// As many messages as take about a window.
fn fitting_count(contestant: &Contestant, cores: Cores, window: f64) -> u64 {
    let mut count = 1_000;
    loop {
        let sample = (contestant.run)(&Plan::new(cores, count));
        if sample.nanos >= window / 20.0 {
            return adjusted(&sample, window);
        }
        count *= 8;
    }
}

/// As many messages as would have taken a window at the speed of this sample.
fn adjusted(sample: &Sample, window: f64) -> u64 {
    ((window / sample.nanos_each()) as u64).clamp(1_000, 50_000_000)
}

fn take_round(
    contestants: &[Contestant],
    counts: &mut [u64],
    cores: Cores,
    window: f64,
    deadline: Instant,
    retaken: &mut u32,
) -> Round {
    let mut samples = Vec::new();
    let mut distances = Vec::new();
    let mut lost_time = 0.0;
    for (contestant, count) in contestants.iter().zip(counts) {
        let mut take = 0;
        loop {
            take += 1;
            let distance = raw::distance(cores);
            let stolen_before = stolen(cores);
            let sample = (contestant.run)(&Plan::new(cores, *count));
            let stolen_now = stolen(cores) - stolen_before;
            // The cores may have moved: the next window should be as long as it is meant to be.
            if !(0.5..2.0).contains(&(sample.nanos / window)) {
                *count = adjusted(&sample, window);
            }
            let clean = stolen_now == 0 && sample.on_core >= ON_CORE && sample.nanos > window / 4.0;
            if clean || take == TAKES || Instant::now() >= deadline {
                if !clean {
                    lost_time += 1.0 + stolen_now as f64 + (1.0 - sample.on_core) * 100.0;
                }
                distances.push(distance);
                samples.push(sample);
                break;
            }
            *retaken += 1;
        }
    }
    let distance = Spread::of(&distances);
    let unsteady = distance.max / distance.min;
    Round {
        samples,
        distance: distance.median,
        trouble: lost_time + if unsteady > STEADY { unsteady } else { 0.0 },
    }
}

/// A median and the range around it.
#[derive(Clone, Copy, Debug, Serialize)]
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
}

impl Rounds {
    /// Nanoseconds a message of one contestant.
    pub(crate) fn nanos(&self, contestant: usize) -> Spread {
        self.over(|round| round[contestant].nanos_each())
    }

    /// How much longer `a` takes for a message than `b`, round by round.
    pub(crate) fn ratio(&self, a: usize, b: usize) -> Spread {
        self.over(|round| round[a].nanos_each() / round[b].nanos_each())
    }

    fn over(&self, value: impl Fn(&[Sample]) -> f64) -> Spread {
        let values: Vec<f64> = self.kept.iter().map(|round| value(round)).collect();
        Spread::of(&values)
    }
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
    fn ratios_are_taken_within_a_round() {
        let sample = |nanos| Sample { messages: 1, nanos, wrong: 0, lost: 0, on_core: 1.0 };
        let rounds = Rounds {
            kept: vec![vec![sample(1.0), sample(2.0)], vec![sample(10.0), sample(30.0)]],
            distance: vec![100.0, 100.0],
            thrown: 0,
            retaken: 0,
            doubtful: 0,
        };
        assert_eq!(rounds.ratio(1, 0).median, 2.5);
    }
}
