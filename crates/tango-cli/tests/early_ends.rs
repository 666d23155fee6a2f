//! Whoever dies, leaves or is stopped: the others end, and say what is missing.

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Place, noise, wait_until};
use nix::sys::signal::Signal;

#[test]
fn a_killed_sender() {
    let place = Place::new();
    let receiver = place.start("recv x");
    let mut sender = place.start("send x");
    sender.write(b"part");
    receiver.await_output(4);
    sender.signal(Signal::SIGKILL);
    assert_eq!(sender.end_by_itself().code(), -9);
    let receiver = receiver.end();
    receiver.assert_failed(1, &["link x", "died"]);
    assert_eq!(receiver.out, b"part");
    place.run("rm x").assert_ok();
    assert!(place.list().is_empty());
}

#[test]
fn a_killed_sender_is_replaced_by_the_next() {
    let place = Place::new();
    let sender = place.start("send x");
    place.await_status("x", |status| status.producer);
    sender.signal(Signal::SIGKILL);
    sender.end_by_itself();
    let sender = place.start_with_input("send x", place.file("file", b"new"));
    place.await_status("x", |status| status.producer);
    let receiver = place.start("recv x").end();
    receiver.assert_ok();
    assert_eq!(receiver.out, b"new");
    sender.end().assert_ok();
}

/// A sender with a receiver that cannot go on, because nobody reads what it writes.
#[test]
fn a_killed_receiver() {
    let place = Place::new();
    let receiver = place.start_with("recv x", Stdio::null(), Some(Stdio::piped()));
    let sender = place.start_with_input("send x --depth 4", place.file("file", &noise(4 << 20)));
    place.await_status("x", |status| {
        status.backpressure > 0 && status.held_by == Some(0) && status.consumers.iter().any(|one| one.lag > 0)
    });
    let ls = String::from_utf8(place.run("ls").out).unwrap();
    assert!(ls.contains(" holding"), "{ls}");
    receiver.signal(Signal::SIGKILL);
    receiver.end();
    sender.end().assert_failed(1, &["receivers of link x died"]);
    assert!(place.list().is_empty());
}

/// The output of a receiver ends like that of any filter whose reader has seen enough. To its sender, not all was read.
#[test]
fn a_receiver_that_nobody_reads() {
    let place = Place::new();
    let mut receiver = place.start_with("recv x", Stdio::null(), Some(Stdio::piped()));
    drop(receiver.child.stdout.take());
    let sender = place.start_with_input("send x", place.file("file", &noise(4 << 20)));
    receiver.end().assert_ok();
    sender.end().assert_failed(1, &["1 of 1 receivers of link x left before the end"]);
    // Who has asked for none takes them as they come, and go.
    let mut sender = place.start("send x --wait-for 0");
    let receiver = place.start("recv x");
    sender.write(b"part");
    receiver.await_output(4);
    receiver.signal(Signal::SIGTERM);
    receiver.end();
    sender.write(b"more");
    sender.end().assert_ok();
}

/// With input that would go on for ever.
#[test]
fn a_sender_without_receivers_does_not_go_on() {
    for by in [Signal::SIGKILL, Signal::SIGTERM] {
        let place = Place::new();
        let mut sender = place.start("send x");
        let receiver = place.start("recv x");
        sender.write(b"part");
        receiver.await_output(4);
        receiver.signal(by);
        sender.end_by_itself().assert_failed(1, &["no receiver is left", "link x", "died before the end"]);
        assert!(place.list().is_empty());
    }
}

/// Also where nobody can be told.
#[test]
fn a_sender_whose_words_are_lost_ends_all_the_same() {
    let place = Place::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut sender = place.start_with_errors_to("send x", full.into());
    let receiver = place.start("recv x");
    sender.write(b"part");
    receiver.await_output(4);
    receiver.signal(Signal::SIGKILL);
    assert_eq!(sender.end_by_itself().code(), 1);
}

