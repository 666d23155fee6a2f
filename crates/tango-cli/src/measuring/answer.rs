//! The side that answers: it joins the link of the side that asks, makes the way back, and does what it is told.

use std::time::Duration;

use rust_tango::{Consumer, Link, LinkErrorKind, Producer, Start, Wait};

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::measuring::ask::{fitting_wait, refuse_other_links};
use crate::measuring::cores::{self, Relation, Stopwatch, relation};
use crate::measuring::created::Created;
use crate::measuring::exchange::{self, Received};
use crate::measuring::figures::Latencies;
use crate::measuring::raw::Words;
use crate::measuring::wire::{self, Other, Word, back_of, expect, hear, say};

/// The other side, as messages call it.
const OTHER: Other = Other::ASKING;
/// Time between two checks while the other side is missing.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// How this side takes part.
pub(crate) struct Answering<'a> {
    pub(crate) folder: &'a LinkFolder,
    pub(crate) link: &'a str,
    /// The cores that this process may use.
    pub(crate) usable: &'a [usize],
    /// The core that it has to use.
    pub(crate) core: Option<usize>,
    /// How it waits. `None`: as fits the cores.
    pub(crate) wait: Option<Wait>,
    /// A group whose members may ask.
    pub(crate) group: Option<u32>,
    /// Whether this side also removes the link of the other side, if that has died.
    pub(crate) inherits: bool,
}

/// How answering has ended.
pub(crate) enum Served {
    /// The other side has finished.
    Complete,
    /// It has not.
    Broken(Failure),
}

impl Answering<'_> {
    /// Waits for the side that asks, and answers it until it has finished. `check` is called while that is missing, and makes it
    /// fail. This thread stays on the core where it has answered.
    pub(crate) fn serve(
        &self,
        created: &Created,
        mut check: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Served, Failure> {
        let back_name = back_of(self.link);
        refuse_other_links(self.folder, &back_name)?;
        let (link, mut rx) = self.join(&mut check)?;
        if self.inherits {
            created.adopt(link.clone());
        }
        let (session, other_core) = match expect(&mut rx, Word::Hello, OTHER) {
            Ok(hello) => hello,
            Err(failure) => return Ok(Served::Broken(failure)),
        };
        let core = match self.core {
            Some(core) => core,
            None => cores::beside(self.usable, other_core as usize)?,
        };
        let relation = relation(other_core as usize, core);
        let wait = self.wait.unwrap_or(fitting_wait(relation));
        let mut words = Words::open(&self.folder.path(), self.link).ok();
        if let Some(words) = &mut words {
            words.yield_core(relation == Relation::SameCore);
        }

        let geometry = link.geometry();
        let mut builder = self.folder.builder().depth(geometry.depth).mtu(geometry.mtu).consumers(1);
        builder = builder.payload_type(wire::payload_type());
        if let Some(group) = self.group {
            builder = builder.consumer_group(group);
        }
        let back = created.link(builder, &back_name)?;
        let greeting = Greeting { session, core, wait, can_raw: words.is_some() };
        let result =
            greet(&back, rx, &greeting).and_then(|mut ends| ends.work(&link, words.as_ref(), geometry.mtu));
        created.remove_link(&back);
        Ok(result.map_or_else(Served::Broken, |()| Served::Complete))
    }

    /// Waits for the link of the other side, and joins it.
    fn join(
        &self,
        check: &mut impl FnMut() -> Result<(), Failure>,
    ) -> Result<(Link, Consumer<'static>), Failure> {
        let mut backoff = Backoff::new();
        loop {
            refuse_other_links(self.folder, self.link)?;
            // A link that an earlier side has left behind is dead. One that an earlier side is about to remove has begun:
            // a new one is silent until somebody has joined.
            if let Ok(link) = self.folder.open(self.link) {
                let status = link.status();
                let has_begun = status.next != status.start;
                let taken = Failure::new(format!("another process answers on link {} already", self.link));
                if status.producer && has_begun && status.consumers.iter().any(|consumer| consumer.alive) {
                    return Err(taken);
                }
                if status.producer && !has_begun {
                    match link.consumer_from(Start::Oldest) {
                        Ok(rx) => return Ok((link, rx)),
                        Err(error) if error.is_not_found() => {}
                        Err(error) if error.kind() == LinkErrorKind::Taken => return Err(taken),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            check()?;
            backoff.sleep();
        }
    }
}

/// What this side has decided after the greeting of the other one.
struct Greeting {
    session: u64,
    core: usize,
    wait: Wait,
    /// Whether it can use the raw cache line.
    can_raw: bool,
}

/// Waits until the other side has joined the way back, and answers its greeting.
fn greet(back: &Link, mut rx: Consumer<'static>, greeting: &Greeting) -> Result<Ends, Failure> {
    let Greeting { session, core, wait, can_raw } = *greeting;
    let tx = back.producer()?.with_wait(wait);
    while !tx.wait_for_consumers(1, Some(CHECK_EVERY)) {
        // The other side sends nothing before it has joined.
        if rx.is_closed() {
            return Err(OTHER.ended());
        }
        rx.wait_timeout(Duration::ZERO).map_err(|error| OTHER.failed(&error))?;
    }
    let flags = u32::from(can_raw) | u32::from(wait == Wait::Spin) << 1;
    say(&tx, Word::Hello, session, 0, OTHER)?;
    say(&tx, Word::Core, core as u64, flags, OTHER)?;
    cores::pin(core)?;
    Ok(Ends { tx, rx: rx.with_wait(wait) })
}

/// This side's ends of both links.
struct Ends {
    tx: Producer<'static>,
    rx: Consumer<'static>,
}

impl Ends {
    /// Does what the other side says, until it has finished.
    fn work(&mut self, link: &Link, words: Option<&Words>, size: usize) -> Result<(), Failure> {
        let mut latencies = Latencies::new()?;
        loop {
            let (word, ..) = hear(&mut self.rx, OTHER)?;
            if word == Word::Bye {
                return Ok(());
            }
            say(&self.tx, Word::Ready, 0, 0, OTHER)?;
            latencies.clear();
            let received = match (word, words) {
                (Word::BeginRaw, Some(words)) => {
                    let watch = Stopwatch::start();
                    words.answer(|| if link.status().producer { Ok(()) } else { Err(OTHER.ended()) })?;
                    Received { span: watch.stop(), ..Received::default() }
                }
                (Word::BeginTrips, _) => {
                    let span = exchange::echo(&self.tx, &mut self.rx, OTHER)?;
                    Received { span, ..Received::default() }
                }
                (Word::BeginOneWay, _) => {
                    exchange::receive::<true>(&mut self.rx, size, &mut latencies, OTHER)?
                }
                (Word::BeginStream, _) => {
                    exchange::receive::<false>(&mut self.rx, size, &mut latencies, OTHER)?
                }
                (word, _) => {
                    return Err(Failure::new(format!(
                        "the asking side sent {word:?}, which is out of order"
                    )));
                }
            };
            exchange::report(&self.tx, &received, &latencies, OTHER)?;
        }
    }
}
