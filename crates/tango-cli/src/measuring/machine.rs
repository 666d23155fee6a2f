//! What else the machine does while something is measured, and what is said about it.

use std::fs;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::measuring::cores::Relation;

/// How long the cores are watched before a measurement.
const WATCH: Duration = Duration::from_millis(100);
/// A core that is busy for more than this part of that time is worth a warning.
const BUSY: f64 = 0.1;
/// A spinning thread that has its core for less than this part of a window is worth a warning.
const ON_CORE: f64 = 0.98;
/// The raw round trip may vary by this factor between windows.
const STEADY: f64 = 1.5;

/// Something that makes figures worse, or makes them mean something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    /// What was found.
    pub(crate) found: String,
    /// What that means for the figures.
    pub(crate) means: &'static str,
}

impl Warning {
    fn new(found: impl Into<String>, means: &'static str) -> Self {
        Self { found: found.into(), means }
    }
}

/// Ticks of one core since the machine started, as `/proc/stat` counts them.
#[derive(Debug, Clone, Copy, Default)]
struct Ticks {
    /// In which it had something to do, or the hypervisor ran something else.
    busy: u64,
    all: u64,
    /// In which the hypervisor ran something else although the core had something to do.
    stolen: u64,
}

/// `None`: the system does not say.
fn ticks(stat: &str, core: usize) -> Option<Ticks> {
    let name = format!("cpu{core}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(name.as_str()))?;
    // user, nice, system, idle, iowait, irq, softirq, steal; the times of guests are counted in the first two.
    let times: Vec<u64> =
        line.split_whitespace().skip(1).take(8).map_while(|time| time.parse().ok()).collect();
    let [.., stolen] = times[..] else { return None };
    let all = times.iter().sum();
    let idle: u64 = times.get(3..5)?.iter().sum();
    Some(Ticks { busy: all - idle, all, stolen })
}

fn stat() -> String {
    fs::read_to_string("/proc/stat").unwrap_or_default()
}

/// How busy the machine was before a measurement. This thread sleeps meanwhile.
pub(crate) struct Before {
    cores: [usize; 2],
    /// For each core the part of the time in which it was busy, if the system says.
    busy: [Option<f64>; 2],
    /// The load average of the last minute.
    pub(crate) load: Option<f64>,
    stat: String,
}

impl Before {
    pub(crate) fn look(cores: [usize; 2]) -> Self {
        let before = stat();
        thread::sleep(WATCH);
        let after = stat();
        let busy = cores.map(|core| {
            let (before, after) = (ticks(&before, core)?, ticks(&after, core)?);
            let all = after.all.checked_sub(before.all).filter(|all| *all > 0)?;
            Some(after.busy.saturating_sub(before.busy) as f64 / all as f64)
        });
        let load = fs::read_to_string("/proc/loadavg").ok();
        let load = load.and_then(|text| text.split(' ').next()?.parse().ok());
        Self { cores, busy, load, stat: after }
    }

    /// Milliseconds that a hypervisor has taken from the cores since.
    fn stolen_ms(&self) -> u64 {
        let now = stat();
        let mut cores = self.cores.to_vec();
        cores.dedup();
        let stolen = cores.into_iter().filter_map(|core| {
            let (before, now) = (ticks(&self.stat, core)?, ticks(&now, core)?);
            now.stolen.checked_sub(before.stolen)
        });
        // A tick is a hundredth of a second for programs, whatever the kernel uses.
        stolen.sum::<u64>() * 10
    }

    /// What is to be said after a measurement.
    pub(crate) fn warnings(&self, relation: Relation, conduct: &Conduct) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |found: String, means| warnings.push(Warning::new(found, means));
        if cfg!(debug_assertions) {
            warn(
                "this program was built without optimisation".to_owned(),
                "its figures say nothing about a link; build it with --release",
            );
        }
        if relation == Relation::SameCore {
            warn(
                format!("both sides ran on core {}", self.cores[0]),
                "the figures measure how fast the scheduler switches between them, not a link",
            );
        }
        for (core, busy) in self.cores.iter().zip(self.busy) {
            if let Some(busy) = busy.filter(|busy| *busy > BUSY && relation != Relation::SameCore) {
                warn(
                    format!("core {core} was {:.0} % busy before anything was measured", busy * 100.0),
                    "other programs use it, and each side waits for them, for milliseconds at a time",
                );
            }
        }
        let sides = ["the asking side", "the answering side"].into_iter().zip(conduct.on_core);
        for (side, on_core) in sides.filter(|_| conduct.spins && relation != Relation::SameCore) {
            if on_core < ON_CORE {
                warn(
                    format!("{side} had its core for only {:.0} % of a window", on_core * 100.0),
                    "something else ran there, which the high percentiles measure",
                );
            }
        }
        let stolen = self.stolen_ms();
        if stolen > 0 {
            warn(
                format!("the hypervisor took {stolen} ms from the cores"),
                "they stood still then, which the high percentiles measure",
            );
        }
        if conduct.raw_range > STEADY && relation != Relation::SameCore {
            warn(
                format!(
                    "the raw cache line took {:.1} times as long in one window as in another",
                    conduct.raw_range
                ),
                "the machine is busy, or the cores moved or changed their clock rate; compare ratios, not times",
            );
        }
        warnings
    }
}

/// How a measurement went, as far as warnings are concerned.
#[derive(Debug)]
pub(crate) struct Conduct {
    /// Whether both sides spin, so that each should have its core all the time.
    pub(crate) spins: bool,
    /// The least part of a window in which each side had a core.
    pub(crate) on_core: [f64; 2],
    /// The longest median of the raw round trip, divided by the shortest.
    pub(crate) raw_range: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(busy: [Option<f64>; 2]) -> Before {
        Before { cores: [0, 1], busy, load: None, stat: String::new() }
    }

    fn found(warnings: &[Warning]) -> Vec<&str> {
        let without_optimisation = |warning: &&Warning| !warning.found.contains("optimisation");
        warnings.iter().filter(without_optimisation).map(|warning| warning.found.as_str()).collect()
    }

    #[test]
    fn ticks_are_those_of_the_core() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 10 0 20 300 5 0 1 7 0 0\ncpu10 1 1 1 1 1 1 1 1 0 0\n";
        let ticks = ticks(stat, 1).unwrap();
        assert_eq!((ticks.busy, ticks.all, ticks.stolen), (38, 343, 7));
        assert!(super::ticks(stat, 0).is_none() && super::ticks("", 0).is_none());
    }

    #[test]
    fn a_quiet_machine_gives_no_warning_and_a_busy_one_does() {
        let quiet = Conduct { spins: true, on_core: [1.0, 0.99], raw_range: 1.1 };
        let idle = before([Some(0.0), None]);
        assert_eq!(found(&idle.warnings(Relation::SameL3, &quiet)), [""; 0]);
        let busy = Conduct { spins: true, on_core: [0.5, 1.0], raw_range: 2.0 };
        assert_eq!(
            found(&before([Some(0.0), Some(0.8)]).warnings(Relation::SameL3, &busy)),
            [
                "core 1 was 80 % busy before anything was measured",
                "the asking side had its core for only 50 % of a window",
                "the raw cache line took 2.0 times as long in one window as in another"
            ]
        );
        let parks = Conduct { spins: false, ..busy };
        assert_eq!(found(&idle.warnings(Relation::SameCore, &parks)), ["both sides ran on core 0"]);
    }
}
