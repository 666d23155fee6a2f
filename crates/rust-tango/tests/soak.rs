//! One link for a while, whose parties are killed, stopped, asked to leave and started again at random moments,
//! its producer included; now and then all of them go, and the link is made anew under its name.
//!
//! The test is the supervisor, and one reliable consumer, the witness, that lives as long as the link. The
//! others are processes. Everything that anybody reads is checked: its content, which follows from its number
//! and from who published it; that a reliable consumer gets each number once, in order, from where it joined;
//! that what others lose is what they are told they have lost; and at the end, that all saw one producer after
//! another begin at the same number.
//!
//! `TANGO_SOAK_SECONDS` says how long (8 if it does not), `TANGO_SOAK_SEED` what is chosen. The seed is printed.
//! It repeats the choices, but not the moments at which the machine lets them happen.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::process::{Child, Place, die_with_parent, is_told, role, say};
use common::{Random, assert_whole, payload, sig};
use nix::sys::signal::Signal;
use rust_tango::{Consumer, FragmentMetadata, Link, LinkBuilder, LinkErrorKind, Start, TangoError, Wait};

const MTU: usize = 1500;
const DEPTH: u64 = 32;
/// The witness, and four others.
const SLOTS: usize = 5;
const OBSERVERS: usize = 2;
/// How far a producer lets an evictable consumer fall behind in time.
const PATIENCE: Duration = Duration::from_millis(4);
/// Nothing moves for so long, and so many looks: then something hangs. Generous: the machine may be busy, and
/// all of this may be stopped meanwhile, which the number of looks shows.
const HANGS: (Duration, u32) = (Duration::from_secs(45), 3000);
/// A link that is made anew leaves out so many numbers.
const GAP: u64 = 1000;

fn builder(place: &Path) -> LinkBuilder {
    Link::builder().depth(DEPTH as usize).mtu(MTU).region(6 * MTU).consumers(SLOTS).dir(place)
}

fn wait_by(random: &mut Random) -> Wait {
    match random.below(8) {
        0 => Wait::Spin,
        1 | 2 => Wait::Yield,
        3..=5 => Wait::ParkAfter(Duration::ZERO),
        _ => Wait::Park,
    }
}

/// Publishes until it is told to leave. Its number travels as the timestamp of its fragments.
fn produce(place: &Path, id: u32, make: Option<u64>, mut random: Random) {
    let link = match make {
        Some(start) => builder(place).start(start).create("quotes"),
        None => Link::open_in(place, "quotes"),
    };
    let wait = wait_by(&mut random);
    let mut tx = link.unwrap().producer().unwrap().with_wait(wait).with_patience(PATIENCE);
    say(format!("first {}", tx.next_seq()));
    if make.is_some() {
        assert!(tx.wait_for_consumers(1, None));
    }
    while !is_told("leave") {
        let seq = tx.next_seq();
        let bytes = payload(seq, MTU);
        if random.below(4) == 0 {
            let mut loan = loop {
                match tx.loan(bytes.len()) {
                    Ok(loan) => break loan,
                    Err(TangoError::NoCredits { .. }) => std::thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            };
            loan.write_at(0, &bytes);
            if random.below(8) != 0 {
                loan.commit(sig(seq), sig(seq) as u16, id);
            }
        } else {
            let meta = tx.publish_blocking(&bytes, sig(seq), sig(seq) as u16, id).unwrap();
            assert_eq!(meta.seq, seq);
        }
        if random.below(300) == 0 {
            // So that readers run dry, and fall asleep.
            std::thread::sleep(Duration::from_micros(random.below(3000)));
        }
    }
    say(format!("next {}", tx.next_seq()));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reliable,
    Batches,
    Evictable,
    Observer,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Reliable, Self::Batches, Self::Evictable, Self::Observer];

    fn join(self, link: &Link, start: Start) -> Consumer<'static> {
        let joined = match self {
            Self::Reliable | Self::Batches => link.consumer_from(start),
            Self::Evictable => link.evictable_consumer(start),
            Self::Observer => link.observer_from(start),
        };
        joined.unwrap()
    }
}

