//! Other processes: the test binary runs itself again, as a child that plays one role.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

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
    said: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this test binary again, for its test `child`, which calls [`role`].
    pub(crate) fn start(role: &str, place: &Place) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(ROLE, role)
            .env(PLACE, place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self { process, said }
    }

    /// The next thing that the child [`say`]s.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "the child has ended without a word");
            if let Some(word) = line.trim_end().strip_prefix('@') {
                return word.to_owned();
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it has ended by itself, whatever way.
    pub(crate) fn ends(mut self) -> ExitStatus {
        let input = self.process.stdin.take();
        let _ = self.said.read_to_string(&mut String::new());
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
        self.said.read_to_string(&mut rest).unwrap();
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
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(9); // the parent is gone
    });
    Some((role, place.into()))
}

/// Tells the parent something.
pub(crate) fn say(word: impl std::fmt::Display) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // On a line of its own, whatever the test harness has written.
    write!(out, "\n@{word}\n").unwrap();
    out.flush().unwrap();
}
