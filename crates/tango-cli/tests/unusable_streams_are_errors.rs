//! A standard stream that is closed, or opened the wrong way, is an error of every command that needs it, with
//! status 1 and before anything is done.

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use common::{TestFolder, assert_same, random_bytes};
use nix::fcntl::OFlag;

/// Every command that writes to standard output, but for `recv`.
const WRITERS: [&str; 9] = [
    "ls",
    "rm --dead",
    "--help",
    "--version",
    "help send",
    "recv --help",
    "demo --duration 0.1",
    "demo --duration 0.1 --consumers 2",
    "--dir /tmp/nowhere/at/all ls",
];

#[test]
fn output_that_is_closed_or_cannot_be_written() {
    let folder = TestFolder::new();
    folder.leave_dead_link("dead");
    for arguments in WRITERS {
        for (redirection, reason) in [(">&-", "it is closed"), ("1</dev/null", "it is not open for writing")]
        {
            let exited = folder.start_in_shell(&format!("exec $0 {arguments} {redirection}")).finish();
            exited.assert_failed(1, &["cannot write to standard output", reason]);
        }
        let all_closed = folder.start_in_shell(&format!("exec $0 {arguments} <&- >&- 2>&-")).finish();
        assert_eq!(all_closed.code(), 1, "{arguments}");
    }
    assert_eq!(folder.list(), ["dead"], "nothing was removed");
}

/// The link still has everything for the next receiver.
#[test]
fn a_receiver_without_output_takes_nothing() {
    let bytes = random_bytes(1 << 20);
    for options in ["", "--lines", "--observe"] {
        let folder = TestFolder::new();
        let sender = folder.start_with_input("send x", folder.file("file", &bytes));
        folder.await_status("x", |status| status.producer);
        for (redirection, reason) in [(">&-", "it is closed"), ("1</dev/null", "it is not open for writing")]
        {
            let exited = folder.start_in_shell(&format!("exec $0 recv x {options} {redirection}")).finish();
            exited.assert_failed(1, &["cannot write to standard output", reason]);
        }
        let all_closed = folder.start_in_shell(&format!("exec $0 recv x {options} <&- >&- 2>&-")).finish();
        assert_eq!(all_closed.code(), 1);
        let receiver = folder.start("recv x").finish();
        assert_same(&receiver.out, &bytes);
        receiver.assert_ok();
        sender.finish().assert_ok();
    }
}

#[test]
fn a_sender_without_input_makes_no_link() {
    let folder = TestFolder::new();
    for options in ["", "--lines", "--wait-for 0"] {
        for (redirection, reason) in [("<&-", "it is closed"), ("0>/dev/null", "it is not open for reading")]
        {
            let exited = folder.start_in_shell(&format!("exec $0 send x {options} {redirection}")).finish();
            exited.assert_failed(1, &["cannot read standard input", reason]);
        }
        let path_only =
            OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open("/etc/passwd").unwrap();
        let exited = folder.start_with_input(&format!("send x {options}"), path_only).finish();
        exited.assert_failed(1, &["cannot read standard input", "it is not open for reading"]);
    }
    assert!(folder.list().is_empty());
}

/// A stream that is closed looks like `/dev/null` to `main`, opened for reading and writing.
#[test]
fn dev_null_is_not_a_closed_stream() {
    let folder = TestFolder::new();
    for arguments in WRITERS {
        for redirection in [">/dev/null", "1<>/dev/null"] {
            folder
                .start_in_shell(&format!("exec $0 {arguments} {redirection} 2>/dev/null"))
                .finish()
                .assert_ok();
        }
    }
    for null in ["</dev/null", "<>/dev/null"] {
        let receiver = folder.start_in_shell("exec $0 recv x 1<>/dev/null");
        folder.start_in_shell(&format!("exec $0 send x {null}")).finish().assert_ok();
        receiver.finish().assert_ok();
    }
}

/// Streams that a command does not use do not matter to it.
#[test]
fn other_streams_may_be_closed() {
    let folder = TestFolder::new();
    folder.leave_dead_link("dead");
    folder.start_in_shell("exec $0 rm dead <&- >&-").finish().assert_ok();
    let receiver = folder.start_in_shell("exec $0 recv x <&- 2>&-");
    let mut sender = folder.start_in_shell("exec $0 send x >&- 2>&-");
    sender.write(b"all of it");
    sender.finish().assert_ok();
    let exited = receiver.finish();
    exited.assert_ok();
    assert_eq!(exited.out, b"all of it");
}
