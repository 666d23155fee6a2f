//! `tango ls` shows which links exist, whether their producers live, and which processes read them.

mod common;

use std::fs;

use common::{Exited, TestFolder};
use nix::sys::signal::Signal;
use rust_tango::{Link, PayloadType};

/// The cells of a link's row.
#[track_caller]
fn row(ls: &Exited, link: &str) -> Vec<String> {
    let text = String::from_utf8(ls.out.clone()).unwrap();
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(link));
    line.unwrap_or_else(|| panic!("no {link} in {text}")).split_whitespace().map(String::from).collect()
}

#[test]
fn an_empty_folder_is_reported_as_such() {
    let folder = TestFolder::new();
    let ls = folder.run("ls");
    ls.assert_ok();
    let text = String::from_utf8(ls.out).unwrap();
    assert!(text.contains("no links") && text.lines().count() == 1, "{text}");
}

#[test]
fn producers_and_consumers_are_shown() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send live --depth 64 --mtu 100 --consumers 3");
    let receiver = folder.start("recv live");
    sender.write(b"x");
    receiver.await_output(1);
    folder.await_status("live", |status| status.next == 2 && status.consumers.iter().all(|one| one.lag == 0));
    folder.leave_dead_link("left");
    let ls = folder.run("ls");
    ls.assert_ok();
    assert_eq!(row(&ls, "live")[1..5], ["alive", "2", "64", "100"]);
    assert_eq!(row(&ls, "live")[6..], ["1", "of", "3:", "#0", "lag", "0"]);
    assert_eq!(row(&ls, "left")[1..3], ["dead", "1"]);
    sender.finish().assert_ok();
    receiver.finish().assert_ok();
    assert_eq!(folder.list(), ["left"]);
    folder.run("rm left").assert_ok();
}

/// Scripts count columns from the left.
#[test]
fn the_type_of_a_link_comes_behind_all_other_columns() {
    let folder = TestFolder::new();
    let builder = || Link::builder().depth(8).mtu(64).dir(folder.links());
    drop(builder().create("untyped").unwrap());
    let text = |ls: Exited| String::from_utf8(ls.out).unwrap();
    let before = text(folder.run("ls"));
    assert!(before.lines().next().unwrap().ends_with("  CONSUMERS"), "{before}");
    let typed = builder().payload_type(PayloadType::new("exchange.Quote 2", 24, 8)).create("typed").unwrap();
    let _consumer = typed.consumer().unwrap();
    let ls = folder.run("ls");
    ls.assert_ok();
    let untyped = row(&ls, "untyped");
    assert_eq!(untyped, before.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>());
    assert_eq!(row(&ls, "typed")[6..12], ["1", "of", "1:", "#0", "lag", "0"]);
    let text = text(ls);
    let column = text.lines().next().unwrap().find("TYPE").unwrap();
    let line = text.lines().find(|line| line.starts_with("typed")).unwrap();
    assert_eq!(&line[column..], "exchange.Quote 2 (24 bytes, alignment 8)");
}

#[test]
fn a_killed_receiver_is_shown_as_dead() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --wait-for 0");
    let receiver = folder.start("recv x");
    sender.write(b"x");
    receiver.await_output(1);
    receiver.signal(Signal::SIGKILL);
    receiver.finish();
    sender.write(b"y");
    folder.await_status("x", |status| status.next == 3);
    let cells = row(&folder.run("ls"), "x").join(" ");
    assert!(cells.ends_with("0 of 1: #0 dead"), "{cells}");
}

/// Its maker has ended without a producer. Nothing has died that could have published.
#[test]
fn a_link_that_never_had_a_producer_is_not_dead() {
    let folder = TestFolder::new();
    drop(Link::builder().depth(8).mtu(64).dir(folder.links()).create("x").unwrap());
    assert_eq!(row(&folder.run("ls"), "x")[1], "none");
    folder.run("recv x").assert_failed(1, &["link x has never had a sender", "tango rm x"]);
    folder.run("rm x").assert_ok();
}

#[test]
fn broken_links_are_named_on_standard_error() {
    let folder = TestFolder::new();
    folder.leave_dead_link("sound");
    let broken = folder.links().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("tx"), "not the content of a link's file").unwrap();
    let ls = folder.run("ls");
    ls.assert_failed(1, &["broken"]);
    assert_eq!(row(&ls, "sound")[1], "dead");
}

#[test]
fn the_option_dir_names_the_folder() {
    let folder = TestFolder::new();
    folder.leave_dead_link("x");
    let other = folder.links().join("other");
    let ls = folder.run(&format!("ls --dir {}", other.display()));
    ls.assert_ok();
    assert!(String::from_utf8(ls.out).unwrap().contains("other"));
    let ls = folder.run(&format!("--dir {} ls", folder.links().display()));
    assert_eq!(row(&ls, "x")[1], "dead");
}
