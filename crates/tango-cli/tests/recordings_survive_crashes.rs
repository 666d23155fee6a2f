//! What was recorded up to the last complete chunk is readable: after `kill -9`, on a full disk, and before a damage.
//! Nobody takes such a file for a complete one.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use common::TestFolder;
use common::recordings::{fragments, publish, recorded};
use nix::sys::signal::Signal;

/// Asserts that a recording of link `x` has the first fragments, and that `tango info` finds the same. Returns how
/// many.
fn assert_is_beginning(folder: &TestFolder, path: &Path, mtu: usize) -> u64 {
    let found = recorded(path, "x");
    let count = found.len() as u64;
    assert!(found == fragments(1..count + 1, mtu), "the recording is no beginning of what was published");
    let (info, exited) = folder.info(path);
    assert_eq!(info["fragments"], count);
    if info["ending"] == "finished" {
        exited.assert_ok();
    } else {
        exited.assert_failed(1, &[&path.display().to_string(), "at byte"]);
    }
    count
}

#[test]
fn killed_at_any_time() {
    let mut unfinished = 0;
    for round in 0..12_u64 {
        let folder = TestFolder::new();
        let link = folder.builder().depth(256).mtu(200).create("x").unwrap();
        let tx = link.producer().unwrap();
        let path = folder.path_of("file.mcap");
        let compression = ["none", "lz4", "zstd"][round as usize % 3];
        let recorder = folder.start(&format!(
            "record x -o {} --reliable --compress {compression} --flush-every 1ms",
            path.display()
        ));
        folder.await_status("x", |status| status.consumers.len() == 1);
        thread::scope(|scope| {
            scope.spawn(move || publish(&tx, 1..60_001));
            // Some moment.
            thread::sleep(Duration::from_micros(round * round * 700));
            recorder.signal(Signal::SIGKILL);
        });
        recorder.wait();
        let count = assert_is_beginning(&folder, &path, 200);
        unfinished += u64::from(folder.info(&path).0["ending"] == "unfinished");
        assert!(count <= 60_000);
    }
    assert!(unfinished > 0, "no recorder was killed before its end");
}

/// The message says what is missing, and the rest can be read.
fn assert_names_the_loss(folder: &TestFolder, path: &Path, err: &str, reason: &str, published: u64) {
    let err = err.lines().last().unwrap();
    assert!(err.starts_with(&format!("tango: cannot write {}: {reason}", path.display())), "{err}");
    let number = |after: &str, before: &str| -> u64 {
        let text = err.split(after).nth(1).unwrap().split(before).next().unwrap();
        text.replace(',', "").parse().unwrap()
    };
    let readable = number("; the ", " fragments before can be read");
    assert!(err.contains(&format!("fragments of link x (within {} to ", readable + 1)), "{err}");
    let lost = number("); ", " fragments of link x");
    // The recorder stops at once, and the producer goes on.
    assert!(readable > 0 && lost > 0 && readable + lost <= published, "{err}");
    let (info, _) = folder.info(path);
    assert_eq!((&info["fragments"], &info["ending"]), (&readable.into(), &"unfinished".into()));
    assert_eq!(assert_is_beginning(folder, path, 1000), readable);
}

#[test]
fn at_the_limit_of_the_size_of_files() {
    let folder = TestFolder::new();
    let link = folder.builder().depth(256).mtu(1000).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = folder.path_of("file.mcap");
    let recorder = folder.start_in_shell(&format!(
        "ulimit -f 4000; exec \"$0\" record x -o {} --reliable --compress none",
        path.display()
    ));
    folder.await_status("x", |status| status.consumers.len() == 1);
    publish(&tx, 1..20_001);
    drop(tx);
    let exited = recorder.wait();
    assert_eq!(exited.code(), 1, "{}", exited.err);
    assert_names_the_loss(&folder, &path, &exited.err, "File too large", 20_000);
}

