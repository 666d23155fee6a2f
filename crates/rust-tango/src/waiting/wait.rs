//! Waiting: what a party does while there is nothing for it to do.
//!
//! ```text
//!   Spin    spin spin spin spin ...                                       never sleeps
//!   Yield   spin (64 looks), yield, yield, ...                            never sleeps
//!   Park    spin (64 looks), yield until the time is up, sleep, sleep ...
//! ```
//!
//! How a party that sleeps is woken, and why it cannot be missed: [`eventcount`](crate::waiting::eventcount).

use crate::sync::spin_loop;
#[cfg(feature = "std")]
use crate::waiting::eventcount::SLICE;
#[cfg(feature = "std")]
use core::time::Duration;

/// How a blocking call passes the time until there is something for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Spin. The lowest latency; needs a core of its own.
    Spin,
    /// Spin for about a microsecond, then give the core to who else wants it between looks. A waiting
    /// thread stays runnable: on an idle machine it keeps its core busy.
    #[cfg(feature = "std")]
    Yield,
    /// [`Wait::ParkAfter`] 20 microseconds.
    #[cfg(feature = "std")]
    Park,
    /// Look for this long, then sleep in the kernel until there is something. For programs that are idle at
    /// times: waking up takes some microseconds more (`bench/`: workload `parked`), idling takes no processor.
    ///
    /// With the feature `shm` on Linux, a producer wakes the consumers that sleep, and a consumer the
    /// producer that waits for its credits, across threads and processes. That costs who is awake a load and a
    /// comparison for each fragment (a producer: two loads for each slot that the link was made with), and a system
    /// call only when somebody sleeps; no fence where the kernel has `membarrier(2)` (Linux 4.16), else one full
    /// fence for each call that publishes, and for each that gives credit back (a batch is one call). That is
    /// what a publish mostly consists of then, so publish in batches there.
    ///
    /// Who cannot be woken naps instead, up to ten milliseconds at a time: an observer, which the producer does
    /// not know of (an evictable consumer is woken); a producer that waits for consumers to come or to drain
    /// the link; everybody on other systems and without `shm`. The death of the other side, and that
    /// somebody stopped the link, is noticed after 50 milliseconds at the latest.
    #[cfg(feature = "std")]
    ParkAfter(Duration),
}

impl Default for Wait {
    /// `Park` where threads are known (feature `std`), otherwise `Spin`.
    fn default() -> Self {
        #[cfg(feature = "std")]
        return Self::Park;
        #[cfg(not(feature = "std"))]
        return Self::Spin;
    }
}

/// Looks between two questions that cost a system call (is the other side alive? what time is it?).
const QUESTIONS: u32 = 1024;
#[cfg(feature = "std")]
const SPINS: u32 = if cfg!(loom) { 1 } else { 64 };
/// How long [`Wait::Park`] looks before it sleeps.
#[cfg(feature = "std")]
const PARK_AFTER: Duration = Duration::from_micros(20);
/// The first and the longest nap of who cannot be woken; each is longer by half than the one before. The longest
/// is so long because one takes up to 50 microseconds of processor time on a virtual machine (the tests
/// `awaiting` and `idle_commands` measure it), and who idles is to take less than a hundredth of a core.
#[cfg(feature = "std")]
const NAPS: [Duration; 2] = [Duration::from_micros(60), Duration::from_millis(10)];

/// What is due after a look that found nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Look again.
    Look,
    /// Ask what costs a system call, then look again.
    Question,
    /// Sleep, then look again.
    #[cfg(feature = "std")]
    Sleep,
}

/// One wait: counts its looks.
#[derive(Debug)]
pub(crate) struct Waiting {
    wait: Wait,
    looks: u32,
    #[cfg(feature = "std")]
    begin: Option<std::time::Instant>,
    #[cfg(feature = "std")]
    deadline: Option<std::time::Instant>,
    #[cfg(feature = "std")]
    naps: Naps,
    #[cfg(feature = "std")]
    tired: bool,
}

impl Waiting {
    pub(crate) fn new(wait: Wait) -> Self {
        Self {
            wait,
            looks: 0,
            #[cfg(feature = "std")]
            begin: None,
            #[cfg(feature = "std")]
            deadline: None,
            #[cfg(feature = "std")]
            naps: Naps::new(),
            #[cfg(feature = "std")]
            tired: false,
        }
    }

    /// A wait that ends after `timeout`.
    #[cfg(feature = "std")]
    pub(crate) fn until(wait: Wait, timeout: Option<Duration>) -> Self {
        let deadline = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
        Self { deadline, ..Self::new(wait) }
    }

    /// Passes a moment, and says what is due then.
    pub(crate) fn pause(&mut self) -> Due {
        self.looks = self.looks.wrapping_add(1);
        match self.wait {
            Wait::Spin => spin_loop(),
            #[cfg(feature = "std")]
            _ if self.tired => return Due::Sleep,
            #[cfg(feature = "std")]
            _ if self.looks < SPINS => spin_loop(),
            #[cfg(feature = "std")]
            Wait::Yield => std::thread::yield_now(),
            #[cfg(feature = "std")]
            Wait::Park => self.look_until(PARK_AFTER),
            #[cfg(feature = "std")]
            Wait::ParkAfter(time) => self.look_until(time),
        }
        if self.looks % QUESTIONS == 0 { Due::Question } else { Due::Look }
    }

    #[cfg(feature = "std")]
    fn look_until(&mut self, time: Duration) {
        // Counted from here: the looks before took no more than a microsecond or two.
        if self.begin.get_or_insert_with(std::time::Instant::now).elapsed() >= time {
            self.tired = true;
        } else {
            std::thread::yield_now();
        }
    }

    /// Whether the wait is over.
    pub(crate) fn is_over(&self) -> bool {
        #[cfg(feature = "std")]
        if let Some(deadline) = self.deadline {
            // Seldom while spinning, at each turn after that.
            let clock_is_due = self.looks % 16 == 0 || (self.wait != Wait::Spin && self.looks >= SPINS);
            return clock_is_due && std::time::Instant::now() >= deadline;
        }
        false
    }

    /// How long a sleep may be.
    #[cfg(feature = "std")]
    pub(crate) fn longest_sleep(&self) -> Duration {
        self.deadline
            .map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(std::time::Instant::now()))
    }

    /// Sleeps for a while, longer each time: for who cannot be woken. True when it is time to ask what costs
    /// a system call.
    #[cfg(feature = "std")]
    pub(crate) fn nap(&mut self) -> bool {
        std::thread::sleep(self.naps.next().min(self.longest_sleep()));
        self.naps.passed()
    }
}

/// The naps of who cannot be woken, in one wait.
#[cfg(feature = "std")]
#[derive(Debug)]
pub(crate) struct Naps {
    next: Duration,
    since_question: Duration,
}

#[cfg(feature = "std")]
impl Naps {
    pub(crate) fn new() -> Self {
        Self { next: NAPS[0], since_question: Duration::ZERO }
    }

    /// How long the next one is.
    pub(crate) fn next(&self) -> Duration {
        self.next
    }

    /// It has passed. True when it is time to ask what costs a system call: once in a [`SLICE`].
    pub(crate) fn passed(&mut self) -> bool {
        self.since_question += self.next;
        self.next = (self.next * 3 / 2).min(NAPS[1]);
        let is_due = self.since_question + self.next > SLICE;
        if is_due {
            self.since_question = Duration::ZERO;
        }
        is_due
    }
}
