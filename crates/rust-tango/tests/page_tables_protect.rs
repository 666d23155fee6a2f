//! Each file of a link can be written by the process that holds it and by no other. The page tables of the
//! running processes enforce this: a store into another party's file is a segmentation fault. There are two
//! exceptions:
//!
//! - `tx.N`, the private hot slot of the consumer in slot N, is writable for the producer and for that
//!   consumer. Nobody else maps it.
//! - A reader that asks for it also has the producer's file writable, and only that one.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use common::process::{Child, TestFolder, role, say};
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
    writable: bool,
    executable: bool,
}

/// The mappings of the link's files in a process, from `/proc/PID/maps`.
fn maps(process: &str) -> Vec<Mapped> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mapped = |line: &str| {
        let mut words = line.split_whitespace();
        let (range, access) = (words.next()?, words.next()?);
        let (_, file) = words.last()?.split_once("/quotes/")?;
        assert_eq!((&access[..1], &access[3..]), ("r", "s"), "readable and shared: {line}");
        Some(Mapped {
            file: file.to_owned(),
            start: usize::from_str_radix(range.split('-').next()?, 16).ok()?,
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
            // Made before the call, so it keeps its mapping.
            let ob = link.observer_from(Start::Oldest).unwrap();
            for handle in [&link, &link.clone()] {
                handle.map_writable().unwrap();
            }
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
        let own: [&[&str]; 4] = [&["tx", "tx.0", "tx.1"], &["rx.0", "tx.0"], &["rx.1", "tx.1"], &[]];
        for (child, own) in [&producer].into_iter().chain(&readers).zip(own) {
            let mapped = maps(&child.id().to_string());
            for file in ["tx", "ctl", "rx.0", "rx.1"] {
                assert!(mapped.iter().any(|mapped| mapped.file == file && !mapped.writable), "{mapped:?}");
            }
            let mut written: Vec<_> =
                mapped.iter().filter(|mapped| mapped.writable).map(|mapped| mapped.file.as_str()).collect();
            written.sort_unstable();
            assert_eq!(written, own, "{mapped:?}");
            let mut hot_slots = mapped.iter().filter(|mapped| mapped.file.starts_with("tx."));
            assert!(hot_slots.all(|mapped| own.contains(&mapped.file.as_str())), "{mapped:?}");
            assert!(!mapped.iter().any(|mapped| mapped.executable), "{mapped:?}");
        }
    });
}

#[test]
fn readers_that_ask_for_it_map_the_producers_file_writable_and_no_other() {
    in_time(|| {
        let folder = TestFolder::new();
        let _producer = Child::start_ready("producer", &folder);
        let reader = Child::start_ready("both", &folder);
        let mapped = maps(&reader.id().to_string());
        for (file, times, writable) in
            [("tx", 2, 1), ("ctl", 1, 0), ("rx.0", 2, 1), ("rx.1", 1, 0), ("tx.0", 1, 1), ("tx.1", 0, 0)]
        {
            let of_it: Vec<_> = mapped.iter().filter(|mapped| mapped.file == file).collect();
            let found = of_it.iter().filter(|mapped| mapped.writable).count();
            assert_eq!((of_it.len(), found), (times, writable), "{file}: {mapped:?}");
        }
        // The reader loads through that mapping, so the page tables do not keep it from writing there.
        Child::start("both writes tx", &folder).succeeds();
    });
}

/// `map_writable` on a link whose files are removed, and on a link on the heap.
#[test]
fn map_writable_fails_on_a_removed_link_and_does_nothing_on_the_heap() {
    let folder = TestFolder::new();
    let link = builder(folder.path()).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    link.remove().unwrap();
    let error = link.map_writable().unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("quotes/tx"), "{error}");
    let mut ob = link.observer().unwrap();
    publish(&tx, MTU).unwrap();
    assert_is(&ob.poll().unwrap().unwrap(), 1, MTU);
    Link::builder().build().unwrap().map_writable().unwrap();
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
