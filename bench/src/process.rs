//! Measurements across two processes, or several. This program starts itself again for each reader, and they meet
//! in a folder in shared memory that is empty at the start of each measurement.
//!
//! A child says `ready` when it has joined, does its part, and prints its result as one line of JSON.

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::channel::{Channel, Lossy, Peer, ProcessChannel, Sender};
use crate::cores::{SharedCore, Span, is_unpinned, run_unpinned};
use crate::exchange::{answer, call, consume, observe, produce};
use crate::memory;
#[cfg(feature = "peers")]
use crate::peers::remove_segments;
use crate::plan::{Plan, RowId, Sample};

/// The first argument of a child.
pub(crate) const CHILD: &str = "child";

/// The private folder in shared memory for this run, once a channel needs one.
static RUN_FOLDER: Mutex<Option<TempDir>> = Mutex::new(None);

/// Makes an empty folder for one channel, which is removed on drop.
pub(crate) fn channel_folder(name: &str) -> TempDir {
    let in_run_folder = || {
        let mut run = RUN_FOLDER.lock().expect("no panic while it is locked");
        if run.is_none() {
            *run = Some(tempfile::Builder::new().prefix("tango-bench-").tempdir_in("/dev/shm")?);
        }
        let run = run.as_ref().expect("it was just made");
        tempfile::Builder::new().prefix(name).rand_bytes(0).tempdir_in(run)
    };
    in_run_folder().expect("a private folder in /dev/shm")
}

/// Removes the folder of this run, if it has one. To be called before the process ends: no more folders can be made.
pub(crate) fn remove_run_folder() {
    let Ok(mut run) = RUN_FOLDER.lock() else { return };
    let folder = run.take();
    std::mem::forget(run);
    #[cfg(not(feature = "peers"))]
    drop(folder);
    #[cfg(feature = "peers")]
    if let Some(name) = folder.as_ref().and_then(|folder| folder.path().file_name()?.to_str()) {
        remove_segments(name);
    }
}

/// Messages of `N` bytes from this process to others, which run [`read`].
pub(crate) fn one_way<C: ProcessChannel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let there = channel_folder("there");
    let tx = C::create(there.path(), plan.readers());
    send_to::<C, N, D, _>(tx, C::connect, &there, plan).1
}

/// The same with observers, which run [`read_lossy`]. The figure is the producer's.
pub(crate) fn observed<C: Lossy<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let there = channel_folder("there");
    let tx = C::connect(C::make(Some(there.path())));
    let (span, sample) = send_to::<C, N, D, _>(tx, |_| {}, &there, plan);
    sample.by_the_producer(span, plan)
}

/// Starts a child for each reader, and sends once all have joined. Returns the producer's time and the readers' sample.
fn send_to<P: Peer, const N: usize, const D: usize, S: Sender<N>>(
    mut tx: S,
    connect: impl FnOnce(&mut S),
    folder: &TempDir,
    plan: &Plan,
) -> (Span, Sample) {
    let (cores, shared) = plan.cores.of_readers(plan.readers());
    let _shared = SharedCore::assume(shared);
    let start = |core| {
        let mut child = Child::start(&plan.with_consumer(core), shared, &[folder]);
        child.expect("ready");
        child
    };
    let children: Vec<Child> = cores.into_iter().map(start).collect();
    connect(&mut tx);
    let span = produce::<P, N, D>(&mut tx, plan);
    let sample = Sample::slowest(children.into_iter().map(Child::finish));
    (span, sample.with_other_side(span, !shared && P::ABOUT.spins))
}

/// Messages of `N` bytes to another process, which runs [`answer_all`], and back.
pub(crate) fn round_trip<C: ProcessChannel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let (there, back) = (channel_folder("there"), channel_folder("back"));
    let (_, shared) = plan.cores.of_readers(1);
    let mut tx = C::create(there.path(), 1);
    let mut child = Child::start(plan, shared, &[&there, &back]);
    // The child makes the way back, this process joins it, and only then does either side connect.
    child.expect("made");
    let mut rx = C::attach(back.path());
    writeln!(child.input, "joined").expect("the child reads");
    child.expect("ready");
    C::connect(&mut tx);
    let sample = call::<N, D>(&mut tx, &mut rx, plan);
    let span: Span = child.finish();
    sample.with_other_side(span, C::ABOUT.spins)
}

/// Memory of a channel, measured in a child, which runs [`memory_of_threads`] or [`memory_of_processes`].
pub(crate) fn memory(plan: &Plan) -> Sample {
    let there = channel_folder("there");
    let mut child = Child::start(plan, false, &[&there]);
    child.expect("ready");
    child.finish()
}

struct Child {
    process: process::Child,
    input: process::ChildStdin,
    output: BufReader<process::ChildStdout>,
}

impl Child {
    fn start(plan: &Plan, shared: bool, folders: &[&TempDir]) -> Self {
        let folders = folders.iter().map(|folder| folder.path().to_owned()).collect();
        let task = Task { plan: *plan, shared, unpinned: is_unpinned(), folders };
        let mut process = Command::new(std::env::current_exe().expect("this program has a path"))
            .args([CHILD, &json(&task)])
            // The allocator then takes memory only when it is needed, so that it can be measured.
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

/// What a child is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) plan: Plan,
    /// Whether it shares its core with others.
    shared: bool,
    /// Whether nothing is timed.
    unpinned: bool,
    folders: Vec<PathBuf>,
}

/// Runs the child of a row. `find` returns what that does. The task is the argument of the child after [`CHILD`].
pub(crate) fn run_child(task: &str, find: impl FnOnce(RowId) -> fn(&Task)) {
    let task: Task = serde_json::from_str(task).expect("the parent is the same program");
    let _shared = SharedCore::assume(task.shared);
    if task.unpinned {
        run_unpinned();
    }
    find(task.plan.row)(&task);
}

/// In a child: a reader.
pub(crate) fn read<C: ProcessChannel<N, D>, const N: usize, const D: usize>(task: &Task) {
    let mut rx = C::attach(&task.folders[0]);
    say("ready");
    say(&json(&consume::<C, N, D>(&mut rx, &task.plan)));
}

/// In a child: an observer.
pub(crate) fn read_lossy<C: Lossy<N, D>, const N: usize, const D: usize>(task: &Task) {
    let mut rx = C::attach(&task.folders[0]);
    say("ready");
    say(&json(&observe::<N>(&mut rx, &task.plan)));
}

/// In a child: the side that answers.
pub(crate) fn answer_all<C: ProcessChannel<N, D>, const N: usize, const D: usize>(task: &Task) {
    let mut rx = C::attach(&task.folders[0]);
    let mut tx = C::create(&task.folders[1], 1);
    say("made");
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("the parent writes text");
    C::connect(&mut tx);
    say("ready");
    say(&json(&answer::<N>(&mut rx, &mut tx, &task.plan)));
}

/// In a child: measures the memory of a channel between threads.
pub(crate) fn memory_of_threads<C: Channel<N, D>, const N: usize, const D: usize>(_: &Task) {
    say("ready");
    say(&json(&memory::of_threads::<C, N, D>()));
}

/// In a child: measures the memory of a channel between processes.
pub(crate) fn memory_of_processes<C: ProcessChannel<N, D>, const N: usize, const D: usize>(task: &Task) {
    say("ready");
    say(&json(&memory::of_processes::<C, N, D>(&task.folders[0])));
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers are JSON")
}

fn say(line: &str) {
    let mut output = io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("the parent reads");
}
