//! A recording says which fragments it lacks, and what has happened to the producer.

mod common;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use common::recordings::{event_names, events, fragments, publish, recorded};
use common::{Running, TestFolder, wait_until};
use nix::sys::signal::Signal;

/// Stops the process, and waits until it has stopped.
fn stop(process: &Running) {
    process.signal(Signal::SIGSTOP);
    wait_until("the process to stop", || {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        status.contains("State:\tT")
    });
}

/// Asserts that the fragments and the gaps of a recording are the numbers up to `end`, each once. Returns how many are
/// missing.
fn assert_all_accounted(path: &std::path::Path, end: u64, mtu: usize) -> u64 {
    let mut found = recorded(path, "x");
    assert!(found.iter().all(|fragment| *fragment == common::recordings::fragment(fragment.0, mtu)));
    let mut lost = 0;
    for event in events(path).iter().filter(|event| event["event"] == "gap") {
        let number = |key: &str| event[key].as_u64().unwrap();
        assert_eq!(number("last") + 1 - number("first"), number("lost"));
        assert_eq!(number("next"), number("last") + 1);
        lost += number("lost");
        found.extend((number("first")..number("next")).map(|missing| (missing, 0, 0, 0, Vec::new())));
    }
    found.sort();
    assert!(found.iter().map(|fragment| fragment.0).eq(1..end));
    lost
}

#[test]
fn a_recorder_that_is_too_slow() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(64).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --flush-every 10ms", path.display()));
    publish(&tx, 1..11);
    wait_until("a chunk", || recorded(&path, "x").len() == 10);
    for begin in [11, 5011, 10_011] {
        stop(&recorder);
        publish(&tx, begin..begin + 4990);
        recorder.signal(Signal::SIGCONT);
        wait_until("the rest", || recorded(&path, "x").last().is_some_and(|last| last.0 == begin + 4989));
        publish(&tx, begin + 4990..begin + 5000);
    }
    drop(tx);
    let exited = recorder.finish();
    let lost = assert_all_accounted(&path, 15_011, 64);
    assert!(lost > 3 * 4900, "{lost}");
    let lost_text = lost.to_string();
    let text = format!("{},{} fragments of link x were lost", &lost_text[..2], &lost_text[2..]);
    exited.assert_failed(3, &[&text]);
    assert!(events(&path).iter().any(|event| event["cause"] == "overrun"));
    let (info, exited) = folder.info(&path);
    exited.assert_ok();
    assert_eq!(info["links"][0]["lost"], lost);
    assert_eq!(info["links"][0]["gaps"], 3);
    let text = String::from_utf8(folder.run(&format!("info {}", path.display())).out).unwrap();
    assert!(text.contains("fragments are missing, in 3 gaps"), "{text}");
}

/// The disk does not keep up, and the memory of the recorder is used up: the output is a pipe that nobody reads for a
/// while.
#[test]
fn a_disk_that_is_too_slow() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(64).mtu(4096).create("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1..2);
    let (pipe, path) = (folder.path_of("pipe"), folder.path_of("file.mcap"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let recorder = folder.start(&format!(
        "record x -o {} --force --buffer 1M --compress none --flush-every 10ms",
        pipe.display()
    ));
    // Opening waits for the other side.
    let mut reader = fs::File::open(&pipe).unwrap();
    let mut content = Vec::new();
    while !content.windows(8).any(|bytes| bytes == b"\"joined\"") {
        let mut some = [0; 512];
        let len = reader.read(&mut some).unwrap();
        content.extend_from_slice(&some[..len]);
    }
    publish(&tx, 2..20_001);
    let copying = std::thread::spawn({
        let path = path.clone();
        move || {
            reader.read_to_end(&mut content).unwrap();
            fs::write(path, content).unwrap();
        }
    });
    drop(tx);
    let exited = recorder.finish();
    copying.join().unwrap();
    let lost = assert_all_accounted(&path, 20_001, 4096);
    // Some hundred fragments fill the pipe, the block and the ring.
    assert!(lost > 10_000, "{lost}");
    exited.assert_failed(3, &["fragments of link x were lost"]);
}

#[test]
fn a_recorder_that_joins_late() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(64).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1..1001);
    drop(tx);
    let path = folder.path_of("file.mcap");
    let exited = folder.run(&format!("record x -o {}", path.display()));
    let lost = assert_all_accounted(&path, 1001, 64);
    exited.assert_failed(
        3,
        &[&format!("{lost} fragments of link x were lost ({lost} before the recorder joined)")],
    );
    assert_eq!(event_names(&path, "x"), ["joined", "gap", "closed"]);
    assert_eq!(events(&path)[1]["cause"], "late");
}

