//! Shared by the tests of the command: a folder for each test, and processes that end with the test.
#![allow(dead_code, missing_docs)]

pub(crate) mod recordings;

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rust_tango::{Link, LinkStatus};

/// How long a test waits for something that must happen, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder for the links and files of one test. Dropping it deletes it.
pub(crate) struct TestFolder {
    path: PathBuf,
}

impl TestFolder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_path_buf() } else { env::temp_dir() };
        let path =
            base.join(format!("tango-test-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).unwrap();
        Self { path }
    }

    /// The folder of links.
    pub(crate) fn links(&self) -> PathBuf {
        self.path.join("links")
    }

    /// Takes the lock of the folder of links, until the file is closed. Removing and replacing a link waits for
    /// it meanwhile.
    pub(crate) fn lock_links(&self) -> File {
        fs::create_dir_all(self.links()).unwrap();
        let path = self.links().join(".lock");
        let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
        let lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        file
    }

    /// The names of all links.
    pub(crate) fn list(&self) -> Vec<String> {
        Link::list(self.links()).unwrap()
    }

    /// Creates a file with this content and opens it.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> File {
        fs::write(self.path.join(name), content).unwrap();
        File::open(self.path.join(name)).unwrap()
    }

    /// Starts `tango` with these arguments, separated by spaces. Standard input is a pipe, standard output
    /// a file.
    pub(crate) fn start(&self, arguments: &str) -> Running {
        self.start_with(arguments, Stdio::piped(), None)
    }

    /// Starts `tango` with standard input from a file.
    pub(crate) fn start_with_input(&self, arguments: &str, input: File) -> Running {
        self.start_with(arguments, input.into(), None)
    }

    /// Starts `tango` with this standard input. Standard output is a file unless given.
    pub(crate) fn start_with(&self, arguments: &str, input: Stdio, output: Option<Stdio>) -> Running {
        self.start_all_with(arguments, input, output, None)
    }

    /// Starts `tango` with this standard error. Standard input is a pipe.
    pub(crate) fn start_with_stderr(&self, arguments: &str, errors: Stdio) -> Running {
        self.start_all_with(arguments, Stdio::piped(), None, Some(errors))
    }

    /// Starts `tango` with these standard streams. Standard output and standard error are files unless given.
    pub(crate) fn start_all_with(
        &self,
        arguments: &str,
        input: Stdio,
        output: Option<Stdio>,
        errors: Option<Stdio>,
    ) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tango"));
        command.args(arguments.split_whitespace());
        self.start_command(command, arguments, input, output, errors)
    }

    fn start_command(
        &self,
        mut command: Command,
        arguments: &str,
        input: Stdio,
        output: Option<Stdio>,
        errors: Option<Stdio>,
    ) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = |stream: &str| self.path.join(format!("{number}.{stream}"));
        let (out, err) = (path("out"), path("err"));
        let child = command
            .env("TANGO_DIR", self.links())
            .stdin(input)
            .stdout(output.unwrap_or_else(|| File::create(&out).unwrap().into()))
            .stderr(errors.unwrap_or_else(|| File::create(&err).unwrap().into()))
            .spawn()
            .unwrap();
        Running { child, out, err, arguments: arguments.to_owned() }
    }

    /// Runs a shell command in which `$0` is `tango`.
    pub(crate) fn start_in_shell(&self, script: &str) -> Running {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_tango")]);
        self.start_command(shell, script, Stdio::piped(), None, None)
    }

    /// Runs `tango` without input until it exits.
    pub(crate) fn run(&self, arguments: &str) -> Exited {
        self.start_with(arguments, Stdio::null(), None).finish()
    }

    /// The names of the subcommands, without `help`.
    pub(crate) fn subcommands(&self) -> Vec<String> {
        let help = String::from_utf8(self.run("--help").out).unwrap();
        let list =
            help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| line.starts_with("  "));
        let names =
            list.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "help").map(String::from).collect()
    }

    /// Waits until the link exists and its status is as wanted.
    pub(crate) fn await_status(&self, link: &str, wanted: impl Fn(&LinkStatus) -> bool) {
        wait_until(&format!("status of {link}"), || {
            Link::open_in(self.links(), link).is_ok_and(|link| wanted(&link.status()))
        });
    }
}

