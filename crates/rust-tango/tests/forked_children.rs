//! A forked child inherits everything that its parent has of a link, and may use and drop it. The child does
//! not crash and finds the link closed, for reading and for publishing, and the parent is not disturbed.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use common::process::{TestFolder, skip};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Uid};
use rust_tango::{Consumer, Link, LinkBuilder, LinkErrorKind, Start, TangoError};

const INSIDE: usize = 150;

fn builder(folder: &TestFolder) -> LinkBuilder {
    Link::builder().depth(8).mtu(200).consumers(2).dir(folder.path())
}

/// Runs `act` in a forked child, which must end in an orderly way, not by a signal or a panic.
fn in_child(what: &str, act: impl FnOnce()) {
    // SAFETY: the child runs `act`, which only uses what it has inherited, and ends without returning.
    match unsafe { nix::unistd::fork() }.unwrap() {
        ForkResult::Child => {
            // Kills a child that hangs.
            nix::unistd::alarm::set(60);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            // SAFETY: ends this process at once, without running any code of the parent's.
            unsafe { nix::libc::_exit(if done.is_ok() { 7 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7), "{what}");
        }
    }
}

/// Drops the child's copy of a value. The parent keeps its own.
fn drop_in_child<T>(what: &str, value: &T) {
    // SAFETY: runs in the child alone, which ends without dropping the value again.
    in_child(what, || drop(unsafe { std::ptr::read(value) }));
}

fn kinds(link: &Link) -> [Consumer<'static>; 3] {
    [link.consumer().unwrap(), link.observer().unwrap(), link.evictable_consumer(Start::Next).unwrap()]
}

#[test]
fn a_payload_dropped_in_the_child_is_still_held_in_the_parent() {
    let folder = TestFolder::new();
    let link = builder(&folder).depth(2).create("quotes").unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    tx.send(&[1; INSIDE]).unwrap();
    tx.send(&[2; INSIDE]).unwrap();
    let held = rx.poll().unwrap().unwrap();
    drop_in_child("a payload", &held.payload);
    drop_in_child("a payload, again", &held.payload);
    assert!(tx.publish(&[3; INSIDE], 0, 0, 0).is_err(), "the credit must not return");
    assert_eq!(held.payload.as_slice(), [1; INSIDE]);
    drop(held);
    tx.publish(&[3; INSIDE], 0, 0, 0).unwrap();
    let batch = rx.poll_batch(2).unwrap();
    assert_eq!(batch.len(), 2);
    drop_in_child("a batch", &batch);
    assert!(tx.publish(&[4; INSIDE], 0, 0, 0).is_err(), "nor this one");
    assert_eq!(batch.iter().nth(1).unwrap().payload.as_slice(), [3; INSIDE]);
}

#[test]
fn readers_in_the_child_find_the_link_closed() {
    let folder = TestFolder::new();
    // The child sees zeros instead of the link's memory. They must not be taken for a fragment, whatever the
    // first number is.
    for start in [0, 1, 1000, 1 << 63, u64::MAX, u64::MAX - 3] {
        for kind in 0..3 {
            let link = builder(&folder).start(start).create("quotes").unwrap();
            let tx = link.producer().unwrap();
            let [reliable, observer, evictable] = kinds(&link);
            let mut rx = [reliable, observer, evictable].into_iter().nth(kind).unwrap();
            in_child("a reader", || {
                assert!(rx.poll().unwrap().is_none());
                assert!(rx.is_closed());
                assert!(rx.poll_batch(8).unwrap().is_empty());
                assert!(rx.wait().unwrap().is_none());
                // A waiting reader switches to the hot slot.
                assert!((0..100).all(|_| rx.poll().unwrap().is_none()));
                drop(rx);
            });
            drop(tx);
            link.remove().unwrap();
        }
    }
}

#[test]
fn a_waiting_reader_in_the_child_finds_the_link_closed() {
    let folder = TestFolder::new();
    for start in [0, 1, 1 << 63, u64::MAX] {
        let link = builder(&folder).start(start).create("quotes").unwrap();
        let tx = link.producer().unwrap();
        for mut rx in kinds(&link) {
            assert!((0..100).all(|_| rx.poll().unwrap().is_none()));
            in_child("a reader that waits", || {
                assert!((0..100).all(|_| rx.poll().unwrap().is_none()));
                assert!(rx.is_closed());
                drop(rx);
            });
        }
        drop(tx);
        link.remove().unwrap();
    }
}

/// Earlier deaths and evictions on the link are not reported again.
#[test]
fn earlier_events_are_not_reported_in_the_child() {
    let folder = TestFolder::new();
    let link = builder(&folder).start(u64::MAX - 20).create("quotes").unwrap();
    for _ in 0..2 {
        common::die_by_panic(link.producer().unwrap());
    }
    let tx = link.producer().unwrap().with_patience(std::time::Duration::ZERO);
    let lazy = link.evictable_consumer(Start::Next).unwrap();
    for _ in 0..10 {
        tx.send(b"past").unwrap();
    }
    drop(lazy);
    assert_eq!((link.status().takeovers, link.status().evicted), (2, 1));
    for mut rx in kinds(&link) {
        assert!((0..100).all(|_| rx.poll().unwrap().is_none()));
        in_child("a reader", || {
            assert!((0..100).all(|_| rx.poll().unwrap().is_none()));
            assert!(rx.wait().unwrap().is_none() && rx.is_closed());
        });
    }
    drop(tx);
}

#[test]
fn both_ends_are_dropped_by_a_panic_in_the_child() {
    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    tx.send(&[1; INSIDE]).unwrap();
    in_child("a panic", || {
        let panic = std::panic::AssertUnwindSafe(|| {
            let _tx = tx;
            let _fragment = rx.poll();
            std::panic::resume_unwind(Box::new("in the child"));
        });
        assert!(std::panic::catch_unwind(panic).is_err());
    });
}

#[test]
fn the_parent_is_not_disturbed() {
    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    tx.send(b"before").unwrap();
    for _ in 0..3 {
        in_child("a child", || {
            // Nobody would get any of it.
            assert!(tx.is_stopped());
            for size in [20, INSIDE] {
                let payload = &[9; INSIDE][..size];
                assert_eq!(tx.publish(payload, 0, 0, 0), Err(TangoError::Closed));
                assert_eq!(tx.send(payload), Err(TangoError::Closed));
                assert_eq!(tx.publish_batch(&[payload; 3], 0, 0), 0);
                assert_eq!(tx.loan(size).map(drop), Err(TangoError::Closed));
            }
            assert_eq!(tx.send_message(&[9; 1000], 0), Err(TangoError::Closed));
            assert!(!tx.wait_for_consumers(1, None));
            assert!(rx.poll().unwrap().is_none());
            // A child of the child finds the same.
            in_child("a grandchild", || assert!(rx.poll().unwrap().is_none()));
            drop_in_child("a consumer", &rx);
            drop_in_child("a producer", &tx);
        });
    }
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"before");
    tx.send(b"after").unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"after");
    let mut loan = tx.loan(3).unwrap();
    loan.write_at(0, b"own");
    loan.commit(0, 0, 0).unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"own");
    assert!(rx.poll().unwrap().is_none());
    assert!(!rx.is_closed());
}

