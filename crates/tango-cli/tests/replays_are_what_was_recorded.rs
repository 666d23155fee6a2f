//! A replayed link has the sizes, the bytes and the metadata of the recorded one, in the recorded order and at the
//! recorded pace. What is missing in a recording is reported.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use common::recordings::{Recorded, fragment, fragments, publish, read_all, recorded, renumbered};
use common::{Running, TestFolder, wait_until};
use nix::sys::signal::Signal;
use rust_tango::{Consumer, Link, PayloadType, Start, TangoError};

/// Records link `x` while `work` publishes into it with the reliable recorder attached.
fn record_while(folder: &TestFolder, options: &str, work: impl FnOnce()) -> PathBuf {
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --reliable {options}", path.display()));
    folder.await_status("x", |status| status.consumers.len() == 1);
    work();
    recorder.finish().assert_ok();
    path
}

/// A recording of the fragments with these numbers.
fn recording(folder: &TestFolder, numbers: std::ops::Range<u64>, mtu: usize) -> PathBuf {
    let link = folder.builder().depth(64).mtu(mtu).start(numbers.start).consumers(3).create("x").unwrap();
    let tx = link.producer().unwrap();
    record_while(folder, "--compress none", || {
        publish(&tx, numbers);
        drop(tx);
    })
}

/// Joins a link that is replayed, as soon as it exists.
fn join(folder: &TestFolder, name: &str) -> (Link, Consumer<'static>) {
    let link = Link::open_wait_in(folder.links(), name, Some(common::PATIENCE)).unwrap();
    let rx = link.consumer_from(Start::Oldest).unwrap();
    (link, rx)
}

fn replay(folder: &TestFolder, path: &Path, options: &str) -> Running {
    folder.start(&format!("replay {} {options}", path.display()))
}

#[test]
fn of_several_links() {
    let folder = TestFolder::new();
    let path = folder.path_of("file.mcap");
    {
        let small =
            folder.builder().depth(64).mtu(90).start(u64::MAX - 99).consumers(2).create("small").unwrap();
        let quotes = PayloadType::new("Quote", 24, 8);
        let large = folder
            .builder()
            .depth(16)
            .mtu(100_000)
            .region(1 << 20)
            .credits(8)
            .payload_type(quotes)
            .create("large")
            .unwrap();
        let (small_tx, large_tx) = (small.producer().unwrap(), large.producer().unwrap());
        let recorder = folder.start(&format!("record small large -o {} --reliable", path.display()));
        for link in ["small", "large"] {
            folder.await_status(link, |status| status.consumers.len() == 1);
        }
        thread::scope(|scope| {
            scope.spawn(move || publish(&large_tx, 1..300));
            for number in 0..5000_u64 {
                let (_, sig, ctl, ts, payload) = fragment(number.wrapping_sub(100), 90);
                small_tx.publish_blocking(&payload, sig, ctl, ts).unwrap();
            }
            drop(small_tx);
        });
        recorder.finish().assert_ok();
    }
    let replaying = replay(&folder, &path, "--fast");
    let (small, mut small_rx) = join(&folder, "small");
    let (large, mut large_rx) = join(&folder, "large");
    let geometry = small.geometry();
    assert_eq!(
        (geometry.depth, geometry.mtu, geometry.consumers, geometry.start),
        (64, 90, 2, u64::MAX - 99)
    );
    let geometry = large.geometry();
    assert_eq!((geometry.depth, geometry.mtu, geometry.region, geometry.credits), (16, 100_000, 1 << 20, 8));
    assert_eq!(large.payload_type().unwrap().to_string(), "Quote (24 bytes, alignment 8)");
    let reading = thread::spawn(move || read_all(&mut large_rx));
    let wanted: Vec<_> = (0..5000_u64).map(|number| fragment(number.wrapping_sub(100), 90)).collect();
    assert!(read_all(&mut small_rx) == wanted);
    assert!(reading.join().unwrap() == fragments(1..300, 100_000));
    replaying.finish().assert_ok();
    assert!(folder.list().is_empty());

    // One of them, under another name.
    let replaying = replay(&folder, &path, "copy --links large --fast");
    let (_, mut rx) = join(&folder, "copy");
    assert_eq!(folder.list(), ["copy"]);
    assert!(read_all(&mut rx) == fragments(1..300, 100_000));
    replaying.finish().assert_ok();
}