/// Links whose senders were killed.
impl TestFolder {
    /// Starts a sender that waits for a receiver, and waits until its producer is attached to its link.
    pub(crate) fn start_sender(&self, link: &str) -> Running {
        let sender = self.start(&format!("send {link}"));
        self.await_status(link, |status| status.producer && status.producers == 1);
        sender
    }

    /// Leaves a link behind whose producer was killed and which has no consumers.
    pub(crate) fn leave_dead_link(&self, link: &str) {
        let sender = self.start_sender(link);
        sender.signal(Signal::SIGKILL);
        sender.wait();
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running `tango`. Dropping it kills the process.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) out: PathBuf,
    err: PathBuf,
    arguments: String,
}

/// The exit status and the output of a process.
pub(crate) struct Exited {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Running {
    /// Closes its standard input and waits until it exits.
    pub(crate) fn finish(mut self) -> Exited {
        drop(self.child.stdin.take());
        self.wait()
    }

    /// Waits until it exits, with its standard input open.
    pub(crate) fn wait(mut self) -> Exited {
        let mut status = None;
        wait_until(&format!("exit of tango {}", self.arguments), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let out = fs::read(&self.out).unwrap_or_default();
        let err = fs::read_to_string(&self.err).unwrap_or_default();
        Exited { status: status.unwrap(), out, err }
    }

    /// Its standard error so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Waits until it has written `len` bytes to standard output.
    pub(crate) fn await_output(&self, len: usize) {
        wait_until(&format!("output of tango {}", self.arguments), || {
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

impl Exited {
    /// The exit status, or minus the number of the signal that has terminated it.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| -self.status.signal().unwrap())
    }

    /// Asserts status 0 and an empty standard error.
    #[track_caller]
    pub(crate) fn assert_ok(&self) {
        assert_eq!((self.code(), self.err.as_str()), (0, ""));
    }

    /// Asserts this exit status, and one line on standard error that contains each of `parts`.
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

/// Whether the program can be had. With `TANGO_TEST_SKIP_NOTHING` set, it is a failure if not.
pub(crate) fn has_program(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok() {
        return true;
    }
    assert!(env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(), "{program} is missing");
    eprintln!("skipped: {program} is missing");
    false
}

/// Makes reads or writes of this end of a pipe fail where they would have to wait.
pub(crate) fn set_nonblocking(end: &impl AsFd, nonblocking: bool) {
    let flags = OFlag::from_bits_retain(fcntl(end, FcntlArg::F_GETFL).unwrap());
    let flags = if nonblocking { flags | OFlag::O_NONBLOCK } else { flags - OFlag::O_NONBLOCK };
    fcntl(end, FcntlArg::F_SETFL(flags)).unwrap();
}

/// A pipe that is full, and how many bytes are in it.
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, mut writer) = io::pipe().unwrap();
    set_nonblocking(&writer, true);
    let mut filled = 0;
    while let Ok(len) = writer.write(&[b'#'; 4096]) {
        filled += len;
    }
    set_nonblocking(&writer, false);
    (reader, writer, filled)
}

/// The signals that ask a process to terminate.
pub(crate) const TERMINATION: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Polls until `done`, and panics after [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "waited too long: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Pseudo-random bytes, the same ones each time.
pub(crate) fn random_bytes(len: usize) -> Vec<u8> {
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

/// Asserts equality without printing all bytes.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], wanted: &[u8]) {
    assert_eq!(got.len(), wanted.len());
    assert!(got == wanted, "differ at {:?}", got.iter().zip(wanted).position(|(a, b)| a != b));
}
