//! A mistake is told in one line that names what was wrong: status 2 for wrong use, 1 for what failed.

mod common;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::Place;

#[test]
fn wrong_use() {
    let cases: [(&str, &[&str]); 25] = [
        ("send", &["<LINK>"]),
        ("recv", &["<LINK>"]),
        ("rm", &["<LINK>"]),
        ("rm --dead x", &["--dead", "[LINK]"]),
        ("rm --dead --force", &["--dead", "--force"]),
        ("frobnicate", &["frobnicate"]),
        ("send x --dept 4", &["--dept"]),
        ("send x --depth many", &["many", "--depth"]),
        ("send x --depth 100", &["100", "power of two"]),
        ("send x --depth -4", &["-4", "--depth", "power of two"]),
        ("send x --mtu 0", &["'0'", "--mtu", "from 1 on"]),
        ("send x --mtu -5", &["-5", "--mtu", "from 1 on"]),
        ("send x --mtu 9999999999", &["9999999999", "limit"]),
        ("send x --wait-for -1", &["-1", "--wait-for", "from 0 on"]),
        ("send x --consumers few", &["few", "--consumers", "from 0 on"]),
        ("send x --wait-for 3 --consumers 2", &["--wait-for 3", "--consumers 2"]),
        ("send a/b", &["a/b"]),
        ("recv ..", &[".."]),
        ("recv x --timeout soon", &["soon", "--timeout", "seconds from 0 on"]),
        ("recv x --timeout -1", &["-1", "--timeout", "seconds from 0 on"]),
        ("recv x --timeout nan", &["nan", "--timeout", "seconds from 0 on"]),
        ("demo --consumers -2", &["-2", "--consumers", "1..=64"]),
        ("demo --depth 3", &["--depth", "3", "power of two"]),
        ("demo --size -1", &["-1", "--size", "from 0 to"]),
        ("demo --duration 0", &["--duration", "0.1"]),
    ];
    let place = Place::new();
    for (arguments, parts) in cases {
        place.run(arguments).assert_failed(2, parts);
    }
    assert!(place.list().is_empty());
}

#[test]
fn a_link_that_does_not_come() {
    let place = Place::new();
    place.run("recv x --timeout 0.05").assert_failed(1, &["no link", "waited"]);
    let other = place.start("send y");
    place.await_status("y", |status| status.producer);
    place.run("recv x --timeout 0").assert_failed(1, &["no link named x", "waited"]);
    drop(other);
}

#[test]
fn a_second_sender() {
    let place = Place::new();
    let sender = place.start("send x");
    place.await_status("x", |status| status.producer);
    let holder = format!("link x is in use by its producer (tx, process {})", sender.pid());
    place.run("send x").assert_failed(1, &[&holder]);
    let receiver = place.start("recv x");
    place.await_status("x", |status| status.consumers.len() == 1);
    let both = format!("{holder} and the consumer in slot 0 (rx.0, process {})", receiver.pid());
    place.run("send x").assert_failed(1, &[&both]);
    assert_eq!(place.list(), ["x"]);
    drop(receiver);
    drop(sender);
}

#[test]
fn one_receiver_too_many() {
    let place = Place::new();
    let sender = place.start("send x");
    let receiver = place.start("recv x");
    place.await_status("x", |status| status.consumers.len() == 1);
    place.run("recv x").assert_failed(1, &["all slots", "--observe", "--consumers"]);
    sender.end().assert_ok();
    receiver.end().assert_ok();
}

#[test]
fn a_folder_that_is_none() {
    let place = Place::new();
    drop(place.file("links", b"a file"));
    for arguments in ["send x", "ls", "rm x", "recv x"] {
        place.run(arguments).assert_failed(1, &["links"]);
    }
}

#[test]
fn a_folder_that_others_can_write_to() {
    let place = Place::new();
    let mut sender = place.start("send x --wait-for 0");
    place.await_status("x", |status| status.producer);
    fs::set_permissions(place.links(), Permissions::from_mode(0o777)).unwrap();
    place.run("recv x").assert_failed(1, &["links", "observe"]);
    let observer = place.start("recv x --observe");
    sender.write(b"seen");
    observer.await_output(4);
    sender.end().assert_ok();
    observer.end().assert_ok();
}

#[test]
fn input_that_cannot_be_read() {
    let place = Place::new();
    let folder = File::open("/").unwrap();
    place
        .start_with_input("send x --wait-for 0", folder)
        .end()
        .assert_failed(1, &["cannot read standard input"]);
    assert!(place.list().is_empty());
}

#[test]
fn more_than_there_is_memory() {
    let place = Place::new();
    place.run("send x --depth 2 --mtu 2147483648 --wait-for 0 --consumers 257").assert_failed(2, &["257"]);
    assert!(place.list().is_empty());
}

#[test]
fn help_is_not_an_error() {
    let place = Place::new();
    for arguments in
        ["--help", "send --help", "recv --help", "ls --help", "rm --help", "demo --help", "--version"]
    {
        let ended = place.run(arguments);
        ended.assert_ok();
        let text = String::from_utf8(ended.out).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(!text.lines().any(|line| line.trim().starts_with("role")), "{text}");
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = place.start_with(arguments, Stdio::null(), Some(full.into())).end();
        ended.assert_failed(1, &["cannot write to standard output"]);
    }
}
