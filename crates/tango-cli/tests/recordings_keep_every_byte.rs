//! A recording has every fragment of every link, with all metadata, in every compression, and what is needed to make
//! the links again.

mod common;

use std::fs;
use std::thread;

use common::TestFolder;
use common::recordings::{event_names, events, fragments, messages, publish, recorded};
use nix::sys::signal::Signal;
use rust_tango::{Meta, PayloadType, timestamp};

#[test]
fn of_several_links() {
    for compression in ["none", "lz4", "zstd"] {
        let folder = TestFolder::new();
        let small =
            folder.builder().depth(64).mtu(90).start(u64::MAX - 99).consumers(2).create("small").unwrap();
        let large = folder.builder().depth(16).mtu(100_000).region(1 << 20).create("large").unwrap();
        let (small_tx, large_tx) = (small.producer().unwrap(), large.producer().unwrap());
        let path = folder.path_of("file.mcap");
        let recorder = folder.start(&format!(
            "record small large -o {} --reliable --compress {compression} --buffer 2M",
            path.display()
        ));
        for link in ["small", "large"] {
            folder.await_status(link, |status| status.consumers.len() == 1);
        }
        thread::scope(|scope| {
            scope.spawn(move || {
                // The numbers wrap.
                for number in 0..20_000_u64 {
                    let number = number.wrapping_sub(100);
                    let (_, sig, ctl, ts, payload) = common::recordings::fragment(number, 90);
                    assert_eq!(small_tx.publish_blocking(&payload, sig, ctl, ts).unwrap().seq, number);
                }
            });
            scope.spawn(move || publish(&large_tx, 1..300));
        });
        let exited = recorder.finish();
        exited.assert_ok();
        let text = String::from_utf8(exited.out).unwrap();
        assert!(text.starts_with("recorded 20,299 fragments ("), "{text}");

        let wanted: Vec<_> = (0..20_000_u64)
            .map(|number| common::recordings::fragment(number.wrapping_sub(100), 90))
            .collect();
        assert!(recorded(&path, "small") == wanted);
        assert!(recorded(&path, "large") == fragments(1..300, 100_000));
        for link in ["small", "large"] {
            assert_eq!(event_names(&path, link), ["joined", "closed"]);
        }

        let (info, exited) = folder.info(&path);
        exited.assert_ok();
        assert_eq!(info["ending"], "finished");
        assert_eq!(info["compression"], compression);
        assert_eq!(info["fragments"], 20_299);
        let of = |name: &str| {
            info["links"].as_array().unwrap().iter().find(|link| link["link"] == name).unwrap().clone()
        };
        let (small, large) = (of("small"), of("large"));
        assert_eq!(
            (&small["depth"], &small["mtu"], &small["consumers"]),
            (&64.into(), &90.into(), &2.into())
        );
        assert_eq!((&large["depth"], &large["region"]), (&16.into(), &(1 << 20).into()));
        assert_eq!(
            (&small["first"]["seq"], &small["last"]["seq"]),
            (&(u64::MAX - 99).into(), &19_899.into())
        );
        assert_eq!((&small["lost"], &small["reader"]), (&0.into(), &"reliable".into()));
        let text = folder.run(&format!("info {}", path.display()));
        text.assert_ok();
        let text = String::from_utf8(text.out).unwrap();
        assert!(text.contains("link small: depth 64, MTU 90") && text.contains("20,000 fragments"), "{text}");
    }
}

/// The summary at the end has what readers with an index use.
#[test]
fn with_an_index() {
    let folder = TestFolder::new();
    let link = folder
        .builder()
        .depth(4096)
        .mtu(64)
        .payload_type(PayloadType::new("Quote", 24, 8))
        .create("x")
        .unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1..301);
    drop(tx);
    let path = folder.path_of("file.mcap");
    folder.run(&format!("record x -o {}", path.display())).assert_ok();
    let bytes = fs::read(&path).unwrap();
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    let stats = summary.stats.as_ref().unwrap();
    assert_eq!((stats.message_count, stats.channel_count, stats.schema_count), (302, 2, 2));
    assert_eq!(stats.chunk_count as usize, summary.chunk_indexes.len());
    let mut indexed = 0;
    for chunk in &summary.chunk_indexes {
        for (channel, entries) in summary.read_message_indexes(&bytes, chunk).unwrap() {
            for entry in &entries {
                let message = summary.seek_message(&bytes, chunk, entry).unwrap();
                assert_eq!((message.channel.id, message.log_time), (channel.id, entry.log_time));
                indexed += 1;
            }
        }
    }
    assert_eq!(indexed, 302);
    let channel = summary.channels.values().find(|channel| channel.topic == "x").unwrap();
    assert_eq!(channel.message_encoding, "tango.fragment.1");
    for (key, value) in
        [("depth", "4096"), ("mtu", "64"), ("payload_type", "Quote"), ("payload_type_align", "8")]
    {
        assert_eq!(channel.metadata[key], value);
    }
    let (info, _) = folder.info(&path);
    assert_eq!(info["links"][0]["payload_type"]["size"], 24);
}

#[test]
fn times_are_those_of_reading_and_of_publishing() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(64).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    let before = timestamp::now();
    tx.publish_with(b"a", Meta::new().ts_now()).unwrap();
    tx.send(b"b").unwrap();
    let published = timestamp::now();
    drop(tx);
    for options in ["", "--ts-ns"] {
        let path = folder.path_of("file.mcap");
        folder.run(&format!("record x --force -o {} {options}", path.display())).assert_ok();
        let messages = messages(&path, "x");
        let (first, second) = (&messages[0].0, &messages[1].0);
        assert!(first.log_time > published && second.log_time >= first.log_time);
        assert_eq!(second.publish_time, second.log_time);
        if options.is_empty() {
            assert_eq!(first.publish_time, first.log_time);
        } else {
            assert!((before..=published).contains(&first.publish_time));
        }
    }
}

