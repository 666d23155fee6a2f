//! Other processes: the test binary runs itself again, as a child that plays one role.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::Pid;

const ROLE: &str = "TANGO_TEST_ROLE";
const PLACE: &str = "TANGO_TEST_PLACE";

/// Says why a test cannot show here what it is for. Where `TANGO_TEST_SKIP_NOTHING` is set, that is a failure.
#[track_caller]
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(), "not to be skipped: {why}");
    // Past the test harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// A private folder in memory, deleted when dropped.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/tango-test-{}-{count}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A child process in a role. Killed when dropped; ends by itself if its parent dies.
pub(crate) struct Child {
    process: std::process::Child,
    /// Until somebody else listens to it.
    said: Option<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this test binary again, for its test `child`, which calls [`role`].
    pub(crate) fn start(role: &str, place: &Place) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(ROLE, role)
            .env(PLACE, place.path())
            // Whoever runs the tests has set it; a test of the default folder means that one.
            .env_remove("TANGO_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = process.stdout.take().map(BufReader::new);
        Self { process, said }
    }

    /// The next thing that the child [`say`]s.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        self.hear_or_end().expect("the child has ended without a word")
    }

    /// The next thing that the child [`say`]s; `None` if it ends instead.
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

    /// Gives all that it [`say`]s from now on to `each`, on another thread; `None` at its end.
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

    /// Tells it a word, for which it looks with [`is_told`].
    pub(crate) fn tell(&mut self, word: &str) {
        // It may be dead.
        let _ = writeln!(self.process.stdin.as_mut().unwrap(), "{word}");
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal; it must not have been waited for.
    pub(crate) fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// Stops it (SIGSTOP), and returns when it has stopped.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        while self.state() != 'T' {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// What the kernel says that it does: R(uns), S(leeps), T (is stopped), Z (has ended), ...
    pub(crate) fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    /// Waits for its end, however that comes.
    pub(crate) fn ends(mut self) -> ExitStatus {
        let input = self.process.stdin.take();
        if let Some(said) = &mut self.said {
            let _ = said.read_to_string(&mut String::new());
        }
        let status = self.process.wait().unwrap();
        drop(input);
        status
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until it has ended by itself, with success.
    #[track_caller]
    pub(crate) fn succeeds(mut self) {
        // Its input stays open meanwhile: at the end of it, the child would give up.
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

/// The role of this process, if it is a child, and the folder of its parent.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    let place = std::env::var_os(PLACE)?;
    std::thread::spawn(|| {
        for word in std::io::stdin().lines().map_while(Result::ok) {
            TOLD.lock().unwrap().push(word);
        }
        std::process::exit(9); // the parent is gone
    });
    Some((role, place.into()))
}

/// This child is killed when the thread that started it ends; also one that is stopped then.
pub(crate) fn die_with_parent() {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
}

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether the parent has said this word.
pub(crate) fn is_told(word: &str) -> bool {
    TOLD.lock().unwrap().iter().any(|told| told == word)
}

/// The kernel kills this process (SIGKILL) after `time`, wherever it is then; unless it panics before.
pub(crate) fn killed_in(time: Duration) {
    let event = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 });
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event).unwrap();
    let time = time.max(Duration::from_nanos(1));
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Dropped, it kills no more: the death must not hide the panic.
        DEATH.take();
        report(panic);
    }));
    timer.set(Expiration::OneShot(time.into()), TimerSetTimeFlags::empty()).unwrap();
    DEATH.set(Some(timer));
}

thread_local! {
    static DEATH: RefCell<Option<Timer>> = const { RefCell::new(None) };
}

/// Tells the parent something.
pub(crate) fn say(word: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // On a line of its own, whatever the test harness has written.
    write!(out, "\n@{word}\n").unwrap();
    out.flush().unwrap();
}

/// The first party of a process takes some milliseconds: the kernel notes that the process is one that others
/// may fence. Who is to be killed in the midst of something shorter does that before.
pub(crate) fn warm_up() {
    drop(rust_tango::Link::builder().depth(2).build().unwrap().consumer().unwrap());
}
