//! `tango inspect`, `tango ls --json` and `tango ls --watch` show a link and its processes, to people and to programs, and
//! change nothing.

mod common;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use common::{Exited, Running, TestFolder, wait_until};
use nix::sys::signal::Signal;
use rust_tango::{Consumer, Link};
use serde_json::Value;

/// A sender that is held back by a consumer of this process, which does not read.
struct Stuck {
    sender: Running,
    _consumer: Consumer<'static>,
}

fn stuck(folder: &TestFolder, link: &str) -> Stuck {
    let input = folder.file("input", &common::random_bytes(1 << 20));
    let sender = folder.start_with_input(&format!("send {link} --depth 8 --mtu 1024 --consumers 2"), input);
    folder.await_status(link, |status| status.producer);
    let consumer = Link::open_in(folder.links(), link).unwrap().consumer().unwrap();
    folder.await_status(link, |status| status.held_by == Some(0));
    Stuck { sender, _consumer: consumer }
}

#[track_caller]
fn text(exited: &Exited) -> String {
    String::from_utf8(exited.out.clone()).unwrap()
}

#[track_caller]
fn json(exited: &Exited) -> Value {
    assert_eq!(text(exited).lines().count(), 1);
    serde_json::from_slice(&exited.out).unwrap()
}

/// Asserts that one line has these words.
#[track_caller]
fn has_line(text: &str, words: &str) {
    let is_it = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").contains(words);
    assert!(text.lines().any(is_it), "no {words:?} in {text}");
}

#[test]
fn people_see_who_holds_the_producer_back() {
    let folder = TestFolder::new();
    let stuck = stuck(&folder, "quotes");
    let inspect = folder.run("inspect quotes");
    inspect.assert_ok();
    let text = text(&inspect);
    for words in [
        "name quotes",
        "state alive",
        "payload type none",
        "depth 8 fragments",
        "MTU 1,024 bytes",
        "consumer slots 2",
        "credits left 0 of 8; consumer #0 is the slowest",
        "held back by consumer #0",
        "backpressure 1 fragments had to wait",
        "#0 holding",
        &format!("tx {} ", stuck.sender.child.id()),
        &format!("rx.0 {} ", std::process::id()),
    ] {
        has_line(&text, words);
    }
    let sections: Vec<_> = text.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
    assert_eq!(sections, ["link", "sizes", "producer", "consumers", "processes"]);
}

#[test]
fn programs_get_the_same() {
    let folder = TestFolder::new();
    let stuck = stuck(&folder, "quotes");
    let inspect = folder.run("inspect quotes --json");
    inspect.assert_ok();
    let found = json(&inspect);
    assert_eq!(
        (&found["version"], &found["state"], &found["name"]),
        (&1.into(), &"alive".into(), &"quotes".into())
    );
    assert_eq!(found["path"], folder.links().join("quotes").to_str().unwrap());
    assert_eq!((&found["geometry"]["depth"], &found["geometry"]["mtu"]), (&8.into(), &1024.into()));
    assert_eq!((&found["credits_left"], &found["slowest"]), (&0.into(), &0.into()));
    assert_eq!(found["status"]["held_by"], 0);
    assert_eq!(found["metrics"]["backpressure_events"], 1);
    assert_eq!(found["metrics"]["consumers"][0]["lag"], 8);
    let holders = &found["holders"];
    assert_eq!(
        (&holders[0]["role"], &holders[1]["role"], &holders[1]["slot"]),
        (&"producer".into(), &"consumer".into(), &0.into())
    );
    for (holder, process) in [(0, stuck.sender.child.id()), (1, std::process::id())] {
        let process_found = &holders[holder]["processes"][0];
        assert_eq!(process_found["id"], process);
        assert_eq!(process_found["user"], nix::unistd::Uid::effective().as_raw());
        assert!(process_found["started"].as_u64().unwrap() > 1_000_000_000);
    }
    assert_eq!(holders[0]["processes"][0]["command"], "tango");
    // `ls` says the same of each link.
    folder.leave_dead_link("left");
    let ls = folder.run("ls --json");
    ls.assert_ok();
    let all = json(&ls);
    let names: Vec<_> = all.as_array().unwrap().iter().map(|link| [&link["name"], &link["state"]]).collect();
    assert_eq!(names, [["left", "dead"], ["quotes", "alive"]]);
    assert_eq!(all[1], found);
    assert_eq!(all[0]["holders"], Value::Array(Vec::new()));
}

#[test]
fn links_that_cannot_be_shown_are_failures() {
    let folder = TestFolder::new();
    let none = folder.run("ls --json");
    none.assert_ok();
    assert_eq!(text(&none), "[]\n");
    folder.leave_dead_link("sound");
    folder
        .run("inspect sounds")
        .assert_failed(1, &["no link named sounds", "similar names are there: sound"]);
    folder.run("inspect no/link").assert_failed(2, &["not a valid name"]);
    let broken = folder.links().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("tx"), "not the content of a link's file").unwrap();
    folder.run("inspect broken").assert_failed(1, &["broken/tx", "too short"]);
    let ls = folder.run("ls --json");
    assert_eq!((ls.code(), ls.err.as_str()), (1, ""));
    let all = json(&ls);
    assert_eq!(
        (&all[0]["name"], &all[0]["state"], &all[1]["state"]),
        (&"broken".into(), &"unreadable".into(), &"dead".into())
    );
    assert!(all[0]["error"].as_str().unwrap().contains("too short"), "{all}");
    folder.run("ls --watch 0").assert_failed(2, &["0.1 or more"]);
}

#[test]
fn watching_shows_rates_and_processes() {
    let folder = TestFolder::new();
    let link = Link::builder().depth(8).mtu(64).dir(folder.links()).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let watch = folder.start("ls --watch 0.1");
    let seen = |words: &str| {
        wait_until(words, || {
            let text = fs::read_to_string(&watch.out).unwrap();
            text.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(words))
        });
    };
    // The first table knows no rates.
    seen("quotes alive 1 - - 8 0 of 1");
    seen("quotes alive 1 0/s 0/s 8 0 of 1");
    let process = format!("[{}]", std::process::id());
    assert!(fs::read_to_string(&watch.out).unwrap().contains(&process));
    tx.send(b"one").unwrap();
    // 1 in about 0.1 s.
    wait_until("a rate", || {
        let text = fs::read_to_string(&watch.out).unwrap();
        let rates = text.lines().filter_map(|line| line.split_whitespace().nth(3)?.strip_suffix("/s"));
        rates.into_iter().any(|rate| rate.parse::<f64>().is_ok_and(|rate| rate > 0.0))
    });
    drop((tx, link));
    seen("quotes closed 2");
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.wait().code(), -(Signal::SIGINT as i32));
}

#[test]
fn watching_ends_when_its_output_is_closed() {
    let folder = TestFolder::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let watch = folder.start_with("ls --watch 3600 --json", Stdio::null(), Some(writer.into()));
    let mut first = [0; 3];
    reader.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"[]\n");
    drop(reader);
    watch.wait().assert_ok();
}