#[test]
fn up_to_a_count() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(1024).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1..1001);
    let path = folder.path_of("file.mcap");
    folder.run(&format!("record x -o {} --count 700", path.display())).assert_ok();
    assert!(recorded(&path, "x") == fragments(1..701, 64));
    assert_eq!(event_names(&path, "x"), ["joined", "left"]);
    assert_eq!(events(&path)[1]["next"], 701);
}

#[test]
fn until_a_signal_or_for_a_time() {
    for signal in common::TERMINATION {
        let folder = TestFolder::new();
        let link = folder.builder().depth(1024).mtu(64).create("x").unwrap();
        let tx = link.producer().unwrap();
        publish(&tx, 1..101);
        let path = folder.path_of("file.mcap");
        let recorder = folder.start(&format!("record x -o {} --reliable --flush-every 10ms", path.display()));
        common::wait_until("a chunk", || recorded(&path, "x").len() == 100);
        recorder.signal(signal);
        let exited = recorder.wait();
        assert_eq!((exited.code(), exited.err.as_str()), (128 + signal as i32, ""));
        let (info, exited) = folder.info(&path);
        exited.assert_ok();
        assert_eq!((&info["ending"], &info["fragments"]), (&"finished".into(), &100.into()));
        // It has left its slot.
        assert!(link.status().consumers.is_empty());

        folder.run(&format!("record x -o {} --force --duration 50ms", path.display())).assert_ok();
        assert!(recorded(&path, "x") == fragments(1..101, 64));
    }
}

/// It waits for a link that is not there yet, and a signal ends that, too.
#[test]
fn of_links_that_come_later() {
    let folder = TestFolder::new();
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x never -o {}", path.display()));
    let link = folder.builder().depth(64).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1..11);
    drop(tx);
    common::wait_until("a chunk", || recorded(&path, "x").len() == 10);
    recorder.signal(Signal::SIGINT);
    assert_eq!(recorder.wait().code(), 130);
    assert_eq!(folder.info(&path).0["ending"], "finished");

    let timeout = format!("record never -o {} --force --timeout 0.05", path.display());
    folder.run(&timeout).assert_failed(1, &["never", "waited"]);
}

#[test]
fn an_existing_file_is_kept() {
    let folder = TestFolder::new();
    let path = folder.path_of("file.mcap");
    fs::write(&path, "precious").unwrap();
    folder.run(&format!("record x -o {}", path.display())).assert_failed(1, &["exists already", "--force"]);
    fs::write(folder.path_of("file.0007.mcap"), "precious").unwrap();
    folder
        .run(&format!("record x -o {} --rotate-size 1M", path.display()))
        .assert_failed(1, &["file.0007.mcap exists already"]);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert!(!folder.path_of("file.0001.mcap").exists());
}

#[test]
fn each_file_of_a_rotation_is_complete() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(256).mtu(4000).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = folder.path_of("file.mcap");
    let recorder =
        folder.start(&format!("record x -o {} --reliable --compress none --rotate-size 2M", path.display()));
    folder.await_status("x", |status| status.consumers.len() == 1);
    publish(&tx, 1..5001);
    drop(tx);
    recorder.finish().assert_ok();
    assert!(!path.exists());
    let mut found = Vec::new();
    let mut parts = 0;
    while let Some(part) =
        Some(folder.path_of(&format!("file.{:04}.mcap", parts + 1))).filter(|part| part.exists())
    {
        parts += 1;
        let (info, exited) = folder.info(&part);
        exited.assert_ok();
        assert_eq!((&info["ending"], &info["links"][0]["depth"]), (&"finished".into(), &256.into()));
        found.extend(recorded(&part, "x"));
    }
    assert!(parts >= 4, "{parts}");
    assert!(found == fragments(1..5001, 4000));
}

#[test]
fn files_are_rotated_by_time() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(256).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --reliable --rotate-every 20ms", path.display()));
    folder.await_status("x", |status| status.consumers.len() == 1);
    let (one, two) = (folder.path_of("file.0001.mcap"), folder.path_of("file.0002.mcap"));
    publish(&tx, 1..11);
    common::wait_until("the second file", || two.exists());
    publish(&tx, 11..21);
    drop(tx);
    recorder.finish().assert_ok();
    // No file is made while nothing comes: there are as many as times at which something came.
    let found: Vec<_> = (1..20)
        .map(|part| folder.path_of(&format!("file.{part:04}.mcap")))
        .take_while(|part| part.exists())
        .flat_map(|part| recorded(&part, "x"))
        .collect();
    assert!(found == fragments(1..21, 64));
    assert!(!recorded(&one, "x").is_empty());
    assert_eq!(folder.info(&one).0["ending"], "finished");
}

/// `--from next` takes what comes, and what was before does not count as lost.
#[test]
fn from_the_next_fragment() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(8).mtu(64).create("x").unwrap();
    let tx = link.producer().unwrap();
    publish(&tx, 1..101);
    let path = folder.path_of("file.mcap");
    let recorder = folder.start(&format!("record x -o {} --from next --reliable", path.display()));
    folder.await_status("x", |status| status.consumers.len() == 1);
    publish(&tx, 101..111);
    drop(tx);
    recorder.finish().assert_ok();
    assert!(recorded(&path, "x") == fragments(101..111, 64));
}