#[test]
fn a_loan_of_the_parent_is_not_committed_in_the_child() {
    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let (mut tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    let mut loan = tx.loan(INSIDE).unwrap();
    loan.write_at(0, &[1; INSIDE]);
    in_child("a loan", || {
        // SAFETY: runs in the child alone, which ends without using the loan again.
        let mut copy = unsafe { std::ptr::read(&raw const loan) };
        copy.write_at(0, &[2; INSIDE]);
        assert_eq!(copy.commit(0, 0, 0), Err(TangoError::Closed));
    });
    assert!(rx.poll().unwrap().is_none());
    loan.commit(0, 0, 0).unwrap();
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), [1; INSIDE]);
}

/// The error of the parent's handle says what to do. A handle that the child opens works normally.
#[test]
fn a_child_opens_the_link_again() {
    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
    tx.send(b"for two").unwrap();
    in_child("a handle", || {
        for error in [
            link.producer().map(|_| ()).unwrap_err(),
            link.consumer().map(|_| ()).unwrap_err(),
            link.observer().map(|_| ()).unwrap_err(),
            link.evictable_consumer(Start::Next).map(|_| ()).unwrap_err(),
            link.stop().unwrap_err(),
            link.remove().unwrap_err(),
        ] {
            assert_eq!(error.kind(), LinkErrorKind::Invalid);
            assert!(
                error.to_string().contains("quotes was opened before this process was forked"),
                "{error}"
            );
        }
        assert!(link.status().stopped);
        let link = Link::open_in(folder.path(), "quotes").unwrap();
        let mut own = link.consumer_from(Start::Oldest).unwrap();
        assert_eq!(own.poll().unwrap().unwrap().payload.as_slice(), b"for two");
        // The child's own handle is closed in a child of the child.
        in_child("a grandchild", || assert!(own.poll().unwrap().is_none() && own.is_closed()));
        assert!(own.poll().unwrap().is_none() && !own.is_closed());
    });
    assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"for two");
    assert_eq!(tx.consumers(), 1);
}

