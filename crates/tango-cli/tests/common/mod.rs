//! What the tests of the command share: a folder of their own, processes that do not outlive them.
#![allow(dead_code, missing_docs)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rust_tango::{Link, LinkStatus};

/// Long enough for a machine with other things to do. Nothing waits this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder for the links and files of one test.
pub(crate) struct Place {
    path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_path_buf() } else { env::temp_dir() };
        let path =
            base.join(format!("tango-test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).unwrap();
        Self { path }
    }

    /// Where the links are.
    pub(crate) fn links(&self) -> PathBuf {
        self.path.join("links")
    }

    /// The names of the links that there are.
    pub(crate) fn list(&self) -> Vec<String> {
        Link::list(Some(&self.links())).unwrap()
    }

    /// A file of the test, with this content.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> File {
        fs::write(self.path.join(name), content).unwrap();
        File::open(self.path.join(name)).unwrap()
    }

    /// Starts `tango` with these words as arguments, and standard input from a pipe.
    pub(crate) fn start(&self, arguments: &str) -> Running {
        self.start_with(arguments, Stdio::piped(), None)
    }

    /// Starts `tango` with standard input from a file.
    pub(crate) fn start_with_input(&self, arguments: &str, input: File) -> Running {
        self.start_with(arguments, input.into(), None)
    }

    /// Starts `tango`; standard output goes to a file unless it is given.
    pub(crate) fn start_with(&self, arguments: &str, input: Stdio, output: Option<Stdio>) -> Running {
        self.start_all_with(arguments, input, output, None)
    }

    /// Starts `tango` with standard input from a pipe, and standard error where it is said.
    pub(crate) fn start_with_errors_to(&self, arguments: &str, errors: Stdio) -> Running {
        self.start_all_with(arguments, Stdio::piped(), None, Some(errors))
    }

    fn start_all_with(
        &self,
        arguments: &str,
        input: Stdio,
        output: Option<Stdio>,
        errors: Option<Stdio>,
    ) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = |what: &str| self.path.join(format!("{number}.{what}"));
        let (out, err) = (place("out"), place("err"));
        let child = Command::new(env!("CARGO_BIN_EXE_tango"))
            .args(arguments.split_whitespace())
            .env("TANGO_DIR", self.links())
            .stdin(input)
            .stdout(output.unwrap_or_else(|| File::create(&out).unwrap().into()))
            .stderr(errors.unwrap_or_else(|| File::create(&err).unwrap().into()))
            .spawn()
            .unwrap();
        Running { child, out, err, what: arguments.to_owned() }
    }

    /// Runs `tango` to its end without input.
    pub(crate) fn run(&self, arguments: &str) -> Ended {
        self.start_with(arguments, Stdio::null(), None).end()
    }

    /// Waits until the link is there and its status is as wanted.
    pub(crate) fn await_status(&self, link: &str, wanted: impl Fn(&LinkStatus) -> bool) {
        wait_until(&format!("status of {link}"), || {
            Link::open_in(self.links(), link).is_ok_and(|link| wanted(&link.status()))
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A process that is ended when this is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) out: PathBuf,
    err: PathBuf,
    what: String,
}

/// How a process has ended, and what it has written.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Running {
    /// Closes its input, and waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        self.end_by_itself()
    }

    /// Waits for its end, although its input stays open.
    pub(crate) fn end_by_itself(mut self) -> Ended {
        let mut status = None;
        wait_until(&format!("end of tango {}", self.what), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let out = fs::read(&self.out).unwrap_or_default();
        let err = fs::read_to_string(&self.err).unwrap_or_default();
        Ended { status: status.unwrap(), out, err }
    }

    /// What it has written to standard error so far.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Waits until it has written this much to standard output.
    pub(crate) fn await_output(&self, len: usize) {
        wait_until(&format!("output of tango {}", self.what), || {
            fs::metadata(&self.out).is_ok_and(|file| file.len() >= len as u64)
        });
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Its exit status; minus the signal if one has ended it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| -self.status.signal().unwrap())
    }

    /// It has done what it should, and has nothing to complain about.
    #[track_caller]
    pub(crate) fn assert_ok(&self) {
        assert_eq!((self.code(), self.err.as_str()), (0, ""));
    }

    /// It has failed with this status, and one line on standard error that contains each of these.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, parts: &[&str]) {
        let err = &self.err;
        assert_eq!(self.code(), code, "{err}");
        assert!(err.starts_with("tango: ") && err.ends_with('\n') && err.lines().count() == 1, "{err:?}");
        for part in parts {
            assert!(err.contains(part), "no {part:?} in {err:?}");
        }
    }
}

/// Waits for something that must come.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "waited too long: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Bytes without a pattern, the same each time.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Checks equality without printing megabytes.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], wanted: &[u8]) {
    assert_eq!(got.len(), wanted.len());
    assert!(got == wanted, "differ at {:?}", got.iter().zip(wanted).position(|(a, b)| a != b));
}
