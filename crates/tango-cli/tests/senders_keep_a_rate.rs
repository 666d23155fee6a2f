//! `tango send --rate` sends no faster than it says, and can be ended meanwhile; `--sig` marks what is sent.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{TestFolder, assert_same};
use nix::sys::signal::Signal;
use rust_tango::Link;

#[test]
fn messages_are_spaced() {
    let folder = TestFolder::new();
    let receiver = folder.start("recv x");
    let lines = b"l\n".repeat(41);
    let begun = Instant::now();
    folder.start_with_input("send x --lines --rate 100", folder.file("file", &lines)).finish().assert_ok();
    // 40 intervals, of which what one sleep was late by is made up for.
    assert!(begun.elapsed() >= Duration::from_millis(380), "{:?}", begun.elapsed());
    let receiver = receiver.finish();
    receiver.assert_ok();
    assert_same(&receiver.out, &lines);
}

/// A line is one message, in however many fragments.
#[test]
fn the_second_message_waits() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --lines --mtu 2 --rate 0.001 --wait-for 0");
    sender.write(b"0123456789\nsecond\n");
    folder.await_status("x", |status| status.next - status.start == 5);
    thread::sleep(Duration::from_millis(200));
    folder.await_status("x", |status| status.next - status.start == 5);
    sender.signal(Signal::SIGTERM);
    assert_eq!(sender.wait().code(), 128 + 15);
    assert!(folder.list().is_empty());
}

#[test]
fn a_stopped_link_ends_a_sender_that_waits() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --rate 0.001 --mtu 1");
    let receiver = folder.start("recv x");
    sender.write(b"ab");
    receiver.await_output(1);
    folder.run("signal x halt").assert_ok();
    sender.wait().assert_failed(1, &["link x was stopped before everything was sent"]);
    let receiver = receiver.wait();
    receiver.assert_failed(1, &["link x was stopped"]);
    assert_same(&receiver.out, b"a");
}

#[test]
fn rates_are_positive_numbers() {
    let folder = TestFolder::new();
    for rate in ["0", "-1", "fast", "inf", "nan"] {
        folder.run(&format!("send x --rate {rate}")).assert_failed(2, &[rate, "--rate", "over 0"]);
    }
    folder.run("send x --sig -1").assert_failed(2, &["-1", "--sig", "0x7"]);
}

#[test]
fn fragments_have_the_wanted_sig() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --sig 0x1f --lines --mtu 4 --consumers 3");
    folder.await_status("x", |status| status.producer);
    let mut reader = Link::open_in(folder.links(), "x").unwrap().consumer().unwrap();
    let (plain, lines) = (folder.start("recv x"), folder.start("recv x --lines"));
    folder.await_status("x", |status| status.consumers.len() == 3);
    sender.write(b"one\nlonger\n");
    for wanted in ["one", "long", "er"] {
        let fragment = reader.wait().unwrap().unwrap();
        assert_eq!((fragment.meta.sig, fragment.payload.as_slice()), (0x1f, wanted.as_bytes()));
    }
    sender.finish().assert_ok();
    let (plain, lines) = (plain.wait(), lines.wait());
    // As the help text says: without --lines, a receiver does not know that these are lines.
    assert_same(&plain.out, b"onelonger");
    assert_same(&lines.out, b"one\nlonger\n");
    assert_eq!((plain.code(), lines.code()), (0, 0));
}
