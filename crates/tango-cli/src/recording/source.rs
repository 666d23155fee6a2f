//! [`Source`]: the thread that reads a link, from joining it to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rust_tango::timestamp;
use rust_tango::{Consumer, Fragment, Link, LinkStatus, Start, TangoError};

use super::block::{Block, Budget};
use super::event::{CHANNEL, Cause, Event, Kind};
use super::layout::LinkFacts;
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::joining::{self, Joining, Reading};

/// A block with messages is handed over when nothing has come for so long, whatever its size.
const HAND_OVER_AFTER: Duration = Duration::from_millis(20);
/// Time between two looks at [`Control`] while no fragment comes.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// The clock is read once for so many fragments, or so many bytes of them, that were there at once.
const TIMED_TOGETHER: u32 = 32;
const TIMED_BYTES: usize = 16 << 10;

/// The clock of a recording. It does not jump when the clock of the system is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Nanoseconds since 1970 at `begun`.
    pub(crate) started: u64,
    begun: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: timestamp::now(), begun: Instant::now() }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.started.saturating_add(self.begun.elapsed().as_nanos() as u64)
    }
}

/// What the sources of a recording share.
#[derive(Debug)]
pub(crate) struct Control {
    stop: AtomicBool,
    /// How many fragments may still be recorded. `None`: any number.
    remaining: Option<AtomicU64>,
    next_channel: AtomicU16,
}

impl Control {
    pub(crate) fn new(count: Option<u64>) -> Self {
        let next_channel = AtomicU16::new(CHANNEL + 1);
        Self { stop: AtomicBool::new(false), remaining: count.map(AtomicU64::new), next_channel }
    }

    /// Ends all sources soon.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether one more fragment may be recorded. The last one ends all sources.
    fn takes_one_more(&self) -> bool {
        let Some(remaining) = &self.remaining else { return true };
        let took = remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if !matches!(took, Ok(2..)) {
            self.stop();
        }
        took.is_ok()
    }
}

/// What a source tells the thread that writes.
pub(crate) enum Item {
    /// The link is joined. Its messages come on this channel.
    Joined(u16, LinkFacts),
    Block(Block),
    /// The source has ended.
    Ended(End),
}

/// How a source has ended.
pub(crate) struct End {
    pub(crate) link: String,
    /// Fragments that were not read, before and after joining.
    pub(crate) missed: u64,
    pub(crate) lost: u64,
    /// `Err`: the link could not be joined.
    pub(crate) why: Result<Stopped, Failure>,
}

/// Why a source has ended.
pub(crate) enum Stopped {
    /// [`Control`] says so.
    ByControl,
    /// The link has ended.
    ByLink(LinkStatus),
}

/// How a link is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) reading: Reading,
    /// Where to begin. What is gone by then counts as lost if this is the oldest fragment.
    pub(crate) start: Start,
    /// How long to wait for the link.
    pub(crate) timeout: Option<Duration>,
    /// Go on with the next producer, or with the next link of this name.
    pub(crate) follow: bool,
    /// The `ts` of fragments are nanoseconds since 1970.
    pub(crate) ts_is_ns: bool,
}

/// A link, and where its messages go.
pub(crate) struct Source {
    pub(crate) link: String,
    pub(crate) folder: LinkFolder,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) control: Arc<Control>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) to: Sender<Item>,
}

/// Why reading has paused.
enum Pause {
    Stopped,
    LinkEnded,
}

impl Source {
    /// Reads the link until it has ended, or until it is told to stop.
    pub(crate) fn run(self) {
        let mut end = End { link: self.link.clone(), missed: 0, lost: 0, why: Ok(Stopped::ByControl) };
        end.why = self.record(&mut end);
        // It fails if the receiver has ended, and with it the process.
        let _ = self.to.send(Item::Ended(end));
    }