/// How a reader hears of its supervisor, and is heard.
trait Contact {
    fn is_told(&self, word: &str) -> bool;
    fn say(&self, word: String);
    fn progress(&self) {}
}

/// What is counted of a reader.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    read: u64,
    lost: u64,
    overruns: u64,
    evictions: u64,
    gone: u64,
    replaced: u64,
}

impl Sums {
    fn values(&mut self) -> [&mut u64; 6] {
        let Self { read, lost, overruns, evictions, gone, replaced } = self;
        [read, lost, overruns, evictions, gone, replaced]
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, lost, overruns, evictions, gone, replaced } = self;
        write!(f, "{read} {lost} {overruns} {evictions} {gone} {replaced}")
    }
}

/// One that reads, and what it expects.
struct Reader<'c> {
    kind: Kind,
    contact: &'c dyn Contact,
    next: u64,
    /// Who published what was read last; 0: nothing was.
    producer: u32,
    /// Where it was told that the producer is gone, if it was told of no other since.
    gone: Option<u64>,
    /// Nothing was lost since what was read last.
    whole: bool,
    /// It has just joined at a number that may have been gone.
    joined: bool,
    sums: Sums,
}

impl Reader<'_> {
    fn take(&mut self, meta: &FragmentMetadata, bytes: &[u8]) {
        assert!(self.gone.is_none(), "{:?}: number {} of who was not announced", self.kind, meta.seq);
        assert_eq!(meta.seq, self.next, "{:?}", self.kind);
        assert_whole(&FragmentMetadata { ts: meta.seq as u32, ..*meta }, bytes, MTU);
        if meta.ts != self.producer {
            assert!(meta.ts > self.producer, "{} after {}", meta.ts, self.producer);
            // Who has lost something may have lost the beginning.
            let after = if self.whole { self.producer } else { 0 };
            self.contact.say(format!("turn {after} {} {}", meta.ts, meta.seq));
            self.producer = meta.ts;
        }
        (self.joined, self.whole) = (false, true);
        self.next += 1;
        self.sums.read += 1;
        self.contact.progress();
    }

    fn bear(&mut self, error: TangoError) {
        let (lost, next) = match error {
            TangoError::ProducerGone => {
                self.sums.gone += 1;
                self.gone.get_or_insert(self.next);
                return;
            }
            TangoError::ProducerReplaced { first } => {
                assert!(self.gone.is_none_or(|at| first >= at), "{first}, but gone was {:?}", self.gone);
                self.sums.replaced += 1;
                self.gone = None;
                self.contact.say(format!("replaced {first}"));
                return;
            }
            TangoError::Evicted { lost, next } if self.kind == Kind::Evictable => {
                self.sums.evictions += 1;
                (lost, next)
            }
            TangoError::Overrun { lost, next } if self.kind == Kind::Observer || self.joined => {
                self.sums.overruns += 1;
                (lost, next)
            }
            error => panic!("{:?} at {}: {error}", self.kind, self.next),
        };
        assert_eq!(next, self.next + lost, "{error}");
        self.next = next;
        self.sums.lost += lost;
        (self.joined, self.whole) = (false, false);
    }

    /// Reads until it is told to leave, or this is the end of the link and it was told so, or (an observer, which
    /// may outlive a link) the name belongs to another one.
    fn read(&mut self, link: &Link, start: Start, random: &mut Random) {
        let mut rx = self.kind.join(link, start).with_wait(wait_by(random));
        self.next = rx.next_seq();
        if let Start::At(seq) = start {
            (self.joined, self.next) = (true, seq);
        }
        (self.producer, self.gone, self.whole) = (0, None, false);
        let identity = identity(link.path().unwrap());
        let is_over = |contact: &dyn Contact| {
            contact.is_told("end") || identity != self::identity(link.path().unwrap())
        };
        while !self.contact.is_told("leave") {
            let batches = self.kind == Kind::Batches || random.below(50) == 0;
            let found = if batches {
                rx.poll_batch(1 + random.below(DEPTH) as usize).map(|batch| {
                    batch.iter().for_each(|found| self.take(&found.meta, found.payload.as_slice()));
                    !batch.is_empty()
                })
            } else {
                Ok(false)
            };
            let found = match found {
                Ok(false) => rx.wait_timeout(Duration::from_millis(100)).map(|found| {
                    found.as_ref().is_some_and(|found| {
                        self.take(&found.meta, found.payload.as_slice());
                        if random.below(200) == 0 {
                            // With the fragment in its hands.
                            std::thread::sleep(Duration::from_micros(random.below(1500)));
                            let meta = FragmentMetadata { ts: found.meta.seq as u32, ..found.meta };
                            assert_whole(&meta, found.payload.as_slice(), MTU);
                        }
                        true
                    })
                }),
                found => found,
            };
            let error = match found {
                Ok(true) => continue,
                Ok(false) if !rx.is_closed() => continue,
                Ok(false) if is_over(self.contact) => break,
                Ok(false) => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                Err(error) => error,
            };
            self.bear(error);
            if error == TangoError::ProducerGone {
                if is_over(self.contact) {
                    break;
                }
                if random.below(2) == 0 {
                    rx.wait_for_producer(Some(Duration::from_millis(20)));
                }
            }
        }
        // What was lost at the last moment, or before the first one, it has not been told of.
        let untold = rx.next_seq().wrapping_sub(self.next);
        assert!(untold == 0 || self.joined || self.kind == Kind::Evictable, "{untold} at {}", self.next);
    }
}

