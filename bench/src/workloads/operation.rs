//! What the commands for operation cost a producer that publishes 64 bytes as fast as it can into a link in shared memory.
//! Nobody else reads it, and the commands run on the other core.
//!
//! Those that look at counters do so every 0.1 seconds here, so that a look falls into each window. That is 10 to 100
//! times as often as they do by themselves. Those that read fragments do it as fast as they can.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::spec::{OneWay, Rows, TableSpec, Unit};
use crate::bare;
use crate::channel::{DEPTH, Lossy, Sender};
use crate::cores::pin;
use crate::message::Source;
use crate::peers::{NAME, TangoObserver};
use crate::plan::{Plan, Sample};
use crate::process;

/// The name of the workload. It needs the command.
pub(crate) const OPERATION: &str = "operation";
/// The row of a producer alone.
const NOTHING: &str = "nothing attached";
/// A command that has not started after this time is broken.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

const LS: u8 = 1;
const TOP: u8 = 2;
const EXPORT: u8 = 4;
const PEEK: u8 = 8;
const RECORD: u8 = 16;
const CAPTURE: u8 = 32;
const COUNTERS: u8 = LS | TOP | EXPORT;

pub(super) fn all() -> Vec<TableSpec> {
    let rows = Rows::<OneWay, 64, DEPTH>::new()
        .bare(NOTHING, produce::<0>)
        .extra("ls --watch", produce::<LS>)
        .extra("top", produce::<TOP>)
        .extra("export, asked every 0.1 s", produce::<EXPORT>)
        .extra("these three", produce::<COUNTERS>)
        .extra("peek --follow", produce::<PEEK>)
        .extra("record", produce::<RECORD>)
        .extra("capture", produce::<CAPTURE>)
        .extra("all six", produce::<{ COUNTERS | PEEK | RECORD | CAPTURE }>);
    let title = "Throughput, 64 bytes, with commands attached";
    vec![TableSpec::new(OPERATION, OPERATION, title, Unit::MillionPerSecond, 0.0, rows.rows)]
}

/// The command: what `TANGO_COMMAND` names, or what `cargo build --release` has built at the root of the repository.
pub(crate) fn command() -> Option<PathBuf> {
    let named = std::env::var_os("TANGO_COMMAND").map(PathBuf::from);
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/tango");
    // Children start elsewhere.
    fs::canonicalize(named.unwrap_or_else(built)).ok()
}

fn produce<const COMMANDS: u8>(plan: &Plan) -> Sample {
    let folder = process::channel_folder("there");
    let link = <TangoObserver as Lossy<64, DEPTH>>::make(Some(folder.path()));
    let mut tx = <TangoObserver as Lossy<64, DEPTH>>::connect(link);
    let attached = Attached::start(COMMANDS, folder.path(), plan.cores.consumer);
    let mut source = Source::<64>::new();
    attached.until_ready(|| tx.send(source.message(0)));
    bare::alone::<64>(plan, |source, _, number| tx.send(source.message(number)))
}

/// Commands that run until this is dropped.
#[derive(Default)]
struct Attached {
    running: Vec<Running>,
    asker: Option<Asker>,
}

/// A command, and the file that it writes. When that has this size, the command has begun to look at the link.
struct Running {
    process: Child,
    writes: PathBuf,
    ready_at: u64,
}

impl Attached {
    fn start(commands: u8, folder: &Path, core: usize) -> Self {
        // The commands run where the thread that starts them does.
        thread::scope(|scope| {
            let start = || {
                pin(core);
                Self::start_here(commands, folder)
            };
            scope.spawn(start).join().expect("the commands start")
        })
    }

    fn start_here(commands: u8, folder: &Path) -> Self {
        let tango = command().expect("it was looked for before");
        let tango = tango.to_str().expect("the name of the command is UTF-8");
        let path =
            |name| folder.join(name).into_os_string().into_string().expect("the name of the folder is UTF-8");
        let (recording, capture) = (path("recording"), path("captured"));
        // It needs a terminal.
        let screen = format!("stty rows 24 cols 80; exec '{tango}' top --interval 0.1");
        let possible: [(u8, &str, &[&str], &str, u64); 6] = [
            (LS, tango, &["ls", "--watch", "0.1"], &path("ls"), 1),
            (TOP, "script", &["-q", "-f", "-c", &screen, "/dev/null"], &path("top"), 100),
            (EXPORT, tango, &["export", "--listen", "127.0.0.1:0"], &path("export"), 1),
            (PEEK, tango, &["peek", NAME, "--follow"], &path("peek"), 1),
            (
                RECORD,
                tango,
                &["record", NAME, "--output", &recording, "--flush-every", "0.1"],
                &recording,
                1_000,
            ),
            (CAPTURE, tango, &["capture", NAME, "--output", &capture], &capture, 1_000),
        ];
        let mut attached = Self::default();
        for (command, program, arguments, writes, ready_at) in possible {
            if commands & command == 0 {
                continue;
            }
            let writes = PathBuf::from(writes);
            let output = if command & (RECORD | CAPTURE) != 0 {
                Stdio::null()
            } else {
                File::create(&writes).expect("the folder can be written").into()
            };
            let process = Command::new(program)
                .args(arguments)
                .env("TANGO_DIR", folder)
                .stdin(Stdio::piped())
                .stdout(output)
                .spawn()
                .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
            if command == EXPORT {
                attached.asker = Some(Asker::start(&writes));
            }
            attached.running.push(Running { process, writes, ready_at });
        }
        attached
    }

    /// Publishes until all commands look at the link.
    fn until_ready(&self, mut publish: impl FnMut()) {
        let begin = Instant::now();
        for Running { writes, ready_at, .. } in &self.running {
            while fs::metadata(writes).map_or(0, |file| file.len()) < *ready_at {
                assert!(begin.elapsed() < PATIENCE, "{} has not begun", writes.display());
                publish();
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(Asker { ended, thread }) = self.asker.take() {
            ended.store(true, Ordering::Relaxed);
            let answers = thread.join().expect("export answers");
            assert!(answers > 0, "export has not answered");
        }
        for Running { process, .. } in &mut self.running {
            // It may have ended, which is an error that its output shows.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A thread that asks `tango export` as Prometheus does. It returns how many answers it got.
struct Asker {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Asker {
    fn start(says: &Path) -> Self {
        let (ended, says) = (Arc::new(AtomicBool::new(false)), says.to_owned());
        let is_over = Arc::clone(&ended);
        let ask = move || {
            let mut answers = 0;
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(LOOK_EVERY);
                let text = fs::read_to_string(&says).unwrap_or_default();
                // http://ADDRESS/metrics
                let Some(address) = text.trim().split('/').nth(2) else { continue };
                match ask(address) {
                    Ok(answer) => {
                        assert!(answer.contains("tango_link_up"), "export says: {answer}");
                        answers += 1;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}"),
                }
            }
            answers
        };
        Self { ended, thread: thread::spawn(ask) }
    }
}

fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
