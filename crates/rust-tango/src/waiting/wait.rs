//! [`Wait`]: how a blocking call spends the time until it can continue. [`Waiting`] is one such wait.
//!
//! ```text
//!   Spin    spin, spin, spin, ...                                     never sleeps
//!   Yield   spin for a microsecond, yield, yield, ...                 never sleeps
//!   Park    spin for a microsecond, yield until the time is up, sleep, sleep, ...
//! ```
//!
//! [`eventcount`](crate::waiting::eventcount) explains how a sleeping thread is woken, and why no wakeup is
//! lost.

#[cfg(feature = "std")]
use crate::sync::Cell;
use crate::sync::spin_loop;
#[cfg(feature = "std")]
use crate::waiting::eventcount::SLICE;
#[cfg(feature = "std")]
use core::time::Duration;

/// How a blocking call spends the time until it can continue.
///
/// | variant | wake-up latency | processor while idle |
/// |---|---|---|
/// | `Spin` | lowest | one core, always |
/// | `Yield` | low | one core, unless other threads of its priority want it |
/// | `Park`, `ParkAfter` | some microseconds more, once asleep | almost none |
///
/// Set it with [`Producer::with_wait`](crate::Producer::with_wait) or
/// [`Consumer::with_wait`](crate::Consumer::with_wait). The default is `Park` with the feature `std`, and
/// `Spin` without it. [`Producer::publish`](crate::Producer::publish) and
/// [`Consumer::poll`](crate::Consumer::poll) never block, whatever is set.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use rust_tango::{Link, Wait};
///
/// let link = Link::builder().depth(64).build()?;
/// let tx = link.producer()?;
/// let mut rx = link.consumer()?.with_wait(Wait::ParkAfter(Duration::from_micros(100)));
///
/// let reader = std::thread::spawn(move || {
///     rx.wait().map(|fragment| fragment.map(|fragment| fragment.payload.as_slice().to_vec()))
/// });
/// tx.send(b"wake up")?;
/// assert_eq!(reader.join().unwrap()?.unwrap(), b"wake up");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Spin. The lowest latency. The thread needs a core of its own.
    ///
    /// The other side needs another core. If both have only one, each exchange takes as long as the scheduler
    /// lets the spinning thread run. With a real-time priority (`SCHED_FIFO`, `SCHED_RR`), that is until the
    /// kernel's limit for such threads (by default 0.95 of each second), and without the limit forever.
    Spin,
    /// Spin for about a microsecond, then yield the core to other threads between polls. The thread stays
    /// runnable: on an idle machine it keeps its core busy. If another thread keeps that core busy, each yield may
    /// take as long as the scheduler lets that thread run, which is some milliseconds.
    ///
    /// The core goes to threads of the same priority only. A thread with a real-time priority (`SCHED_FIFO`,
    /// `SCHED_RR`) never yields to one with a lower priority or without one: if the other side is such a thread
    /// and has no other core, it waits as with [`Wait::Spin`]. Use [`Wait::Park`] there.
    #[cfg(feature = "std")]
    Yield,
    /// [`Wait::ParkAfter`] with 20 microseconds.
    #[cfg(feature = "std")]
    Park,
    /// Poll for this long, then sleep in the kernel until there is something to do. For programs that are
    /// idle at times: waking up takes some microseconds more (`bench/`: workload `parked`), but an idle
    /// thread uses almost no processor.
    ///
    /// It polls as [`Wait::Yield`] does. On a busy core it sleeps sooner: after a yield that took more than 200
    /// microseconds, its waits of the next 100 milliseconds do not yield.
    ///
    /// **Wake-ups.** With the feature `shm` on Linux, a producer wakes sleeping consumers, and a consumer
    /// wakes a producer that waits for its credits, across threads and processes.
    ///
    /// **Cost to the side that is awake.** For each fragment a load and a comparison; a producer needs a
    /// load for each slot that the link was made with, rounded up to 1, 8, 15 and so on. A system call only if the other side sleeps. No fence
    /// if the kernel has `membarrier(2)` (Linux 4.16). On other kernels, each call that publishes or returns
    /// credits needs one full fence, which then takes most of the time of a publish. A batch is one call, so
    /// publish in batches there.
    ///
    /// **Threads that nobody can wake.** These nap instead, for up to twenty milliseconds at a time:
    ///
    /// - an observer, because the producer does not know of it (an evictable consumer is woken)
    /// - a producer that waits until consumers attach or until they have drained the link
    /// - every thread on other systems, and without the feature `shm`
    ///
    /// **Threads that may miss a wake-up.** If a system call filter forbids `membarrier(2)` to one process and not
    /// to the other side's, a thread of the first sleeps for at most ten milliseconds at a time. It is woken like
    /// any other, except when the other side acts in the moment in which it falls asleep. Allow the call in both
    /// processes or in neither.
    ///
    /// A waiting thread notices within 50 milliseconds that the other side has died, or that the link was
    /// stopped.
    #[cfg(feature = "std")]
    ParkAfter(Duration),
}

