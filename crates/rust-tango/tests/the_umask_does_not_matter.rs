//! Whatever the umask of a process is, what the library makes has the permissions that are documented: the
//! folder of links, its lock file, the folder of a link and its files. What an earlier process has made with
//! fewer permissions is mended.
//!
//! Needs root, to become an ordinary user: root may do everything whatever the permissions are.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use common::process::{Child, TestFolder, role, say, skip};
use common::users::{OWNER, become_user};
use common::{assert_is, in_time, publish};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use rust_tango::{Link, LinkBuilder};

const MTU: usize = 300;
/// What the lock file was made with in the past, before the umask.
const OLD_LOCK_MODE: u32 = 0o622;

fn builder(base: &Path, mode: u32) -> LinkBuilder {
    Link::builder().depth(2).mtu(MTU).dir(base).mode(mode)
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Makes a link, uses it, replaces it and removes it.
fn lives(base: &Path, files: u32) {
    let made = builder(base, files).create("quotes").unwrap();
    for file in ["tx", "ctl", "rx.0"] {
        assert_eq!(mode(base.join("quotes").join(file)), files, "{file}");
    }
    assert_eq!(mode(base.join("quotes")), files | 0o100 | ((files & 0o044) >> 2));
    assert_eq!(mode(base), 0o700);
    let tx = made.producer().unwrap();
    let mut rx = Link::open_in(base, "quotes").unwrap().consumer().unwrap();
    publish(&tx, MTU).unwrap();
    assert_is(&rx.poll().unwrap().unwrap(), 1, MTU);
    drop((made, tx, rx));
    // Takes the lock of the folder.
    builder(base, files).create("quotes").unwrap().remove().unwrap();
    assert_eq!(mode(base.join(".lock")), 0o600);
}

#[test]
fn child() {
    let Some((_, folder)) = role() else { return };
    become_user(OWNER);
    let modes = [0o600, 0o640, 0o604, 0o644];
    for mask in 0..=0o777 {
        umask(Mode::from_bits_truncate(mask));
        let files = modes[mask as usize % modes.len()];
        let base = folder.join(format!("made/with-{mask:03o}"));
        lives(&base, files);
        // As an earlier process left them.
        set_mode(&base.join(".lock"), OLD_LOCK_MODE & !mask);
        set_mode(&base, 0o700 & !mask);
        let made = builder(&base, files).create("quotes").unwrap();
        drop(made);
        builder(&base, files).create("quotes").unwrap().remove().unwrap();
        assert_eq!(mode(&base), 0o700, "{mask:03o}");
        fs::remove_dir_all(&base).unwrap();
    }
    // In a folder that several users share, those that may make links may also lock it.
    umask(Mode::from_bits_truncate(0o077));
    let base = folder.join("shared");
    fs::create_dir(&base).unwrap();
    for (folder_mode, lock_mode) in [(0o755, 0o600), (0o770, 0o620), (0o1777, 0o622)] {
        set_mode(&base, folder_mode);
        drop(builder(&base, 0o600).create("quotes").unwrap());
        builder(&base, 0o600).create("quotes").unwrap().remove().unwrap();
        assert_eq!(mode(base.join(".lock")), lock_mode, "{folder_mode:o}");
        fs::remove_file(base.join(".lock")).unwrap();
    }
    say("done");
}

#[test]
fn every_umask_gives_the_same_permissions() {
    if !Uid::effective().is_root() {
        return skip("only root can become another user");
    }
    in_time(|| {
        let folder = TestFolder::new();
        chown(folder.path(), Some(OWNER), Some(OWNER)).unwrap();
        Child::start("any umask", &folder).succeeds();
    });
}
