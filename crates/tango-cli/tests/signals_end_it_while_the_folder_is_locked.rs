//! A signal ends `tango` even if another process holds the lock of the folder of links, for example because it
//! was stopped while it removed a link. The library waits for that lock for ten seconds.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{Running, TestFolder, wait_until};
use nix::sys::signal::Signal;

const SIGNALS: [(Signal, i32); 3] = [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)];

/// Waits until the process, or a child of it, waits for the lock.
fn await_lock(process: &Running) {
    let waits = |id: &str| {
        let files = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file.ends_with(".lock"))
    };
    let id = process.pid().to_string();
    wait_until("a process that waits for the lock", || {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        waits(&id) || children.split_whitespace().any(waits)
    });
}

/// Sends the signal. The process must end with this exit status long before the library stops waiting.
#[track_caller]
fn assert_ends(process: Running, (signal, code): (Signal, i32)) {
    let begin = Instant::now();
    process.signal(signal);
    let exited = process.wait();
    assert_eq!(exited.code(), code, "{}", exited.err);
    assert!(!exited.err.contains("tango:"), "{}", exited.err);
    assert!(begin.elapsed() < Duration::from_secs(7), "{:?}", begin.elapsed());
}

#[test]
fn while_it_makes_a_link() {
    let folder = TestFolder::new();
    folder.leave_dead_link("x");
    let lock = folder.lock_links();
    for signal in SIGNALS {
        let sender = folder.start("send x");
        await_lock(&sender);
        assert_ends(sender, signal);
    }
    drop(lock);
    let sender = folder.start_sender("x");
    assert_ends(sender, SIGNALS[0]);
    assert!(folder.list().is_empty());
}

#[test]
fn while_it_waits_for_receivers() {
    let folder = TestFolder::new();
    for signal in SIGNALS {
        let sender = folder.start_sender("x");
        let lock = folder.lock_links();
        assert_ends(sender, signal);
        // The link could not be removed, but it is stopped, and no process holds it.
        drop(lock);
        assert_eq!(folder.run("rm --dead").out, b"removed x\n");
    }
}

#[test]
fn while_it_removes_its_link() {
    let folder = TestFolder::new();
    for signal in SIGNALS {
        let mut sender = folder.start("send x --wait-for 0");
        folder.await_status("x", |status| status.producer);
        let _lock = folder.lock_links();
        drop(sender.child.stdin.take());
        await_lock(&sender);
        assert_ends(sender, signal);
    }
}

#[test]
fn while_a_failed_sender_removes_its_link() {
    let folder = TestFolder::new();
    for signal in SIGNALS {
        let mut sender = folder.start("send x");
        folder.await_status("x", |status| status.producer);
        let receiver = folder.start("recv x");
        sender.write(b"part");
        receiver.await_output(4);
        let _lock = folder.lock_links();
        receiver.signal(Signal::SIGKILL);
        receiver.wait();
        await_lock(&sender);
        assert_ends(sender, signal);
    }
}

#[test]
fn while_it_demonstrates() {
    let folder = TestFolder::new();
    for signal in SIGNALS {
        let demo = folder.start("demo --duration 60");
        wait_until("a link of the demonstration", || !folder.list().is_empty());
        let lock = folder.lock_links();
        assert_ends(demo, signal);
        drop(lock);
        folder.run("rm --dead").assert_ok();
        assert!(folder.list().is_empty(), "one of its processes lives on: {:?}", folder.list());
    }
}

#[test]
fn while_a_demonstration_ends() {
    let folder = TestFolder::new();
    for signal in SIGNALS {
        let demo = folder.start("demo --duration 0.5");
        wait_until("a link of the demonstration", || !folder.list().is_empty());
        let _lock = folder.lock_links();
        await_lock(&demo);
        assert_ends(demo, signal);
    }
}