/// A reliable recorder that is stopped loses nothing: the producer waits.
#[test]
fn a_reliable_recorder_lacks_nothing() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(64).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --reliable", path.display()));
    folder.await_status("x", |status| status.consumers.len() == 1);
    stop(&recorder);
    publish(&tx, 1..65);
    recorder.signal(Signal::SIGCONT);
    publish(&tx, 65..10_001);
    drop(tx);
    recorder.finish().assert_ok();
    assert!(recorded(&path, "x") == fragments(1..10_001, 64));
}

/// A sender that is killed, and has sent three bytes.
fn killed_sender(folder: &TestFolder) {
    let mut sender = folder.start("send x --mtu 1 --depth 64 --wait-for 0");
    sender.write(b"abc");
    folder.await_status("x", |status| status.next == 4);
    sender.signal(Signal::SIGKILL);
    sender.wait();
}

#[test]
fn a_producer_that_dies() {
    let folder = TestFolder::new();
    killed_sender(&folder);
    let path = folder.path_of("file.mcap");
    folder.run(&format!("record x -o {}", path.display())).assert_failed(1, &["the producer of link x died"]);
    assert_eq!(recorded(&path, "x").len(), 3);
    assert_eq!(event_names(&path, "x"), ["joined", "producer_gone"]);
    assert_eq!(folder.info(&path).0["ending"], "finished");
}

#[test]
fn producers_and_links_that_follow_each_other() {
    let folder = TestFolder::new();
    killed_sender(&folder);
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --follow --flush-every 10ms", path.display()));
    wait_until("the first death", || {
        event_names(&path, "x").last().is_some_and(|last| last == "producer_gone")
    });
    // It is taken over, and its producer ends in good order.
    let link = folder.builder().depth(64).mtu(1).create_or_take_over("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 4..7);
    drop(tx);
    wait_until("the end", || event_names(&path, "x").last().is_some_and(|last| last == "closed"));
    // Another producer opens it again.
    let tx = link.producer().unwrap();
    publish(&tx, 7..10);
    drop(tx);
    wait_until("the second end", || recorded(&path, "x").len() == 9 && event_names(&path, "x").len() == 6);
    drop(link);
    // Another link of this name.
    let link = folder.builder().depth(128).mtu(33).start(1000).create("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1000..1010);
    drop(tx);
    wait_until("the end of the other link", || event_names(&path, "x").len() == 8);
    recorder.signal(Signal::SIGTERM);
    let exited = recorder.wait();
    assert_eq!((exited.code(), exited.err.as_str()), (143, ""));
    let wanted = [
        "joined",
        "producer_gone",
        "producer_attached",
        "closed",
        "producer_attached",
        "closed",
        "joined",
        "closed",
    ];
    assert_eq!(event_names(&path, "x"), wanted);
    let found = recorded(&path, "x");
    assert!(found[3..9] == fragments(4..10, 1) && found[9..] == fragments(1000..1010, 33));
    let (info, exited) = folder.info(&path);
    exited.assert_ok();
    let links = info["links"].as_array().unwrap();
    assert_eq!((&links[0]["depth"], &links[1]["depth"]), (&64.into(), &128.into()));
    assert_eq!((&links[0]["generation"], &links[1]["generation"]), (&1.into(), &2.into()));
    assert_eq!((&links[0]["fragments"], &links[1]["fragments"]), (&9.into(), &10.into()));
}

/// The recorder does not see the death, but the next producer.
#[test]
fn a_producer_that_is_replaced() {
    let folder = TestFolder::new();
    let mut sender = folder.start("send x --mtu 1 --depth 64 --wait-for 0");
    sender.write(b"abc");
    folder.await_status("x", |status| status.next == 4);
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --flush-every 10ms", path.display()));
    wait_until("a chunk", || recorded(&path, "x").len() == 3);
    stop(&recorder);
    sender.signal(Signal::SIGKILL);
    sender.wait();
    let link = folder.builder().depth(64).mtu(1).create_or_take_over("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 4..7);
    recorder.signal(Signal::SIGCONT);
    drop(tx);
    recorder.finish().assert_ok();
    assert_eq!(event_names(&path, "x"), ["joined", "producer_replaced", "closed"]);
    assert_eq!(events(&path)[1]["first"], 4);
    assert!(recorded(&path, "x")[3..] == fragments(4..7, 1));
}

#[test]
fn a_link_that_is_stopped() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(64).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1..11);
    let path = folder.path_of("file.mcap");
    let recorder =
        folder.start_with(&format!("record x -o {} --flush-every 10ms", path.display()), Stdio::null(), None);
    wait_until("a chunk", || recorded(&path, "x").len() == 10);
    link.stop().unwrap();
    recorder.wait().assert_failed(1, &["link x was stopped"]);
    assert_eq!(event_names(&path, "x"), ["joined", "stopped"]);
}
