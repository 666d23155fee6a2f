//! `tango demo` checks everything that it sends, says so, and leaves nothing behind, however it ends.

mod common;

use std::fs;

use common::{Ended, Place, Running, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[track_caller]
fn assert_right(ended: &Ended) {
    let text = String::from_utf8(ended.out.clone()).unwrap();
    assert_eq!(ended.code(), 0, "{text}{}", ended.err);
    for part in ["throughput", "observer", "one way", "round trip", "p99.9", "result       ok"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// The processes that a process has started.
fn children(parent: &Running) -> Vec<Pid> {
    let is_child = |status: &str| {
        let parent = format!("PPid:\t{}", parent.pid());
        status.lines().any(|line| line == parent) && !status.contains("State:\tZ")
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let id = path.file_name()?.to_str()?.parse().ok()?;
            fs::read_to_string(path.join("status"))
                .is_ok_and(|status| is_child(&status))
                .then(|| Pid::from_raw(id))
        })
        .collect()
}

/// A demonstration that streams, and its processes.
fn streaming(place: &Place) -> (Running, Vec<Pid>) {
    let demo = place.start("demo --duration 60");
    wait_until("messages", || {
        let names = place.list();
        names.first().is_some_and(|name| {
            rust_tango::Link::open_in(place.links(), name).is_ok_and(|link| link.status().next > 1000)
        })
    });
    let children = children(&demo);
    assert_eq!(children.len(), 3);
    (demo, children)
}

#[track_caller]
fn assert_nothing_left(place: &Place, children: Vec<Pid>) {
    wait_until("links are removed", || place.list().is_empty());
    // The ids are not given to others as fast as that.
    wait_until("processes end", || children.iter().all(|child| kill(*child, None).is_err()));
}

#[test]
fn it_works() {
    let place = Place::new();
    assert_right(&place.run("demo --duration 0.5"));
    assert!(place.list().is_empty());
}

#[test]
fn two_at_once_with_other_sizes() {
    let place = Place::new();
    let one = place.start("demo --duration 0.5 --consumers 3 --size 1000 --depth 64");
    let other = place.start("demo --duration 0.5 --size 0 --depth 2");
    assert_right(&one.end());
    assert_right(&other.end());
    assert!(place.list().is_empty());
}

#[test]
fn signals_end_it() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let place = Place::new();
        let (demo, children) = streaming(&place);
        demo.signal(signal);
        assert_eq!(demo.end().code(), code);
        assert_nothing_left(&place, children);
    }
}

#[test]
fn its_processes_end_with_it() {
    let place = Place::new();
    let (demo, children) = streaming(&place);
    demo.signal(Signal::SIGKILL);
    demo.end();
    assert_nothing_left(&place, children);
}

#[test]
fn a_process_that_dies_is_a_failure() {
    for victim in 0..3 {
        let place = Place::new();
        let (demo, children) = streaming(&place);
        kill(children[victim], Signal::SIGKILL).unwrap();
        let ended = demo.end();
        assert_eq!(ended.code(), 1);
        assert!(ended.err.contains("tango: the "), "{}", ended.err);
        assert_nothing_left(&place, children);
    }
}
