//! [`Receivers`]: what a sender knows of those who read its link, and has to say when they go before the end.

use std::collections::BTreeSet;

use rust_tango::{Link, LinkStatus};

use crate::failure::Failure;

/// Who reads a link, looked at now and then.
#[derive(Debug)]
pub(crate) struct Receivers {
    link: Link,
    name: String,
    /// How many the sender has been told to wait for.
    asked: usize,
    /// So many have been there.
    begun: bool,
    /// They may go: all that is to be said of them has been said.
    over: bool,
    /// Slots whose owners were dead at the last look.
    dead: BTreeSet<usize>,
    /// How many dead ones the looks have found since then, and how many the producer had found before.
    found: u64,
    reaped: u64,
    /// How many have died since then, by the looks or by the producer, and how many of those were told.
    died: u64,
    told: u64,
}

impl Receivers {
    pub(crate) fn new(link: &Link, name: &str, asked: usize) -> Self {
        let (link, name) = (link.clone(), name.to_owned());
        Self {
            link,
            name,
            asked,
            begun: false,
            over: false,
            dead: BTreeSet::new(),
            found: 0,
            reaped: 0,
            died: 0,
            told: 0,
        }
    }

    /// Those that were waited for have been there: from now on somebody has to be. (The producer has buried those that
    /// have died before.)
    pub(crate) fn begin(&mut self) {
        self.reaped = self.look().reaped;
        (self.begun, self.found, self.died) = (true, 0, 0);
    }

    /// Whether nothing more is to be said of them.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// A look while the sender is at work: why it cannot go on, if it cannot. That somebody has died is told at once.
    pub(crate) fn trouble(&mut self) -> Option<Failure> {
        let name = self.name.clone();
        let status = self.look();
        let living = living(&status);
        let alone = self.begun && living == 0;
        // Once more: they have left also because somebody has stopped the link meanwhile.
        if status.stopped || alone && self.link.status().stopped {
            return Some(Failure::new(format!("link {name} was stopped before all was sent")));
        }
        if let Some(reason) = self.missing(living).filter(|_| alone && self.asked > 0) {
            return Some(Failure::new(format!("no receiver is left: {reason}")));
        }
        if self.begun && self.asked > 0 && self.died > self.told {
            let who = match self.died - self.told {
                1 => "a receiver".to_owned(),
                several => format!("{several} receivers"),
            };
            Failure::new(format!("{who} of link {name} died: {living} left")).tell();
            self.told = self.died;
        }
        None
    }

    /// The last look, before they learn that it is the end and leave: what has become of them. `None` if somebody has
    /// stopped the link.
    pub(crate) fn verdict(&mut self) -> Option<Result<(), Failure>> {
        let status = self.look();
        if self.link.status().stopped {
            return None;
        }
        self.over = true;
        Some(self.missing(living(&status)).map_or(Ok(()), |reason| Err(Failure::new(reason))))
    }

    /// Who is there now; counts the dead.
    fn look(&mut self) -> LinkStatus {
        let mut status = self.link.status();
        let mut dead = dead(&status);
        if !dead.is_empty() {
            // One that joins just while its slot is looked at does not seem to live; it does at the next look.
            status = self.link.status();
            dead = &dead & &self::dead(&status);
        }
        self.found += dead.difference(&self.dead).count() as u64;
        self.dead = dead;
        // The producer may have found one whose slot has been taken since the last look.
        self.died = self.found.max(status.reaped.wrapping_sub(self.reaped));
        status
    }

    /// Who has not read to the end, with so many living ones.
    fn missing(&self, living: usize) -> Option<String> {
        let Self { name, asked, died, .. } = self;
        if *died > 0 && *asked > 0 {
            return Some(format!("{died} of the receivers of link {name} died before the end"));
        }
        match asked.saturating_sub(living) {
            0 => None,
            left => Some(format!("{left} of {asked} receivers of link {name} left before the end")),
        }
    }
}

/// How many living receivers there are.
pub(crate) fn living(status: &LinkStatus) -> usize {
    status.consumers.iter().filter(|consumer| consumer.alive).count()
}

fn dead(status: &LinkStatus) -> BTreeSet<usize> {
    status.consumers.iter().filter(|consumer| !consumer.alive).map(|consumer| consumer.slot).collect()
}
