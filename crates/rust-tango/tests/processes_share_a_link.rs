//! A link in shared memory does between processes what a link on the heap does between threads: every byte
//! arrives, only the owner of a file can write it, and ends are noticed.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::path::Path;
use std::time::Duration;

use common::process::{Child, TestFolder, maps_hot_slot_writable, role, say};
use common::{assert_whole, in_time, publish, publish_blocking};
use rust_tango::{Consumer, Link, LinkBuilder, LinkErrorKind, Start, TangoError};

const MTU: usize = 700;
const COUNT: u64 = 20_000;

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(32).mtu(MTU).region(8192).consumers(3).dir(folder)
}

/// Reads all fragments of a reliable consumer until the link is closed. Returns how many there were.
fn read_all(rx: &mut Consumer<'_>) -> u64 {
    let mut next = rx.next_seq();
    let first = next;
    while let Some(fragment) = rx.wait().unwrap() {
        common::assert_is(&fragment, next, MTU);
        next += 1;
    }
    assert!(rx.is_closed());
    next - first
}

/// Reads what an observer gets until the link is closed. Returns how many fragments it accepted and lost.
fn observe_all(ob: &mut Consumer<'_>) -> (u64, u64) {
    let (mut accepted, mut all_lost) = (0, 0);
    loop {
        match ob.wait() {
            Ok(Some(fragment)) => {
                assert_whole(&fragment.meta, fragment.payload.as_slice(), MTU);
                accepted += 1;
            }
            Ok(None) => return (accepted, all_lost),
            Err(TangoError::Overrun { lost, .. }) => all_lost += lost,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The roles of the child processes.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    match role.as_str() {
        "consumer" => {
            let mut rx = Link::open_in(&folder, "quotes").unwrap().consumer().unwrap();
            say("ready");
            assert_eq!(read_all(&mut rx), COUNT);
        }
        "observer" => {
            let mut ob = Link::open_in(&folder, "quotes").unwrap().observer().unwrap();
            say("ready");
            let (accepted, lost) = observe_all(&mut ob);
            assert_eq!(accepted + lost, COUNT);
            assert!(accepted > 0);
        }
        "producer" => {
            let link = builder(&folder).create("quotes").unwrap();
            let tx = link.producer().unwrap();
            say("ready");
            assert!(tx.wait_for_consumers(1, Some(common::PATIENCE)));
            for _ in 0..COUNT {
                publish_blocking(&tx, MTU);
            }
            assert!(tx.wait_until_drained(Some(common::PATIENCE)));
        }
        "idle producer" => {
            let tx = builder(&folder).create("quotes").unwrap().producer().unwrap();
            publish(&tx, MTU).unwrap();
            say("ready");
            std::thread::sleep(common::PATIENCE);
        }
        "maps" => {
            let link = Link::open_in(&folder, "quotes").unwrap();
            let (mut rx, mut ob) = (link.consumer_from(Start::Oldest).unwrap(), link.observer().unwrap());
            rx.poll().unwrap().unwrap();
            ob.poll().unwrap();
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let writable = |line: &&str| line.split(' ').nth(1).is_some_and(|access| access.contains('w'));
            let here: Vec<&str> = maps.lines().filter(|line| line.contains("/quotes/")).collect();
            let of =
                |file: &str| here.iter().filter(|line| line.ends_with(file)).copied().collect::<Vec<_>>();
            let page = usize::from(maps_hot_slot_writable());
            assert_eq!(of("/tx").len(), 1 + page, "{maps}");
            assert!(of("/tx").iter().any(|line| line.contains(" r--s 00000000 ")), "{maps}");
            assert!(of("/ctl").len() == 1 && of("/ctl")[0].contains(" r--s "), "{maps}");
            let written: Vec<_> = here.iter().copied().filter(writable).collect();
            assert!(written.iter().any(|line| line.ends_with("/rx.0")), "{maps}");
            assert_eq!(
                written.len(),
                1 + page,
                "only its own words and the hot slot may be writable: {maps}"
            );
        }
        "stopper" => Link::open_in(&folder, "quotes").unwrap().stop().unwrap(),
        other => panic!("no role {other}"),
    }
}

#[test]
fn child_consumers_and_observers_get_what_the_parent_publishes() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let mut children: Vec<Child> =
            ["consumer", "consumer", "observer"].map(|role| Child::start(role, &folder)).into();
        children.iter_mut().for_each(|child| assert_eq!(child.hear(), "ready"));
        assert_eq!(tx.consumers(), 2);
        for _ in 0..COUNT {
            publish_blocking(&tx, MTU);
        }
        assert!(tx.wait_until_drained(Some(common::PATIENCE)));
        drop(tx);
        children.into_iter().for_each(Child::succeeds);
        assert!(link.status().consumers.is_empty());
    });
}

