//! The same across two processes, or several: this program starts itself again for the readers, and they
//! meet in a folder of shared memory that is empty for each measurement.
//!
//! A child says `ready` when it has joined, does its part, and prints what it found as one line of JSON.

use std::fs::DirBuilder;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Mutex;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exchange::{
    answer, call, call_on_time, consume, consume_on_time, observe, produce, produce_on_time, slowest,
};
use crate::method::{Plan, Sample, SharedCore, Span, is_loose, let_loose};
use crate::peers::{self, DEPTH, Lossy, Peer, ProcessChannel, ProcessVisitor, Waits};
use crate::workloads::{DEEP, SHALLOW, memory};

/// The folder of this run, for whoever ends the process.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A private folder of shared memory, removed when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let path = PathBuf::from(format!("/dev/shm/tango-bench-{}", process::id()));
        make(&path)?;
        *FOLDER.lock().expect("nobody panics with it") = Some(path.clone());
        Ok(Self(path))
    }

    /// An empty folder in it, for one channel.
    pub(crate) fn room(&self, name: &str) -> Room {
        let path = self.0.join(name);
        make(&path).expect("the folder is ours");
        Room(path)
    }
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove_folder();
    }
}

/// Removes the folder of this run, if it has one.
pub(crate) fn remove_folder() {
    if let Some(path) = FOLDER.lock().ok().and_then(|mut folder| folder.take()) {
        if let Some(run) = path.file_name().and_then(|name| name.to_str()) {
            peers::remove_segments(run);
        }
        // Nothing is lost if it stays but some memory; there is nobody to tell.
        let _ = std::fs::remove_dir_all(path);
    }
}

/// The folder of one channel, removed when this is dropped.
pub(crate) struct Room(PathBuf);

impl Room {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // As for the whole folder, which goes in the end.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Messages of `N` bytes from this process to others, as fast as they go.
pub(crate) fn one_way<C: ProcessChannel<N, D>, const N: usize, const D: usize>(
    folder: &Folder,
    plan: &Plan,
    readers: usize,
) -> Sample {
    send::<C, N, D>(folder, plan, readers, Part::Consume, |tx| produce::<C, N>(tx, plan))
}

/// Messages of `N` bytes from this process to another, each when it is due.
pub(crate) fn one_way_on_time<C: ProcessChannel<N, D>, const N: usize, const D: usize>(
    folder: &Folder,
    plan: &Plan,
) -> Sample {
    send::<C, N, D>(folder, plan, 1, Part::ConsumeOnTime, |tx| produce_on_time(tx, plan))
}

fn send<C: ProcessChannel<N, D>, const N: usize, const D: usize>(
    folder: &Folder,
    plan: &Plan,
    readers: usize,
    part: Part,
    produce: impl FnOnce(&mut C::Sender) -> Span,
) -> Sample {
    let there = folder.room("there");
    let pending = C::create(there.path(), readers);
    let (cores, shared) = plan.cores.of_readers(readers);
    let _shared = SharedCore::assume(shared);
    let start = |core| Child::start::<C>(part, N, D, &plan.with_consumer(core), shared, &[&there]);
    let children: Vec<Child> = cores.into_iter().map(start).collect();
    let mut tx = C::connect(pending);
    let span = produce(&mut tx);
    let sample = slowest(children.into_iter().map(Child::finish));
    sample.with_other_side(span, !shared && C::ABOUT.waits == Waits::Spins)
}

/// The same with observers.
pub(crate) fn observed<C: Lossy<N, D>, const N: usize, const D: usize>(
    folder: &Folder,
    plan: &Plan,
    readers: usize,
) -> Sample {
    let there = folder.room("there");
    let source = C::make(Some(there.path()));
    let (cores, shared) = plan.cores.of_readers(readers);
    let _shared = SharedCore::assume(shared);
    let start = |core| Child::start::<C>(Part::Observe, N, D, &plan.with_consumer(core), shared, &[&there]);
    let children: Vec<Child> = cores.into_iter().map(start).collect();
    let mut tx = C::connect(source);
    let span = produce::<C, N>(&mut tx, plan);
    let readers = slowest(children.into_iter().map(Child::finish)).with_other_side(span, !shared);
    readers.by_the_producer(span, plan)
}

/// Messages of `N` bytes to another process and back, one after the other.
pub(crate) fn round_trip<C: ProcessChannel<N, D>, const N: usize, const D: usize>(
    folder: &Folder,
    plan: &Plan,
) -> Sample {
    ask::<C, N, D>(folder, plan, |tx, rx| call(tx, rx, plan))
}

/// The same, each when it is due.
pub(crate) fn round_trip_on_time<C: ProcessChannel<N, D>, const N: usize, const D: usize>(
    folder: &Folder,
    plan: &Plan,
) -> Sample {
    ask::<C, N, D>(folder, plan, |tx, rx| call_on_time(tx, rx, plan))
}

fn ask<C: ProcessChannel<N, D>, const N: usize, const D: usize>(
    folder: &Folder,
    plan: &Plan,
    call: impl FnOnce(&mut C::Sender, &mut C::Receiver) -> Sample,
) -> Sample {
    let (there, back) = (folder.room("there"), folder.room("back"));
    let (_, shared) = plan.cores.of_readers(1);
    let pending = C::create(there.path(), 1);
    let mut child = Child::launch::<C>(Part::Answer, N, D, plan, shared, &[&there, &back]);
    // The child makes the way back, we join it, and only then does either side connect.
    child.expect("made");
    let mut rx = C::attach(back.path());
    child.tell("joined");
    child.expect("ready");
    let mut tx = C::connect(pending);
    let sample = call(&mut tx, &mut rx);
    let span: Span = child.finish();
    sample.with_other_side(span, C::ABOUT.waits == Waits::Spins)
}

/// Memory that a channel takes, from a process that has done nothing else.
pub(crate) fn memory<P: Peer>(size: usize, processes: bool, room: &Room, plan: &Plan) -> Sample {
    let part = if processes { Part::MemoryShared } else { Part::Memory };
    Child::start::<P>(part, size, DEPTH, plan, false, &[room]).finish()
}

/// A reader in the other process, as the parent sees it.
struct Child {
    process: process::Child,
    input: process::ChildStdin,
    output: BufReader<process::ChildStdout>,
}

impl Child {
    /// Starts it, and waits until it has joined.
    fn start<P: Peer>(
        part: Part,
        size: usize,
        depth: usize,
        plan: &Plan,
        shared: bool,
        rooms: &[&Room],
    ) -> Self {
        let mut child = Self::launch::<P>(part, size, depth, plan, shared, rooms);
        child.expect("ready");
        child
    }

