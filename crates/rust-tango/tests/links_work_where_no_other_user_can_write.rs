//! A consumer can join a link wherever no other user can write to the link's own folder and files, whatever
//! is above them: a `/dev/shm` that everybody can write, a sticky folder of this user, an overlay, a user
//! namespace in which `/` has no owner.
//!
//! Needs root, to mount filesystems in a mount namespace and to become other users. Without it, the tests
//! report that they are skipped.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use common::process::{Child, TestFolder, role, say, skip};
use common::users::{OWNER, STRANGER, become_user};
use common::{assert_is, in_time, publish};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, setresuid};
use rust_tango::{Link, LinkBuilder, LinkErrorKind, Start};

const MTU: usize = 300;
/// Starts a program as `OWNER` without any privilege, so that the namespaces it makes are those of a user.
const AS_OWNER: &str = "setpriv --reuid 61001 --regid 61001 --clear-groups";

/// `None`: the default folder.
fn builder(base: Option<&Path>) -> LinkBuilder {
    let builder = Link::builder().depth(8).mtu(MTU).consumers(2);
    base.map_or(builder.clone(), |base| builder.dir(base))
}

fn open(base: Option<&Path>) -> Link {
    base.map_or_else(|| Link::open("quotes"), |base| Link::open_in(base, "quotes")).unwrap()
}

/// A link works: it is created, opened, written, read in place and removed.
#[track_caller]
fn works(base: Option<&Path>) {
    let made = builder(base).create("quotes").unwrap();
    made.check_trust().unwrap();
    let link = open(base);
    let mut rx = link.consumer().unwrap();
    let tx = made.producer().unwrap();
    for seq in 1..=50 {
        publish(&tx, MTU).unwrap();
        assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
    }
    made.remove().unwrap();
}

/// Runs `act` as another user, and returns to being root.
fn as_user<T>(user: u32, act: impl FnOnce() -> T) -> T {
    let [root, user] = [0, user].map(Uid::from_raw);
    setresuid(user, user, root).unwrap();
    let result = act();
    setresuid(root, root, root).unwrap();
    result
}

fn mounted(kind: &str, path: &Path, options: &str) -> nix::Result<()> {
    fs::create_dir_all(path).unwrap();
    mount(Some("none"), path, Some(kind), MsFlags::empty(), Some(options))
}

/// The roles of the child processes.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let memory = Path::new("/dev/shm");
    if !role.starts_with("in a namespace") {
        // What this thread mounts from now on is visible to it alone, and is unmounted when it ends.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let mine = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>));
        if let Err(why) = mine {
            return say(format!("cannot mount filesystems: {why}"));
        }
    }
    let default = format!("/dev/shm/tango-{OWNER}");
    match role.as_str() {
        "everybody can write" => {
            mounted("tmpfs", memory, "mode=0777").unwrap();
            works(None);
            works(Some(memory));
            become_user(OWNER);
            works(None);
        }
        "a stranger replaces the folder" => a_stranger_replaces_the_folder(&folder),
        "my sticky folder" => {
            let base = folder.join("base");
            mounted("tmpfs", &base, &format!("mode=1777,uid={OWNER}")).unwrap();
            become_user(OWNER);
            works(Some(&base));
            works(Some(&base.join("below")));
        }
        "overlay" => {
            if let Err(why) = overlay(&folder) {
                return say(format!("cannot mount an overlay: {why}"));
            }
            works(Some(&folder.join("merged/new")));
        }
        "a lower layer" => {
            let base = folder.join("lower/base");
            let dead = builder(Some(&base)).create("quotes").unwrap();
            publish(&dead.producer().unwrap(), MTU).unwrap();
            drop(dead);
            if let Err(why) = overlay(&folder) {
                return say(format!("cannot mount an overlay: {why}"));
            }
            let base = folder.join("merged/base");
            // Opened while the files are those of the lower layer; the producer writes to their copies.
            let link = open(Some(&base));
            let tx = builder(Some(&base)).create_or_take_over("quotes").unwrap().producer().unwrap();
            let mut rx = link.consumer_from(Start::Oldest).unwrap();
            let mut ob = link.observer_from(Start::Oldest).unwrap();
            for seq in 1..=50 {
                if seq > 1 {
                    publish(&tx, MTU).unwrap();
                }
                assert_is(&rx.poll().unwrap().unwrap(), seq, MTU);
                assert_is(&ob.poll().unwrap().unwrap(), seq, MTU);
            }
            assert_eq!(tx.consumers(), 1);
            drop((tx, rx, ob, link));
            // Its folder cannot be renamed, so it cannot be replaced.
            let error = builder(Some(&base)).create("quotes").unwrap_err().to_string();
            assert!(error.contains("lower layer") && error.contains("rm -r"), "{error}");
        }
        "in a namespace" => {
            assert_eq!(Link::folder_of_links().to_str(), Some(default.as_str()));
            works(None);
        }
        "in a namespace, with a mount" => {
            mounted("tmpfs", memory, "mode=0755").unwrap();
            works(None);
        }
        "around a namespace" => {
            mounted("tmpfs", memory, "mode=1777").unwrap();
            for (options, role) in [
                ("-U --map-current-user", "in a namespace"),
                ("-U --map-root-user", "in a namespace"),
                ("-U -m --map-root-user", "in a namespace, with a mount"),
            ] {
                if let Err(why) = run_in_a_namespace(options, role) {
                    return say(why);
                }
            }
        }
        "the default folder of root stays free" => {
            mounted("tmpfs", memory, "mode=1777").unwrap();
            if let Err(why) = run_in_a_namespace("-U --map-root-user", "in a namespace") {
                return say(why);
            }
            assert!(Path::new(&default).exists() && !Path::new("/dev/shm/tango-0").exists());
            works(None);
            // A link of the same user can be used on both sides of the border.
            as_user(OWNER, || {
                assert_eq!(Link::folder_of_links().to_str(), Some(default.as_str()));
            });
            // Somebody else may have made it on purpose.
            fs::remove_dir_all("/dev/shm/tango-0").unwrap();
            as_user(STRANGER, || fs::create_dir("/dev/shm/tango-0").unwrap());
            let error = Link::builder().create("quotes").unwrap_err();
            assert_eq!(error.kind(), LinkErrorKind::Untrusted);
            assert!(error.to_string().contains("rm -r /dev/shm/tango-0"), "{error}");
        }
        other => panic!("no role {other}"),
    }
    say("done");
}

