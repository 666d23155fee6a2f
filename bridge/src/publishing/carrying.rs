//! [`Carrying`]: one name from the moment when a link has it until no link has. Links that follow each other under the name
//! go through the same queue, so that they stay in order.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use rust_tango::{Consumer, Link, LinkError, LinkErrorKind, Start};
use zenoh::Wait;

use super::about::About;
use super::changes::Changes;
use super::history::History;
use super::outlet::Outlet;
use super::reading::{Ended, Reading};
use super::removed::{Removed, Voice};
use super::sending::{Sender, Shared};
use crate::context::{Context, Direction};
use crate::counts::Counts;
use crate::failure::Failure;
use crate::numbers::is_before;
use crate::settings::{self, Publish};
use crate::wire::{EndCause, Origin};

/// Time between two tries to join a link that cannot be joined now.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Time between two looks at a link that has ended: soon after that, and later.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// How long it is soon after a link has ended.
const SOON: Duration = Duration::from_secs(5);
/// How long a name without a link is kept.
const NAME_KEPT: Duration = Duration::from_secs(1);
/// How long the end waits for the network to take what is in the queue. Less than the time after which zenoh closes a connection
/// that takes nothing (`wait_before_close` in [`network`](crate::network)): then it takes messages that reach nobody, and they
/// would not be counted as dropped.
const SENT_WITHIN: Duration = Duration::from_secs(3);

/// Carries the links of one name.
pub(super) struct Carrying {
    context: Context,
    settings: Publish,
    shared: Arc<Shared>,
    outlet: Outlet,
    changes: Changes,
    removed: Removed,
    /// What was said last, for not saying it again.
    said: String,
    /// The identity of the last link of this name.
    identity: Option<u64>,
    /// The link that was read last, and the number of its next fragment, if its end was told but may have another reason
    /// later, or another producer may come.
    told: Option<(Origin, u64)>,
    /// The same, whatever was told.
    last: Option<(Origin, u64)>,
    /// Whether consumers can wait without a thread of their own.
    dozes: bool,
}

/// A link that was joined.
struct Joined {
    link: Link,
    about: Arc<About>,
    rx: Consumer<'static>,
    /// Fragments that were gone before.
    missed: u64,
}

/// Why a link cannot be joined.
struct Refused {
    reason: String,
    kind: Option<LinkErrorKind>,
    is_not_found: bool,
    observer_may_join: bool,
}

impl From<LinkError> for Refused {
    fn from(error: LinkError) -> Self {
        Self {
            reason: error.reason(),
            kind: Some(error.kind()),
            is_not_found: error.is_not_found(),
            observer_may_join: error.observer_may_join(),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let is_not_found = error.kind() == io::ErrorKind::NotFound;
        let reason = format!("its files cannot be looked at: {error}");
        Self { reason, kind: None, is_not_found, observer_may_join: false }
    }
}

/// What comes after a producer.
enum Next {
    Producer,
    Removed,
    /// The bridge should end.
    Stopped,
}

impl Carrying {
    /// `identity` is that of the last link of this name, if there was one.
    pub(super) fn new(
        context: &Context,
        settings: &Publish,
        (name, key): (&str, &str),
        (changes, removed): (Changes, Removed),
        identity: Option<u64>,
    ) -> Self {
        let counts = context.register.counts(Direction::Publish, name, key);
        let shared = Arc::new(Shared::new(name, key, counts, settings.queue));
        let outlet = Outlet::new(shared.clone(), context, settings.congestion);
        let (context, settings) = (context.clone(), settings.clone());
        Self {
            context,
            settings,
            shared,
            outlet,
            changes,
            removed,
            said: String::new(),
            identity,
            told: None,
            last: None,
            dozes: true,
        }
    }

    /// Reads links until the name has none, or the bridge should end. Returns the identity of the last one.
    pub(super) fn run(mut self, start: Start) -> Option<u64> {
        if let Err(failure) = self.run_with_network(start) {
            self.say("failed", &failure.to_string());
            // The next try.
            self.context.stop.wait(TRY_EVERY);
        }
        self.identity
    }

