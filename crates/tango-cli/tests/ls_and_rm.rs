//! `tango ls` tells who is on which link; `tango rm` takes away what nobody uses, or what it is forced to.

mod common;

use std::fs;

use common::{Ended, Place};
use nix::sys::signal::Signal;

/// The cells of the row of a link.
#[track_caller]
fn row(ls: &Ended, link: &str) -> Vec<String> {
    let text = String::from_utf8(ls.out.clone()).unwrap();
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(link));
    line.unwrap_or_else(|| panic!("no {link} in {text}")).split_whitespace().map(String::from).collect()
}

/// A link whose producer was killed, with nobody on it.
fn abandoned(place: &Place, link: &str) {
    let sender = place.start(&format!("send {link}"));
    place.await_status(link, |status| status.producer);
    sender.signal(Signal::SIGKILL);
    sender.end_by_itself();
}

#[test]
fn no_links() {
    let place = Place::new();
    let ls = place.run("ls");
    ls.assert_ok();
    let text = String::from_utf8(ls.out).unwrap();
    assert!(text.contains("no links") && text.lines().count() == 1, "{text}");
}

#[test]
fn who_is_on_which_link() {
    let place = Place::new();
    let mut sender = place.start("send live --depth 64 --mtu 100 --consumers 3");
    let receiver = place.start("recv live");
    sender.write(b"x");
    receiver.await_output(1);
    place.await_status("live", |status| status.next == 2 && status.consumers.iter().all(|one| one.lag == 0));
    abandoned(&place, "left");
    let ls = place.run("ls");
    ls.assert_ok();
    assert_eq!(row(&ls, "live")[1..5], ["alive", "2", "64", "100"]);
    assert_eq!(row(&ls, "live")[6..], ["1", "of", "3:", "#0", "lag", "0"]);
    assert_eq!(row(&ls, "left")[1..3], ["dead", "1"]);
    sender.end().assert_ok();
    receiver.end().assert_ok();
    assert_eq!(place.list(), ["left"]);
    place.run("rm left").assert_ok();
}

#[test]
fn a_killed_receiver_shows() {
    let place = Place::new();
    let mut sender = place.start("send x --wait-for 0");
    let receiver = place.start("recv x");
    sender.write(b"x");
    receiver.await_output(1);
    receiver.signal(Signal::SIGKILL);
    receiver.end();
    sender.write(b"y");
    place.await_status("x", |status| status.next == 3);
    let cells = row(&place.run("ls"), "x").join(" ");
    assert!(cells.ends_with("0 of 1: #0 dead"), "{cells}");
}

#[test]
fn a_live_link_is_left_alone_without_force() {
    let place = Place::new();
    let mut sender = place.start("send x");
    let receiver = place.start("recv x");
    sender.write(b"part");
    receiver.await_output(4);
    let holders = format!(
        "link x is in use by its producer (tx, process {}) and the consumer in slot 0 (rx.0, process {}): --force",
        sender.pid(),
        receiver.pid()
    );
    place.run("rm x").assert_failed(1, &[&holders]);
    assert_eq!(place.list(), ["x"]);
    place.run("rm --force x").assert_ok();
    assert!(place.list().is_empty());
    receiver.end().assert_failed(1, &["link x was stopped"]);
    sender.end_by_itself().assert_failed(1, &["link x was stopped before all was sent"]);
}

#[test]
fn several_and_one_that_is_not_there() {
    let place = Place::new();
    abandoned(&place, "a");
    abandoned(&place, "b");
    place.run("rm a nobody b").assert_failed(1, &["nobody"]);
    assert!(place.list().is_empty());
}

#[test]
fn broken_links_are_named_and_can_be_removed() {
    let place = Place::new();
    abandoned(&place, "sound");
    let broken = place.links().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("tx"), "not what is in the file of a link").unwrap();
    let ls = place.run("ls");
    ls.assert_failed(1, &["broken"]);
    assert_eq!(row(&ls, "sound")[1], "dead");
    place.run("rm broken").assert_ok();
    assert_eq!(place.list(), ["sound"]);
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("letter"), "of somebody").unwrap();
    place.run("rm --force broken").assert_failed(1, &["letter"]);
    assert!(broken.join("letter").exists());
}

#[test]
fn a_broken_link_that_is_held_is_left_alone() {
    let place = Place::new();
    let sender = place.start("send x");
    place.await_status("x", |status| status.producer);
    fs::remove_file(place.links().join("x/ctl")).unwrap();
    let holder = format!("link x is in use by its producer (tx, process {})", sender.pid());
    place.run("rm x").assert_failed(1, &[&holder, "--force"]);
    place.run("rm --force x").assert_ok();
    drop(sender);
}

#[test]
fn the_folder_can_be_named() {
    let place = Place::new();
    abandoned(&place, "x");
    let other = place.links().join("other");
    let ls = place.run(&format!("ls --dir {}", other.display()));
    ls.assert_ok();
    assert!(String::from_utf8(ls.out).unwrap().contains("other"));
    let ls = place.run(&format!("--dir {} ls", place.links().display()));
    assert_eq!(row(&ls, "x")[1], "dead");
}
