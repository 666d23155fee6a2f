//! Ours across two processes: this program starts itself again for the consumer's side, and the two
//! meet in a link below a private folder of shared memory.
//!
//! The child says `ready` when it has joined, does its part, and prints what it found as one line of
//! JSON.

use std::fs::DirBuilder;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::Mutex;
use std::thread;

use clap::{Args, ValueEnum};
use rust_tango::Link;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exchange::{answer, call, consume, on_both_cores, produce};
use crate::method::{Cores, Plan, Sample, Span};
use crate::peers::{Reader, Writer, link, observe};

/// From the parent to the child.
const THERE: &str = "there";
/// From the child to the parent.
const BACK: &str = "back";

/// The folder of this run, for whoever ends the process.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A private folder of shared memory, removed when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let path = PathBuf::from(format!("/dev/shm/tango-bench-{}", process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        *FOLDER.lock().expect("nobody panics with it") = Some(path.clone());
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove_folder();
    }
}

/// Removes the folder of this run, if it has one.
pub(crate) fn remove_folder() {
    if let Some(path) = FOLDER.lock().ok().and_then(|mut folder| folder.take()) {
        // Nothing is lost if it stays but some memory; there is nobody to tell.
        let _ = std::fs::remove_dir_all(path);
    }
}

/// How fast messages of `N` bytes get from this process to another.
pub(crate) fn throughput<const N: usize>(folder: &Folder, plan: &Plan, steps: u32) -> Sample {
    send_to_child::<N>(folder, Part::Consume, plan, steps)
}

/// The same with an observer in the other process.
pub(crate) fn observed<const N: usize>(folder: &Folder, plan: &Plan, steps: u32) -> Sample {
    send_to_child::<N>(folder, Part::Observe, plan, steps)
}

fn send_to_child<const N: usize>(folder: &Folder, part: Part, plan: &Plan, steps: u32) -> Sample {
    let link = link::<N>().dir(&folder.0).create(THERE).expect("a link in shared memory");
    let mut tx = Writer(link.producer().expect("the only producer"));
    let child = Child::start(folder, part, N, plan);
    // On a thread of its own, because it pins itself.
    let span = in_thread(|| produce::<N>(&mut tx, plan, steps));
    let sample = child.finish();
    link.remove().expect("the folder is ours");
    on_both_cores(sample, span, true)
}

/// How long a message of `N` bytes takes to another process and back.
pub(crate) fn round_trip<const N: usize>(folder: &Folder, plan: &Plan) -> Sample {
    let there = link::<N>().dir(&folder.0).create(THERE).expect("a link in shared memory");
    let mut tx = Writer(there.producer().expect("the only producer"));
    let child = Child::start(folder, Part::Answer, N, plan);
    let back = Link::open_in(&folder.0, BACK).expect("the child has made it");
    let mut rx = Reader(back.consumer().expect("the only consumer"));
    let sample = in_thread(|| call::<N>(&mut tx, &mut rx, plan));
    let span: Span = child.finish();
    there.remove().expect("the folder is ours");
    back.remove().expect("the folder is ours");
    on_both_cores(sample, span, true)
}

fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().expect("a panic ends the process"))
}

/// The consumer's side in the other process, as the parent sees it.
struct Child {
    process: process::Child,
    output: BufReader<process::ChildStdout>,
}

impl Child {
    /// Starts it, and waits until it has joined.
    fn start(folder: &Folder, part: Part, size: usize, plan: &Plan) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program has a path"))
            .arg("child")
            .arg(part.to_possible_value().expect("no part is hidden").get_name())
            .args(
                [size as u64, plan.cores.producer as u64, plan.cores.consumer as u64].map(|n| n.to_string()),
            )
            .args([plan.warm, plan.count].map(|n| n.to_string()))
            .env("TANGO_DIR", &folder.0)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut child = Self { process, output };
        assert_eq!(child.line(), "ready", "the other process did not join");
        child
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
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Consume,
    Observe,
    Answer,
}

/// Arguments of the child, in the order in which the parent gives them.
#[derive(Args, Debug)]
pub(crate) struct ChildArgs {
    part: Part,
    size: usize,
    producer: usize,
    consumer: usize,
    warm: u64,
    count: u64,
}

/// The consumer's side.
pub(crate) fn run_child(args: &ChildArgs) {
    match args.size {
        8 => play::<8>(args),
        32 => play::<32>(args),
        64 => play::<64>(args),
        1024 => play::<1024>(args),
        4096 => play::<4096>(args),
        size => panic!("no measurement has messages of {size} bytes"),
    }
}

fn play<const N: usize>(args: &ChildArgs) {
    let cores = Cores { producer: args.producer, consumer: args.consumer };
    let plan = Plan { cores, warm: args.warm, count: args.count };
    let there = Link::open(THERE).expect("the parent has made it");
    match args.part {
        Part::Consume => {
            let mut rx = Reader(there.consumer().expect("the only consumer"));
            say("ready");
            say(&json(&consume::<N>(&mut rx, &plan)));
        }
        Part::Observe => {
            let mut rx = there.observer().expect("an observer");
            say("ready");
            say(&json(&observe::<N>(&mut rx, &plan)));
        }
        Part::Answer => {
            let mut rx = Reader(there.consumer().expect("the only consumer"));
            let back = link::<N>().create(BACK).expect("a link in shared memory");
            let mut tx = Writer(back.producer().expect("the only producer"));
            say("ready");
            say(&json(&answer::<N>(&mut rx, &mut tx, &plan)));
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
