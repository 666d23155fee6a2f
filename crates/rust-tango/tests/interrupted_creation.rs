//! Whoever dies while a link is made, remade or removed leaves nothing that stands in the way of the next one,
//! and nothing that takes space for ever.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::process::{Child, Place, role, say};
use common::{Random, assert_is, in_time, publish};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rust_tango::{Link, LinkBuilder, LinkErrorKind};

const MTU: usize = 300;

fn builder(place: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(3).dir(place)
}

/// What the children do without end, until they are killed.
#[test]
fn child() {
    let Some((role, place)) = role() else { return };
    let act: fn(&Path) = match role.as_str() {
        "makes and removes" => |place| {
            let link = builder(place).create("quotes").unwrap();
            link.remove().unwrap();
        },
        "remakes" => |place| drop(builder(place).create("quotes").unwrap()),
        "takes over" => |place| {
            let tx = builder(place).create_or_take_over("quotes").unwrap().producer().unwrap();
            publish(&tx, MTU).unwrap();
        },
        "clears up" => |place| {
            drop(builder(place).create("quotes").unwrap());
            Link::remove_all_dead(Some(place)).unwrap().into_iter().for_each(|(_, removed)| removed.unwrap());
        },
        // Under one name: what one makes, the other finds in its way, or gone.
        "one of two" => |place| {
            let done = builder(place).create("quotes").and_then(|link| link.remove());
            if let Err(error) = done {
                if ![LinkErrorKind::InUse, LinkErrorKind::NotFound].contains(&error.kind()) {
                    fs::write(place.join("unexpected"), error.to_string()).unwrap();
                }
            }
        },
        other => panic!("no role {other}"),
    };
    act(&place);
    say("ready");
    loop {
        act(&place);
    }
}

/// What lies in the folder of links.
fn entries(place: &Place) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// What a death has left, by how far things had come.
#[derive(Debug, Default)]
struct Left {
    /// A folder that was being filled, or emptied.
    hidden: usize,
    /// A whole link.
    link: usize,
    nothing: usize,
}

/// Kills a child in this role `rounds` times, each time at another point, and looks whether a link can be made
/// and used.
fn killed(role: &'static str, rounds: usize) -> Left {
    let place = Place::new();
    let mut random = Random::new(rounds as u64);
    let mut left = Left::default();
    for round in 0..rounds {
        // The rest of what the one before has left is as good a beginning as any.
        let mut child = Child::start(role, &place);
        assert_eq!(child.hear(), "ready");
        std::thread::sleep(Duration::from_micros(random.below(700)));
        child.kill();
        let found = entries(&place);
        if found.iter().any(|name| name.starts_with(".new-") || name.starts_with(".old-")) {
            left.hidden += 1;
        } else if found.iter().any(|name| name == "quotes") {
            left.link += 1;
        } else {
            left.nothing += 1;
        }

        let made = builder(place.path());
        let link = if round % 2 == 0 { made.create("quotes") } else { made.create_or_take_over("quotes") };
        let link = link.unwrap_or_else(|error| panic!("{role}, {found:?}: {error}"));
        assert_eq!(entries(&place), [".lock", "quotes"], "{role}");
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let sent = publish(&tx, MTU).unwrap();
        assert_is(&rx.poll().unwrap().unwrap(), sent.seq, MTU);
        if round % 3 == 0 {
            link.remove().unwrap();
            assert_eq!(entries(&place), [".lock"], "{role}");
        }
    }
    println!("{role}: {left:?}");
    left
}

const ROUNDS: usize = 150;

#[test]
fn killed_while_making_and_removing() {
    in_time(|| {
        let left = killed("makes and removes", ROUNDS);
        assert!(left.hidden > 0 && left.link > 0, "it was killed at all kinds of points: {left:?}");
    });
}

#[test]
fn killed_while_remaking() {
    in_time(|| {
        let left = killed("remakes", ROUNDS);
        assert!(left.hidden > 0 && left.link > 0, "it was killed at all kinds of points: {left:?}");
    });
}

#[test]
fn killed_while_taking_over() {
    in_time(|| {
        let left = killed("takes over", ROUNDS);
        assert_eq!((left.hidden, left.nothing), (0, 0), "a link that is taken over is not touched: {left:?}");
    });
}

#[test]
fn killed_while_clearing_up() {
    in_time(|| {
        let left = killed("clears up", ROUNDS);
        assert!(left.hidden > 0 && left.link > 0, "it was killed at all kinds of points: {left:?}");
    });
}

/// Others go on making and removing links of their own while children die beside them.
#[test]
fn others_are_not_held_up() {
    in_time(|| {
        let place = Place::new();
        for round in 0..60 {
            let mut children = [0, 1].map(|_| Child::start("one of two", &place));
            children.iter_mut().for_each(|child| assert_eq!(child.hear(), "ready"));
            let name = format!("mine{}", round % 3);
            let link = builder(place.path()).create(&name).unwrap();
            std::thread::sleep(Duration::from_micros(round * 11));
            children.into_iter().for_each(Child::kill);
            link.remove().unwrap();
        }
        drop(builder(place.path()).create("quotes").unwrap());
        assert_eq!(entries(&place), [".lock", "quotes"]);
    });
}

/// Who is stopped (SIGSTOP, a debugger) may be in the midst of making or removing a link: others make theirs meanwhile.
#[test]
fn a_stopped_one_holds_nobody_up() {
    in_time(|| {
        let place = Place::new();
        let mut random = Random::new(7);
        let mut kept = 0;
        for role in ["makes and removes", "remakes", "clears up"] {
            for round in 0..60 {
                let mut child = Child::start(role, &place);
                assert_eq!(child.hear(), "ready");
                std::thread::sleep(Duration::from_micros(random.below(700)));
                child.stop();
                kept += u32::from(is_locked(&place.path().join(".lock")));
                let name = format!("mine{}", round % 3);
                let tx = builder(place.path()).create(&name).unwrap().producer().unwrap();
                assert!(Link::open_in(place.path(), &name).unwrap().status().producer);
                drop(tx);
                child.kill();
                Link::remove_dead(Some(place.path()), &name).unwrap();
            }
        }
        assert!(kept > 0, "none was stopped while it had the folder to itself");
    });
}

/// Whether somebody else holds the lock of this file.
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