impl Default for Wait {
    /// `Park` with the feature `std`, otherwise `Spin`.
    fn default() -> Self {
        #[cfg(feature = "std")]
        return Self::Park;
        #[cfg(not(feature = "std"))]
        return Self::Spin;
    }
}

/// Polls between two checks that cost a system call, such as whether the other side lives.
const POLLS_PER_CHECK: u32 = 1024;
/// How long a thread that may yield spins first. In time, because a spin takes 40 cycles on one processor, and 140 on
/// another.
#[cfg(feature = "std")]
const SPIN_FOR: Duration = Duration::from_micros(1);
/// Spins between two readings of the clock, which takes about as long as a spin.
#[cfg(feature = "std")]
const SPINS_PER_READING: u32 = 8;
/// How long [`Wait::Park`] polls before it sleeps.
#[cfg(feature = "std")]
const PARK_AFTER: Duration = Duration::from_micros(20);
/// A yield that takes longer than this has given the core to a thread that keeps it. Such a yield takes the time that the
/// scheduler lets a thread run, some milliseconds. One to a thread that waits as this one does takes microseconds.
#[cfg(feature = "std")]
const LONG_YIELD: Duration = Duration::from_micros(200);
/// How long a thread that may sleep does so instead of yielding, after a yield that took long. A thread that sleeps runs soon
/// after it is woken, also on a busy core.
#[cfg(feature = "std")]
const NO_YIELDS_FOR: Duration = Duration::from_millis(100);

#[cfg(feature = "std")]
std::thread_local! {
    /// When a yield of this thread last took long.
    static YIELDED_LONG: Cell<Option<std::time::Instant>> = const { Cell::new(None) };
}

/// The first and the longest nap of a thread that nobody can wake. Each nap is half as long again as the one
/// before.
///
/// So a thread notices something after at most three halves of the time that it took to happen, and 60 microseconds more.
/// A nap takes up to 110 microseconds of processor time on a virtual machine (the tests `awaiting` and `idle_commands`
/// measure it). The longest nap is so long that an idle thread takes less than a hundredth of a core.
#[cfg(feature = "std")]
const NAPS: [Duration; 2] = [Duration::from_micros(60), Duration::from_millis(20)];

/// The longest nap of a thread that nobody can wake.
#[cfg(all(feature = "async", target_os = "linux"))]
pub(crate) const LONGEST_NAP: Duration = NAPS[1];

/// What the caller has to do next, after a poll that found nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Poll again.
    Look,
    /// Make the checks that cost a system call, then poll again.
    Question,
    /// Sleep, then poll again.
    #[cfg(feature = "std")]
    Sleep,
}

/// One wait: counts its polls and keeps its deadline.
#[derive(Debug)]
pub(crate) struct Waiting {
    wait: Wait,
    polls: u32,
    /// When the clock was first read.
    #[cfg(feature = "std")]
    begin: Option<std::time::Instant>,
    /// It does not yield or sleep yet.
    #[cfg(feature = "std")]
    spins: bool,
    #[cfg(feature = "std")]
    deadline: Option<std::time::Instant>,
    /// The time for polling is over: it only sleeps from now on.
    #[cfg(feature = "std")]
    sleeps: bool,
}

