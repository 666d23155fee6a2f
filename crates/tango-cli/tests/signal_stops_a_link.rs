//! `tango signal LINK halt` stops a link, and says whether its producer has seen it.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use common::TestFolder;
use nix::unistd::Uid;
use rust_tango::{Link, TangoError};

#[test]
fn a_producer_that_sees_it_ends() {
    let folder = TestFolder::new();
    let sender = folder.start_sender("quotes");
    folder.run("signal quotes run").assert_ok();
    folder.run("signal quotes halt").assert_ok();
    sender.wait().assert_failed(1, &["link quotes was stopped"]);
}

#[test]
fn a_producer_that_does_not_look_is_named() {
    let folder = TestFolder::new();
    let link = Link::builder().depth(8).mtu(64).dir(folder.links()).create("quotes").unwrap();
    // Nobody has to see it: there is no producer yet.
    folder.run("signal quotes halt --timeout 0").assert_ok();
    link.remove().unwrap();
    drop(link);
    let link = Link::builder().depth(8).mtu(64).dir(folder.links()).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let me = format!("(process {}", std::process::id());
    let halt = folder.run("signal quotes halt --timeout 0");
    halt.assert_failed(1, &["link quotes is stopped, but its producer", &me, "when it publishes next"]);
    assert_eq!(tx.publish(b"x", 0, 0, 0), Err(TangoError::Closed));
    folder.run("signal quotes run").assert_failed(1, &["link quotes was stopped, and cannot run again"]);
    // It waits until the state of the producer shows that it was seen, although this process still has the link.
    let halt = folder.start("signal quotes halt --timeout 100");
    drop(tx);
    halt.wait().assert_ok();
    folder.run("signal quotes halt --timeout 0").assert_ok();
    // What was published stays.
    assert!(link.is_named());
}

#[test]
fn links_that_cannot_be_stopped_are_errors() {
    let folder = TestFolder::new();
    fs::create_dir(folder.links()).unwrap();
    folder.run("signal quotes halt").assert_failed(1, &["no link named quotes"]);
    folder.run("signal a/b halt").assert_failed(2, &["not a valid name"]);
    folder.run("signal quotes pause").assert_failed(2, &["'pause'"]);
    folder.run("signal quotes").assert_failed(2, &["<halt|run>"]);
}

#[test]
fn other_users_are_refused() {
    if !Uid::effective().is_root() {
        assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none(), "needs root");
        eprintln!("skipped: only root can become other users");
        return;
    }
    let folder = TestFolder::new();
    let link = Link::builder().depth(8).mtu(64).mode(0o644).dir(folder.links()).create("quotes").unwrap();
    fs::set_permissions(folder.links(), Permissions::from_mode(0o755)).unwrap();
    // The other user may not be able to reach the program where it lies.
    let program = folder.links().with_file_name("tango");
    fs::copy(env!("CARGO_BIN_EXE_tango"), &program).unwrap();
    chown(&program, Some(61_003), Some(61_003)).unwrap();
    let run = |arguments: &str| {
        let script =
            format!("setpriv --reuid 61003 --regid 61003 --clear-groups {} {arguments}", program.display());
        folder.start_in_shell(&script).finish()
    };
    run("signal quotes halt").assert_failed(1, &["quotes/ctl", "for writing", "Permission denied"]);
    assert!(!link.status().stopped);
    // To look is allowed, and names no process.
    let inspect = run("inspect quotes");
    inspect.assert_ok();
    let text = String::from_utf8(inspect.out).unwrap();
    assert!(text.lines().last().unwrap().split_whitespace().eq(["tx", "?"]), "{text}");
}
