//! The side that asks: it makes one link, finds the side that answers on the way back, decides what is measured, and gets the
//! results. `answer.rs` is the other side, `wire.rs` says what they tell each other.

use std::process;
use std::time::Duration;

use rust_tango::{Consumer, Link, LinkErrorKind, Producer, Start, Wait};

use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::measuring::cores::{self, Relation, relation};
use crate::measuring::created::Created;
use crate::measuring::exchange::{self, Length, Received, Sent, Trips, clock_nanos};
use crate::measuring::figures::{Latencies, PERCENTILES};
use crate::measuring::machine::{Before, Conduct, Warning};
use crate::measuring::raw::Words;
use crate::measuring::wire::{self, Other, Stage, Word, back_of, expect, hear, say};

/// The other side, as messages call it.
const OTHER: Other = Other::ANSWERING;
/// Time between two checks while the other side is missing.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// How long the other side may take for its greeting, once it has joined.
const GREETING: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) stages: Vec<Stage>,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Slots of each link.
    pub(crate) depth: usize,
    /// Each stage is measured so often, in turns with the others.
    pub(crate) windows: u32,
    /// Of a window of one stage, without its warm-up.
    pub(crate) length: Length,
    /// Messages per second for [`Stage::OneWay`].
    pub(crate) rate: u64,
}

/// How this side takes part.
pub(crate) struct Asking<'a> {
    pub(crate) folder: &'a LinkFolder,
    pub(crate) link: &'a str,
    pub(crate) core: usize,
    /// How it waits. `None`: as fits the cores.
    pub(crate) wait: Option<Wait>,
    /// A group whose members may answer.
    pub(crate) group: Option<u32>,
}

/// Both links, and the side that answers.
pub(crate) struct Session {
    /// The link of the other side.
    back: Link,
    tx: Producer<'static>,
    rx: Consumer<'static>,
    words: Option<Words>,
    cores: [usize; 2],
    wait: Wait,
    /// Whether both sides spin.
    spins: bool,
}

/// One stage in one window.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    /// Nanoseconds at each of [`PERCENTILES`].
    pub(crate) percentiles: [u64; PERCENTILES.len()],
    /// How many latencies, or messages, that is about.
    pub(crate) samples: u64,
    /// Nanoseconds for a round trip, without reading the clock for it, or for a message where as many as possible are sent.
    pub(crate) each: f64,
}

/// The windows of one stage.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) stage: Stage,
    pub(crate) windows: Vec<Window>,
}

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) rows: Vec<Row>,
    /// Whether the raw cache line is missing although it was asked for.
    pub(crate) raw_is_missing: bool,
    pub(crate) cores: [usize; 2],
    pub(crate) relation: Relation,
    pub(crate) wait: Wait,
    /// Nanoseconds for one reading of the clock.
    pub(crate) clock: f64,
    /// The load average of the last minute before.
    pub(crate) load: Option<f64>,
    /// Messages over links that were sent, and that have arrived. An answer counts with its question as one.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Messages with a wrong number, size or byte.
    pub(crate) wrong: u64,
    pub(crate) warnings: Vec<Warning>,
}

impl Measured {
    /// Messages that were sent and have not arrived.
    pub(crate) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Fails if a message was lost or wrong.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match (self.wrong, self.lost()) {
            (0, 0) => Ok(()),
            (0, lost) => Err(Failure::lost(format!("{lost} of {} messages were lost", self.sent))),
            (wrong, _) => Err(Failure::new(format!("{wrong} of {} messages were wrong", self.sent))),
        }
    }
}

/// What has gone over the links in one window.
#[derive(Debug, Default)]
struct Traffic {
    sent: u64,
    received: u64,
    wrong: u64,
    on_core: [f64; 2],
}

/// How a side waits if it was not told: spinning is best on a core of one's own, and worst on one that both share.
pub(crate) fn fitting_wait(relation: Relation) -> Wait {
    if relation == Relation::SameCore { Wait::Park } else { Wait::Spin }
}

