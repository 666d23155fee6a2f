//! `tango peek` shows the newest fragments of a link, says what it has lost, and does not slow the producer down.

mod common;

use std::fs;
use std::process::Stdio;

use common::{Exited, TestFolder, wait_until};
use nix::sys::signal::Signal;
use rust_tango::{Control, Link, Producer};
use serde_json::{Value, json};

fn link(folder: &TestFolder) -> (Link, Producer<'static>) {
    let link = Link::builder().depth(64).mtu(512).dir(folder.links()).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    (link, tx)
}

/// 20 fragments with numbers from 1. Every fifth one has sig 7, and each odd one ctl 3.
fn publish(tx: &Producer<'_>) {
    let ctl = Control::WHOLE.with_continues().with_more().bits();
    for n in 1..=20_u32 {
        let (sig, ctl) = (if n % 5 == 0 { 7 } else { 1 }, if n % 2 == 1 { ctl } else { 0 });
        tx.publish(format!("bid {n}").as_bytes(), sig, ctl, 1000 + n).unwrap();
    }
}

fn lines(exited: &Exited) -> Vec<Value> {
    let text = String::from_utf8(exited.out.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(exited: &Exited) -> Vec<u64> {
    lines(exited).iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

#[test]
fn people_see_metadata_and_a_dump() {
    let folder = TestFolder::new();
    let (_link, tx) = link(&folder);
    publish(&tx);
    tx.publish(&[0; 300], 0x1f, 0, 0).unwrap();
    let peek = folder.run("peek quotes --last 2");
    peek.assert_ok();
    let text = String::from_utf8(peek.out).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "seq 20  sig 7 (0x7)  ctl 0x0  ts 1020  size 6");
    assert_eq!(lines[1], "  00000000  62 69 64 20 32 30                                 |bid 20|");
    assert_eq!(lines[2], "seq 21  sig 31 (0x1f)  ctl 0x0  ts 0  size 300");
    assert_eq!((lines.len(), lines[19]), (3 + 17, "  ... 44 more bytes"));
    let peek = folder.run("peek quotes --last 3 --bytes 0");
    peek.assert_ok();
    let text = String::from_utf8(peek.out).unwrap();
    assert!(text.starts_with("seq 19  sig 1 (0x1)  ctl 0x3 (continues, more)  ts 1019  size 6\n"), "{text}");
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn programs_get_json_and_filters() {
    let folder = TestFolder::new();
    let (_link, tx) = link(&folder);
    let none = folder.run("peek quotes");
    none.assert_ok();
    assert!(none.out.is_empty());
    publish(&tx);
    let peek = folder.run("peek quotes --json --last 1");
    peek.assert_ok();
    let expected = json!({
        "version": 1, "seq": 20, "sig": 7, "ctl": 0, "ts": 1020, "size": 6, "payload": "626964203230",
    });
    assert_eq!(lines(&peek), [expected]);
    let of = |options: &str| {
        let peek = folder.run(&format!("peek quotes --json {options}"));
        peek.assert_ok();
        numbers(&peek)
    };
    assert_eq!(of(""), (11..=20).collect::<Vec<_>>());
    assert_eq!(of("--last 100"), (1..=20).collect::<Vec<_>>());
    assert_eq!(of("--sig 7"), [5, 10, 15, 20]);
    assert_eq!(of("--sig 0x7 --last 2"), [15, 20]);
    assert_eq!(of("--sig 7 --ctl 0x3"), [5, 15]);
    assert!(of("--last 0").is_empty());
    let short = folder.run("peek quotes --json --last 1 --bytes 2");
    assert_eq!(lines(&short)[0]["payload"], "6269");
    folder.run("peek quotes --sig x").assert_failed(2, &["'x'", "--sig", "0x7"]);
    folder.run("peek quotes --ctl 65536").assert_failed(2, &["65536", "--ctl"]);
    folder.run("peek quotes --count 3").assert_failed(2, &["--follow"]);
}

#[test]
fn following_ends_with_the_link_or_after_enough() {
    let folder = TestFolder::new();
    let (_link, tx) = link(&folder);
    publish(&tx);
    let enough = folder.start("peek quotes --json --follow --last 1 --count 3");
    let closed = folder.start("peek quotes --json --follow --last 0 --sig 9");
    // Each reads from where the link was when it came, so both have to be there: the first shows what is there already.
    enough.await_output(1);
    wait_until("the observer", || {
        let maps = fs::read_to_string(format!("/proc/{}/maps", closed.child.id())).unwrap();
        maps.contains("quotes/tx")
    });
    // The second may still be joining. So sig 9 comes again until it has seen one.
    let mut next = 21;
    wait_until("a fragment with sig 9", || {
        tx.publish(b"x", 9, 0, 0).unwrap();
        tx.publish(b"y", 8, 0, 0).unwrap();
        next += 2;
        fs::metadata(&closed.out).unwrap().len() > 0
    });
    let enough = enough.wait();
    enough.assert_ok();
    assert_eq!(numbers(&enough), [20, 21, 22]);
    drop(tx);
    let closed = closed.wait();
    assert!([0, 3].contains(&closed.code()), "{}", closed.err);
    let shown = lines(&closed);
    assert!(shown.iter().all(|line| line["sig"] == 9 || line["lost"].is_u64()));
    assert!(shown.last().unwrap()["seq"].as_u64().unwrap() <= next);
}

#[test]
fn the_end_of_a_link_is_told_apart() {
    let folder = TestFolder::new();
    let sender = folder.start_sender("x");
    let peek = folder.start("peek x --follow");
    sender.signal(Signal::SIGKILL);
    sender.wait();
    peek.wait().assert_failed(1, &["the producer of link x died"]);
    let (link, tx) = link(&folder);
    publish(&tx);
    let peek = folder.start("peek quotes --follow --bytes 0");
    peek.await_output(1);
    link.stop().unwrap();
    peek.wait().assert_failed(1, &["link quotes was stopped"]);
    // What is there can be seen nevertheless.
    let peek = folder.run("peek quotes --json --last 1");
    peek.assert_ok();
    assert_eq!(numbers(&peek), [20]);
    folder.run("peek nothing").assert_failed(1, &["no link named nothing"]);
}

#[test]
fn closed_outputs_and_signals_end_it() {
    let folder = TestFolder::new();
    let (_link, _tx) = link(&folder);
    let (reader, writer) = std::io::pipe().unwrap();
    let peek = folder.start_with("peek quotes --follow", Stdio::null(), Some(writer.into()));
    drop(reader);
    peek.wait().assert_ok();
    let peek = folder.start("peek quotes --follow");
    peek.signal(Signal::SIGTERM);
    assert_eq!(peek.wait().code(), -(Signal::SIGTERM as i32));
}

#[test]
fn the_producer_does_not_wait_and_losses_are_said() {
    let folder = TestFolder::new();
    let (link, tx) = link(&folder);
    publish(&tx);
    // Its output is a pipe that nobody reads for now: it cannot keep up.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let peek = folder.start_with("peek quotes --follow --json --last 1", Stdio::null(), Some(writer.into()));
    let mut first = [0; 1];
    std::io::Read::read_exact(&mut reader, &mut first).unwrap();
    // More than the pipe and the buffers of `peek` can take.
    for _ in 0..20_000 {
        tx.publish(&[b'x'; 100], 1, 0, 0).unwrap();
    }
    let status = link.status();
    assert_eq!((status.backpressure, status.held_by), (0, None));
    drop(tx);
    let mut text = String::from_utf8(first.to_vec()).unwrap();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lost: u64 = lines.iter().filter_map(|line| line["lost"].as_u64()).sum();
    let shown = lines.iter().filter(|line| line["seq"].is_u64()).count() as u64;
    assert!(lost > 0);
    assert_eq!(shown + lost, 20_001);
    peek.wait().assert_failed(3, &["fragments of link quotes were overwritten before they were read"]);
}

#[test]
fn links_without_observers_say_so() {
    let folder = TestFolder::new();
    let builder = Link::builder().depth(8).mtu(64).observers(false).dir(folder.links());
    let _link = builder.create("closed").unwrap();
    folder.run("peek closed").assert_failed(1, &["link closed was made without observers"]);
}
