//! `tango recv` begins where `--from` says, ends when `--count` or `--duration` says, and shows fragments as `tango peek` does.

mod common;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use common::{Exited, Running, TestFolder, assert_same, wait_until};
use nix::sys::signal::Signal;

/// A sender that waits for nobody and goes on until its input ends, and what it has sent: fragments with numbers from 1.
fn sender(folder: &TestFolder, options: &str, input: &[u8], fragments: u64) -> Running {
    let mut sender = folder.start(&format!("send x --wait-for 0 --consumers 4 {options}"));
    sender.write(input);
    folder.await_status("x", |status| status.next - status.start == fragments);
    sender
}

#[track_caller]
fn assert_received(exited: &Exited, wanted: &[u8]) {
    exited.assert_ok();
    assert_same(&exited.out, wanted);
}

#[test]
fn lines_are_counted_as_a_whole() {
    let folder = TestFolder::new();
    let text = b"short\nthis line takes several fragments\nthird\n";
    let sender = sender(&folder, "--lines --mtu 4", text, 2 + 9 + 2);
    assert_received(&folder.run("recv x --count 1"), b"short\n");
    assert_received(&folder.run("recv x --count 2"), &text[..text.len() - 6]);
    assert_received(&folder.run("recv x --count 2 --observe --lines"), &text[..text.len() - 6]);
    // With metadata, each fragment is a line.
    let meta = folder.run("recv x --count 3 --meta");
    meta.assert_ok();
    let text = String::from_utf8(meta.out).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().nth(2).unwrap().starts_with("seq 3  sig "), "{text}");
    sender.finish().assert_ok();
}

#[test]
fn fragments_are_counted_where_there_are_no_lines() {
    let folder = TestFolder::new();
    let sender = sender(&folder, "--mtu 1", b"abcdef", 6);
    assert_received(&folder.run("recv x --count 4"), b"abcd");
    // More than there are: everything, until the end.
    let receiver = folder.start("recv x --count 1000");
    receiver.await_output(6);
    sender.finish().assert_ok();
    assert_received(&receiver.wait(), b"abcdef");
}

/// Its sender goes on.
#[test]
fn time_can_be_up() {
    let folder = TestFolder::new();
    let mut sender = sender(&folder, "--lines --mtu 4", b"line\n", 1);
    // A line that does not end: eight fragments of it.
    sender.write(&[b'x'; 33]);
    folder.await_status("x", |status| status.next - status.start == 9);
    assert_received(&folder.run("recv x --duration 1s"), b"line\n");
    let none = folder.run("recv x --from next --duration 0.1 --observe");
    assert_received(&none, b"");
    sender.finish().assert_ok();
}

#[test]
fn receivers_begin_with_the_next_fragment() {
    let folder = TestFolder::new();
    let mut sender = sender(&folder, "--mtu 1 --depth 4", b"abcdef", 6);
    let receiver = folder.start("recv x --from next");
    folder.await_status("x", |status| status.consumers.len() == 1);
    sender.write(b"gh");
    receiver.await_output(2);
    sender.finish().assert_ok();
    assert_received(&receiver.wait(), b"gh");
}

#[test]
fn what_came_before_the_first_line_is_no_loss() {
    let folder = TestFolder::new();
    let sender = sender(&folder, "--lines --mtu 2", b"abcdef\nnext\n", 5);
    for from in [2, 3] {
        assert_received(&folder.run(&format!("recv x --from {from} --count 1")), b"next\n");
    }
    assert_received(&folder.run("recv x --from 1 --count 1"), b"abcdef\n");
    sender.finish().assert_ok();
}

