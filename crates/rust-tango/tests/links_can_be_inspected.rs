//! An operator can see all of a link and of the processes that use it, without writing to it or slowing it down, and also if
//! it belongs to another user.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::SystemTime;

use common::process::{Child, TestFolder, is_told, maps_writable, role, say, skip};
use common::users::{OWNER, STRANGER, become_user};
use common::{PATIENCE, in_time};
use nix::unistd::Uid;
use rust_tango::{Inspection, Link, LinkErrorKind, Party, PayloadType};

fn builder(folder: &Path) -> rust_tango::LinkBuilder {
    Link::builder()
        .depth(8)
        .payload_type(PayloadType::new("Quote", 1, 1))
        .consumers(3)
        .dir(folder.join("base"))
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let (user, act) = role.split_once(' ').unwrap();
    become_user(user.parse().unwrap());
    match act {
        "produces" => {
            let link = builder(&folder).mode(0o644).create("quotes").unwrap();
            let tx = link.producer().unwrap();
            // Two consumers, of which the second reads less.
            let (mut quick, mut slow) = (link.consumer().unwrap(), link.consumer().unwrap());
            for n in 0..6 {
                tx.send(&[n]).unwrap();
                if n < 5 {
                    drop(quick.poll().unwrap());
                }
                if n == 0 {
                    drop(slow.poll().unwrap());
                }
            }
            tx.beat(77);
            say("ready");
            while !is_told("end") {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        "inspects" => {
            let before = contents(&folder.join("base/quotes"));
            let found = Link::open_in(folder.join("base"), "quotes").unwrap().inspect().unwrap();
            check(&found);
            assert!(found.holders.iter().all(|holder| holder.processes.is_empty()), "{}", found.holders);
            let all = Link::inspect_all(folder.join("base")).unwrap();
            let [(name, Ok(again))] = &all[..] else { panic!("{all:?}") };
            assert_eq!((name.as_str(), &again.metrics), ("quotes", &found.metrics));
            assert!(!maps_writable("/quotes/tx"));
            assert_eq!(contents(&folder.join("base/quotes")), before);
        }
        other => panic!("no role {other:?}"),
    }
}

/// What the child that produces has done.
#[track_caller]
fn check(found: &Inspection) {
    assert_eq!(found.name, "quotes");
    assert!(found.path.ends_with("base/quotes") && found.named);
    assert_eq!((found.geometry.depth, found.geometry.credits), (8, 8));
    assert_eq!(found.payload_type, Some(PayloadType::new("Quote", 1, 1)));
    assert_eq!((found.status.next, found.status.heartbeat, found.status.producer), (7, 77, true));
    assert_eq!((found.metrics.published, found.metrics.consumed(), found.metrics.lag()), (6, 6, 5));
    assert_eq!((found.credits_left, found.slowest), (3, Some(1)));
    let files =
        ["tx", "ctl", "rx.0", "rx.1", "rx.2"].map(|file| fs::metadata(found.path.join(file)).unwrap());
    assert_eq!(found.bytes, files.iter().map(|file| file.len()).sum::<u64>());
    assert_eq!(found.allocated, files.iter().map(|file| file.blocks() * 512).sum::<u64>());
    assert_eq!((found.user, found.group, found.mode), (files[0].uid(), files[0].gid(), 0o644));
    let parties = [Party::Producer, Party::Consumer(0), Party::Consumer(1)];
    assert!(found.holders.iter().map(|holder| holder.party).eq(parties), "{}", found.holders);
}

/// The names, contents and times of all files.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>, i64, i64)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let (name, found) = (entry.file_name().into_string().unwrap(), entry.metadata().unwrap());
            (name, fs::read(entry.path()).unwrap(), found.mtime_nsec(), found.ctime_nsec())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn processes_are_found_and_nothing_is_written() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut child = Child::start_ready("0 produces", &folder);
        let before = contents(&folder.path().join("base/quotes"));
        let found = Link::open_in(folder.path().join("base"), "quotes").unwrap().inspect().unwrap();
        check(&found);
        for holder in found.holders.iter() {
            let process = holder.processes.iter().find(|process| process.id == child.id()).unwrap();
            assert_eq!(process.user, Some(Uid::effective().as_raw()));
            assert!("links_can_be_inspected".starts_with(&process.command.as_ref().unwrap()[..14]));
            let age = SystemTime::now().duration_since(process.started.unwrap());
            // A clock that is set moves the age, so only the order of magnitude is checked.
            assert!(age.is_ok_and(|age| age < PATIENCE * 100), "{process:?}");
        }
        assert_eq!(contents(&folder.path().join("base/quotes")), before);
        let text = found.to_string();
        for part in [
            "link quotes in ",
            "depth 8, MTU 1, 3 consumer slots, 3 of 8 credits left, payload type Quote (1 byte",
            &format!("{} bytes, ", found.bytes),
            &format!(", process {}) and the consumer in slot 1", child.id()),
            "producer attached; next fragment 7",
            "consumer in slot 1: 5 behind",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        child.tell("end");
        child.succeeds();

        // What is left: a link that is closed.
        let link = Link::open_in(folder.path().join("base"), "quotes").unwrap();
        let found = link.inspect().unwrap();
        assert!(found.holders.is_empty() && found.status.closed && found.slowest.is_none());
        assert_eq!(found.credits_left, 8);
        link.remove().unwrap();
        let found = link.inspect().unwrap();
        assert!(!found.named && found.metrics.published == 6);
    });
}

