//! Each file of a link can be written by the process that holds it and by no other. The page tables of the
//! running processes enforce this: a store into another party's file is a segmentation fault.
//!
//! There is one exception. Where it makes readers faster, they also have one page of the producer's file writable,
//! that of the hot slot.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use common::process::{Child, TestFolder, maps_hot_slot_writable, role, say};
use common::{assert_is, in_time, publish};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use rust_tango::{Link, LinkBuilder, Start};

const MTU: usize = 300;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(2).dir(folder)
}

/// A mapping of a file of the link.
#[derive(Debug)]
struct Mapped {
    file: String,
    start: usize,
    len: usize,
    offset: usize,
    writable: bool,
    executable: bool,
}

/// The mappings of the link's files in a process, from `/proc/PID/maps`.
fn maps(process: &str) -> Vec<Mapped> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mapped = |line: &str| {
        let mut words = line.split_whitespace();
        let (range, access, offset) = (words.next()?, words.next()?, words.next()?);
        let (_, file) = words.last()?.split_once("/quotes/")?;
        assert_eq!((&access[..1], &access[3..]), ("r", "s"), "readable and shared: {line}");
        let number = |digits: &str| usize::from_str_radix(digits, 16).ok();
        let (start, end) = range.split_once('-')?;
        Some(Mapped {
            file: file.to_owned(),
            start: number(start)?,
            len: number(end)? - number(start)?,
            offset: number(offset)?,
            writable: &access[1..2] == "w",
            executable: &access[2..3] == "x",
        })
    };
    maps.lines().filter_map(mapped).collect()
}

/// Tries to write into a read-only mapping of a file, or into a writable one for comparison.
fn write_into(file: &str, writable: bool) {
    let found = maps("self").into_iter().find(|mapped| mapped.file == file && mapped.writable == writable);
    let start = found.unwrap_or_else(|| panic!("no such mapping of {file}")).start;
    // The last word of the space for the header, which nothing else uses.
    let word = (start + 120) as *mut u64;
    if !writable {
        // The mapping cannot be made writable either, because its file is open for reading only.
        // SAFETY: changes at most the access to a page that nothing relies on being read-only.
        let result = unsafe { libc::mprotect(start as *mut _, 4096, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!((result, Errno::last()), (-1, Errno::EACCES));
    }
    say("now");
    // SAFETY: sound only if `writable`. Otherwise the process is meant to be killed here.
    unsafe { word.write_volatile(u64::MAX) };
    say("written");
}

/// Stores into each word of the page of the hot slot, as stray stores could do.
fn fill_hot_slot() {
    let found = maps("self").into_iter().find(|mapped| mapped.file == "tx" && mapped.writable);
    let page = found.expect("this processor is one on which the page is mapped writable");
    for at in (0..page.len).step_by(8) {
        // SAFETY: a word of a mapping that is writable, and that others load as atomics.
        unsafe { ((page.start + at) as *mut u64).write_volatile(u64::MAX) };
    }
}

/// The roles of the child processes.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    let (party, rest) = role.split_once(' ').unwrap_or((&role, ""));
    let (tx, mut rx, mut ob) = match party {
        "producer" => (Some(builder(&folder).create("quotes").unwrap().producer().unwrap()), None, None),
        "consumer" => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            (None, Some(link.consumer_from(Start::Oldest).unwrap()), None)
        }
        "observer" => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            (None, None, Some(link.observer_from(Start::Oldest).unwrap()))
        }
        "both" => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            let ob = link.observer_from(Start::Oldest).unwrap();
            (None, Some(link.consumer_from(Start::Oldest).unwrap()), Some(ob))
        }
        other => panic!("no role {other}"),
    };
    if let Some(tx) = &tx {
        publish(tx, MTU).unwrap();
    }
    for reader in [&mut rx, &mut ob].into_iter().flatten() {
        assert_is(&reader.poll().unwrap().unwrap(), 1, MTU);
    }
    match rest.split_once(' ') {
        None if rest == "fills-hot-slot" => fill_hot_slot(),
        None => {
            say("ready");
            std::thread::sleep(common::PATIENCE);
        }
        Some(("spoils", file)) => write_into(file, false),
        Some(("writes", file)) => write_into(file, true),
        Some(other) => panic!("no role {other:?}"),
    }
}