#[test]
fn receivers_begin_with_a_number() {
    let folder = TestFolder::new();
    let sender = sender(&folder, "--mtu 1 --depth 8", b"0123456789abcdef", 16);
    assert_received(&folder.run("recv x --from 12 --count 5"), b"bcdef");
    assert_received(&folder.run("recv x --from 0xc --count 1 --observe"), b"b");
    for observe in ["", "--observe"] {
        let late = folder.run(&format!("recv x --from 5 --count 8 {observe}"));
        assert_same(&late.out, b"89abcdef");
        late.assert_failed(3, &["4 fragments of link x were lost (4 before this receiver joined)"]);
        // There has been no number 0.
        let early = folder.run(&format!("recv x --from 0 --count 8 {observe}"));
        early.assert_failed(3, &["8 fragments of link x were lost (8 before this receiver joined)"]);
    }
    let shown = folder.run("recv x --from 5 --count 1 --meta");
    shown.assert_failed(3, &["4 fragments"]);
    let text = String::from_utf8(shown.out).unwrap();
    assert!(text.starts_with("lost 4 fragments\nseq 9  sig "), "{text}");
    sender.finish().assert_ok();
}

#[test]
fn a_number_that_is_yet_to_come_is_waited_for() {
    let folder = TestFolder::new();
    for observe in ["", "--observe"] {
        let mut sender = sender(&folder, "--mtu 1 --depth 4", b"0123", 4);
        let receiver = folder.start(&format!("recv x --from 10 {observe}"));
        let too_far = folder.start(&format!("recv x --from 1000 --timeout 60 {observe}"));
        for running in [&receiver, &too_far] {
            wait_until("joining", || {
                let maps = fs::read_to_string(format!("/proc/{}/maps", running.pid())).unwrap();
                maps.contains("x/tx")
            });
        }
        folder.await_status("x", |status| !observe.is_empty() || status.consumers.len() == 2);
        sender.write(b"456789ab");
        receiver.await_output(3);
        sender.finish().assert_ok();
        assert_received(&receiver.wait(), b"9ab");
        let too_far = too_far.wait();
        too_far.assert_failed(1, &["link x has ended before fragment 1000 (--from): its last one is 12"]);
        assert!(too_far.out.is_empty());
    }
}

#[test]
fn fragments_look_as_in_peek() {
    let folder = TestFolder::new();
    let sender = sender(&folder, "--mtu 100", b"bid 101.25\n\x1b[2J and so on, for a line or two", 1);
    let peek = folder.run("peek x");
    peek.assert_ok();
    assert!(peek.out.len() > 100);
    let shown = |options: &str| {
        let recv = folder.run(&format!("recv x --count 1 {options}"));
        recv.assert_ok();
        String::from_utf8(recv.out).unwrap()
    };
    let both = shown("--meta --hex");
    assert_eq!(both.as_bytes(), peek.out);
    assert_eq!(shown("--meta") + &shown("--hex"), both);
    assert_eq!(shown("--meta").lines().count(), 1);
    sender.finish().assert_ok();
    for option in ["--meta", "--hex"] {
        folder.run(&format!("recv x --lines {option}")).assert_failed(2, &["--lines", option]);
    }
    folder.run("recv x --from first").assert_failed(2, &["first", "--from", "'next'", "number"]);
    folder.run("recv x --count 0").assert_failed(2, &["'0'", "--count", "1 or more"]);
}

/// Nothing comes that it could try to write.
#[test]
fn a_receiver_notices_that_its_output_was_closed() {
    let folder = TestFolder::new();
    let sender = sender(&folder, "", b"part", 1);
    let mut receiver = folder.start_with("recv x", Stdio::null(), Some(Stdio::piped()));
    let mut output = receiver.child.stdout.take().unwrap();
    output.read_exact(&mut [0; 4]).unwrap();
    drop(output);
    receiver.wait().assert_ok();
    sender.finish().assert_ok();
}

#[test]
fn signals_end_a_receiver_that_waits_for_a_number() {
    let folder = TestFolder::new();
    let _sender = sender(&folder, "", b"part", 1);
    let receiver = folder.start("recv x --from 10 --duration 1h --count 5");
    folder.await_status("x", |status| status.consumers.len() == 1);
    receiver.signal(Signal::SIGTERM);
    let receiver = receiver.wait();
    assert_eq!((receiver.code(), receiver.err.as_str()), (128 + 15, ""));
}
