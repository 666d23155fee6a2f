//! A process needs few descriptors for a link, however many slots for consumers the link has. Only the
//! producer, which asks whether each consumer lives, needs one for each.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::path::Path;

use common::in_time;
use common::process::{Child, TestFolder, role, say};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rust_tango::{Link, LinkErrorKind, Start};

const SLOTS: usize = 256;

fn open_descriptors() -> usize {
    // One is open to read the folder.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// From now on, this process can open `more` files.
fn allow(more: usize) -> u64 {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = (open_descriptors() + more) as u64;
    setrlimit(Resource::RLIMIT_NOFILE, limit, most).unwrap();
    limit
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    // What opens files once is done before they are counted.
    common::process::warm_up();
    match role.as_str() {
        "joins" => joins(&folder),
        "creates" => creates(&folder),
        other => panic!("no role {other}"),
    }
    say("done");
}

fn joins(folder: &Path) {
    // 4 for the consumer, 3 for the observer, and some while they join.
    allow(4 + 3 + 6);
    let link = Link::open_in(folder, "quotes").unwrap();
    let mut rx = link.consumer_from(Start::Oldest).unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"bid");
    let observed = Link::open_in(folder, "quotes").unwrap();
    let mut ob = observed.observer_from(Start::Oldest).unwrap();
    assert_eq!(ob.poll().unwrap().unwrap().payload.as_slice(), b"bid");
    drop(rx);
    // The last slot is found, too.
    let _first = link.consumer().unwrap();
}

fn creates(folder: &Path) {
    let limit = allow(SLOTS);
    let builder = || Link::builder().depth(8).mtu(64).consumers(SLOTS).dir(folder);
    let error = builder().create("mine").unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), LinkErrorKind::System);
    for part in
        ["Too many open files", &format!("may have {limit} at a time"), "ulimit -n", "each consumer slot"]
    {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    assert_eq!(Link::list(folder).unwrap(), ["quotes"]);
    allow(5 + SLOTS + 10);
    let before = open_descriptors();
    let link = builder().create("mine").unwrap();
    let tx = link.producer().unwrap();
    assert!(open_descriptors() - before <= 5 + SLOTS, "{}", open_descriptors() - before);
    let mut rx = link.consumer().unwrap();
    tx.send(b"bid").unwrap();
    assert!(rx.poll().unwrap().is_some());
}

fn run_in_child(role: &'static str) {
    in_time(move || {
        let folder = TestFolder::new();
        let link =
            Link::builder().depth(8).mtu(64).consumers(SLOTS).dir(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        tx.send(b"bid").unwrap();
        let mut child = Child::start(role, &folder);
        assert_eq!(child.hear(), "done");
        child.succeeds();
        assert_eq!(tx.consumers(), 0);
    });
}

#[test]
fn a_reader_needs_as_many_for_256_slots_as_for_one() {
    run_in_child("joins");
}

#[test]
fn a_producer_needs_one_for_each_slot_and_the_error_says_so() {
    run_in_child("creates");
}
