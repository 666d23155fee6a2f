//! Answers to queries: what a link is, and what its ring still has.
//!
//! Parameters of a query on the key of a link:
//!
//! - `state`: one state message, whose `first` is the number of the next fragment that will be sent.
//! - `first=N;count=M`: fragments `N` to `N + M - 1`, in messages as they are published. What the ring does not have any more
//!   is in a gap message in its place, so that each number up to the newest fragment is either sent or said to be gone.
//!   Nothing is said of fragments that have not been published yet.
//!
//! The replies are in order. A query must ask for all of them: zenoh calls that `ConsolidationMode::None`. Of a link that was
//! removed, everything is gone.
//!
//! Eight queries of one link are answered at a time. The next 256 wait in a [`Line`]. They get a state every two seconds
//! meanwhile. More than these are refused: they may be asked again. No thread of zenoh waits for the network here.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, thread};

use rust_tango::{Consumer, Link, Start, TangoError};
use zenoh::Wait;
use zenoh::query::Query;

use super::about::About;
use super::line::{Entered, Line, MOST_WAITING, Told};
use super::packing::{Packed, Packer};
use super::sending::{Known, Shared};
use crate::context::Stop;
use crate::numbers::is_before;
use crate::wire::{GapCause, encode_gap};

/// A fragment that was published is visible to another processor within a few nanoseconds. This is generous.
const VISIBLE_WITHIN: Duration = Duration::from_millis(20);

/// Answers the queries of one link. Threads of their own do that, because the network may be slow to take the answers. They
/// are there while there are queries: these are few, after a gap.
#[derive(Debug)]
pub(super) struct History {
    shared: Arc<Shared>,
    stop: Stop,
    /// The most bytes of a reply.
    batch: usize,
    line: Line<Query>,
}

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    State,
    Fragments { first: u64, count: u64 },
}

/// Why there is no answer, or not all of it.
enum Refused {
    /// It is said to the program that asks.
    Because(String),
    /// The network takes no replies.
    Unsent,
}

impl History {
    pub(super) fn new(shared: Arc<Shared>, stop: Stop, batch: usize) -> Self {
        Self { shared, stop, batch, line: Line::new() }
    }

    /// Starts to answer, or lets the query wait. Called by a thread of zenoh, which should not wait itself.
    pub(super) fn answer(self: &Arc<Self>, query: Query) {
        let history = self.clone();
        let thread = thread::Builder::new().name("bridge-history".to_owned());
        let (what, started) = match self.line.enter(query) {
            Entered::Answer(query) => (Entered::Answer(()), thread.spawn(move || history.answer_all(query))),
            Entered::StartTeller => (Entered::StartTeller, thread.spawn(move || history.tell_all())),
            Entered::Waits => return,
            // Somebody asks thousands of times. This ends the query without an answer, and may wait for the network.
            Entered::Full(query) => return drop(query),
        };
        if started.is_err() {
            self.line.not_started(&what);
        }
    }

    /// Answers this query, and those that wait.
    fn answer_all(&self, query: Query) {
        let mut next = Some(query);
        while let Some(query) = next {
            if let Err(Refused::Because(why)) = self.answer_here(&query) {
                refuse(&query, &why);
            }
            drop(query);
            if self.stop.is_set() {
                drop(self.line.clear());
            }
            next = self.line.next();
        }
    }

    /// Tells those that wait that they do, and refuses the others.
    fn tell_all(&self) {
        while let Some(told) = self.line.tell() {
            match (told, self.shared.known()) {
                // It fails if the asker is gone.
                (Told::Waits(query), Some(known)) => _ = self.reply_state(&query, &known),
                (Told::Waits(_), None) => {}
                (Told::Refused(query), _) => {
                    let why = format!("{MOST_WAITING} queries of this link wait already: ask again later");
                    refuse(&query, &why);
                }
            }
        }
    }

    fn answer_here(&self, query: &Query) -> Result<(), Refused> {
        let parameters = query.parameters();
        let question = Question::of(|name| parameters.get(name))?;
        let Some(known) = self.shared.known() else {
            return Err(Refused::Because("the link does not exist now".to_owned()));
        };
        let Question::Fragments { first, count } = question else {
            return self.reply_state(query, &known);
        };
        let (Known::Link(_, about) | Known::Removed { about, .. }) = &known;
        let mut answer = Answer { history: self, query, about, next: first, gone: None };
        match &known {
            Known::Link(link, _) => answer.send(link, count)?,
            Known::Removed { next, .. } if is_before(first, *next) => {
                let ahead = next.wrapping_sub(first);
                answer.leave_out(first.wrapping_add(count.min(ahead)), GapCause::Overrun)?;
            }
            Known::Removed { .. } => {}
        }
        answer.say_gone()
    }

    fn reply_state(&self, query: &Query, known: &Known) -> Result<(), Refused> {
        let next = self.shared.next();
        let state = match known {
            Known::Link(_, about) => about.state(next),
            Known::Removed { about, .. } => about.last_state(next),
        };
        self.reply(query, state)
    }

    fn reply(&self, query: &Query, bytes: Vec<u8>) -> Result<(), Refused> {
        query.reply(self.shared.key.clone(), bytes).wait().map_err(|_| Refused::Unsent)
    }
}

