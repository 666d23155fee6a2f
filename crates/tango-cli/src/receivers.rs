//! [`Receivers`]: the reliable receivers of a link as its sender sees them. Reports those that die or leave
//! before the end.

use std::collections::BTreeSet;

use rust_tango::{Link, LinkStatus};

use crate::failure::Failure;
use crate::format;

/// The receivers of a link, polled now and then.
///
/// Two sources report deaths, and each can miss one. A poll misses a dead receiver if its slot was reused
/// since the last poll. The producer counts a dead receiver only when it reaps, for example because credits
/// have run out. The larger of the two counts is used.
#[derive(Debug)]
pub(crate) struct Receivers {
    link: Link,
    name: String,
    /// How many receivers the sender waits for before it starts. 0: receivers may come and go unreported.
    expected: usize,
    /// The expected receivers have joined. From now on, at least one must stay.
    started: bool,
    /// [`Self::finish`] was called: receivers may leave.
    finished: bool,
    /// Slots whose owners were dead at the last poll.
    dead_slots: BTreeSet<usize>,
    /// Deaths that polls have found since the start.
    deaths_polled: u64,
    /// The producer's count of dead consumers at the start.
    reaped_at_start: u64,
    /// Deaths since the start, by either source.
    deaths: u64,
    /// How many of the deaths were reported.
    deaths_reported: u64,
    /// The fewest receivers that a poll has found since the start. Another one that joins later has not read
    /// everything.
    fewest: usize,
    /// How many of those that left were reported.
    left_reported: usize,
}

impl Receivers {
    pub(crate) fn new(link: &Link, name: &str, expected: usize) -> Self {
        Self {
            link: link.clone(),
            name: name.to_owned(),
            expected,
            started: false,
            finished: false,
            dead_slots: BTreeSet::new(),
            deaths_polled: 0,
            reaped_at_start: 0,
            deaths: 0,
            deaths_reported: 0,
            fewest: 0,
            left_reported: 0,
        }
    }

    /// The expected receivers have joined. Earlier deaths do not count; the producer must have reaped them.
    pub(crate) fn start(&mut self) {
        let status = self.poll();
        self.reaped_at_start = status.reaped;
        (self.started, self.deaths_polled, self.deaths) = (true, 0, 0);
        self.fewest = living(&status);
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Polls while the sender is working. Reports new deaths at once, and returns the reason if the sender
    /// cannot go on.
    pub(crate) fn check(&mut self) -> Option<Failure> {
        let name = self.name.clone();
        let status = self.poll();
        let living = living(&status);
        let all_gone = self.started && living == 0;
        let more_left = self.started && self.left() > self.left_reported;
        // Receivers also leave because the link was stopped after the status was read, so read that again.
        let ended = if all_gone || more_left { self.link.status() } else { status };
        if ended.name_lost {
            return Some(Failure::new(format!("{} before everything was sent", format::name_lost(&name))));
        }
        if ended.stopped {
            return Some(Failure::new(format!("link {name} was stopped before everything was sent")));
        }
        if let Some(reason) = self.shortfall().filter(|_| all_gone && self.expected > 0) {
            return Some(Failure::new(format!("no receiver is left: {reason}")));
        }
        if self.started && self.expected > 0 && self.deaths > self.deaths_reported {
            let dead = some(self.deaths - self.deaths_reported);
            Failure::new(format!("{dead} of link {name} died ({living} left)")).report();
            self.deaths_reported = self.deaths;
        }
        if more_left {
            let left = some((self.left() - self.left_reported) as u64);
            Failure::new(format!("{left} of link {name} left before the end ({living} remain)")).report();
            self.left_reported = self.left();
        }
        None
    }

    /// Polls for the last time, before the receivers learn that the data has ended and leave. Returns
    /// whether the expected receivers have read everything, or `None` if the link was stopped.
    pub(crate) fn finish(&mut self) -> Option<Result<(), Failure>> {
        self.poll();
        if self.link.status().stopped {
            return None;
        }
        self.finished = true;
        Some(self.shortfall().map_or(Ok(()), |reason| Err(Failure::new(reason))))
    }

    /// Reads the link's status and counts new deaths.
    fn poll(&mut self) -> LinkStatus {
        let mut status = self.link.status();
        let mut dead = dead_slots(&status);
        if !dead.is_empty() {
            // A receiver that is just joining can look dead for a moment. It is dead only if it looks dead
            // twice.
            status = self.link.status();
            dead = &dead & &dead_slots(&status);
        }
        self.fewest = self.fewest.min(status.consumers.len() - dead.len());
        self.deaths_polled += dead.difference(&self.dead_slots).count() as u64;
        self.dead_slots = dead;
        self.deaths = self.deaths_polled.max(status.reaped.wrapping_sub(self.reaped_at_start));
        status
    }

    /// How many of the expected receivers have left alive since the start.
    fn left(&self) -> usize {
        self.expected.saturating_sub(self.fewest).saturating_sub(self.deaths as usize)
    }

    /// Which of the expected receivers did not stay, if any.
    fn shortfall(&self) -> Option<String> {
        let Self { name, expected, deaths, .. } = self;
        if *deaths > 0 && *expected > 0 {
            let plural = if *deaths == 1 { "" } else { "s" };
            return Some(format!("{deaths} receiver{plural} of link {name} died before the end"));
        }
        match self.left() {
            0 => None,
            left => Some(format!("{left} of {expected} receivers of link {name} left before the end")),
        }
    }
}

fn some(receivers: u64) -> String {
    if receivers == 1 { "a receiver".to_owned() } else { format!("{receivers} receivers") }
}

/// The number of living receivers.
pub(crate) fn living(status: &LinkStatus) -> usize {
    status.consumers.iter().filter(|consumer| consumer.alive).count()
}

fn dead_slots(status: &LinkStatus) -> BTreeSet<usize> {
    status.consumers.iter().filter(|consumer| !consumer.alive).map(|consumer| consumer.slot).collect()
}
