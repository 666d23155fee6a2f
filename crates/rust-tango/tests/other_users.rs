//! A link belongs to its owner alone, unless its mode lets other users read it. Then they can be observers
//! and nothing else.
//!
//! Needs root, to become other users. Without it, the tests report that they are skipped.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use common::process::{Child, TestFolder, maps_writable, role, say, skip};
use common::users::{GROUP, MEMBER, OWNER, STRANGER, become_user};
use common::{assert_is, in_time, publish};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use rust_tango::{Link, LinkBuilder, LinkError, LinkErrorKind, Start};

const MTU: usize = 300;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(2).dir(folder.join("base"))
}

fn open(folder: &Path) -> Result<Link, LinkError> {
    Link::open_in(folder.join("base"), "quotes")
}

/// The roles of the child processes: `USER ACT`.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let (user, act) = role.split_once(' ').unwrap();
    become_user(user.parse().unwrap());
    match act.split_once(' ').unwrap_or((act, "")) {
        ("makes", mode) => {
            umask(Mode::from_bits_truncate(0o077));
            let mut made = builder(&folder);
            if !mode.is_empty() {
                made = made.mode(u32::from_str_radix(mode, 8).unwrap());
            }
            let tx = made.create("quotes").unwrap().producer().unwrap();
            for _ in 0..5 {
                publish(&tx, MTU).unwrap();
            }
            say("ready");
            std::thread::sleep(common::PATIENCE);
        }
        ("reads", reason) => {
            let link = open(&folder).unwrap();
            let mut ob = link.observer_from(Start::Oldest).unwrap();
            for seq in 1..=5 {
                assert_is(&ob.poll().unwrap().unwrap(), seq, MTU);
            }
            assert!(ob.poll().unwrap().is_none() && !ob.is_closed());
            assert!(!maps_writable("/quotes/tx"), "not even the page of the hot slot");
            refused_as_a_party(&link, &folder, reason);
        }
        ("is", "kept out") => {
            let error = open(&folder).unwrap_err();
            assert_eq!(error.kind(), LinkErrorKind::System, "{error}");
            let (message, user) = (error.to_string(), user.parse::<u32>().unwrap());
            for part in [&format!("user {user}"), "Permission denied", "base/quotes", "its mode does not let"]
            {
                assert!(message.contains(part), "no {part:?} in {message}");
            }
            for error in [
                Link::holders(folder.join("base"), "quotes").unwrap_err(),
                Link::remove_dead(folder.join("base"), "quotes").unwrap_err(),
                Link::remove_named(folder.join("base"), "quotes").unwrap_err(),
            ] {
                assert!(error.to_string().contains("Permission denied"), "{error}");
            }
        }
        ("is", "kept out of the folder") => {
            let error = open(&folder).unwrap_err();
            let base = folder.join("base").display().to_string();
            for part in [&format!("cannot enter the folder of links {base}"), user, "chmod"] {
                assert!(error.to_string().contains(part), "no {part:?} in {error}");
            }
        }
        other => panic!("no role {other:?}"),
    }
}

/// A user who may only read can only be an observer, and the error says so.
fn refused_as_a_party(link: &Link, folder: &Path, reason: &str) {
    let refused = link.consumer().unwrap_err().to_string();
    assert!(refused.contains(reason) && refused.contains("observer"), "no {reason:?} in {refused}");
    let cannot_write = [
        link.producer().unwrap_err(),
        link.evictable_consumer(Start::Next).unwrap_err(),
        link.stop().unwrap_err(),
    ];
    for error in cannot_write {
        assert_eq!(error.kind(), LinkErrorKind::System);
        let message = error.to_string();
        assert!(message.contains("for writing") && message.contains("Permission denied"), "{message}");
    }
    let base = folder.join("base");
    assert_eq!(builder(folder).create("mine").unwrap_err().kind(), LinkErrorKind::System);
    assert_eq!(link.remove().unwrap_err().kind(), LinkErrorKind::System);
    // It is visible that the producer's lock is held, but not by which process.
    assert_eq!(Link::holders(&base, "quotes").unwrap().to_string(), "its producer (tx)");
}

/// A folder of links that belongs to `owner` and to the group.
fn folder_of(owner: u32, mode: u32) -> (TestFolder, PathBuf) {
    let folder = TestFolder::new();
    set_mode(folder.path(), 0o711);
    let base = folder.path().join("base");
    fs::create_dir(&base).unwrap();
    chown(&base, Some(owner), Some(GROUP)).unwrap();
    set_mode(&base, mode);
    (folder, base)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn as_root(test: fn()) {
    if Uid::effective().is_root() {
        in_time(test);
    } else {
        skip("only root can become other users");
    }
}

#[test]
fn by_default_no_other_user_can_open_a_link() {
    as_root(|| {
        let (folder, base) = folder_of(OWNER, 0o2711);
        let _maker = Child::start_ready(&format!("{OWNER} makes"), &folder);
        let found = fs::metadata(base.join("quotes/tx")).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (OWNER, 0o600));
        for user in [MEMBER, STRANGER] {
            Child::start(&format!("{user} is kept out"), &folder).succeeds();
        }
    });
}