#[test]
fn a_link_of_another_user_is_inspected_if_it_may_be_read() {
    if !Uid::effective().is_root() {
        return skip("only root can become other users");
    }
    in_time(|| {
        let folder = TestFolder::new();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        let base = folder.path().join("base");
        fs::create_dir(&base).unwrap();
        chown(&base, Some(OWNER), Some(OWNER)).unwrap();
        fs::set_permissions(&base, Permissions::from_mode(0o755)).unwrap();
        let mut child = Child::start_ready(&format!("{OWNER} produces"), &folder);
        Child::start(&format!("{STRANGER} inspects"), &folder).succeeds();
        // Root sees the processes of all.
        let found = Link::open_in(&base, "quotes").unwrap().inspect().unwrap();
        assert_eq!(
            (found.user, found.holders.iter().next().unwrap().processes[0].user),
            (OWNER, Some(OWNER))
        );
        child.tell("end");
        child.succeeds();
    });
}

#[test]
fn links_that_cannot_be_read_are_named() {
    let folder = TestFolder::new();
    let base = folder.path().join("base");
    let _sound = builder(folder.path()).create("sound").unwrap();
    fs::create_dir(base.join("broken")).unwrap();
    fs::write(base.join("broken/tx"), "not the content of a link's file").unwrap();
    let found = Link::inspect_all(&base).unwrap();
    let [(broken, Err(error)), (sound, Ok(inspection))] = &found[..] else { panic!("{found:?}") };
    assert_eq!((broken.as_str(), sound.as_str()), ("broken", "sound"));
    assert_eq!(error.kind(), LinkErrorKind::Incompatible);
    let me = std::process::id();
    let holder = inspection.holders.iter().next().unwrap();
    assert!(holder.processes.iter().any(|process| process.id == me), "{}", inspection.holders);
    assert!(Link::inspect_all(folder.path().join("nothing")).unwrap().is_empty());
    let heap = Link::builder().build().unwrap().inspect().unwrap_err();
    assert_eq!(heap.kind(), LinkErrorKind::Invalid);
    assert!(heap.to_string().contains("heap"), "{heap}");
}

#[cfg(feature = "serde")]
#[test]
fn json_of_an_inspection() {
    use serde_json::{json, to_value};

    let folder = TestFolder::new();
    let link = builder(folder.path()).create("quotes").unwrap();
    let (_tx, _rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let found = link.inspect().unwrap();
    let processes = |index: usize| to_value(&found.holders.iter().nth(index).unwrap().processes).unwrap();
    let mut value = to_value(&found).unwrap();
    let expected = json!({
        "name": "quotes", "path": folder.path().join("base/quotes"), "named": true,
        "geometry": link.geometry(), "payload_type": { "name": "Quote", "size": 1, "align": 1 },
        "status": found.status, "metrics": link.metrics(), "credits_left": 8, "slowest": null,
        "bytes": found.bytes, "allocated": found.allocated, "user": found.user, "group": found.group, "mode": 0o600,
        "holders": [
            { "role": "producer", "processes": processes(0) },
            { "role": "consumer", "slot": 0, "processes": processes(1) },
        ],
    });
    assert_eq!(value, expected);
    let process = value["holders"][0]["processes"].as_array_mut().unwrap().first_mut().unwrap();
    let started = process["started"].take().as_u64().unwrap();
    assert!(started > 1_000_000_000);
    let first = &found.holders.iter().next().unwrap().processes[0];
    let expected = json!({ "id": first.id, "user": first.user, "command": first.command, "started": null });
    assert_eq!(*process, expected);
}