#[cfg(feature = "async")]
#[test]
fn an_async_reader_in_the_child_finds_the_link_closed() {
    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let _tx = link.producer().unwrap();
    let mut rx = link.consumer().unwrap().into_async().unwrap();
    assert!(rx.poll().unwrap().is_none());
    in_child("an awaited reader", || {
        assert!(rx.poll().unwrap().is_none());
        assert!(rx.is_closed());
        drop(rx);
    });
}

/// The list of mappings reuses the entries of removed links, and later memory at their addresses is left
/// alone in a child.
#[test]
fn removed_links_have_no_effect_in_the_child() {
    let folder = TestFolder::new();
    for _ in 0..50 {
        let link = builder(&folder).create("quotes").unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        tx.send(b"short").unwrap();
        assert!(rx.poll().unwrap().is_some());
        drop((tx, rx));
        link.remove().unwrap();
    }
    let memory: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    in_child("memory", || assert!(memory.iter().zip((0..=255).cycle()).all(|(byte, n)| *byte == n)));
}

/// A process with id 1. `act` gets the means to fork once more, once: that child has id 1, too. So no id tells
/// the one from the other.
fn in_process_1(what: &str, act: impl FnOnce(fn(&str, &mut dyn FnMut())) + Send) {
    fn in_another_process_1(what: &str, act: &mut dyn FnMut()) {
        unshare(CloneFlags::CLONE_NEWPID).unwrap();
        in_child(what, || {
            assert_eq!(std::process::id(), 1);
            act();
        });
    }
    // A thread can do this once, for the children that it has from then on.
    std::thread::scope(|scope| {
        let forks = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWPID).unwrap();
            in_child(what, || {
                assert_eq!(std::process::id(), 1);
                act(in_another_process_1);
            });
        });
        forks.join().unwrap();
    });
}

/// Drops the child's copy of a value, in a child that has the id of its parent.
fn drop_in_process_1<T>(what: &str, in_another: fn(&str, &mut dyn FnMut()), value: &T) {
    // SAFETY: runs in the child alone, which ends without dropping the value again.
    in_another(what, &mut || drop(unsafe { std::ptr::read(value) }));
}

#[test]
fn a_child_with_the_id_of_its_parent_does_not_release_its_lock() {
    if !Uid::effective().is_root() {
        return skip("only root may make pid namespaces");
    }
    let folder = TestFolder::new();
    in_process_1("the maker", |in_another| {
        let link = builder(&folder).create("quotes").unwrap();
        drop_in_process_1("a link", in_another, &link);
        let other = Link::open_in(folder.path(), "quotes").unwrap();
        assert_eq!(other.producer().unwrap_err().kind(), LinkErrorKind::Taken);
        let (tx, mut rx) = (link.producer().unwrap(), other.consumer().unwrap());
        tx.send(b"first").unwrap();
        assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"first");
    });
}

#[test]
fn a_child_with_the_id_of_its_parent_drops_what_it_inherits() {
    if !Uid::effective().is_root() {
        return skip("only root may make pid namespaces");
    }
    let folder = TestFolder::new();
    in_process_1("a producer's process", |in_another| {
        let link = builder(&folder).create("producer").unwrap();
        let tx = link.producer().unwrap();
        drop_in_process_1("a producer", in_another, &tx);
        assert_eq!(link.producer().unwrap_err().kind(), LinkErrorKind::Taken);
        assert!(!link.status().closed);
    });
    in_process_1("a consumer's process", |in_another| {
        let link = builder(&folder).consumers(1).create("consumer").unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        tx.send(b"kept").unwrap();
        in_another("a consumer", &mut || {
            // SAFETY: runs in the child alone, which ends without dropping the value again.
            let mut rx = unsafe { std::ptr::read(&rx) };
            assert!(rx.poll().unwrap().is_none());
        });
        drop(rx.poll().unwrap().unwrap());
        let other = Link::open_in(folder.path(), "consumer").unwrap();
        assert_eq!(other.consumer().unwrap_err().kind(), LinkErrorKind::Taken);
        assert_eq!(tx.consumers(), 1);
        assert!(rx.poll().unwrap().is_none() && !rx.is_closed());
    });
    #[cfg(feature = "async")]
    in_process_1("an awaiting process", |in_another| {
        let link = builder(&folder).create("awaited").unwrap();
        let tx = link.producer().unwrap();
        let mut rx = link.consumer().unwrap().into_async().unwrap();
        assert!(rx.poll().unwrap().is_none());
        drop_in_process_1("an awaited consumer", in_another, &rx);
        tx.send(b"still there").unwrap();
        assert_eq!(rx.poll().unwrap().unwrap().payload.as_slice(), b"still there");
    });
}

