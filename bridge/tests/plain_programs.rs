//! Programs that know only zenoh get what a bridge sends, every number and every byte: the ones in `examples/`.

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rust_tango::Link;
use support::bridge::{Bridge, Folder, PATIENCE, free_port};

const COUNT: usize = 1000;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail if it has ended.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Starts `program` with the endpoint, the key and the count, and publishes until it has ended. Then compares what it has
/// printed with what was published.
fn gets_what_is_sent(mut program: Command) {
    let folder = Folder::new();
    let link = Link::builder().dir(folder.links()).depth(1024).mtu(64).create("quotes").unwrap();
    let producer = link.producer().unwrap();
    let port = free_port();
    let mut bridge =
        Bridge::start(&folder, &format!("publish quotes --read reliable --listen tcp/127.0.0.1:{port}"));
    bridge.wait_for("started", 1);
    let out = folder.file("out", "");
    let arguments = [format!("tcp/127.0.0.1:{port}"), "tango/**".to_owned(), COUNT.to_string()];
    program.args(arguments).stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap());
    let mut program = Program(program.spawn().unwrap());
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = program.0.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not end:\n{}", fs::read_to_string(&out).unwrap());
        let seq = producer.next_seq();
        let payload = payload(seq);
        // The bridge is the consumer that may have to catch up.
        _ = producer.publish_blocking(&payload, seq ^ 7, ((seq % 3) as u16) << 3, seq as u32);
        thread::sleep(Duration::from_micros(100));
    };
    assert!(status.success(), "{status}:\n{}", fs::read_to_string(&out).unwrap());
    let text = fs::read_to_string(&out).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("tango/quotes: link quotes, next fragment "), "{text}");
    let fragments: Vec<&str> = lines.collect();
    assert_eq!(fragments.len(), COUNT, "{text}");
    let first = fragments[0].split([' ', ',']).nth(2).unwrap();
    let first: u64 = first.parse().unwrap();
    for (seq, line) in (first..).zip(fragments) {
        let hex: String = payload(seq).iter().map(|byte| format!("{byte:02x}")).collect();
        let (sig, ctl, ts) = (seq ^ 7, (seq % 3) << 3, seq as u32);
        assert_eq!(line, format!("tango/quotes: fragment {seq}, sig {sig}, ctl {ctl}, ts {ts}: {hex}"));
    }
    let (status, said) = bridge.finish();
    assert!(status.success(), "{status}: {said}");
}

/// 0 to 63 bytes.
fn payload(seq: u64) -> Vec<u8> {
    (0..seq % 64).map(|at| (seq * 31 + at) as u8).collect()
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

#[test]
fn a_program_in_rust() {
    // Tests lie in `deps`, and examples beside that folder. `cargo test` without the name of a test builds them first.
    let folder = env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");
    let program = folder.join("plain_subscriber");
    if !program.exists() {
        let arguments = ["build", "--example", "plain_subscriber", "--manifest-path"];
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let built = Command::new(env!("CARGO")).args(arguments).arg(manifest).status().unwrap();
        assert!(built.success() && program.exists(), "cannot build the example {}", program.display());
    }
    gets_what_is_sent(Command::new(program));
}

/// With the interpreter that the variable `TANGO_TEST_PYTHON` names, or `python3`, if it has the package `eclipse-zenoh`.
#[test]
fn a_program_in_python() {
    let python = env::var_os("TANGO_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", "import zenoh"]).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        assert!(
            env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(),
            "the Python package eclipse-zenoh is missing"
        );
        eprintln!("skipped: the Python package eclipse-zenoh is missing");
        return;
    }
    let mut program = Command::new(python);
    program.arg(example("plain_subscriber.py"));
    gets_what_is_sent(program);
}