    fn launch<P: Peer>(
        part: Part,
        size: usize,
        depth: usize,
        plan: &Plan,
        shared: bool,
        rooms: &[&Room],
    ) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program has a path"))
            .arg("child")
            .arg(part.to_possible_value().expect("no part is hidden").get_name())
            .arg(P::ABOUT.title())
            .args([size, depth].map(|number| number.to_string()))
            .arg(json(plan))
            .arg(shared.to_string())
            .arg(is_loose().to_string())
            .args(rooms.iter().map(|room| room.path()))
            // So that memory is taken when it is needed and not before, for who measures it.
            .env("MALLOC_MMAP_THRESHOLD_", "65536")
            .env("MALLOC_TOP_PAD_", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let input = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, input, output }
    }

    fn expect(&mut self, word: &str) {
        assert_eq!(self.line(), word, "the other process did not get as far");
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").expect("the child reads");
    }

    fn finish<T: DeserializeOwned>(mut self) -> T {
        let found = self.line();
        let status = self.process.wait().expect("the child is ours");
        assert!(status.success(), "the other process ended with {status}");
        serde_json::from_str(&found).expect("the other process is the same program")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the other process writes text");
        line.trim_end().to_owned()
    }
}

/// What the child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Consume,
    ConsumeOnTime,
    Observe,
    Answer,
    Memory,
    MemoryShared,
}

/// Arguments of the child, in the order in which the parent gives them.
#[derive(Args, Debug)]
pub(crate) struct ChildArgs {
    part: Part,
    /// Title of the peer.
    peer: String,
    size: usize,
    depth: usize,
    /// A plan, as JSON.
    plan: String,
    /// Whether it shares its core with others.
    #[arg(action = clap::ArgAction::Set)]
    shared: bool,
    /// Whether nothing is timed.
    #[arg(action = clap::ArgAction::Set)]
    loose: bool,
    rooms: Vec<PathBuf>,
}

