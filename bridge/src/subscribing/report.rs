//! [`Report`]: what is counted and said of one far link. Losses that follow each other quickly are said together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::order::Loss;
use crate::context::{Context, Direction};
use crate::counts::Counts;
use crate::journal::{Event, Journal};
use crate::wire::GapCause;

/// Losses are said at most as often.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of numbers that did not come as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Odd {
    Lost(Loss),
    Recovered,
}

#[derive(Debug, Clone, Copy)]
struct Sum {
    odd: Odd,
    first: u64,
    count: u64,
    times: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Report {
    journal: Journal,
    key: String,
    /// Its name, as soon as it is known.
    link: Option<String>,
    pub(super) counts: Arc<Counts>,
    /// What was not said yet.
    sums: Vec<Sum>,
    said_at: Option<Instant>,
    /// What was said last of each kind of event that is not repeated.
    said: HashMap<&'static str, String>,
    /// Numbers that were lost and recovered in all.
    lost: u64,
    recovered: u64,
}

impl Report {
    pub(super) fn new(context: &Context, key: &str) -> Self {
        Self {
            journal: context.journal.clone(),
            key: key.to_owned(),
            link: None,
            // Before its name is known, nothing is counted that lasts.
            counts: Arc::default(),
            sums: Vec::new(),
            said_at: None,
            said: HashMap::new(),
            lost: 0,
            recovered: 0,
        }
    }

    /// The far link has this name. What was counted before goes to it.
    pub(super) fn set_link(&mut self, context: &Context, link: &str) {
        if self.link.as_deref() == Some(link) {
            return;
        }
        let counts = context.register.counts(Direction::Subscribe, link, &self.key);
        if self.link.is_none() {
            let rejected = self.counts.rejected.swap(0, std::sync::atomic::Ordering::Relaxed);
            Counts::add(&counts.rejected, rejected);
        }
        self.link = Some(link.to_owned());
        self.counts = counts;
    }

    /// Notes an event.
    pub(super) fn note(&self, event: &'static str, message: impl Into<String>) {
        self.journal.note(self.of_link(Event::new(event, message)));
    }

    /// [`Self::note`], unless it is the same as the last of its kind.
    pub(super) fn note_once(&mut self, event: &'static str, message: impl Into<String>) {
        let message = message.into();
        if self.said.get(event) != Some(&message) {
            self.note(event, message.clone());
            self.said.insert(event, message);
        }
    }

    /// What was said of this kind is over: the next one is said again.
    pub(super) fn is_over(&mut self, event: &'static str) {
        self.said.remove(event);
    }

    fn of_link(&self, event: Event) -> Event {
        let event = event.of_key(&self.key);
        match &self.link {
            Some(link) => event.of_link(link),
            None => event,
        }
    }

    /// `count` numbers from `first` on are left out.
    pub(super) fn lost(&mut self, first: u64, count: u64, loss: Loss) {
        let counts = &self.counts;
        let sum = match loss {
            Loss::Origin(GapCause::Congestion) | Loss::Queue | Loss::Leaving => &counts.dropped,
            Loss::Origin(_) => &counts.lost_at_origin,
            Loss::Network | Loss::NotAsked => &counts.lost_in_network,
        };
        Counts::add(sum, count);
        self.lost = self.lost.saturating_add(count);
        self.add(Odd::Lost(loss), first, count);
    }

    /// `count` fragments from `first` on were sent again, and published.
    pub(super) fn recovered(&mut self, first: u64, count: u64) {
        Counts::add(&self.counts.recovered, count);
        self.recovered = self.recovered.saturating_add(count);
        self.add(Odd::Recovered, first, count);
    }

    /// How many numbers were lost and recovered so far.
    pub(super) fn odd_ones(&self) -> (u64, u64) {
        (self.lost, self.recovered)
    }

    fn add(&mut self, odd: Odd, first: u64, count: u64) {
        match self.sums.iter_mut().find(|sum| sum.odd == odd) {
            Some(sum) => {
                // One run of numbers is one loss, in however many steps it is left out.
                sum.times += u64::from(sum.first.wrapping_add(sum.count) != first);
                sum.count = sum.count.saturating_add(count);
            }
            None => self.sums.push(Sum { odd, first, count, times: 1 }),
        }
    }

    /// Says what was not said yet, if enough time has passed.
    pub(super) fn say_if_due(&mut self, now: Instant) {
        if !self.sums.is_empty() && self.said_at.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE) {
            self.said_at = Some(now);
            self.say();
        }
    }

    /// Says what was not said yet.
    pub(super) fn say(&mut self) {
        for Sum { odd, first, count, times } in std::mem::take(&mut self.sums) {
            let (event, what) = match odd {
                Odd::Recovered => ("recovered", "were sent again, and have arrived"),
                Odd::Lost(loss) => describe(loss),
            };
            let count_of = if count == 1 { "1 fragment".to_owned() } else { format!("{count} fragments") };
            let times = if times == 1 { String::new() } else { format!(", in {times} pieces") };
            let event = Event::new(event, format!("{count_of} from number {first} on{times}: {what}"));
            self.journal.note(self.of_link(event.of_fragments(first, count)));
        }
    }
}

/// The kind of event, and what follows the number of fragments.
fn describe(loss: Loss) -> (&'static str, &'static str) {
    match loss {
        Loss::Origin(GapCause::Overrun) => (
            "gap",
            "lost before they reached the network: the bridge there was too slow for the link, or its producer \
             has left these numbers out",
        ),
        Loss::Origin(GapCause::Evicted) => {
            ("gap", "lost before they reached the network: the bridge there was too slow, and was evicted")
        }
        Loss::Origin(GapCause::Corrupt) => ("gap", "their metadata is wrong"),
        Loss::Origin(GapCause::Other) => ("gap", "the bridge at the origin does not send them"),
        Loss::Origin(GapCause::Congestion) => {
            ("dropped", "dropped by the bridge at the origin, because the network was too slow")
        }
        Loss::Queue => ("dropped", "dropped here, because the consumers of the far link were too slow"),
        Loss::Leaving => ("dropped", "had arrived, and were not published, because this bridge ends"),
        Loss::NotAsked => ("gap", "were missing, and not queried any more, because this bridge ends"),
        Loss::Network => {
            ("gap", "lost on the network, and the bridge at the origin could not send them again")
        }
    }
}
