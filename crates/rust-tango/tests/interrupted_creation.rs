//! A process that dies while it creates, replaces or removes a link leaves nothing that blocks the next one
//! or takes space forever.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::process::{Child, TestFolder, entries, role, say};
use common::{Random, assert_is, in_time, publish};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rust_tango::{Link, LinkBuilder, LinkErrorKind};

const MTU: usize = 300;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(3).dir(folder)
}

/// What the child processes repeat until they are killed.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let act: fn(&Path) = match role.as_str() {
        "makes and removes" => |folder| {
            let link = builder(folder).create("quotes").unwrap();
            link.remove().unwrap();
        },
        "remakes" => |folder| drop(builder(folder).create("quotes").unwrap()),
        "takes over" => |folder| {
            let tx = builder(folder).create_or_take_over("quotes").unwrap().producer().unwrap();
            publish(&tx, MTU).unwrap();
        },
        "clears up" => |folder| {
            drop(builder(folder).create("quotes").unwrap());
            Link::remove_all_dead(folder).unwrap().into_iter().for_each(|(_, removed)| removed.unwrap());
        },
        // Both use one name, so each may find the other's link in its way, or its own link gone.
        "one of two" => |folder| {
            let done = builder(folder).create("quotes").and_then(|link| link.remove());
            if let Err(error) = done {
                if ![LinkErrorKind::InUse, LinkErrorKind::NotFound].contains(&error.kind()) {
                    fs::write(folder.join("unexpected"), error.to_string()).unwrap();
                }
            }
        },
        other => panic!("no role {other}"),
    };
    act(&folder);
    say("ready");
    loop {
        act(&folder);
    }
}

/// What the killed processes have left.
#[derive(Debug, Default)]
struct Left {
    /// A folder that was being filled or emptied.
    hidden: usize,
    /// A whole link.
    link: usize,
    nothing: usize,
}

/// Kills a child in this role `rounds` times, each time at another point, and checks that a link can be
/// created and used.
fn kill_repeatedly(role: &'static str, rounds: usize) -> Left {
    let folder = TestFolder::new();
    let mut random = Random::new(rounds as u64);
    let mut left = Left::default();
    for round in 0..rounds {
        // Whatever the previous round has left is a valid starting point.
        let mut child = Child::start(role, &folder);
        assert_eq!(child.hear(), "ready");
        std::thread::sleep(Duration::from_micros(random.below(700)));
        child.kill();
        let found = entries(folder.path());
        if found.iter().any(|name| name.starts_with(".tmp-")) {
            left.hidden += 1;
        } else if found.iter().any(|name| name == "quotes") {
            left.link += 1;
        } else {
            left.nothing += 1;
        }

        let made = builder(folder.path());
        let link = if round % 2 == 0 { made.create("quotes") } else { made.create_or_take_over("quotes") };
        let link = link.unwrap_or_else(|error| panic!("{role}, {found:?}: {error}"));
        assert_eq!(entries(folder.path()), [".lock", "quotes"], "{role}");
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let sent = publish(&tx, MTU).unwrap();
        assert_is(&rx.poll().unwrap().unwrap(), sent.seq, MTU);
        if round % 3 == 0 {
            link.remove().unwrap();
            assert_eq!(entries(folder.path()), [".lock"], "{role}");
        }
    }
    println!("{role}: {left:?}");
    left
}

const ROUNDS: usize = 150;

#[test]
fn killed_while_making_and_removing() {
    in_time(|| {
        let left = kill_repeatedly("makes and removes", ROUNDS);
        assert!(left.hidden > 0 && left.link > 0, "it must be killed at different points: {left:?}");
    });
}

#[test]
fn killed_while_remaking() {
    in_time(|| {
        let left = kill_repeatedly("remakes", ROUNDS);
        assert!(left.hidden > 0 && left.link > 0, "it must be killed at different points: {left:?}");
    });
}

#[test]
fn killed_while_taking_over() {
    in_time(|| {
        let left = kill_repeatedly("takes over", ROUNDS);
        assert_eq!((left.hidden, left.nothing), (0, 0), "a takeover must leave the link in place: {left:?}");
    });
}

#[test]
fn killed_while_clearing_up() {
    in_time(|| {
        let left = kill_repeatedly("clears up", ROUNDS);
        assert!(left.hidden > 0 && left.link > 0, "it must be killed at different points: {left:?}");
    });
}

/// Creating and removing other links works while children die.
#[test]
fn other_links_are_not_blocked() {
    in_time(|| {
        let folder = TestFolder::new();
        for round in 0..60 {
            let mut children = [0, 1].map(|_| Child::start("one of two", &folder));
            children.iter_mut().for_each(|child| assert_eq!(child.hear(), "ready"));
            let name = format!("mine{}", round % 3);
            let link = builder(folder.path()).create(&name).unwrap();
            std::thread::sleep(Duration::from_micros(round * 11));
            children.into_iter().for_each(Child::kill);
            link.remove().unwrap();
        }
        drop(builder(folder.path()).create("quotes").unwrap());
        assert_eq!(entries(folder.path()), [".lock", "quotes"]);
    });
}

/// A process may be stopped (SIGSTOP, a debugger) while it creates or removes a link. Others can create
/// theirs meanwhile.
#[test]
fn a_stopped_process_blocks_nobody() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut random = Random::new(7);
        let mut locked = 0;
        for role in ["makes and removes", "remakes", "clears up"] {
            for round in 0..60 {
                let mut child = Child::start(role, &folder);
                assert_eq!(child.hear(), "ready");
                std::thread::sleep(Duration::from_micros(random.below(700)));
                child.stop();
                locked += u32::from(is_locked(&folder.path().join(".lock")));
                let name = format!("mine{}", round % 3);
                let tx = builder(folder.path()).create(&name).unwrap().producer().unwrap();
                assert!(Link::open_in(folder.path(), &name).unwrap().status().producer);
                drop(tx);
                child.kill();
                Link::remove_dead(folder.path(), &name).unwrap();
            }
        }
        assert!(locked > 0, "none was stopped while it held the lock of the folder");
    });
}

/// Whether another process holds the lock of this file.
fn is_locked(path: &Path) -> bool {
    let file = fs::File::options().write(true).open(path).unwrap();
    let mut answer = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut answer)).unwrap();
    answer.l_type != libc::F_UNLCK as libc::c_short
}