/// Whatever the order in which the recorder has written its links.
#[test]
fn in_the_order_of_time() {
    let folder = TestFolder::new();
    let path = folder.path_of("file.mcap");
    let links = ["a", "b"].map(|name| folder.builder().depth(256).mtu(8).create(name).unwrap());
    let [a, b] = [&links[0], &links[1]].map(|link| link.producer().unwrap());
    let recorder = folder.start(&format!("record a b -o {} --reliable", path.display()));
    for link in ["a", "b"] {
        folder.await_status(link, |status| status.consumers.len() == 1);
    }
    for turn in 0..20_u64 {
        for tx in [&a, &b] {
            tx.send(&turn.to_le_bytes()).unwrap();
            // The recorder has read it, so its time is before that of the next one.
            assert!(tx.wait_until_drained(Some(common::PATIENCE)));
        }
    }
    drop((a, b));
    recorder.finish().assert_ok();
    drop(links);
    // The recorded times are in turns. The replayed links are read by one thread, which sees all that was published so
    // far: neither may be ahead by more than its turn.
    let replaying = replay(&folder, &path, "--speed 0.05");
    let (_a, mut a) = join(&folder, "a");
    let (_b, mut b) = join(&folder, "b");
    let (mut of_a, mut of_b) = (0, 0);
    while of_b < 20 {
        of_b += u64::from(b.poll().unwrap().is_some());
        while a.poll().unwrap().is_some() {
            of_a += 1;
        }
        // What was published before the fragment of `b` was found is there.
        assert!(of_a >= of_b, "{of_a} {of_b}");
    }
    assert_eq!(of_a, 20);
    drop((a, b));
    replaying.finish();
}

#[test]
fn at_the_recorded_pace() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(64).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = record_while(&folder, "", || {
        publish(&tx, 1..2);
        assert!(tx.wait_until_drained(Some(common::PATIENCE)));
        thread::sleep(Duration::from_millis(400));
        publish(&tx, 2..3);
        drop(tx);
    });
    drop(link);
    let mut times = Vec::new();
    for (options, least) in [("", 400), ("--speed 4", 100), ("--speed 0.5", 800), ("--fast", 0)] {
        let replaying = replay(&folder, &path, options);
        let (_link, mut rx) = join(&folder, "x");
        drop(rx.wait().unwrap().unwrap());
        let first = Instant::now();
        drop(rx.wait().unwrap().unwrap());
        times.push(first.elapsed());
        // Late is possible, early is not. (This thread may have noticed the first one late.)
        assert!(
            first.elapsed() + Duration::from_millis(90) >= Duration::from_millis(least),
            "{options}: {times:?}"
        );
        drop(rx);
        replaying.finish();
    }
}

#[test]
fn a_part() {
    let folder = TestFolder::new();
    let path = recording(&folder, 1..1001, 64);
    let check = |options: &str, wanted: Vec<Recorded>| {
        let replaying = replay(&folder, &path, &format!("--fast {options}"));
        let (link, mut rx) = join(&folder, "x");
        assert_eq!(link.geometry().start, wanted[0].0);
        assert!(read_all(&mut rx) == wanted, "{options}");
        replaying.finish().assert_ok();
    };
    check("--from 101 --to 200", fragments(101..201, 64));
    check("--from 990", fragments(990..1001, 64));
    check("--to 7", fragments(1..8, 64));
    check("--from 0s --to 2200-01-01T00:00:00Z", fragments(1..1001, 64));
    let nothing = folder.run(&format!("replay {} --from 2200-01-01T00:00:00Z", path.display()));
    nothing.assert_failed(1, &["nothing to replay"]);
    folder.run(&format!("replay {} --links y", path.display())).assert_failed(1, &["no link y", "are: x"]);
}

