//! `open_wait` opens a link as soon as it exists, in a folder that may be missing itself. It waits for nothing else, and
//! no longer than it is told. Its future does the same under any executor, and all of them share one thread.
#![cfg(all(feature = "shm", target_os = "linux", not(miri)))]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::process::{Child, TestFolder, is_told, role, say};
use common::{PATIENCE, in_time};
use rust_tango::{Link, LinkBuilder, LinkErrorKind};

fn builder(folder: &Path) -> LinkBuilder {
    Link::builder().depth(8).mtu(64).dir(folder)
}

#[test]
fn child() {
    let Some((role, folder)) = role() else { return };
    assert_eq!(role, "creates");
    let base = folder.join("links");
    say("ready");
    while !is_told("create") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let tx = builder(&base).create("quotes").unwrap().producer().unwrap();
    tx.wait_for_consumers(1, Some(PATIENCE));
    tx.send(b"bid 101.25").unwrap();
}

#[test]
fn a_link_of_another_process() {
    in_time(|| {
        let folder = TestFolder::new();
        let base = folder.path().join("links");
        let mut owner = Child::start_ready("creates", &folder);
        let not_yet = Link::open_wait_in(&base, "quotes", Some(Duration::from_millis(5)));
        assert!(not_yet.unwrap_err().is_not_found());
        let reader = std::thread::spawn(move || {
            let mut rx = Link::open_wait_in(&base, "quotes", None).unwrap().consumer().unwrap();
            assert_eq!(rx.wait().unwrap().unwrap().payload.as_slice(), b"bid 101.25");
            assert!(rx.wait().unwrap().is_none());
        });
        owner.tell("create");
        reader.join().unwrap();
        owner.succeeds();
    });
}