#[test]
fn a_folder_that_may_not_be_entered_is_named() {
    as_root(|| {
        let (folder, _) = folder_of(OWNER, 0o700);
        let _maker = Child::start_ready(&format!("{OWNER} makes 644"), &folder);
        Child::start(&format!("{STRANGER} is kept out of the folder"), &folder).succeeds();
    });
}

#[test]
fn with_0640_the_group_can_observe_and_others_cannot() {
    as_root(|| {
        // The group can search the folder of links, but not list it.
        let (folder, base) = folder_of(OWNER, 0o2710);
        let maker = Child::start_ready(&format!("{OWNER} makes 640"), &folder);
        let of = |path: &str| {
            let found = fs::metadata(base.join(path)).unwrap();
            (found.uid(), found.gid(), found.mode() & 0o777)
        };
        assert_eq!(of("quotes"), (OWNER, GROUP, 0o750));
        for file in ["tx", "ctl", "rx.0", "rx.1"] {
            assert_eq!(of(&format!("quotes/{file}")), (OWNER, GROUP, 0o640), "whatever the umask");
        }
        Child::start(&format!("{MEMBER} reads belongs to user {OWNER}, neither root nor you"), &folder)
            .succeeds();
        set_mode(&base, 0o2711);
        Child::start(&format!("{STRANGER} is kept out"), &folder).succeeds();
        // Removing a dead link creates the file that is locked for it.
        drop(maker);
        let _next = Child::start_ready(&format!("{OWNER} makes 640"), &folder);
        assert_eq!(of(".lock").2 & 0o044, 0, "no other user may be able to lock it");
    });
}

#[test]
fn with_0604_and_0644_everybody_can_observe() {
    as_root(|| {
        for mode in ["644", "604"] {
            let (folder, _) = folder_of(OWNER, 0o755);
            let _maker = Child::start_ready(&format!("{OWNER} makes {mode}"), &folder);
            Child::start(&format!("{STRANGER} reads belongs to user {OWNER}, neither root nor you"), &folder)
                .succeeds();
        }
    });
}

/// Root is trusted not to write into links, but other users cannot write into its links either.
#[test]
fn a_link_of_root_can_be_observed_and_not_joined() {
    as_root(|| {
        let (folder, _) = folder_of(0, 0o2750);
        let _maker = Child::start_ready("0 makes 640", &folder);
        Child::start(&format!("{MEMBER} reads rx.0 for writing"), &folder).succeeds();
    });
}

/// Root may write anywhere. Nevertheless it does not read in place what another user can change.
#[test]
fn root_cannot_be_a_consumer_of_a_users_link() {
    as_root(|| {
        let (folder, _) = folder_of(OWNER, 0o700);
        let _maker = Child::start_ready(&format!("{OWNER} makes"), &folder);
        let link = open(folder.path()).unwrap();
        let refused = link.consumer().unwrap_err();
        assert_eq!(refused.kind(), LinkErrorKind::Untrusted);
        assert!(refused.to_string().contains(&format!("belongs to user {OWNER}")), "{refused}");
        let mut ob = link.observer_from(Start::Oldest).unwrap();
        assert_is(&ob.poll().unwrap().unwrap(), 1, MTU);
    });
}

#[test]
fn a_mode_that_lets_others_write_is_refused() {
    let folder = TestFolder::new();
    for mode in [0o660, 0o602, 0o666, 0o620, 0o400, 0o200, 0o440, 0, 0o700, 0o650, 0o1600, 0o4640, 0o10640] {
        let error = builder(folder.path()).mode(mode).create("quotes").unwrap_err();
        assert_eq!(error.kind(), LinkErrorKind::Invalid, "{mode:o}");
        let message = error.to_string();
        assert!(message.contains(&format!("{mode:#o}")) && message.contains("only the owner"), "{message}");
    }
    assert!(!folder.path().join("base").exists());
    for mode in [0o600, 0o640, 0o604, 0o644] {
        let name = format!("with-{mode:o}");
        builder(folder.path()).mode(mode).create(&name).unwrap();
        let path = folder.path().join("base").join(name);
        let mode_of = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode_of(&path), mode | 0o100 | ((mode & 0o044) >> 2));
        assert_eq!(mode_of(&path.join("rx.1")), mode);
    }
}
