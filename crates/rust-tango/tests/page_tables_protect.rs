//! Each file of a link can be written by the process that holds it, and by no other, whatever goes wrong there:
//! the page tables of the running processes say so, and who tries anyway dies of it (SIGSEGV). But for `tx.N`, in which
//! the producer shows things to the consumer in slot N: nobody else maps it, and both of them have it writable. A reader
//! that asks for it has the producer's file writable as well, and that one only.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use common::process::{Child, Place, role, say};
use common::{assert_is, in_time, publish};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use rust_tango::{Link, LinkBuilder, Start};

const MTU: usize = 300;

fn builder(place: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(MTU).consumers(2).dir(place)
}

/// A mapping of a file of the link.
#[derive(Debug)]
struct Mapped {
    file: String,
    start: usize,
    writable: bool,
    executable: bool,
}

/// The mappings of files of the link in a process, from `/proc/PID/maps`.
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

/// Tries to write where a file is mapped for reading, or, for comparison, where it is mapped for writing.
fn write_into(file: &str, writable: bool) {
    let found = maps("self").into_iter().find(|mapped| mapped.file == file && mapped.writable == writable);
    let start = found.unwrap_or_else(|| panic!("no such mapping of {file}")).start;
    // The last word of the header's room: nothing reads or writes it.
    let word = (start + 120) as *mut u64;
    if !writable {
        // Nor can the mapping be made writable: its file is open for reading only.
        // SAFETY: changes, at most, what may be done with a page that nothing relies on being read-only.
        let result = unsafe { libc::mprotect(start as *mut _, 4096, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!((result, Errno::last()), (-1, Errno::EACCES));
    }
    say("now");
    // SAFETY: it is not, unless `writable`: the process is meant to end here.
    unsafe { word.write_volatile(u64::MAX) };
    say("written");
}

/// What the children of these tests do.
#[test]
fn child() {
    let Some((role, place)) = role() else { return };
    let (party, rest) = role.split_once(' ').unwrap_or((&role, ""));
    let (tx, mut rx, mut ob) = match party {
        "producer" => (Some(builder(&place).create("quotes").unwrap().producer().unwrap()), None, None),
        "consumer" => {
            let link = Link::open_in(&place, "quotes").unwrap();
            (None, Some(link.consumer_from(Start::Oldest).unwrap()), None)
        }
        "observer" => {
            let link = Link::open_in(&place, "quotes").unwrap();
            (None, None, Some(link.observer_from(Start::Oldest).unwrap()))
        }
        "both" => {
            let link = Link::open_in(&place, "quotes").unwrap();
            // Made before, so that this one keeps what it has.
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

fn started(role: &str, place: &Place) -> Child {
    let mut child = Child::start(role, place);
    assert_eq!(child.hear(), "ready");
    child
}

#[test]
fn running_processes_map_what_is_not_theirs_read_only() {
    in_time(|| {
        let place = Place::new();
        let producer = started("producer", &place);
        let readers = [started("consumer", &place), started("consumer", &place), started("observer", &place)];
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
            let mut shown = mapped.iter().filter(|mapped| mapped.file.starts_with("tx."));
            assert!(shown.all(|mapped| own.contains(&mapped.file.as_str())), "{mapped:?}");
            assert!(!mapped.iter().any(|mapped| mapped.executable), "{mapped:?}");
        }
    });
}

#[test]
fn readers_that_ask_for_it_map_the_producers_file_writable_and_no_other() {
    in_time(|| {
        let place = Place::new();
        let _producer = started("producer", &place);
        let reader = started("both", &place);
        let mapped = maps(&reader.id().to_string());
        for (file, times, writable) in
            [("tx", 2, 1), ("ctl", 1, 0), ("rx.0", 2, 1), ("rx.1", 1, 0), ("tx.0", 1, 1), ("tx.1", 0, 0)]
        {
            let of_it: Vec<_> = mapped.iter().filter(|mapped| mapped.file == file).collect();
            let found = of_it.iter().filter(|mapped| mapped.writable).count();
            assert_eq!((of_it.len(), found), (times, writable), "{file}: {mapped:?}");
        }
        // It loads through that one: the page tables do not keep it from writing there.
        Child::start("both writes tx", &place).succeeds();
    });
}

/// What is asked of a link whose files have gone, or that is on the heap.
#[test]
fn what_is_removed_cannot_be_mapped_writable_and_on_the_heap_there_is_nothing_to_map() {
    let place = Place::new();
    let link = builder(place.path()).create("quotes").unwrap();
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
fn who_writes_into_a_file_of_another_dies() {
    in_time(|| {
        let place = Place::new();
        // Before there is somebody else: the producer spoils what it maps of readers and of the operator.
        for file in ["rx.0", "rx.1", "ctl", "tx"] {
            dies(&format!("producer spoils {file}"), &place);
        }
        let producer = started("producer", &place);
        let before = fs::read(place.path().join("quotes/tx")).unwrap();
        for file in ["tx", "rx.1", "ctl", "rx.0"] {
            dies(&format!("consumer spoils {file}"), &place);
            dies(&format!("observer spoils {file}"), &place);
        }
        assert!(before == fs::read(place.path().join("quotes/tx")).unwrap(), "not a byte has changed");
        drop(producer);
    });
}

/// The same write, where the process has the right to: so it is the page tables that made the difference.
#[test]
fn who_writes_into_its_own_file_lives() {
    in_time(|| {
        let place = Place::new();
        Child::start("producer writes tx", &place).succeeds();
        let mut producer = Child::start("producer", &place);
        assert_eq!(producer.hear(), "ready");
        Child::start("consumer writes rx.0", &place).succeeds();
        assert_eq!(fs::read(place.path().join("quotes/rx.0")).unwrap()[120..128], [0xff; 8]);
    });
}

fn dies(role: &str, place: &Place) {
    let mut child = Child::start(role, place);
    assert_eq!(child.hear(), "now", "{role}");
    let status = child.ends();
    assert_eq!(status.signal(), Some(Signal::SIGSEGV as i32), "{role}: {status}");
}