/// The reader's side.
pub(crate) fn run_child(args: &ChildArgs) {
    let _shared = SharedCore::assume(args.shared);
    if args.loose {
        let_loose();
    }
    match (args.size, args.depth) {
        (8, DEPTH) => play::<8, DEPTH>(args),
        (64, DEPTH) => play::<64, DEPTH>(args),
        (256, DEPTH) => play::<256, DEPTH>(args),
        (1024, DEPTH) => play::<1024, DEPTH>(args),
        (4096, DEPTH) => play::<4096, DEPTH>(args),
        (65_536, SHALLOW) => play::<65_536, SHALLOW>(args),
        (64, DEEP) => play::<64, DEEP>(args),
        (size, depth) => panic!("no measurement has {depth} messages of {size} bytes"),
    }
}

fn play<const N: usize, const D: usize>(args: &ChildArgs) {
    let plan: Plan = serde_json::from_str(&args.plan).expect("the parent is the same program");
    let mut player = Player::<'_, N, D> { args, plan, found: false };
    match args.part {
        Part::Memory => {
            if const { measures_memory::<N, D>() } {
                say("ready");
                say(&json(&memory::of_threads::<N, D>(&args.peer)));
                player.found = true;
            }
        }
        Part::Observe => {
            player.observe::<peers::TangoObserver>();
            if const { is_on_time::<N, D>() } {
                player.observe::<peers::RingfireLossy>();
            }
        }
        Part::Consume | Part::ConsumeOnTime | Part::Answer | Part::MemoryShared => {
            peers::visit_processes(&mut player);
            if const { is_on_time::<N, D>() } {
                player.visit::<peers::TangoWaiting>();
                player.visit::<peers::RingfireParked>();
                player.visit::<peers::ShaqParked>();
                player.visit::<peers::Iceoryx2Event>();
            }
        }
    }
    assert!(player.found, "no peer is called {}, or it has no such part", args.peer);
}

// Which parts there are for which messages, so that the others are not compiled.

const fn measures_memory<const N: usize, const D: usize>() -> bool {
    (N == 64 || N == 1024) && D == DEPTH
}

const fn answers<const N: usize, const D: usize>() -> bool {
    (N == 8 || N == 64) && D == DEPTH
}

const fn is_on_time<const N: usize, const D: usize>() -> bool {
    N == 64 && D == DEPTH
}

struct Player<'a, const N: usize, const D: usize> {
    args: &'a ChildArgs,
    plan: Plan,
    found: bool,
}

impl<const N: usize, const D: usize> ProcessVisitor<N, D> for Player<'_, N, D> {
    fn visit<C: ProcessChannel<N, D>>(&mut self) {
        if self.found || C::ABOUT.title() != self.args.peer {
            return;
        }
        let rooms = &self.args.rooms;
        match self.args.part {
            Part::Consume => {
                let mut rx = C::attach(&rooms[0]);
                say("ready");
                say(&json(&consume::<C, N>(&mut rx, &self.plan)));
            }
            Part::ConsumeOnTime => {
                if const { is_on_time::<N, D>() } {
                    let mut rx = C::attach(&rooms[0]);
                    say("ready");
                    say(&json(&consume_on_time::<N>(&mut rx, &self.plan)));
                }
            }
            Part::Answer => {
                if const { answers::<N, D>() } {
                    let mut rx = C::attach(&rooms[0]);
                    let pending = C::create(&rooms[1], 1);
                    say("made");
                    let mut line = String::new();
                    io::stdin().read_line(&mut line).expect("the parent writes text");
                    let mut tx = C::connect(pending);
                    say("ready");
                    say(&json(&answer::<N>(&mut rx, &mut tx, &self.plan)));
                }
            }
            Part::MemoryShared => {
                if const { measures_memory::<N, D>() } {
                    say("ready");
                    say(&json(&memory::of_processes::<C, N, D>(&rooms[0])));
                }
            }
            Part::Observe | Part::Memory => unreachable!("they visit others"),
        }
        self.found = true;
    }
}

impl<const N: usize, const D: usize> Player<'_, N, D> {
    fn observe<C: Lossy<N, D>>(&mut self) {
        if C::ABOUT.title() == self.args.peer {
            self.found = true;
            let mut rx = C::attach(&self.args.rooms[0]);
            say("ready");
            say(&json(&observe::<N>(&mut rx, &self.plan)));
        }
    }
}

fn json(found: &impl Serialize) -> String {
    serde_json::to_string(found).expect("numbers are JSON")
}

fn say(line: &str) {
    let mut output = io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("the parent reads");
}
