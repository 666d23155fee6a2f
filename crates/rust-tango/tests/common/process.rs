//! Other processes: the test binary starts itself again, as a child that plays one role.
//! Parent and child talk by lines of text.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::Pid;

const ROLE: &str = "TANGO_TEST_ROLE";
const PLACE: &str = "TANGO_TEST_PLACE";

/// Reports why a test cannot run on this machine. With `TANGO_TEST_SKIP_NOTHING` set, the test fails instead.
#[track_caller]
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(), "skipping is not allowed here: {why}");
    // Written directly, because the test harness captures `eprintln!`.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Whether readers of this user map the page of the hot slot writable: on AMD's processors, where it pays.
pub(crate) fn maps_hot_slot_writable() -> bool {
    let is_amd = || std::fs::read_to_string("/proc/cpuinfo").unwrap().contains("AuthenticAMD");
    cfg!(all(target_arch = "x86_64", not(no_hints), not(portable))) && is_amd()
}

/// Whether this process has a writable mapping of a file of a link.
pub(crate) fn maps_writable(file: &str) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let is_writable = |line: &str| line.split(' ').nth(1).is_some_and(|access| access.contains('w'));
    maps.lines().any(|line| line.ends_with(file) && is_writable(line))
}

/// A private folder in memory that is deleted when this is dropped.
pub(crate) struct TestFolder(PathBuf);

