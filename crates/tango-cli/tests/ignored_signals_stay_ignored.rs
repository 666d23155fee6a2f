//! A signal that a command was told to ignore does not end it: `SIGHUP` under `nohup`, `SIGINT` in a background
//! job of a script, `SIGCHLD` of a parent that does not wait for its children.

mod common;

use common::{TERMINATION, TestFolder, wait_until};
use nix::sys::signal::Signal;

const IGNORE_ALL: &str = "trap '' INT TERM HUP";

#[test]
fn a_sender_and_a_receiver_go_on() {
    let folder = TestFolder::new();
    for options in ["", "--lines"] {
        let receiver = folder.start_in_shell(&format!("{IGNORE_ALL}; exec $0 recv x {options}"));
        let mut sender = folder.start_in_shell(&format!("{IGNORE_ALL}; exec $0 send x {options}"));
        sender.write(b"before\n");
        receiver.await_output(7);
        for signal in TERMINATION {
            sender.signal(signal);
            receiver.signal(signal);
        }
        sender.write(b"after\n");
        sender.finish().assert_ok();
        let receiver = receiver.finish();
        receiver.assert_ok();
        assert_eq!(receiver.out, b"before\nafter\n");
    }
}

#[test]
fn the_demonstration_goes_on() {
    let folder = TestFolder::new();
    let demo = folder.start_in_shell(&format!("{IGNORE_ALL}; exec $0 demo --duration 1"));
    demo.await_output(20);
    TERMINATION.into_iter().for_each(|signal| demo.signal(signal));
    let exited = demo.finish();
    assert_eq!(exited.code(), 0, "{}", exited.err);
    assert!(String::from_utf8(exited.out).unwrap().contains("result        ok"));
}

#[test]
fn the_demonstration_waits_for_children_that_its_parent_ignores() {
    let folder = TestFolder::new();
    if folder.start_in_shell("env --ignore-signal=CHLD true").finish().code() != 0 {
        println!("skipped: the program `env` here cannot ignore signals");
        assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none());
        return;
    }
    let exited = folder.start_in_shell("exec env --ignore-signal=CHLD $0 demo --duration 0.2").finish();
    assert_eq!(exited.code(), 0, "{}", exited.err);
}

/// Its children inherit that they should ignore the signal by which they learn of its death.
#[test]
fn children_of_the_demonstration_end_with_it() {
    let folder = TestFolder::new();
    let demo = folder.start_in_shell(&format!("{IGNORE_ALL}; exec $0 demo --duration 600"));
    let link = || folder.list().into_iter().find(|link| link.contains("stream"));
    wait_until("the demonstration's link", || link().is_some());
    folder.await_status(&link().unwrap(), |status| status.next > status.start);
    demo.signal(Signal::SIGKILL);
    demo.wait();
    wait_until("the end of the producer, which removes its link", || link().is_none());
}

#[test]
fn the_other_signals_still_end_a_command() {
    let folder = TestFolder::new();
    let receiver = folder.start_in_shell("trap '' HUP; exec $0 recv x");
    let mut sender = folder.start_in_shell("trap '' HUP; exec $0 send x");
    sender.write(b"part");
    receiver.await_output(4);
    receiver.signal(Signal::SIGHUP);
    sender.signal(Signal::SIGHUP);
    sender.write(b"more");
    receiver.await_output(8);
    sender.signal(Signal::SIGTERM);
    assert_eq!(sender.wait().code(), 143);
    receiver.finish().assert_failed(1, &["link x was stopped"]);
}
