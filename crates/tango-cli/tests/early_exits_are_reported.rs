//! If a sender or receiver dies, leaves or is stopped before the end, the others exit and report what is
//! missing.

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{TestFolder, random_bytes, wait_until};
use nix::sys::signal::Signal;

#[test]
fn receivers_report_a_killed_sender() {
    let folder = TestFolder::new();
    let receiver = folder.start("recv x");
    let mut sender = folder.start("send x");
    sender.write(b"part");
    receiver.await_output(4);
    sender.signal(Signal::SIGKILL);
    assert_eq!(sender.wait().code(), -9);
    let receiver = receiver.finish();
    receiver.assert_failed(1, &["link x", "died"]);
    assert_eq!(receiver.out, b"part");
    folder.run("rm x").assert_ok();
    assert!(folder.list().is_empty());
}

#[test]
fn a_new_sender_can_replace_a_killed_one() {
    let folder = TestFolder::new();
    folder.leave_dead_link("x");
    let sender = folder.start_with_input("send x", folder.file("file", b"new"));
    folder.await_status("x", |status| status.producer);
    let receiver = folder.start("recv x").finish();
    receiver.assert_ok();
    assert_eq!(receiver.out, b"new");
    sender.finish().assert_ok();
}

/// The receiver holds the sender back when it is killed, because its own output is not read.
#[test]
fn a_sender_reports_a_killed_receiver() {
    let folder = TestFolder::new();
    let receiver = folder.start_with("recv x", Stdio::null(), Some(Stdio::piped()));
    let sender = folder.start_with_input("send x --depth 4", folder.file("file", &random_bytes(4 << 20)));
    folder.await_status("x", |status| {
        status.backpressure > 0 && status.held_by == Some(0) && status.consumers.iter().any(|one| one.lag > 0)
    });
    let ls = String::from_utf8(folder.run("ls").out).unwrap();
    assert!(ls.contains(" holding"), "{ls}");
    receiver.signal(Signal::SIGKILL);
    receiver.finish();
    sender.finish().assert_failed(1, &["1 receiver of link x died before the end"]);
    assert!(folder.list().is_empty());
}

/// Like other filters, the receiver exits with 0 when its output is closed. Its sender reports that data
/// was not read.
#[test]
fn a_receiver_with_closed_output_succeeds_and_its_sender_fails() {
    let folder = TestFolder::new();
    let mut receiver = folder.start_with("recv x", Stdio::null(), Some(Stdio::piped()));
    drop(receiver.child.stdout.take());
    let sender = folder.start_with_input("send x", folder.file("file", &random_bytes(4 << 20)));
    receiver.finish().assert_ok();
    sender.finish().assert_failed(1, &["1 of 1 receivers of link x left before the end"]);
    // With --wait-for 0, the sender does not report receivers that leave.
    let mut sender = folder.start("send x --wait-for 0");
    let receiver = folder.start("recv x");
    sender.write(b"part");
    receiver.await_output(4);
    receiver.signal(Signal::SIGTERM);
    receiver.finish();
    sender.write(b"more");
    sender.finish().assert_ok();
}

/// Its input is still open.
#[test]
fn a_sender_exits_when_the_last_receiver_is_gone() {
    for (by, end) in
        [(Signal::SIGKILL, "1 receiver of link x died"), (Signal::SIGTERM, "1 of 1 receivers of link x left")]
    {
        let folder = TestFolder::new();
        let mut sender = folder.start("send x");
        let receiver = folder.start("recv x");
        sender.write(b"part");
        receiver.await_output(4);
        receiver.signal(by);
        sender.wait().assert_failed(1, &["no receiver is left", end, "before the end"]);
        assert!(folder.list().is_empty());
    }
}

#[test]
fn a_sender_exits_even_if_its_error_cannot_be_written() {
    let folder = TestFolder::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut sender = folder.start_with_stderr("send x", full.into());
    let receiver = folder.start("recv x");
    sender.write(b"part");
    receiver.await_output(4);
    receiver.signal(Signal::SIGKILL);
    assert_eq!(sender.wait().code(), 1);
}

/// Receivers must not mistake a read error of the sender's input for the end of the data.
#[test]
fn receivers_report_that_the_input_failed() {
    let folder = TestFolder::new();
    let sender = folder.start_with_input("send x", fs::File::open("/").unwrap());
    let receiver = folder.start("recv x");
    sender.finish().assert_failed(1, &["cannot read standard input"]);
    receiver.finish().assert_failed(1, &["link x was stopped"]);
}