    fn record(&self, end: &mut End) -> Result<Stopped, Failure> {
        let Settings { start, timeout, follow, .. } = self.settings;
        let (mut generation, mut start, mut timeout) = (0, start, timeout);
        let mut known: Option<Link> = None;
        let mut session: Option<Session<'_>> = None;
        loop {
            let Some((link, mut rx)) = self.join(start, timeout)? else { return Ok(Stopped::ByControl) };
            if known.as_ref().is_none_or(|known| !known.is_named()) {
                // The next link of this name has other numbers.
                if known.is_some() && matches!(start, Start::At(_)) {
                    start = Start::Oldest;
                    continue;
                }
                generation += 1;
                let channel = self.control.next_channel.fetch_add(1, Ordering::Relaxed);
                let facts = self.facts(&link, generation);
                let _ = self.to.send(Item::Joined(channel, facts));
                let mut new = Session::new(self, channel);
                end.missed = end.missed.saturating_add(new.join(&rx, &link, start));
                session = Some(new);
            } else if let Some(session) = &mut session {
                session.note(Event::at(&self.link, session.channel, Kind::ProducerAttached, rx.next_seq()));
            }
            let Some(session) = &mut session else { return Ok(Stopped::ByControl) };
            let paused = session.copy(&mut rx, &link);
            end.lost = end.lost.saturating_add(std::mem::take(&mut session.lost));
            session.hand_over();
            let next = rx.next_seq();
            // A consumer would keep others from making the link anew.
            drop(rx);
            match paused {
                Pause::Stopped => return Ok(Stopped::ByControl),
                Pause::LinkEnded if !follow => return Ok(Stopped::ByLink(link.status())),
                Pause::LinkEnded => {}
            }
            if !self.await_producer(&link, next) {
                return Ok(Stopped::ByControl);
            }
            start = if link.is_named() { Start::At(next) } else { Start::Oldest };
            timeout = None;
            known = Some(link);
        }
    }

    fn join(
        &self,
        start: Start,
        timeout: Option<Duration>,
    ) -> Result<Option<(Link, Consumer<'static>)>, Failure> {
        let joining = Joining {
            folder: &self.folder,
            name: &self.link,
            reading: self.settings.reading,
            start,
            timeout,
            otherwise: "leave out --reliable and --evictable",
        };
        joining::join(&joining, || self.control.is_stopped())
    }

    fn facts(&self, link: &Link, generation: u64) -> LinkFacts {
        LinkFacts {
            name: self.link.clone(),
            geometry: link.geometry(),
            payload_type: link.payload_type().cloned(),
            generation,
            reader: self.settings.reading.name().to_owned(),
        }
    }

    /// Waits until this link has a producer again, or had one since `next` was its next fragment, or its name leads to
    /// another link or to none. False: it is told to stop.
    fn await_producer(&self, link: &Link, next: u64) -> bool {
        let mut backoff = Backoff::new();
        let producers = link.status().producers;
        let has_ended = || {
            let status = link.status();
            status.stopped || !status.producer && status.producers == producers && status.next == next
        };
        while link.is_named() && has_ended() {
            if self.control.is_stopped() {
                return false;
            }
            backoff.sleep();
        }
        true
    }
}

/// Reading one link, from the first join on.
struct Session<'a> {
    source: &'a Source,
    channel: u16,
    block: Option<Block>,
    /// The time of the fragments that are read now, and for how many it is still used.
    now: u64,
    uses: u32,
    bytes: usize,
    lost: u64,
}

impl<'a> Session<'a> {
    fn new(source: &'a Source, channel: u16) -> Self {
        Self { source, channel, block: None, now: 0, uses: 0, bytes: 0, lost: 0 }
    }

    /// Notes that the link is joined. Returns how many fragments are gone already.
    fn join(&mut self, rx: &Consumer<'_>, link: &Link, start: Start) -> u64 {
        let next = rx.next_seq();
        self.note(Event::at(&self.source.link, self.channel, Kind::Joined, next));
        let missed = if start == Start::Oldest { next.wrapping_sub(link.geometry().start) } else { 0 };
        if missed > 0 {
            self.note_gap(Cause::Late, missed, next);
        }
        missed
    }

    /// Reads until the link has ended and is drained, or until it is told to stop.
    fn copy(&mut self, rx: &mut Consumer<'_>, link: &Link) -> Pause {
        loop {
            if self.source.control.is_stopped() {
                self.note(Event::at(&self.source.link, self.channel, Kind::Left, rx.next_seq()));
                return Pause::Stopped;
            }
            match self.read_one(rx) {
                Ok(true) => {}
                Ok(false) if rx.is_closed() => {
                    let status = link.status();
                    let kind = if status.stopped || status.name_lost { Kind::Stopped } else { Kind::Closed };
                    self.note(Event::at(&self.source.link, self.channel, kind, rx.next_seq()));
                    return Pause::LinkEnded;
                }
                Ok(false) => {
                    if self.patience().is_zero() {
                        self.hand_over();
                    }
                }
                Err(error) => {
                    if self.note_error(error, rx.next_seq()) {
                        return Pause::LinkEnded;
                    }
                }
            }
        }
    }