#[test]
fn the_parent_gets_what_a_child_publishes() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut child = Child::start("producer", &folder);
        assert_eq!(child.hear(), "ready");
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        assert_eq!(link.geometry(), builder(folder.path()).create("other").unwrap().geometry());
        assert_eq!(link.producer().unwrap_err().kind(), LinkErrorKind::Taken);
        let mut ob = link.observer().unwrap();
        let observer = std::thread::spawn(move || observe_all(&mut ob));
        let mut rx = link.consumer().unwrap();
        assert_eq!(read_all(&mut rx), COUNT);
        let (accepted, lost) = observer.join().unwrap();
        assert_eq!(accepted + lost, COUNT);
        child.succeeds();
        let status = link.status();
        assert_eq!((status.producer, status.closed, status.next), (false, true, COUNT + 1));
    });
}

#[test]
fn readers_map_everything_of_others_read_only() {
    in_time(|| {
        let folder = TestFolder::new();
        let mut producer = Child::start("idle producer", &folder);
        assert_eq!(producer.hear(), "ready");
        Child::start("maps", &folder).succeeds();
    });
}

#[test]
fn another_process_can_stop_the_link() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        let (mut busy, mut idle) = (link.consumer().unwrap(), link.consumer().unwrap());
        let reader = std::thread::spawn(move || busy.for_each(|_, _| {}).unwrap());
        let producer = std::thread::spawn(move || {
            let error = loop {
                if let Err(error) = tx.send(b"until it is full") {
                    break error;
                }
            };
            assert_eq!(error, TangoError::Closed);
        });
        Child::start("stopper", &folder).succeeds();
        producer.join().unwrap();
        reader.join().unwrap();
        let mut seen = 0;
        idle.for_each(|_, _| seen += 1).unwrap();
        assert_eq!(seen, 32, "nothing in the full ring may be lost");
        assert!(link.status().stopped && idle.is_closed());
    });
}

#[test]
fn a_name_is_found_where_it_was_made() {
    let folder = TestFolder::new();
    let missing = Link::open_in(folder.path(), "quotes").unwrap_err();
    assert!(missing.is_not_found() && missing.to_string().contains("quotes"), "{missing}");
    assert!(Link::open_in(folder.path().join("nowhere"), "quotes").unwrap_err().is_not_found());
    assert!(Link::list(folder.path()).unwrap().is_empty());
    let link = builder(folder.path()).create("quotes").unwrap();
    assert_eq!((link.name(), link.path()), (Some("quotes"), Some(folder.path().join("quotes").as_path())));
    let same = Link::open_in(folder.path(), "quotes").unwrap();
    assert_eq!(same.geometry(), link.geometry());
    assert_eq!(Link::list(folder.path()).unwrap(), ["quotes"]);
    for name in ["", "../x", "a/b", ".hidden", "-x"] {
        assert_eq!(Link::open_in(folder.path(), name).unwrap_err().kind(), LinkErrorKind::Invalid);
        assert_eq!(builder(folder.path()).create(name).unwrap_err().kind(), LinkErrorKind::Invalid);
    }
    let heap = Link::builder().build().unwrap();
    assert_eq!((heap.name(), heap.path()), (None, None));
}

