//! With `--verbose`, `tango send` and `tango recv` say at the end what went through, what was lost, what they waited for, and
//! why they ended; however they end.

mod common;

use std::process::Stdio;

use common::{Exited, TestFolder};
use nix::sys::signal::Signal;

/// Asserts the lines on standard error: each has these parts.
#[track_caller]
fn assert_said(exited: &Exited, code: i32, wanted: &[&[&str]]) {
    let lines: Vec<_> = exited.err.lines().collect();
    assert_eq!((exited.code(), lines.len()), (code, wanted.len()), "{lines:#?}");
    for (line, parts) in lines.iter().zip(wanted) {
        assert!(line.starts_with("tango: "), "{line}");
        for part in *parts {
            assert!(line.contains(part), "no {part:?} in {line:?}");
        }
    }
}

#[test]
fn of_everything() {
    let folder = TestFolder::new();
    let sender =
        folder.start_with_input("send x --lines --mtu 4 -v", folder.file("file", b"one\nlonger\n\n"));
    let receiver = folder.start("recv x --verbose");
    let sent: [&[&str]; 3] = [
        &["sent 3 messages in 4 fragments, 9 B, in ", " messages/s, ", "B/s)"],
        &["waited ", " for receivers to join; 0 fragments had to wait for a receiver"],
        &["ended because the input has ended"],
    ];
    assert_said(&sender.finish(), 0, &sent);
    let received: [&[&str]; 4] = [
        &["received 3 messages in 4 fragments, 9 B, in ", " messages/s, ", "B/s)"],
        &["lost 0 fragments"],
        &["waited ", " for the link"],
        &["ended because the sender closed the link"],
    ];
    assert_said(&receiver.finish(), 0, &received);
}

#[test]
fn of_losses_and_limits() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --mtu 1 --depth 8 --wait-for 0");
    sender.write(b"0123456789abcdef");
    folder.await_status("x", |status| status.next - status.start == 16);
    let said: [&[&str]; 5] = [
        &["received 3 messages in 3 fragments, 3 B"],
        &["lost 8 fragments"],
        &["waited"],
        &["ended because --count is reached"],
        &["8 fragments of link x were lost"],
    ];
    assert_said(&folder.run("recv x -v --count 3"), 3, &said);
    let said: [&[&str]; 4] =
        [&["received 0 messages"], &["lost 0"], &["waited"], &["ended because --duration is over"]];
    assert_said(&folder.run("recv x -v --from next --duration 10ms"), 0, &said);
    sender.finish().assert_ok();
}

#[test]
fn of_an_early_end() {
    let folder = TestFolder::new();
    // By a signal.
    let mut sender = folder.start("send x --verbose");
    let receiver = folder.start("recv x --verbose");
    sender.write(b"part");
    receiver.await_output(4);
    sender.signal(Signal::SIGTERM);
    assert_said(
        &sender.wait(),
        128 + 15,
        &[&["sent 1 message in 1 fragment, 4 B"], &["waited"], &["signal 15"]],
    );
    let stopped: [&[&str]; 5] = [
        &["received 1 message in 1 fragment, 4 B"],
        &["lost 0"],
        &["waited"],
        &["ended because the link was stopped"],
        &["link x was stopped: the end of the data may be missing"],
    ];
    assert_said(&receiver.wait(), 1, &stopped);
    // Because the other side has gone.
    let mut sender = folder.start("send x --verbose");
    let receiver = folder.start("recv x --verbose");
    sender.write(b"part");
    receiver.await_output(4);
    receiver.signal(Signal::SIGINT);
    let said: [&[&str]; 4] =
        [&["received 1 message"], &["lost 0"], &["waited"], &["ended because signal 2 arrived"]];
    assert_said(&receiver.wait(), 128 + 2, &said);
    let alone: [&[&str]; 4] = [
        &["sent 1 message"],
        &["waited"],
        &["ended because no receiver is left"],
        &["no receiver is left: 1 of 1"],
    ];
    assert_said(&sender.wait(), 1, &alone);
}

#[test]
fn of_a_closed_output_and_a_dead_sender() {
    let folder = TestFolder::new();
    let sender = folder.start_sender("x");
    let receiver = folder.start("recv x --verbose");
    folder.await_status("x", |status| status.consumers.len() == 1);
    sender.signal(Signal::SIGKILL);
    sender.wait();
    let dead: [&[&str]; 5] = [
        &["received 0 messages"],
        &["lost 0"],
        &["waited"],
        &["ended because the sender died"],
        &["the sender of link x died"],
    ];
    assert_said(&receiver.wait(), 1, &dead);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut sender = folder.start("send y --wait-for 0");
    let receiver = folder.start_with("recv y --verbose", Stdio::null(), Some(writer.into()));
    sender.write(b"part");
    let said: [&[&str]; 4] =
        [&["received 1 message"], &["lost 0"], &["waited"], &["ended because standard output was closed"]];
    assert_said(&receiver.wait(), 0, &said);
    sender.finish().assert_ok();
}

/// Where nobody asked, nothing is said.
#[test]
fn only_on_request() {
    let folder = TestFolder::new();
    let sender = folder.start_with_input("send x", folder.file("file", b"part"));
    folder.run("recv x").assert_ok();
    sender.finish().assert_ok();
}