/// The end of the first chunk of a file, in bytes.
fn end_of_first_chunk(path: &Path) -> u64 {
    const CHUNK: u8 = 6;
    let bytes = fs::read(path).unwrap();
    let mut record = mcap::MAGIC.len();
    loop {
        let len = u64::from_le_bytes(bytes[record + 1..record + 9].try_into().unwrap());
        let end = record + 9 + len as usize;
        if bytes[record] == CHUNK {
            return end as u64;
        }
        record = end;
    }
}

/// A chunk without its index can be read, so its fragments are not lost.
#[test]
fn where_the_index_of_a_chunk_does_not_fit() {
    let folder = TestFolder::new();
    let path = folder.path_of("file.mcap");
    let record = |limit: &str| {
        let link = folder.builder().depth(256).mtu(1000).create("x").unwrap();
        let tx = link.producer().unwrap();
        let recorder = folder.start_in_shell(&format!(
            "ulimit -f {limit}; exec \"$0\" record x -o {} --force --reliable --compress none --flush-every 60",
            path.display()
        ));
        folder.await_status("x", |status| status.consumers.len() == 1);
        publish(&tx, 1..601); // one chunk
        drop(tx);
        let exited = recorder.wait();
        link.remove().unwrap();
        exited
    };
    record("unlimited").assert_ok();
    // In blocks of 512 bytes.
    let limit = end_of_first_chunk(&path).div_ceil(512) + 2;
    let nothing_lost =
        "File too large (os error 27); all fragments that were read are recorded; the 600 fragments";
    record(&limit.to_string()).assert_failed(1, &[nothing_lost]);
    assert_eq!(fs::metadata(&path).unwrap().len(), end_of_first_chunk(&path));
    assert_eq!(folder.info(&path).0["ending"], "unfinished");
    assert_eq!(assert_is_beginning(&folder, &path, 1000), 600);
}

#[test]
fn on_a_full_disk() {
    let folder = TestFolder::new();
    let disk = folder.path_of("disk");
    fs::create_dir(&disk).unwrap();
    let (path, copy) = (disk.join("file.mcap"), folder.path_of("copy.mcap"));
    let link = folder.builder().depth(256).mtu(1000).create("x").unwrap();
    let tx = link.producer().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=2m none {disk} || exit 77
         \"$0\" record x -o {path} --reliable --compress none
         status=$?
         cp {path} {copy} && exit $status",
        disk = disk.display(),
        path = path.display(),
        copy = copy.display()
    );
    let recorder = folder.start_in_shell(&format!("exec unshare --mount sh -c '{script}' \"$0\""));
    let mut has_joined = false;
    common::wait_until("the recorder or its end", || {
        has_joined = link.status().consumers.len() == 1;
        has_joined || fs::metadata(format!("/proc/{}/exe", recorder.pid())).is_err()
    });
    if !has_joined {
        assert!(std::env::var_os("TANGO_TEST_SKIP_NOTHING").is_none());
        eprintln!("skipped: no small filesystem can be mounted");
        return;
    }
    publish(&tx, 1..20_001);
    drop(tx);
    let exited = recorder.wait();
    assert_eq!(exited.code(), 1, "{}", exited.err);
    let err = exited.err.replace(&path.display().to_string(), &copy.display().to_string());
    assert_names_the_loss(&folder, &copy, &err, "No space left on device", 20_000);
}

#[test]
fn where_nothing_can_be_written() {
    let folder = TestFolder::new();
    folder.run("record x -o /dev/full --force").assert_failed(1, &["cannot write /dev/full: No space left"]);
    folder.run("record x -o /nonexistent/file").assert_failed(1, &["cannot make /nonexistent/file"]);
}