    /// Reads a fragment, and waits for it if there is none. False: none has come.
    #[inline]
    fn read_one(&mut self, rx: &mut Consumer<'_>) -> Result<bool, TangoError> {
        if let Some(fragment) = rx.poll()? {
            self.push(&fragment);
            return Ok(true);
        }
        self.uses = 0;
        if let Some(fragment) = rx.wait_timeout(self.patience())? {
            self.push(&fragment);
            return Ok(true);
        }
        Ok(false)
    }

    /// How long to wait for a fragment, before the block must be handed over.
    fn patience(&self) -> Duration {
        self.block.as_ref().map_or(CHECK_EVERY, |block| HAND_OVER_AFTER.saturating_sub(block.begun.elapsed()))
    }

    /// Notes an error of reading. True: the producer is dead, and everything was read.
    fn note_error(&mut self, error: TangoError, next: u64) -> bool {
        let link = &self.source.link;
        match error {
            TangoError::Overrun { lost, next } => self.note_gap(Cause::Overrun, lost, next),
            TangoError::Evicted { lost, next } => self.note_gap(Cause::Evicted, lost, next),
            TangoError::Corrupt { seq } => self.note_gap(Cause::Corrupt, 1, seq.wrapping_add(1)),
            TangoError::ProducerReplaced { first } => {
                let event = Event::at(link, self.channel, Kind::ProducerReplaced, next);
                self.note(Event { first: Some(first), ..event });
            }
            TangoError::ProducerGone => {
                self.note(Event::at(link, self.channel, Kind::ProducerGone, next));
                return true;
            }
            // Reading returns no other.
            _ => {}
        }
        false
    }

    fn note_gap(&mut self, cause: Cause, lost: u64, next: u64) {
        // Saturating: the counts of a corrupt link can overflow the sum.
        self.lost = self.lost.saturating_add(if cause == Cause::Late { 0 } else { lost });
        self.note(Event::gap(&self.source.link, self.channel, cause, lost, next));
    }

    fn note(&mut self, event: Event) {
        let now = self.source.clock.now();
        self.block_for(0).push_event(&event, now);
        self.uses = 0;
    }

    #[inline]
    fn push(&mut self, fragment: &Fragment<'_>) {
        if !self.source.control.takes_one_more() {
            return;
        }
        let payload = fragment.payload.as_slice();
        if self.block.as_ref().is_none_or(|block| !block.has_room(payload.len())) {
            // This may wait.
            self.block_for(payload.len());
            self.uses = 0;
        }
        if self.uses == 0 || self.bytes > TIMED_BYTES {
            self.now = self.source.clock.now();
            (self.uses, self.bytes) = (TIMED_TOGETHER, 0);
        }
        self.uses -= 1;
        self.bytes += payload.len();
        let log = self.now;
        let is_ns = self.source.settings.ts_is_ns && fragment.meta.ts != 0;
        let publish = if is_ns { timestamp::expand(fragment.meta.ts, log) } else { log };
        if let Some(block) = &mut self.block {
            block.push_fragment(&fragment.meta, payload, log, publish);
        }
    }

    /// A block with room for a fragment with so large a payload, or for an event.
    fn block_for(&mut self, payload: usize) -> &mut Block {
        /// No event is longer: names have up to 200 letters.
        const EVENT: usize = 1024;
        let payload = payload.max(EVENT);
        if self.block.as_ref().is_none_or(|block| !block.has_room(payload)) {
            self.hand_over();
        }
        let source = self.source;
        let channel = self.channel;
        self.block.get_or_insert_with(|| source.budget.take(channel, Block::need(payload)))
    }

    fn hand_over(&mut self) {
        if let Some(block) = self.block.take() {
            let _ = self.source.to.send(Item::Block(block));
        }
    }
}
