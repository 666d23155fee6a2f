//! `SIGINT`, `SIGTERM` and `SIGHUP` end every command, even if its parent has blocked them, and even if it
//! waits for standard output. A receiver ends in good order.

mod common;

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::{Running, TERMINATION, TestFolder, full_pipe, random_bytes, set_nonblocking, wait_until};
use nix::sys::signal::{SigSet, Signal};

/// Starts commands that inherit blocked signals.
fn with_signals_blocked<T>(start: impl FnOnce() -> T) -> T {
    let signals = SigSet::from_iter(TERMINATION);
    signals.thread_block().unwrap();
    let started = start();
    signals.thread_unblock().unwrap();
    started
}

/// Waits until the process sleeps, in this or another system call.
fn await_sleep(process: &Running) {
    wait_until("sleep of the process", || {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
        status.contains("State:\tS")
    });
    thread::sleep(Duration::from_millis(50));
}

#[test]
fn blocked_signals_end_a_receiver() {
    let folder = TestFolder::new();
    for signal in TERMINATION {
        let waiting = with_signals_blocked(|| folder.start("recv nobody-sends"));
        await_sleep(&waiting);
        waiting.signal(signal);
        let exited = waiting.wait();
        assert_eq!((exited.code(), exited.err.as_str()), (128 + signal as i32, ""));

        let mut sender = folder.start("send x --wait-for 0");
        let receiver = with_signals_blocked(|| folder.start("recv x"));
        sender.write(b"part");
        receiver.await_output(4);
        receiver.signal(signal);
        assert_eq!(receiver.wait().code(), 128 + signal as i32);
        sender.finish().assert_ok();
    }
}

#[test]
fn blocked_signals_end_a_sender_and_the_demonstration() {
    let folder = TestFolder::new();
    for signal in TERMINATION {
        let sender = with_signals_blocked(|| folder.start("send x"));
        folder.await_status("x", |status| status.producer);
        let demo = with_signals_blocked(|| folder.start("demo --duration 600"));
        demo.await_output(20);
        for running in [sender, demo] {
            running.signal(signal);
            assert_eq!(running.wait().code(), 128 + signal as i32);
        }
        assert!(folder.list().is_empty());
    }
}

#[test]
fn commands_that_wait_for_output_end() {
    let folder = TestFolder::new();
    folder.leave_dead_link("dead");
    for (number, arguments) in ["ls", "--help", "rm --dead"].into_iter().enumerate() {
        for nonblocking in [false, true] {
            let (_reader, writer, _) = full_pipe();
            set_nonblocking(&writer, nonblocking);
            let running =
                with_signals_blocked(|| folder.start_with(arguments, Stdio::null(), Some(writer.into())));
            await_sleep(&running);
            let signal = TERMINATION[number];
            running.signal(signal);
            assert_eq!(running.wait().code(), -(signal as i32), "{arguments}");
        }
    }
}

#[test]
fn a_demonstration_that_waits_for_output_ends_and_removes_its_links() {
    for nonblocking in [false, true] {
        let folder = TestFolder::new();
        let (_reader, writer, _) = full_pipe();
        set_nonblocking(&writer, nonblocking);
        let demo = folder.start_with("demo --duration 600", Stdio::null(), Some(writer.into()));
        await_sleep(&demo);
        demo.signal(Signal::SIGTERM);
        demo.wait().assert_failed(143, &["signal 15", "standard output"]);
        assert!(folder.list().is_empty());
    }
}

/// Its sender knows that it has left, and its slot is free.
#[test]
fn a_receiver_leaves_in_good_order() {
    for signal in TERMINATION {
        let folder = TestFolder::new();
        let mut awaiting = folder.start("send awaiting");
        let mut indifferent = folder.start("send indifferent --wait-for 0");
        let receivers = ["awaiting", "indifferent"].map(|link| folder.start(&format!("recv {link}")));
        awaiting.write(b"part");
        indifferent.write(b"part");
        for receiver in receivers {
            receiver.await_output(4);
            receiver.signal(signal);
            let exited = receiver.wait();
            assert_eq!((exited.code(), exited.err.as_str()), (128 + signal as i32, ""));
            assert_eq!(exited.out, b"part");
        }
        awaiting.wait().assert_failed(1, &["1 of 1 receivers of link awaiting left before the end"]);
        folder.await_status("indifferent", |status| status.consumers.is_empty() && status.reaped == 0);
        let next = folder.start("recv indifferent");
        next.await_output(4);
        indifferent.finish().assert_ok();
        assert_eq!(next.finish().out, b"part");
    }
}

/// What it writes ends with a whole line, and nothing is missing before.
#[test]
fn a_receiver_writes_what_it_has_received() {
    let folder = TestFolder::new();
    let input: String = (0..2_000_000).map(|number| format!("line {number}\n")).collect();
    let sender = folder.start_with_input("send x --lines --depth 64", folder.file("file", input.as_bytes()));
    let receiver = folder.start("recv x --lines");
    receiver.await_output(100_000);
    receiver.signal(Signal::SIGTERM);
    let exited = receiver.wait();
    assert_eq!((exited.code(), exited.err.as_str()), (143, ""));
    assert!(exited.out.len() < input.len(), "the signal came too late");
    assert!(input.as_bytes().starts_with(&exited.out) && exited.out.ends_with(b"\n"));
    sender.wait().assert_failed(1, &["left before the end"]);
}

#[test]
fn a_receiver_that_waits_for_output_leaves() {
    for nonblocking in [false, true] {
        let folder = TestFolder::new();
        let (_reader, writer, _) = full_pipe();
        set_nonblocking(&writer, nonblocking);
        let sender = folder.start_with_input("send x", folder.file("file", &random_bytes(1 << 20)));
        let receiver = folder.start_with("recv x", Stdio::null(), Some(writer.into()));
        folder.await_status("x", |status| status.consumers.iter().any(|consumer| consumer.lag > 0));
        await_sleep(&receiver);
        receiver.signal(Signal::SIGTERM);
        receiver.wait().assert_failed(143, &["signal 15", "standard output", "missing"]);
        sender.wait().assert_failed(1, &["left before the end"]);
    }
}