impl Waiting {
    pub(crate) fn new(wait: Wait) -> Self {
        Self {
            wait,
            polls: 0,
            #[cfg(feature = "std")]
            begin: None,
            // A model has no time to spin.
            #[cfg(feature = "std")]
            spins: !cfg!(loom),
            #[cfg(feature = "std")]
            deadline: None,
            #[cfg(feature = "std")]
            sleeps: false,
        }
    }

    /// A wait that ends after `timeout`, or never if there is none.
    #[cfg(feature = "std")]
    pub(crate) fn until(wait: Wait, timeout: Option<Duration>) -> Self {
        let deadline = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
        Self { deadline, ..Self::new(wait) }
    }

    /// Spins or yields once, and says what the caller has to do next.
    pub(crate) fn pause(&mut self) -> Due {
        self.polls = self.polls.wrapping_add(1);
        #[cfg(feature = "std")]
        if self.sleeps {
            return Due::Sleep;
        }
        match self.wait {
            Wait::Spin => spin_loop(),
            #[cfg(feature = "std")]
            Wait::Yield => self.spin_or_yield(Duration::MAX),
            #[cfg(feature = "std")]
            Wait::Park => self.spin_or_yield(PARK_AFTER),
            #[cfg(feature = "std")]
            Wait::ParkAfter(time) => self.spin_or_yield(time),
        }
        if self.polls % POLLS_PER_CHECK == 0 { Due::Question } else { Due::Look }
    }

    /// The time since the first call of this.
    #[cfg(feature = "std")]
    fn elapsed(&mut self) -> Duration {
        self.begin.get_or_insert_with(std::time::Instant::now).elapsed()
    }

    /// Spins or yields once, until `time` is up. From then on, it only sleeps.
    #[cfg(feature = "std")]
    fn spin_or_yield(&mut self, time: Duration) {
        if self.spins && self.polls % SPINS_PER_READING == 0 {
            self.spins = self.elapsed() < SPIN_FOR;
        }
        if self.spins {
            spin_loop();
        } else if time == Duration::MAX {
            std::thread::yield_now();
        } else {
            let elapsed = self.elapsed();
            if elapsed >= time || self.yields_take_long(elapsed) {
                self.sleeps = true;
                return;
            }
            std::thread::yield_now();
            // What was waited for may be there now, so this wait may not come here again.
            let after = self.elapsed();
            self.has_yielded(elapsed, after);
        }
    }

    /// Remembers that a yield took long, if it did. Both times are since `begin`.
    #[cfg(feature = "std")]
    fn has_yielded(&self, from: Duration, to: Duration) {
        if to - from > LONG_YIELD {
            YIELDED_LONG.set(self.begin.map(|begin| begin + to));
        }
    }

    /// Whether a yield of this thread took long a short time ago.
    #[cfg(feature = "std")]
    fn yields_take_long(&self, elapsed: Duration) -> bool {
        let now = self.begin.map(|begin| begin + elapsed);
        let since = now.zip(YIELDED_LONG.get()).map(|(now, then)| now.saturating_duration_since(then));
        since.is_some_and(|since| since < NO_YIELDS_FOR)
    }

    /// Whether the deadline has passed. Reads the clock only now and then, so it may be late by some polls.
    pub(crate) fn is_over(&self) -> bool {
        #[cfg(feature = "std")]
        if let Some(deadline) = self.deadline {
            // Rarely while spinning, each time after that.
            let clock_is_due = self.polls % 16 == 0 || (self.wait != Wait::Spin && !self.spins);
            return clock_is_due && std::time::Instant::now() >= deadline;
        }
        false
    }

    /// How long a sleep may take until the deadline.
    #[cfg(feature = "std")]
    pub(crate) fn longest_sleep(&self) -> Duration {
        self.deadline
            .map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(std::time::Instant::now()))
    }
}

