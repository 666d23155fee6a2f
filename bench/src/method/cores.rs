//! The cores that threads are kept on, the time that passes on them, and what the hypervisor takes.

use std::hint::spin_loop;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The two cores that everything is pinned to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cores {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
}

/// What is wrong with a choice of cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    Apart,
    /// Two hardware threads of one physical core.
    Siblings,
    Same,
}

impl Cores {
    /// The cores asked for, or the first two available ones that are not the same physical core.
    pub(crate) fn choose(asked: Option<(usize, usize)>) -> io::Result<Self> {
        let available = available()?;
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
        Ok(cores)
    }

    pub(crate) fn sharing(self) -> Sharing {
        if self.producer == self.consumer {
            Sharing::Same
        } else if siblings(self.producer) == siblings(self.consumer) {
            Sharing::Siblings
        } else {
            Sharing::Apart
        }
    }

    /// A core for each of that many readers: the consumer's, then others that are not the producer's,
    /// then round again. And whether some of them share one.
    pub(crate) fn of_readers(self, readers: usize) -> (Vec<usize>, bool) {
        let others = available().unwrap_or_default();
        let others = others.into_iter().filter(|core| ![self.producer, self.consumer].contains(core));
        let cores: Vec<usize> = std::iter::once(self.consumer).chain(others).collect();
        let shared = readers > cores.len() || self.sharing() == Sharing::Same;
        (cores.iter().copied().cycle().take(readers).collect(), shared)
    }
}

fn available() -> io::Result<Vec<usize>> {
    // Of the process: this thread may be pinned already.
    let process = Pid::from_raw(std::process::id() as i32);
    let set = ALLOWED.get().copied().map_or_else(|| sched_getaffinity(process), Ok)?;
    let _ = ALLOWED.set(set);
    Ok((0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect())
}

/// The cores of this process, as they were before anything was pinned.
static ALLOWED: std::sync::OnceLock<CpuSet> = std::sync::OnceLock::new();

/// The hardware threads that share a physical core with this one, as the kernel writes them down.
fn siblings(core: usize) -> String {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    std::fs::read_to_string(path).unwrap_or_else(|_| core.to_string())
}

/// Whether threads run wherever there is time for them, because nothing is timed.
static LOOSE: AtomicBool = AtomicBool::new(false);

/// From now on nobody is pinned, and who waits yields: for checking what is delivered on a busy machine.
pub(crate) fn let_loose() {
    LOOSE.store(true, Ordering::Relaxed);
    SHARED.store(true, Ordering::Relaxed);
}

pub(crate) fn is_loose() -> bool {
    LOOSE.load(Ordering::Relaxed)
}

/// Keeps the calling thread, and what it starts later, on one core.
pub(crate) fn pin(core: usize) {
    if is_loose() {
        return;
    }
    let mut set = CpuSet::new();
    set.set(core).expect("the core was checked when it was chosen");
    sched_setaffinity(Pid::from_raw(0), &set).expect("a thread may choose among its own cores");
}

/// A thread with room for some of the largest messages on its stack, where peers that carry values put them.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let builder = thread::Builder::new().stack_size(64 << 20);
    builder.spawn_scoped(scope, work).expect("a thread can be started")
}

/// Whether threads that wait for each other share a core, so that who waits has to give it away.
static SHARED: AtomicBool = AtomicBool::new(false);

/// While this lives, [`pause`] yields.
pub(crate) struct SharedCore(bool);

impl SharedCore {
    pub(crate) fn assume(shared: bool) -> Self {
        Self(SHARED.fetch_or(shared, Ordering::Relaxed))
    }
}

impl Drop for SharedCore {
    fn drop(&mut self) {
        SHARED.store(self.0, Ordering::Relaxed);
    }
}

/// What every spinning side does between two looks.
#[inline(always)]
pub(crate) fn pause() {
    if SHARED.load(Ordering::Relaxed) {
        thread::yield_now();
    } else {
        spin_loop();
    }
}

/// Nanoseconds of a clock that all threads and processes of the machine share.
#[inline(always)]
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
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
pub(crate) fn stolen(cores: Cores) -> u64 {
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