#[test]
fn a_link_in_use_is_not_replaced() {
    let folder = TestFolder::new();
    let create = || builder(folder.path()).create("quotes");
    let refused = |why: &str| {
        let error = create().expect_err(why);
        assert_eq!(error.kind(), LinkErrorKind::InUse, "{why}: {error}");
        assert!(error.to_string().contains("quotes"));
    };
    let link = create().unwrap();
    refused("its maker has reserved the producer");
    let tx = link.producer().unwrap();
    refused("it has a producer");
    let mut rx = Link::open_in(folder.path(), "quotes").unwrap().consumer().unwrap();
    publish(&tx, MTU).unwrap();
    drop((tx, link));
    refused("it has a consumer");
    assert_eq!(read_all(&mut rx), 1, "the consumer must not be disturbed");
    drop(rx);
    // The link is dead now, so it is created anew.
    let link = create().unwrap();
    assert_eq!((link.status().next, link.status().producer), (1, true));
}

#[test]
fn attached_parties_continue_after_a_link_is_removed() {
    let folder = TestFolder::new();
    let link = builder(folder.path()).create("quotes").unwrap();
    let tx = link.producer().unwrap();
    let (mut rx, mut ob) = (link.consumer().unwrap(), link.observer().unwrap());
    publish(&tx, MTU).unwrap();
    link.remove().unwrap();
    assert!(link.remove().unwrap_err().is_not_found());
    assert!(Link::open_in(folder.path(), "quotes").unwrap_err().is_not_found());
    // Another link of the same name is not confused with it.
    let other = builder(folder.path()).create("quotes").unwrap();
    assert!(link.remove().unwrap_err().is_not_found());
    assert_eq!(other.status().next, 1);
    publish(&tx, MTU).unwrap();
    drop((tx, link));
    assert_eq!(read_all(&mut rx), 2);
    assert_eq!(observe_all(&mut ob), (2, 0));
    Link::remove_named(folder.path(), "quotes").unwrap();
    assert!(Link::remove_named(folder.path(), "quotes").unwrap_err().is_not_found());
}

#[test]
fn a_later_producer_continues_where_the_previous_one_ended() {
    let folder = TestFolder::new();
    let link = builder(folder.path()).create("quotes").unwrap();
    let mut rx = link.consumer().unwrap();
    for round in 0..20 {
        let tx = Link::open_in(folder.path(), "quotes").and_then(|other| match round {
            0 => link.producer(), // reserved for the maker until it becomes the producer
            _ => other.producer(),
        });
        let tx = tx.unwrap();
        for _ in 0..3 {
            publish(&tx, MTU).unwrap();
        }
        drop(tx);
        for at in 1..=3 {
            let fragment = rx.wait_timeout(Duration::ZERO).unwrap().unwrap();
            common::assert_is(&fragment, 3 * round + at, MTU);
        }
        assert!(rx.is_closed());
    }
}

#[test]
fn a_maker_that_only_reads_leaves_the_producer_to_others() {
    let folder = TestFolder::new();
    let link = Link::builder().depth(8).dir(folder.path()).create("quotes").unwrap();
    let mut rx = link.consumer().unwrap();
    let other = Link::open_in(folder.path(), "quotes").unwrap();
    assert_eq!(
        other.producer().unwrap_err().kind(),
        LinkErrorKind::Taken,
        "the producer is still reserved for the maker"
    );
    drop(link);
    let tx = other.producer().unwrap();
    tx.send(b"hello").unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"hello");
}

#[test]
fn a_forked_child_takes_nothing_from_its_parent() {
    let folder = TestFolder::new();
    let link = Link::builder().depth(8).dir(folder.path()).create("quotes").unwrap();
    let mut rx = link.consumer().unwrap();
    // SAFETY: the child drops what it has inherited, and ends without returning.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            drop(rx);
            drop(link);
            // SAFETY: ends this process at once, without running any code of the parent's.
            unsafe { nix::libc::_exit(0) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let end = nix::sys::wait::waitpid(child, None).unwrap();
            assert_eq!(end, nix::sys::wait::WaitStatus::Exited(child, 0));
        }
    }
    let other = Link::open_in(folder.path(), "quotes").unwrap();
    assert_eq!(other.producer().unwrap_err().kind(), LinkErrorKind::Taken);
    assert_eq!(other.consumer().unwrap_err().kind(), LinkErrorKind::Taken);
    let tx = link.producer().unwrap();
    assert_eq!(tx.consumers(), 1);
    tx.send(b"hello").unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"hello");
}
