//! A link that was made with `remove_on_drop` is removed when its maker has finished with it, and not before.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::fs;

use common::in_time;
use common::process::{Child, TestFolder, entries, is_told, role, say};
use rust_tango::{Link, LinkBuilder};

fn builder(folder: &std::path::Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(64).consumers(2).dir(folder).remove_on_drop(true)
}

fn names(folder: &TestFolder) -> Vec<String> {
    Link::list(folder.path()).unwrap()
}

/// The roles of the child processes.
#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    match role.as_str() {
        "consumer" => {
            let mut rx = Link::open_in(&folder, "quotes").unwrap().consumer().unwrap();
            say("ready");
            assert_eq!(rx.wait().unwrap().unwrap().payload.as_slice(), b"first");
            while !is_told("removed") {
                std::thread::yield_now();
            }
            assert_eq!(rx.wait().unwrap().unwrap().payload.as_slice(), b"last");
            assert!(rx.wait().unwrap().is_none() && rx.is_closed());
        }
        "next producer" => {
            let _tx = Link::open_in(&folder, "quotes").unwrap().producer().unwrap();
            say("ready");
            while !is_told("end") {
                std::thread::yield_now();
            }
        }
        "maker" => {
            let link = builder(&folder).create("quotes").unwrap();
            let _tx = link.producer().unwrap();
            say("ready");
            loop {
                std::thread::park();
            }
        }
        role => panic!("{role}"),
    }
}

#[test]
fn the_last_owner_of_any_kind_removes_the_link() {
    let folder = TestFolder::new();
    // The order in which they are dropped.
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let link = builder(folder.path()).create("quotes").unwrap();
        let mut owners: [Option<Box<dyn std::any::Any>>; 4] = [
            Some(Box::new(link.producer().unwrap())),
            Some(Box::new(link.consumer().unwrap())),
            Some(Box::new(link.observer().unwrap())),
            Some(Box::new(link.clone())),
        ];
        drop(link);
        for owner in order {
            assert_eq!(names(&folder), ["quotes"], "{order:?} {owner}");
            owners[owner] = None;
        }
        assert_eq!(entries(folder.path()), [".lock"], "{order:?}");
    }
    // The producer was never taken; and a handle that was opened does not count.
    let link = builder(folder.path()).create_or_take_over("quotes").unwrap();
    let opened = Link::open_in(folder.path(), "quotes").unwrap();
    drop(link);
    assert!(names(&folder).is_empty() && !opened.is_named());
}

#[test]
fn clones_that_are_dropped_at_once_remove_the_link() {
    let folder = TestFolder::new();
    for _ in 0..200 {
        let link = builder(folder.path()).create("quotes").unwrap();
        let clones = [link.clone(), link.clone(), link];
        std::thread::scope(|scope| clones.map(|clone| scope.spawn(|| drop(clone))).map(|_| ()));
        assert!(names(&folder).is_empty());
    }
}

/// The thread that waits in the place of async ends has a share of the memory of a link for a while longer than its
/// ends have.
#[cfg(feature = "async")]
#[test]
fn the_last_owner_removes_the_link_also_while_async_ends_wait() {
    use std::task::{Context, Waker};

    in_time(|| {
        let folder = TestFolder::new();
        let cx = &mut Context::from_waker(Waker::noop());
        // It keeps the thread.
        let other = Link::builder().build().unwrap();
        let mut waits = other.consumer().unwrap().into_async().unwrap();
        assert!(waits.poll_next(cx).is_pending());
        for round in 0..200 {
            let link = builder(folder.path()).create("quotes").unwrap();
            let (tx, rx) = (link.producer().unwrap(), link.consumer().unwrap());
            let ends: [Box<dyn std::any::Any>; 2] = if round % 2 == 0 {
                let mut rx = rx.into_async().unwrap();
                assert!(rx.poll_next(cx).is_pending());
                [Box::new(tx), Box::new(rx)]
            } else {
                let mut tx = tx.into_async().unwrap();
                while tx.try_send(b"").is_ok() {}
                assert!(tx.poll_ready(cx, 1).is_pending());
                [Box::new(rx), Box::new(tx)]
            };
            // Gives the thread time to fall asleep. Nothing depends on it.
            std::thread::yield_now();
            ends.into_iter().for_each(drop);
            assert_eq!(names(&folder), ["quotes"], "round {round}");
            drop(link);
            assert_eq!(entries(folder.path()), [".lock"], "round {round}");
        }
    });
}

#[test]
fn a_consumer_elsewhere_reads_what_is_left() {
    in_time(|| {
        let folder = TestFolder::new();
        let tx = builder(folder.path()).create("quotes").unwrap().producer().unwrap();
        let mut consumer = Child::start_ready("consumer", &folder);
        tx.send(b"first").unwrap();
        tx.send(b"last").unwrap();
        drop(tx);
        assert!(names(&folder).is_empty());
        consumer.tell("removed");
        consumer.succeeds();
    });
}

#[test]
fn a_later_producer_or_link_is_left_alone() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        drop(link.producer().unwrap());
        let mut next = Child::start_ready("next producer", &folder);
        drop(link);
        assert_eq!(names(&folder), ["quotes"], "another process has its producer");
        next.tell("end");
        next.succeeds();

        let first = builder(folder.path()).create("quotes").unwrap();
        fs::remove_dir_all(first.path().unwrap()).unwrap();
        let second = builder(folder.path()).create("quotes").unwrap();
        drop(first);
        assert_eq!(names(&folder), ["quotes"]);
        assert!(second.is_named());
        drop(second);
        assert!(names(&folder).is_empty());
    });
}

/// The maker has found that the link has no producer, and waits for the lock of the folder of links.
#[test]
fn a_producer_that_comes_while_the_maker_waits_is_left_alone() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        drop(link.producer().unwrap());
        // Removing a link makes the file that is locked.
        Link::builder().dir(folder.path()).create("other").unwrap().remove().unwrap();
        let lock = fs::File::options().write(true).open(folder.path().join(".lock")).unwrap();
        let (mine, not_mine) = (nix::libc::F_WRLCK, nix::libc::F_UNLCK);
        let set = |kind| {
            let whole = nix::libc::flock { l_type: kind as _, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
            nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_OFD_SETLK(&whole)).unwrap();
        };
        set(mine);
        let next = Link::open_in(folder.path(), "quotes").unwrap();
        let dropping = std::thread::spawn(move || drop(link));
        std::thread::sleep(std::time::Duration::from_millis(200));
        let tx = next.producer().unwrap();
        set(not_mine);
        dropping.join().unwrap();
        assert_eq!(names(&folder), ["quotes"]);
        assert!(next.is_named());
        drop(tx);
    });
}

#[test]
fn neither_a_forked_child_nor_a_killed_maker_removes_it() {
    in_time(|| {
        let folder = TestFolder::new();
        let link = builder(folder.path()).create("quotes").unwrap();
        // SAFETY: the child only drops what it has inherited, and ends without returning.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                nix::unistd::alarm::set(60);
                drop(link);
                // SAFETY: ends this process at once, without running any code of the parent's.
                unsafe { nix::libc::_exit(7) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                let ended = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 7));
            }
        }
        assert!(link.is_named());
        drop(link);
        assert!(names(&folder).is_empty());

        Child::start_ready("maker", &folder).kill();
        assert_eq!(names(&folder), ["quotes"], "it stays as a dead link");
        Link::remove_dead(folder.path(), "quotes").unwrap();
    });
}
