//! The supervisor of the soak. It starts, stops and kills the processes, and compares what they report.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rust_tango::{Link, LinkErrorKind, Start};

use crate::common::Random;
use crate::common::process::{Child, TestFolder};
use crate::reader::{Contact, Kind, Reader, Sums};
use crate::{SLOTS, builder};

const OBSERVERS: usize = 2;
/// Without progress for this long, and for this many checks, the test hangs and fails. Generous, because the
/// machine may be busy. The number of checks covers the case that the whole test is suspended meanwhile.
pub(crate) const HANGS: (Duration, u32) = (Duration::from_secs(45), 3000);

/// The number of a party, and its message; `None` when it has ended.
type Event = (u32, Option<String>);

/// A party in a process of its own.
pub(crate) struct Party {
    pub(crate) number: u32,
    /// `None`: the producer.
    pub(crate) kind: Option<Kind>,
    child: Child,
    stopped_until: Option<Instant>,
    /// It was asked to leave.
    pub(crate) leaves: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
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
    pub(crate) remade: u32,
}

/// The contact of the witness, a thread of this process.
#[derive(Clone)]
pub(crate) struct Local {
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

pub(crate) struct Witness {
    contact: Local,
    thread: JoinHandle<(u64, Sums)>,
}

impl Witness {
    /// Joins a new link, whose first number is `first`.
    fn join(link: &Link, first: u64, events: &Sender<Event>, seed: u64) -> Self {
        let contact = Local { end: Arc::default(), progress: Arc::default(), events: events.clone() };
        let (link, theirs) = (link.clone(), contact.clone());
        let thread = std::thread::spawn(move || {
            let mut reader = Reader::new(Kind::Reliable, &theirs);
            reader.read(&link, Start::At(first), &mut Random::new(seed));
            assert_eq!((reader.sums.read, reader.sums.lost), (reader.next - first, 0));
            (reader.next, reader.sums)
        });
        Self { contact, thread }
    }
}

pub(crate) struct Supervisor {
    pub(crate) folder: TestFolder,
    pub(crate) random: Random,
    /// The present link and its witness.
    pub(crate) now: Option<(Link, Witness)>,
    pub(crate) parties: Vec<Party>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    pub(crate) counts: Counts,
    pub(crate) sums: Sums,
    /// Every party that was started as a producer.
    producers: Vec<u32>,
    /// The first number of each producer that lived to report it.
    pub(crate) firsts: BTreeMap<u32, u64>,
    /// Changes of the producer that readers have seen: from, to, and the first number read of the new one.
    pub(crate) turns: Vec<(u32, u32, u64)>,
    /// The first numbers of new producers that readers were told of.
    replacements: Vec<u64>,
    /// The position at which each party ended by itself.
    left: BTreeMap<u32, u64>,
    /// For the detection of hangs: what the witness had read at its last progress, the time of that, and
    /// checks since then.
    watch: (u64, Instant, u32),
}

impl Supervisor {
    pub(crate) fn new(seed: u64) -> Self {
        let (sender, events) = channel();
        Self {
            folder: TestFolder::new(),
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
            replacements: Vec::new(),
            left: BTreeMap::new(),
            watch: (0, Instant::now(), 0),
        }
    }

    /// Starts a reader, or a producer (`None`). With `make`, the producer creates the link with that first
    /// number.
    pub(crate) fn start(&mut self, kind: Option<Kind>, make: Option<u64>) -> u32 {
        self.counts.started += 1;
        let number = self.counts.started;
        let what = kind.map_or("Producer".to_owned(), |kind| format!("{kind:?}"));
        let make = make.map_or("-".to_owned(), |first| first.to_string());
        let seed = self.random.next();
        let mut child = Child::start(&format!("{what} {number} {make} {seed}"), &self.folder);
        let sender = self.sender.clone();
        child.listen(move |word| drop(sender.send((number, word))));
        if kind.is_none() {
            self.producers.push(number);
        }
        self.parties.push(Party { number, kind, child, stopped_until: None, leaves: false });
        number
    }