    fn run_with_network(&mut self, start: Start) -> Result<(), Failure> {
        let failed = |error: &dyn fmt::Display, shared: &Shared| {
            Failure::new(format!("cannot publish link {}: {error}", shared.name))
        };
        let Voice { sender, queryable } = match self.voice_of_last() {
            Some(voice) => voice,
            None => {
                let sender = Sender::new(self.shared.clone(), &self.context)?;
                let history =
                    History::new(self.shared.clone(), self.context.stop.clone(), self.settings.batch);
                let history = Arc::new(history);
                let queryable = self.context.session.declare_queryable(self.shared.key.clone());
                let queryable = queryable.callback(move |query| history.answer(query)).wait();
                let queryable = queryable.map_err(|error| failed(&error, &self.shared))?;
                Voice { sender, queryable }
            }
        };
        let thread = thread::Builder::new().name("bridge-send".to_owned()).spawn(move || sender.run());
        let thread = thread.map_err(|error| failed(&error, &self.shared))?;
        self.carry(start);
        let is_stopped = self.context.stop.is_set();
        if is_stopped {
            self.shared.set_unknown();
        }
        self.shared.queue.close();
        self.await_sender();
        if !self.shared.is_done() {
            // The network would have to take a message for this. The session ends soon.
            std::mem::forget(queryable);
            return Ok(());
        }
        match thread.join() {
            Ok(sender) if sender.is_removed() && !is_stopped => {
                self.removed.keep(&self.shared.key, Voice { sender, queryable });
            }
            // It fails if the thread has panicked, which was reported by the panic, and if the session is closed.
            _ => _ = queryable.undeclare().wait(),
        }
        Ok(())
    }

    /// What still tells of the last link of this name, to go on with.
    fn voice_of_last(&mut self) -> Option<Voice> {
        let voice = self.removed.take(&self.shared.key)?;
        let shared = voice.sender.shared().clone();
        // Another link may have had the key.
        if shared.name != self.shared.name {
            return None;
        }
        shared.begin_again();
        self.outlet = Outlet::new(shared.clone(), &self.context, self.settings.congestion);
        self.shared = shared;
        Some(voice)
    }

    fn carry(&mut self, start: Start) {
        while let Some(Joined { link, about, rx, missed }) = self.join(start) {
            self.shared.counts.up.store(1, Relaxed);
            let (context, settings) = (&self.context, &self.settings);
            let mut reading = Reading::new(
                context,
                settings,
                &link,
                about,
                &mut self.outlet,
                &mut self.changes,
                self.dozes,
            );
            let ended = reading.run(rx, missed);
            let (next, origin) = (reading.next, reading.about.origin);
            self.shared.counts.up.store(0, Relaxed);
            self.last = Some((origin, next));
            let cause = match ended {
                Ended::Link(cause) => cause,
                Ended::Stopped => return,
                Ended::Unread => {
                    self.dozes = false;
                    continue;
                }
            };
            self.told = (cause != EndCause::Removed).then_some((origin, next));
            if cause != EndCause::Removed {
                match self.await_producer(&link, origin.producer, next) {
                    Next::Producer => {}
                    Next::Removed => self.tell_end(EndCause::Removed),
                    Next::Stopped => break,
                }
            }
        }
        self.tell_end(EndCause::BridgeLeft);
    }

    /// Waits for a link of this name, and joins it. `None`: the bridge should end, or the name was gone for a while and
    /// everything was sent.
    fn join(&mut self, start: Start) -> Option<Joined> {
        let begun = Instant::now();
        while !self.context.stop.is_set() {
            let refused = match self.try_join(start) {
                Ok(joined) => {
                    let is_made_anew = self.identity.is_some_and(|of| of != joined.about.origin.link);
                    if is_made_anew {
                        self.tell_end(EndCause::Removed);
                    }
                    self.note_joined(&joined, is_made_anew);
                    return Some(joined);
                }
                Err(refused) => refused,
            };
            if refused.is_not_found {
                self.tell_end(EndCause::Removed);
                if let Some((_, next)) = self.last {
                    self.shared.set_removed(next);
                }
                if begun.elapsed() > NAME_KEPT && self.shared.queue.is_empty() {
                    return None;
                }
                self.context.stop.wait(LOOK_EVERY.1);
            } else {
                self.say("refused", &self.why_refused(&refused));
                self.context.stop.wait(TRY_EVERY);
            }
            self.outlet.catch_up();
        }
        None
    }