impl TestFolder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = PathBuf::from(format!("/dev/shm/tango-test-{}-{count}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                // Of a process that had this id and was killed.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                created => {
                    created.unwrap();
                    return Self(path);
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The names in a folder, sorted. Empty if there is no such folder.
pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        entries => entries.unwrap(),
    };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The processor time that this process, or this thread, has used.
pub(crate) fn processor_time(of: UsageWho) -> Duration {
    let usage = getrusage(of).unwrap();
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
        .sum()
}

/// Measures three times at most: a virtual machine charges a thread for what its host did meanwhile, so a measurement
/// may be too high, but never too low.
#[track_caller]
pub(crate) fn assert_uses_less(most: Duration, of: UsageWho, mut wait: impl FnMut()) {
    let mut used = [Duration::MAX; 3];
    for attempt in &mut used {
        let before = processor_time(of);
        wait();
        *attempt = processor_time(of) - before;
        if *attempt < most {
            return;
        }
    }
    panic!("used {used:?} of processor time, and not less than {most:?}");
}

/// A child process that plays a role. It is killed when this is dropped, and exits by itself if its parent
/// dies.
pub(crate) struct Child {
    process: std::process::Child,
    /// What the child prints, until `listen` takes it.
    said: Option<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this test binary again. The child runs its test `child`, which calls [`role`].
    pub(crate) fn start(role: &str, folder: &TestFolder) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), role, folder)
    }

    /// [`Child::start`] by a command that changes what the child may do, and then runs the program that
    /// its last argument names.
    pub(crate) fn start_through(command: &str, role: &str, folder: &TestFolder) -> Self {
        // The child may be a user that cannot reach the path of this program, so it inherits the open file.
        let program = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        fcntl(&program, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let mut words = command.split(' ');
        let mut start = Command::new(words.next().unwrap());
        start.args(words).arg(format!("/proc/self/fd/{}", program.as_raw_fd()));
        Self::start_by(start, role, folder)
    }

    fn start_by(mut start: Command, role: &str, folder: &TestFolder) -> Self {
        let mut process = start
            .args(["child", "--exact", "--nocapture"])
            .env(ROLE, role)
            .env(PLACE, folder.path())
            // A value set by the caller of the tests must not reach the child, which tests the default
            // folder.
            .env_remove("TANGO_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = process.stdout.take().map(BufReader::new);
        Self { process, said }
    }

    /// [`Child::start`], and waits until the child reports that it is ready.
    #[track_caller]
    pub(crate) fn start_ready(role: &str, folder: &TestFolder) -> Self {
        let mut child = Self::start(role, folder);
        assert_eq!(child.hear(), "ready", "{role}");
        child
    }

    /// The next message that the child [`say`]s.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        self.hear_or_end().expect("the child ended without a message")
    }

    /// The next message that the child [`say`]s; `None` if it ended.
    pub(crate) fn hear_or_end(&mut self) -> Option<String> {
        let mut line = String::new();
        let said = self.said.as_mut().unwrap();
        loop {
            line.clear();
            if said.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(word) = line.trim_end().strip_prefix('@') {
                return Some(word.to_owned());
            }
        }
    }

    /// Passes every later message of the child to `each`, on another thread, and `None` when the child ends.
    pub(crate) fn listen(&mut self, mut each: impl FnMut(Option<String>) + Send + 'static) {
        let said = self.said.take().unwrap();
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if let Some(word) = line.strip_prefix('@') {
                    each(Some(word.to_owned()));
                }
            }
            each(None);
        });
    }

    /// Sends the child a message, which it checks for with [`is_told`].
    pub(crate) fn tell(&mut self, word: &str) {
        // The child may be dead.
        let _ = writeln!(self.process.stdin.as_mut().unwrap(), "{word}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends the child a signal. The child must not have been waited for.
    pub(crate) fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// Stops the child (SIGSTOP) and returns when it has stopped.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        while self.state() != 'T' {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// The state of the process as in `/proc`: R (running), S (sleeping), T (stopped), Z (zombie), ...
    pub(crate) fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    /// Waits until the child has ended, for whatever reason.
    pub(crate) fn ends(mut self) -> ExitStatus {
        let input = self.process.stdin.take();
        if let Some(said) = &mut self.said {
            let _ = said.read_to_string(&mut String::new());
        }
        let status = self.process.wait().unwrap();
        drop(input);
        status
    }

    /// Kills the child (SIGKILL) and waits for its end.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until the child has ended, and asserts that it succeeded.
    #[track_caller]
    pub(crate) fn succeeds(mut self) {
        // Its input stays open meanwhile, because the child exits when the input ends.
        let input = self.process.stdin.take();
        let mut rest = String::new();
        if let Some(said) = &mut self.said {
            said.read_to_string(&mut rest).unwrap();
        }
        let status = self.process.wait().unwrap();
        drop(input);
        assert!(status.success(), "{status}:\n{rest}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In a child process: its role and the folder of its parent.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    let folder = std::env::var_os(PLACE)?;
    std::thread::spawn(|| {
        for word in std::io::stdin().lines().map_while(Result::ok) {
            TOLD.lock().unwrap().push(word);
        }
        std::process::exit(9); // the parent is gone
    });
    Some((role, folder.into()))
}

/// Has the kernel kill this process when the thread that started it ends, even while this process is stopped.
pub(crate) fn die_with_parent() {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
}

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether the parent has sent this message.
pub(crate) fn is_told(word: &str) -> bool {
    TOLD.lock().unwrap().iter().any(|told| told == word)
}

/// Has the kernel kill this process (SIGKILL) after `time`, wherever it is then. A panic before that cancels
/// it.
pub(crate) fn die_after(time: Duration) {
    let event = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 });
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event).unwrap();
    let time = time.max(Duration::from_nanos(1));
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Dropping the timer disarms it, so that the kill does not hide the panic.
        DEATH.take();
        report(panic);
    }));
    timer.set(Expiration::OneShot(time.into()), TimerSetTimeFlags::empty()).unwrap();
    DEATH.set(Some(timer));
}

thread_local! {
    static DEATH: RefCell<Option<Timer>> = const { RefCell::new(None) };
}

/// Sends the parent a message.
pub(crate) fn say(word: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // On a line of its own, whatever the test harness has printed.
    write!(out, "\n@{word}\n").unwrap();
    out.flush().unwrap();
}

/// Attaches the first party of this process, which takes milliseconds: the kernel registers the process for
/// membarrier. A child that is to be killed within something shorter calls this first.
pub(crate) fn warm_up() {
    drop(rust_tango::Link::builder().depth(2).build().unwrap().consumer().unwrap());
}