    /// Has the link created with first number `first`, and joins it.
    pub(crate) fn make(&mut self, first: u64) {
        let maker = self.start(None, Some(first));
        self.until("the link is made", |this| this.firsts.contains_key(&maker));
        assert_eq!(self.firsts[&maker], first);
        let link = Link::open_in(self.folder.path(), "quotes").unwrap();
        let witness = Witness::join(&link, first, &self.sender, self.random.next());
        // From here on, the link is in use.
        self.until("the witness joins", |_| link.status().consumers.iter().any(|consumer| consumer.alive));
        self.now = Some((link, witness));
        self.watch = (0, Instant::now(), 0);
    }

    /// Processes all messages that have arrived.
    pub(crate) fn process_messages(&mut self) {
        while let Ok((number, word)) = self.events.try_recv() {
            let Some(word) = word else {
                // Killed parties are no longer in the list.
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
                ("replaced", &[first]) => self.replacements.push(first),
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

    /// Supervises until `done`.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let (begin, mut looks) = (Instant::now(), 0);
        loop {
            self.process_messages();
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

    pub(crate) fn continue_the_stopped(&mut self, now: Instant) {
        for party in &mut self.parties {
            if party.stopped_until.is_some_and(|until| until <= now) {
                party.child.signal(Signal::SIGCONT);
                party.stopped_until = None;
            }
        }
    }

    /// Does a random thing to a random party.
    pub(crate) fn act(&mut self) {
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
                // The witness uses it, so nobody can replace it.
                let error = builder(self.folder.path()).create("quotes").unwrap_err();
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
        // A party that was asked to leave may have ended before the kill.
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

    /// Fails if the witness has read nothing for too long.
    pub(crate) fn watch(&mut self) {
        let Some((_, witness)) = &self.now else { return };
        assert!(!witness.thread.is_finished(), "the witness has ended, its panic is above");
        let read = witness.contact.progress.load(Ordering::Relaxed);
        if read != self.watch.0 || self.parties.iter().all(|party| party.kind.is_some()) {
            self.watch = (read, Instant::now(), 0);
        }
        self.watch.2 += 1;
        if self.watch.1.elapsed() > HANGS.0 && self.watch.2 > HANGS.1 {
            self.hangs("the witness reads nothing");
        }
    }

    /// Ends this link: the producer ends, and the readers drain the link and end.
    pub(crate) fn end(&mut self, in_order: bool, observers_too: bool) -> u64 {
        // Stopped parties must run again to take part in this.
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
            // A reader that was told before it began has read nothing.
            assert!([0, next].contains(&self.left[&number]), "{number} must drain the link up to {next}");
        }
        let status = link.status();
        assert!(status.next == next || status.next + 1 == next && !in_order, "{next}: {status:?}");
        assert!(!status.producer && status.consumers.iter().all(|consumer| !consumer.alive), "{status:?}");
        self.counts.takeovers += status.takeovers;
        self.counts.evictions += status.evicted;
        self.counts.reaped += status.reaped;
        next
    }

    /// Asserts that all readers agree on the producer of each fragment.
    pub(crate) fn agree(&self) {
        for &(before, after, seq) in &self.turns {
            assert!(seq >= self.firsts[&after], "{seq} of {after}, which began at {}", self.firsts[&after]);
            // Producers between these two have published nothing.
            let firsts = self.firsts.range(before + 1..=after).map(|(_, first)| *first);
            assert!(before == 0 || firsts.into_iter().all(|first| first == seq), "{before} {after} {seq}");
            let later = self.firsts.range(after + 1..).next();
            assert!(later.is_none_or(|(_, first)| seq < *first), "{seq} of {after}, before {later:?}");
        }
        // Some producers were killed between taking over and reporting it.
        let silent = || self.producers.iter().filter(|number| !self.firsts.contains_key(number));
        let may_have_begun_at = |first: u64, producer: u32| {
            let (before, mut after) = (self.firsts.range(..producer), self.firsts.range(producer..));
            before.last().is_none_or(|(_, last)| *last <= first)
                && after.next().is_none_or(|(_, next)| first <= *next)
        };
        for &first in &self.replacements {
            let is_known = self.firsts.values().any(|known| *known == first);
            assert!(
                is_known || silent().any(|producer| may_have_begun_at(first, *producer)),
                "a reader was told of a producer that begins at {first}: {:?}",
                self.firsts
            );
        }
    }

    /// Whether enough of everything has happened for the test to be meaningful.
    pub(crate) fn has_seen_all(&self) -> bool {
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