fn refuse(query: &Query, why: &str) {
    // It fails if the session is closed. Nobody is there to hear it then.
    _ = query.reply_err(why).wait();
}

impl Question {
    fn of<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Refused> {
        if parameter("state").is_some() {
            return Ok(Self::State);
        }
        let number = |name: &str| {
            let text = parameter(name).ok_or_else(|| {
                Refused::Because(format!(
                    "the query needs \"state\", or \"first\" and \"count\": {name:?} is missing"
                ))
            })?;
            text.parse().map_err(|error| Refused::Because(format!("{name} is {text:?}: {error}")))
        };
        Ok(Self::Fragments { first: number("first")?, count: number("count")? })
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Because(why) => f.write_str(why),
            Self::Unsent => f.write_str("the network takes no replies"),
        }
    }
}

/// The answer to one query for fragments.
struct Answer<'a> {
    history: &'a History,
    query: &'a Query,
    about: &'a About,
    /// The number that is answered next.
    next: u64,
    /// The first of the fragments before that which are gone, and why, if that was not said yet.
    gone: Option<(u64, GapCause)>,
}

impl Answer<'_> {
    /// Sends `count` fragments, as far as they are published.
    fn send(&mut self, link: &Link, count: u64) -> Result<(), Refused> {
        let published = link.status().next;
        let ahead = published.wrapping_sub(self.next);
        if !is_before(self.next, published) {
            return Ok(());
        }
        let end = self.next.wrapping_add(count.min(ahead));
        let history = self.about.description.history;
        // The oldest one that is sent.
        let oldest = if ahead > history { published.wrapping_sub(history) } else { self.next };
        self.leave_out(if is_before(end, oldest) { end } else { oldest }, GapCause::Overrun)?;
        if self.next == end {
            return Ok(());
        }
        match link.observer_from(Start::At(self.next)) {
            Ok(rx) => self.send_from(rx, end),
            Err(error) => Err(Refused::Because(error.reason())),
        }
    }

    fn send_from(&mut self, mut rx: Consumer<'static>, end: u64) -> Result<(), Refused> {
        let origin = self.about.origin;
        let mut packer = Packer::new(self.history.batch, Duration::ZERO);
        while is_before(self.next, end) && !self.history.stop.is_set() {
            let (until, cause) = match rx.wait_timeout(VISIBLE_WITHIN) {
                Ok(Some(fragment)) if fragment.meta.seq == self.next => {
                    self.say_gone()?;
                    while let Some(packed) = packer.take_before(fragment.payload.len()) {
                        self.reply(packed)?;
                    }
                    packer.push(origin, &fragment.meta, fragment.payload.as_slice());
                    self.next = self.next.wrapping_add(1);
                    continue;
                }
                Err(TangoError::Overrun { next, .. } | TangoError::Evicted { next, .. }) => {
                    (next, GapCause::Overrun)
                }
                Err(TangoError::Corrupt { seq }) => (seq.wrapping_add(1), GapCause::Corrupt),
                Err(TangoError::ProducerReplaced { .. }) => continue,
                // All of them were published, so they are gone if they are not there.
                Ok(_) | Err(_) => (end, GapCause::Overrun),
            };
            if let Some(packed) = packer.take_all() {
                self.reply(packed)?;
            }
            self.leave_out(if is_before(end, until) { end } else { until }, cause)?;
        }
        packer.take_all().map_or(Ok(()), |packed| self.reply(packed))
    }

    fn reply(&mut self, packed: Packed) -> Result<(), Refused> {
        self.history.reply(self.query, packed.bytes)
    }

    /// The fragments before `until` are gone.
    fn leave_out(&mut self, until: u64, cause: GapCause) -> Result<(), Refused> {
        if !is_before(self.next, until) {
            return Ok(());
        }
        if self.gone.is_some_and(|(_, before)| before != cause) {
            self.say_gone()?;
        }
        self.gone.get_or_insert((self.next, cause));
        self.next = until;
        Ok(())
    }

    /// Says which fragments before the next one are gone.
    fn say_gone(&mut self) -> Result<(), Refused> {
        let Some((first, cause)) = self.gone.take() else { return Ok(()) };
        let gap = encode_gap(self.about.origin, first, self.next.wrapping_sub(first), cause);
        self.history.reply(self.query, gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_understood_or_refused_with_the_reason() {
        let question = |text: &'static str| {
            let pairs = move || text.split(';').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            Question::of(move |name| pairs().find(|(found, _)| *found == name).map(|(_, value)| value))
        };
        assert_eq!(question("state").ok(), Some(Question::State));
        let all = Question::Fragments { first: u64::MAX, count: 3 };
        assert_eq!(question("first=18446744073709551615;count=3").ok(), Some(all));
        let why = |text| format!("{:?}", question(text).unwrap_err());
        assert!(why("first=1").contains("\"count\" is missing"), "{}", why("first=1"));
        assert!(why("first=-1;count=2").contains("first is \"-1\""), "{}", why("first=-1;count=2"));
        assert!(why("").contains("\"state\""));
    }
}
