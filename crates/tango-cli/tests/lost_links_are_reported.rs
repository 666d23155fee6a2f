//! A sender and its receivers report that their link was removed, replaced or damaged, and fail.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Exited, Running, TestFolder, wait_until};
use nix::sys::signal::Signal;
use rust_tango::Link;

fn folder_of(folder: &TestFolder, link: &str) -> PathBuf {
    folder.links().join(link)
}

/// A sender with one receiver, which has received everything so far.
fn connected(folder: &TestFolder) -> (Running, Running) {
    let receiver = folder.start("recv x");
    let mut sender = folder.start("send x");
    sender.write(b"all\n");
    receiver.await_output(4);
    (sender, receiver)
}

#[track_caller]
fn assert_fails(what: &str, exited: &Exited, message: &str) {
    assert_eq!(exited.code(), 1, "{what}: {}", exited.err);
    let last = exited.err.lines().last().unwrap_or_default();
    assert!(last.starts_with("tango: ") && last.contains(message), "{what}: {}", exited.err);
}

#[test]
fn both_ends_fail_when_the_link_is_deleted() {
    let folder = TestFolder::new();
    let (sender, receiver) = connected(&folder);
    fs::remove_dir_all(folder_of(&folder, "x")).unwrap();
    // With their input and the link open.
    assert_fails("send", &sender.wait(), "link x has lost its name");
    let received = receiver.wait();
    assert_eq!(received.out, b"all\n");
    assert_fails("recv", &received, "link x has lost its name");
}

#[test]
fn a_sender_that_waits_for_receivers_fails_too() {
    let folder = TestFolder::new();
    for act in ["delete", "replace", "rm"] {
        let sender = folder.start_sender("x");
        match act {
            "delete" => fs::remove_dir_all(folder.links()).unwrap(),
            "replace" => {
                fs::rename(folder_of(&folder, "x"), folder.links().join("y")).unwrap();
                drop(Link::builder().dir(folder.links()).create("x").unwrap());
            }
            // Not as the command does it: without stopping the link first.
            _ => Link::remove_named(folder.links(), "x").unwrap(),
        }
        assert_fails(act, &sender.wait(), "link x has lost its name");
        let _ = fs::remove_dir_all(folder.links());
    }
}

#[test]
fn a_damaged_link_is_not_waited_for() {
    let folder = TestFolder::new();
    for file in ["tx", "ctl", "rx.0"] {
        let sender = folder.start_sender("x");
        // It would end before the others are asked.
        sender.signal(Signal::SIGSTOP);
        let path = folder_of(&folder, "x").join(file);
        fs::remove_file(&path).unwrap();
        let missing = format!("{} is missing", path.display());
        assert_fails("recv", &folder.run("recv x"), &missing);
        let listed = folder.run("ls");
        assert_eq!(listed.code(), 1);
        assert!(listed.err.contains(&missing), "{}", listed.err);
        // The sender learns of it, and removes what is left.
        sender.signal(Signal::SIGCONT);
        assert_fails("send", &sender.wait(), "link x has lost its name");
        assert!(folder.list().is_empty(), "{file}");
    }
}

#[test]
fn rm_spares_a_damaged_link_unless_forced() {
    let folder = TestFolder::new();
    for file in ["tx", "ctl", "rx.0"] {
        let sender = folder.start_sender("x");
        // It would end before the others are asked.
        sender.signal(Signal::SIGSTOP);
        fs::remove_file(folder_of(&folder, "x").join(file)).unwrap();
        let refused = folder.run("rm x");
        assert_fails(file, &refused, "link x is in use by its producer");
        let forced = folder.run("rm --force x");
        assert_eq!(forced.code(), 0, "{file}: {}", forced.err);
        assert!(forced.err.contains("was removed, but not stopped"), "{file}: {}", forced.err);
        assert!(folder.list().is_empty());
        sender.signal(Signal::SIGCONT);
        assert_fails(file, &sender.wait(), "link x has lost its name");
    }
}

#[test]
fn a_sender_that_cannot_remove_its_link_says_so() {
    let folder = TestFolder::new();
    let (sender, receiver) = connected(&folder);
    fs::write(folder_of(&folder, "x").join("notes.txt"), "mine").unwrap();
    let sent = sender.finish();
    assert_fails("send", &sent, "everything was sent, but the link could not be removed");
    assert!(sent.err.contains("notes.txt"), "{}", sent.err);
    let received = receiver.wait();
    assert_eq!((received.code(), received.out.as_slice()), (0, &b"all\n"[..]));
    wait_until("closed", || !Link::open_in(folder.links(), "x").unwrap().status().producer);
}