    /// Joins a link at `start`, or where reading ended if it is the one that was read last. A link that follows it is read
    /// from its first fragment on.
    fn try_join(&self, start: Start) -> Result<Joined, Refused> {
        let link = Link::open_in(&self.context.folder, &self.shared.name)?;
        let about = Arc::new(About::of(&link, self.context.bridge, self.settings.history)?);
        let start = match self.last {
            Some((origin, next)) if origin.link == about.origin.link => Start::At(next),
            Some(_) => Start::Oldest,
            None => start,
        };
        let rx = match self.settings.read {
            settings::Reading::Evictable => link.evictable_consumer(start),
            settings::Reading::Reliable => link.consumer_from(start),
            settings::Reading::Observer => link.observer_from(start),
        }?;
        let first = link.geometry().start;
        let missed = if start == Start::Oldest { rx.next_seq().wrapping_sub(first) } else { 0 };
        Ok(Joined { link, about, rx, missed })
    }

    fn note_joined(&mut self, joined: &Joined, is_made_anew: bool) {
        let Joined { link, about, rx, .. } = joined;
        let next = rx.next_seq();
        let event = |event, message: String| self.shared.event(event, message).of_fragments(next, 0);
        let journal = &self.context.journal;
        if is_made_anew {
            Counts::add(&self.shared.counts.links_made_anew, 1);
            journal.note(event("link_made_anew", "the link was made anew".to_owned()));
        }
        let producer = about.origin.producer;
        let is_same_link = |before: &(Origin, u64)| before.0.link == about.origin.link;
        let is_restart =
            self.last.filter(is_same_link).is_some_and(|(of, _)| of.producer != 0 && of.producer != producer);
        if is_restart {
            Counts::add(&self.shared.counts.producer_restarts, 1);
            journal.note(event("producer_restarted", "another producer has come to the link".to_owned()));
        } else {
            journal.note(event("joined", format!("reads from fragment {next} on")));
        }
        if self.identity.is_none_or(|_| is_made_anew) && !link.geometry().observers {
            let message = "the link allows no observers, so that nothing can be sent again after a cut";
            journal.note(event("no_history", message.to_owned()));
        }
        self.said.clear();
        self.told = None;
        self.identity = Some(about.origin.link);
        self.shared.set_link(link.clone(), about.clone());
    }

    /// Waits until the link has another producer, or the name leads to another link or to none.
    fn await_producer(&mut self, link: &Link, producer: u64, next: u64) -> Next {
        let begun = Instant::now();
        // It may have been removed just after its producer has ended.
        let mut named = None;
        loop {
            let is_soon = begun.elapsed() < SOON;
            if self.context.stop.wait(if is_soon { LOOK_EVERY.0 } else { LOOK_EVERY.1 }) {
                return Next::Stopped;
            }
            if self.changes.are_new() || named.is_none_or(|at: Instant| at.elapsed() > SOON) {
                named = Some(Instant::now());
                if !link.is_named() {
                    return Next::Removed;
                }
            }
            let metrics = link.metrics();
            // A publish may have succeeded at the moment of the end.
            let published = link.geometry().start.wrapping_add(metrics.published);
            if metrics.producers != producer || is_before(next, published) {
                return Next::Producer;
            }
            self.outlet.catch_up();
        }
    }

    /// Tells of the link that was read last that it has ended for this reason, too.
    fn tell_end(&mut self, cause: EndCause) {
        if let Some((origin, next)) = self.told.take() {
            self.outlet.end(origin, next, cause);
        }
    }

    fn await_sender(&mut self) {
        let begun = Instant::now();
        while !self.shared.is_done() {
            let is_over = begun.elapsed() > SENT_WITHIN;
            if is_over && self.context.stop.is_set() {
                let dropped = self.shared.queue.clear();
                Counts::add(&self.shared.counts.dropped, dropped);
                let message = format!("the network takes nothing now, and {dropped} fragments were not sent");
                self.context.journal.note(self.shared.event("dropped", message));
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn why_refused(&self, refused: &Refused) -> String {
        let reason = &refused.reason;
        let advice = match (refused.kind, self.settings.read) {
            (Some(LinkErrorKind::Taken), _) => "; make it with more consumers, or read it as an observer",
            (Some(LinkErrorKind::Invalid), settings::Reading::Evictable | settings::Reading::Observer) => {
                "; read it as a reliable consumer"
            }
            _ if refused.observer_may_join => "; or read it as an observer",
            _ => "",
        };
        format!("the link cannot be read now: {reason}{advice}")
    }

    /// Writes an event, unless it was the last one.
    fn say(&mut self, event: &'static str, message: &str) {
        if self.said != message {
            message.clone_into(&mut self.said);
            self.context.journal.note(self.shared.event(event, message));
        }
    }
}