/// Nothing has been sent before the awaited receivers have joined.
#[test]
fn a_receiver_that_dies_before_the_start_does_not_count() {
    let folder = TestFolder::new();
    let sender = folder.start_with_input("send x --wait-for 2", folder.file("file", b"all of it"));
    let early = folder.start("recv x");
    folder.await_status("x", |status| status.consumers.iter().any(|consumer| consumer.alive));
    early.signal(Signal::SIGKILL);
    early.finish();
    let receivers = [folder.start("recv x"), folder.start("recv x")];
    sender.finish().assert_ok();
    for receiver in receivers {
        assert_eq!(receiver.finish().out, b"all of it");
    }
}

/// The receiver that reuses its slot did not get the earlier data.
#[test]
fn a_killed_receiver_is_reported_even_if_another_replaces_it() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --wait-for 2");
    let (steady, killed) = (folder.start("recv x"), folder.start("recv x"));
    sender.write(b"part");
    steady.await_output(4);
    killed.await_output(4);
    killed.signal(Signal::SIGKILL);
    wait_until("the sender reports the death at once", || {
        sender.stderr().contains("a receiver of link x died")
    });
    let next = folder.start("recv x");
    folder.await_status("x", |status| status.consumers.iter().filter(|consumer| consumer.alive).count() == 2);
    steady.await_output(4);
    let exited = sender.finish();
    let messages =
        "tango: a receiver of link x died (1 left)\ntango: 1 receiver of link x died before the end\n";
    assert_eq!((exited.code(), exited.err.as_str()), (1, messages));
    steady.finish().assert_ok();
    drop(next);
}

/// The receiver that reuses its slot did not get the earlier data.
#[test]
fn a_receiver_that_leaves_is_reported_even_if_another_replaces_it() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --wait-for 2");
    let (steady, leaving) = (folder.start("recv x"), folder.start("recv x"));
    sender.write(b"part");
    steady.await_output(4);
    leaving.await_output(4);
    leaving.signal(Signal::SIGTERM);
    wait_until("the sender reports at once that one has left", || {
        sender.stderr().contains("a receiver of link x left before the end (1 remain)")
    });
    let next = folder.start("recv x");
    folder.await_status("x", |status| status.consumers.iter().filter(|consumer| consumer.alive).count() == 2);
    let exited = sender.finish();
    assert!(exited.code() == 1 && exited.err.contains("1 of 2 receivers of link x left before the end"));
    steady.finish().assert_ok();
    drop(next);
}

#[test]
fn signals_stop_a_sender_and_remove_its_link() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let folder = TestFolder::new();
        // One sender waits for a receiver, the other for input.
        let waiting = folder.start("send alone");
        let mut sender = folder.start("send x");
        let receiver = folder.start("recv x");
        sender.write(b"part");
        receiver.await_output(4);
        folder.await_status("alone", |status| status.producer);
        for (sender, name) in [(sender, "x"), (waiting, "alone")] {
            sender.signal(signal);
            let exited = sender.wait();
            assert_eq!((exited.code(), exited.err.as_str()), (code, ""));
            assert!(!folder.list().contains(&name.to_owned()));
        }
        receiver.finish().assert_failed(1, &["link x was stopped"]);
    }
}

#[test]
fn a_truncated_file_is_reported() {
    for file in ["tx", "rx.0", "ctl"] {
        let folder = TestFolder::new();
        let mut sender = folder.start("send x");
        let receiver = folder.start("recv x");
        sender.write(b"part");
        receiver.await_output(4);
        let path = folder.links().join("x").join(file);
        OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
        // A process that maps the file only now finds it too short.
        folder.run("ls").assert_failed(1, &["x: ", file, "too short"]);
        receiver.finish().assert_failed(1, &["memory of link x is gone", "tango rm --force x"]);
        sender.finish().assert_failed(1, &["memory of link x is gone", "tango rm --force x"]);
        fs::remove_dir_all(folder.links().join("x")).unwrap();
    }
}

/// The file is truncated and restored again and again while `tango ls` reads it.
#[test]
fn ls_reports_a_file_that_is_truncated_meanwhile() {
    let folder = TestFolder::new();
    folder.leave_dead_link("x");
    let path = folder.links().join("x/tx");
    let whole = fs::read(&path).unwrap();
    let done = AtomicBool::new(false);
    let listed: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            while !done.load(Ordering::Relaxed) {
                file.set_len(0).unwrap();
                file.write_all_at(&whole, 0).unwrap();
            }
        });
        let listed = (0..100).map(|_| folder.run("ls")).collect();
        done.store(true, Ordering::Relaxed);
        listed
    });
    let (succeeded, failed): (Vec<_>, Vec<_>) = listed.iter().partition(|ls| ls.code() == 0);
    succeeded.iter().for_each(|ls| ls.assert_ok());
    failed.iter().for_each(|ls| ls.assert_failed(1, &[]));
    assert!(!failed.is_empty(), "the file was never truncated while ls read it");
}