/// Fails if there is a link of this name which is not one of these commands: they would replace it.
pub(crate) fn refuse_other_links(folder: &LinkFolder, name: &str) -> Result<(), Failure> {
    match folder.open(name) {
        Ok(link) if link.payload_type().is_none_or(|found| found.name() != wire::TYPE) => Err(Failure::new(
            format!("link {name} exists, and 'tango ping' has not made it: choose a name that no link has"),
        )),
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

impl Session {
    /// Makes the link, and waits until the other side has joined and made the way back. `check` is called meanwhile, and makes
    /// it fail. From then on, this thread runs on its core.
    pub(crate) fn open(
        asking: &Asking<'_>,
        plan: &Plan,
        created: &Created,
        mut check: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let Asking { folder, link: name, core, .. } = *asking;
        let back_name = back_of(name);
        refuse_other_links(folder, name)?;
        refuse_other_links(folder, &back_name)?;
        let link = make_link(asking, plan, created, &mut check)?;
        let wants_words = plan.stages.contains(&Stage::Raw);
        let path = folder.path();
        let mut words =
            wants_words.then(|| created.words(|| Words::create(&path, name, asking.group)).ok()).flatten();
        let tx = link.producer()?;
        while !tx.wait_for_consumers(1, Some(CHECK_EVERY)) {
            check()?;
        }
        let session = u64::from(process::id()) << 32 ^ cores::now();
        say(&tx, Word::Hello, session, core as u32, OTHER)?;
        let (back, mut rx) = join_back(folder, &back_name, session, check)?;
        let (other_core, flags) = expect(&mut rx, Word::Core, OTHER)?;
        if let Some(words) = &mut words {
            created.unlink(words);
        }
        let cores = [core, other_core as usize];
        let relation = relation(cores[0], cores[1]);
        let wait = asking.wait.unwrap_or(fitting_wait(relation));
        let mut words = words.filter(|_| flags & 1 != 0);
        if let Some(words) = &mut words {
            words.yield_core(relation == Relation::SameCore);
        }
        let spins = wait == Wait::Spin && flags & 2 != 0;
        Ok(Self { back, tx: tx.with_wait(wait), rx: rx.with_wait(wait), words, cores, wait, spins })
    }

    /// Measures everything in turns. `progress` is told the window, from 1 on.
    pub(crate) fn measure(
        &mut self,
        plan: &Plan,
        mut progress: impl FnMut(u32),
    ) -> Result<Measured, Failure> {
        let relation = relation(self.cores[0], self.cores[1]);
        let before = Before::look(self.cores);
        cores::pin(self.cores[0])?;
        let clock = clock_nanos()?;
        let raw_is_missing = plan.stages.contains(&Stage::Raw) && self.words.is_none();
        let stages = plan.stages.iter().filter(|stage| **stage != Stage::Raw || self.words.is_some());
        let mut rows: Vec<Row> = stages.map(|&stage| Row { stage, windows: Vec::new() }).collect();
        let mut total = Traffic { on_core: [1.0; 2], ..Traffic::default() };
        let mut payload = vec![0; plan.size];
        for number in 1..=plan.windows {
            progress(number);
            for row in &mut rows {
                let (window, traffic) = self.window(row.stage, plan, &mut payload)?;
                row.windows.push(window);
                total.sent += traffic.sent;
                total.received += traffic.received;
                total.wrong += traffic.wrong;
                // The side that sends at a rate need not have its core all the time.
                if row.stage != Stage::OneWay {
                    for (least, part) in total.on_core.iter_mut().zip(traffic.on_core) {
                        *least = least.min(part);
                    }
                }
            }
        }
        say(&self.tx, Word::Bye, 0, 0, OTHER)?;
        let raw = rows.iter().filter(|row| row.stage == Stage::Raw);
        let raw: Vec<f64> = raw.flat_map(|row| &row.windows).map(|window| window.each).collect();
        let shortest = raw.iter().copied().fold(f64::INFINITY, f64::min);
        let raw_range = raw.iter().copied().fold(0.0, f64::max) / shortest;
        let conduct = Conduct { spins: self.spins, on_core: total.on_core, raw_range };
        Ok(Measured {
            rows,
            raw_is_missing,
            cores: self.cores,
            relation,
            wait: self.wait,
            clock,
            load: before.load,
            sent: total.sent,
            received: total.received,
            wrong: total.wrong,
            warnings: before.warnings(relation, &conduct),
        })
    }

    /// Measures one stage once.
    fn window(
        &mut self,
        stage: Stage,
        plan: &Plan,
        payload: &mut [u8],
    ) -> Result<(Window, Traffic), Failure> {
        say(&self.tx, Word::begin(stage), 0, 0, OTHER)?;
        expect(&mut self.rx, Word::Ready, OTHER)?;
        match stage {
            Stage::Raw => {
                let trips = self.raw(plan.length)?;
                let (received, _) = self.results()?;
                let traffic = Traffic { wrong: trips.wrong, ..Traffic::default() };
                Ok(of_trips(&trips, &received, traffic))
            }
            Stage::Trips => {
                let (tx, rx) = (&self.tx, &mut self.rx);
                let trips =
                    exchange::time_trips(plan.length, || exchange::trip((tx, &mut *rx), payload, OTHER))?;
                say(&self.tx, Word::End, 0, 0, OTHER)?;
                let (received, _) = self.results()?;
                let traffic = Traffic {
                    sent: trips.count,
                    received: trips.count,
                    wrong: trips.wrong,
                    ..Traffic::default()
                };
                Ok(of_trips(&trips, &received, traffic))
            }
            Stage::OneWay => {
                let pace = (plan.length, plan.rate, self.wait == Wait::Spin);
                let sent = exchange::send_at_rate(&self.tx, payload, pace, OTHER)?;
                self.sent(&sent)
            }
            Stage::Stream => {
                let sent = exchange::send_all(&self.tx, payload, plan.length, OTHER)?;
                self.sent(&sent)
            }
        }
    }

    /// Round trips of the raw cache line.
    fn raw(&self, length: Length) -> Result<Trips, Failure> {
        let words = self.words.as_ref().ok_or_else(|| OTHER.ended())?;
        let check = || match self.back.status().producer {
            true => Ok(()),
            false => Err(OTHER.ended()),
        };
        let mut number = 0;
        let trips = exchange::time_trips(length, || {
            number += 1;
            words.ask(number, check)
        })?;
        words.stop(number, check)?;
        Ok(trips)
    }

    /// Ends a stage in which messages went one way.
    fn sent(&mut self, sent: &Sent) -> Result<(Window, Traffic), Failure> {
        say(&self.tx, Word::End, 0, 0, OTHER)?;
        let (received, latencies) = self.results()?;
        let window = Window {
            percentiles: latencies.percentiles(),
            samples: received.got,
            each: received.span.nanos as f64 / received.got.max(1) as f64,
        };
        let traffic = Traffic {
            sent: sent.count,
            received: received.got,
            wrong: received.wrong,
            on_core: [sent.span.on_core, received.span.on_core],
        };
        Ok((window, traffic))
    }

    /// What the other side says of a window.
    fn results(&mut self) -> Result<(Received, Latencies), Failure> {
        let (mut received, mut latencies) = (Received::default(), Latencies::new()?);
        loop {
            match hear(&mut self.rx, OTHER)? {
                (Word::Latency, nanos, count) => latencies.record_many(nanos, count.into()),
                (Word::Got, got, _) => received.got = got,
                (Word::Wrong, wrong, _) => received.wrong = wrong,
                (Word::Nanos, nanos, _) => received.span.nanos = nanos,
                (Word::OnCore, millionths, _) => received.span.on_core = millionths as f64 / 1e6,
                (Word::Done, ..) => return Ok((received, latencies)),
                (word, ..) => {
                    return Err(Failure::new(format!(
                        "the answering side sent {word:?} instead of its results"
                    )));
                }
            }
        }
    }
}

fn of_trips(trips: &Trips, other: &Received, traffic: Traffic) -> (Window, Traffic) {
    let percentiles = trips.latencies.percentiles();
    let window = Window { percentiles, samples: trips.latencies.len(), each: trips.each };
    (window, Traffic { on_core: [trips.span.on_core, other.span.on_core], ..traffic })
}

/// Makes the link. An answering side may still be in the link of an asking one that was killed: it leaves within 50 ms.
fn make_link(
    asking: &Asking<'_>,
    plan: &Plan,
    created: &Created,
    check: &mut impl FnMut() -> Result<(), Failure>,
) -> Result<Link, Failure> {
    let Asking { folder, link: name, group, .. } = *asking;
    let (begin, mut backoff) = (cores::now(), Backoff::new());
    loop {
        let mut builder = folder.builder().depth(plan.depth).mtu(plan.size).consumers(1);
        builder = builder.payload_type(wire::payload_type());
        if let Some(group) = group {
            builder = builder.consumer_group(group);
        }
        let error = match created.link(builder, name) {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        let is_left = || folder.open(name).map_or(true, |link| !link.status().producer);
        let is_patient = cores::now() - begin < GREETING.as_nanos() as u64;
        if error.kind() != LinkErrorKind::InUse || !is_left() || !is_patient {
            return Err(error.into());
        }
        check()?;
        backoff.sleep();
    }
}

/// Joins the way back, on which the other side greets this session.
fn join_back(
    folder: &LinkFolder,
    name: &str,
    session: u64,
    mut check: impl FnMut() -> Result<(), Failure>,
) -> Result<(Link, Consumer<'static>), Failure> {
    let (begin, mut backoff) = (cores::now(), Backoff::new());
    loop {
        // One that an earlier side has left behind is dead, and is replaced at any moment.
        if let Ok(link) = folder.open(name)
            && link.status().producer
        {
            let mut rx = link.consumer_from(Start::Oldest)?;
            while let Ok(Some(meta)) = rx.wait_timeout(CHECK_EVERY).map(|found| found.map(|found| found.meta))
            {
                if (meta.ctl, meta.sig) == (Word::Hello.ctl(), session) {
                    return Ok((link, rx));
                }
            }
        }
        check()?;
        if cores::now() - begin > GREETING.as_nanos() as u64 {
            return Err(Failure::new(format!(
                "the answering side has joined, but has not made its link {name}: see what it says"
            )));
        }
        backoff.sleep();
    }
}