/// The numbers of what is missing are left out, and replay says so. Receivers report it, in the replay of a replay, too.
#[test]
fn a_recording_with_gaps() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(64).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --flush-every 10ms", path.display()));
    publish(&tx, 1..11);
    wait_until("a chunk", || recorded(&path, "x").len() == 10);
    recorder.signal(Signal::SIGSTOP);
    wait_until("the recorder to stop", || {
        fs::read_to_string(format!("/proc/{}/status", recorder.pid())).unwrap().contains("State:\tT")
    });
    publish(&tx, 11..5001);
    recorder.signal(Signal::SIGCONT);
    drop(tx);
    assert_eq!(recorder.finish().code(), 3);
    drop(link);
    let wanted = recorded(&path, "x");
    let missing = 5000 - wanted.len();
    let replaying = replay(&folder, &path, "--fast");
    let (_link, mut rx) = join(&folder, "x");
    let (mut found, mut lost) = (Vec::new(), 0);
    loop {
        match rx.wait() {
            Ok(Some(fragment)) => {
                let meta = fragment.meta;
                found.push((meta.seq, meta.sig, meta.ctl, meta.ts, fragment.payload.read()));
            }
            Ok(None) => break,
            Err(TangoError::Overrun { lost: run, .. }) => lost += run,
            Err(error) => panic!("{error}"),
        }
    }
    drop(rx);
    let exited = replaying.finish();
    assert!(found == wanted && lost == missing as u64, "{lost} of {missing} were left out");
    let count = format!("{},{:03} fragments of link x are missing", missing / 1000, missing % 1000);
    exited.assert_failed(0, &[&count, "in 1 gaps, the first after number 10"]);
    // A reliable recorder of the replay has the same fragments and the same gap.
    let again = folder.path_of("again.mcap");
    let replaying = replay(&folder, &path, "--fast");
    wait_until("the link", || folder.list() == ["x"]);
    let recorder = folder.start(&format!("record x -o {} --reliable --from 1", again.display()));
    assert_eq!(recorder.finish().code(), 3);
    replaying.finish();
    assert!(recorded(&again, "x") == wanted);
}

/// What is missing at the end of a recording is known by its events.
#[test]
fn a_recording_with_a_gap_at_its_end() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(8).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --reliable", path.display()));
    folder.await_status("x", |status| status.consumers.len() == 1);
    publish(&tx, 1..11);
    tx.skip_blocking(20).unwrap(); // 11 to 30
    drop(tx);
    assert_eq!(recorder.finish().code(), 3);
    drop(link);
    let replaying = replay(&folder, &path, "--fast");
    let (_link, mut rx) = join(&folder, "x");
    assert_eq!((1..11).find(|n| rx.wait().unwrap().unwrap().meta.seq != *n), None);
    // One or several gaps: the ring has eight lines.
    let mut next = 11;
    let end = loop {
        match rx.wait() {
            Err(TangoError::Overrun { lost, next: continues }) => {
                next += lost;
                assert_eq!(next, continues);
            }
            other => break other.map(|fragment| fragment.is_some()),
        }
    };
    assert_eq!((end, next), (Ok(false), 31));
    drop(rx);
    let said = "20 fragments of link x are missing in the recording, in 1 gaps, the first after number 10";
    replaying.finish().assert_failed(0, &[said]);
    // It does not belong to a part that ends before it.
    let replaying = replay(&folder, &path, "--fast --to 9");
    let (_link, mut rx) = join(&folder, "x");
    assert!(read_all(&mut rx) == fragments(1..10, 64));
    replaying.finish().assert_ok();
}

/// Files with numbers that no link can have had. Their checksums are right.
#[test]
fn a_recording_with_wrong_numbers() {
    let folder = TestFolder::new();
    let path = recording(&folder, 1..11, 64);
    let wrong = folder.path_of("wrong.mcap");
    // Back: the fragments get other numbers, and nothing is missing.
    renumbered(&path, &wrong, |number| if number > 5 { number - 3 } else { number });
    let replaying = replay(&folder, &wrong, "--fast");
    let (_link, mut rx) = join(&folder, "x");
    assert!(read_all(&mut rx) == fragments(1..11, 64));
    drop(rx);
    replaying.finish().assert_ok();
    // Forward, by so much that it would not end.
    for step in [1 << 41, 1 << 62] {
        renumbered(&path, &wrong, |number| if number > 5 { number + step } else { number });
        let replaying = replay(&folder, &wrong, "--fast --wait-for 0");
        let said = format!("before number {} of link x, ", 6 + step);
        replaying.wait().assert_failed(1, &["wrong.mcap is damaged", &said, "up to 1,099,511,627,776"]);
    }
}

