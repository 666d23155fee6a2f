//! Which cores the two sides of a measurement run on, what these share, and how long a thread had its core.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

use crate::failure::Failure;

/// The cores that the calling thread may use, in order.
pub(crate) fn usable() -> Result<Vec<usize>, Failure> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(|error| failed("find the cores", error.into()))?;
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect())
}

/// Pins the calling thread, and the threads that it starts later, to one core.
pub(crate) fn pin(core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    pinned.map_err(|error| failed(&format!("pin a thread to core {core}"), error.into()))
}

fn failed(what: &str, error: io::Error) -> Failure {
    Failure::new(format!("cannot {what}: {error}"))
}

/// Fails unless the process may use this core, which an option has asked for.
pub(crate) fn check(option: &str, core: usize) -> Result<(), Failure> {
    let usable = usable()?;
    if usable.contains(&core) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{option}: this process may not use core {core}, only these: {}",
        list(&usable)
    )))
}

/// Cores in words: `0, 1, 5`.
pub(crate) fn list(cores: &[usize]) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The best of these cores for the side whose other side runs on `other`: another one, of another physical core if there is
/// one, and with the same L3 cache if possible. `other` itself if there is nothing else.
pub(crate) fn beside(usable: &[usize], other: usize) -> Result<usize, Failure> {
    let rank = |core: &usize| match relation(other, *core) {
        Relation::SameL3 => 0,
        Relation::Unknown => 1,
        Relation::Apart => 2,
        Relation::Siblings => 3,
        Relation::SameCore => 4,
    };
    usable.iter().copied().min_by_key(rank).ok_or_else(|| Failure::new("this process may not use any core"))
}

/// What two cores share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Relation {
    /// They are one: the two sides take turns.
    SameCore,
    /// They are two hardware threads of one physical core.
    Siblings,
    /// They are physical cores with the same L3 cache.
    SameL3,
    /// They are physical cores that share no cache.
    Apart,
    /// The system does not say.
    Unknown,
}

impl Relation {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::SameCore => "one core for both",
            Self::Siblings => "two hardware threads of one physical core",
            Self::SameL3 => "two physical cores with the same L3 cache",
            Self::Apart => "two physical cores that share no cache",
            Self::Unknown => "two cores; the system does not say what they share",
        }
    }
}

const CPU: &str = "/sys/devices/system/cpu";

/// What these two cores share, as `/sys` says.
pub(crate) fn relation(one: usize, other: usize) -> Relation {
    if one == other {
        return Relation::SameCore;
    }
    let read = |path: String| fs::read_to_string(path).ok();
    let siblings = read(format!("{CPU}/cpu{one}/topology/thread_siblings_list"));
    if siblings.as_deref().is_some_and(|siblings| cores_in(siblings).contains(&other)) {
        return Relation::Siblings;
    }
    let cache = |index: usize| format!("{CPU}/cpu{one}/cache/index{index}");
    let l3 = (0..8)
        .find(|&index| read(format!("{}/level", cache(index))).is_some_and(|level| level.trim() == "3"));
    let shares = |index| read(format!("{}/shared_cpu_list", cache(index)));
    match (siblings, l3.and_then(shares)) {
        (Some(_), Some(cores)) if cores_in(&cores).contains(&other) => Relation::SameL3,
        (Some(_), Some(_)) => Relation::Apart,
        _ => Relation::Unknown,
    }
}

/// The cores of a list of the kernel's: `0-3,8`.
fn cores_in(list: &str) -> BTreeSet<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// Nanoseconds of a clock that all processes of the machine share.
#[inline]
pub(crate) fn now() -> u64 {
    nanos_of(ClockId::CLOCK_MONOTONIC)
}

#[inline]
fn nanos_of(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

/// Measures time, and how much of it the calling thread had a core.
pub(crate) struct Stopwatch {
    begin: u64,
    cpu: u64,
}

/// The time between starting and stopping a [`Stopwatch`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub(crate) nanos: u64,
    /// The part of the time in which the thread had a core, 0 to 1.
    pub(crate) on_core: f64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { begin: now(), cpu: nanos_of(ClockId::CLOCK_THREAD_CPUTIME_ID) }
    }

    pub(crate) fn stop(&self) -> Span {
        let cpu = nanos_of(ClockId::CLOCK_THREAD_CPUTIME_ID).saturating_sub(self.cpu);
        let nanos = now().saturating_sub(self.begin).max(1);
        Span { nanos, on_core: (cpu as f64 / nanos as f64).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_kernel_are_read() {
        assert_eq!(cores_in("0-3,8\n"), BTreeSet::from([0, 1, 2, 3, 8]));
        assert_eq!(cores_in("5"), BTreeSet::from([5]));
        assert_eq!(cores_in("\n"), BTreeSet::new());
    }

    #[test]
    fn a_core_is_itself() {
        assert_eq!(relation(3, 3), Relation::SameCore);
        // No machine has it.
        assert_eq!(relation(0, usize::MAX), relation(0, usize::MAX - 1));
    }
}