/// The naps of one end of a link. They go on from one wait to the next as long as the end makes no progress. So short
/// waits that are called again and again take no more processor time than a long one.
#[cfg(feature = "std")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeptNaps {
    /// The number of the fragment for which the end waits.
    next: u64,
    naps: Naps,
}

#[cfg(feature = "std")]
impl KeptNaps {
    pub(crate) fn new() -> Self {
        Self { next: 0, naps: Naps::new() }
    }

    /// Sleeps for a fixed time, longer with each call, but not beyond the deadline of `waiting`: for a thread that nobody
    /// can wake. `next` is the number of the fragment for which it waits. True if it is time for the checks that cost a
    /// system call.
    pub(crate) fn nap(&mut self, next: u64, waiting: &Waiting) -> bool {
        if self.next != next {
            *self = Self { next, naps: Naps::new() };
        }
        std::thread::sleep(self.naps.next().min(waiting.longest_sleep()));
        self.naps.passed()
    }
}

/// The naps of a thread that nobody can wake.
#[cfg(feature = "std")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naps {
    next: Duration,
    since_check: Duration,
}

#[cfg(feature = "std")]
impl Naps {
    pub(crate) fn new() -> Self {
        Self { next: NAPS[0], since_check: Duration::ZERO }
    }

    /// How long the next nap takes.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// The next nap has passed. True if it is time for the checks that cost a system call: once in a
    /// [`SLICE`].
    pub(crate) fn passed(&mut self) -> bool {
        self.since_check += self.next;
        self.next = (self.next * 3 / 2).min(NAPS[1]);
        let is_due = self.since_check + self.next > SLICE;
        if is_due {
            self.since_check = Duration::ZERO;
        }
        is_due
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;
    use std::time::Instant;

    /// However long a poll takes.
    #[test]
    fn a_thread_spins_for_a_time_and_not_for_a_number_of_polls() {
        let mut waiting = Waiting::new(Wait::Yield);
        let begin = Instant::now();
        while waiting.spins {
            waiting.pause();
        }
        assert!(begin.elapsed() >= SPIN_FOR);
        let mut waiting = Waiting::new(Wait::Yield);
        for _ in 0..2 * SPINS_PER_READING {
            std::thread::sleep(SPIN_FOR);
            waiting.pause();
        }
        assert!(!waiting.spins);
    }
    #[test]
    fn one_that_spins_makes_its_checks_after_every_1024th_poll() {
        let mut waiting = Waiting::new(Wait::Spin);
        for poll in 1..=3 * POLLS_PER_CHECK {
            let due = if poll % 1024 == 0 { Due::Question } else { Due::Look };
            assert_eq!(waiting.pause(), due, "poll {poll}");
        }
    }

    #[test]
    fn one_that_yields_never_sleeps() {
        let mut waiting = Waiting::new(Wait::Yield);
        let polls = || waiting.pause();
        assert_eq!(std::iter::repeat_with(polls).take(2048).filter(|due| *due == Due::Question).count(), 2);
    }

    #[test]
    fn one_that_parks_spins_first_and_sleeps_when_its_time_is_up() {
        let mut waiting = Waiting::new(Wait::ParkAfter(Duration::ZERO));
        while waiting.spins {
            assert_ne!(waiting.pause(), Due::Sleep);
        }
        let due: Vec<_> = (0..2 * POLLS_PER_CHECK).map(|_| waiting.pause()).collect();
        assert!(due[1..].iter().all(|due| *due == Due::Sleep));
        let mut waiting = Waiting::new(Wait::ParkAfter(Duration::MAX));
        assert!((0..2 * POLLS_PER_CHECK).all(|_| waiting.pause() != Due::Sleep), "its time is not up");
        let (mut waiting, begin) = (Waiting::new(Wait::Park), Instant::now());
        while waiting.pause() != Due::Sleep {}
        assert!(begin.elapsed() >= PARK_AFTER);
    }

    /// The core was given to a thread that kept it, and would be given to it again.
    #[test]
    fn one_that_parks_does_not_yield_after_a_yield_that_took_long() {
        let hour = Duration::from_secs(3600);
        let of_a_thread = |yielded: Duration| {
            let pauses = move || {
                let mut before = Waiting::new(Wait::Park);
                let begin = before.elapsed();
                before.has_yielded(begin, begin + yielded);
                let is_noted = YIELDED_LONG.get().is_some();
                let mut waiting = Waiting::new(Wait::ParkAfter(24 * hour));
                let sleeps = is_noted && (0..10_000).any(|_| waiting.pause() == Due::Sleep);
                let mut yields = Waiting::new(Wait::Yield);
                (sleeps, (0..2048).all(|_| yields.pause() != Due::Sleep))
            };
            std::thread::spawn(pauses).join().unwrap()
        };
        assert_eq!(of_a_thread(hour), (true, true)); // sleeps, although the time for polling is not over
        assert_eq!(of_a_thread(LONG_YIELD), (false, true));
    }

    #[test]
    fn a_deadline_is_checked_rarely_while_spinning_and_each_time_after_that() {
        for wait in [Wait::Spin, Wait::Yield, Wait::Park] {
            let mut over = Waiting::until(wait, Some(Duration::ZERO));
            let mut not_yet = Waiting::until(wait, Some(Duration::from_secs(3600)));
            let mut never = Waiting::until(wait, None);
            assert_eq!(never.longest_sleep(), Duration::MAX);
            assert_eq!(over.longest_sleep(), Duration::ZERO);
            let longest = not_yet.longest_sleep();
            assert!(Duration::from_secs(1800) < longest && longest <= Duration::from_secs(3600));
            for poll in 1..=256 {
                for waiting in [&mut over, &mut not_yet, &mut never] {
                    waiting.pause();
                }
                let is_checked = poll % 16 == 0 || (wait != Wait::Spin && !over.spins);
                assert_eq!(over.is_over(), is_checked, "{wait:?}, poll {poll}");
                assert!(!not_yet.is_over() && !never.is_over());
            }
        }
    }

    #[test]
    fn naps_grow_up_to_the_longest_and_a_check_is_due_once_in_a_slice() {
        let mut naps = Naps::new();
        let (mut before, mut since_check, mut checks) = (Duration::ZERO, Duration::ZERO, 0);
        assert_eq!(naps.next(), NAPS[0]);
        while checks < 5 {
            let nap = naps.next();
            assert!(
                nap == before * 3 / 2 || nap == NAPS[1] || before == Duration::ZERO,
                "{before:?}, {nap:?}"
            );
            assert!(before <= nap && nap <= NAPS[1]);
            (before, since_check) = (nap, since_check + nap);
            let is_due = naps.passed();
            assert_eq!(is_due, since_check + naps.next() > SLICE, "{since_check:?}");
            assert!(since_check <= SLICE);
            if is_due {
                (since_check, checks) = (Duration::ZERO, checks + 1);
            }
        }
        assert_eq!(before, NAPS[1]);
    }

    #[test]
    fn a_nap_takes_its_time_and_ends_at_the_deadline() {
        let (mut kept, begin) = (KeptNaps::new(), Instant::now());
        assert!(!kept.nap(1, &Waiting::new(Wait::Park)), "a slice has not passed");
        assert!(begin.elapsed() >= NAPS[0]);
        let hour = Duration::from_secs(3600);
        kept.naps.next = hour;
        assert!(kept.nap(1, &Waiting::until(Wait::Park, Some(Duration::ZERO))));
        assert!(begin.elapsed() < hour);
    }

    #[test]
    fn naps_go_on_in_the_next_wait_until_there_is_progress() {
        let mut kept = KeptNaps::new();
        let mut nap = |next| {
            kept.nap(next, &Waiting::new(Wait::Park));
            kept.naps.next()
        };
        let after_one = nap(7);
        let after_two = nap(7);
        assert!(after_two > after_one);
        assert_eq!(nap(8), after_one);
        assert_eq!(nap(8), after_two);
    }
}
