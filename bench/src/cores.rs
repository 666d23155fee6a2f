//! Cores, clocks, and the time that the hypervisor takes from a core.

use std::hint::spin_loop;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The two cores that threads are pinned to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cores {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
}

impl Cores {
    /// The cores asked for, or the first two available ones on different physical cores.
    pub(crate) fn choose(asked: &[usize]) -> Result<Self, Failure> {
        let available = available()?;
        let (producer, consumer) = match (asked, available.as_slice()) {
            (&[producer, consumer], _) => (producer, consumer),
            (&[], &[first, ref rest @ ..]) => {
                let apart = rest.iter().find(|&&core| siblings(core) != siblings(first));
                (first, *apart.or(rest.first()).unwrap_or(&first))
            }
            _ => {
                let asked = in_words(asked, ",");
                return Err(Failure::usage(format!("--cores {asked}: two are needed, as in --cores P,C")));
            }
        };
        match [producer, consumer].iter().find(|core| !available.contains(core)) {
            Some(core) => Err(Failure::usage(format!(
                "--cores {}: core {core} is not available; choose two of these: {}",
                in_words(asked, ","),
                in_words(&available, ", ")
            ))),
            None => Ok(Self { producer, consumer }),
        }
    }

    /// How many hardware threads this process may use.
    pub(crate) fn count() -> usize {
        available().map_or(1, |cores| cores.len())
    }

    /// Whether these are hardware threads of one physical core.
    pub(crate) fn are_siblings(self) -> bool {
        siblings(self.producer) == siblings(self.consumer)
    }

    /// A core for each reader, and whether threads share cores. Readers get the consumer's core first, then the
    /// cores that neither side uses, then the same cores again.
    pub(crate) fn of_readers(self, readers: usize) -> (Vec<usize>, bool) {
        let others = available().unwrap_or_default();
        let others = others.into_iter().filter(|core| ![self.producer, self.consumer].contains(core));
        let cores: Vec<usize> = std::iter::once(self.consumer).chain(others).collect();
        let shared = readers > cores.len() || self.producer == self.consumer;
        (cores.iter().copied().cycle().take(readers).collect(), shared)
    }
}

fn in_words(cores: &[usize], separator: &str) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

/// The cores of this process before any thread was pinned.
static ALLOWED: OnceLock<CpuSet> = OnceLock::new();

fn available() -> io::Result<Vec<usize>> {
    // Of the process, because this thread may be pinned already.
    let process = Pid::from_raw(std::process::id() as i32);
    let set = ALLOWED.get().copied().map_or_else(|| sched_getaffinity(process), Ok)?;
    let _ = ALLOWED.set(set);
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect())
}

/// The kernel's list of the hardware threads on the physical core of this one.
fn siblings(core: usize) -> String {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    std::fs::read_to_string(path).unwrap_or_else(|_| core.to_string())
}

/// Whether threads stay unpinned, because nothing is timed.
static UNPINNED: AtomicBool = AtomicBool::new(false);

/// Stops pinning threads, and makes [`pause`] yield, so that contents can be checked on a busy machine.
pub(crate) fn run_unpinned() {
    UNPINNED.store(true, Ordering::Relaxed);
    YIELD.store(true, Ordering::Relaxed);
}

pub(crate) fn is_unpinned() -> bool {
    UNPINNED.load(Ordering::Relaxed)
}

/// Pins the calling thread, and the threads that it starts later, to one core.
pub(crate) fn pin(core: usize) {
    if is_unpinned() {
        return;
    }
    let mut set = CpuSet::new();
    set.set(core).expect("the core was checked when it was chosen");
    sched_setaffinity(Pid::from_raw(0), &set).expect("a thread may choose among its own cores");
}

/// Starts a thread whose stack has room for several of the largest messages: some peers move them by value.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let builder = thread::Builder::new().stack_size(64 << 20);
    builder.spawn_scoped(scope, work).expect("a thread can be started")
}

/// Whether threads that wait for each other share a core, so that a waiting thread has to yield.
static YIELD: AtomicBool = AtomicBool::new(false);

/// While this lives, [`pause`] yields if a core is shared. Holds the previous state.
pub(crate) struct SharedCore(bool);

impl SharedCore {
    pub(crate) fn assume(shared: bool) -> Self {
        Self(YIELD.fetch_or(shared, Ordering::Relaxed))
    }
}

impl Drop for SharedCore {
    fn drop(&mut self) {
        YIELD.store(self.0, Ordering::Relaxed);
    }
}

/// What each spinning side does between two polls.
#[inline(always)]
pub(crate) fn pause() {
    if YIELD.load(Ordering::Relaxed) {
        thread::yield_now();
    } else {
        spin_loop();
    }
}

/// Nanoseconds of a clock that all processes of the machine share.
#[inline(always)]
pub(crate) fn now() -> u64 {
    nanos_of(ClockId::CLOCK_MONOTONIC)
}

#[inline(always)]
fn nanos_of(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("every Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Measures wall clock time and the CPU time of the calling thread.
pub(crate) struct Stopwatch {
    cpu: u64,
    wall: Instant,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) nanos: f64,
    /// The part of the time in which the thread had its core, 0 to 1.
    pub(crate) on_core: f64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { cpu: nanos_of(ClockId::CLOCK_THREAD_CPUTIME_ID), wall: Instant::now() }
    }

    pub(crate) fn stop(self) -> Span {
        let nanos = self.wall.elapsed().as_nanos() as f64;
        let cpu = (nanos_of(ClockId::CLOCK_THREAD_CPUTIME_ID) - self.cpu) as f64;
        Span { nanos, on_core: (cpu / nanos.max(1.0)).min(1.0) }
    }
}

/// Clock ticks that the hypervisor took from the two cores since the machine started.
pub(crate) fn stolen(cores: Cores) -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let of = |core: usize| -> Option<u64> {
        let name = format!("cpu{core}");
        let line = stat.lines().find(|line| line.split(' ').next() == Some(name.as_str()))?;
        line.split(' ').nth(8)?.parse().ok()
    };
    of(cores.producer).unwrap_or(0) + of(cores.consumer).unwrap_or(0)
}