/// What cannot be read is not there to be sent; who has got a part of it must not take it for all.
#[test]
fn an_input_that_fails_is_no_end() {
    let place = Place::new();
    let sender = place.start_with_input("send x", fs::File::open("/").unwrap());
    let receiver = place.start("recv x");
    sender.end().assert_failed(1, &["cannot read standard input"]);
    receiver.end().assert_failed(1, &["link x was stopped"]);
}

/// Before those that were waited for were there, nothing was sent.
#[test]
fn who_dies_before_it_begins_is_no_loss() {
    let place = Place::new();
    let sender = place.start_with_input("send x --wait-for 2", place.file("file", b"all of it"));
    let early = place.start("recv x");
    place.await_status("x", |status| status.consumers.iter().any(|consumer| consumer.alive));
    early.signal(Signal::SIGKILL);
    early.end();
    let receivers = [place.start("recv x"), place.start("recv x")];
    sender.end().assert_ok();
    for receiver in receivers {
        assert_eq!(receiver.end().out, b"all of it");
    }
}

/// Whoever takes its slot has not read what it read.
#[test]
fn a_killed_receiver_is_not_made_good_by_the_next() {
    let place = Place::new();
    let mut sender = place.start("send x --wait-for 2");
    let (steady, killed) = (place.start("recv x"), place.start("recv x"));
    sender.write(b"part");
    steady.await_output(4);
    killed.await_output(4);
    killed.signal(Signal::SIGKILL);
    wait_until("what the sender says at once", || sender.errors().contains("a receiver of link x died"));
    let next = place.start("recv x");
    place.await_status("x", |status| status.consumers.iter().filter(|consumer| consumer.alive).count() == 2);
    steady.await_output(4);
    let ended = sender.end();
    let told =
        "tango: a receiver of link x died: 1 left\ntango: 1 of the receivers of link x died before the end\n";
    assert_eq!((ended.code(), ended.err.as_str()), (1, told));
    steady.end().assert_ok();
    drop(next);
}

#[test]
fn signals_stop_a_sender_and_remove_its_link() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let place = Place::new();
        // One that waits for receivers, and one that waits for input.
        let waiting = place.start("send alone");
        let mut sender = place.start("send x");
        let receiver = place.start("recv x");
        sender.write(b"part");
        receiver.await_output(4);
        place.await_status("alone", |status| status.producer);
        for (sender, name) in [(sender, "x"), (waiting, "alone")] {
            sender.signal(signal);
            let ended = sender.end_by_itself();
            assert_eq!((ended.code(), ended.err.as_str()), (code, ""));
            assert!(!place.list().contains(&name.to_owned()));
        }
        receiver.end().assert_failed(1, &["link x was stopped"]);
    }
}

#[test]
fn a_truncated_file_is_explained() {
    for file in ["tx", "rx.0", "ctl"] {
        let place = Place::new();
        let mut sender = place.start("send x");
        let receiver = place.start("recv x");
        sender.write(b"part");
        receiver.await_output(4);
        let path = place.links().join("x").join(file);
        OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
        // Who has not mapped it yet finds it too short.
        place.run("ls").assert_failed(1, &["x: ", file, "too short"]);
        receiver.end().assert_failed(1, &["memory of link x is gone", "tango rm --force x"]);
        sender.end().assert_failed(1, &["memory of link x is gone", "tango rm --force x"]);
        fs::remove_dir_all(place.links().join("x")).unwrap();
    }
}

/// Cut short and made whole again while it is looked at: a line, whatever the moment.
#[test]
fn a_file_that_is_truncated_while_it_is_listed() {
    let place = Place::new();
    let sender = place.start("send x");
    place.await_status("x", |status| status.producer);
    sender.signal(Signal::SIGKILL);
    sender.end_by_itself();
    let path = place.links().join("x/tx");
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
        let listed = (0..100).map(|_| place.run("ls")).collect();
        done.store(true, Ordering::Relaxed);
        listed
    });
    let (well, badly): (Vec<_>, Vec<_>) = listed.iter().partition(|ls| ls.code() == 0);
    well.iter().for_each(|ls| ls.assert_ok());
    badly.iter().for_each(|ls| ls.assert_failed(1, &[]));
    assert!(!badly.is_empty(), "it was never looked at in the wrong moment");
}