/// A file that was cut or damaged: everything before that, and the status is 1.
#[test]
fn what_is_left_of_a_file() {
    let folder = TestFolder::new();
    let path = recording(&folder, 1..30_001, 100);
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    // More than an index of a chunk, which is not needed.
    for step in 0..6 {
        damaged[whole.len() / 3 + step * 50_000] ^= 0x55;
    }
    for (content, message) in
        [(&whole[..whole.len() / 2], "was not finished"), (&damaged[..], "is damaged at byte")]
    {
        fs::write(&path, content).unwrap();
        let count = folder.info(&path).0["fragments"].as_u64().unwrap();
        assert!(count > 0 && count < 30_000);
        let replaying = replay(&folder, &path, "--fast");
        let (_link, mut rx) = join(&folder, "x");
        assert!(read_all(&mut rx) == fragments(1..count + 1, 100));
        replaying.finish().assert_failed(1, &["file.mcap", message]);
    }
    fs::write(&path, "something else").unwrap();
    let exited = folder.run(&format!("replay {}", path.display()));
    assert_eq!(exited.code(), 1);
    assert!(exited.err.contains("is no MCAP file"), "{}", exited.err);
}

/// Each link that had the name exists for its time.
#[test]
fn links_that_follow_each_other() {
    let folder = TestFolder::new();
    let path = folder.path_of("file.mcap");
    let link = folder.builder().depth(64).mtu(1).create("x").unwrap();
    let recorder = folder.start(&format!("record x -o {} --follow --flush-every 10ms", path.display()));
    let tx = link.producer().unwrap();
    publish(&tx, 1..11);
    drop(tx);
    wait_until("the first link", || common::recordings::event_names(&path, "x").len() == 2);
    drop(link);
    let link = folder.builder().depth(128).mtu(33).start(1000).create("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1000..1010);
    drop(tx);
    wait_until("the second link", || common::recordings::event_names(&path, "x").len() == 4);
    recorder.signal(Signal::SIGTERM);
    recorder.wait();
    drop(link);
    let replaying = replay(&folder, &path, "--fast");
    let (first, mut rx) = join(&folder, "x");
    assert!(read_all(&mut rx) == fragments(1..11, 1));
    drop(rx);
    wait_until("the end of the first link", || !first.is_named());
    assert!(!first.status().stopped);
    let (second, mut rx) = join(&folder, "x");
    assert_eq!((first.geometry().depth, second.geometry().depth), (64, 128));
    assert!(read_all(&mut rx) == fragments(1000..1010, 33));
    replaying.finish().assert_ok();
}

#[test]
fn a_link_that_exists_is_kept() {
    let folder = TestFolder::new();
    let path = recording(&folder, 1..11, 64);
    let link = folder.builder().create("x").unwrap();
    let _tx = link.producer().unwrap();
    folder.run(&format!("replay {}", path.display())).assert_failed(1, &["x"]);
    assert!(link.is_named());
}

#[test]
fn two_links_have_no_common_name() {
    let folder = TestFolder::new();
    let path = folder.path_of("file.mcap");
    for name in ["a", "b"] {
        let link = folder.builder().create(name).unwrap();
        link.producer().unwrap().send(b"one").unwrap();
        std::mem::forget(link);
    }
    folder.run(&format!("record a b -o {}", path.display())).assert_ok();
    folder.run(&format!("replay {} c", path.display())).assert_failed(2, &["--links", "a, b"]);
    folder
        .run(&format!("replay {} --wait-for 2", path.display()))
        .assert_failed(2, &["--wait-for 2", "1 slots"]);
}

/// As a sender does, it names the link of which a receiver is missing.
#[test]
fn a_consumer_that_leaves() {
    let folder = TestFolder::new();
    let path = recording(&folder, 1..10_001, 64);
    let replaying = replay(&folder, &path, "--fast");
    let (_link, mut rx) = join(&folder, "x");
    drop(rx.wait().unwrap());
    drop(rx);
    replaying.finish().assert_failed(1, &["receiver", "link x", "left"]);
    assert!(folder.list().is_empty());
}

#[test]
fn a_signal_ends_it() {
    let folder = TestFolder::new();
    let path = recording(&folder, 1..10_001, 64);
    for signal in common::TERMINATION {
        // While it waits for consumers, and while one does not read.
        for joins in [false, true] {
            let replaying = replay(&folder, &path, "--fast");
            let link = Link::open_wait_in(folder.links(), "x", Some(common::PATIENCE)).unwrap();
            let rx = joins.then(|| link.consumer_from(Start::Oldest).unwrap());
            if joins {
                wait_until("a full ring", || link.status().next == 65);
            }
            replaying.signal(signal);
            let exited = replaying.wait();
            assert_eq!((exited.code(), exited.err.as_str()), (128 + signal as i32, ""));
            assert!(folder.list().is_empty());
            // The consumer learns that the end is missing.
            assert!(link.status().stopped);
            drop(rx);
        }
    }
}
