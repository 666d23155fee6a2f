//! Creating a link, and removing dead ones, takes no longer because of other links, of other processes that do
//! the same, or of a process that is stopped meanwhile.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::File;
use std::path::Path;

use common::in_time;
use common::kernel::forbid;
use common::process::{Child, TestFolder, entries, is_told, role, say, skip};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rust_tango::{Link, LinkBuilder, LinkErrorKind};

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(2).mtu(8).dir(folder)
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    match role.as_str() {
        "holds" => {
            let link = builder(&folder).create("quotes").unwrap();
            say("ready");
            while !is_told("end") {
                std::thread::yield_now();
            }
            drop(link);
        }
        "creates without reading a folder" => {
            drop(builder(&folder).create("first").unwrap());
            if let Err(error) = forbid(libc::SYS_getdents64) {
                return say(format!("no filter: {error}"));
            }
            let link = builder(&folder).create("second").unwrap();
            link.producer().unwrap().send(b"bid").unwrap();
            drop(builder(&folder).create_or_take_over("third").unwrap());
            say("done");
        }
        "cleans" => {
            say("ready");
            while !is_told("go") {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let mut removed = Vec::new();
            for (name, result) in Link::remove_all_dead(&folder).unwrap() {
                match result.map_err(|error| error.kind()) {
                    Ok(()) => removed.push(name),
                    // It is in use, or another process was faster.
                    Err(LinkErrorKind::InUse | LinkErrorKind::NotFound) => {}
                    Err(kind) => panic!("{name}: {kind:?}"),
                }
            }
            let own = builder(&folder).create(&format!("own{}", std::process::id())).unwrap();
            own.remove().unwrap();
            say(removed.join(" "));
        }
        other => panic!("no role {other}"),
    }
}

/// Looking for the processes that hold a link takes longer than all the rest, so it is not done for an error
/// that nobody shows.
#[test]
fn holders_are_looked_for_when_the_error_is_shown() {
    in_time(|| {
        let folder = TestFolder::new();
        let holder = Child::start_ready("holds", &folder);
        let errors = || {
            [
                Link::remove_dead(folder.path(), "quotes").unwrap_err(),
                builder(folder.path()).create("quotes").unwrap_err(),
                builder(folder.path()).create_or_take_over("quotes").unwrap_err(),
                Link::remove_all_dead(folder.path()).unwrap().remove(0).1.unwrap_err(),
            ]
        };
        let (shown, kept) = (errors(), errors());
        let named = format!("link quotes is in use by its producer (tx, process {})", holder.id());
        for error in &shown {
            assert_eq!((error.kind(), error.to_string()), (LinkErrorKind::InUse, named.clone()));
            assert!(format!("{error:?}").contains(&named), "{error:?}");
        }
        holder.kill();
        for error in &shown {
            assert_eq!(error.to_string(), named, "what was shown once stays");
        }
        for error in &kept {
            assert_eq!(error.to_string(), "link quotes is in use by its producer (tx)");
        }
    });
}

/// As if a process were stopped while it removes a link.
fn lock_folder(folder: &Path) -> File {
    let file = File::options().write(true).create(true).truncate(false).open(folder.join(".lock")).unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    file
}

#[test]
fn no_lock_is_needed_where_nothing_is_removed() {
    in_time(|| {
        let folder = TestFolder::new();
        let live = builder(folder.path()).create("quotes").unwrap();
        let _lock = lock_folder(folder.path());
        let result = Link::remove_all_dead(folder.path()).unwrap();
        let kinds: Vec<_> =
            result.into_iter().map(|(name, result)| (name, result.unwrap_err().kind())).collect();
        assert_eq!(kinds, [("quotes".to_owned(), LinkErrorKind::InUse)]);
        for refused in [
            Link::remove_dead(folder.path(), "quotes"),
            builder(folder.path()).create("quotes").map(drop),
            builder(folder.path()).create_or_take_over("quotes").map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), LinkErrorKind::InUse);
        }
        drop(builder(folder.path()).create("another").unwrap());
        drop(live);
    });
}

#[test]
fn a_new_link_is_made_without_reading_the_folder() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut child = Child::start("creates without reading a folder", &folder);
        match child.hear_or_end().as_deref() {
            Some("done") => child.succeeds(),
            Some(why) => skip(why),
            None => panic!("it has read a folder: {}", child.ends()),
        }
    });
}

/// Each dead link is removed once, the living one stays, and none of the processes is refused.
#[test]
fn a_hundred_processes_clean_up_at_once() {
    in_time(|| {
        let folder = TestFolder::new();
        let live = builder(folder.path()).create("live").unwrap();
        let dead: Vec<_> = (0..40).map(|n| format!("dead{n:02}")).collect();
        dead.iter().for_each(|name| drop(builder(folder.path()).create(name).unwrap()));
        let mut children: Vec<_> = (0..100).map(|_| Child::start("cleans", &folder)).collect();
        children.iter_mut().for_each(|child| assert_eq!(child.hear(), "ready"));
        children.iter_mut().for_each(|child| child.tell("go"));
        let mut removed = Vec::new();
        for mut child in children {
            removed.extend(child.hear().split_whitespace().map(str::to_owned));
            child.succeeds();
        }
        removed.retain(|name| name.starts_with("dead")); // and not a link that another one has just made
        removed.sort_unstable();
        assert_eq!(removed, dead);
        assert_eq!(entries(folder.path()), [".lock", "live"]);
        assert!(live.status().producer);
    });
}