#[test]
fn running_processes_map_files_of_others_read_only() {
    in_time(|| {
        let folder = TestFolder::new();
        let producer = Child::start_ready("producer", &folder);
        let readers = [
            Child::start_ready("consumer", &folder),
            Child::start_ready("consumer", &folder),
            Child::start_ready("observer", &folder),
        ];
        let hot_slot: &[&str] = if maps_hot_slot_writable() { &["tx"] } else { &[] };
        let own =
            [vec!["tx"], [&["rx.0"], hot_slot].concat(), [&["rx.1"], hot_slot].concat(), hot_slot.to_vec()];
        for (child, own) in [&producer].into_iter().chain(&readers).zip(own) {
            let mapped = maps(&child.id().to_string());
            for file in ["tx", "ctl", "rx.0", "rx.1"] {
                assert!(mapped.iter().any(|mapped| mapped.file == file && !mapped.writable), "{mapped:?}");
            }
            let mut written: Vec<_> =
                mapped.iter().filter(|mapped| mapped.writable).map(|mapped| mapped.file.as_str()).collect();
            written.sort_unstable();
            assert_eq!(written, own, "{mapped:?}");
            let mut of_tx = mapped.iter().filter(|mapped| mapped.file == "tx" && mapped.writable);
            let is_hot_slot = |mapped: &Mapped| (mapped.offset, mapped.len) == (4096, 4096);
            assert!(child.id() == producer.id() || of_tx.all(is_hot_slot), "{mapped:?}");
            assert!(!mapped.iter().any(|mapped| mapped.executable), "{mapped:?}");
        }
    });
}

/// The readers of a process have one such page together.
#[test]
fn several_readers_map_the_page_of_the_hot_slot_once() {
    in_time(|| {
        let folder = TestFolder::new();
        let _producer = Child::start_ready("producer", &folder);
        let reader = Child::start_ready("both", &folder);
        let mapped = maps(&reader.id().to_string());
        let page = usize::from(maps_hot_slot_writable());
        for (file, times, writable) in [("tx", 1 + page, page), ("ctl", 1, 0), ("rx.0", 2, 1), ("rx.1", 1, 0)]
        {
            let of_it: Vec<_> = mapped.iter().filter(|mapped| mapped.file == file).collect();
            let found = of_it.iter().filter(|mapped| mapped.writable).count();
            assert_eq!((of_it.len(), found), (times, writable), "{file}: {mapped:?}");
        }
    });
}

/// Stray stores of a reader into that page change nothing else. Readers that poll the ring get all fragments.
#[test]
fn stray_stores_into_the_page_of_the_hot_slot_stay_there() {
    in_time(|| {
        let folder = TestFolder::new();
        let tx = builder(folder.path()).create("quotes").unwrap().producer().unwrap();
        publish(&tx, MTU).unwrap();
        let file = folder.path().join("quotes/tx");
        let before = fs::read(&file).unwrap();
        let mut ob = Link::open_in(folder.path(), "quotes").unwrap().observer_from(Start::Oldest).unwrap();
        // On other processors there is no such page.
        let readers = ["consumer fills-hot-slot", "observer fills-hot-slot"];
        for reader in readers.into_iter().filter(|_| maps_hot_slot_writable()) {
            Child::start(reader, &folder).succeeds();
            let after = fs::read(&file).unwrap();
            assert_eq!(after[4096..8192], [0xff; 4096], "{reader}");
            assert!(after[..4096] == before[..4096] && after[8192..] == before[8192..], "{reader}");
        }
        assert_is(&ob.poll().unwrap().unwrap(), 1, MTU);
        for n in 2..=9 {
            publish(&tx, MTU).unwrap();
            assert_is(&ob.poll().unwrap().unwrap(), n, MTU);
        }
    });
}

#[test]
fn a_store_into_a_file_of_another_party_is_a_segmentation_fault() {
    in_time(|| {
        let folder = TestFolder::new();
        // Before there are other parties: the producer writes into the files of readers and of the operator.
        for file in ["rx.0", "rx.1", "ctl", "tx"] {
            expect_segmentation_fault(&format!("producer spoils {file}"), &folder);
        }
        let producer = Child::start_ready("producer", &folder);
        let before = fs::read(folder.path().join("quotes/tx")).unwrap();
        for file in ["tx", "rx.1", "ctl", "rx.0"] {
            expect_segmentation_fault(&format!("consumer spoils {file}"), &folder);
            expect_segmentation_fault(&format!("observer spoils {file}"), &folder);
        }
        assert!(before == fs::read(folder.path().join("quotes/tx")).unwrap(), "no byte may change");
        drop(producer);
    });
}

/// The same store succeeds where the process may write, so it was the page tables that prevented it above.
#[test]
fn a_store_into_its_own_file_succeeds() {
    in_time(|| {
        let folder = TestFolder::new();
        Child::start("producer writes tx", &folder).succeeds();
        let mut producer = Child::start("producer", &folder);
        assert_eq!(producer.hear(), "ready");
        Child::start("consumer writes rx.0", &folder).succeeds();
        assert_eq!(fs::read(folder.path().join("quotes/rx.0")).unwrap()[120..128], [0xff; 8]);
    });
}

fn expect_segmentation_fault(role: &str, folder: &TestFolder) {
    let mut child = Child::start(role, folder);
    assert_eq!(child.hear(), "now", "{role}");
    let status = child.ends();
    assert_eq!(status.signal(), Some(Signal::SIGSEGV as i32), "{role}: {status}");
}