/// A recording of 3,000 fragments in many chunks.
fn recording(folder: &TestFolder, compression: &str) -> Vec<u8> {
    let link = folder.builder().depth(64).mtu(100).create("x").unwrap();
    let tx = link.producer().unwrap();
    let path = folder.path_of("whole.mcap");
    let recorder = folder.start(&format!(
        "record x -o {} --reliable --compress {compression} --flush-every 1ms",
        path.display()
    ));
    folder.await_status("x", |status| status.consumers.len() == 1);
    for begin in (1..3001).step_by(300) {
        publish(&tx, begin..begin + 300);
        common::wait_until("a chunk", || recorded(&path, "x").len() as u64 == begin + 299);
    }
    drop(tx);
    recorder.finish().assert_ok();
    fs::read(path).unwrap()
}

#[test]
fn cut_anywhere() {
    for compression in ["none", "lz4", "zstd"] {
        let folder = TestFolder::new();
        let whole = recording(&folder, compression);
        let path = folder.path_of("cut.mcap");
        let mut counts = std::collections::BTreeSet::new();
        for step in 0..80 {
            let len = if step == 79 { whole.len() - 1 } else { 400 + step * (whole.len() - 400) / 79 };
            fs::write(&path, &whole[..len]).unwrap();
            counts.insert(assert_is_beginning(&folder, &path, 100));
            let (info, _) = folder.info(&path);
            assert_eq!(info["ending"], "unfinished", "{len} of {}", whole.len());
        }
        assert!(counts.len() > 5 && counts.contains(&3000), "{counts:?}");
    }
}

#[test]
fn damaged_anywhere() {
    for compression in ["none", "lz4", "zstd"] {
        let folder = TestFolder::new();
        let whole = recording(&folder, compression);
        let path = folder.path_of("damaged.mcap");
        let mut endings = std::collections::BTreeMap::new();
        let random = common::random_bytes(16 * 80);
        for bytes in random.chunks(16) {
            let at = usize::from_le_bytes(bytes[..8].try_into().unwrap()) % whole.len();
            let mut damaged = whole.clone();
            damaged[at] ^= bytes[8] | 1;
            fs::write(&path, &damaged).unwrap();
            let exited = folder.run(&format!("info --json {}", path.display()));
            let info: serde_json::Value = serde_json::from_slice(&exited.out).unwrap();
            let ending = info[0]["ending"].as_str().unwrap().to_owned();
            match ending.as_str() {
                // Not all of the file counts for what was recorded.
                "finished" => exited.assert_ok(),
                "damaged" => exited.assert_failed(1, &["damaged.mcap is damaged at byte"]),
                _ => exited.assert_failed(1, &["damaged.mcap was not finished"]),
            }
            *endings.entry(ending).or_insert(0) += 1;
            assert!(info[0]["fragments"].as_u64().unwrap() <= 3000);
        }
        assert!(endings["damaged"] > 20, "{endings:?}");
    }
}

#[test]
fn other_files_are_refused() {
    let folder = TestFolder::new();
    let path = folder.path_of("other");
    let cases: [(&[u8], &str); 4] = [
        (b"", "at byte 0: this is no MCAP file: it is too short"),
        (b"some text, and no recording", "at byte 0: this is no MCAP file"),
        (b"\x89MCAP0\r\n\0\0\0\0\0\0\0\0\0", "at byte 8: there is no record of type 0"),
        (b"\x89MCAP0\r\n\x06\xff\xff\xff\xff\xff\xff\xff\xff", "at byte 8: a record of type 6"),
    ];
    for (content, what) in cases {
        fs::write(&path, content).unwrap();
        folder.run(&format!("info {}", path.display())).assert_failed(1, &["other", what]);
    }
    folder.run("info /nonexistent").assert_failed(1, &["cannot read /nonexistent"]);
    folder.run("info /dev").assert_failed(1, &["cannot read /dev: it is not a file"]);
    let ended = folder.start_with("info /dev/null", Stdio::null(), None).finish();
    ended.assert_failed(1, &["cannot read /dev/null: it is not a file"]);
}
