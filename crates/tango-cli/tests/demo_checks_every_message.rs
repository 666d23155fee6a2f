//! `tango demo` checks every message, prints the result, and leaves no process and no link behind, however
//! it ends.

mod common;

use std::fs;

use common::{Exited, Running, TestFolder, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[track_caller]
fn assert_success(exited: &Exited) {
    let text = String::from_utf8(exited.out.clone()).unwrap();
    assert_eq!(exited.code(), 0, "{text}{}", exited.err);
    for part in [
        "streamed",
        "observer",
        "busy processes",
        "raw line",
        "one way",
        "round trip",
        "times the raw line",
        "p99.9",
        "throughput",
        "result        ok",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// The living child processes of a process.
fn children(parent: &Running) -> Vec<Pid> {
    let is_child = |status: &str| {
        let parent = format!("PPid:\t{}", parent.pid());
        status.lines().any(|line| line == parent) && !status.contains("State:\tZ")
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let id = path.file_name()?.to_str()?.parse().ok()?;
            fs::read_to_string(path.join("status"))
                .is_ok_and(|status| is_child(&status))
                .then(|| Pid::from_raw(id))
        })
        .collect()
}

/// Starts a demonstration and waits until its first stage streams. Returns it and its child processes.
fn streaming(folder: &TestFolder) -> (Running, Vec<Pid>) {
    let demo = folder.start("demo --duration 60");
    wait_until("messages are streaming", || {
        let names = folder.list();
        names.first().is_some_and(|name| {
            rust_tango::Link::open_in(folder.links(), name).is_ok_and(|link| link.status().next > 1000)
        })
    });
    let children = children(&demo);
    assert_eq!(children.len(), 3);
    (demo, children)
}

#[track_caller]
fn assert_nothing_left(folder: &TestFolder, children: Vec<Pid>) {
    wait_until("all links are removed", || folder.list().is_empty());
    // The kernel does not reuse process ids this soon.
    wait_until("all processes have ended", || children.iter().all(|child| kill(*child, None).is_err()));
}

#[test]
fn a_demonstration_succeeds() {
    let folder = TestFolder::new();
    assert_success(&folder.run("demo --duration 0.5"));
    assert!(folder.list().is_empty());
}

#[test]
fn two_demonstrations_can_run_at_once() {
    let folder = TestFolder::new();
    let first = folder.start("demo --duration 0.5 --consumers 3 --size 1000 --depth 64");
    let second = folder.start("demo --duration 0.5 --size 0 --depth 2");
    assert_success(&first.finish());
    assert_success(&second.finish());
    assert!(folder.list().is_empty());
}

#[test]
fn a_signal_ends_it_and_its_processes() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let folder = TestFolder::new();
        let (demo, children) = streaming(&folder);
        demo.signal(signal);
        assert_eq!(demo.finish().code(), code);
        assert_nothing_left(&folder, children);
    }
}

#[test]
fn its_processes_end_if_it_is_killed() {
    let folder = TestFolder::new();
    let (demo, children) = streaming(&folder);
    demo.signal(Signal::SIGKILL);
    demo.finish();
    assert_nothing_left(&folder, children);
}

#[test]
fn it_fails_if_one_of_its_processes_dies() {
    for victim in 0..3 {
        let folder = TestFolder::new();
        let (demo, children) = streaming(&folder);
        kill(children[victim], Signal::SIGKILL).unwrap();
        let exited = demo.finish();
        assert_eq!(exited.code(), 1);
        assert!(exited.err.contains("tango: the "), "{}", exited.err);
        assert_nothing_left(&folder, children);
    }
}
