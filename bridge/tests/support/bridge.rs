//! `tango-bridge` as a process: with a folder of links of its own, in a network of its own if wanted. What it says is
//! read as JSON. It ends with the test, also with one that fails.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::wire::Host;

/// How long a test waits for something that must happen, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder for the links and the files of one side. Dropping it deletes it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_path_buf() } else { env::temp_dir() };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("tango-bridge-test-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The folder of links.
    pub(crate) fn links(&self) -> PathBuf {
        self.0.join("links")
    }

    /// A file with this content.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Links that a failed test could not remove stay behind otherwise.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// A TCP port of the loopback device that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running `tango-bridge`.
pub(crate) struct Bridge {
    child: Child,
    errors: PathBuf,
    arguments: String,
}

impl Bridge {
    /// Starts it with these arguments, separated by spaces.
    pub(crate) fn start(folder: &Folder, arguments: &str) -> Self {
        Self::start_command(folder, arguments, |mut command| command.spawn().unwrap())
    }

    /// Starts it on a host of a network.
    pub(crate) fn start_on(host: &Host, folder: &Folder, arguments: &str) -> Self {
        Self::start_command(folder, arguments, |mut command| host.run(move || command.spawn().unwrap()))
    }

    fn start_command(folder: &Folder, arguments: &str, spawn: impl FnOnce(Command) -> Child) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let errors = folder.0.join(format!("{}.errors", COUNT.fetch_add(1, Ordering::Relaxed)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tango-bridge"));
        command
            .args(arguments.split_whitespace())
            .arg("--json")
            .env("TANGO_DIR", folder.links())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).unwrap());
        Self { child: spawn(command), errors, arguments: arguments.to_owned() }
    }

    /// All that it has written to standard error.
    pub(crate) fn said(&self) -> String {
        // A folder that is gone already says nothing.
        String::from_utf8_lossy(&fs::read(&self.errors).unwrap_or_default()).into_owned()
    }

    /// The events that it has reported.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The events of this kind.
    pub(crate) fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == kind).collect()
    }

    /// Waits until it has reported `count` events of this kind.
    pub(crate) fn wait_for(&mut self, kind: &str, count: usize) -> Vec<Value> {
        let begin = Instant::now();
        loop {
            let events = self.events_of(kind);
            if events.len() >= count {
                return events;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} has ended ({status}) before {kind}:\n{}", self.arguments, self.said());
            }
            assert!(begin.elapsed() < PATIENCE, "{}: no {kind} in:\n{}", self.arguments, self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // The child was not waited for, so its id is not another process's.
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Ends it without a chance to say anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end. Returns its exit status, and all that it has said.
    pub(crate) fn finish(mut self) -> (ExitStatus, String) {
        self.signal(Signal::SIGTERM);
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.said());
            }
            assert!(begin.elapsed() < PATIENCE, "{} does not end:\n{}", self.arguments, self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("-- tango-bridge {}:\n{}", self.arguments, self.said());
        }
        // Both fail if it has ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
