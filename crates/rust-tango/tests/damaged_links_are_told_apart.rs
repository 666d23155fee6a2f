//! A link that lacks one of its files is damaged, which is another error than that there is no such link. It is
//! not removed while its producer lives. A link that is being made or removed never looks damaged.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::in_time;
use common::process::{Child, TestFolder, die_with_parent, role, say};
use rust_tango::{Link, LinkBuilder, LinkErrorKind, Party, Start};

const FILES: [&str; 4] = ["tx", "ctl", "rx.0", "rx.1"];

fn builder(folder: &std::path::Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(64).consumers(2).dir(folder)
}

/// The roles of the child processes.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    die_with_parent();
    let link = builder(&folder).create("quotes").unwrap();
    let _tx = (role == "producer").then(|| link.producer().unwrap());
    say("ready");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = TestFolder::new();
    for file in FILES {
        let link = builder(folder.path()).create("quotes").unwrap();
        let opened = Link::open_in(folder.path(), "quotes").unwrap();
        let path = link.path().unwrap().join(file);
        fs::remove_file(&path).unwrap();
        let error = Link::open_in(folder.path(), "quotes").unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Damaged, "{file}: {error}");
        let message = error.to_string();
        assert!(message.starts_with("link quotes is damaged: "), "{message}");
        assert!(message.contains(&path.display().to_string()) && message.contains("remove"), "{message}");
        // A process that has opened the link before is told the same.
        let late = match file {
            "tx" => opened.producer().map(drop),
            "ctl" => opened.stop(),
            "rx.0" => opened.evictable_consumer(Start::Next).map(drop),
            _ => Err(error),
        };
        for error in [late, opened.consumer().map(drop)].map(Result::unwrap_err) {
            assert!(
                error.kind() == LinkErrorKind::Damaged && error.to_string().contains(file),
                "{file}: {error}"
            );
        }
        assert_eq!(Link::list(folder.path()).unwrap(), ["quotes"], "{file}");
        drop(link);
        Link::remove_dead(folder.path(), "quotes").unwrap();
        assert!(Link::open_in(folder.path(), "quotes").unwrap_err().is_not_found());
    }
}

#[test]
fn an_empty_folder_is_a_damaged_link_that_can_be_replaced() {
    let folder = TestFolder::new();
    fs::create_dir(folder.path().join("quotes")).unwrap();
    let error = Link::open_in(folder.path(), "quotes").unwrap_err();
    assert_eq!(error.kind(), LinkErrorKind::Damaged, "{error}");
    // It may be anything, so it is neither listed nor removed with others.
    assert!(Link::list(folder.path()).unwrap().is_empty());
    builder(folder.path()).create("quotes").unwrap();
}

#[test]
fn a_damaged_link_with_a_living_producer_is_in_use() {
    in_time(|| {
        for role in ["producer", "reserved"] {
            for file in FILES {
                let folder = TestFolder::new();
                let owner = Child::start_ready(role, &folder);
                fs::remove_file(folder.path().join("quotes").join(file)).unwrap();
                let holders = Link::holders(folder.path(), "quotes").unwrap();
                assert_eq!(holders.iter().next().unwrap().party, Party::Producer, "{file}");
                for result in [
                    Link::remove_dead(folder.path(), "quotes"),
                    builder(folder.path()).create("quotes").map(drop),
                ] {
                    let error = result.expect_err(file);
                    assert_eq!(error.kind(), LinkErrorKind::InUse, "{file}: {error}");
                    assert!(error.to_string().contains("its producer"), "{file}: {error}");
                }
                let removed = Link::remove_all_dead(folder.path()).unwrap();
                assert!(removed.len() == 1 && removed[0].1.is_err(), "{file}");
                owner.kill();
                assert!(Link::holders(folder.path(), "quotes").unwrap().is_empty(), "{file}");
                Link::remove_dead(folder.path(), "quotes").unwrap();
            }
        }
    });
}

#[test]
fn a_link_that_comes_and_goes_is_never_damaged() {
    in_time(|| {
        let folder = TestFolder::new();
        let (done, opened) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        match Link::open_in(folder.path(), "quotes").and_then(|link| link.consumer()) {
                            Ok(_) => {
                                opened.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => assert!(error.is_not_found(), "{error}"),
                        }
                    }
                });
            }
            for _ in 0..500 {
                let link = builder(folder.path()).create("quotes").unwrap();
                std::thread::yield_now();
                link.remove().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(opened.into_inner() > 0);
    });
}