/// In a folder that everybody can write, another user can hide a link, but not get a consumer to read what
/// that user can write.
fn a_stranger_replaces_the_folder(folder: &Path) {
    let shared = folder.join("shared");
    mounted("tmpfs", &shared, "mode=0777").unwrap();
    let base = shared.join("base");
    let made = builder(Some(&base)).create("quotes").unwrap();
    let link = open(Some(&base));
    as_user(STRANGER, || fs::rename(&base, shared.join("hidden")).unwrap());
    assert!(link.consumer().unwrap_err().is_not_found());
    as_user(STRANGER, || {
        drop(builder(Some(&base)).mode(0o644).create("quotes").unwrap());
        for path in [&base, &base.join("quotes")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    });
    let refused = open(Some(&base)).consumer().unwrap_err();
    assert_eq!(refused.kind(), LinkErrorKind::Untrusted);
    assert!(refused.to_string().contains(&format!("belongs to user {STRANGER}")), "{refused}");
    // Nor if files of this user are in a folder of the other.
    for file in fs::read_dir(base.join("quotes")).unwrap() {
        chown(file.unwrap().path(), Some(0), None).unwrap();
    }
    let refused = open(Some(&base)).consumer().unwrap_err();
    assert!(refused.to_string().contains("quotes belongs to user"), "{refused}");
    drop(made);
}

fn overlay(folder: &Path) -> nix::Result<()> {
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| {
        let path = folder.join(name);
        fs::create_dir_all(&path).unwrap();
        path.display().to_string()
    });
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    mounted("overlay", &folder.join("merged"), &options)
}

/// Runs the child in this role, as root.
fn run_as_root(role: &'static str) {
    if !Uid::effective().is_root() {
        return skip("only root can mount filesystems and become other users");
    }
    in_time(move || {
        let folder = reachable_folder();
        let mut child = Child::start(role, &folder);
        let said = child.hear();
        child.succeeds();
        if said != "done" {
            skip(&said);
        }
    });
}

/// Runs a child in this role, as an ordinary user in a user namespace that `unshare` makes.
fn run_in_a_namespace(options: &str, role: &str) -> Result<(), String> {
    let through = format!("{AS_OWNER} unshare {options}");
    let mut words = through.split(' ');
    let tried = Command::new(words.next().unwrap()).args(words).arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return Err(format!("cannot run '{through}'"));
    }
    let folder = reachable_folder();
    let mut child = Child::start_through(&through, role, &folder);
    assert_eq!(child.hear_or_end().as_deref(), Some("done"), "{role} by {through}");
    child.succeeds();
    Ok(())
}

fn reachable_folder() -> TestFolder {
    let folder = TestFolder::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

#[test]
fn below_a_folder_that_everybody_can_write() {
    run_as_root("everybody can write");
}

#[test]
fn a_stranger_cannot_pass_off_files_of_its_own() {
    run_as_root("a stranger replaces the folder");
}

#[test]
fn in_a_sticky_folder_of_this_user() {
    run_as_root("my sticky folder");
}

#[test]
fn on_an_overlay() {
    run_as_root("overlay");
}

/// A file of a lower layer is copied when it is opened for writing. Both ends must map the copy.
#[test]
fn on_an_overlay_over_an_old_link() {
    run_as_root("a lower layer");
}

#[test]
fn in_a_user_namespace() {
    run_as_root("around a namespace");
}

#[test]
fn a_user_namespace_leaves_the_default_folder_of_root_alone() {
    run_as_root("the default folder of root stays free");
}