#[test]
fn many_links_one_after_the_other() {
    in_time(|| {
        let folder = TestFolder::new();
        let path = folder.path();
        std::thread::scope(|scope| {
            // Each waits for the link that the other makes next.
            for side in [0, 1] {
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for round in 0..50 {
                        if round % 2 == side {
                            kept.push(builder(path).create(&format!("link-{round}")).unwrap());
                        } else {
                            kept.push(Link::open_wait_in(path, &format!("link-{round}"), None).unwrap());
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn the_time_is_over() {
    let folder = TestFolder::new();
    for (base, missing) in [(folder.path().to_owned(), false), (folder.path().join("nowhere"), true)] {
        for millis in [0, 30] {
            let (begin, timeout) = (Instant::now(), Duration::from_millis(millis));
            let error = Link::open_wait_in(&base, "quotes", Some(timeout)).unwrap_err();
            assert!(begin.elapsed() >= timeout);
            assert_eq!(error.kind(), LinkErrorKind::NotFound);
            let parts = [base.to_str().unwrap(), "link named quotes", &format!("{timeout:?}")];
            let message = error.to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
            assert_eq!(message.contains("no such folder"), missing, "{message}");
        }
    }
}

#[test]
fn a_link_that_is_there_is_opened_at_once() {
    let folder = TestFolder::new();
    let _link = builder(folder.path()).create("quotes").unwrap();
    // There is no time to wait in.
    Link::open_wait_in(folder.path(), "quotes", Some(Duration::ZERO)).unwrap();
}

/// A name that is not valid, and things that are no link: waiting mends none of them.
fn hopeless(folder: &TestFolder) -> [(&'static str, LinkErrorKind); 2] {
    std::fs::write(folder.path().join("file"), "").unwrap();
    [("a/b", LinkErrorKind::Invalid), ("file", LinkErrorKind::Incompatible)]
}

#[test]
fn other_errors_are_returned_at_once() {
    in_time(|| {
        let folder = TestFolder::new();
        for (name, kind) in hopeless(&folder) {
            assert_eq!(Link::open_wait_in(folder.path(), name, None).unwrap_err().kind(), kind);
        }
    });
}

#[cfg(feature = "async")]
mod tasks {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use common::executor::{block_on, tokio_on_this_thread};
    use common::process::die_with_parent;
    use common::waiting::until;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::ForkResult;
    use rust_tango::OpenWait;

    use super::*;

    /// Runs the test in a process of its own, with no threads of other tests.
    fn alone(test: &str) -> bool {
        const ALONE: &str = "TANGO_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        let this = std::env::current_exe().unwrap();
        let arguments = [&format!("tasks::{test}"), "--exact", "--nocapture"];
        let output = std::process::Command::new(this).args(arguments).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        false
    }

    /// How many threads this process has.
    fn threads() -> usize {
        std::fs::read_dir("/proc/self/task").unwrap().count()
    }

    fn poll_once(future: &mut OpenWait) -> Poll<Result<Link, rust_tango::LinkError>> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn under_two_executors() {
        in_time(|| {
            let folder = TestFolder::new();
            let path = folder.path().to_owned();
            let waiting = |name: &str| Link::open_wait_async_in(&path, name, None);
            // The futures can be sent, and live as long as they like.
            let by_hand = std::thread::spawn({
                let future = waiting("first");
                move || block_on(future).unwrap()
            });
            let by_tokio = std::thread::spawn({
                let future = waiting("second");
                move || tokio_on_this_thread().block_on(future).unwrap()
            });
            let first = builder(&path).create("first").unwrap();
            assert_eq!(by_hand.join().unwrap().path(), first.path());
            let second = builder(&path).create("second").unwrap();
            assert_eq!(by_tokio.join().unwrap().path(), second.path());
        });
    }

    #[test]
    fn errors_are_those_of_the_call() {
        in_time(|| {
            let folder = TestFolder::new();
            for (name, kind) in hopeless(&folder) {
                let future = Link::open_wait_async_in(folder.path(), name, None);
                assert_eq!(block_on(future).unwrap_err().kind(), kind);
            }
            let (begin, timeout) = (Instant::now(), Duration::from_millis(30));
            let late = block_on(Link::open_wait_async_in(folder.path(), "quotes", Some(timeout)));
            assert!(begin.elapsed() >= timeout);
            assert!(late.unwrap_err().to_string().contains("30ms"));
        });
    }

    #[test]
    fn all_share_a_thread_that_ends() {
        if !alone("all_share_a_thread_that_ends") {
            return;
        }
        in_time(|| {
            let folder = TestFolder::new();
            // It has a thread that checks its name.
            let _first = builder(folder.path()).create("first").unwrap();
            let mut futures: Vec<_> = (0..100)
                .map(|n| Link::open_wait_async_in(folder.path(), &format!("link-{n}"), None))
                .collect();
            let before = threads();
            for round in 0..3 {
                assert!(futures.iter_mut().all(|future| poll_once(future).is_pending()));
                assert_eq!(threads(), before + 1, "in round {round}");
            }
            let link = builder(folder.path()).create("link-99").unwrap();
            let last = futures.pop().unwrap();
            assert_eq!(block_on(last).unwrap().path(), link.path());
            drop(futures);
            until(|| threads() == before);
            // And it starts again.
            let mut another = Link::open_wait_async_in(folder.path(), "link-0", None);
            assert!(poll_once(&mut another).is_pending());
            assert_eq!(threads(), before + 1);
        });
    }

    #[test]
    fn in_a_forked_child() {
        if !alone("in_a_forked_child") {
            return;
        }
        in_time(|| {
            let folder = TestFolder::new();
            let mut future = Link::open_wait_async_in(folder.path(), "quotes", None);
            assert!(poll_once(&mut future).is_pending());
            // SAFETY: of what other threads of this process may have locked, the child uses the allocator only, which the
            // C library makes usable in a child.
            match unsafe { nix::unistd::fork() }.unwrap() {
                ForkResult::Child => {
                    die_with_parent();
                    let opened = block_on(future).is_ok();
                    // SAFETY: ends this process at once, without running any code of the parent's.
                    unsafe { nix::libc::_exit(if opened { 0 } else { 1 }) }
                }
                ForkResult::Parent { child } => {
                    let _link = builder(folder.path()).create("quotes").unwrap();
                    block_on(future).unwrap();
                    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
                }
            }
        });
    }
}
