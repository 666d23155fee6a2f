//! `tango rm` removes links that no process uses, and a link in use only with `--force`.

mod common;

use std::fs;

use common::TestFolder;
use nix::sys::signal::Signal;

#[test]
fn a_link_in_use_is_removed_only_with_force() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x");
    let receiver = folder.start("recv x");
    sender.write(b"part");
    receiver.await_output(4);
    let holders = format!(
        "link x is in use by its producer (tx, process {}) and the consumer in slot 0 (rx.0, process {}): use --force to stop and remove it",
        sender.pid(),
        receiver.pid()
    );
    folder.run("rm x").assert_failed(1, &[&holders]);
    assert_eq!(folder.list(), ["x"]);
    folder.run("rm --force x").assert_ok();
    assert!(folder.list().is_empty());
    receiver.finish().assert_failed(1, &["link x was stopped"]);
    sender.wait().assert_failed(1, &["link x was stopped before everything was sent"]);
}

#[test]
fn a_missing_link_fails_but_the_others_are_removed() {
    let folder = TestFolder::new();
    folder.leave_dead_link("a");
    folder.leave_dead_link("b");
    folder.run("rm a nobody b").assert_failed(1, &["nobody"]);
    assert!(folder.list().is_empty());
}

#[test]
fn broken_links_are_removed_unless_they_contain_other_files() {
    let folder = TestFolder::new();
    folder.leave_dead_link("sound");
    let broken = folder.links().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("tx"), "not the content of a link's file").unwrap();
    folder.run("rm broken").assert_ok();
    assert_eq!(folder.list(), ["sound"]);
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("letter"), "not part of a link").unwrap();
    folder.run("rm --force broken").assert_failed(1, &["letter"]);
    assert!(broken.join("letter").exists());
}

#[test]
fn a_broken_link_in_use_is_removed_only_with_force() {
    let folder = TestFolder::new();
    let sender = folder.start("send x");
    folder.await_status("x", |status| status.producer);
    // It would notice, and remove the link itself.
    sender.signal(Signal::SIGSTOP);
    fs::remove_file(folder.links().join("x/ctl")).unwrap();
    let holder = format!("link x is in use by its producer (tx, process {})", sender.pid());
    folder.run("rm x").assert_failed(1, &[&holder, "--force"]);
    let forced = folder.run("rm --force x");
    assert!(forced.code() == 0 && forced.err.contains("removed, but not stopped"), "{}", forced.err);
    assert!(folder.list().is_empty());
    drop(sender);
}