/// A child that a bare system call has made has not run what the C library runs in children. It has no memory
/// where the link was, but it knows that it is another process, even if it has the id of its parent.
#[test]
fn a_child_of_a_bare_system_call_drops_what_it_inherits() {
    if !Uid::effective().is_root() {
        return skip("only root may make pid namespaces");
    }
    let folder = TestFolder::new();
    in_process_1("the maker", |_| {
        let link = builder(&folder).create("quotes").unwrap();
        let (tx, rx) = (link.producer().unwrap(), link.consumer().unwrap());
        let reserved = builder(&folder).create("reserved").unwrap();
        let flags = nix::libc::CLONE_NEWPID | nix::libc::SIGCHLD;
        // SAFETY: makes a copy of this process, as `fork` does.
        let child = unsafe { nix::libc::syscall(nix::libc::SYS_clone, flags, 0, 0, 0, 0) };
        if child == 0 {
            nix::unistd::alarm::set(60);
            assert_eq!(std::process::id(), 1);
            drop((tx, rx, link, reserved));
            // SAFETY: ends this process at once, without running any code of the parent's.
            unsafe { nix::libc::_exit(7) }
        }
        let child = nix::unistd::Pid::from_raw(child as i32);
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
        for name in ["quotes", "reserved"] {
            let other = Link::open_in(folder.path(), name).unwrap();
            assert_eq!(other.producer().unwrap_err().kind(), LinkErrorKind::Taken, "{name}");
        }
        assert_eq!(tx.consumers(), 1);
        drop((rx, reserved.producer().unwrap()));
    });
}

/// The handle has never been used in the parent.
#[test]
fn a_handle_that_was_only_opened_finds_the_link_stopped() {
    let folder = TestFolder::new();
    let _made = builder(&folder).create("quotes").unwrap();
    let link = Link::open_in(folder.path(), "quotes").unwrap();
    in_child("an unused handle", || assert!(link.status().stopped));
}

/// At number 0, zeros in place of the hot slot would look like a fragment.
#[test]
fn a_consumer_that_reads_the_hot_slot() {
    let folder = TestFolder::new();
    for start in [0, 1, u64::MAX, 0_u64.wrapping_sub(5)] {
        let link = builder(&folder).start(start).create("quotes").unwrap();
        let (tx, mut rx) = (link.producer().unwrap(), link.consumer().unwrap());
        for _ in 0..5 {
            assert!((0..100).all(|_| rx.poll().unwrap().is_none()));
            tx.send(b"newest").unwrap();
            assert!(rx.poll().unwrap().is_some());
        }
        assert!((0..100).all(|_| rx.poll().unwrap().is_none()));
        in_child("a consumer with a hot slot", || {
            assert!((0..100).all(|_| rx.poll().unwrap().is_none()) && rx.is_closed());
        });
        drop((tx, rx));
        link.remove().unwrap();
    }
}

/// A subscriber of the child may need a lock that another thread of the parent held during the fork.
#[cfg(feature = "tracing")]
#[test]
fn a_forked_child_tells_nothing_of_ends_that_are_not_its_own() {
    use tracing::span::{Attributes, Id, Record};

    struct Refusing;

    impl tracing::Subscriber for Refusing {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            panic!("{event:?}");
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    let folder = TestFolder::new();
    let link = builder(&folder).create("quotes").unwrap();
    let (tx, readers) = (link.producer().unwrap(), kinds(&link));
    tracing::subscriber::with_default(Refusing, || {
        for rx in &readers {
            drop_in_child("a consumer", rx);
        }
        drop_in_child("a producer", &tx);
        drop_in_child("a link", &link);
    });
}