/// What tells a folder from others that have had its name.
fn identity(folder: &Path) -> Option<u64> {
    std::fs::metadata(folder).ok().map(|found| found.ino())
}

/// A reader in a process of its own.
struct Remote;

impl Contact for Remote {
    fn is_told(&self, word: &str) -> bool {
        is_told(word)
    }

    fn say(&self, word: String) {
        say(word);
    }
}

/// The witness: a thread of this process.
#[derive(Clone)]
struct Local {
    end: Arc<AtomicBool>,
    progress: Arc<AtomicU64>,
    events: Sender<Event>,
}

impl Contact for Local {
    fn is_told(&self, word: &str) -> bool {
        word == "end" && self.end.load(Ordering::Relaxed)
    }

    fn say(&self, word: String) {
        self.events.send((0, Some(word))).unwrap();
    }

    fn progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}

fn reader(kind: Kind, contact: &dyn Contact) -> Reader<'_> {
    let sums = Sums::default();
    Reader { kind, contact, next: 0, producer: 0, gone: None, whole: false, joined: false, sums }
}

#[test]
fn child() {
    let Some((role, place)) = role() else { return };
    die_with_parent();
    let words: Vec<_> = role.split(' ').collect();
    let [what, number, make, seed] = words[..] else { panic!("no role {role}") };
    let mut random = Random::new(seed.parse().unwrap());
    if what == "Producer" {
        return produce(&place, number.parse().unwrap(), make.parse().ok(), random);
    }
    let kind = *Kind::ALL.iter().find(|kind| format!("{kind:?}") == what).unwrap();
    let mut reader = reader(kind, &Remote);
    let mut start = match random.below(3) {
        0 => Start::Next,
        1 => Start::Oldest,
        _ => Start::At(0),
    };
    while !is_told("leave") && !is_told("end") {
        // There is none for a moment, while it is made anew.
        let Ok(link) = Link::open_in(&place, "quotes") else {
            assert!(kind == Kind::Observer);
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let status = link.status();
        if let Start::At(seq) = &mut start {
            *seq = status.oldest.saturating_sub(2).max(status.start);
        }
        reader.read(&link, start, &mut random);
    }
    say(format!("left {} {}", reader.next, reader.sums));
}

/// The number of who said it, and what; `None`: it has ended.
type Event = (u32, Option<String>);

/// A process.
struct Party {
    number: u32,
    /// `None`: the producer.
    kind: Option<Kind>,
    child: Child,
    stopped_until: Option<Instant>,
    /// It was asked to leave.
    leaves: bool,
}

#[derive(Debug, Default)]
struct Counts {
    started: u32,
    killed: u32,
    producers_killed: u32,
    killed_while_stopped: u32,
    stopped: u32,
    asked_to_leave: u32,
    producers_asked_to_leave: u32,
    refused: u32,
    takeovers: u64,
    evictions: u64,
    reaped: u64,
    remade: u32,
}

struct Witness {
    contact: Local,
    thread: JoinHandle<(u64, Sums)>,
}

impl Witness {
    /// Joins a link whose first number is `first`, and of which nothing has been read yet.
    fn join(link: &Link, first: u64, events: &Sender<Event>, seed: u64) -> Self {
        let contact = Local { end: Arc::default(), progress: Arc::default(), events: events.clone() };
        let (link, theirs) = (link.clone(), contact.clone());
        let thread = std::thread::spawn(move || {
            let mut reader = reader(Kind::Reliable, &theirs);
            reader.read(&link, Start::At(first), &mut Random::new(seed));
            assert_eq!((reader.sums.read, reader.sums.lost), (reader.next - first, 0));
            (reader.next, reader.sums)
        });
        Self { contact, thread }
    }
}

struct Supervisor {
    place: Place,
    random: Random,
    /// The link as it is now, and its witness.
    now: Option<(Link, Witness)>,
    parties: Vec<Party>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    counts: Counts,
    sums: Sums,
    /// All that were started to be producers.
    producers: Vec<u32>,
    /// The first number of each producer that came to say it.
    firsts: BTreeMap<u32, u64>,
    /// After which producer which other one was read, from where on.
    turns: Vec<(u32, u32, u64)>,
    /// The first numbers that readers were told of.
    told: Vec<u64>,
    /// Where those stood who ended by themselves.
    left: BTreeMap<u32, u64>,
    /// What the witness had read when that was last seen to be more, when that was, and looks since then.
    watch: (u64, Instant, u32),
}

impl Supervisor {
    fn new(seed: u64) -> Self {
        let (sender, events) = channel();
        Self {
            place: Place::new(),
            random: Random::new(seed),
            now: None,
            parties: Vec::new(),
            events,
            sender,
            counts: Counts::default(),
            sums: Sums::default(),
            producers: Vec::new(),
            firsts: BTreeMap::new(),
            turns: Vec::new(),
            told: Vec::new(),
            left: BTreeMap::new(),
            watch: (0, Instant::now(), 0),
        }
    }

    /// Starts a producer (`None`), which makes the link if it is told from which number on, or a reader.
    fn start(&mut self, kind: Option<Kind>, make: Option<u64>) -> u32 {
        self.counts.started += 1;
        let number = self.counts.started;
        let what = kind.map_or("Producer".to_owned(), |kind| format!("{kind:?}"));
        let make = make.map_or("-".to_owned(), |first| first.to_string());
        let seed = self.random.next();
        let mut child = Child::start(&format!("{what} {number} {make} {seed}"), &self.place);
        let sender = self.sender.clone();
        child.listen(move |word| drop(sender.send((number, word))));
        if kind.is_none() {
            self.producers.push(number);
        }
        self.parties.push(Party { number, kind, child, stopped_until: None, leaves: false });
        number
    }

    /// Has the link made, from number `first` on, and joins it.
    fn make(&mut self, first: u64) {
        let maker = self.start(None, Some(first));
        self.until("the link is made", |this| this.firsts.contains_key(&maker));
        assert_eq!(self.firsts[&maker], first);
        let link = Link::open_in(self.place.path(), "quotes").unwrap();
        let witness = Witness::join(&link, first, &self.sender, self.random.next());
        // From now on, the link is in use.
        self.until("the witness joins", |_| link.status().consumers.iter().any(|consumer| consumer.alive));
        self.now = Some((link, witness));
        self.watch = (0, Instant::now(), 0);
    }

    /// Hears what there is to be heard.
    fn hear(&mut self) {
        while let Ok((number, word)) = self.events.try_recv() {
            let Some(word) = word else {
                // Who was killed is not among them any more.
                if let Some(at) = self.parties.iter().position(|party| party.number == number) {
                    let party = self.parties.remove(at);
                    let status = party.child.ends();
                    assert!(party.leaves && status.success(), "{:?} {number}: {status}", party.kind);
                    assert!(self.left.contains_key(&number));
                }
                continue;
            };
            let mut words = word.split(' ');
            let what = words.next().unwrap();
            let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
            match (what, &numbers[..]) {
                ("first", &[first]) => drop(self.firsts.insert(number, first)),
                ("turn", &[before, after, seq]) => self.turns.push((before as u32, after as u32, seq)),
                ("replaced", &[first]) => self.told.push(first),
                ("next", &[next]) => drop(self.left.insert(number, next)),
                ("left", &[next, ref sums @ ..]) => {
                    self.left.insert(number, next);
                    for (sum, more) in self.sums.values().into_iter().zip(sums) {
                        *sum += more;
                    }
                }
                _ => panic!("{number} said {word}"),
            }
        }
    }

    /// Looks after everyone until something is so.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let (begin, mut looks) = (Instant::now(), 0);
        loop {
            self.hear();
            self.continue_the_stopped(Instant::now());
            if done(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            looks += 1;
            if begin.elapsed() > HANGS.0 && looks > HANGS.1 {
                self.hangs(what);
            }
        }
    }

    fn hangs(&self, what: &str) -> ! {
        let mut report = format!("hangs: {what}\n");
        for Party { number, kind, child, stopped_until, leaves } in &self.parties {
            let kind = kind.map_or("Producer".to_owned(), |kind| format!("{kind:?}"));
            let stopped = stopped_until.is_some();
            report += &format!(
                "{number} {kind}: process {} {}, stopped {stopped}, leaves {leaves}\n",
                child.id(),
                child.state()
            );
        }
        if let Some((link, witness)) = &self.now {
            let read = witness.contact.progress.load(Ordering::Relaxed);
            report += &format!("the witness has read {read}\n{:#?}\n", link.status());
        }
        panic!("{report}{:#?}", self.counts);
    }

    fn continue_the_stopped(&mut self, now: Instant) {
        for party in &mut self.parties {
            if party.stopped_until.is_some_and(|until| until <= now) {
                party.child.signal(Signal::SIGCONT);
                party.stopped_until = None;
            }
        }
    }

    /// Does something to somebody.
    fn act(&mut self) {
        let readers =
            self.parties.iter().filter(|party| party.kind.is_some_and(|kind| kind != Kind::Observer));
        let (seated, observers) =
            (readers.count(), self.parties.iter().filter(|party| party.kind == Some(Kind::Observer)).count());
        let producer = self.parties.iter().position(|party| party.kind.is_none());
        let chosen = match self.parties.len() {
            0 => 0,
            parties => self.random.below(parties as u64) as usize,
        };
        match self.random.below(100) {
            0..25 if producer.is_none() => drop(self.start(None, None)),
            0..25 if seated < SLOTS - 1 => {
                let kind = Kind::ALL[self.random.below(3) as usize];
                self.start(Some(kind), None);
            }
            0..25 if observers < OBSERVERS => drop(self.start(Some(Kind::Observer), None)),
            25..40 if chosen < self.parties.len() => self.kill(chosen),
            40..46 => {
                if let Some(producer) = producer {
                    self.kill(producer);
                    if self.random.below(2) == 0 {
                        self.start(None, None);
                    }
                }
            }
            46..80 if chosen < self.parties.len() && self.parties[chosen].stopped_until.is_none() => {
                let time = Duration::from_micros(self.random.below(60_000));
                let party = &mut self.parties[chosen];
                party.child.signal(Signal::SIGSTOP);
                party.stopped_until = Some(Instant::now() + time);
                self.counts.stopped += 1;
            }
            80..90 if chosen < self.parties.len() => self.ask_to_leave(chosen),
            90..94 => {
                let (link, _) = self.now.as_ref().unwrap();
                // The witness uses it, so it is in nobody's power to replace it.
                let error = builder(self.place.path()).create("quotes").unwrap_err();
                assert_eq!(error.kind(), LinkErrorKind::InUse, "{error}");
                assert!(link.status().consumers.iter().any(|consumer| consumer.alive));
                self.counts.refused += 1;
            }
            _ => {}
        }
    }

    fn kill(&mut self, at: usize) {
        let party = self.parties.remove(at);
        self.counts.killed += 1;
        self.counts.producers_killed += u32::from(party.kind.is_none());
        self.counts.killed_while_stopped += u32::from(party.stopped_until.is_some());
        party.child.signal(Signal::SIGKILL);
        let status = party.child.ends();
        // One that was asked to leave may have been faster.
        let left = party.leaves && status.success();
        assert!(left || status.signal() == Some(Signal::SIGKILL as i32), "{:?}: {status}", party.kind);
    }

    fn ask_to_leave(&mut self, at: usize) {
        let party = &mut self.parties[at];
        if !party.leaves {
            party.leaves = true;
            party.child.tell("leave");
            self.counts.asked_to_leave += 1;
            self.counts.producers_asked_to_leave += u32::from(party.kind.is_none());
        }
    }

    /// Panics if the witness has read nothing for too long.
    fn watch(&mut self) {
        let Some((_, witness)) = &self.now else { return };
        assert!(!witness.thread.is_finished(), "the witness has ended, see above");
        let read = witness.contact.progress.load(Ordering::Relaxed);
        if read != self.watch.0 || self.parties.iter().all(|party| party.kind.is_some()) {
            self.watch = (read, Instant::now(), 0);
        }
        self.watch.2 += 1;
        if self.watch.1.elapsed() > HANGS.0 && self.watch.2 > HANGS.1 {
            self.hangs("the witness reads nothing");
        }
    }

    /// The end of this link: the producer goes, and those who read drain it and go.
    fn end(&mut self, in_order: bool, observers_too: bool) -> u64 {
        // Everybody is there to see it.
        self.until("no one is stopped", |this| {
            this.parties.iter().all(|party| party.stopped_until.is_none())
        });
        if let Some(at) = self.parties.iter().position(|party| party.kind.is_none()) {
            if in_order {
                self.ask_to_leave(at);
                self.until("the producer leaves", |this| {
                    this.parties.iter().all(|party| party.kind.is_some())
                });
            } else {
                self.kill(at);
            }
        }
        let mut ending = Vec::new();
        for party in &mut self.parties {
            if party.kind != Some(Kind::Observer) || observers_too {
                // An observer may not have noticed yet that the name belongs to this link.
                if !party.leaves && party.kind != Some(Kind::Observer) {
                    ending.push(party.number);
                }
                party.leaves = true;
                party.child.tell("end");
            }
        }
        let (link, witness) = self.now.take().unwrap();
        witness.contact.end.store(true, Ordering::Relaxed);
        self.until("the witness ends", |_| witness.thread.is_finished());
        let (next, sums) = witness.thread.join().unwrap();
        self.until("the readers end", |this| this.parties.iter().all(|party| !party.leaves));
        for (sum, more) in self.sums.values().into_iter().zip({ sums }.values()) {
            *sum += *more;
        }
        for number in ending {
            // Unless it was told before it had begun.
            assert!([0, next].contains(&self.left[&number]), "{number} has drained the link up to {next}");
        }
        let status = link.status();
        assert!(status.next == next || status.next + 1 == next && !in_order, "{next}: {status:?}");
        assert!(!status.producer && status.consumers.iter().all(|consumer| !consumer.alive), "{status:?}");
        self.counts.takeovers += status.takeovers;
        self.counts.evictions += status.evicted;
        self.counts.reaped += status.reaped;
        next
    }

    /// Asserts that all readers agree about who published what.
    fn agree(&self) {
        for &(before, after, seq) in &self.turns {
            assert!(seq >= self.firsts[&after], "{seq} of {after}, which began at {}", self.firsts[&after]);
            // Who came in between has published nothing.
            let firsts = self.firsts.range(before + 1..=after).map(|(_, first)| *first);
            assert!(before == 0 || firsts.into_iter().all(|first| first == seq), "{before} {after} {seq}");
            let later = self.firsts.range(after + 1..).next();
            assert!(later.is_none_or(|(_, first)| seq < *first), "{seq} of {after}, before {later:?}");
        }
        // Some were killed between taking over and saying so.
        let silent = || self.producers.iter().filter(|number| !self.firsts.contains_key(number));
        let may_have_begun_at = |first: u64, producer: u32| {
            let (before, mut after) = (self.firsts.range(..producer), self.firsts.range(producer..));
            before.last().is_none_or(|(_, last)| *last <= first)
                && after.next().is_none_or(|(_, next)| first <= *next)
        };
        for &first in &self.told {
            let is_known = self.firsts.values().any(|known| *known == first);
            assert!(
                is_known || silent().any(|producer| may_have_begun_at(first, *producer)),
                "told of {first}: {:?}",
                self.firsts
            );
        }
    }

    /// Whether enough of everything has happened that this test says something.
    fn has_seen_all(&self) -> bool {
        let Counts { killed, producers_killed, killed_while_stopped, stopped, .. } = self.counts;
        let Counts { asked_to_leave, producers_asked_to_leave, refused, remade, .. } = self.counts;
        let status = self.now.as_ref().unwrap().0.status();
        killed >= 20
            && producers_killed >= 5
            && killed_while_stopped >= 1
            && stopped >= 20
            && asked_to_leave >= 5
            && producers_asked_to_leave >= 1
            && refused >= 2
            && remade >= 2
            && self.counts.takeovers + status.takeovers >= 3
            && self.counts.evictions + status.evicted >= 1
            && self.counts.reaped + status.reaped >= 1
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}

#[test]
fn nothing_is_lost_while_parties_come_and_go() {
    if role().is_some() {
        return;
    }
    let time = Duration::from_secs(from_environment("TANGO_SOAK_SECONDS").unwrap_or(8));
    let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = from_environment("TANGO_SOAK_SEED").unwrap_or_else(clock);
    println!("TANGO_SOAK_SEED={seed}, for {time:?}");
    let begin = Instant::now();
    let mut all = Supervisor::new(seed);
    all.make(1);
    let mut remake_at = time / 3;
    while begin.elapsed() < time || !all.has_seen_all() {
        assert!(begin.elapsed() < time + 2 * HANGS.0, "too little happens: {:#?}", all.counts);
        let pause = Duration::from_micros(all.random.below(12_000));
        std::thread::sleep(pause);
        all.hear();
        all.continue_the_stopped(Instant::now());
        all.watch();
        if begin.elapsed() >= remake_at {
            remake_at += (time / 3).clamp(Duration::from_secs(1), Duration::from_secs(10));
            let in_order = all.random.below(2) == 0;
            let next = all.end(in_order, false);
            all.make(next + GAP);
            all.counts.remade += 1;
        } else {
            all.act();
        }
    }
    // One more producer, if the last one is about to leave, so that the end is one in order.
    all.until("a producer leaves", |all| {
        !all.parties.iter().any(|party| party.kind.is_none() && party.leaves)
    });
    if all.parties.iter().all(|party| party.kind.is_some()) {
        all.start(None, None);
    }
    all.until("a producer begins", |all| {
        all.parties.iter().any(|party| party.kind.is_none() && all.firsts.contains_key(&party.number))
    });
    let (link, _) = all.now.as_ref().unwrap();
    let link = link.clone();
    all.end(true, true);
    all.agree();
    assert!(all.parties.is_empty());
    link.remove().unwrap();
    let left: Vec<_> =
        std::fs::read_dir(all.place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".lock"]);
    let Sums { read, lost, overruns, evictions, gone, replaced } = all.sums;
    println!("{:#?}", all.counts);
    println!(
        "read by those who lived to say so: {read}, and {lost} lost in {overruns} overruns and {evictions} evictions"
    );
    println!("{gone} times told of a death, {replaced} times of a takeover; {} turns", all.turns.len());
}
